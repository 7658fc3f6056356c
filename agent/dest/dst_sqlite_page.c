/* SPDX-License-Identifier: Apache-2.0 */
/* Ledger ranges and rejects, read in pages after a cursor. */
#include <endian.h>

#include "agent/dest/dest_replay.h"
#include "agent/dest/dst_sqlite.h"

enum { LEDGER_CURSOR_BYTES = PS_ID_BYTES + 8, REJECTS_CURSOR_BYTES = 8 };

static struct ps_span
span_column(sqlite3_stmt *stmt, int at)
{
    const void *bytes = sqlite3_column_blob(stmt, at);
    return ps_span(bytes, (size_t)sqlite3_column_bytes(stmt, at));
}

static enum ps_status
bad_cursor(struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "bad_cursor", "sqlite: a cursor that is not ours");
}

/* Opens the file and prepares; *out_stmt is NULL when there is nothing to read. */
static enum ps_status
open_page(struct dst_sqlite *d, const char *needs_table, const char *sql, sqlite3_stmt **out_stmt,
          struct ps_error *err)
{
    *out_stmt = NULL;
    bool there = false;
    enum ps_status status = dst_sqlite_connect(d, false, &there, err);
    if (status == PS_OK && there) {
        status = dst_sqlite_table_exists(d, "_penstock_ledger", &there, err);
    }
    if (status == PS_OK && there) {
        status = dst_sqlite_table_exists(d, needs_table, &there, err);
    }
    if (status != PS_OK || !there) {
        return status;
    }
    *out_stmt = dst_sqlite_prepare_text(d, sql, err);
    return *out_stmt == NULL ? dst_sqlite_failed(err) : PS_OK;
}

enum ps_status
dst_sqlite_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each, void *ctx,
                  struct ps_error *err)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    if (page->cursor.len != 0 && page->cursor.len != LEDGER_CURSOR_BYTES) {
        return bad_cursor(err);
    }
    sqlite3_stmt *stmt = NULL;
    /* Older generations are history: their data has had, or will have, a second life. */
    enum ps_status status = open_page(
        d, "_penstock_ledger_range",
        "SELECT bp_hash, from_offset, key, version, end_offset, eof, resume, records, batch_id"
        " FROM _penstock_ledger_range WHERE pipeline_uuid = ?1"
        " AND generation = (SELECT max(generation) FROM _penstock_fence WHERE pipeline_uuid = ?1)"
        " AND (bp_hash, from_offset) > (?2, ?3) ORDER BY bp_hash, from_offset LIMIT ?4",
        &stmt, err);
    if (stmt == NULL) {
        page->last = true;
        return status;
    }
    uint64_t after = 0;
    if (page->cursor.len > 0) {
        memcpy(&after, page->cursor.ptr + PS_ID_BYTES, sizeof after);
    }
    dst_sqlite_bind_id(stmt, 1, &page->uuid.id);
    dst_sqlite_bind_span(stmt, 2,
                         ps_span(page->cursor.ptr, page->cursor.len > 0 ? PS_ID_BYTES : 0));
    (void)sqlite3_bind_int64(stmt, 3, page->cursor.len > 0 ? (int64_t)be64toh(after) : -1);
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)page->limit);
    size_t seen = 0;
    uint8_t last[LEDGER_CURSOR_BYTES];
    for (bool row = true;;) {
        status = dst_sqlite_step(d, stmt, &row, err);
        if (status != PS_OK || !row) {
            break;
        }
        struct dest_range range = {.from = (uint64_t)sqlite3_column_int64(stmt, 1),
                                   .key = span_column(stmt, 2),
                                   .version = span_column(stmt, 3),
                                   .end = (uint64_t)sqlite3_column_int64(stmt, 4),
                                   .eof = sqlite3_column_int(stmt, 5) != 0,
                                   .resume = span_column(stmt, 6),
                                   .records = (uint64_t)sqlite3_column_int64(stmt, 7)};
        struct batch_id batch;
        if (!dst_sqlite_column_id(stmt, 0, &range.bp.id) ||
            !dst_sqlite_column_id(stmt, 8, &batch.id)) {
            status = ps_fail(err, PS_REFUSED, "sqlite %s: a damaged ledger range", d->path);
            break;
        }
        status = each(ctx, &range, batch, err);
        if (status != PS_OK) {
            break;
        }
        seen++;
        uint64_t from = htobe64(range.from);
        memcpy(last, range.bp.id.b, PS_ID_BYTES);
        memcpy(last + PS_ID_BYTES, &from, sizeof from);
    }
    (void)sqlite3_finalize(stmt);
    page->last = status == PS_OK && seen < page->limit;
    if (seen > 0) {
        ps_buf_xappend(page->next, last, sizeof last);
    }
    return status;
}

/* Where a reject stands, as enum dest_reject_state. */
#define STATE_SQL                                                                                  \
    "CASE WHEN l.state = 'T' OR l.generation < (SELECT max(generation) FROM _penstock_fence f"     \
    " WHERE f.pipeline_uuid = ?1) THEN 3 ELSE 1 END"

