/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

static void
count(struct sim *sim)
{
    struct sim_busy *busy = &sim->busy;
    if (busy->grants > 0) {
        busy->leaf_ms_now += busy->at_work * (uint64_t)(sim->now_ms - busy->changed_ms);
    }
    busy->changed_ms = sim->now_ms;
}

void
sim_busy_change(struct sim *sim, int by)
{
    count(sim);
    sim->busy.at_work += (uint64_t)(int64_t)by;
}

void
sim_busy_granted(struct sim *sim)
{
    struct sim_busy *busy = &sim->busy;
    count(sim);
    if (busy->grants++ == 0) {
        busy->first_grant_ms = sim->now_ms;
    }
    busy->last_grant_ms = sim->now_ms;
    busy->leaf_ms = busy->leaf_ms_now;
}
