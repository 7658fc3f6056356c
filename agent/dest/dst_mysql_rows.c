/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dst_mysql_rows.h"
#include "agent/dest/dst_mysql_field.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/percent.h"
#include "common/utf8.h"

enum {
    STATEMENT_BYTES = 1024 * 1024, /* of an INSERT, where the server takes as much */
    SLICE_LEAST = 16,
};

/* Why the server refused a row; text is empty when it did not. row: which of the statement's, from
 * 0; UINT32_MAX: it did not say. */
struct refusal {
    char text[400];
    uint32_t row;
};

/* ---- a block as LOAD DATA wants it */

static enum ps_status
refuse_row(struct dst_mysql_rows *rows, const struct row_meta *meta, const char *code,
           struct ps_span column, const char *reason, struct ps_error *err)
{
    const struct dest_late_row row = {.meta = meta, .cells = rows->cells, .ncols = rows->d->ncols};
    return dest_late_add(&rows->late, &row, code, column, reason, err);
}

/* NULL when the row is behind bytes; else the column that it does not fit. */
static const struct dst_mysql_column *
put_row(struct dst_mysql_rows *rows, const char **out_why)
{
    const struct dst_mysql *d = rows->d;
    enum dst_mysql_form form = rows->careful ? MY_FORM_LITERAL
                               : d->hex      ? MY_FORM_LOAD_HEX
                                             : MY_FORM_LOAD;
    size_t start = rows->bytes.len;
    for (uint32_t i = 0; i < d->column_count; i++) {
        const struct dst_mysql_column *column = &d->columns[i];
        dst_mysql_field_put(&rows->bytes, ",", i == 0 ? 0 : 1);
        *out_why = dst_mysql_value_put(column, &rows->cells[column->cell], form, &rows->bytes);
        if (*out_why != NULL) {
            rows->bytes.len = start;
            return column;
        }
    }
    dst_mysql_field_put(&rows->bytes, "\n", 1);
    return NULL;
}

static enum ps_status
encode_block(struct dst_mysql_rows *rows, const struct block *block, struct ps_error *err)
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
        const struct dst_mysql_column *column = put_row(rows, &why);
        if (column == NULL) {
            rows->rows[rows->row_count++] = n;
        } else {
            status = refuse_row(rows, &meta, "type", ps_span_str(column->name), why, err);
        }
    }
    rows->starts[rows->row_count] = rows->bytes.len;
    return status;
}

/* *out_more false: the batch has no further block. */
static enum ps_status
next_block(struct dst_mysql_rows *rows, bool *out_more, struct ps_error *err)
{
    const struct block *block = NULL;
    enum ps_status status = stage_batch_next(rows->batch->rows, &block, err);
    *out_more = block != NULL;
    if (status != PS_OK || block == NULL) {
        return status;
    }
    if (block->ncols != rows->d->ncols) {
        return ps_fail(err, PS_BUG, "mysql: rows of %u cells for %u columns", block->ncols,
                       rows->d->ncols);
    }
    status = encode_block(rows, block, err);
    rows->given += rows->row_count;
    rows->sent = 0;
    return status;
}

/* ---- the fast way: one LOAD DATA */

/* The library calls this as the server takes what it has: the next block is encoded while the
 * bytes before it are on their way. */
static int
feed(void *ctx, char *out, unsigned len)
{
    struct dst_mysql_rows *rows = ctx;
    while (rows->sent == rows->bytes.len) {
        bool more = false;
        rows->status = next_block(rows, &more, &rows->err);
        if (rows->status != PS_OK) {
            return -1;
        }
        if (!more) {
            return 0;
        }
    }
    size_t left = rows->bytes.len - rows->sent;
    size_t part = left < len ? left : len;
    memcpy(out, rows->bytes.ptr + rows->sent, part);
    rows->sent += part;
    return (int)part;
}

