/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: ours are made, the user's is made or matched by name; and the plan of a load. */
#include <stdio.h>

#include "agent/dest/dst_postgres.h"
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

/* One column of the user's table as the server describes it. */
struct table_column {
    char *name;
    char *type_name;
    Oid type;
    int32_t typmod;
    bool not_null;
    bool has_default;
    bool generated;
    bool always_identity;
};

struct table_shape {
    struct table_column *columns;
    size_t count;
    bool partitioned;
};

static void
shape_fini(struct table_shape *shape)
{
    for (size_t i = 0; i < shape->count; i++) {
        ps_free(shape->columns[i].name);
        ps_free(shape->columns[i].type_name);
    }
    ps_free(shape->columns);
    *shape = (struct table_shape){0};
}

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

static char *
text_value(const PGresult *result, int row, int column)
{
    struct ps_span text = pg_value_span(result, row, column);
    return ps_xasprintf("%.*s", (int)text.len, (const char *)text.ptr);
}

/* What of the table's own makes a load impossible; NULL = nothing. Bits of the query below. */
static const char *
table_fault(const struct dst_postgres *d, int64_t kind)
{
    if ((kind & 1) != 0) {
        return "is no table";
    }
    /* The other server commits by itself, before this one or without it. */
    if ((kind & 2) != 0) {
        return "is a foreign table or has foreign partitions: what another server commits cannot "
               "be one transaction with the ledger";
    }
    if ((kind & 4) != 0) {
        return "is unlogged: a crash of the server would empty it, and the ledger would still say "
               "that its rows are loaded; ALTER TABLE ... SET LOGGED makes it safe";
    }
    if ((kind & 8) != 0 && d->on_conflict == PG_CONFLICT_ERROR) {
        return "has row-level security that binds this role, and COPY goes past no policy: load as "
               "its owner or as a role with BYPASSRLS, or with another on_conflict";
    }
    return NULL;
}

static enum ps_status
read_shape(struct dst_postgres *d, struct table_shape *shape, struct ps_error *err)
{
    *shape = (struct table_shape){0};
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted);
    PGresult *result = dst_postgres_query(
        d,
        "WITH RECURSIVE part(oid) AS (SELECT to_regclass($1)::oid UNION SELECT i.inhrelid"
        " FROM part JOIN pg_inherits i ON i.inhparent = part.oid),"
        " kind AS (SELECT bit_or(CASE WHEN c.relkind NOT IN ('r', 'p', 'f') THEN 1 ELSE 0 END"
        " | CASE WHEN c.relkind = 'f' THEN 2 ELSE 0 END"
        " | CASE WHEN c.relpersistence = 'u' THEN 4 ELSE 0 END"
        " | CASE WHEN row_security_active(c.oid) THEN 8 ELSE 0 END)::int8 AS bits"
        " FROM part JOIN pg_class c USING (oid))"
        " SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid::int8,"
        " a.atttypmod::int8, a.attnotnull::int::int8,"
        " (a.atthasdef OR a.attidentity <> '')::int::int8,"
        " (a.attgenerated <> '')::int::int8, (a.attidentity = 'a')::int::int8, kind.bits,"
        " (SELECT (relkind = 'p')::int::int8 FROM pg_class WHERE oid = a.attrelid)"
        " FROM pg_attribute a, kind"
        " WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    shape->count = (size_t)PQntuples(result);
    shape->columns = ps_xcalloc(shape->count + 1, sizeof *shape->columns);
    const char *fault = NULL;
    for (int i = 0; i < PQntuples(result); i++) {
        fault = table_fault(d, pg_value_int(result, i, 8));
        shape->partitioned = pg_value_int(result, i, 9) != 0;
        shape->columns[i] = (struct table_column){
            .name = text_value(result, i, 0),
            .type_name = text_value(result, i, 1),
            .type = (Oid)pg_value_int(result, i, 2),
            .typmod = (int32_t)pg_value_int(result, i, 3),
            .not_null = pg_value_int(result, i, 4) != 0,
            .has_default = pg_value_int(result, i, 5) != 0,
            .generated = pg_value_int(result, i, 6) != 0,
            .always_identity = pg_value_int(result, i, 7) != 0,
        };
    }
    PQclear(result);
    return fault == NULL ? PS_OK
                         : ps_fail_code(err, PS_REFUSED, "bad_table", "%s: %s %s", d->shown,
                                        d->quoted, fault);
}

/* ---- making tables */

static bool
is_key(const struct dst_postgres *d, const char *name)
{
    for (size_t i = 0; i < d->key_count; i++) {
        if (strcmp(d->keys[i], name) == 0) {
            return true;
        }
    }
    return false;
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
                       is_key(d, column->name) ? " NOT NULL" : "");
    }
    for (size_t i = 0; i < d->key_count; i++) {
        ps_buf_xprintf(&sql, i == 0 ? ", PRIMARY KEY (" : ", ");
        dst_postgres_quote(&sql, d->keys[i]);
    }
    ps_buf_xprintf(&sql, d->key_count == 0 ? ")" : "))");
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

