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
#include "agent/dest/dst_postgres.h"

struct dst_postgres_rows {
    struct dst_postgres *d;
    const struct dest_batch *batch;
    /* Block by block behind savepoints, halved until the guilty rows are found: the server has
     * refused a row of the one COPY that is tried first. */
    bool careful;
    bool at_once; /* deferred constraints too: one has failed at COMMIT */
    struct dest_counts counts;
    struct dest_late late;
    /* Of the present block: rows as COPY wants them. */
    struct ps_buf bytes;
    size_t *starts; /* row_count + 1 offsets into bytes */
    uint32_t *rows; /* which row of the block each is */
    uint32_t row_count, row_cap;
    struct cell *cells;
    const struct block *block;
};

/* All rows; may be called again after a rollback. *out_refused: the server refused a row (only
 * where !careful): roll back and come again with careful. */
PS_MUSTCHECK enum ps_status dst_postgres_rows_insert(struct dst_postgres_rows *rows,
                                                     bool *out_refused, struct ps_error *err);
/* The batch's own rejects and those found by _insert. */
PS_MUSTCHECK enum ps_status dst_postgres_rows_reject(struct dst_postgres_rows *rows,
                                                     struct ps_error *err);
void dst_postgres_rows_fini(struct dst_postgres_rows *rows);

#endif