static enum ps_status
load_all(struct dst_mysql_rows *rows, bool *out_refused, struct ps_error *err)
{
    struct dst_mysql *d = rows->d;
    stage_batch_rewind(rows->batch->rows);
    rows->given = 0;
    rows->sent = 0;
    rows->status = PS_OK;
    ps_buf_clear(&rows->bytes);
    char *sql = ps_xasprintf("LOAD DATA LOCAL INFILE '%s'%s", d->feed.name, d->load_tail);
    d->feed.read = feed;
    d->feed.ctx = rows;
    enum ps_status status = dst_mysql_try(d, sql, strlen(sql), out_refused, err);
    d->feed.read = NULL;
    ps_free(sql);
    if (rows->status != PS_OK) {
        /* The server has a part and takes it for all. */
        *err = rows->err;
        dst_mysql_disconnect(d);
        return rows->status;
    }
    if (status == PS_OK && !*out_refused) {
        *out_refused =
            mysql_warning_count(d->conn) != 0 || mysql_affected_rows(d->conn) != rows->given;
    }
    return status;
}

/* ---- staging table into the table */

static void
keep_refusal(struct dst_mysql *d, struct refusal *out)
{
    snprintf(out->text, sizeof out->text, "%s (%u)", mysql_error(d->conn), mysql_errno(d->conn));
    out->row = UINT32_MAX;
}

/* Which row of the last INSERT it was, where the server can tell. The text of the error is kept
 * before: asking changes it. */
static void
ask_row(struct dst_mysql *d, struct refusal *refusal)
{
    struct ps_error ignored = {0};
    MYSQL_RES *result = NULL;
    static const char ask[] = "SELECT @_penstock_row";
    if (!d->dialect->has_row_number || !d->is_mariadb || d->version < 100700 ||
        dst_mysql_exec(d, "GET DIAGNOSTICS CONDITION 1 @_penstock_row = ROW_NUMBER", &ignored) !=
            PS_OK ||
        dst_mysql_query(d, ask, sizeof ask - 1, &result, &ignored) != PS_OK) {
        return;
    }
    MYSQL_ROW row = mysql_fetch_row(result);
    unsigned long long number = row == NULL || row[0] == NULL ? 0 : strtoull(row[0], NULL, 10);
    refusal->row = number > 0 ? (uint32_t)(number - 1) : UINT32_MAX;
    mysql_free_result(result);
}

/* refusal->text stays empty unless the server refused a row. */
static enum ps_status
merge(struct dst_mysql_rows *rows, uint64_t since, uint64_t given, struct refusal *refusal,
      struct ps_error *err)
{
    struct dst_mysql_merged merged = {0};
    bool refused = false;
    /* An UPDATE before a refused INSERT would count its rows as losers when they come again. */
    bool again =
        rows->careful && rows->d->dialect->has_savepoints && rows->d->merge_updates_sql != NULL;
    enum ps_status status =
        again ? dst_mysql_exec(rows->d, "SAVEPOINT _penstock_merge", err) : PS_OK;
    if (status == PS_OK) {
        status = dst_mysql_merge(rows->d, since, given, &merged, &refused, err);
    }
    if (status == PS_OK && refused) {
        keep_refusal(rows->d, refusal);
        if (rows->careful && merged.insert_refused) {
            ask_row(rows->d, refusal);
        }
        if (refusal->row != UINT32_MAX) {
            status = dst_mysql_merge_place(rows->d, since, refusal->row, &refusal->row, err);
        }
        if (status == PS_OK && again) {
            status = dst_mysql_exec(rows->d, "ROLLBACK TO SAVEPOINT _penstock_merge", err);
        }
    } else if (status == PS_OK) {
        rows->counts.inserted += merged.inserted;
        rows->counts.updated += merged.updated;
        rows->counts.skipped += given - merged.inserted - merged.updated;
    }
    return status;
}

