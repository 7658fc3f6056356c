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
    plan.catalog_fails = ps_rand_below(&rand, 3) == 0;
    plan.dest_fails = ps_rand_below(&rand, 3) == 0;
    plan.clock_jumps = ps_rand_below(&rand, 3) == 0;
    plan.catalog_restored = !plan.state_deleted && ps_rand_below(&rand, 5) == 0;
    plan.raises = !plan.state_deleted && !plan.catalog_restored && ps_rand_below(&rand, 4) == 0;
    plan.unseen = ps_rand_below(&rand, 5) == 0;
    if (plan.catalog_restored) { /* an old copy is raised, too, or the raise is what it lost */
        plan.raises = ps_rand_below(&rand, 3) == 0;
    }
    if (plan.bad_objects) { /* what is quarantined at the end is so for one reason */
        plan.leaf_deaths = plan.pauses = false;
    }
    return plan;
}

/* The hash of all of them: two builds that print the same one have done the same. */
static uint64_t
run_one(uint64_t seed, uint64_t all, bool twice, struct sim_stage_seen *seen)
{
    struct sim_plan plan = plan_of(seed);
    plan.stage_seen = seen;
    uint64_t hash = 0;
    sim_run(&plan, &hash, NULL);
    if (twice) { /* the same seed, the same run */
        uint64_t again = 0;
        sim_run(&plan, &again, NULL);
        cr_assert_eq(hash, again, "seed %llu does not replay", (unsigned long long)seed);
    }
    return (all ^ hash) * 0x100000001b3U;
}

Test(sim_engine, seeds, .timeout = 1800)
{
    log_setup("sim", LOG_OFF, LOG_TEXT);
    uint64_t only = from_env("PENSTOCK_SIM_SEED", 0);
    uint64_t first = only != 0 ? only : 1;
    uint64_t last = only != 0 ? only : from_env("PENSTOCK_SIM_SEEDS", 200);
    uint64_t all = 0xcbf29ce484222325U;
    struct sim_stage_seen seen = {0};
    for (uint64_t seed = first; seed <= last; seed++) {
        all = run_one(seed, all, seed % 10 == 0 || only != 0, &seen);
    }
    printf("seeds %llu to %llu: hash %016llx\n", (unsigned long long)first,
           (unsigned long long)last, (unsigned long long)all);
    printf("segments: %llu used again, %llu given up\n", (unsigned long long)seen.adopted,
           (unsigned long long)seen.unstaged);
    fflush(stdout);
    cr_assert(last - first < 100 || (seen.adopted > 0 && seen.unstaged > 0));
}

static const uint64_t regressions[] = {
#define SEED(seed, why) seed,
#include "tests/sim/seeds.def"
#undef SEED
};

Test(sim_engine, regressions, .timeout = 280)
{
    log_setup("sim", LOG_OFF, LOG_TEXT);
    for (size_t i = 0; i < sizeof regressions / sizeof regressions[0]; i++) {
        (void)run_one(regressions[i], 0, true, NULL);
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
    sim_run(&plan, &hash, NULL);
}
