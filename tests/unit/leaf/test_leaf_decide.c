/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "agent/leaf/leaf_decide.h"

static Penstock__FailClass
class_of(enum ps_status status, const char *code)
{
    struct ps_error err;
    ps_fail_code(&err, status, code, "text");
    return leaf_decide_extract_failure(&err);
}

Test(leaf_decide, what_the_caller_does_next_becomes_the_class)
{
    cr_assert_eq(class_of(PS_AGAIN, ""), PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT);
    cr_assert_eq(class_of(PS_FULL, ""), PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT);
    cr_assert_eq(class_of(PS_BADDATA, "source_changed"), PENSTOCK__FAIL_CLASS__FAIL_PERMANENT);
    cr_assert_eq(class_of(PS_CANCELED, ""), PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL);
    cr_assert_eq(class_of(PS_REFUSED, "not_visible"), PENSTOCK__FAIL_CLASS__FAIL_NOT_VISIBLE);
    cr_assert_eq(class_of(PS_REFUSED, "unknown_columns"),
                 PENSTOCK__FAIL_CLASS__FAIL_UNKNOWN_COLUMNS);
}

Test(leaf_decide, only_a_ledger_row_makes_a_batch_done)
{
    static const enum dest_outcome done[] = {DEST_LOADED, DEST_ALREADY, DEST_CANCELLED};
    static const enum dest_outcome failed[] = {DEST_FENCE_MISMATCH, DEST_RANGE_CONFLICT,
                                               DEST_OVER_TOLERANCE, DEST_NOT_OPEN};
    Penstock__Outcome outcome;
    Penstock__FailClass class;
    const char *code;
    for (size_t i = 0; i < sizeof done / sizeof done[0]; i++) {
        cr_assert_eq(leaf_decide_outcome(done[i], &outcome, &class, &code), LEAF_REPORT_DONE);
    }
    for (size_t i = 0; i < sizeof failed / sizeof failed[0]; i++) {
        cr_assert_eq(leaf_decide_outcome(failed[i], &outcome, &class, &code), LEAF_REPORT_FAILED);
    }
}

Test(leaf_decide, retries_wait_longer_and_end)
{
    int64_t total_ms = 0;
    unsigned attempt = 0;
    for (;; attempt++) {
        int64_t wait_ms = leaf_decide_retry_ms(attempt, 12345);
        if (wait_ms < 0) {
            break;
        }
        cr_assert(wait_ms > 0 && wait_ms <= 5000, "%lld", (long long)wait_ms);
        total_ms += wait_ms;
    }
    cr_assert(attempt > 5 && total_ms > 20000 && total_ms < 120000, "%lld", (long long)total_ms);
}

Test(leaf_decide, what_another_life_may_load_is_kept)
{
    struct ps_error err = {0};
    ps_fail(&err, PS_AGAIN, "the destination is away");
    cr_assert(leaf_decide_keeps(PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT, &err));
    cr_assert(leaf_decide_keeps(PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, &err));
    cr_assert(leaf_decide_keeps(PENSTOCK__FAIL_CLASS__FAIL_PERMANENT, &err));
    cr_assert_not(leaf_decide_keeps(PENSTOCK__FAIL_CLASS__FAIL_FENCED, &err));
    cr_assert_not(leaf_decide_keeps(PENSTOCK__FAIL_CLASS__FAIL_TOLERANCE, &err));
    cr_assert_not(leaf_decide_keeps(PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT, &err));
    static const char *const ours[] = {"stage_corrupt", "stage_unreadable"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        ps_fail_code(&err, PS_BADDATA, ours[i], "a checksum is wrong");
        cr_assert_not(leaf_decide_keeps(PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT, &err), "%s", ours[i]);
        cr_assert_eq(leaf_decide_load_failure(&err), PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT,
                     "%s: our own file is at fault, not the batch", ours[i]);
    }
    for (unsigned attempt = 0; attempt < 1000; attempt += 9) {
        int64_t wait = leaf_decide_away_ms(attempt, attempt * 7919);
        cr_assert(wait >= 0 && wait <= 2000, "never given up: %lld", (long long)wait);
    }
}
