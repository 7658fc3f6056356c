/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dst_postgres_rows.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/percent.h"
#include "common/utf8.h"

enum { REJECTS_A_SEND = 256 * 1024 };

/* ---- a block as COPY wants it */

/* All but a NULL is for the server to read. */
static const struct dst_postgres_column *
put_row_text(struct dst_postgres_rows *rows, const char **out_why)
{
    const struct dst_postgres *d = rows->d;
    size_t start = rows->bytes.len;
    for (uint32_t i = 0; i < d->column_count; i++) {
        const struct dst_postgres_column *column = &d->columns[i];
        const struct cell *cell = &rows->cells[column->cell];
        if (column->not_null && cell->tag == CELL_NULL) {
            *out_why = dest_late_null;
            rows->bytes.len = start;
            return column;
        }
        dst_postgres_value_text(cell, i + 1 == d->column_count, &rows->bytes);
    }
    return NULL;
}

/* NULL when the row is behind bytes; else the column that it does not fit. */
static const struct dst_postgres_column *
put_row(struct dst_postgres_rows *rows, const char **out_why)
{
    const struct dst_postgres *d = rows->d;
    size_t start = rows->bytes.len;
    if (d->by_server) {
        return put_row_text(rows, out_why);
    }
    uint16_t count = htobe16((uint16_t)d->column_count);
    ps_buf_xappend(&rows->bytes, &count, sizeof count);
    for (uint32_t i = 0; i < d->column_count; i++) {
        const struct dst_postgres_column *column = &d->columns[i];
        *out_why = dst_postgres_value_put(column, &rows->cells[column->cell], &rows->bytes);
        if (*out_why != NULL) {
            rows->bytes.len = start;
            return column;
        }
    }
    return NULL;
}

static enum ps_status
encode_block(struct dst_postgres_rows *rows, const struct block *block, struct ps_error *err)
{
    rows->block = block;
    rows->row_count = 0;
    ps_buf_clear(&rows->bytes);
    if (rows->row_cap < block->rows + 1) {
        rows->row_cap = block->rows + 1;
        rows->starts = ps_xrealloc(rows->starts, rows->row_cap * sizeof *rows->starts);
        rows->rows = ps_xrealloc(rows->rows, rows->row_cap * sizeof *rows->rows);
    }
    enum ps_status status = ps_buf_reserve(&rows->bytes, block->len * 2, err);
    struct block_cursor cursor;
    block_cursor_init(&cursor, block);
    bool more = true;
    for (uint32_t n = 0; status == PS_OK; n++) {
        struct row_meta meta;
        status = block_cursor_next(&cursor, &meta, rows->cells, &more, err);
        if (status != PS_OK || !more) {
            break;
        }
        const char *why = NULL;
        rows->starts[rows->row_count] = rows->bytes.len;
        const struct dst_postgres_column *column = put_row(rows, &why);
        if (column == NULL) {
            rows->rows[rows->row_count++] = n;
        } else if (!rows->read_again) {
            const struct dest_late_row row = {
                .meta = &meta, .cells = rows->cells, .ncols = rows->d->ncols};
            status = dest_late_add(&rows->late, &row, "type", ps_span_str(column->name), why, err);
        }
    }
    rows->starts[rows->row_count] = rows->bytes.len;
    return status;
}

/* ---- staging table into the table */

enum ps_status
dst_postgres_rows_merge(struct dst_postgres_rows *rows, const struct dst_postgres_staged *staged,
                        struct dst_postgres_refusal *refusal, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    PGresult *result = NULL;
    char *sql = dst_postgres_merge_text(d, staged);
    int sent = PQsendQuery(d->conn, sql);
    ps_free(sql);
    if (sent == 0) {
        return dst_postgres_fail(d, NULL, "merge", err);
    }
    enum ps_status status = dst_postgres_answer(d, &result, err);
    if (status == PS_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        status = dst_postgres_copy_refusal(d, result, "merge", refusal, err);
    } else if (status == PS_OK) {
        uint64_t inserted = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
        uint64_t updated = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
        updated += strtoull(PQgetvalue(result, 0, 2), NULL, 10);
        rows->counts.inserted += inserted;
        rows->counts.updated += updated;
        rows->counts.skipped += staged->given - inserted - updated;
    }
    PQclear(result);
    return status;
}

