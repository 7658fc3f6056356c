/* SPDX-License-Identifier: Apache-2.0 */
/* Conflicts: rows go into a temporary table of the session, made outside of the transaction, and
 * from there into the table by statements whose counts are exact. INSERT IGNORE is not among them:
 * it takes every error for a conflict. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "agent/dest/dst_mysql.h"
#include "common/alloc.h"

#define STAGE "_penstock_stage"
#define NUMBER "_penstock_n"
#define FIRST "_penstock_first" /* and the column's place */
/* Stands in the statements for the number of the first staged row that counts. What an earlier
 * slice of the transaction left is not deleted: every later scan would read its remains. */
#define SINCE "_penstock_since"
#define STAGED STAGE " s0 WHERE " NUMBER " >= " SINCE

enum { MERGE_TRIES = 5 };

/* Each key column, quoted, in place of every "$" of the pattern. */
static void
append_keys(const struct dst_mysql *d, const char *between, const char *pattern, struct ps_buf *sql)
{
    for (size_t i = 0; i < d->keys.count; i++) {
        ps_buf_xprintf(sql, "%s", i == 0 ? "" : between);
        for (const char *at = pattern; *at != '\0'; at++) {
            if (*at == '$') {
                dst_mysql_quote(sql, d->keys.at[i]);
            } else {
                ps_buf_xappend(sql, at, 1);
            }
        }
    }
}

/* The keys of rows that are one. A NULL in a key is no key: such rows stay apart. */
static void
append_sameness_of(const struct dst_mysql *d, const char *key, const char *is_null,
                   struct ps_buf *sql)
{
    append_keys(d, ", ", key, sql);
    ps_buf_xprintf(sql, ", CASE WHEN ");
    append_keys(d, " OR ", is_null, sql);
    ps_buf_xprintf(sql, " THEN " NUMBER " END");
}

static void
append_sameness(const struct dst_mysql *d, struct ps_buf *sql)
{
    append_sameness_of(d, "$", "$ IS NULL", sql);
}

/* Members of ENUM and SET sort by their place and are compared as texts, unless they are numbers.
 */
static const char *
as_sorted(const struct dst_mysql *d, const char *name)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        if (strcasecmp(d->columns[i].name, name) == 0) {
            enum dst_mysql_type type = d->columns[i].type;
            return type == MY_ENUM || type == MY_SET ? " + 0" : "";
        }
    }
    return "";
}

/* By order_by the staged row s does not lose against the table's t. */
static void
append_not_less(const struct dst_mysql *d, struct ps_buf *sql)
{
    const char *sorted = as_sorted(d, d->order_by);
    ps_buf_xprintf(sql, "t.");
    dst_mysql_quote(sql, d->order_by);
    ps_buf_xprintf(sql, " IS NULL OR s.");
    dst_mysql_quote(sql, d->order_by);
    ps_buf_xprintf(sql, "%s >= t.", sorted);
    dst_mysql_quote(sql, d->order_by);
    ps_buf_xprintf(sql, "%s", sorted);
}

/* Stays as the first row of a new key brought it, however many update that row. */
static bool
is_first_value(const struct dst_mysql *d, const char *name)
{
    return !dest_names_updated(&d->updates, &d->keys, name) && !dest_names_have(&d->keys, name);
}

/* The rows of a batch, one a key: the first, or the last, or that of the largest order_by. */
static void
append_collapsed(const struct dst_mysql *d, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, "(SELECT * FROM (SELECT s0.*");
    for (uint32_t i = 0; i < d->column_count; i++) {
        if (is_first_value(d, d->columns[i].name)) {
            ps_buf_xprintf(sql, ", FIRST_VALUE(s0.");
            dst_mysql_quote(sql, d->columns[i].name);
            ps_buf_xprintf(sql, ") OVER (PARTITION BY ");
            append_sameness(d, sql);
            ps_buf_xprintf(sql, " ORDER BY " NUMBER ") AS " FIRST "%u", i);
        }
    }
    ps_buf_xprintf(sql, ", ROW_NUMBER() OVER (PARTITION BY ");
    append_sameness(d, sql);
    ps_buf_xprintf(sql, " ORDER BY ");
    if (d->on_conflict == MY_CONFLICT_SKIP) {
        ps_buf_xprintf(sql, NUMBER);
    } else {
        if (d->order_by != NULL) {
            dst_mysql_quote(sql, d->order_by);
            ps_buf_xprintf(sql, " DESC, ");
        }
        ps_buf_xprintf(sql, NUMBER " DESC");
    }
    ps_buf_xprintf(sql, ") AS _penstock_rank FROM %s" STAGED ") s1 WHERE _penstock_rank = 1) s",
                   d->prefix);
}

