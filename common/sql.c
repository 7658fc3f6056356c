/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sql.h"

#include <limits.h>
#include <stdio.h>

enum ps_status
sql_status(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return PS_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_PROTOCOL:
        return PS_AGAIN;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
        return PS_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return PS_BADDATA;
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_INTERNAL:
        return PS_BUG;
    case SQLITE_INTERRUPT:
        return PS_CANCELED;
    default:
        return PS_REFUSED;
    }
}

static const char *
code_name(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
        return "sqlite_busy";
    case SQLITE_LOCKED:
        return "sqlite_locked";
    case SQLITE_IOERR:
        return "sqlite_ioerr";
    case SQLITE_FULL:
        return "sqlite_full";
    case SQLITE_NOMEM:
        return "sqlite_nomem";
    case SQLITE_CORRUPT:
        return "sqlite_corrupt";
    case SQLITE_NOTADB:
        return "sqlite_notadb";
    case SQLITE_CONSTRAINT:
        return "sqlite_constraint";
    case SQLITE_CANTOPEN:
        return "sqlite_cantopen";
    case SQLITE_READONLY:
        return "sqlite_readonly";
    default:
        return "sqlite_error";
    }
}

enum ps_status
sql_fail(struct ps_error *err, sqlite3 *db, int rc, const char *fmt, ...)
{
    char what[PS_ERROR_TEXT_BYTES / 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    /* The handle's message belongs to its latest call only. */
    bool own = db != NULL && (sqlite3_errcode(db) & 0xff) == (rc & 0xff);
    return ps_fail_code(err, sql_status(rc), code_name(rc), "%s: %s", what,
                        own ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

void
sql_setup(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* refused where it is too late */
}

enum ps_status
sql_open(const char *path, int flags, sqlite3 **out, struct ps_error *err)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK) {
        enum ps_status status = sql_fail(err, db, rc, "open %s", path);
        sqlite3_close(db);
        return status;
    }
    *out = db;
    return PS_OK;
}

void
sql_close(sqlite3 *db)
{
    sqlite3_close_v2(db);
}

/* The first line of a statement, cut: enough to find it. */
static enum ps_status
fail_sql(struct ps_error *err, sqlite3 *db, int rc, const char *sql)
{
    return sql_fail(err, db, rc, "%.*s", (int)strnlen(sql, 120), sql);
}

enum ps_status
sql_exec(sqlite3 *db, const char *sql, struct ps_error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? PS_OK : fail_sql(err, db, rc, sql);
}

enum ps_status
sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct ps_error *err)
{
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc == SQLITE_OK ? PS_OK : fail_sql(err, db, rc, sql);
}

void
sql_finalize(sqlite3_stmt *stmt)
{
    sqlite3_finalize(stmt);
}

static int
bind_one(sqlite3_stmt *stmt, int index, const struct sql_value *value, sqlite3_destructor_type life)
{
    /* A NULL pointer would bind SQL NULL where an empty value is meant. */
    const void *bytes = value->bytes.ptr == NULL ? "" : (const void *)value->bytes.ptr;
    switch (value->kind) {
    case SQL_NULL:
        return sqlite3_bind_null(stmt, index);
    case SQL_INT:
        return sqlite3_bind_int64(stmt, index, value->integer);
    case SQL_REAL:
        return sqlite3_bind_double(stmt, index, value->real);
    case SQL_TEXT:
        return sqlite3_bind_text64(stmt, index, bytes, value->bytes.len, life, SQLITE_UTF8);
    case SQL_BLOB:
        return sqlite3_bind_blob64(stmt, index, bytes, value->bytes.len, life);
    }
    return SQLITE_MISUSE;
}

static enum ps_status
bind_all(sqlite3_stmt *stmt, const struct sql_value *values, size_t count,
         sqlite3_destructor_type life, struct ps_error *err)
{
    sqlite3_reset(stmt);
    for (size_t i = 0; i < count; i++) {
        int rc = bind_one(stmt, (int)i + 1, &values[i], life);
        if (rc != SQLITE_OK) {
            return fail_sql(err, sqlite3_db_handle(stmt), rc, sqlite3_sql(stmt));
        }
    }
    return PS_OK;
}

enum ps_status
sql_bind(sqlite3_stmt *stmt, const struct sql_value *values, size_t count, struct ps_error *err)
{
    return bind_all(stmt, values, count, SQLITE_TRANSIENT, err);
}

enum ps_status
sql_step(sqlite3_stmt *stmt, bool *out_row, struct ps_error *err)
{
    int rc = sqlite3_step(stmt);
    *out_row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW) {
        return PS_OK;
    }
    enum ps_status status =
        rc == SQLITE_DONE ? PS_OK : fail_sql(err, sqlite3_db_handle(stmt), rc, sqlite3_sql(stmt));
    sql_reset(stmt);
    return status;
}

enum ps_status
sql_run(sqlite3_stmt *stmt, const struct sql_value *values, size_t count, struct ps_error *err)
{
    /* All of it is over before the values end: nothing is copied. */
    enum ps_status status = bind_all(stmt, values, count, SQLITE_STATIC, err);
    bool row = true;
    while (status == PS_OK && row) {
        status = sql_step(stmt, &row, err);
    }
    return status;
}

void
sql_reset(sqlite3_stmt *stmt)
{
    if (stmt != NULL) {
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
    }
}

int64_t
sql_column_int(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt, column);
}

double
sql_column_real(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_double(stmt, column);
}

struct ps_span
sql_column_span(sqlite3_stmt *stmt, int column)
{
    const void *bytes = sqlite3_column_blob(stmt, column);
    return ps_span(bytes, (size_t)sqlite3_column_bytes(stmt, column));
}

const char *
sql_column_text(sqlite3_stmt *stmt, int column)
{
    return (const char *)sqlite3_column_text(stmt, column);
}

bool
sql_column_is_null(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL;
}

bool
sql_column_id(sqlite3_stmt *stmt, int column, struct ps_id *out)
{
    return ps_id_from_span(sql_column_span(stmt, column), out);
}

enum ps_status
sql_query_int(sqlite3 *db, const char *sql, int64_t absent_value, int64_t *out,
              struct ps_error *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    enum ps_status status = sql_prepare(db, sql, &stmt, err);
    if (status == PS_OK) {
        status = sql_step(stmt, &row, err);
    }
    if (status == PS_OK) {
        *out = row && !sql_column_is_null(stmt, 0) ? sql_column_int(stmt, 0) : absent_value;
    }
    sql_finalize(stmt);
    return status;
}

enum ps_status
sql_begin_immediate(sqlite3 *db, struct ps_error *err)
{
    return sql_exec(db, "BEGIN IMMEDIATE", err);
}

enum ps_status
sql_commit(sqlite3 *db, struct ps_error *err)
{
    return sql_exec(db, "COMMIT", err);
}

void
sql_rollback(sqlite3 *db)
{
    if (db != NULL && sqlite3_get_autocommit(db) == 0) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
}

void
sql_quote_name(struct ps_buf *out, const char *name)
{
    ps_buf_xappend(out, "\"", 1);
    for (const char *at = name; *at != '\0'; at++) {
        ps_buf_xappend(out, "\"\"", *at == '"' ? 2 : 0);
        if (*at != '"') {
            ps_buf_xappend(out, at, 1);
        }
    }
    ps_buf_xappend(out, "\"", 1);
}
