/* SPDX-License-Identifier: Apache-2.0 */
/* Loads that meet rows by key: the staging table, and the statement that merges it. */
#include "agent/dest/dst_postgres_plan.h"
#include "common/alloc.h"

static void
append_keys(const struct dst_postgres *d, struct ps_buf *sql)
{
    for (size_t i = 0; i < d->key_count; i++) {
        ps_buf_xprintf(sql, i == 0 ? "" : ", ");
        dst_postgres_quote(sql, d->keys[i]);
    }
}

/* The keys of rows that are one; one with a NULL in it is like no other. */
static void
append_sameness(const struct dst_postgres *d, struct ps_buf *sql)
{
    append_keys(d, sql);
    const char *comma = ", CASE WHEN ";
    for (size_t i = 0; !d->nulls_are_equal && i < d->key_count; i++) {
        ps_buf_xprintf(sql, "%s", comma);
        dst_postgres_quote(sql, d->keys[i]);
        ps_buf_xprintf(sql, " IS NULL");
        comma = " OR ";
    }
    ps_buf_xprintf(sql, d->nulls_are_equal || d->key_count == 0 ? "" : " THEN _penstock_n END");
}

static bool
is_updated(const struct dst_postgres *d, const char *name)
{
    bool updated = d->update_count == 0;
    for (size_t i = 0; !updated && i < d->update_count; i++) {
        updated = strcmp(d->updates[i], name) == 0;
    }
    return updated;
}

/* "replace" is the whole row: a column that is not loaded goes back to its default. */
static void
append_assignments(const struct dst_postgres *d, const struct table_shape *shape,
                   struct ps_buf *sql)
{
    const char *comma = "";
    for (uint32_t i = 0; i < d->column_count; i++) {
        if (!is_updated(d, d->columns[i].name)) {
            continue;
        }
        ps_buf_xprintf(sql, "%s", comma);
        dst_postgres_quote(sql, d->columns[i].name);
        ps_buf_xprintf(sql, " = excluded.");
        dst_postgres_quote(sql, d->columns[i].name);
        comma = ", ";
    }
    for (size_t i = 0; d->on_conflict == PG_CONFLICT_REPLACE && i < shape->count; i++) {
        const struct table_column *column = &shape->columns[i];
        bool loaded = false;
        for (uint32_t k = 0; !loaded && k < d->column_count; k++) {
            loaded = strcmp(d->columns[k].name, column->name) == 0;
        }
        if (!loaded && !column->generated && !column->always_identity) {
            ps_buf_xprintf(sql, ", ");
            dst_postgres_quote(sql, column->name);
            ps_buf_xprintf(sql, " = DEFAULT");
        }
    }
}

/* Whether a row was inserted. A partitioned table shows no system column: there the statement's own
 * snapshot, which has no row of its own, is asked. */
static void
append_fresh(const struct dst_postgres *d, const struct table_shape *shape, struct ps_buf *sql)
{
    if (!shape->partitioned) {
        ps_buf_xprintf(sql, "t.xmax = 0");
        return;
    }
    ps_buf_xprintf(sql, "NOT EXISTS (SELECT FROM %s AS old WHERE ", d->quoted);
    for (size_t i = 0; i < d->key_count; i++) {
        ps_buf_xprintf(sql, i == 0 ? "old." : " AND old.");
        dst_postgres_quote(sql, d->keys[i]);
        ps_buf_xprintf(sql, " = t.");
        dst_postgres_quote(sql, d->keys[i]);
    }
    ps_buf_xprintf(sql, ")");
}

/* Rows of one key are collapsed first: the one that wins is the latest, or that of the largest
 * order_by. The keys' order keeps two sessions from waiting for each other. */
static void
append_merge(const struct dst_postgres *d, const struct table_shape *shape, struct ps_buf *sql,
             struct ps_buf *rest)
{
    bool skip = d->on_conflict == PG_CONFLICT_SKIP;
    ps_buf_xprintf(sql, "WITH up AS (INSERT INTO %s AS t(", d->quoted);
    dst_postgres_append_names(d, sql);
    ps_buf_xprintf(sql, ") SELECT ");
    dst_postgres_append_names(d, sql);
    if (skip) {
        ps_buf_xprintf(sql, " FROM pg_temp._penstock_stage WHERE _penstock_n BETWEEN ");
        ps_buf_xprintf(rest, " ORDER BY _penstock_n ON CONFLICT");
        if (d->key_count > 0) {
            ps_buf_xprintf(rest, " (");
            append_keys(d, rest);
            ps_buf_xprintf(rest, ")");
        }
        ps_buf_xprintf(rest, " DO NOTHING RETURNING true AS fresh)");
    } else {
        ps_buf_xprintf(sql, " FROM (SELECT DISTINCT ON (");
        append_sameness(d, sql);
        ps_buf_xprintf(sql, ") * FROM pg_temp._penstock_stage WHERE _penstock_n BETWEEN ");
        ps_buf_xprintf(rest, " ORDER BY ");
        append_sameness(d, rest);
        if (d->order_by != NULL) {
            ps_buf_xprintf(rest, ", ");
            dst_postgres_quote(rest, d->order_by);
            ps_buf_xprintf(rest, " DESC NULLS LAST");
        }
        ps_buf_xprintf(rest, ", _penstock_n DESC) s ON CONFLICT (");
        append_keys(d, rest);
        ps_buf_xprintf(rest, ") DO UPDATE SET ");
        append_assignments(d, shape, rest);
        if (d->order_by != NULL) {
            ps_buf_xprintf(rest, " WHERE t.");
            dst_postgres_quote(rest, d->order_by);
            ps_buf_xprintf(rest, " IS NULL OR excluded.");
            dst_postgres_quote(rest, d->order_by);
            ps_buf_xprintf(rest, " >= t.");
            dst_postgres_quote(rest, d->order_by);
        }
        ps_buf_xprintf(rest, " RETURNING ");
        append_fresh(d, shape, rest);
        ps_buf_xprintf(rest, " AS fresh)");
    }
    ps_buf_xprintf(rest, " SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh)"
                         " FROM up");
}