static bool
is_staged(const struct dst_mysql *d)
{
    return d->merge_insert_sql != NULL;
}

static enum ps_status
insert_fast(struct dst_mysql_rows *rows, bool *out_refused, struct ps_error *err)
{
    struct refusal refusal = {.text = ""};
    if (stage_batch_rows(rows->batch->rows) == 0) {
        return PS_OK;
    }
    rows->d->stage_used = is_staged(rows->d);
    enum ps_status status = load_all(rows, out_refused, err);
    if (status != PS_OK || *out_refused) {
        return status;
    }
    if (!is_staged(rows->d)) {
        rows->counts.inserted = rows->given;
        return PS_OK;
    }
    status = merge(rows, 0, rows->given, &refusal, err);
    *out_refused = status == PS_OK && refusal.text[0] != '\0';
    return status;
}

/* ---- the careful way */

/* Rows [from, to) of the present block in one statement. */
static enum ps_status
insert_slice(struct dst_mysql_rows *rows, uint32_t from, uint32_t to, struct refusal *refusal,
             struct ps_error *err)
{
    struct dst_mysql *d = rows->d;
    bool refused = false;
    ps_buf_clear(&rows->sql);
    ps_buf_xprintf(&rows->sql, "INSERT INTO %s(%s) VALUES ", d->target, d->names);
    for (uint32_t i = from; i < to; i++) {
        ps_buf_xappend(&rows->sql, i == from ? "(" : ",(", i == from ? 1 : 2);
        ps_buf_xappend(&rows->sql, rows->bytes.ptr + rows->starts[i],
                       rows->starts[i + 1] - rows->starts[i] - 1);
        ps_buf_xappend(&rows->sql, ")", 1);
    }
    if (rows->sql.len + 64 > d->max_packet) {
        return ps_fail_code(err, PS_REFUSED, "packet_too_large",
                            "%s: a row of %zu bytes: raise max_allowed_packet of the server, which "
                            "is %llu",
                            d->shown, rows->sql.len, (unsigned long long)d->max_packet);
    }
    enum ps_status status =
        dst_mysql_try(d, (const char *)rows->sql.ptr, rows->sql.len, &refused, err);
    if (status == PS_OK && refused) {
        keep_refusal(d, refusal);
        ask_row(d, refusal);
    }
    return status;
}

static enum ps_status
put_slice(struct dst_mysql_rows *rows, uint32_t from, uint32_t to, struct refusal *refusal,
          struct ps_error *err)
{
    struct dst_mysql *d = rows->d;
    *refusal = (struct refusal){.row = UINT32_MAX};
    enum ps_status status = PS_OK;
    if (is_staged(d) && !d->dialect->numbers_rise) {
        char *sql = ps_xasprintf("DELETE FROM %s", d->target);
        status = dst_mysql_exec(d, sql, err);
        ps_free(sql);
    }
    if (status == PS_OK) {
        status = insert_slice(rows, from, to, refusal, err);
    }
    if (status != PS_OK || refusal->text[0] != '\0') {
        return status;
    }
    if (is_staged(d)) {
        uint64_t since = d->dialect->numbers_rise ? mysql_insert_id(d->conn) : 0;
        return since == 0 && d->dialect->numbers_rise
                   ? ps_fail(err, PS_BUG, "mysql: staged rows have no number")
                   : merge(rows, since, to - from, refusal, err);
    }
    rows->counts.inserted += to - from;
    return PS_OK;
}

/* The row's cells again, for its reject. */
static enum ps_status
refuse_again(struct dst_mysql_rows *rows, uint32_t index, const struct refusal *refusal,
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
            return refuse_row(rows, &meta, "constraint", ps_span(NULL, 0), refusal->text, err);
        }
    }
    return ps_fail(err, PS_BUG, "mysql: row %u of a block is not there", index);
}

/* Where the slice that begins at from ends: not more rows, and not more bytes, than a statement is
 * to have. */
