/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_shelf.h: some rows of the rejects table, copied out of the destination's answer,
 * so that the destination can be asked other things while they are looked at.
 * Invariant: at most SHELF_ROWS and about SHELF_BYTES of them.
 * Threads: the task thread. */
#ifndef AGENT_LEAF_LEAF_SHELF_H
#define AGENT_LEAF_LEAF_SHELF_H

#include "agent/dest/dest.h"

enum { SHELF_ROWS = 100, SHELF_BYTES = 512 * 1024 };

struct leaf_shelf {
    struct dest_reject_row rows[SHELF_ROWS];
    size_t count;
    struct ps_buf bytes; /* what the rows point to */
};

void leaf_shelf_fini(struct leaf_shelf *shelf);
/* Fills the shelf with the page's rows, as many as there is room for: page->next stands behind the
 * last one, and page->last is set where nothing follows. */
PS_MUSTCHECK enum ps_status leaf_shelf_read(struct leaf_shelf *shelf, const struct dest_ops *ops,
                                            struct dest *dest, struct dest_page *page,
                                            struct ps_error *err);

#endif
