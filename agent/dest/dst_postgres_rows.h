/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_postgres_rows.h: the rows and rejects of one sealed batch into the table.
 * In: a sealed batch, within a transaction.  Out: rows, exact counts, and what was refused.
 * Invariant: a row that does not fit, or that the table refuses, becomes a reject; it never fails
 *            the batch, and no other row is touched by it.
 * Threads: as struct dest. */
#ifndef AGENT_DEST_DST_POSTGRES_ROWS_H
#define AGENT_DEST_DST_POSTGRES_ROWS_H

#include "agent/dest/dest_late.h"
#include "agent/dest/dest_replay.h"
#include "agent/dest/dst_postgres_copy.h"

/* Places among the rows that are sent, which are the same each time a batch is read. */
struct dst_postgres_places {
    uint64_t *at;
    size_t count, cap;
};

/* What the careful way knows (dst_postgres_careful.c). */
struct dst_postgres_careful {
    uint64_t tried, refused; /* rows of this batch, so far */
    uint64_t accepted;       /* of this round */
    bool savepoint;          /* stands */
    bool failed;             /* what came behind it is to be rolled back */
    uint32_t rounds;         /* that are over */
    bool halving;            /* else a refused slice is doubtful as a whole */
    /* Rows that others of the batch may yet make good: refused for what the table lacks. They are
     * tried again in rounds, and are rejects when a round takes none of them. */
    struct dst_postgres_places doubtful;
    struct dst_postgres_places again; /* those of the round before; in order */
    size_t next_again;
    struct dest_late late; /* what was said of the doubtful */
    uint32_t *picked;      /* rows of the block that are to be tried */
    uint32_t picked_count, picked_cap;
};

struct dst_postgres_rows {
    struct dst_postgres *d;
    const struct dest_batch *batch;
    /* Block by block behind savepoints, until the guilty rows are found: the server has refused a
     * row of the one COPY that is tried first. */
    bool careful;
    bool at_once; /* deferred constraints too: one has failed at COMMIT */
    struct dest_counts counts;
    struct dest_late late;
    /* Of the present block: rows as COPY wants them. */
    struct ps_buf bytes;
    size_t *starts; /* row_count + 1 offsets into bytes */
    uint32_t *rows; /* which row of the block each is */
    uint32_t row_count, row_cap;
    uint64_t place; /* of the block's first row that is sent, among the batch's */
    struct cell *cells;
    const struct block *block;
    bool read_again; /* what does not fit has been said before */
    struct dst_postgres_careful way;
};

/* All rows; may be called again after a rollback. *out_refused: the server refused a row (only
 * where !careful): roll back and come again with careful. */
PS_MUSTCHECK enum ps_status dst_postgres_rows_insert(struct dst_postgres_rows *rows,
                                                     bool *out_refused, struct ps_error *err);
/* The batch's own rejects and those found by _insert. */
PS_MUSTCHECK enum ps_status dst_postgres_rows_reject(struct dst_postgres_rows *rows,
                                                     struct ps_error *err);
void dst_postgres_rows_fini(struct dst_postgres_rows *rows);

/* ---- between dst_postgres_rows.c and dst_postgres_careful.c */

/* Merges them into the table; counts them, where none is refused. */
PS_MUSTCHECK enum ps_status dst_postgres_rows_merge(struct dst_postgres_rows *rows,
                                                    const struct dst_postgres_staged *staged,
                                                    struct dst_postgres_refusal *refusal,
                                                    struct ps_error *err);
/* The reject of a row of the present block, added to late. */
PS_MUSTCHECK enum ps_status dst_postgres_rows_refuse(struct dst_postgres_rows *rows, uint32_t index,
                                                     const struct dst_postgres_refusal *refusal,
                                                     struct dest_late *late, struct ps_error *err);
/* The present block's rows, row by row where need be. */
PS_MUSTCHECK enum ps_status dst_postgres_careful_block(struct dst_postgres_rows *rows,
                                                       struct ps_error *err);
void dst_postgres_careful_begin(struct dst_postgres_rows *rows);
/* All blocks were tried: *out_again: they are to be read once more, for the doubtful rows. */
void dst_postgres_careful_round(struct dst_postgres_rows *rows, bool *out_again);
void dst_postgres_careful_fini(struct dst_postgres_careful *way);

#endif
