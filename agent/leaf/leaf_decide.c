/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_decide.h"

#include "agent/leaf/leaf_drift.h"
#include "common/assert.h"

enum {
    RETRY_FIRST_MS = 50,
    RETRY_MOST_MS = 5000,
    RETRY_TIMES = 18,
    ROOM_MOST_MS = 2000,
    AWAY_MOST_MS = 2000,
};

static bool
code_is(const struct ps_error *err, const char *code)
{
    return strcmp(err->code, code) == 0;
}

Penstock__FailClass
leaf_decide_extract_failure(const struct ps_error *err)
{
    if (code_is(err, "not_visible")) {
        return PENSTOCK__FAIL_CLASS__FAIL_NOT_VISIBLE;
    }
    if (code_is(err, LEAF_UNKNOWN_COLUMNS)) {
        return PENSTOCK__FAIL_CLASS__FAIL_UNKNOWN_COLUMNS;
    }
    switch (err->status) {
    case PS_CANCELED:
        return PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL;
    case PS_REFUSED:
    case PS_BADDATA:
    case PS_BUG:
        return PENSTOCK__FAIL_CLASS__FAIL_PERMANENT;
    case PS_OK:
    case PS_AGAIN:
    case PS_FENCED:
    case PS_FULL:
        return PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT;
    }
    return PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT;
}

bool
leaf_decide_is_segment_bad(const struct ps_error *err)
{
    return code_is(err, "stage_corrupt") || code_is(err, "stage_unreadable") ||
           code_is(err, "block_corrupt") || code_is(err, "block_format");
}

Penstock__FailClass
leaf_decide_load_failure(const struct ps_error *err)
{
    return leaf_decide_is_segment_bad(err) ? PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT
                                           : leaf_decide_extract_failure(err);
}

bool
leaf_decide_keeps(Penstock__FailClass class, const struct ps_error *err)
{
    switch (class) {
    case PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT:
    case PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL:
    case PENSTOCK__FAIL_CLASS__FAIL_NOT_VISIBLE:
    case PENSTOCK__FAIL_CLASS__FAIL_PERMANENT: /* a person may put the destination right */
        return !leaf_decide_is_segment_bad(err);
    case PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED:
    case PENSTOCK__FAIL_CLASS__FAIL_FENCED:
    case PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT:
    case PENSTOCK__FAIL_CLASS__FAIL_TOLERANCE:
    case PENSTOCK__FAIL_CLASS__FAIL_UNKNOWN_COLUMNS: /* its rows have other columns next time */
    case _PENSTOCK__FAIL_CLASS_IS_INT_SIZE:
        break;
    }
    return false;
}

bool
leaf_decide_waits_for_room(const struct ps_error *err)
{
    return err->status == PS_FULL &&
           (code_is(err, PS_ERROR_DISK_FULL) || code_is(err, "stage_quota"));
}

enum leaf_report
leaf_decide_outcome(enum dest_outcome outcome, Penstock__Outcome *out_outcome,
                    Penstock__FailClass *out_class, const char **out_code)
{
    switch (outcome) {
    case DEST_LOADED:
        *out_outcome = PENSTOCK__OUTCOME__OUTCOME_LOADED;
        return LEAF_REPORT_DONE;
    case DEST_ALREADY:
        *out_outcome = PENSTOCK__OUTCOME__OUTCOME_ALREADY;
        return LEAF_REPORT_DONE;
    case DEST_CANCELLED:
        *out_outcome = PENSTOCK__OUTCOME__OUTCOME_CANCELLED;
        return LEAF_REPORT_DONE;
    case DEST_FENCE_MISMATCH:
        *out_class = PENSTOCK__FAIL_CLASS__FAIL_FENCED;
        *out_code = "fence_mismatch";
        return LEAF_REPORT_FAILED;
    case DEST_RANGE_CONFLICT:
        *out_class = PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT;
        *out_code = "range_conflict";
        return LEAF_REPORT_FAILED;
    case DEST_OVER_TOLERANCE:
        *out_class = PENSTOCK__FAIL_CLASS__FAIL_TOLERANCE;
        *out_code = "tolerance";
        return LEAF_REPORT_FAILED;
    case DEST_NOT_OPEN:
        *out_class = PENSTOCK__FAIL_CLASS__FAIL_PERMANENT;
        *out_code = "reject_not_open";
        return LEAF_REPORT_FAILED;
    }
    PS_ASSERT(false);
    return LEAF_REPORT_FAILED;
}

static int64_t
growing_wait(unsigned attempt, uint64_t random, int64_t most_ms)
{
    int64_t wait = RETRY_FIRST_MS;
    for (unsigned i = 0; i < attempt && wait < most_ms; i++) {
        wait *= 2;
    }
    wait = wait > most_ms ? most_ms : wait;
    return wait / 2 + (int64_t)(random % (uint64_t)(wait / 2 + 1));
}

int64_t
leaf_decide_retry_ms(unsigned attempt, uint64_t random)
{
    return attempt >= RETRY_TIMES ? -1 : growing_wait(attempt, random, RETRY_MOST_MS);
}

int64_t
leaf_decide_away_ms(unsigned attempt, uint64_t random)
{
    return growing_wait(attempt, random, AWAY_MOST_MS);
}

int64_t
leaf_decide_room_ms(unsigned attempt, uint64_t random)
{
    return growing_wait(attempt, random, ROOM_MOST_MS);
}
