/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dest_late.h: rows that only the destination could refuse, kept as rejects.
 * In: a row's cells and why it was refused.  Out: rejects, encoded as agent/stage does.
 * Invariant: place and length of the record are exact; its own bytes are gone by then, so its
 *            values, as CSV, stand for them, bounded a row and in all.
 * Threads: one owner at a time. */
#ifndef AGENT_DEST_DEST_LATE_H
#define AGENT_DEST_DEST_LATE_H

#include "agent/block/block.h"
#include "agent/stage/stage_reject.h"

struct dest_late {
    struct ps_buf rejects;
    uint64_t count;
};

struct dest_late_row {
    const struct row_meta *meta;
    const struct cell *cells;
    uint32_t ncols;
};

/* A NULL where the column is NOT NULL: all drivers say it with code "type", these words and the
 * column's name, whoever found it. */
extern const char dest_late_null[];

PS_MUSTCHECK enum ps_status dest_late_add(struct dest_late *late, const struct dest_late_row *row,
                                          const char *code, struct ps_span column,
                                          const char *reason, struct ps_error *err);
void dest_late_clear(struct dest_late *late);
void dest_late_fini(struct dest_late *late);

/* Calls each for the batch's own rejects and then for the late ones. */
typedef enum ps_status (*dest_late_fn)(void *ctx, const struct stage_reject *reject,
                                       struct ps_error *err);
PS_MUSTCHECK enum ps_status dest_late_each(const struct dest_late *late, struct stage_batch *batch,
                                           dest_late_fn each, void *ctx, struct ps_error *err);

#endif
