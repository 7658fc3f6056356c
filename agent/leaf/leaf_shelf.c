/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_shelf.h"

/* One row alone always fits: a raw of 64 KiB, and names and texts. */
enum { ROW_MOST_BYTES = 256 * 1024 };

void
leaf_shelf_fini(struct leaf_shelf *shelf)
{
    ps_buf_fini(&shelf->bytes);
}

static struct ps_span
copy(struct leaf_shelf *shelf, struct ps_span bytes)
{
    uint8_t *at = shelf->bytes.ptr + shelf->bytes.len;
    ps_buf_xappend(&shelf->bytes, bytes.ptr, bytes.len);
    return ps_span(at, bytes.len);
}

static enum ps_status
on_row(void *ctx, const struct dest_reject_row *row, struct ps_error *err)
{
    struct leaf_shelf *shelf = ctx;
    size_t need = row->object.len + row->column.len + row->code.len + row->reason.len +
                  row->edited.len + row->raw.len;
    if (need > ROW_MOST_BYTES) {
        return ps_fail(err, PS_REFUSED, "reject %llu has %zu bytes", (unsigned long long)row->n,
                       need);
    }
    if (shelf->count == SHELF_ROWS || shelf->bytes.len >= SHELF_BYTES) {
        return ps_fail(err, PS_FULL, "the page is full");
    }
    struct dest_reject_row *out = &shelf->rows[shelf->count++];
    *out = *row;
    out->object = copy(shelf, row->object);
    out->column = copy(shelf, row->column);
    out->code = copy(shelf, row->code);
    out->reason = copy(shelf, row->reason);
    out->edited = copy(shelf, row->edited);
    out->raw = copy(shelf, row->raw);
    return PS_OK;
}

enum ps_status
leaf_shelf_read(struct leaf_shelf *shelf, const struct dest_ops *ops, struct dest *dest,
                struct dest_page *page, struct ps_error *err)
{
    shelf->count = 0;
    ps_buf_clear(&shelf->bytes);
    /* Once for all, so that what points there stays. */
    enum ps_status status = ps_buf_reserve(&shelf->bytes, SHELF_BYTES + ROW_MOST_BYTES, err);
    if (status == PS_OK) {
        status = ops->rejects(dest, page, on_row, shelf, err);
    }
    return status == PS_FULL && shelf->count > 0 ? PS_OK : status;
}
