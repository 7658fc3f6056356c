/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a ledger: a pipeline's state; ranges and rejects, in pages after a cursor. */
#include <endian.h>

#include "agent/dest/dest_ledger.h"
#include "agent/dest/dest_replay.h"
#include "common/alloc.h"

enum { LEDGER_CURSOR_BYTES = PS_ID_BYTES + 8, REJECTS_CURSOR_BYTES = 8 };

/* ---- state */

static enum ps_status
take_fence(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct dest_state *state = ctx;
    state->has_fence = true;
    state->generation = (uint64_t)row[1].integer;
    return dest_value_id(&row[0], &state->uuid.id)
               ? PS_OK
               : ps_fail(err, PS_REFUSED, "the pipeline's fence has no uuid");
}

static enum ps_status
take_totals(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct dest_state *state = ctx;
    struct dest_counts *totals = &state->totals;
    uint64_t *const fields[] = {
        &state->batches,    &totals->decoded,         &totals->rejected, &totals->filtered,
        &totals->inserted,  &totals->updated,         &totals->skipped,  &totals->rejected_at_load,
        &totals->raw_bytes, &totals->unwrapped_bytes, &state->replayed};
    (void)err;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i] = (uint64_t)row[i].integer;
    }
    return PS_OK;
}

static enum ps_status
take_stamp(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct dest_state *state = ctx;
    (void)err;
    state->cluster_epoch = (uint64_t)row[0].integer;
    state->commit_seq = (uint64_t)row[1].integer;
    return PS_OK;
}

static enum ps_status
read_ledger(const struct dest_ledger *ledger, const char *name, struct dest_state *state,
            struct ps_error *err)
{
    struct dest_values values = {0};
    struct dest_call fence = {.each = take_fence, .ctx = state};
    dest_values_text(&values, name);
    enum ps_status status =
        dest_ledger_run(ledger,
                        "SELECT pipeline_uuid, generation FROM $S_penstock_fence"
                        " WHERE pipeline_name = ?",
                        &values, &fence, err);
    if (status != PS_OK || !state->has_fence) {
        return status;
    }
    struct dest_call totals = {.each = take_totals, .ctx = state};
    dest_values_id(&values, &state->uuid.id);
    dest_values_int(&values, state->generation);
    status = dest_ledger_run(
        ledger,
        "SELECT count(*) - count(reason), CAST(sum(decoded) AS $I), CAST(sum(rejected) AS $I),"
        " CAST(sum(filtered) AS $I), CAST(sum(inserted) AS $I), CAST(sum(updated) AS $I),"
        " CAST(sum(skipped) AS $I), CAST(sum(rejected_at_load) AS $I), CAST(sum(raw_bytes) AS $I),"
        " CAST(sum(unwrapped_bytes) AS $I),"
        " CAST(sum(CASE WHEN reason IS NULL THEN 0 ELSE decoded END) AS $I)"
        " FROM $S_penstock_ledger"
        " WHERE pipeline_uuid = ? AND generation = ? AND state = 'L'",
        &values, &totals, err);
    if (status != PS_OK) {
        return status;
    }
    struct dest_call stamp = {.each = take_stamp, .ctx = state};
    dest_values_id(&values, &state->uuid.id);
    return dest_ledger_run(ledger,
                           "SELECT cluster_epoch, commit_seq FROM $S_penstock_ledger"
                           " WHERE pipeline_uuid = ?"
                           " ORDER BY cluster_epoch DESC, commit_seq DESC LIMIT 1",
                           &values, &stamp, err);
}

static enum ps_status
own_exists(const struct dest_ledger *ledger, const char *table, bool *out, struct ps_error *err)
{
    char *name = ps_xasprintf("%s%s", ledger->prefix, table);
    enum ps_status status = ledger->ops->exists(ledger->driver, name, out, err);
    ps_free(name);
    return status;
}

enum ps_status
dest_ledger_state(const struct dest_ledger *ledger, const char *name, struct dest_state *out,
                  struct ps_error *err)
{
    struct dest_state state = {0};
    bool made = false;
    enum ps_status status = ledger->ops->connect(ledger->driver, err);
    if (status == PS_OK) {
        status = ledger->ops->exists(ledger->driver, ledger->table, &state.table_exists, err);
    }
    if (status == PS_OK) {
        status = own_exists(ledger, "_penstock_fence", &made, err);
    }
    if (status == PS_OK && made) {
        status = read_ledger(ledger, name, &state, err);
    }
    if (status != PS_OK) {
        return ps_wrap(err, status, "state of %s", name);
    }
    *out = state;
    return PS_OK;
}

/* ---- pages */

struct page {
    const struct dest_ledger *ledger;
    const char *sql;
    dest_row_fn take;
    bool there; /* the table that is read */
    size_t cursor_bytes;
    size_t rows;
    dest_range_fn each_range;
    dest_reject_fn each_reject;
    void *ctx;
    uint8_t cursor[LEDGER_CURSOR_BYTES]; /* of the last row that was taken */
    size_t taken;
};

static enum ps_status
bad_cursor(struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "bad_cursor", "destination: a cursor that is not ours");
}

