/* SPDX-License-Identifier: Apache-2.0 */
/* The statements that put rows in: one for a whole block, one for a single row. */
#include "agent/dest/dst_sqlite.h"
#include "common/alloc.h"

void
dst_sqlite_plan_drop(struct dst_sqlite *d)
{
    (void)sqlite3_finalize(d->insert_block);
    (void)sqlite3_finalize(d->insert_row);
    (void)sqlite3_finalize(d->insert_reject);
    d->insert_block = NULL;
    d->insert_row = NULL;
    d->insert_reject = NULL;
    for (size_t i = 0; i < IMAGE_TABLES; i++) {
        (void)sqlite3_finalize(d->insert_image[i]);
        d->insert_image[i] = NULL;
    }
    d->image_on = false;
    for (uint32_t i = 0; d->columns != NULL && i < d->ncols; i++) {
        ps_free(d->columns[i].name);
    }
    ps_free(d->columns);
    d->columns = NULL;
    ps_free(d->feed.cells);
    d->feed.cells = NULL;
    ps_buf_fini(&d->signature);
    d->ncols = 0;
}

/* The condition of an update that takes place, true or not; counts those that do. */
static void
count_update(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct dst_sqlite *d = sqlite3_user_data(context);
    bool taken = sqlite3_value_int(argv[0]) != 0;
    d->upserts += taken;
    sqlite3_result_int(context, taken);
}

static void
append_set(struct ps_buf *sql, const char *column, bool *first)
{
    ps_buf_xprintf(sql, *first ? " " : ", ");
    dst_sqlite_quote(sql, column);
    ps_buf_xprintf(sql, " = excluded.");
    dst_sqlite_quote(sql, column);
    *first = false;
}

static enum ps_status
append_assignments(struct dst_sqlite *d, struct ps_buf *sql, struct ps_error *err)
{
    bool first = true;
    if (d->on_conflict == CONFLICT_UPDATE) {
        for (uint32_t i = 0; i < d->ncols; i++) {
            if (dest_names_updated(&d->updates, &d->keys, d->columns[i].name)) {
                append_set(sql, d->columns[i].name, &first);
            }
        }
    } else {
        /* The whole row: columns that are not loaded get the default that an insert would. */
        struct dest_names names = {0};
        enum ps_status status = dst_sqlite_read_columns(d, &names, err);
        if (status != PS_OK) {
            return status;
        }
        for (size_t i = 0; i < names.count; i++) {
            if (!dest_names_have(&d->keys, names.at[i])) {
                append_set(sql, names.at[i], &first);
            }
        }
        dest_names_fini(&names);
    }
    if (first) {
        append_set(sql, d->keys.at[0], &first); /* the key is all there is */
    }
    return PS_OK;
}

/* Of a key, or where none is given of any unique index. */
static void
append_target(const struct dst_sqlite *d, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, " ON CONFLICT");
    for (size_t i = 0; i < d->keys.count; i++) {
        ps_buf_xprintf(sql, i == 0 ? " (" : ", ");
        dst_sqlite_quote(sql, d->keys.at[i]);
    }
    ps_buf_xprintf(sql, d->keys.count == 0 ? "" : ")");
}

static enum ps_status
append_conflict(struct dst_sqlite *d, struct ps_buf *sql, struct ps_error *err)
{
    switch (d->on_conflict) {
    case CONFLICT_ERROR:
        return PS_OK;
    case CONFLICT_SKIP:
        append_target(d, sql);
        ps_buf_xprintf(sql, " DO NOTHING");
        return PS_OK;
    case CONFLICT_REPLACE:
    case CONFLICT_UPDATE:
        break;
    }
    if (d->keys.count == 0) {
        return ps_fail_code(err, PS_REFUSED, "no_key",
                            "sqlite %s: table \"%s\": replace and update need destination.key",
                            d->path, d->table);
    }
    append_target(d, sql);
    ps_buf_xprintf(sql, " DO UPDATE SET");
    enum ps_status status = append_assignments(d, sql, err);
    ps_buf_xprintf(sql, " WHERE _penstock_updated(");
    if (d->order_by == NULL) {
        ps_buf_xprintf(sql, "1)");
        return status;
    }
    dst_sqlite_quote(sql, d->table);
    ps_buf_xprintf(sql, ".");
    dst_sqlite_quote(sql, d->order_by);
    ps_buf_xprintf(sql, " IS NULL OR excluded.");
    dst_sqlite_quote(sql, d->order_by);
    ps_buf_xprintf(sql, " >= ");
    dst_sqlite_quote(sql, d->table);
    ps_buf_xprintf(sql, ".");
    dst_sqlite_quote(sql, d->order_by);
    ps_buf_xprintf(sql, ")");
    return status;
}

/* "INSERT INTO t(columns)": a conflict clause in the table's own definition must not decide, and
 * one of ours must not reach into its triggers. */
static void
append_into(struct dst_sqlite *d, struct ps_buf *sql)
{
    bool forced = !d->has_triggers && d->on_conflict == CONFLICT_ERROR;
    ps_buf_xprintf(sql, "INSERT %sINTO main.", forced ? "OR ABORT " : "");
    dst_sqlite_quote(sql, d->table);
    for (uint32_t i = 0; i < d->ncols; i++) {
        ps_buf_xprintf(sql, i == 0 ? "(" : ", ");
        dst_sqlite_quote(sql, d->columns[i].name);
    }
    ps_buf_xprintf(sql, ") ");
}

