/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dest_late.h"

#include <inttypes.h>

const char dest_late_null[] = "is NULL, and the column is NOT NULL";

enum { RAW_BYTES = 1024, RAW_TOTAL_BYTES = 8 * 1024 * 1024 };

static void
append_value(struct ps_buf *out, const struct cell *cell)
{
    switch (cell->tag) {
    case CELL_NULL:
        break;
    case CELL_INT:
        ps_buf_xprintf(out, "%" PRId64, cell->integer);
        break;
    case CELL_REAL:
        ps_buf_xprintf(out, "%.17g", cell->real);
        break;
    case CELL_TEXT:
    case CELL_SHORT_TEXT:
    case CELL_BLOB:
        ps_buf_xappend(out, "\"", 1);
        for (uint32_t i = 0; i < cell->len && out->len < RAW_BYTES; i++) {
            ps_buf_xappend(out, cell->ptr[i] == '"' ? "\"\"" : (const char *)&cell->ptr[i],
                           cell->ptr[i] == '"' ? 2 : 1);
        }
        ps_buf_xappend(out, "\"", 1);
        break;
    }
}

enum ps_status
dest_late_add(struct dest_late *late, const struct dest_late_row *row, const char *code,
              struct ps_span column, const char *reason, struct ps_error *err)
{
    struct ps_buf raw = PS_BUF_INIT;
    if (late->rejects.len < RAW_TOTAL_BYTES) {
        for (uint32_t i = 0; i < row->ncols && raw.len < RAW_BYTES; i++) {
            ps_buf_xappend(&raw, ",", i == 0 ? 0 : 1);
            append_value(&raw, &row->cells[i]);
        }
    }
    struct stage_reject reject = {.range_index = row->meta->range_index,
                                  .offset = row->meta->offset,
                                  .length = row->meta->length,
                                  .line = row->meta->line,
                                  .column = column,
                                  .code = ps_span_str(code),
                                  .reason = ps_span_str(reason),
                                  .raw = ps_buf_span(&raw)};
    enum ps_status status = stage_reject_encode(&late->rejects, &reject, err);
    ps_buf_fini(&raw);
    late->count += status == PS_OK ? 1 : 0;
    return status;
}

void
dest_late_clear(struct dest_late *late)
{
    ps_buf_clear(&late->rejects);
    late->count = 0;
}

void
dest_late_fini(struct dest_late *late)
{
    ps_buf_fini(&late->rejects);
    late->count = 0;
}

enum ps_status
dest_late_each(const struct dest_late *late, struct stage_batch *batch, dest_late_fn each,
               void *ctx, struct ps_error *err)
{
    stage_batch_rewind(batch);
    for (bool more = true; more;) {
        struct stage_reject reject;
        enum ps_status status = stage_batch_next_reject(batch, &reject, &more, err);
        if (status == PS_OK && more) {
            status = each(ctx, &reject, err);
        }
        if (status != PS_OK) {
            return status;
        }
    }
    for (struct ps_span rest = ps_buf_span(&late->rejects); rest.len > 0;) {
        struct stage_reject reject;
        enum ps_status status = stage_reject_decode(&rest, &reject, err);
        if (status == PS_OK) {
            status = each(ctx, &reject, err);
        }
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}
