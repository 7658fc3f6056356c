/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_mysql_rows.h: the rows and rejects of one sealed batch into the table.
 * In: a sealed batch, within a transaction.  Out: rows, exact counts, and what was refused.
 * Invariant: a row that does not fit, or that the table refuses, becomes a reject; it never fails
 *            the batch, and no other row is touched by it. What LOAD DATA did counts only where it
 *            gave no warning and took every row: it changes what it cannot take.
 * Threads: as struct dest. */
#ifndef AGENT_DEST_DST_MYSQL_ROWS_H
#define AGENT_DEST_DST_MYSQL_ROWS_H

#include "agent/dest/dest_late.h"
#include "agent/dest/dst_mysql.h"

struct dst_mysql_rows {
    struct dst_mysql *d;
    const struct dest_batch *batch;
    /* By INSERTs of many rows, each all or nothing, cut where the server has refused a row: it has
     * refused, or changed, a row of the one LOAD DATA that is tried first. */
    bool careful;
    struct dest_counts counts;
    struct dest_late late;
    /* Of the present block: rows as LOAD DATA wants them. */
    struct ps_buf bytes;
    size_t *starts; /* row_count + 1 offsets into bytes */
    uint32_t *rows; /* which row of the block each is */
    uint32_t row_count, row_cap;
    struct cell *cells;
    const struct block *block;
    /* While LOAD DATA reads. */
    size_t sent;    /* bytes of the block that it has */
    uint64_t given; /* rows */
    enum ps_status status;
    struct ps_error err;
    /* The careful way: rows a statement, as refusals show how far apart they are. */
    uint32_t slice;
    bool distrusts; /* which row the server names has been found wrong in this batch */
    struct ps_buf sql;
};

/* All rows; may be called again after a rollback. *out_refused: the server refused or changed a row
 * (only where !careful): roll back and come again with careful. */
PS_MUSTCHECK enum ps_status dst_mysql_rows_insert(struct dst_mysql_rows *rows, bool *out_refused,
                                                  struct ps_error *err);
/* The batch's own rejects and those found by _insert. */
PS_MUSTCHECK enum ps_status dst_mysql_rows_reject(struct dst_mysql_rows *rows,
                                                  struct ps_error *err);
void dst_mysql_rows_fini(struct dst_mysql_rows *rows);

#endif