/* Where a partition alone says NOT NULL, only the server finds it. */
static bool
is_null_refused(const struct dst_postgres_rows *rows, const struct dst_postgres_refusal *refusal)
{
    const struct dst_postgres *d = rows->d;
    bool null = false;
    for (uint32_t i = 0; refusal->of_null && !null && i < d->column_count; i++) {
        null = strcmp(d->columns[i].name, refusal->column) == 0 &&
               rows->cells[d->columns[i].cell].tag == CELL_NULL;
    }
    return null;
}

/* The row's cells again, for its reject. */
enum ps_status
dst_postgres_rows_refuse(struct dst_postgres_rows *rows, uint32_t index,
                         const struct dst_postgres_refusal *refusal, struct dest_late *late,
                         struct ps_error *err)
{
    struct block_cursor cursor;
    struct row_meta meta = {0};
    bool more = true;
    block_cursor_init(&cursor, rows->block);
    for (uint32_t n = 0; more; n++) {
        enum ps_status status = block_cursor_next(&cursor, &meta, rows->cells, &more, err);
        if (status != PS_OK) {
            return status;
        }
        if (n == rows->rows[index]) {
            const struct dest_late_row row = {
                .meta = &meta, .cells = rows->cells, .ncols = rows->d->ncols};
            bool null = is_null_refused(rows, refusal);
            return dest_late_add(late, &row, null ? "type" : "constraint",
                                 ps_span_str(refusal->column),
                                 null ? dest_late_null : refusal->text, err);
        }
    }
    return ps_fail(err, PS_BUG, "postgresql: row %u of a block is not there", index);
}

/* ---- the batch */

static enum ps_status
each_block(struct dst_postgres_rows *rows, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    stage_batch_rewind(rows->batch->rows);
    rows->place = 0;
    for (;;) {
        const struct block *block = NULL;
        enum ps_status status = stage_batch_next(rows->batch->rows, &block, err);
        if (status != PS_OK || block == NULL) {
            return status;
        }
        if (block->ncols != d->ncols) {
            return ps_fail(err, PS_BUG, "postgresql: rows of %u cells for %u columns", block->ncols,
                           d->ncols);
        }
        status = encode_block(rows, block, err);
        if (status == PS_OK && rows->row_count > 0) {
            status = rows->careful
                         ? dst_postgres_careful_block(rows, err)
                         : dst_postgres_copy_put(d, rows->bytes.ptr, rows->bytes.len, err);
        }
        rows->place += rows->row_count;
        if (status != PS_OK) {
            return status;
        }
    }
}

