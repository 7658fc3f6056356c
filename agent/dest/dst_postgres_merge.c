/* SPDX-License-Identifier: Apache-2.0 */
/* Loads that meet rows by key: the staging table, and the statement that merges it. */
#include <inttypes.h>

#include "agent/dest/dst_postgres_plan.h"
#include "common/alloc.h"

static void
append_keys(const struct dst_postgres *d, struct ps_buf *sql)
{
    for (size_t i = 0; i < d->keys.count; i++) {
        ps_buf_xprintf(sql, i == 0 ? "" : ", ");
        dst_postgres_quote(sql, d->keys.at[i]);
    }
}

/* The keys of rows that are one; one with a NULL in it is like no other. */
static void
append_sameness(const struct dst_postgres *d, struct ps_buf *sql)
{
    append_keys(d, sql);
    const char *comma = ", CASE WHEN ";
    for (size_t i = 0; d->nulls_are_apart && i < d->keys.count; i++) {
        ps_buf_xprintf(sql, "%s", comma);
        dst_postgres_quote(sql, d->keys.at[i]);
        ps_buf_xprintf(sql, " IS NULL");
        comma = " OR ";
    }
    ps_buf_xprintf(sql, d->nulls_are_apart && d->keys.count > 0 ? " THEN _penstock_n END" : "");
}

/* Two rows have one key. */
static void
append_same_key(const struct dst_postgres *d, const char *one, const char *other,
                struct ps_buf *sql)
{
    for (size_t i = 0; i < d->keys.count; i++) {
        struct ps_buf quoted = PS_BUF_INIT;
        dst_postgres_quote(&quoted, d->keys.at[i]);
        const char *key = ps_buf_str(&quoted);
        ps_buf_xprintf(sql, i == 0 ? "" : " AND ");
        /* No index serves IS NOT DISTINCT FROM. */
        ps_buf_xprintf(sql, d->nulls_are_equal ? "(%s.%s = %s.%s" : "%s.%s = %s.%s", one, key,
                       other, key);
        if (d->nulls_are_equal) {
            ps_buf_xprintf(sql, " OR (%s.%s IS NULL AND %s.%s IS NULL))", one, key, other, key);
        }
        ps_buf_fini(&quoted);
    }
}

/* By order_by the newer row does not lose against the older. */
static void
append_not_less(const struct dst_postgres *d, const char *older, const char *newer,
                struct ps_buf *sql)
{
    ps_buf_xprintf(sql, "%s.", older);
    dst_postgres_quote(sql, d->order_by);
    ps_buf_xprintf(sql, " IS NULL OR %s.", newer);
    dst_postgres_quote(sql, d->order_by);
    ps_buf_xprintf(sql, " >= %s.", older);
    dst_postgres_quote(sql, d->order_by);
}

static void
append_excluded(const char *column, size_t before, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, before == 0 ? "" : ", ");
    dst_postgres_quote(sql, column);
    ps_buf_xprintf(sql, " = excluded.");
    dst_postgres_quote(sql, column);
}

/* "replace" is the whole row: a column that is not loaded goes back to its default. */
static void
append_assignments(const struct dst_postgres *d, const struct table_shape *shape,
                   struct ps_buf *sql)
{
    size_t count = 0;
    for (uint32_t i = 0; i < d->column_count; i++) {
        if (dest_names_updated(&d->updates, &d->keys, d->columns[i].name)) {
            append_excluded(d->columns[i].name, count++, sql);
        }
    }
    for (size_t i = 0; d->on_conflict == PG_CONFLICT_REPLACE && i < shape->count; i++) {
        const struct table_column *column = &shape->columns[i];
        bool loaded = false;
        for (uint32_t k = 0; !loaded && k < d->column_count; k++) {
            loaded = strcmp(d->columns[k].name, column->name) == 0;
        }
        if (!loaded && !column->generated && !column->always_identity) {
            ps_buf_xprintf(sql, count++ == 0 ? "" : ", ");
            dst_postgres_quote(sql, column->name);
            ps_buf_xprintf(sql, " = DEFAULT");
        }
    }
    if (count == 0) {
        append_excluded(d->keys.at[0], 0, sql); /* the key is all there is */
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
    append_same_key(d, "old", "t", sql);
    ps_buf_xprintf(sql, ")");
}

/* Columns as one row after the other would have left them: what no update sets stays as the first
 * row of a new key brought it. */
static void
append_collapsed(const struct dst_postgres *d, struct ps_buf *sql)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        const char *name = d->columns[i].name;
        bool first =
            !dest_names_updated(&d->updates, &d->keys, name) && !dest_names_have(&d->keys, name);
        ps_buf_xprintf(sql, "%s%s", i == 0 ? "" : ", ", first ? "first_value(" : "");
        dst_postgres_quote(sql, name);
        if (first) {
            ps_buf_xprintf(sql, ") OVER (PARTITION BY ");
            append_sameness(d, sql);
            ps_buf_xprintf(sql, " ORDER BY _penstock_n) AS ");
            dst_postgres_quote(sql, name);
        }
    }
}

