/* SPDX-License-Identifier: Apache-2.0 */
/* agent/stage/stage_internal.h: the stage's inside, shared by stage*.c only. */
#ifndef AGENT_STAGE_STAGE_INTERNAL_H
#define AGENT_STAGE_STAGE_INTERNAL_H

#include <pthread.h>

#include "agent/stage/stage.h"
#include "agent/stage/stage_segment.h"

enum { STAGE_FREE_BLOCKS_MAX = 128 };

struct stage {
    struct stage_limits limits;
    int dir_fd;
    int lock_fd;
    pthread_mutex_t lock; /* all below */
    uint64_t memory;      /* of blocks and rejects that batches hold */
    uint64_t disk;        /* of segments, kept ones too */
    uint64_t free_bytes;  /* of the free list */
    struct block *free[STAGE_FREE_BLOCKS_MAX];
    size_t free_count;
    uint64_t open_batches;
    uint64_t largest; /* segment so far */
    /* Sealed segments that no batch here owns, the oldest first. */
    struct stage_segment_label *kept;
    size_t kept_count, kept_cap;
    uint64_t kept_bytes;
    uint64_t discarded; /* kept ones that were damaged or made room */
};

struct stage_batch {
    struct stage *stage;
    struct batch_id id;
    uint64_t epoch; /* of the segment's name: of an adopted one the epoch that made it */
    uint32_t ncols;
    bool sealed;
    bool unkeepable; /* writing its segment failed once: it stays in memory */
    uint64_t rows, rejects, bytes;
    uint64_t memory; /* of this batch, inside stage->memory */
    uint64_t disk;   /* inside stage->disk */
    struct block **blocks;
    size_t count, cap;
    struct ps_buf reject_bytes;    /* in memory; with a segment: not yet written */
    uint32_t reject_pending;       /* how many reject_bytes holds */
    struct ps_buf manifest;        /* empty: a later process has no use for the segment */
    struct stage_segment *segment; /* NULL while all is in memory */

    size_t next; /* reading */
    struct stage_segment_at block_at, reject_at;
    struct block read_block;
    struct ps_buf read_rejects;
    struct ps_span reject_rest;
    bool reject_started;
};

/* What an earlier process left: names of sealed segments are remembered, all else is removed. */
PS_MUSTCHECK enum ps_status stage_kept_load(struct stage *stage, const char *dir,
                                            struct ps_error *err);
/* Removes the oldest kept segment. Holding stage->lock; false: there is none. */
PS_MUSTCHECK bool stage_kept_evict_locked(struct stage *stage);

#endif