static bool
is_loaded(const struct dst_mysql *d, const char *name)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        if (strcasecmp(d->columns[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* "replace" is the whole row: a column that is not loaded goes back to its default. */
static size_t
append_assignments(const struct dst_mysql *d, const struct dst_mysql_shape *shape,
                   struct ps_buf *sql)
{
    size_t count = 0;
    for (size_t i = 0; i < shape->count; i++) {
        const struct dst_mysql_shape_column *column = &shape->columns[i];
        bool loaded = is_loaded(d, column->name);
        if (!dest_names_updated(&d->updates, &d->keys, column->name) || column->generated ||
            column->auto_increment || (!loaded && d->on_conflict != MY_CONFLICT_REPLACE)) {
            continue;
        }
        ps_buf_xprintf(sql, "%st.", count++ == 0 ? "" : ", ");
        dst_mysql_quote(sql, column->name);
        ps_buf_xprintf(sql, " = %s", loaded ? "s." : "DEFAULT(t.");
        dst_mysql_quote(sql, column->name);
        ps_buf_xprintf(sql, loaded ? "" : ")");
    }
    return count;
}

/* Rows that are there: how many matched is what the server says of it. */
static void
append_update(const struct dst_mysql *d, const struct dst_mysql_shape *shape, struct ps_buf *sql)
{
    struct ps_buf assigned = PS_BUF_INIT;
    ps_buf_xprintf(sql, "UPDATE %s t JOIN ", d->quoted);
    append_collapsed(d, sql);
    ps_buf_xprintf(sql, " ON ");
    append_keys(d, " AND ", "t.$ = s.$", sql);
    if (append_assignments(d, shape, &assigned) == 0) {
        /* Nothing but the key: the row is found, and stays. */
        ps_buf_xprintf(&assigned, "t.");
        dst_mysql_quote(&assigned, d->keys.at[0]);
        ps_buf_xprintf(&assigned, " = t.");
        dst_mysql_quote(&assigned, d->keys.at[0]);
    }
    ps_buf_xprintf(sql, " SET %s", ps_buf_str(&assigned));
    ps_buf_fini(&assigned);
    if (d->order_by != NULL) {
        ps_buf_xprintf(sql, " WHERE ");
        append_not_less(d, sql);
    }
}

/* How many rows of the staging table share their key with one before. */
static void
append_repeats(const struct dst_mysql *d, struct ps_buf *sql)
{
    ps_buf_xprintf(sql,
                   "SELECT COALESCE(SUM(_penstock_rows - 1), 0) FROM (SELECT count(*) AS"
                   " _penstock_rows FROM %s" STAGED " GROUP BY ",
                   d->prefix);
    append_sameness(d, sql);
    ps_buf_xprintf(sql, ") g");
}

/* Of these, those that do not lose by order_by, neither against the table's row, which no statement
 * has touched yet, nor against one before. */
static void
append_updates(const struct dst_mysql *d, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, "SELECT COALESCE(SUM(_penstock_rows - 1), 0) FROM (SELECT count(*) AS"
                        " _penstock_rows FROM (SELECT s1.*, MAX(_penstock_rank) OVER"
                        " (PARTITION BY ");
    append_sameness(d, sql);
    ps_buf_xprintf(sql, " ORDER BY " NUMBER " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS"
                        " _penstock_best FROM (SELECT s0.*, RANK() OVER (PARTITION BY ");
    append_sameness(d, sql);
    ps_buf_xprintf(sql, " ORDER BY ");
    dst_mysql_quote(sql, d->order_by); /* NULL comes first */
    ps_buf_xprintf(sql, ") AS _penstock_rank FROM %s" STAGED ") s1) s LEFT JOIN %s t ON ",
                   d->prefix, d->quoted);
    append_keys(d, " AND ", "t.$ = s.$", sql);
    ps_buf_xprintf(sql, " WHERE (_penstock_best IS NULL OR _penstock_rank >= _penstock_best)"
                        " AND (");
    append_not_less(d, sql);
    ps_buf_xprintf(sql, ") GROUP BY ");
    append_sameness_of(d, "s.$", "s.$ IS NULL", sql);
    ps_buf_xprintf(sql, ") g");
}

/* Rows that are not there yet, in the order they came; with no key of ours all of them. */
static void
append_new(const struct dst_mysql *d, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, " FROM ");
    if (d->keys.count == 0) {
        ps_buf_xprintf(sql, "%s" STAGE " s WHERE s." NUMBER " >= " SINCE, d->prefix);
    } else {
        append_collapsed(d, sql);
        ps_buf_xprintf(sql, " LEFT JOIN %s t ON ", d->quoted);
        append_keys(d, " AND ", "t.$ = s.$", sql);
        ps_buf_xprintf(sql, " WHERE t.");
        dst_mysql_quote(sql, d->keys.at[0]);
        ps_buf_xprintf(sql, " IS NULL");
    }
    ps_buf_xprintf(sql, " ORDER BY s." NUMBER);
}

/* Another session's row that comes in between is a duplicate key, and the two statements are run
 * again. */
static void
append_insert(const struct dst_mysql *d, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, "INSERT INTO %s(%s) SELECT ", d->quoted, d->names);
    for (uint32_t i = 0; i < d->column_count; i++) {
        ps_buf_xprintf(sql, i == 0 ? "s." : ", s.");
        if (d->keys.count > 0 && is_first_value(d, d->columns[i].name)) {
            ps_buf_xprintf(sql, FIRST "%u", i);
        } else {
            dst_mysql_quote(sql, d->columns[i].name);
        }
    }
    append_new(d, sql);
    if (d->keys.count == 0) {
        /* Any unique key: what conflicts is set to what it is, which counts as nothing. */
        ps_buf_xprintf(sql, " ON DUPLICATE KEY UPDATE ");
        dst_mysql_quote(sql, d->columns[0].name);
        ps_buf_xprintf(sql, " = %s.", d->quoted);
        dst_mysql_quote(sql, d->columns[0].name);
    }
}