static uint32_t
slice_end(const struct dst_mysql_rows *rows, uint32_t from)
{
    uint64_t most =
        rows->d->max_packet / 2 < STATEMENT_BYTES ? rows->d->max_packet / 2 : STATEMENT_BYTES;
    uint32_t to = from + 1;
    while (to < rows->row_count && to - from < rows->slice &&
           rows->starts[to + 1] - rows->starts[from] + 3 * (to - from) < most) {
        to++;
    }
    return to;
}

/* What the careful way knows of the rows behind from. */
struct search {
    uint32_t from;
    uint32_t sure;    /* rows before it were taken once, and will be again; 0: not known */
    uint32_t bad;     /* before it stands a guilty one; 0: not known */
    uint32_t named;   /* behind the one that the server named; 0: it named none */
    uint32_t refused; /* behind the last one that was found */
};

static uint32_t
search_end(const struct dst_mysql_rows *rows, const struct search *at)
{
    if (at->sure > at->from) {
        return at->sure;
    }
    return at->bad > at->from ? at->from + (at->bad - at->from + 1) / 2 : slice_end(rows, at->from);
}

static uint32_t
slice_after(uint32_t apart)
{
    return apart * 2 > SLICE_LEAST ? apart * 2 : SLICE_LEAST;
}

/* Rows up to `to` were refused. The next slices are about as long as refusals are apart: what
 * stands behind a guilty row is read in vain. */
static enum ps_status
narrow(struct dst_mysql_rows *rows, struct search *at, uint32_t to, const struct refusal *refusal,
       struct ps_error *err)
{
    uint32_t count = to - at->from;
    bool names = !rows->distrusts && refusal->row < count;
    /* Only what stood alone is refused: what a trigger's own statement counts is not our rows. */
    if (count > 1) {
        at->sure = names ? at->from + refusal->row : 0;
        at->bad = names ? at->sure + 1 : to; /* next, that one alone */
        at->named = names ? at->bad : 0;
        rows->slice = names ? slice_after(refusal->row) : rows->slice;
        return PS_OK;
    }
    enum ps_status status = refuse_again(rows, at->from, refusal, err);
    rows->slice = names ? rows->slice : slice_after(at->from - at->refused);
    at->refused = ++at->from;
    at->sure = at->bad = at->named = 0;
    return status;
}

/* A statement is all or nothing, so what was refused is cut at the guilty row where the server
 * names it, else halved until it is alone. */
static enum ps_status
insert_block(struct dst_mysql_rows *rows, struct ps_error *err)
{
    struct search at = {0};
    while (at.from < rows->row_count) {
        struct refusal refusal;
        bool searches = at.sure > at.from || at.bad > at.from;
        uint32_t to = search_end(rows, &at);
        enum ps_status status = put_slice(rows, at.from, to, &refusal, err);
        if (status == PS_OK && refusal.text[0] != '\0') {
            status = narrow(rows, &at, to, &refusal, err);
        } else if (status == PS_OK) {
            rows->slice += searches ? 0 : rows->slice / 2;
            /* The row that was named is a good one: the server counts otherwise. */
            rows->distrusts = rows->distrusts || (at.named != 0 && at.named == to);
            at.from = to;
        }
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}

static enum ps_status
insert_carefully(struct dst_mysql_rows *rows, struct ps_error *err)
{
    rows->slice = UINT16_MAX;
    rows->distrusts = false;
    rows->d->stage_used = is_staged(rows->d);
    stage_batch_rewind(rows->batch->rows);
    for (bool more = true;;) {
        enum ps_status status = next_block(rows, &more, err);
        if (status == PS_OK && more) {
            status = insert_block(rows, err);
        }
        if (status != PS_OK || !more) {
            return status;
        }
    }
}

enum ps_status
dst_mysql_rows_insert(struct dst_mysql_rows *rows, bool *out_refused, struct ps_error *err)
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
    enum ps_status status =
        rows->careful ? insert_carefully(rows, err) : insert_fast(rows, out_refused, err);
    rows->counts.rejected_at_load = rows->late.count;
    return status;
}

