/* SPDX-License-Identifier: Apache-2.0 */
/* Ledger ranges and rejects, read in pages after a cursor. */
#include <endian.h>

#include "agent/dest/dst_postgres.h"
#include "common/alloc.h"

enum { LEDGER_CURSOR_BYTES = PS_ID_BYTES + 8, REJECTS_CURSOR_BYTES = 8 };

static enum ps_status
bad_cursor(struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "bad_cursor", "postgresql: a cursor that is not ours");
}

/* *out_result NULL: there is nothing to read. */
static enum ps_status
read_page(struct dst_postgres *d, const char *table, const char *sql,
          const struct pg_params *params, PGresult **out_result, struct ps_error *err)
{
    bool there = false;
    *out_result = NULL;
    enum ps_status status = dst_postgres_connect(d, err);
    if (status == PS_OK) {
        status = dst_postgres_exists(d, table, &there, err);
    }
    if (status == PS_OK && there) {
        *out_result = dst_postgres_query(d, sql, params, err);
        status = *out_result == NULL ? dst_postgres_failed(err) : PS_OK;
    }
    return status;
}

enum ps_status
dst_postgres_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each, void *ctx,
                    struct ps_error *err)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    bool begins = page->cursor.len == 0;
    if (!begins && page->cursor.len != LEDGER_CURSOR_BYTES) {
        return bad_cursor(err);
    }
    uint64_t after = 0;
    if (!begins) {
        memcpy(&after, page->cursor.ptr + PS_ID_BYTES, sizeof after);
    }
    struct pg_params params = {0};
    pg_param_id(&params, &page->uuid.id);
    pg_param_span(&params, ps_span(page->cursor.ptr, begins ? 0 : PS_ID_BYTES), false);
    pg_param_int(&params, begins ? -1 : (int64_t)be64toh(after));
    pg_param_int(&params, (int64_t)page->limit);
    char *table = ps_xasprintf("%s._penstock_ledger_range", d->quoted_schema);
    /* Older generations are history: their data has had, or will have, a second life. */
    char *sql = ps_xasprintf(
        "SELECT bp_hash, from_offset, key, version, end_offset, eof::int::int8, resume, records,"
        " batch_id FROM %s WHERE pipeline_uuid = $1 AND generation ="
        " (SELECT max(generation) FROM %s._penstock_fence WHERE pipeline_uuid = $1)"
        " AND (bp_hash, from_offset) > ($2, $3) ORDER BY bp_hash, from_offset LIMIT $4",
        table, d->quoted_schema);
    PGresult *result = NULL;
    enum ps_status status = read_page(d, table, sql, &params, &result, err);
    ps_free(sql);
    ps_free(table);
    int rows = result == NULL ? 0 : PQntuples(result);
    int seen = 0;
    for (; status == PS_OK && seen < rows; seen += status == PS_OK) {
        struct dest_range range = {.from = (uint64_t)pg_value_int(result, seen, 1),
                                   .key = pg_value_span(result, seen, 2),
                                   .version = pg_value_span(result, seen, 3),
                                   .end = (uint64_t)pg_value_int(result, seen, 4),
                                   .eof = pg_value_int(result, seen, 5) != 0,
                                   .resume = pg_value_span(result, seen, 6),
                                   .records = (uint64_t)pg_value_int(result, seen, 7)};
        struct batch_id batch;
        if (!pg_value_id(result, seen, 0, &range.bp.id) ||
            !pg_value_id(result, seen, 8, &batch.id)) {
            status = ps_fail(err, PS_REFUSED, "%s: a damaged ledger range", d->shown);
        } else {
            status = each(ctx, &range, batch, err);
        }
    }
    page->last = status == PS_OK && (size_t)rows < page->limit;
    if (seen > 0) {
        struct ps_span hash = pg_value_span(result, seen - 1, 0);
        uint64_t from = htobe64((uint64_t)pg_value_int(result, seen - 1, 1));
        ps_buf_xappend(page->next, hash.ptr, hash.len);
        ps_buf_xappend(page->next, &from, sizeof from);
    }
    PQclear(result);
    return status;
}

enum ps_status
dst_postgres_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each, void *ctx,
                     struct ps_error *err)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    if (page->cursor.len != 0 && page->cursor.len != REJECTS_CURSOR_BYTES) {
        return bad_cursor(err);
    }
    uint64_t after = 0;
    if (page->cursor.len > 0) {
        memcpy(&after, page->cursor.ptr, sizeof after);
    }
    struct pg_params params = {0};
    pg_param_id(&params, &page->uuid.id);
    pg_param_int(&params, (int64_t)be64toh(after));
    pg_param_int(&params, (int64_t)page->limit);
    char *sql = ps_xasprintf(
        "SELECT r.n, r.batch_id, r.object, r.\"offset\", r.length, r.line, r.\"column\", r.code,"
        " r.reason, r.raw, r.at_ms FROM %s r JOIN %s._penstock_ledger l USING (batch_id)"
        " WHERE r.n > $2 AND l.pipeline_uuid = $1 ORDER BY r.n LIMIT $3",
        d->rejects, d->quoted_schema);
    PGresult *result = NULL;
    enum ps_status status = read_page(d, d->rejects, sql, &params, &result, err);
    ps_free(sql);
    int rows = result == NULL ? 0 : PQntuples(result);
    int seen = 0;
    for (; status == PS_OK && seen < rows; seen += status == PS_OK) {
        struct dest_reject_row row = {.object = pg_value_span(result, seen, 2),
                                      .offset = (uint64_t)pg_value_int(result, seen, 3),
                                      .length = (uint64_t)pg_value_int(result, seen, 4),
                                      .line = (uint64_t)pg_value_int(result, seen, 5),
                                      .column = pg_value_span(result, seen, 6),
                                      .code = pg_value_span(result, seen, 7),
                                      .reason = pg_value_span(result, seen, 8),
                                      .raw = pg_value_span(result, seen, 9),
                                      .at_ms = pg_value_int(result, seen, 10)};
        status = pg_value_id(result, seen, 1, &row.batch.id)
                     ? each(ctx, &row, err)
                     : ps_fail(err, PS_REFUSED, "%s: a damaged reject", d->shown);
    }
    page->last = status == PS_OK && (size_t)rows < page->limit;
    if (seen > 0) {
        uint64_t last = htobe64((uint64_t)pg_value_int(result, seen - 1, 0));
        ps_buf_xappend(page->next, &last, sizeof last);
    }
    PQclear(result);
    return status;
}
