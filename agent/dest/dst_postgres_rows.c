/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dst_postgres_rows.h"

#include <endian.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/percent.h"
#include "common/utf8.h"

enum { REJECTS_A_SEND = 256 * 1024 };

static const char copy_header[] =
    "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"; /* signature, flags, extension */
enum { COPY_HEADER_BYTES = 19 };
_Static_assert(sizeof copy_header == COPY_HEADER_BYTES + 1, "the header of COPY's binary format");
static const char copy_trailer[2] = {(char)0xFF, (char)0xFF};

/* Why the server refused a row; text is empty when it did not. */
struct refusal {
    char text[400];
    char column[64];
};

/* ---- COPY */

/* The table said no to a row, and will again; anything else is about the server. */
static bool
is_row_error(const char *state)
{
    return strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
           strncmp(state, "P0", 2) == 0 || strncmp(state, "54", 2) == 0 ||
           strncmp(state, "44", 2) == 0;
}

static void
keep_refusal(const PGresult *result, struct refusal *out)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *column = PQresultErrorField(result, PG_DIAG_COLUMN_NAME);
    snprintf(out->text, sizeof out->text, "%s%s%s%s", text == NULL ? "refused" : text,
             detail == NULL ? "" : " (", detail == NULL ? "" : detail, detail == NULL ? "" : ")");
    snprintf(out->column, sizeof out->column, "%s", column == NULL ? "" : column);
}

static enum ps_status
copy_put(struct dst_postgres *d, const void *bytes, size_t len, struct ps_error *err)
{
    enum ps_status status = dst_postgres_flush(d, err);
    if (status == PS_OK && PQputCopyData(d->conn, bytes, (int)len) != 1) {
        status = dst_postgres_fail(d, NULL, "copy", err);
    }
    /* Not waited for: the next block is encoded while this one is sent. */
    return status == PS_OK && PQflush(d->conn) < 0 ? dst_postgres_fail(d, NULL, "copy", err)
                                                   : status;
}

static enum ps_status
copy_begin(struct dst_postgres *d, const char *sql, bool binary, struct ps_error *err)
{
    PGresult *result = NULL;
    if (PQsendQuery(d->conn, sql) == 0) {
        return dst_postgres_fail(d, NULL, "copy", err);
    }
    enum ps_status status = dst_postgres_answer(d, &result, err);
    if (status == PS_OK && PQresultStatus(result) != PGRES_COPY_IN) {
        status = dst_postgres_fail(d, result, "copy", err);
    }
    PQclear(result);
    return status == PS_OK && binary ? copy_put(d, copy_header, COPY_HEADER_BYTES, err) : status;
}

/* refusal->text stays empty unless the server refused a row. */
static enum ps_status
copy_end(struct dst_postgres *d, bool binary, struct refusal *refusal, struct ps_error *err)
{
    enum ps_status status =
        binary ? copy_put(d, copy_trailer, sizeof copy_trailer, err) : dst_postgres_flush(d, err);
    if (status == PS_OK && PQputCopyEnd(d->conn, NULL) != 1) {
        status = dst_postgres_fail(d, NULL, "copy", err);
    }
    PGresult *result = NULL;
    if (status == PS_OK) {
        status = dst_postgres_answer(d, &result, err);
    }
    if (status == PS_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        char state[6];
        dst_postgres_state_of(result, state);
        if (is_row_error(state)) {
            keep_refusal(result, refusal);
        } else {
            status = dst_postgres_fail(d, result, "copy", err);
        }
    }
    PQclear(result);
    return status;
}

/* ---- a block as COPY wants it */

static enum ps_status
refuse_row(struct dst_postgres_rows *rows, const struct row_meta *meta, const char *code,
           struct ps_span column, const char *reason, struct ps_error *err)
{
    const struct dest_late_row row = {.meta = meta, .cells = rows->cells, .ncols = rows->d->ncols};
    return dest_late_add(&rows->late, &row, code, column, reason, err);
}

