/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/sched/sched.h: who gets what, and what follows from a failure.
 * In: views (plain numbers) and the time.  Out: orders.
 * Invariant: no clock, randomness, SQL or socket: the same view gives the same order.
 * Threads: pure. */
#ifndef COORDINATOR_SCHED_SCHED_H
#define COORDINATOR_SCHED_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCHED_BACKOFF_FIRST_MS = 250,
    SCHED_BACKOFF_MOST_MS = 30000,
    SCHED_KILLERS_MOST = 3, /* a batch that ended so many different leaves is quarantined */
};

/* Doubles with every attempt (1 is the first), capped, with jitter: between half and the whole.
 * random: any 64 bits. */
int64_t sched_backoff_ms(uint32_t attempts, uint64_t random);

/* ---- a failed batch */
enum sched_class {
    SCHED_TRANSIENT,
    SCHED_PERMANENT,
    SCHED_GRACEFUL,
    SCHED_LEAF_DIED,
    SCHED_NOT_VISIBLE,
    SCHED_FENCED,
    SCHED_RANGE_CONFLICT,
    SCHED_TOLERANCE,
    SCHED_EXPIRED, /* nobody reported: its lease ran out */
};
enum sched_verdict {
    SCHED_RETRY,         /* an attempt: again after a backoff */
    SCHED_GIVE_BACK,     /* not an attempt: again at once, where it is visible */
    SCHED_QUARANTINE,    /* the batch stays as it is until a person starts again */
    SCHED_CANCEL_FAULT,  /* tombstone; then the one at fault is quarantined, the others cut again */
    SCHED_CANCEL_FENCED, /* tombstone; the pipeline fails */
    SCHED_CANCEL_CONFLICT, /* tombstone; the ledger is read again, then what is left is cut again */
    SCHED_CANCELLED_OVER,  /* the leaf wrote the tombstone: cut again on a new start; pipeline fails
                            */
};
struct sched_failure {
    enum sched_class class;
    bool is_tombstone; /* it failed while settling */
    bool source_gone;  /* source_changed, source_missing: this version will never be read */
    bool names_fault;  /* the report names the batch partition at fault */
    uint32_t ranges;
    uint32_t attempts;    /* before this one */
    uint32_t killers;     /* different leaves that ended with it, this one included */
    uint32_t max_retries; /* errors.max_retries */
};
enum sched_verdict sched_judge(const struct sched_failure *failure);
/* True when the verdict counts as an attempt. */
bool sched_counts(enum sched_class class);

/* ---- the next free place on a leaf */
struct sched_pipeline {
    bool grantable;      /* running, within tolerance, nothing says stop */
    bool has_work;       /* something due or something to cut */
    bool leaf_has_it;    /* this leaf works for this pipeline already */
    bool hot;            /* this leaf has a stream of it open */
    uint32_t leaves;     /* different leaves at work for it */
    uint32_t max_leaves; /* limits.max_leaves; 0: no limit */
    uint32_t leases;
};
/* Which pipeline a leaf serves next: one whose stream it has open, else the one with the fewest
 * leases; count when there is none. */
size_t sched_pick(const struct sched_pipeline *pipelines, size_t count);

/* ---- may new batches be cut while some wait for their next try? A destination that is away fails
 * every batch: a few of them find that out as well as thousands. */
bool sched_may_cut(uint32_t waiting, uint32_t leaves);

#endif