/* Where all keys are NOT NULL there are no NULLs to tell apart; where a unique index says NULLS NOT
 * DISTINCT, they are one. */
static enum ps_status
find_nulls(struct dst_postgres *d, struct ps_error *err)
{
    d->nulls_are_equal = true;
    for (uint32_t i = 0; i < d->column_count; i++) {
        if (dst_postgres_is_key(d, d->columns[i].name) && !d->columns[i].not_null) {
            d->nulls_are_equal = false;
        }
    }
    if (d->nulls_are_equal) {
        return PS_OK;
    }
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted);
    /* As JSON: servers before 15 have no such column. */
    PGresult *result = dst_postgres_query(
        d,
        "SELECT count(*) FROM pg_index i WHERE indrelid = to_regclass($1) AND indisunique"
        " AND (to_jsonb(i) ->> 'indnullsnotdistinct')::bool",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    d->nulls_are_equal = pg_value_int(result, 0, 0) > 0;
    PQclear(result);
    return PS_OK;
}

/* CHECKs of what is loaded stand at the staging table, too: COPY names the row that one refuses,
 * while the statement from there into the table does not. */
static enum ps_status
copy_checks(struct dst_postgres *d, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted);
    PGresult *result = dst_postgres_query(
        d,
        "SELECT 'ALTER TABLE pg_temp._penstock_stage ' || string_agg('ADD CONSTRAINT ' ||"
        " quote_ident(conname) || ' ' || pg_get_constraintdef(c.oid), ', ') FROM pg_constraint c"
        " WHERE conrelid = to_regclass($1) AND contype = 'c' AND conkey <@ (SELECT"
        " array_agg(t.attnum) FROM pg_attribute t JOIN pg_attribute s ON s.attname = t.attname"
        " AND s.attrelid = to_regclass('pg_temp._penstock_stage') AND s.attnum > 0"
        " WHERE t.attrelid = to_regclass($1) AND t.attnum > 0)"
        " AND NOT EXISTS (SELECT FROM" BEFORE_TRIGGERS ")",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    struct ps_span text = pg_value_span(result, 0, 0);
    char *sql = ps_xasprintf("%.*s", (int)text.len, text.len == 0 ? "" : (const char *)text.ptr);
    PQclear(result);
    enum ps_status status = sql[0] == '\0' ? PS_OK : dst_postgres_exec(d, sql, NULL, err);
    ps_free(sql);
    return status;
}

enum ps_status
dst_postgres_make_stage(struct dst_postgres *d, const struct table_shape *shape,
                        struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "CREATE TEMP TABLE _penstock_stage ON COMMIT DELETE ROWS AS SELECT ");
    dst_postgres_append_names(d, &sql);
    ps_buf_xprintf(&sql, " FROM %s WITH NO DATA", d->quoted);
    enum ps_status status =
        dst_postgres_exec(d, "DROP TABLE IF EXISTS pg_temp._penstock_stage", NULL, err);
    if (status == PS_OK) {
        status = dst_postgres_exec(d, ps_buf_str(&sql), NULL, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_exec(
            d, "ALTER TABLE pg_temp._penstock_stage ADD COLUMN _penstock_n bigserial", NULL, err);
    }
    if (status == PS_OK) {
        status = copy_checks(d, err);
    }
    ps_buf_clear(&sql);
    if (status == PS_OK) {
        status = find_nulls(d, err);
    }
    if (status == PS_OK) {
        struct ps_buf rest = PS_BUF_INIT;
        append_merge(d, shape, &sql, &rest);
        d->merge_sql = ps_xstrdup(ps_buf_str(&sql));
        d->merge_rest = ps_xstrdup(ps_buf_str(&rest));
        ps_buf_fini(&rest);
        /* Planning finds a key without its unique index before any row has moved. */
        char *explain = ps_xasprintf("EXPLAIN %s0 AND 0%s", d->merge_sql, d->merge_rest);
        status = dst_postgres_exec(d, explain, NULL, err);
        ps_free(explain);
    }
    ps_buf_fini(&sql);
    return status;
}
