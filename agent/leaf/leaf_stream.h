/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_stream.h: one object as a stream of rows: source ▶ unwrap ▶ decode ▶ transform.
 * In: a range's start and target.  Out: rows in blocks of a staged batch, and the range's true end.
 * Invariant: the bytes between two ends belong to exactly one batch; a stream that goes on from one
 *            batch of a chain to the next gives the same rows as one opened at that offset.
 * Threads: one owner at a time (the extract thread). */
#ifndef AGENT_LEAF_LEAF_STREAM_H
#define AGENT_LEAF_LEAF_STREAM_H

#include "agent/decode/decode.h"
#include "agent/leaf/leaf_ahead.h"
#include "agent/leaf/leaf_core.h"
#include "agent/leaf/leaf_job.h"
#include "agent/unwrap/unwrap.h"

struct leaf_stream;

/* A driver and its state for one pipeline. */
struct leaf_source {
    const struct source_ops *ops;
    struct source *source;    /* NULL = not open */
    struct leaf_ahead *ahead; /* begun with the job's ranges; NULL = each object is opened here */
};

/* Opens the object of job's range `index` at the range's start: of a cut, at its true start where
 * that is known, else before the cut, to find it. */
PS_MUSTCHECK enum ps_status leaf_stream_open(struct leaf_core *core,
                                             const struct leaf_source *source, struct leaf_job *job,
                                             size_t index, struct leaf_stream **out,
                                             struct ps_error *err);
/* True when the stream stands exactly where job's range `index` begins. */
bool leaf_stream_continues(const struct leaf_stream *stream, struct leaf_job *job, size_t index);
/* Reads job's range `index` into job->rows, its last rows into job->block, which the next range
 * goes on filling, and fills job->ranges[index] and job->counts.
 * PS_CANCELED when the job or the leaf is asked to stop. Of a cut, job->cut tells the rest; a
 * failure while job->cut.guess is set may be the guess's own and proves nothing. */
PS_MUSTCHECK enum ps_status leaf_stream_read_range(struct leaf_stream *stream, struct leaf_job *job,
                                                   size_t index, struct ps_error *err);
void leaf_stream_close(struct leaf_stream *stream); /* NULL is fine */

/* Where the first record at or after the job's cut begins, read from the last proven boundary on.
 * PS_AGAIN, code "cut_disproven", when that became known meanwhile. */
PS_MUSTCHECK enum ps_status leaf_stream_prove(struct leaf_core *core,
                                              const struct leaf_source *source,
                                              struct leaf_job *job, uint64_t *out_start,
                                              struct ps_error *err);

/* What unwrapping may take of a leaf with this budget. */
struct unwrap_limits leaf_stream_limits(const struct spec *spec, uint64_t budget_bytes);

#endif
