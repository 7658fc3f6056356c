/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/sched/sched.h"

int64_t
sched_backoff_ms(uint32_t attempts, uint64_t random)
{
    int64_t whole = SCHED_BACKOFF_FIRST_MS;
    for (uint32_t i = 1; i < attempts && whole < SCHED_BACKOFF_MOST_MS; i++) {
        whole *= 2;
    }
    if (whole > SCHED_BACKOFF_MOST_MS) {
        whole = SCHED_BACKOFF_MOST_MS;
    }
    return whole / 2 + (int64_t)(random % (uint64_t)(whole / 2 + 1));
}

bool sched_counts(enum sched_class class)
{
    switch (class) {
    case SCHED_TRANSIENT:
    case SCHED_PERMANENT:
    case SCHED_LEAF_DIED:
    case SCHED_EXPIRED:
        return true;
    case SCHED_GRACEFUL:
    case SCHED_NOT_VISIBLE:
    case SCHED_FENCED:
    case SCHED_RANGE_CONFLICT:
    case SCHED_TOLERANCE:
        return false;
    }
    return true;
}

/* A tombstone is tried for ever: until it stands, nothing of the batch may be cut again. */
static enum sched_verdict
judge_tombstone(const struct sched_failure *failure)
{
    bool given_back = failure->class == SCHED_GRACEFUL || failure->class == SCHED_NOT_VISIBLE;
    return given_back ? SCHED_GIVE_BACK : SCHED_RETRY;
}

enum sched_verdict
sched_judge(const struct sched_failure *failure)
{
    if (failure->is_tombstone) {
        return judge_tombstone(failure);
    }
    bool used_up = failure->attempts >= failure->max_retries;
    switch (failure->class) {
    case SCHED_TRANSIENT:
    case SCHED_EXPIRED:
        return used_up ? SCHED_QUARANTINE : SCHED_RETRY;
    case SCHED_LEAF_DIED:
        return used_up || failure->killers >= SCHED_KILLERS_MOST ? SCHED_QUARANTINE : SCHED_RETRY;
    case SCHED_PERMANENT:
        /* Without a name nobody knows which of several ranges is to blame. */
        if (failure->ranges == 1 ? failure->source_gone : failure->names_fault) {
            return SCHED_CANCEL_FAULT;
        }
        return SCHED_QUARANTINE;
    case SCHED_GRACEFUL:
    case SCHED_NOT_VISIBLE:
        return SCHED_GIVE_BACK;
    case SCHED_FENCED:
        return SCHED_CANCEL_FENCED;
    case SCHED_RANGE_CONFLICT:
        return SCHED_CANCEL_CONFLICT;
    case SCHED_TOLERANCE:
        return SCHED_CANCELLED_OVER;
    }
    return SCHED_RETRY;
}

size_t
sched_pick(const struct sched_pipeline *pipelines, size_t count)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        const struct sched_pipeline *p = &pipelines[i];
        bool full = p->max_leaves != 0 && p->leaves >= p->max_leaves && !p->leaf_has_it;
        if (!p->grantable || !p->has_work || full) {
            continue;
        }
        if (p->hot) {
            return i;
        }
        if (best == count || p->leases < pipelines[best].leases) {
            best = i;
        }
    }
    return best;
}

bool
sched_may_cut(uint32_t waiting, uint32_t leaves)
{
    uint32_t most = leaves * 2;
    return waiting < (most < 4 ? 4 : most);
}
