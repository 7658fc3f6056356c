/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: ours are made, and the user's where it is missing. */
#include <stdio.h>

#include "agent/dest/dst_postgres_plan.h"
#include "common/alloc.h"

/* Ledger rows are never changed after their transaction. Format: DST_POSTGRES_FORMAT. %s: schema.
 */
static const char *const own_tables[] = {
    "CREATE TABLE IF NOT EXISTS %s._penstock_fence(pipeline_name text PRIMARY KEY,"
    " pipeline_uuid bytea NOT NULL, generation int8 NOT NULL, gc_before int8 NOT NULL DEFAULT 0,"
    " format int4 NOT NULL DEFAULT 1)",
    "CREATE TABLE IF NOT EXISTS %s._penstock_ledger(batch_id bytea PRIMARY KEY,"
    " pipeline_uuid bytea NOT NULL, generation int8 NOT NULL,"
    " state text NOT NULL CHECK (state IN ('L', 'T')), epoch int8 NOT NULL,"
    " cluster_epoch int8 NOT NULL, commit_seq int8 NOT NULL, agent text NOT NULL,"
    " leaf int8 NOT NULL, spec_rev int8 NOT NULL, decoded int8 NOT NULL, rejected int8 NOT NULL,"
    " filtered int8 NOT NULL, inserted int8 NOT NULL, updated int8 NOT NULL,"
    " skipped int8 NOT NULL, rejected_at_load int8 NOT NULL, raw_bytes int8 NOT NULL,"
    " unwrapped_bytes int8 NOT NULL, reason text, at_ms int8 NOT NULL)",
    "CREATE TABLE IF NOT EXISTS %s._penstock_ledger_range(pipeline_uuid bytea NOT NULL,"
    " generation int8 NOT NULL, bp_hash bytea NOT NULL, from_offset int8 NOT NULL,"
    " batch_id bytea NOT NULL, key bytea NOT NULL, version bytea NOT NULL,"
    " end_offset int8 NOT NULL, eof boolean NOT NULL, resume bytea, records int8 NOT NULL,"
    " PRIMARY KEY (pipeline_uuid, generation, bp_hash, from_offset))",
    ("CREATE INDEX IF NOT EXISTS _penstock_ledger_range_batch ON"
     " %s._penstock_ledger_range(batch_id)"),
};

enum ps_status
dst_postgres_exists(struct dst_postgres *d, const char *quoted, bool *out, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, quoted);
    PGresult *result =
        dst_postgres_query(d, "SELECT (to_regclass($1) IS NOT NULL)::int::int8", &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    *out = pg_value_int(result, 0, 0) != 0;
    PQclear(result);
    return PS_OK;
}

static const char *
created_type(const struct spec_column *column)
{
    /* Text among numbers is kept as it is only where the column is text. */
    if (column->on_mismatch == MISMATCH_TEXT) {
        return "text";
    }
    switch (column->type) {
    case COL_TEXT:
        return "text";
    case COL_BIGINT:
        return "bigint";
    case COL_DOUBLE:
        return "double precision";
    }
    return "text";
}

static enum ps_status
create_table(struct dst_postgres *d, const struct dest_table *table, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "CREATE TABLE IF NOT EXISTS %s", d->quoted);
    for (size_t i = 0; i < table->count; i++) {
        const struct spec_column *column = &table->columns[i];
        ps_buf_xprintf(&sql, i == 0 ? "(" : ", ");
        dst_postgres_quote(&sql, column->name);
        ps_buf_xprintf(&sql, " %s%s", created_type(column),
                       dest_names_have(&d->keys, column->name) ? " NOT NULL" : "");
    }
    for (size_t i = 0; i < d->keys.count; i++) {
        ps_buf_xprintf(&sql, i == 0 ? ", PRIMARY KEY (" : ", ");
        dst_postgres_quote(&sql, d->keys.at[i]);
    }
    ps_buf_xprintf(&sql, d->keys.count == 0 ? ")" : "))");
    enum ps_status status = dst_postgres_exec(d, ps_buf_str(&sql), NULL, err);
    ps_buf_fini(&sql);
    return status;
}

