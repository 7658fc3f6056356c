/* SPDX-License-Identifier: Apache-2.0 */
/* agent/stage/stage.h: rows at rest, between decode and load.
 * In: blocks and rejects of one batch, in fetch order, from one writer.  Out: the same, sealed:
 *     from memory while they fit the leaf's budget, else from checksummed segment files.
 * Invariant: a sealed batch never changes; its segments are whole, fsynced and checksummed; any
 *            segment in the folder that belongs to no sealed batch is garbage, removed on open.
 *            An fsync error condemns the file: it is never fsynced again, the batch fails.
 * Threads: struct stage is safe from any thread; a struct stage_batch has one owner at a time
 *          (the extract thread until sealed, then the load thread). */
#ifndef AGENT_STAGE_STAGE_H
#define AGENT_STAGE_STAGE_H

#include "agent/block/block.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/span.h"

struct stage;
struct stage_batch;

struct stage_limits {
    uint64_t memory_bytes; /* of all batches together, before blocks go to disk */
    uint64_t quota_bytes;  /* of segments on disk; beyond it appends give PS_FULL */
};

/* Takes the folder's lock (PS_REFUSED, code "stage_locked", when another process has it), creates
 * it (0700) where missing, removes garbage. */
PS_MUSTCHECK enum ps_status stage_open(const char *dir, const struct stage_limits *limits,
                                       struct stage **out, struct ps_error *err);
void stage_close(struct stage *stage);
uint64_t stage_memory_now(const struct stage *stage);

PS_MUSTCHECK enum ps_status stage_batch_new(struct stage *stage, struct batch_id id, uint64_t epoch,
                                            uint32_t ncols, struct stage_batch **out,
                                            struct ps_error *err);
/* Moves *own_block in and nulls it; on failure the caller still owns it. Spent blocks come back by
 * stage_block_take, so that pages are reused. */
PS_MUSTCHECK enum ps_status stage_batch_append(struct stage_batch *batch, struct block **own_block,
                                               struct ps_error *err);
/* An empty block: a used one where there is one, else new. NULL when memory is refused. */
struct block *stage_block_take(struct stage *stage, uint32_t ncols);
void stage_block_give(struct stage *stage, struct block **own_block);

struct stage_reject {
    uint32_t range_index;
    uint64_t offset;
    uint64_t length;
    uint64_t line; /* 0 = unknown */
    struct ps_span column;
    struct ps_span code;
    struct ps_span reason;
    struct ps_span raw; /* at most 64 KiB */
};
PS_MUSTCHECK enum ps_status stage_batch_reject(struct stage_batch *batch,
                                               const struct stage_reject *reject,
                                               struct ps_error *err);
/* After this only reads. Segments are fsynced here. */
PS_MUSTCHECK enum ps_status stage_batch_seal(struct stage_batch *batch, struct ps_error *err);

/* Reading may be repeated from the start (a transaction that has to be run again). *out_block is
 * borrowed until the next call; NULL at the end. */
void stage_batch_rewind(struct stage_batch *batch);
PS_MUSTCHECK enum ps_status stage_batch_next(struct stage_batch *batch,
                                             const struct block **out_block, struct ps_error *err);
PS_MUSTCHECK enum ps_status stage_batch_next_reject(struct stage_batch *batch,
                                                    struct stage_reject *out, bool *out_more,
                                                    struct ps_error *err);
uint64_t stage_batch_rows(const struct stage_batch *batch);
uint64_t stage_batch_rejects(const struct stage_batch *batch);
uint64_t stage_batch_bytes(const struct stage_batch *batch);
/* Memory and segments are gone. NULL is fine. */
void stage_batch_free(struct stage_batch *batch);

#endif
