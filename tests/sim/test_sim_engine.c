/* SPDX-License-Identifier: Apache-2.0 */
/* The real engine under virtual time. PENSTOCK_SIM_SEEDS: how many seeds (200); PENSTOCK_SIM_SEED:
 * only this one; PENSTOCK_SIM_LOG: what happened, to stderr. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "tests/sim/sim.h"

static uint64_t
from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* Each seed is another cluster with other troubles. */
static struct sim_plan
plan_of(uint64_t seed)
{
    static const uint64_t sizes[] = {100, 1000, 8000};
    struct ps_rand rand;
    ps_rand_seed(&rand, seed * 2 + 1);
    struct sim_plan plan = {.seed = seed,
                            .agents = 1 + (uint32_t)ps_rand_below(&rand, 4),
                            .leaves = 1 + (uint32_t)ps_rand_below(&rand, 4),
                            .objects = 1 + (uint32_t)ps_rand_below(&rand, 60),
                            .batch_bytes = 1024,
                            /* packed, mixed, chains */
                            .most_bytes = 1 + ps_rand_below(&rand, sizes[ps_rand_below(&rand, 3)]),
                            .faults_until_ms = 1000 * (int64_t)ps_rand_below(&rand, 30),
                            .drop_percent = (uint32_t)ps_rand_below(&rand, 15),
                            .twice_percent = (uint32_t)ps_rand_below(&rand, 15),
                            .fail_percent = (uint32_t)ps_rand_below(&rand, 10),
                            .coordinator_restarts = ps_rand_below(&rand, 2) == 0,
                            .agent_restarts = ps_rand_below(&rand, 2) == 0,
                            .pauses = ps_rand_below(&rand, 2) == 0,
                            .leaf_deaths = ps_rand_below(&rand, 3) == 0,
                            .stops = ps_rand_below(&rand, 3) == 0,
                            .bad_objects = ps_rand_below(&rand, 4) == 0,
                            .state_deleted = ps_rand_below(&rand, 5) == 0,
                            .max_retries = 1000,
                            .on_failure = "skip"};
    if (seed % 3 == 0) { /* a few large objects */
        plan.splits = true;
        plan.state_deleted = ps_rand_below(&rand, 3) == 0;
        plan.objects = 1 + (uint32_t)ps_rand_below(&rand, 4);
        plan.most_bytes = 1000 + ps_rand_below(&rand, 60000);
    }
    if (plan.bad_objects) { /* what is quarantined at the end is so for one reason */
        plan.leaf_deaths = plan.pauses = false;
    }
    return plan;
}

Test(sim_engine, seeds, .timeout = 280)
{
    log_setup("sim", LOG_OFF, LOG_TEXT);
    uint64_t only = from_env("PENSTOCK_SIM_SEED", 0);
    uint64_t first = only != 0 ? only : 1;
    uint64_t last = only != 0 ? only : from_env("PENSTOCK_SIM_SEEDS", 200);
    for (uint64_t seed = first; seed <= last; seed++) {
        struct sim_plan plan = plan_of(seed);
        uint64_t hash = 0;
        sim_run(&plan, &hash);
        if (seed % 20 == 0) { /* the same seed, the same run */
            uint64_t again = 0;
            sim_run(&plan, &again);
            cr_assert_eq(hash, again, "seed %llu does not replay", (unsigned long long)seed);
        }
    }
}

Test(sim_engine, many_agents, .timeout = 120)
{
    log_setup("sim", LOG_OFF, LOG_TEXT);
    struct sim_plan plan = {.seed = 7,
                            .agents = 60,
                            .leaves = 4,
                            .objects = 2000,
                            .batch_bytes = 4096,
                            .most_bytes = 10000,
                            .faults_until_ms = 5000,
                            .drop_percent = 3,
                            .twice_percent = 3,
                            .agent_restarts = true,
                            .max_retries = 1000,
                            .on_failure = "skip"};
    uint64_t hash = 0;
    sim_run(&plan, &hash);
}