enum ps_status
dst_postgres_replayable(struct dst_postgres *d, bool add, bool *out, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, d->rejects);
    PGresult *result = dst_postgres_query(
        d,
        "SELECT count(*)::int8 FROM pg_attribute WHERE attrelid = to_regclass($1)"
        " AND attname IN ('replayed_by', 'replayed_ms', 'edited') AND NOT attisdropped",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    *out = pg_value_int(result, 0, 0) == 3;
    PQclear(result);
    if (*out || !add) {
        return PS_OK;
    }
    char *sql = ps_xasprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS replayed_by bytea,"
                             " ADD COLUMN IF NOT EXISTS replayed_ms int8,"
                             " ADD COLUMN IF NOT EXISTS edited text",
                             d->rejects);
    enum ps_status status = dst_postgres_exec(d, sql, NULL, err);
    ps_free(sql);
    *out = status == PS_OK;
    return status;
}

/* Waits for whoever loads into the table, and is waited for. */
static enum ps_status
add_columns(struct dst_postgres *d, const struct dest_table *table, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    for (size_t i = table->count - table->added; status == PS_OK && i < table->count; i++) {
        struct ps_buf sql = PS_BUF_INIT;
        ps_buf_xprintf(&sql, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS ", d->quoted);
        dst_postgres_quote(&sql, table->columns[i].name);
        ps_buf_xprintf(&sql, " %s", created_type(&table->columns[i]));
        status = dst_postgres_exec(d, ps_buf_str(&sql), NULL, err);
        ps_buf_fini(&sql);
    }
    return status;
}

static enum ps_status
create_own(struct dst_postgres *d, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    for (size_t i = 0; status == PS_OK && i < sizeof own_tables / sizeof own_tables[0]; i++) {
        struct ps_buf sql = PS_BUF_INIT;
        const char *mark = strstr(own_tables[i], "%s");
        ps_buf_xappend(&sql, own_tables[i], (size_t)(mark - own_tables[i]));
        ps_buf_xprintf(&sql, "%s%s", d->quoted_schema, mark + 2);
        status = dst_postgres_exec(d, ps_buf_str(&sql), NULL, err);
        ps_buf_fini(&sql);
    }
    if (status == PS_OK) {
        char *sql = ps_xasprintf(
            "CREATE TABLE IF NOT EXISTS %s(n bigserial PRIMARY KEY, batch_id bytea NOT NULL,"
            " object text, \"offset\" int8 NOT NULL, length int8, line int8, \"column\" text,"
            " code text NOT NULL, reason text NOT NULL, raw bytea, at_ms int8 NOT NULL,"
            " replayed_by bytea, replayed_ms int8, edited text)",
            d->rejects);
        status = dst_postgres_exec(d, sql, NULL, err);
        ps_free(sql);
    }
    bool replayable = false;
    return status == PS_OK ? dst_postgres_replayable(d, true, &replayable, err) : status;
}

static enum ps_status
check_format(struct dst_postgres *d, struct ps_error *err)
{
    char *sql = ps_xasprintf("SELECT max(format)::int8 FROM %s._penstock_fence", d->quoted_schema);
    PGresult *result = dst_postgres_query(d, sql, NULL, err);
    ps_free(sql);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    int64_t format = pg_value_int(result, 0, 0);
    PQclear(result);
    return format <= DST_POSTGRES_FORMAT
               ? PS_OK
               : ps_fail_code(
                     err, PS_REFUSED, "newer_format",
                     "%s: the ledger in schema %s has format %lld, made by a newer version",
                     d->shown, d->schema, (long long)format);
}

enum ps_status
dst_postgres_make_tables(struct dst_postgres *d, const struct dest_table *table,
                         struct ps_error *err)
{
    bool exists = false;
    dst_postgres_spell(d, table->columns, table->count);
    /* CREATE … IF NOT EXISTS is no protection against another session that creates the same. */
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted_schema);
    enum ps_status status = dst_postgres_exec(
        d, "SELECT pg_advisory_xact_lock(hashtext('penstock'), hashtext($1))", &params, err);
    if (status == PS_OK) {
        status = dst_postgres_exists(d, d->quoted, &exists, err);
    }
    if (status == PS_OK && !exists) {
        status = d->may_create
                     ? create_table(d, table, err)
                     : ps_fail_code(err, PS_REFUSED, "no_table",
                                    "%s: no table %s, and create is never", d->shown, d->quoted);
    }
    if (status == PS_OK && exists) {
        status = add_columns(d, table, err);
    }
    if (status == PS_OK) {
        status = create_own(d, err);
    }
    if (status == PS_OK) {
        status = check_format(d, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_set_fence(d, table->uuid, table->generation, err);
    }
    return status;
}
