/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_sqlite_rows.h: the rows and rejects of one sealed batch into the table.
 * In: a sealed batch, within a transaction.  Out: rows, exact counts, and what the table refused.
 * Invariant: a row that the table refuses becomes a reject; it never fails the batch, and no
 *            other row is touched by it.
 * Threads: as struct dest. */
#ifndef AGENT_DEST_DST_SQLITE_ROWS_H
#define AGENT_DEST_DST_SQLITE_ROWS_H

#include "agent/dest/dest_late.h"
#include "agent/dest/dst_sqlite.h"

struct dst_sqlite_rows {
    struct dst_sqlite *d;
    const struct dest_batch *batch;
    /* Row by row with a savepoint each: a deferred foreign key has failed at COMMIT. */
    bool one_by_one;
    struct dest_counts counts; /* begins as the batch's own */
    struct dest_late late;     /* rejects found here */
    /* Rows, by their place in the batch, whose foreign key had no parent yet. */
    uint64_t *orphans;
    size_t orphan_count, orphan_cap;
    uint64_t in_image;     /* rows of blocks that wait in the image */
    uint64_t image_target; /* bytes of an image that is flushed */
    unsigned misfits;
};

/* All rows; may be called again after a rollback. */
PS_MUSTCHECK enum ps_status dst_sqlite_rows_insert(struct dst_sqlite_rows *rows,
                                                   struct ps_error *err);
/* The batch's own rejects and those found by _insert. */
PS_MUSTCHECK enum ps_status dst_sqlite_rows_reject(struct dst_sqlite_rows *rows,
                                                   struct ps_error *err);
void dst_sqlite_rows_fini(struct dst_sqlite_rows *rows);

#endif
