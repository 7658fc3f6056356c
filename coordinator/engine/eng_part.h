/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_part.h: batch partitions that are taken as ranges in parallel, their
 * parts. Invariant: the parts of a batch partition and what lies behind its cut_offset cover
 * everything behind its offset, without gaps. A part is free (to be cut again), open (a batch holds
 *            it) or loaded. The offset passes loaded parts in their order, each beginning where the
 *            one before it ended, and never beyond the cut of an open part: what stands at the
 *            offset lets a leaf find the start of any open part by itself. Ranges that do not
 *            follow each other quarantine the batch partition; nothing is skipped.
 * Rows live in the catalog; each function here reads and writes them, and leaves the object to be
 * saved by the caller unless it says otherwise. */
#ifndef COORDINATOR_ENGINE_ENG_PART_H
#define COORDINATOR_ENGINE_ENG_PART_H

#include "coordinator/engine/eng_store.h"

/* The code of a batch partition whose loaded ranges leave a gap or overlap. */
#define ENG_NOT_CONTIGUOUS "not_contiguous"

/* The codes of cat_part.state. */
#define ENG_PART_FREE "free"
#define ENG_PART_OPEN "open"
#define ENG_PART_LOADED "loaded"

struct eng_parts {
    struct cat_part *items; /* by from; their spans are owned */
    size_t count;
};
void eng_part_read(struct engine *engine, const struct eng_object *object, struct eng_parts *out);
void eng_part_end(struct eng_parts *parts);
static inline bool
eng_part_is(const struct cat_part *part, const char *state)
{
    return strcmp(part->state, state) == 0;
}

/* The batch is a part, and nothing else. */
static inline bool
eng_part_is_batch(const struct eng_batch *batch)
{
    return batch->row.ranges == 1 && batch->ranges[0].part;
}
/* An agent of 0.1.0 would take a cut for a boundary. */
static inline bool
eng_part_may_have(const struct eng_agent *agent)
{
    return agent->sync != NULL && agent->sync->cuts;
}

/* How many leaves may share a pipeline's work. */
uint32_t eng_part_leaves(const struct engine *engine, const struct eng_pipeline *pipeline);
/* The prefix of a pending object has been loaded, and the leaf says that the rest may be entered
 * anywhere: from now on it is taken in parallel, if that is worth it. */
void eng_part_begin(struct engine *engine, struct eng_pipeline *pipeline,
                    struct eng_object *object);
/* The next range for this batch, of about target bytes: a free one, else a new one. */
struct cat_range eng_part_cut(struct engine *engine, struct eng_pipeline *pipeline,
                              struct eng_object *object, uint64_t target_bytes,
                              struct batch_id batch);
/* The batch's one range is in the ledger. Saves the object. */
void eng_part_loaded(struct engine *engine, struct eng_batch *batch, const Penstock__RangeEnd *end,
                     uint64_t spent_ms);
/* Its batch is a confirmed tombstone. */
void eng_part_freed(struct engine *engine, struct eng_pipeline *pipeline, struct eng_object *object,
                    uint64_t from);
/* Takes over ranges behind the offset that the ledger knows; holes between them are free parts. */
void eng_part_absorb(struct engine *engine, struct eng_pipeline *pipeline,
                     struct eng_object *object);
/* Moves the offset, what is left and the state to where the parts say. */
void eng_part_settle(struct engine *engine, struct eng_pipeline *pipeline,
                     struct eng_object *object);

#endif