/* ---- matching */

static const struct table_column *
find_column(const struct table_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (strcmp(shape->columns[i].name, name) == 0) {
            return &shape->columns[i];
        }
    }
    return NULL;
}

/* Between one complaint and the next. */
static struct ps_buf *
and_also(struct ps_buf *wrong)
{
    ps_buf_xappend(wrong, "; ", wrong->len > 0 ? 2 : 0);
    return wrong;
}

static void
complain(const struct table_shape *shape, const struct spec_column *columns, size_t count,
         struct ps_buf *wrong)
{
    for (size_t i = 0; i < count; i++) {
        const struct table_column *column = find_column(shape, columns[i].name);
        if (column == NULL) {
            ps_buf_xprintf(and_also(wrong), "there is no column \"%s\"", columns[i].name);
        } else if (column->generated || column->always_identity) {
            ps_buf_xprintf(and_also(wrong), "column \"%s\" is %s and takes no value", column->name,
                           column->generated ? "generated" : "an identity");
        }
    }
    for (size_t i = 0; i < shape->count; i++) {
        const struct table_column *column = &shape->columns[i];
        bool loaded = false;
        for (size_t k = 0; !loaded && k < count; k++) {
            loaded = strcmp(columns[k].name, column->name) == 0;
        }
        if (!loaded && column->not_null && !column->has_default && !column->generated) {
            ps_buf_xprintf(and_also(wrong),
                           "column \"%s\" is NOT NULL, has no default and is not loaded",
                           column->name);
        }
    }
}

/* ---- the plan */

void
dst_postgres_plan_drop(struct dst_postgres *d)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        ps_free(d->columns[i].name);
        ps_free(d->columns[i].type_name);
        dst_postgres_type_fini(&d->columns[i]);
    }
    ps_free(d->columns);
    ps_free(d->copy_sql);
    ps_free(d->merge_sql);
    ps_free(d->merge_rest);
    d->columns = NULL;
    d->copy_sql = NULL;
    d->merge_sql = NULL;
    d->merge_rest = NULL;
    d->column_count = 0;
    d->ncols = 0;
    ps_buf_clear(&d->signature);
}