static enum ps_status
prepare_block(struct dst_sqlite *d, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    append_into(d, &sql);
    for (uint32_t i = 0; i < d->ncols; i++) {
        ps_buf_xprintf(&sql, "%sc%u", i == 0 ? "SELECT " : ", ", d->columns[i].cell);
    }
    ps_buf_xprintf(&sql, " FROM ");
    enum ps_status status = dst_sqlite_vtab_register(d, d->ncols, &sql, err);
    if (status == PS_OK) {
        /* WHERE keeps the parser from reading ON CONFLICT as a join's ON. */
        ps_buf_xprintf(&sql, d->on_conflict == CONFLICT_ERROR ? "" : " WHERE true");
        status = append_conflict(d, &sql, err);
    }
    if (status == PS_OK) {
        d->insert_block = dst_sqlite_prepare_text(d, ps_buf_str(&sql), err);
        status = d->insert_block == NULL ? dst_sqlite_failed(err) : PS_OK;
    }
    ps_buf_fini(&sql);
    return status;
}

static enum ps_status
prepare_row(struct dst_sqlite *d, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    append_into(d, &sql);
    for (uint32_t i = 0; i < d->ncols; i++) {
        ps_buf_xprintf(&sql, i == 0 ? "VALUES(?" : ", ?");
    }
    ps_buf_xprintf(&sql, ")");
    enum ps_status status = append_conflict(d, &sql, err);
    if (status == PS_OK) {
        d->insert_row = dst_sqlite_prepare_text(d, ps_buf_str(&sql), err);
        status = d->insert_row == NULL ? dst_sqlite_failed(err) : PS_OK;
    }
    ps_buf_clear(&sql);
    if (status == PS_OK) {
        ps_buf_xprintf(&sql, "INSERT INTO main.");
        dst_sqlite_quote(&sql, d->rejects_table);
        ps_buf_xprintf(&sql,
                       "(batch_id, object, \"offset\", length, line, \"column\", code, reason,"
                       " raw, at_ms) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        d->insert_reject = dst_sqlite_prepare_text(d, ps_buf_str(&sql), err);
        status = d->insert_reject == NULL ? dst_sqlite_failed(err) : PS_OK;
    }
    ps_buf_fini(&sql);
    return status;
}

static void
sign(const struct spec_column *columns, size_t count, struct ps_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(out, "%s", columns[i].name);
        const uint8_t tail[3] = {0, (uint8_t)columns[i].type, (uint8_t)columns[i].on_mismatch};
        ps_buf_xappend(out, tail, sizeof tail);
    }
}

static enum ps_status
find_triggers(struct dst_sqlite *d, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d, "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, d->table, -1, SQLITE_STATIC);
    enum ps_status status = dst_sqlite_step(d, stmt, &d->has_triggers, err);
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum ps_status
plan_anew(struct dst_sqlite *d, const struct spec_column *columns, size_t count,
          struct ps_error *err)
{
    enum ps_status status = dst_sqlite_match(d, columns, count, err);
    if (status == PS_OK) {
        status = find_triggers(d, err);
    }
    if (status == PS_OK &&
        (d->on_conflict == CONFLICT_REPLACE || d->on_conflict == CONFLICT_UPDATE)) {
        int rc = sqlite3_create_function_v2(d->db, "_penstock_updated", 1, SQLITE_UTF8, d,
                                            count_update, NULL, NULL, NULL);
        status = rc == SQLITE_OK ? PS_OK : dst_sqlite_fail(d, rc, "register function", err);
    }
    if (status == PS_OK) {
        d->feed.cells = ps_xcalloc(count, sizeof *d->feed.cells);
        d->feed.ncols = (uint32_t)count;
        status = prepare_block(d, err);
    }
    if (status == PS_OK) {
        status = prepare_row(d, err);
    }
    if (status == PS_OK) {
        dst_sqlite_bulk_plan(d);
    } else {
        dst_sqlite_plan_drop(d);
    }
    return status;
}

enum ps_status
dst_sqlite_plan(struct dst_sqlite *d, const struct spec_column *columns, size_t count,
                struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_SCHEMA_VERSION, err);
    bool row = false;
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
    int64_t version = row ? sqlite3_column_int64(stmt, 0) : 0;
    (void)sqlite3_reset(stmt);
    if (status != PS_OK) {
        return status;
    }
    if (count == 0) {
        return ps_fail_code(err, PS_REFUSED, "table_mismatch", "sqlite %s: no columns to load",
                            d->path);
    }
    struct ps_buf signature = PS_BUF_INIT;
    sign(columns, count, &signature);
    if (d->insert_reject != NULL && d->schema_version == version &&
        ps_span_eq(ps_buf_span(&signature), ps_buf_span(&d->signature))) {
        ps_buf_fini(&signature);
        dst_sqlite_bulk_ask(d);
        return PS_OK;
    }
    dst_sqlite_plan_drop(d);
    status = plan_anew(d, columns, count, err);
    if (status != PS_OK) {
        ps_buf_fini(&signature);
        return status;
    }
    d->signature = signature;
    d->schema_version = version;
    return PS_OK;
}