static enum ps_status
prepare_rejects(struct dst_sqlite *d, const struct dest_reject_filter *filter,
                sqlite3_stmt **out_stmt, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    bool numbered = false;
    bool open = false;
    enum ps_status status = dst_sqlite_connect(d, false, &open, err);
    if (status == PS_OK && open) {
        status = dst_sqlite_rejects_numbered(d, &numbered, err);
    }
    if (status != PS_OK) {
        return status;
    }
    /* A table of an older version: nothing in it has been replayed. */
    ps_buf_xprintf(&sql,
                   "SELECT r.n, r.batch_id, r.object, r.\"offset\", r.length, r.line, r.\"column\","
                   " r.code, r.reason, r.raw, r.at_ms, r.replayed_by, r.replayed_ms, r.edited,"
                   " CASE WHEN r.replayed_by IS NOT NULL THEN 2 + 2 * (r.edited IS 'discarded') "
                   "ELSE " STATE_SQL " END AS stands"
                   " FROM %s",
                   numbered ? "main."
                            : "(SELECT rowid AS n, NULL AS replayed_by,"
                              " NULL AS replayed_ms, NULL AS edited, * FROM main.");
    dst_sqlite_quote(&sql, d->rejects_table);
    ps_buf_xprintf(&sql,
                   "%s r CROSS JOIN _penstock_ledger l ON l.batch_id = r.batch_id"
                   " WHERE l.pipeline_uuid = ?1 AND r.n > ?2",
                   numbered ? "" : ")");
    if (filter != NULL && filter->state != REJECT_ANY) {
        ps_buf_xprintf(&sql, " AND stands = %d", (int)filter->state);
    }
    dest_numbers_sql(filter, "r.n", &sql);
    ps_buf_xprintf(&sql, "%s%s%s ORDER BY r.n LIMIT ?3",
                   filter != NULL && filter->code.len > 0 ? " AND r.code = CAST(?4 AS TEXT)" : "",
                   filter != NULL && filter->object.len > 0 ? " AND CAST(r.object AS BLOB) = ?5"
                                                            : "",
                   filter != NULL && filter->batch != NULL ? " AND r.batch_id = ?6" : "");
    status = open_page(d, d->rejects_table, ps_buf_str(&sql), out_stmt, err);
    ps_buf_fini(&sql);
    return status;
}

static void
bind_filter(sqlite3_stmt *stmt, const struct dest_reject_filter *filter)
{
    if (filter != NULL && filter->code.len > 0) {
        dst_sqlite_bind_span(stmt, 4, filter->code);
    }
    if (filter != NULL && filter->object.len > 0) {
        dst_sqlite_bind_span(stmt, 5, filter->object);
    }
    if (filter != NULL && filter->batch != NULL) {
        dst_sqlite_bind_id(stmt, 6, &filter->batch->id);
    }
}

enum ps_status
dst_sqlite_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each, void *ctx,
                   struct ps_error *err)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    if (page->cursor.len != 0 && page->cursor.len != REJECTS_CURSOR_BYTES) {
        return bad_cursor(err);
    }
    sqlite3_stmt *stmt = NULL;
    enum ps_status status = prepare_rejects(d, page->filter, &stmt, err);
    if (stmt == NULL) {
        page->last = true;
        return status;
    }
    uint64_t after = 0;
    if (page->cursor.len > 0) {
        memcpy(&after, page->cursor.ptr, sizeof after);
    }
    dst_sqlite_bind_id(stmt, 1, &page->uuid.id);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)be64toh(after));
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)page->limit);
    bind_filter(stmt, page->filter);
    size_t seen = 0;
    uint64_t last = 0;
    for (bool more = true;;) {
        status = dst_sqlite_step(d, stmt, &more, err);
        if (status != PS_OK || !more) {
            break;
        }
        struct dest_reject_row row = {.n = (uint64_t)sqlite3_column_int64(stmt, 0),
                                      .state = (enum dest_reject_state)sqlite3_column_int(stmt, 14),
                                      .replayed_ms = sqlite3_column_int64(stmt, 12),
                                      .edited = span_column(stmt, 13),
                                      .object = span_column(stmt, 2),
                                      .offset = (uint64_t)sqlite3_column_int64(stmt, 3),
                                      .length = (uint64_t)sqlite3_column_int64(stmt, 4),
                                      .line = (uint64_t)sqlite3_column_int64(stmt, 5),
                                      .column = span_column(stmt, 6),
                                      .code = span_column(stmt, 7),
                                      .reason = span_column(stmt, 8),
                                      .raw = span_column(stmt, 9),
                                      .at_ms = sqlite3_column_int64(stmt, 10)};
        if (!dst_sqlite_column_id(stmt, 1, &row.batch.id) ||
            ((row.state == REJECT_REPLAYED || row.state == REJECT_DISCARDED) &&
             !dst_sqlite_column_id(stmt, 11, &row.replayed_by.id))) {
            status = ps_fail(err, PS_REFUSED, "sqlite %s: a damaged reject", d->path);
            break;
        }
        status = each(ctx, &row, err);
        if (status != PS_OK) {
            break;
        }
        seen++;
        last = htobe64(row.n);
    }
    (void)sqlite3_finalize(stmt);
    page->last = status == PS_OK && seen < page->limit;
    if (seen > 0) {
        ps_buf_xappend(page->next, &last, sizeof last);
    }
    return status;
}
