/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/sched/sched.h"

#include <criterion/criterion.h>

Test(sched, backoff_doubles_and_is_capped)
{
    for (uint32_t attempts = 1; attempts < 100; attempts++) {
        int64_t whole = SCHED_BACKOFF_FIRST_MS;
        for (uint32_t i = 1; i < attempts && whole < SCHED_BACKOFF_MOST_MS; i++) {
            whole *= 2;
        }
        whole = whole > SCHED_BACKOFF_MOST_MS ? SCHED_BACKOFF_MOST_MS : whole;
        for (uint64_t random = 0; random < 1000; random += 7) {
            int64_t ms = sched_backoff_ms(attempts, random * 0x9e3779b97f4a7c15U);
            cr_assert(ms >= whole / 2 && ms <= whole, "attempt %u: %lld", attempts, (long long)ms);
        }
    }
}

static struct sched_failure failure(enum sched_class class)
{
    return (struct sched_failure){.class = class, .ranges = 1, .max_retries = 4, .killers = 1};
}

Test(sched, transient_failures_are_tried_again_and_then_quarantined)
{
    struct sched_failure f = failure(SCHED_TRANSIENT);
    for (f.attempts = 0; f.attempts < 4; f.attempts++) {
        cr_assert_eq(sched_judge(&f), SCHED_RETRY);
    }
    cr_assert_eq(sched_judge(&f), SCHED_QUARANTINE);
}

Test(sched, graceful_ends_never_count)
{
    struct sched_failure f = failure(SCHED_GRACEFUL);
    f.attempts = 1000;
    cr_assert_eq(sched_judge(&f), SCHED_GIVE_BACK);
    f.class = SCHED_NOT_VISIBLE;
    cr_assert_eq(sched_judge(&f), SCHED_GIVE_BACK);
    cr_assert_not(sched_counts(SCHED_GRACEFUL));
    cr_assert_not(sched_counts(SCHED_NOT_VISIBLE));
    cr_assert(sched_counts(SCHED_EXPIRED));
}

Test(sched, three_different_leaves_are_enough)
{
    struct sched_failure f = failure(SCHED_LEAF_DIED);
    f.killers = 2;
    cr_assert_eq(sched_judge(&f), SCHED_RETRY);
    f.killers = 3;
    cr_assert_eq(sched_judge(&f), SCHED_QUARANTINE);
}

Test(sched, one_bad_range_costs_only_itself)
{
    struct sched_failure f = failure(SCHED_PERMANENT);
    cr_assert_eq(sched_judge(&f), SCHED_QUARANTINE);
    f.names_fault = true;
    cr_assert_eq(sched_judge(&f), SCHED_QUARANTINE);
    f.ranges = 2;
    cr_assert_eq(sched_judge(&f), SCHED_CANCEL_FAULT);
    f.ranges = 1;
    f.source_gone = true; /* this version will never be read: its batch has to be settled */
    cr_assert_eq(sched_judge(&f), SCHED_CANCEL_FAULT);
    f.ranges = 2;
    f.names_fault = false; /* nobody knows which of the two */
    cr_assert_eq(sched_judge(&f), SCHED_QUARANTINE);
}

Test(sched, a_tombstone_is_tried_for_ever)
{
    for (int class = SCHED_TRANSIENT; class <= SCHED_EXPIRED; class ++) {
        struct sched_failure f = failure((enum sched_class) class);
        f.is_tombstone = true;
        f.attempts = 1000;
        f.killers = 9;
        enum sched_verdict verdict = sched_judge(&f);
        cr_assert(verdict == SCHED_RETRY || verdict == SCHED_GIVE_BACK);
    }
}

Test(sched, the_one_with_the_fewest_leases_is_served)
{
    struct sched_pipeline views[] = {
        {.grantable = true, .has_work = true, .leases = 5},
        {.grantable = true, .has_work = false, .leases = 0},
        {.grantable = false, .has_work = true, .leases = 0},
        {.grantable = true, .has_work = true, .leases = 2, .leaves = 3, .max_leaves = 3},
        {.grantable = true, .has_work = true, .leases = 3},
    };
    cr_assert_eq(sched_pick(views, 5), 4);
    views[3].leaf_has_it = true; /* it is one of the three */
    cr_assert_eq(sched_pick(views, 5), 3);
    views[0].hot = true;
    cr_assert_eq(sched_pick(views, 5), 0);
    cr_assert_eq(sched_pick(&views[1], 2), 2);
    cr_assert_eq(sched_pick(views, 0), 0);
}

Test(sched, a_destination_that_is_away_is_not_flooded)
{
    cr_assert(sched_may_cut(0, 0));
    cr_assert(sched_may_cut(3, 1));
    cr_assert_not(sched_may_cut(4, 1));
    cr_assert_not(sched_may_cut(16, 8));
}
