/* SPDX-License-Identifier: Apache-2.0 */
/* common/sql.h: SQLite with our errors. Thin: a handle stays a sqlite3 *, a statement a
 * sqlite3_stmt *; values are bound, never pasted.
 * Use: SQL_RUN(insert, err, sql_text(name), sql_int(count)) binds, steps to the end and resets.
 *      SQL_BIND(select, err, sql_blob(id)) … while ((s = sql_step(select, &row, err)) == PS_OK &&
 *      row) { sql_column_int(select, 0) … } sql_reset(select).
 * Errors: BUSY, LOCKED, IOERR → PS_AGAIN; FULL, NOMEM, TOOBIG → PS_FULL; CORRUPT, NOTADB →
 *         PS_BADDATA; MISUSE, RANGE → PS_BUG; all others (constraints too) → PS_REFUSED. The code
 * is "sqlite_busy", "sqlite_constraint", …; sqlite3_extended_errcode(db) tells more. Threads: as
 * the handle was opened (SQLITE_OPEN_NOMUTEX: one at a time). */
#ifndef COMMON_SQL_H
#define COMMON_SQL_H

#include <sqlite3.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/span.h"

/* Once, before anything else of SQLite: no statistics of its memory, whose lock every allocation
 * would take. */
void sql_setup(void);

/* flags as of sqlite3_open_v2 (SQLITE_OPEN_NOMUTEX is added); extended result codes on; no busy
 * handler. The file's folder is not made. */
PS_MUSTCHECK enum ps_status sql_open(const char *path, int flags, sqlite3 **out,
                                     struct ps_error *err);
void sql_close(sqlite3 *db); /* NULL is fine; statements must be finalised first */

/* Any number of statements without parameters; rows are thrown away. */
PS_MUSTCHECK enum ps_status sql_exec(sqlite3 *db, const char *sql, struct ps_error *err);
PS_MUSTCHECK enum ps_status sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out,
                                        struct ps_error *err);
void sql_finalize(sqlite3_stmt *stmt); /* NULL is fine */

enum sql_kind { SQL_NULL, SQL_INT, SQL_REAL, SQL_TEXT, SQL_BLOB };
struct sql_value {
    enum sql_kind kind;
    int64_t integer;
    double real;
    struct ps_span bytes;
};

static inline struct sql_value
sql_null(void)
{
    return (struct sql_value){.kind = SQL_NULL};
}
static inline struct sql_value
sql_int(int64_t integer)
{
    return (struct sql_value){.kind = SQL_INT, .integer = integer};
}
static inline struct sql_value
sql_real(double real)
{
    return (struct sql_value){.kind = SQL_REAL, .real = real};
}
/* NULL becomes SQL NULL. */
static inline struct sql_value
sql_text(const char *text)
{
    return text == NULL ? sql_null()
                        : (struct sql_value){.kind = SQL_TEXT, .bytes = ps_span_str(text)};
}
static inline struct sql_value
sql_text_span(struct ps_span text)
{
    return (struct sql_value){.kind = SQL_TEXT, .bytes = text};
}
/* An empty span is an empty blob, not NULL. */
static inline struct sql_value
sql_blob(struct ps_span bytes)
{
    return (struct sql_value){.kind = SQL_BLOB, .bytes = bytes};
}
/* The id must live until the call ends: sql_id(&batch.id). */
static inline struct sql_value
sql_id(const struct ps_id *id)
{
    return sql_blob(ps_span(id->b, PS_ID_BYTES));
}

/* Resets, then binds values to ?1 … ?count; the bytes are copied. */
PS_MUSTCHECK enum ps_status sql_bind(sqlite3_stmt *stmt, const struct sql_value *values,
                                     size_t count, struct ps_error *err);
#define SQL_BIND(stmt, err, ...)                                                                   \
    sql_bind((stmt), (const struct sql_value[]){__VA_ARGS__},                                      \
             sizeof((const struct sql_value[]){__VA_ARGS__}) / sizeof(struct sql_value), (err))

/* *out_row false: done, and the statement is reset. On failure it is reset too. */
PS_MUSTCHECK enum ps_status sql_step(sqlite3_stmt *stmt, bool *out_row, struct ps_error *err);
/* Binds, steps to the end (rows are thrown away), resets. */
PS_MUSTCHECK enum ps_status sql_run(sqlite3_stmt *stmt, const struct sql_value *values,
                                    size_t count, struct ps_error *err);
#define SQL_RUN(stmt, err, ...)                                                                    \
    sql_run((stmt), (const struct sql_value[]){__VA_ARGS__},                                       \
            sizeof((const struct sql_value[]){__VA_ARGS__}) / sizeof(struct sql_value), (err))
void sql_reset(sqlite3_stmt *stmt); /* and forgets the bindings; NULL is fine */

/* Borrowed until the next step or reset. */
int64_t sql_column_int(sqlite3_stmt *stmt, int column);
double sql_column_real(sqlite3_stmt *stmt, int column);
struct ps_span sql_column_span(sqlite3_stmt *stmt, int column);
const char *sql_column_text(sqlite3_stmt *stmt, int column); /* NULL for SQL NULL */
bool sql_column_is_null(sqlite3_stmt *stmt, int column);
/* False unless the column is a blob of 16 bytes. */
PS_MUSTCHECK bool sql_column_id(sqlite3_stmt *stmt, int column, struct ps_id *out);

/* First column of the first row of a query without parameters; absent_value where there is none. */
PS_MUSTCHECK enum ps_status sql_query_int(sqlite3 *db, const char *sql, int64_t absent_value,
                                          int64_t *out, struct ps_error *err);

PS_MUSTCHECK enum ps_status sql_begin_immediate(sqlite3 *db, struct ps_error *err);
PS_MUSTCHECK enum ps_status sql_commit(sqlite3 *db, struct ps_error *err);
void sql_rollback(sqlite3 *db); /* harmless outside a transaction */

/* The status of a result code, and an error with the handle's message behind the text. */
enum ps_status sql_status(int rc);
enum ps_status sql_fail(struct ps_error *err, sqlite3 *db, int rc, const char *fmt, ...)
    PS_PRINTF(4, 5);

/* Appends an identifier in double quotes ("a""b"). The one place that quotes for SQLite. A name
 * with a NUL byte cannot be written: it ends there. */
void sql_quote_name(struct ps_buf *out, const char *name);

#endif
