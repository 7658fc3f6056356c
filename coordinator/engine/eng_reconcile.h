/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_reconcile.h: the catalog is brought in line with the destination's whole
 * ledger.
 * In: a wish (a person's; a coordinator's that is behind, or whose range was somebody else's), and
 * what the RECONCILE task reads: the fence, all ranges in the order of (batch partition, from), the
 * fence again.
 * Out: offsets, states, known ranges, settled batches and totals that say what the ledger says.
 * Invariant: a wish is durable until it is met or refused, and each step of it may be done again. A
 *            reading counts only if nothing was loaded while it lasted: else totals and ranges were
 *            of two moments; it is begun anew. An offset never goes back by itself: where the
 *            catalog says more than the ledger has, everything stops until a person says which of
 *            the two is right. */
#ifndef COORDINATOR_ENGINE_ENG_RECONCILE_H
#define COORDINATOR_ENGINE_ENG_RECONCILE_H

#include "coordinator/engine/eng_store.h"

enum { ENG_RECONCILE_NAMED = 20 }; /* batch partitions that a report names */

/* What a reading knows so far: memory only. */
struct eng_reading {
    bool is_ours;      /* the fence has the catalog's generation: its ranges count */
    bool is_disturbed; /* the ledger has grown while it was read */
    uint64_t loads;    /* the pipeline's when the task was given out: what it read is no older */
    bool is_scanning;  /* all is read; now what the ledger did not name is looked at */
    uint64_t batches;  /* in the ledger when it began */
    struct cat_counts counts;
    uint64_t replayed;
    uint8_t *covered; /* a bit a batch partition: the ledger has what the catalog says of it */
    size_t covered_bytes;
    uint64_t after_id; /* scanning */
    /* The batch partition whose ranges come now. */
    struct bp_hash hash;
    bool has_hash;
    bool has_object;
    bool has_news;
    struct eng_object object;
    struct eng_cover {
        uint64_t from, to;
    } * cover; /* what the ledger has of it, joined where it touches */
    size_t cover_count;
    /* Ranges of batches that are open here and loaded there. */
    struct eng_found {
        struct batch_id batch;
        struct bp_hash hash;
        uint64_t start, end, records;
        bool eof;
        struct ps_span resume; /* owned */
    } * found;
    size_t found_count;
};

/* ---- eng_reconcile.c */
/* The whole ledger is to be read again before anything is granted. Nothing is saved: the caller
 * moves the pipeline. */
void eng_reconcile_want(struct engine *engine, struct eng_pipeline *pipeline);
/* A person's: dry_run, trust_ledger. */
void eng_reconcile_command(struct engine *engine, struct engine_command *command,
                           struct eng_pipeline *pipeline);
/* A wish, or one that was refused last time: the next reading is of the whole ledger. */
bool eng_reconcile_is_wanted(const struct eng_pipeline *pipeline);
/* Asked for by a person and neither met nor refused: done in any state. */
bool eng_reconcile_is_asked(const struct eng_pipeline *pipeline);
/* False: it has to wait for batches that leaves hold; the pipeline says so. */
bool eng_reconcile_may_read(struct engine *engine, struct eng_pipeline *pipeline);
/* One turn of what follows the reading; true while there is more. */
bool eng_reconcile_scan(struct engine *engine, struct eng_pipeline *pipeline);
/* One chunk of the task. False: no more of it is wanted; the task is gone. */
bool eng_reconcile_chunk(struct engine *engine, struct eng_task *task,
                         const Penstock__TaskResult *chunk);
/* The task failed for good: true when that is all that follows from it. */
bool eng_reconcile_failed(struct engine *engine, struct eng_pipeline *pipeline, const char *code,
                          const char *text);
/* What was read counts no more; the wish stays. Ends the pipeline's tasks. */
void eng_reconcile_restart(struct engine *engine, struct eng_pipeline *pipeline);
/* The task begins anew with another agent, or is over. */
void eng_reconcile_forget(struct eng_pipeline *pipeline);
/* From the row, and the end. */
void eng_reconcile_load(struct eng_pipeline *pipeline);
void eng_reconcile_free(struct eng_pipeline *pipeline);
/* To be kept: the row's copy of the report follows. */
void eng_reconcile_save(struct eng_pipeline *pipeline);

/* ---- eng_reconcile_fence.c: whose is the table, and which ledger counts? False: refused, the
 * report and the pipeline say why. */
bool eng_reconcile_judge(struct engine *engine, struct eng_pipeline *pipeline,
                         const Penstock__DestState *dest, bool *out_read_all);
bool eng_reconcile_refuse(struct engine *engine, struct eng_pipeline *pipeline, const char *code,
                          const char *text);

/* ---- eng_reconcile_range.c */
/* A chunk behind the first begins: the current batch partition may have changed since the last. */
void eng_reconcile_look_again(struct engine *engine, struct eng_pipeline *pipeline);
void eng_reconcile_range(struct engine *engine, struct eng_pipeline *pipeline,
                         const Penstock__LedgerRange *range);
/* All of the current batch partition's ranges were seen. */
void eng_reconcile_end_object(struct engine *engine, struct eng_pipeline *pipeline);
/* A batch partition of which the ledger has less than [0, offset). */
void eng_reconcile_ahead(struct engine *engine, struct eng_pipeline *pipeline,
                         struct eng_object *object, uint64_t ledger_offset);

#endif
