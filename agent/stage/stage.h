/* SPDX-License-Identifier: Apache-2.0 */
/* agent/stage/stage.h: rows at rest, between decode and load.
 * In: blocks and rejects of one batch, in fetch order, from one writer.  Out: the same, sealed:
 *     from memory while they fit the leaf's budget, else from a checksummed segment file; one
 *     that has a manifest also in a later process, to which it is *kept*.
 * Invariant: a sealed batch never changes; its segment is whole, fsynced and checksummed; what in
 *            the folder is no sealed segment is garbage, removed on open. A kept segment is used
 *            only after every byte of it was checked. An fsync error condemns the file: it is never
 *            fsynced again, the batch fails or stays in memory.
 * Threads: struct stage is safe from any thread; a struct stage_batch has one owner at a time
 *          (the extract thread until sealed, then the load thread). */
#ifndef AGENT_STAGE_STAGE_H
#define AGENT_STAGE_STAGE_H

#include "agent/block/block.h"
#include "common/buf.h"
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

struct stage_disk {
    uint64_t bytes; /* of segments, kept ones too */
    uint64_t quota_bytes;
    uint64_t largest_bytes; /* the largest segment sealed since the open */
    uint64_t kept_bytes;
    uint64_t kept_count;
    uint64_t discarded; /* kept segments removed unasked: damaged, or to make room */
};
struct stage_disk stage_disk_now(struct stage *stage);

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
/* What a later process needs beside rows and rejects to load the batch; copied, opaque here. A
 * batch without is not kept. */
PS_MUSTCHECK enum ps_status stage_batch_describe(struct stage_batch *batch, struct ps_span manifest,
                                                 struct ps_error *err);
/* After this only reads. A segment is fsynced here. */
PS_MUSTCHECK enum ps_status stage_batch_seal(struct stage_batch *batch, struct ps_error *err);
/* A sealed batch that is in memory goes to a sealed segment; reading begins anew. When it fails the
 * batch is as it was, in memory. */
PS_MUSTCHECK enum ps_status stage_batch_store(struct stage_batch *batch, struct ps_error *err);
bool stage_batch_is_stored(const struct stage_batch *batch);

/* Reading may be repeated from the start (a transaction that has to be run again). *out_block is
 * borrowed until the next call; NULL at the end. PS_BADDATA, code "stage_corrupt" or
 * "stage_unreadable": the segment is at fault, and only extracting the batch again helps. */
void stage_batch_rewind(struct stage_batch *batch);
PS_MUSTCHECK enum ps_status stage_batch_next(struct stage_batch *batch,
                                             const struct block **out_block, struct ps_error *err);
PS_MUSTCHECK enum ps_status stage_batch_next_reject(struct stage_batch *batch,
                                                    struct stage_reject *out, bool *out_more,
                                                    struct ps_error *err);
uint64_t stage_batch_rows(const struct stage_batch *batch);
uint64_t stage_batch_rejects(const struct stage_batch *batch);
uint32_t stage_batch_columns(const struct stage_batch *batch);
uint64_t stage_batch_bytes(const struct stage_batch *batch);
/* Memory and segment are gone. NULL is fine. */
void stage_batch_free(struct stage_batch *batch);

/* ---- kept segments: sealed, with a manifest, of no batch here */

/* Frees the batch; a stored one that has a manifest is kept. True: it is. NULL is fine. */
bool stage_batch_keep(struct stage_batch *batch);

struct stage_kept {
    struct batch_id id;
    uint64_t epoch; /* at which it was sealed */
    uint64_t bytes;
};
/* The oldest first; returns how many were written. */
size_t stage_kept_list(struct stage *stage, struct stage_kept *out, size_t most);
/* Takes the kept segment of the batch and checks all of it: *out is sealed and stored, manifest has
 * its manifest. *out is NULL: none is kept. PS_FULL: it stays; any other failure: it was damaged
 * (PS_BADDATA) or could not be read, and is removed. */
PS_MUSTCHECK enum ps_status stage_kept_take(struct stage *stage, struct batch_id id,
                                            struct stage_batch **out, struct ps_buf *manifest,
                                            struct ps_error *err);
/* Moves what is kept in the folder of another stage, which nobody may be using, into this one. A
 * folder that is not there has nothing. */
PS_MUSTCHECK enum ps_status stage_kept_move_in(struct stage *stage, const char *dir,
                                               size_t *out_moved, struct ps_error *err);
/* False: none is kept. */
bool stage_kept_remove(struct stage *stage, struct batch_id id);

#endif