/* Exactly these columns, or fewer, make a unique key: else a key would not name one row. */
static enum ps_status
check_key(struct dst_mysql *d, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    MYSQL_RES *result = NULL;
    ps_buf_xprintf(&sql, "SHOW INDEX FROM %s", d->quoted);
    enum ps_status status = dst_mysql_query(d, ps_buf_str(&sql), sql.len, &result, err);
    ps_buf_fini(&sql);
    if (status != PS_OK) {
        return status;
    }
    bool found = false;
    bool fits = false;
    char index[200] = "";
    for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;) {
        /* table, non_unique, key_name, seq_in_index, column_name, collation, cardinality, sub_part
         */
        if (strcmp(row[3], "1") == 0 || strcmp(index, row[2]) != 0) {
            found = found || fits;
            fits = strcmp(row[1], "0") == 0;
            snprintf(index, sizeof index, "%s", row[2]);
        }
        fits = fits && row[4] != NULL && row[7] == NULL && dest_names_have(&d->keys, row[4]);
    }
    found = found || fits;
    mysql_free_result(result);
    return found ? PS_OK
                 : ps_fail_code(err, PS_REFUSED, "table_mismatch",
                                "%s: table %s has no PRIMARY KEY or UNIQUE index of the columns in "
                                "destination.key",
                                d->shown, d->quoted);
}