static void
append_names(const struct dst_postgres *d, struct ps_buf *sql)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        ps_buf_xprintf(sql, i == 0 ? "" : ", ");
        dst_postgres_quote(sql, d->columns[i].name);
    }
}

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
    append_names(d, sql);
    ps_buf_xprintf(sql, ") SELECT ");
    append_names(d, sql);
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
        if (is_key(d, d->columns[i].name) && !d->columns[i].not_null) {
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

/* $1: the table. Triggers that may change a row before the table's CHECKs see it. */
#define BEFORE_TRIGGERS                                                                            \
    " pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND (tgtype & 7) = 7"

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

static enum ps_status
make_stage(struct dst_postgres *d, const struct table_shape *shape, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "CREATE TEMP TABLE _penstock_stage ON COMMIT DELETE ROWS AS SELECT ");
    append_names(d, &sql);
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

static enum ps_status
read_form(struct dst_postgres *d, struct ps_id *out, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted);
    PGresult *result = dst_postgres_query(
        d,
        /* With the types that its columns are made of, domains' NOT NULL and enums' labels, and
         * with what copy_checks copies. */
        "WITH RECURSIVE made(oid) AS (SELECT atttypid FROM pg_attribute WHERE attrelid ="
        " to_regclass($1) AND attnum > 0 AND NOT attisdropped UNION SELECT below FROM made JOIN"
        " pg_type t USING (oid), LATERAL (VALUES (t.typbasetype), (t.typelem)) AS v(below)"
        " WHERE below <> 0)"
        " SELECT decode(md5(to_regclass($1)::oid || coalesce(string_agg(format('%s %L %s %s %s %s "
        "%s',"
        " attnum, attname, atttypid, atttypmod, attnotnull, attidentity, attgenerated), ','"
        " ORDER BY attnum), '') || coalesce((SELECT string_agg(oid::text, ',' ORDER BY oid) FROM"
        " made JOIN pg_type USING (oid) WHERE typnotnull), '') || coalesce((SELECT"
        " string_agg(quote_literal(enumlabel), ',' ORDER BY e.oid) FROM made JOIN pg_enum e ON"
        " e.enumtypid = made.oid), '') || coalesce((SELECT string_agg(c.oid::text, ',' ORDER BY"
        " c.oid) FROM pg_constraint c WHERE conrelid = to_regclass($1) AND contype = 'c'), '')"
        " || (SELECT count(*) FROM" BEFORE_TRIGGERS ")), 'hex'),"
        " (SELECT count(*) FROM pg_constraint WHERE conrelid = to_regclass($1) AND (contype = 't'"
        " OR (contype = 'f' AND (confrelid = conrelid OR confrelid IN (SELECT"
        " pg_partition_ancestors(conrelid)))))) FROM pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    *out = (struct ps_id){{0}}; /* no table: NULL */
    (void)!pg_value_id(result, 0, 0, out);
    d->own_parents = pg_value_int(result, 0, 1) > 0;
    PQclear(result);
    return PS_OK;
}

enum ps_status
dst_postgres_hold_table(struct dst_postgres *d, struct ps_error *err)
{
    struct ps_id form = {{0}};
    char *sql = ps_xasprintf("LOCK TABLE %s IN ROW EXCLUSIVE MODE", d->quoted);
    enum ps_status status = dst_postgres_exec(d, sql, NULL, err);
    ps_free(sql);
    if (status == PS_OK) {
        status = read_form(d, &form, err);
    }
    if (status == PS_OK && !ps_id_eq(form, d->table_form)) {
        dst_postgres_plan_drop(d);
        status = ps_fail_code(err, PS_AGAIN, "table_changed",
                              "%s: table %s was altered while it is loaded", d->shown, d->quoted);
    }
    return status;
}

static enum ps_status
set_column(struct dst_postgres *d, const struct table_column *column, uint32_t cell,
           struct ps_error *err)
{
    struct dst_postgres_column *out = &d->columns[d->column_count++];
    *out = (struct dst_postgres_column){.name = ps_xstrdup(column->name),
                                        .type_name = ps_xstrdup(column->type_name),
                                        .cell = cell,
                                        .not_null = column->not_null};
    enum ps_status status = dst_postgres_type_find(d, column->type, column->typmod, out, err);
    d->by_server = d->by_server || out->type == PG_BY_SERVER;
    return status;
}

static enum ps_status
make_plan(struct dst_postgres *d, const struct table_shape *shape,
          const struct spec_column *columns, size_t count, struct ps_error *err)
{
    d->columns = ps_xcalloc(count, sizeof *d->columns);
    d->by_server = false;
    for (size_t i = 0; i < count; i++) {
        enum ps_status status =
            set_column(d, find_column(shape, columns[i].name), (uint32_t)i, err);
        if (status != PS_OK) {
            return status;
        }
    }
    struct ps_buf sql = PS_BUF_INIT;
    bool staged = d->on_conflict != PG_CONFLICT_ERROR;
    ps_buf_xprintf(&sql, "COPY %s(", staged ? "pg_temp._penstock_stage" : d->quoted);
    append_names(d, &sql);
    ps_buf_xprintf(&sql, ") FROM STDIN%s", d->by_server ? "" : " (FORMAT binary)");
    d->copy_sql = ps_xstrdup(ps_buf_str(&sql));
    ps_buf_fini(&sql);
    return staged ? make_stage(d, shape, err) : PS_OK;
}

enum ps_status
dst_postgres_plan(struct dst_postgres *d, const struct spec_column *columns, size_t count,
                  struct ps_error *err)
{
    struct ps_buf signature = PS_BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(&signature, "%zu:%s,", strlen(columns[i].name), columns[i].name);
    }
    bool same =
        d->ncols == count && ps_span_eq(ps_buf_span(&signature), ps_buf_span(&d->signature));
    if (same) {
        ps_buf_fini(&signature);
        return PS_OK;
    }
    dst_postgres_plan_drop(d);
    struct table_shape shape = {0};
    struct ps_buf wrong = PS_BUF_INIT;
    struct ps_id form = {{0}};
    /* Before the shape: an ALTER between the two shows when the table is held. */
    enum ps_status status = read_form(d, &form, err);
    if (status == PS_OK) {
        status = read_shape(d, &shape, err);
    }
    if (status == PS_OK && shape.count == 0) {
        status = ps_fail_code(err, PS_REFUSED, "not_visible", "%s: there is no table %s", d->shown,
                              d->quoted);
    }
    if (status == PS_OK) {
        complain(&shape, columns, count, &wrong);
        status = wrong.len == 0
                     ? make_plan(d, &shape, columns, count, err)
                     : ps_fail_code(err, PS_REFUSED, "table_mismatch", "%s: table %s: %s", d->shown,
                                    d->quoted, ps_buf_str(&wrong));
    }
    if (status == PS_OK) {
        d->ncols = (uint32_t)count;
        d->table_form = form;
        ps_buf_xappend(&d->signature, signature.ptr, signature.len);
    } else {
        dst_postgres_plan_drop(d);
    }
    ps_buf_fini(&wrong);
    ps_buf_fini(&signature);
    shape_fini(&shape);
    return status;
}
