/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_job.h: one grant on its way through the leaf.
 * Invariant: a job is in exactly one place: waiting to be extracted, with the extract thread,
 * parked until its start is proven (leaf_cut.h), waiting to be loaded, with the load thread. Who
 * takes it out of the last place frees it. Threads: fields belong to the place the job is in;
 * phase, bytes, rows and cancel are atomic because the link thread reads and sets them. */
#ifndef AGENT_LEAF_LEAF_JOB_H
#define AGENT_LEAF_LEAF_JOB_H

#include <stdatomic.h>

#include "agent/dest/dest.h"
#include "agent/leaf/leaf_doc.h"
#include "agent/leaf/leaf_drift.h"
#include "agent/stage/stage.h"
#include "common/buf.h"
#include "proto/frame.h"

/* Of a job whose one range begins at a cut; all zero in others. */
struct leaf_job_cut {
    bool is; /* constant, as are at and stop_at: the range's nominal [at, stop_at) */
    uint64_t at, stop_at;
    _Atomic uint64_t truth; /* where the first record truly begins; 0 = unknown */

    /* As decoded; of the place the job is in. */
    bool guess;                    /* read_start may be wrong */
    bool whole;                    /* decoded and sealed from read_start to read_end */
    bool eof;                      /* the object ends at read_end */
    uint64_t read_start, read_end; /* equal: no record begins in the range */

    /* Under core->lock. */
    uint64_t start, end; /* what the agent is told; 0 = nothing yet */
    bool proven;
    int64_t due_ms; /* parked: when this leaf finds out for itself */
};

struct leaf_job {
    Penstock__LeafGrant *message; /* owned: keys, versions and tokens are borrowed from it */
    struct leaf_doc *doc;         /* a reference */
    struct batch_id id;
    char id_text[PS_ID_TEXT_BYTES];
    uint64_t epoch;

    struct stage_batch *rows; /* NULL until extraction begins, and for tombstones */
    struct block *block; /* not yet full, while it is being extracted; small objects share it */
    struct dest_range *ranges; /* as many as the grant has; end, eof and resume are filled here */
    struct ps_buf *resume;     /* owns ranges[i].resume */
    size_t range_count;
    struct leaf_job_cut cut;
    struct leaf_drift *drift; /* fields that are no column; NULL = none was met */
    size_t splittable_range;  /* the one whose rest may be taken as cuts; SIZE_MAX = none */
    struct dest_counts counts;
    int64_t fetch_ms, stage_ms, load_ms;
    int64_t sealed_at_ms; /* mono */

    _Atomic int phase; /* Penstock__Phase */
    _Atomic uint64_t bytes, rows_seen;
    _Atomic uint32_t range_now; /* which range is being read */
    _Atomic bool cancel;
    _Atomic bool sealed; /* decoded whole: what is left is to load it */
    _Atomic bool stored; /* sealed, and on disk: a later process finds it */
    bool stored_told;    /* under core->lock: the agent has heard it */
};

/* Takes *own_message and the document reference. PS_BADDATA when the grant breaks the protocol
 * (then both are released). */
PS_MUSTCHECK enum ps_status leaf_job_new(Penstock__LeafGrant **own_message, struct leaf_docs *docs,
                                         struct leaf_doc *doc, struct leaf_job **out,
                                         struct ps_error *err);
void leaf_job_free(struct leaf_docs *docs, struct leaf_job *job); /* NULL is fine */

#endif