static enum ps_status
create_stage(struct dst_mysql *d, const struct dst_mysql_shape *shape, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "DROP TEMPORARY TABLE IF EXISTS %s" STAGE, d->prefix);
    enum ps_status status = dst_mysql_exec(d, ps_buf_str(&sql), err);
    ps_buf_clear(&sql);
    ps_buf_xprintf(&sql,
                   "CREATE TEMPORARY TABLE %s" STAGE "(" NUMBER
                   " BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
                   d->prefix);
    for (uint32_t i = 0; i < d->column_count; i++) {
        const struct dst_mysql_shape_column *column =
            dst_mysql_shape_find(shape, d->columns[i].name);
        ps_buf_xprintf(&sql, ", ");
        dst_mysql_quote(&sql, column->name);
        ps_buf_xprintf(&sql, " %s", column->column_type);
        if (column->collation != NULL) {
            ps_buf_xprintf(&sql, " CHARACTER SET %s COLLATE %s", column->charset,
                           column->collation);
        }
        ps_buf_xprintf(&sql, " NULL DEFAULT NULL");
    }
    ps_buf_xprintf(&sql, ")%s", d->dialect->has_engines ? " ENGINE = InnoDB" : "");
    if (status == PS_OK) {
        status = dst_mysql_exec(d, ps_buf_str(&sql), err);
    }
    ps_buf_fini(&sql);
    return status;
}

enum ps_status
dst_mysql_make_stage(struct dst_mysql *d, const struct dst_mysql_shape *shape, struct ps_error *err)
{
    enum ps_status status = d->keys.count > 0 ? check_key(d, err) : PS_OK;
    if (status == PS_OK) {
        status = create_stage(d, shape, err);
    }
    if (status != PS_OK) {
        return status;
    }
    struct ps_buf sql = PS_BUF_INIT;
    d->target = ps_xasprintf("%s" STAGE, d->prefix);
    append_insert(d, &sql);
    d->merge_insert_sql = ps_xstrdup(ps_buf_str(&sql));
    ps_buf_clear(&sql);
    ps_buf_xprintf(&sql, "SELECT s." NUMBER);
    append_new(d, &sql);
    d->merge_new_sql = ps_xstrdup(ps_buf_str(&sql));
    if (d->on_conflict != MY_CONFLICT_SKIP) {
        ps_buf_clear(&sql);
        append_update(d, shape, &sql);
        d->merge_update_sql = ps_xstrdup(ps_buf_str(&sql));
        ps_buf_clear(&sql);
        append_repeats(d, &sql);
        d->merge_repeats_sql = ps_xstrdup(ps_buf_str(&sql));
    }
    if (d->on_conflict != MY_CONFLICT_SKIP && d->order_by != NULL) {
        ps_buf_clear(&sql);
        append_updates(d, &sql);
        d->merge_updates_sql = ps_xstrdup(ps_buf_str(&sql));
    }
    ps_buf_fini(&sql);
    return PS_OK;
}

/* ---- the statements, run */

static uint64_t
matched_rows(MYSQL *conn)
{
    static const char words[] = "Rows matched: ";
    const char *info = mysql_info(conn);
    const char *at = info == NULL ? NULL : strstr(info, words);
    return at == NULL ? 0 : strtoull(at + sizeof words - 1, NULL, 10);
}

/* The statement over staged rows from that number on. */
static void
put_since(const char *sql, uint64_t since, struct ps_buf *out)
{
    const char *at = strstr(sql, SINCE);
    for (; at != NULL; at = strstr(sql, SINCE)) {
        ps_buf_xappend(out, sql, (size_t)(at - sql));
        ps_buf_xprintf(out, "%llu", (unsigned long long)since);
        sql = at + strlen(SINCE);
    }
    ps_buf_xprintf(out, "%s", sql);
}

static enum ps_status
try_since(struct dst_mysql *d, const char *sql, uint64_t since, bool *out_refused,
          struct ps_error *err)
{
    struct ps_buf text = PS_BUF_INIT;
    put_since(sql, since, &text);
    enum ps_status status = dst_mysql_try(d, ps_buf_str(&text), text.len, out_refused, err);
    ps_buf_fini(&text);
    return status;
}

/* Updates what is there and inserts what is not. *out_refused as dst_mysql_try. */
static enum ps_status
update_and_insert(struct dst_mysql *d, uint64_t since, struct dst_mysql_merged *out,
                  bool *out_refused, struct ps_error *err)
{
    const char *update = d->merge_update_sql;
    enum ps_status status = PS_OK;
    for (int tries = 0; tries < MERGE_TRIES; tries++) {
        out->insert_refused = false;
        if (update != NULL) {
            status = try_since(d, update, since, out_refused, err);
            out->updated = status == PS_OK && !*out_refused ? matched_rows(d->conn) : 0;
        }
        if (status == PS_OK && !*out_refused) {
            status = try_since(d, d->merge_insert_sql, since, out_refused, err);
            out->inserted = status == PS_OK && !*out_refused ? mysql_affected_rows(d->conn) : 0;
            out->insert_refused = *out_refused;
        }
        /* Another session's row may have come in between; or it is one of another unique key. */
        if (status != PS_OK || !*out_refused || mysql_errno(d->conn) != ER_DUP_ENTRY) {
            break;
        }
    }
    return status;
}