/* NULL when the row is behind bytes; else the column that it does not fit. */
static const struct dst_postgres_column *
put_row(struct dst_postgres_rows *rows, const char **out_why)
{
    const struct dst_postgres *d = rows->d;
    size_t start = rows->bytes.len;
    if (d->by_server) {
        for (uint32_t i = 0; i < d->column_count; i++) {
            dst_postgres_value_text(&rows->cells[d->columns[i].cell], i + 1 == d->column_count,
                                    &rows->bytes);
        }
        return NULL;
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
        } else {
            status = refuse_row(rows, &meta, "type", ps_span_str(column->name), why, err);
        }
    }
    rows->starts[rows->row_count] = rows->bytes.len;
    return status;
}

/* ---- staging table into the table */

static enum ps_status
merge(struct dst_postgres_rows *rows, uint64_t given, struct refusal *refusal, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    PGresult *result = NULL;
    if (PQsendQueryParams(d->conn, d->merge_sql, 0, NULL, NULL, NULL, NULL, 1) == 0) {
        return dst_postgres_fail(d, NULL, "merge", err);
    }
    enum ps_status status = dst_postgres_answer(d, &result, err);
    if (status == PS_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        char state[6];
        dst_postgres_state_of(result, state);
        if (is_row_error(state)) {
            keep_refusal(result, refusal);
        } else {
            status = dst_postgres_fail(d, result, "merge", err);
        }
    } else if (status == PS_OK) {
        uint64_t inserted = (uint64_t)pg_value_int(result, 0, 0);
        uint64_t updated = (uint64_t)pg_value_int(result, 0, 1);
        rows->counts.inserted += inserted;
        rows->counts.updated += updated;
        rows->counts.skipped += given - inserted - updated;
    }
    PQclear(result);
    return status;
}

/* ---- the careful way */

/* Rows [from, to) of the present block behind the savepoint. */
static enum ps_status
put_slice(struct dst_postgres_rows *rows, uint32_t from, uint32_t to, struct refusal *refusal,
          struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    refusal->text[0] = '\0';
    enum ps_status status = copy_begin(d, d->copy_sql, !d->by_server, err);
    if (status == PS_OK) {
        status = copy_put(d, rows->bytes.ptr + rows->starts[from],
                          rows->starts[to] - rows->starts[from], err);
    }
    if (status == PS_OK) {
        status = copy_end(d, !d->by_server, refusal, err);
    }
    if (status != PS_OK || refusal->text[0] != '\0') {
        return status;
    }
    if (d->merge_sql == NULL) {
        rows->counts.inserted += to - from;
        return PS_OK;
    }
    status = merge(rows, to - from, refusal, err);
    return status == PS_OK && refusal->text[0] == '\0'
               ? dst_postgres_exec(d, "DELETE FROM pg_temp._penstock_stage", NULL, err)
               : status;
}

/* The row's cells again, for its reject. */
static enum ps_status
refuse_again(struct dst_postgres_rows *rows, uint32_t index, const struct refusal *refusal,
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
            return refuse_row(rows, &meta, "constraint", ps_span_str(refusal->column),
                              refusal->text, err);
        }
    }
    return ps_fail(err, PS_BUG, "postgresql: row %u of a block is not there", index);
}