/* ---- rejects */

/* What is no text of the server's keeps its bytes as %HH. */
static void
put_text(struct ps_buf *out, struct ps_span text)
{
    if (ps_utf8_valid(text)) {
        dst_mysql_value_quote(text, out);
        return;
    }
    struct ps_buf escaped = PS_BUF_INIT;
    ps_percent_name(text, &escaped);
    dst_mysql_value_quote(ps_buf_span(&escaped), out);
    ps_buf_fini(&escaped);
}

static enum ps_status
send_rejects(struct dst_mysql_rows *rows, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    if (rows->sql.len > 0) {
        status = dst_mysql_query(rows->d, (const char *)rows->sql.ptr, rows->sql.len, NULL, err);
    }
    ps_buf_clear(&rows->sql);
    return status;
}

static enum ps_status
put_reject(void *ctx, const struct stage_reject *reject, struct ps_error *err)
{
    struct dst_mysql_rows *rows = ctx;
    const struct dest_batch *batch = rows->batch;
    struct ps_buf *out = &rows->sql;
    if (out->len == 0) {
        ps_buf_xprintf(out,
                       "INSERT INTO %s(batch_id, object, `offset`, length, line, `column`, code,"
                       " reason, raw, at_ms) VALUES ",
                       rows->d->rejects);
    } else {
        ps_buf_xappend(out, ",", 1);
    }
    ps_buf_xappend(out, "(", 1);
    dst_mysql_literal(out, ps_span(batch->id.id.b, PS_ID_BYTES), false);
    ps_buf_xappend(out, ",", 1);
    if (reject->range_index < batch->range_count) {
        put_text(out, batch->ranges[reject->range_index].key);
    } else {
        ps_buf_xprintf(out, "NULL");
    }
    ps_buf_xprintf(out, ",%llu,%llu,", (unsigned long long)reject->offset,
                   (unsigned long long)reject->length);
    ps_buf_xprintf(out, reject->line != 0 ? "%llu," : "NULL,", (unsigned long long)reject->line);
    if (reject->column.len > 0) {
        put_text(out, reject->column);
    } else {
        ps_buf_xprintf(out, "NULL");
    }
    ps_buf_xappend(out, ",", 1);
    put_text(out, reject->code);
    ps_buf_xappend(out, ",", 1);
    put_text(out, reject->reason);
    ps_buf_xappend(out, ",", 1);
    if (reject->raw.len > 0) {
        dst_mysql_literal(out, reject->raw, false);
    } else {
        ps_buf_xprintf(out, "NULL");
    }
    ps_buf_xprintf(out, ",%lld)", (long long)ps_clock_wall_ms());
    bool full = out->len >= STATEMENT_BYTES || out->len >= rows->d->max_packet / 4;
    return full ? send_rejects(rows, err) : PS_OK;
}

enum ps_status
dst_mysql_rows_reject(struct dst_mysql_rows *rows, struct ps_error *err)
{
    if (stage_batch_rejects(rows->batch->rows) + rows->late.count == 0) {
        return PS_OK;
    }
    ps_buf_clear(&rows->sql);
    enum ps_status status = dest_late_each(&rows->late, rows->batch->rows, put_reject, rows, err);
    return status == PS_OK ? send_rejects(rows, err) : status;
}

void
dst_mysql_rows_fini(struct dst_mysql_rows *rows)
{
    dest_late_fini(&rows->late);
    ps_buf_fini(&rows->bytes);
    ps_buf_fini(&rows->sql);
    ps_free(rows->starts);
    ps_free(rows->rows);
    ps_free(rows->cells);
    rows->starts = NULL;
    rows->rows = NULL;
    rows->cells = NULL;
}