/* Of staged rows, those that updated, or made, what another of the same key then updated. What an
 * update by order_by met there is what the table held before this statement, or a row before it
 * here. */
static void
append_count(const struct dst_postgres *d, struct ps_buf *count, struct ps_buf *tail)
{
    static const char stage[] = " FROM pg_temp._penstock_stage WHERE _penstock_n BETWEEN ";
    ps_buf_xprintf(count, "SELECT coalesce(sum(_penstock_rows - 1), 0) FROM (SELECT count(*) AS"
                          " _penstock_rows");
    if (d->order_by == NULL) {
        ps_buf_xprintf(count, "%s", stage);
    } else {
        ps_buf_xprintf(count, " FROM (SELECT *, max(_penstock_rank) OVER (PARTITION BY ");
        append_sameness(d, count);
        ps_buf_xprintf(count, " ORDER BY _penstock_n ROWS BETWEEN UNBOUNDED PRECEDING AND 1"
                              " PRECEDING) AS _penstock_best FROM (SELECT *, rank() OVER"
                              " (PARTITION BY ");
        append_sameness(d, count);
        ps_buf_xprintf(count, " ORDER BY ");
        dst_postgres_quote(count, d->order_by);
        ps_buf_xprintf(count, " NULLS FIRST) AS _penstock_rank%s", stage);
        ps_buf_xprintf(tail,
                       ") r) s WHERE (_penstock_best IS NULL OR _penstock_rank >= _penstock_best)"
                       " AND NOT EXISTS (SELECT FROM %s AS old WHERE ",
                       d->quoted);
        append_same_key(d, "old", "s", tail);
        ps_buf_xprintf(tail, " AND (");
        append_not_less(d, "old", "s", tail);
        ps_buf_xprintf(tail, ") IS NOT TRUE)");
    }
    ps_buf_xprintf(tail, " GROUP BY ");
    append_sameness(d, tail);
    ps_buf_xprintf(tail, ") g");
}

struct merge_text {
    struct ps_buf sql, rest, count, tail;
};

static void
append_skip(const struct dst_postgres *d, struct merge_text *text)
{
    dst_postgres_append_names(d, &text->sql);
    ps_buf_xprintf(&text->sql, " FROM pg_temp._penstock_stage WHERE _penstock_n BETWEEN ");
    ps_buf_xprintf(&text->rest, " ORDER BY _penstock_n ON CONFLICT");
    if (d->keys.count > 0) {
        ps_buf_xprintf(&text->rest, " (");
        append_keys(d, &text->rest);
        ps_buf_xprintf(&text->rest, ")");
    }
    ps_buf_xprintf(&text->rest, " DO NOTHING RETURNING true AS fresh) SELECT count(*), 0, 0"
                                " FROM up");
}

/* Rows of one key are collapsed first: the one that wins is the latest, or that of the largest
 * order_by. The keys' order keeps two sessions from waiting for each other. */
static void
append_update(const struct dst_postgres *d, const struct table_shape *shape,
              struct merge_text *text)
{
    struct ps_buf *rest = &text->rest;
    dst_postgres_append_names(d, &text->sql);
    ps_buf_xprintf(&text->sql, " FROM (SELECT DISTINCT ON (");
    append_sameness(d, &text->sql);
    ps_buf_xprintf(&text->sql, ") ");
    append_collapsed(d, &text->sql);
    ps_buf_xprintf(&text->sql, " FROM pg_temp._penstock_stage WHERE _penstock_n BETWEEN ");
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
        ps_buf_xprintf(rest, " WHERE ");
        append_not_less(d, "t", "excluded", rest);
    }
    ps_buf_xprintf(rest, " RETURNING ");
    append_fresh(d, shape, rest);
    ps_buf_xprintf(rest, " AS fresh) SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE"
                         " NOT fresh), CASE WHEN count(*) < ");
    append_count(d, &text->count, &text->tail);
    ps_buf_xprintf(&text->tail, ") ELSE 0 END FROM up");
}

