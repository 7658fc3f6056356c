/* SPDX-License-Identifier: Apache-2.0 */
/* Many agents: how busy their leaves are, and that the engine is not what they wait for. Virtual
 * time; a message takes 1 ms, a batch 0.5 to 2 s, and the destination takes commits side by side.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "common/log.h"
#include "tests/sim/sim.h"

static struct sim_plan
plan_of(uint32_t agents, uint32_t leaves, uint32_t batches)
{
    return (struct sim_plan){.seed = 11,
                             .agents = agents,
                             .leaves = leaves,
                             .objects = batches,
                             .batch_bytes = 1000,
                             .object_bytes = 1000, /* one batch an object */
                             .most_bytes = 1000,
                             .is_large = true,
                             .many_writers = true,
                             .work_least_ms = 500,
                             .work_most_ms = 2000,
                             .most_ms = 600000,
                             .max_retries = 4,
                             .on_failure = "stop"};
}

/* Of all leaf-milliseconds between the first grant and the last: those with a batch at work. */
static double
busy_share(const struct sim_plan *plan, const struct sim_busy *busy)
{
    double all = (double)(busy->last_grant_ms - busy->first_grant_ms) * plan->agents * plan->leaves;
    return all > 0 ? (double)busy->leaf_ms / all : 0;
}

static double
cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double
run(uint32_t agents, uint32_t leaves, uint32_t batches)
{
    struct sim_plan plan = plan_of(agents, leaves, batches);
    struct sim_busy busy;
    uint64_t hash = 0;
    double before = cpu_s();
    log_setup("sim", LOG_OFF, LOG_TEXT);
    sim_run(&plan, &hash, &busy);
    double share = busy_share(&plan, &busy);
    printf("%5u agents of %u leaves, %6u batches: leaves busy %.1f %%, %.1f virtual s, "
           "%.1f CPU s, hash %016llx\n",
           agents, leaves, batches, 100 * share,
           (double)(busy.last_grant_ms - busy.first_grant_ms) / 1000, cpu_s() - before,
           (unsigned long long)hash);
    fflush(stdout);
    return share;
}

Test(sim_scale, busy_leaves, .timeout = 300)
{
    (void)run(1, 4, 400);
    (void)run(10, 4, 2000);
    cr_assert_geq(run(100, 4, 10000), 0.95);
    cr_assert_geq(run(1000, 2, 50000), 0.95);
}

Test(sim_scale, ten_thousand_agents, .timeout = 300)
{
    (void)run(10000, 1, 100000);
}