/* What another session committed behind our UPDATE and before our INSERT is known to neither. Of
 * that, nothing can be lost by an UPDATE behind the INSERT: what we inserted matches, too. */
static enum ps_status
update_behind(struct dst_mysql *d, uint64_t since, struct dst_mysql_merged *out, bool *out_refused,
              struct ps_error *err)
{
    enum ps_status status = try_since(d, d->merge_update_sql, since, out_refused, err);
    if (status == PS_OK && !*out_refused) {
        /* What was inserted without a key does not match. */
        uint64_t matched = matched_rows(d->conn);
        uint64_t updated = matched > out->inserted ? matched - out->inserted : 0;
        out->updated = updated > out->updated ? updated : out->updated;
    }
    return status;
}

static enum ps_status
count_rows(struct dst_mysql *d, const char *sql, uint64_t since, uint64_t *out,
           struct ps_error *err)
{
    bool found = false;
    int64_t rows = 0;
    struct ps_buf text = PS_BUF_INIT;
    put_since(sql, since, &text);
    enum ps_status status = dst_mysql_number(d, ps_buf_str(&text), &found, &rows, err);
    ps_buf_fini(&text);
    *out = (uint64_t)rows;
    return status;
}

/* Each row of a key is an update of the one before, though the statements know but one of them. */
static enum ps_status
update_all(struct dst_mysql *d, uint64_t since, uint64_t given, struct dst_mysql_merged *out,
           bool *out_refused, struct ps_error *err)
{
    uint64_t repeats = 0;
    uint64_t updates = 0;
    bool ordered = d->merge_updates_sql != NULL;
    enum ps_status status = PS_OK;
    if (ordered) {
        status = count_rows(d, d->merge_repeats_sql, since, &repeats, err);
    }
    if (status == PS_OK && repeats > 0) {
        status = count_rows(d, d->merge_updates_sql, since, &updates, err);
    }
    if (status == PS_OK) {
        status = update_and_insert(d, since, out, out_refused, err);
    }
    if (status != PS_OK || *out_refused) {
        return status;
    }
    if (!ordered && out->updated + out->inserted < given) {
        status = count_rows(d, d->merge_repeats_sql, since, &repeats, err);
        updates = repeats;
    }
    if (status == PS_OK && out->updated + out->inserted < given - repeats) {
        status = update_behind(d, since, out, out_refused, err);
    }
    out->updated += updates;
    return status;
}

enum ps_status
dst_mysql_merge(struct dst_mysql *d, uint64_t since, uint64_t given, struct dst_mysql_merged *out,
                bool *out_refused, struct ps_error *err)
{
    *out_refused = false;
    return d->merge_update_sql == NULL ? update_and_insert(d, since, out, out_refused, err)
                                       : update_all(d, since, given, out, out_refused, err);
}

enum ps_status
dst_mysql_merge_place(struct dst_mysql *d, uint64_t since, uint32_t row, uint32_t *out_place,
                      struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    bool found = false;
    int64_t number = 0;
    uint64_t place = UINT32_MAX;
    put_since(d->merge_new_sql, since, &sql);
    ps_buf_xprintf(&sql, " LIMIT %u, 1", row);
    enum ps_status status = dst_mysql_number(d, ps_buf_str(&sql), &found, &number, err);
    if (status == PS_OK && found) {
        /* Numbers may have gaps. */
        ps_buf_clear(&sql);
        ps_buf_xprintf(&sql, "SELECT count(*) FROM %s" STAGED " AND " NUMBER " < %lld", d->prefix,
                       (long long)number);
        char *before = ps_xstrdup(ps_buf_str(&sql));
        status = count_rows(d, before, since, &place, err);
        ps_free(before);
    }
    ps_buf_fini(&sql);
    *out_place = place < UINT32_MAX ? (uint32_t)place : UINT32_MAX;
    return status;
}