static enum ps_status
take_page_range(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct page *page = ctx;
    struct dest_range range = {.from = (uint64_t)row[1].integer,
                               .key = row[2].bytes,
                               .version = row[3].bytes,
                               .end = (uint64_t)row[4].integer,
                               .eof = row[5].integer != 0,
                               .resume = row[6].bytes,
                               .records = (uint64_t)row[7].integer};
    struct batch_id batch;
    page->rows++;
    if (!dest_value_id(&row[0], &range.bp.id) || !dest_value_id(&row[8], &batch.id)) {
        return ps_fail(err, PS_REFUSED, "%s: a damaged ledger range", page->ledger->shown);
    }
    enum ps_status status = page->each_range(page->ctx, &range, batch, err);
    if (status == PS_OK) {
        uint64_t from = htobe64(range.from);
        memcpy(page->cursor, range.bp.id.b, PS_ID_BYTES);
        memcpy(page->cursor + PS_ID_BYTES, &from, sizeof from);
        page->taken++;
    }
    return status;
}

/* Leaves the page's next cursor behind; nothing to read where a table of ours is missing. */
static enum ps_status
read_page(struct page *page, struct dest_values *own_values, struct dest_page *out,
          struct ps_error *err)
{
    enum ps_status status = PS_OK;
    if (page->there) {
        struct dest_call call = {.each = page->take, .ctx = page};
        status = dest_ledger_run(page->ledger, page->sql, own_values, &call, err);
    } else {
        dest_values_fini(own_values);
    }
    out->last = status == PS_OK && page->rows < out->limit;
    if (page->taken > 0) {
        ps_buf_xappend(out->next, page->cursor, page->cursor_bytes);
    }
    return status;
}

enum ps_status
dest_ledger_ranges(const struct dest_ledger *ledger, struct dest_page *page, dest_range_fn each,
                   void *ctx, struct ps_error *err)
{
    bool begins = page->cursor.len == 0;
    if (!begins && page->cursor.len != LEDGER_CURSOR_BYTES) {
        return bad_cursor(err);
    }
    bool there = false;
    enum ps_status status = ledger->ops->connect(ledger->driver, err);
    if (status == PS_OK) {
        status = own_exists(ledger, "_penstock_ledger_range", &there, err);
    }
    if (status != PS_OK) {
        return status;
    }
    uint64_t after = 0;
    if (!begins) {
        memcpy(&after, page->cursor.ptr + PS_ID_BYTES, sizeof after);
    }
    struct ps_span hash = ps_span(page->cursor.ptr, begins ? 0 : PS_ID_BYTES);
    struct dest_values values = {0};
    dest_values_id(&values, &page->uuid.id);
    dest_values_id(&values, &page->uuid.id);
    dest_values_bytes(&values, hash, false);
    dest_values_bytes(&values, hash, false);
    dest_values_int(&values, begins ? UINT64_MAX : be64toh(after));
    dest_values_int(&values, page->limit);
    /* Older generations are history: their data has had, or will have, a second life. */
    struct page state = {
        .ledger = ledger,
        .sql = "SELECT bp_hash, from_offset, $Qkey$Q, version, end_offset,"
               " CAST(CASE WHEN eof THEN 1 ELSE 0 END AS $I), resume, records, batch_id"
               " FROM $S_penstock_ledger_range WHERE pipeline_uuid = ? AND generation ="
               " (SELECT max(generation) FROM $S_penstock_fence WHERE pipeline_uuid = ?)"
               " AND bp_hash >= ? AND (bp_hash > ? OR from_offset > ?)"
               " ORDER BY bp_hash, from_offset LIMIT ?",
        .take = take_page_range,
        .there = there,
        .cursor_bytes = LEDGER_CURSOR_BYTES,
        .each_range = each,
        .ctx = ctx};
    return read_page(&state, &values, page, err);
}

static enum ps_status
take_page_reject(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct page *page = ctx;
    struct dest_reject_row reject = {.n = (uint64_t)row[0].integer,
                                     .state = (enum dest_reject_state)row[11].integer,
                                     .replayed_ms = row[13].integer,
                                     .edited = row[14].bytes,
                                     .object = row[2].bytes,
                                     .offset = (uint64_t)row[3].integer,
                                     .length = (uint64_t)row[4].integer,
                                     .line = (uint64_t)row[5].integer,
                                     .column = row[6].bytes,
                                     .code = row[7].bytes,
                                     .reason = row[8].bytes,
                                     .raw = row[9].bytes,
                                     .at_ms = row[10].integer};
    page->rows++;
    if (!dest_value_id(&row[1], &reject.batch.id) ||
        ((reject.state == REJECT_REPLAYED || reject.state == REJECT_DISCARDED) &&
         !dest_value_id(&row[12], &reject.replayed_by.id))) {
        return ps_fail(err, PS_REFUSED, "%s: a damaged reject", page->ledger->shown);
    }
    enum ps_status status = page->each_reject(page->ctx, &reject, err);
    if (status == PS_OK) {
        uint64_t number = htobe64((uint64_t)row[0].integer);
        memcpy(page->cursor, &number, sizeof number);
        page->taken++;
    }
    return status;
}