static void
make_merge(struct dst_postgres *d, const struct table_shape *shape)
{
    struct merge_text text = {.sql = PS_BUF_INIT};
    ps_buf_xprintf(&text.sql, "WITH up AS (INSERT INTO %s AS t(", d->quoted);
    dst_postgres_append_names(d, &text.sql);
    ps_buf_xprintf(&text.sql, ") SELECT ");
    if (d->on_conflict == PG_CONFLICT_SKIP) {
        append_skip(d, &text);
    } else {
        append_update(d, shape, &text);
        d->merge_count = ps_xstrdup(ps_buf_str(&text.count));
        d->merge_tail = ps_xstrdup(ps_buf_str(&text.tail));
    }
    d->merge_sql = ps_xstrdup(ps_buf_str(&text.sql));
    d->merge_rest = ps_xstrdup(ps_buf_str(&text.rest));
    ps_buf_fini(&text.sql);
    ps_buf_fini(&text.rest);
    ps_buf_fini(&text.count);
    ps_buf_fini(&text.tail);
}

char *
dst_postgres_merge_text(const struct dst_postgres *d, const struct dst_postgres_staged *staged)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "%s%s%" PRIu64 " AND %" PRIu64 "%s", staged->before, d->merge_sql,
                   staged->first, staged->last, d->merge_rest);
    if (d->merge_count != NULL) {
        /* The server looks for collapsed rows only where some are missing. */
        ps_buf_xprintf(&sql, "%" PRIu64 " THEN (%s%" PRIu64 " AND %" PRIu64 "%s", staged->given,
                       d->merge_count, staged->first, staged->last, d->merge_tail);
    }
    char *text = ps_xstrdup(ps_buf_str(&sql));
    ps_buf_fini(&sql);
    return text;
}

/* A string constant, whatever the session's settings are. */
static void
append_text(const char *text, size_t before, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, before == 0 ? "E'" : ", E'");
    for (; *text != '\0'; text++) {
        ps_buf_xprintf(sql, *text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    ps_buf_xprintf(sql, "'::text");
}

/* Where all keys are NOT NULL there are no NULLs to tell apart; where a unique index says NULLS NOT
 * DISTINCT, they are one. */
static enum ps_status
find_nulls(struct dst_postgres *d, struct ps_error *err)
{
    bool nullable = false;
    for (uint32_t i = 0; i < d->column_count; i++) {
        nullable =
            nullable || (dest_names_have(&d->keys, d->columns[i].name) && !d->columns[i].not_null);
    }
    d->nulls_are_equal = false;
    d->nulls_are_apart = false;
    if (!nullable) {
        return PS_OK;
    }
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted);
    /* As JSON: servers before 15 have no such column. */
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(
        &sql, "SELECT count(*) FROM pg_index i WHERE indrelid = to_regclass($1) AND indisunique"
              " AND indpred IS NULL AND indexprs IS NULL"
              " AND (to_jsonb(i) ->> 'indnullsnotdistinct')::bool AND (SELECT"
              " array_agg(attname::text ORDER BY attname::text COLLATE \"C\") FROM"
              " unnest((indkey::int2[])[0:indnkeyatts - 1]) n JOIN pg_attribute ON attrelid ="
              " indrelid AND attnum = n) = (SELECT array_agg(k ORDER BY k COLLATE \"C\") FROM"
              " unnest(ARRAY[");
    for (size_t i = 0; i < d->keys.count; i++) {
        append_text(d->keys.at[i], i, &sql);
    }
    ps_buf_xprintf(&sql, "]) k)");
    PGresult *result = dst_postgres_query(d, ps_buf_str(&sql), &params, err);
    ps_buf_fini(&sql);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    d->nulls_are_equal = pg_value_int(result, 0, 0) > 0;
    d->nulls_are_apart = !d->nulls_are_equal;
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
    if (status == PS_OK) {
        status = find_nulls(d, err);
    }
    if (status == PS_OK) {
        make_merge(d, shape);
        /* Planning finds a key without its unique index before any row has moved. */
        char *explain =
            dst_postgres_merge_text(d, &(struct dst_postgres_staged){.before = "EXPLAIN "});
        status = dst_postgres_exec(d, explain, NULL, err);
        ps_free(explain);
    }
    ps_buf_fini(&sql);
    return status;
}