/* Slices that are refused are halved; the stack holds what is still to be tried, in order. */
static enum ps_status
insert_carefully(struct dst_postgres_rows *rows, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    struct slice {
        uint32_t from, to;
    } stack[40] = {{0, rows->row_count}};
    size_t depth = rows->row_count > 0 ? 1 : 0;
    enum ps_status status = PS_OK;
    while (status == PS_OK && depth > 0) {
        struct slice slice = stack[--depth];
        struct refusal refusal = {.text = ""};
        struct dest_counts before = rows->counts;
        status = dst_postgres_exec(d, "SAVEPOINT _penstock_rows", NULL, err);
        if (status == PS_OK) {
            status = put_slice(rows, slice.from, slice.to, &refusal, err);
        }
        if (status != PS_OK) {
            break;
        }
        bool refused = refusal.text[0] != '\0';
        if (refused) {
            rows->counts = before;
            status = dst_postgres_exec(d, "ROLLBACK TO SAVEPOINT _penstock_rows", NULL, err);
        }
        if (status == PS_OK) {
            status = dst_postgres_exec(d, "RELEASE SAVEPOINT _penstock_rows", NULL, err);
        }
        if (status == PS_OK && refused && slice.to - slice.from == 1) {
            status = refuse_again(rows, slice.from, &refusal, err);
        } else if (refused) {
            uint32_t middle = slice.from + (slice.to - slice.from) / 2;
            PS_ASSERT(depth + 2 <= sizeof stack / sizeof stack[0]);
            stack[depth++] = (struct slice){middle, slice.to};
            stack[depth++] = (struct slice){slice.from, middle};
        }
    }
    return status;
}

/* ---- the batch */

static enum ps_status
each_block(struct dst_postgres_rows *rows, uint64_t *out_given, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    stage_batch_rewind(rows->batch->rows);
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
            status = rows->careful ? insert_carefully(rows, err)
                                   : copy_put(d, rows->bytes.ptr, rows->bytes.len, err);
        }
        *out_given += rows->row_count;
        if (status != PS_OK) {
            return status;
        }
    }
}

static enum ps_status
insert_fast(struct dst_postgres_rows *rows, bool *out_refused, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    struct refusal refusal = {.text = ""};
    uint64_t given = 0;
    enum ps_status status = copy_begin(d, d->copy_sql, !d->by_server, err);
    if (status == PS_OK) {
        status = each_block(rows, &given, err);
    }
    if (status == PS_OK) {
        status = copy_end(d, !d->by_server, &refusal, err);
    }
    if (status == PS_OK && refusal.text[0] == '\0') {
        if (d->merge_sql != NULL) {
            status = merge(rows, given, &refusal, err);
        } else {
            rows->counts.inserted = given;
        }
    }
    *out_refused = status == PS_OK && refusal.text[0] != '\0';
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
    dest_late_clear(&rows->late);
    if (rows->cells == NULL) {
        rows->cells = ps_xcalloc(rows->d->ncols, sizeof *rows->cells);
    }
    enum ps_status status = PS_OK;
    if (rows->at_once) {
        status = dst_postgres_exec(rows->d, "SET CONSTRAINTS ALL IMMEDIATE", NULL, err);
    }
    if (status == PS_OK && rows->careful) {
        uint64_t given = 0;
        status = each_block(rows, &given, err);
    } else if (status == PS_OK) {
        status = insert_fast(rows, out_refused, err);
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
    enum ps_status status = copy_put(rows->d, out->ptr, out->len, err);
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
    struct refusal refusal = {.text = ""};
    ps_buf_clear(&rows->bytes);
    enum ps_status status = copy_begin(d, sql, true, err);
    ps_free(sql);
    if (status == PS_OK) {
        status = dest_late_each(&rows->late, rows->batch->rows, put_reject, rows, err);
    }
    if (status == PS_OK && rows->bytes.len > 0) {
        status = copy_put(d, rows->bytes.ptr, rows->bytes.len, err);
    }
    if (status == PS_OK) {
        status = copy_end(d, true, &refusal, err);
    }
    return status == PS_OK && refusal.text[0] != '\0'
               ? ps_fail(err, PS_REFUSED, "%s: %s refused a reject: %s", d->shown, d->rejects,
                         refusal.text)
               : status;
}

void
dst_postgres_rows_fini(struct dst_postgres_rows *rows)
{
    dest_late_fini(&rows->late);
    ps_buf_fini(&rows->bytes);
    ps_free(rows->starts);
    ps_free(rows->rows);
    ps_free(rows->cells);
    rows->starts = NULL;
    rows->rows = NULL;
    rows->cells = NULL;
}