/* be64: as the cursor has it. */
static void
write_rejects(const struct dest_page *page, bool replayable, uint64_t after, struct ps_buf *sql,
              struct dest_values *values)
{
    const struct dest_reject_filter *filter = page->filter;
    /* Where a reject stands, as enum dest_reject_state. */
    static const char is_void[] =
        "(l.state = 'T' OR l.generation < (SELECT max(f.generation) FROM $S_penstock_fence f"
        " WHERE f.pipeline_uuid = l.pipeline_uuid))";
    ps_buf_xprintf(sql, "SELECT r.$N, r.batch_id, r.object, r.$Qoffset$Q, r.length, r.line,"
                        " r.$Qcolumn$Q, r.code, r.reason, r.raw, r.at_ms, CAST(CASE ");
    ps_buf_xprintf(sql, "%s WHEN %s THEN 3 ELSE 1 END AS $I), %s FROM $R r",
                   replayable ? "WHEN r.replayed_by IS NOT NULL AND r.edited = 'discarded' THEN 4"
                                " WHEN r.replayed_by IS NOT NULL THEN 2"
                              : "",
                   is_void,
                   replayable ? "r.replayed_by, r.replayed_ms, r.edited" : "NULL, NULL, NULL");
    ps_buf_xprintf(sql, " JOIN $S_penstock_ledger l ON l.batch_id = r.batch_id"
                        " WHERE r.$N > ? AND l.pipeline_uuid = ?");
    dest_values_int(values, be64toh(after));
    dest_values_id(values, &page->uuid.id);
    const char *replayed = replayable ? "r.replayed_by IS NOT NULL" : "1 = 0";
    if (filter != NULL && filter->state == REJECT_REPLAYED) {
        ps_buf_xprintf(sql, " AND %s%s", replayed,
                       replayable ? " AND COALESCE(r.edited, '') <> 'discarded'" : "");
    } else if (filter != NULL && filter->state == REJECT_DISCARDED) {
        ps_buf_xprintf(sql, " AND %s%s", replayed, replayable ? " AND r.edited = 'discarded'" : "");
    } else if (filter != NULL && filter->state != REJECT_ANY) {
        ps_buf_xprintf(sql, " AND NOT (%s) AND %s %s", replayed,
                       filter->state == REJECT_OPEN ? "NOT" : "", is_void);
    }
    dest_numbers_sql(filter, "r.$N", sql);
    if (filter != NULL && filter->code.len > 0) {
        ps_buf_xprintf(sql, " AND r.code = ?");
        dest_values_span(values, filter->code);
    }
    if (filter != NULL && filter->object.len > 0) {
        ps_buf_xprintf(sql, " AND r.object = ?");
        dest_values_span(values, filter->object);
    }
    if (filter != NULL && filter->batch != NULL) {
        ps_buf_xprintf(sql, " AND r.batch_id = ?");
        dest_values_id(values, &filter->batch->id);
    }
    ps_buf_xprintf(sql, " ORDER BY r.$N LIMIT ?");
    dest_values_int(values, page->limit);
}

enum ps_status
dest_ledger_rejects(const struct dest_ledger *ledger, struct dest_page *page, dest_reject_fn each,
                    void *ctx, struct ps_error *err)
{
    if (page->cursor.len != 0 && page->cursor.len != REJECTS_CURSOR_BYTES) {
        return bad_cursor(err);
    }
    bool there = false;
    bool replayable = false;
    enum ps_status status = ledger->ops->connect(ledger->driver, err);
    if (status == PS_OK) {
        status = ledger->ops->exists(ledger->driver, ledger->rejects, &there, err);
    }
    if (status == PS_OK && there) {
        status = ledger->ops->replayable(ledger->driver, false, &replayable, err);
    }
    if (status != PS_OK) {
        return status;
    }
    uint64_t after = 0;
    if (page->cursor.len > 0) {
        memcpy(&after, page->cursor.ptr, sizeof after);
    }
    struct dest_values values = {0};
    struct ps_buf sql = PS_BUF_INIT;
    write_rejects(page, replayable, after, &sql, &values);
    struct page state = {.ledger = ledger,
                         .sql = ps_buf_str(&sql),
                         .take = take_page_reject,
                         .there = there,
                         .cursor_bytes = REJECTS_CURSOR_BYTES,
                         .each_reject = each,
                         .ctx = ctx};
    status = read_page(&state, &values, page, err);
    ps_buf_fini(&sql);
    return status;
}

enum ps_status
dest_ledger_batch_ranges(const struct dest_ledger *ledger, struct batch_id batch,
                         dest_range_fn each, void *ctx, struct ps_error *err)
{
    struct dest_result result = {0};
    enum ps_status status = ledger->ops->connect(ledger->driver, err);
    if (status == PS_OK) {
        status = dest_ledger_read_ranges(ledger, batch, &result, err);
    }
    for (size_t i = 0; i < result.range_count && status == PS_OK; i++) {
        status = each(ctx, &result.ranges[i], batch, err);
    }
    dest_result_fini(&result);
    return status;
}
