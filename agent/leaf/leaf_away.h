/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_away.h: the destination is away or slow: what is decoded collects on disk.
 * In: what the load thread meets, what is sealed, how full the stage is. Out: how many batches the
 * leaf holds, whether the next is extracted now, and the words people read.
 * Invariant: while the destination answers, a leaf holds two batches and nothing that fits memory
 * touches the disk; while it does not, the count grows with what is sealed, up to
 * config->batches_most and the quota.
 * Threads: the functions are safe from any thread. */
#ifndef AGENT_LEAF_LEAF_AWAY_H
#define AGENT_LEAF_LEAF_AWAY_H

#include "agent/leaf/leaf_core.h"

enum {
    /* One transaction that takes longer, while others wait for it: the destination is slow. */
    LEAF_SLOW_MS = 10000,
};

/* The load thread: it begins with a batch; it is done with it. */
void leaf_away_begin_load(struct leaf_core *core);
void leaf_away_end_load(struct leaf_core *core);
/* It could not be reached. */
void leaf_away_lost(struct leaf_core *core, const struct ps_error *err);
/* It has answered. */
void leaf_away_back(struct leaf_core *core);

/* True while it is away or slow: what is sealed goes to disk. */
bool leaf_away_is(struct leaf_core *core);
/* True while it could not be reached at all. */
bool leaf_away_is_lost(struct leaf_core *core);
/* A sealed job, of its owner: to disk, where it can be. Where not it stays in memory. */
void leaf_away_store(struct leaf_core *core, struct leaf_job *job);
/* Before the job is extracted: waits while the quota has no room for another batch. False: the leaf
 * drains or stops, or the job was cancelled. */
PS_MUSTCHECK bool leaf_away_wait_for_quota(struct leaf_core *core, struct leaf_job *job);
/* The extract thread met the end of the quota amid a batch, and waits; it waits no more. */
void leaf_away_quota_waits(struct leaf_core *core, bool waits);

/* How many batches the leaf holds in all. Holding core->lock. */
uint32_t leaf_away_takes_locked(struct leaf_core *core);
/* Fills the status in; note is for its text. Logs stage.full where the quota stops extraction since
 * the last one. Holding core->lock. */
enum { LEAF_AWAY_NOTE_BYTES = 400 };
void leaf_away_status_locked(struct leaf_core *core, Penstock__LeafStatus *out,
                             char note[LEAF_AWAY_NOTE_BYTES]);

#endif