static enum ps_status
insert_fast(struct dst_postgres_rows *rows, bool *out_refused, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    struct dst_postgres_refusal refusal = {.text = ""};
    uint64_t in = 0;
    enum ps_status status = dst_postgres_copy_begin(d, d->copy_sql, !d->by_server, err);
    if (status == PS_OK) {
        status = each_block(rows, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_copy_end(d, !d->by_server, &in, &refusal, err);
    }
    if (status == PS_OK && refusal.text[0] == '\0') {
        if (d->merge_sql != NULL) {
            const struct dst_postgres_staged all = {
                .before = "", .last = INT64_MAX, .given = rows->place};
            status = dst_postgres_rows_merge(rows, &all, &refusal, err);
        } else {
            rows->counts.inserted = in;
            rows->counts.skipped = rows->place - in; /* that a trigger took away */
        }
    }
    *out_refused = status == PS_OK && refusal.text[0] != '\0';
    return status;
}

static enum ps_status
insert_carefully(struct dst_postgres_rows *rows, struct ps_error *err)
{
    bool again = true;
    enum ps_status status = PS_OK;
    dst_postgres_careful_begin(rows);
    while (status == PS_OK && again) {
        status = each_block(rows, err);
        rows->read_again = true;
        if (status == PS_OK) {
            dst_postgres_careful_round(rows, &again);
        }
    }
    return status;
}

enum ps_status
dst_postgres_rows_insert(struct dst_postgres_rows *rows, bool *out_refused, struct ps_error *err)
{
    *out_refused = false;
    rows->counts = rows->batch->counts;
    rows->counts.inserted = 0;
    rows->counts.updated = 0;
    rows->counts.skipped = 0;
    rows->counts.rejected_at_load = 0;
    rows->read_again = false;
    dest_late_clear(&rows->late);
    if (rows->cells == NULL) {
        rows->cells = ps_xcalloc(rows->d->ncols, sizeof *rows->cells);
    }
    enum ps_status status = PS_OK;
    if (rows->at_once) {
        status = dst_postgres_exec(rows->d, "SET CONSTRAINTS ALL IMMEDIATE", NULL, err);
    }
    if (status == PS_OK) {
        status = rows->careful ? insert_carefully(rows, err) : insert_fast(rows, out_refused, err);
    }
    rows->counts.rejected_at_load = rows->late.count;
    return status;
}

/* ---- rejects */

static void
put_field(struct ps_buf *out, const void *bytes, size_t len)
{
    uint32_t be = htobe32((uint32_t)len);
    ps_buf_xappend(out, &be, sizeof be);
    ps_buf_xappend(out, bytes, len);
}

static void
put_int(struct ps_buf *out, uint64_t value)
{
    uint64_t be = htobe64(value);
    put_field(out, &be, sizeof be);
}

static void
put_null(struct ps_buf *out)
{
    static const uint32_t minus_one = UINT32_MAX;
    ps_buf_xappend(out, &minus_one, sizeof minus_one);
}

/* What is no text of the server's keeps its bytes as %HH. */
static void
put_text(struct ps_buf *out, struct ps_span text)
{
    struct ps_buf safe = PS_BUF_INIT;
    dest_text_safe(text, &safe);
    put_field(out, safe.ptr, safe.len);
    ps_buf_fini(&safe);
}

static enum ps_status
put_reject(void *ctx, const struct stage_reject *reject, struct ps_error *err)
{
    struct dst_postgres_rows *rows = ctx;
    const struct dest_batch *batch = rows->batch;
    struct ps_buf *out = &rows->bytes;
    uint16_t fields = htobe16(10);
    ps_buf_xappend(out, &fields, sizeof fields);
    put_field(out, batch->id.id.b, PS_ID_BYTES);
    if (reject->range_index < batch->range_count) {
        put_text(out, batch->ranges[reject->range_index].key);
    } else {
        put_null(out);
    }
    put_int(out, reject->offset);
    put_int(out, reject->length);
    if (reject->line != 0) {
        put_int(out, reject->line);
    } else {
        put_null(out);
    }
    if (reject->column.len > 0) {
        put_text(out, reject->column);
    } else {
        put_null(out);
    }
    put_text(out, reject->code);
    put_text(out, reject->reason);
    if (reject->raw.len > 0) {
        put_field(out, reject->raw.ptr, reject->raw.len);
    } else {
        put_null(out);
    }
    put_int(out, (uint64_t)ps_clock_wall_ms());
    if (out->len < REJECTS_A_SEND) {
        return PS_OK;
    }
    enum ps_status status = dst_postgres_copy_put(rows->d, out->ptr, out->len, err);
    ps_buf_clear(out);
    return status;
}

enum ps_status
dst_postgres_rows_reject(struct dst_postgres_rows *rows, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    if (stage_batch_rejects(rows->batch->rows) + rows->late.count == 0) {
        return PS_OK;
    }
    char *sql = ps_xasprintf("COPY %s(batch_id, object, \"offset\", length, line, \"column\", code,"
                             " reason, raw, at_ms) FROM STDIN (FORMAT binary)",
                             d->rejects);
    struct dst_postgres_refusal refusal = {.text = ""};
    uint64_t in = 0;
    ps_buf_clear(&rows->bytes);
    enum ps_status status = dst_postgres_copy_begin(d, sql, true, err);
    ps_free(sql);
    if (status == PS_OK) {
        status = dest_late_each(&rows->late, rows->batch->rows, put_reject, rows, err);
    }
    if (status == PS_OK && rows->bytes.len > 0) {
        status = dst_postgres_copy_put(d, rows->bytes.ptr, rows->bytes.len, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_copy_end(d, true, &in, &refusal, err);
    }
    return status == PS_OK && refusal.text[0] != '\0'
               ? ps_fail(err, PS_REFUSED, "%s: %s refused a reject: %s", d->shown, d->rejects,
                         refusal.text)
               : status;
}

void
dst_postgres_rows_fini(struct dst_postgres_rows *rows)
{
    dst_postgres_careful_fini(&rows->way);
    dest_late_fini(&rows->late);
    ps_buf_fini(&rows->bytes);
    ps_free(rows->starts);
    ps_free(rows->rows);
    ps_free(rows->cells);
    rows->starts = NULL;
    rows->rows = NULL;
    rows->cells = NULL;
}
