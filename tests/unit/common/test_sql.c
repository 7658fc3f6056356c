/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sql.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/path.h"

static sqlite3 *
memory(void)
{
    sqlite3 *db = NULL;
    struct ps_error err;
    cr_assert_eq(sql_open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, &err),
                 PS_OK);
    return db;
}

Test(sql, values_go_in_and_come_out)
{
    sqlite3 *db = memory();
    sqlite3_stmt *insert = NULL;
    sqlite3_stmt *select = NULL;
    struct ps_error err;
    struct ps_id id = ps_id_new();
    struct ps_id found;
    bool row = false;
    cr_assert_eq(sql_exec(db, "CREATE TABLE t(a, b, c, d, e, f); SELECT 1", &err), PS_OK);
    cr_assert_eq(sql_prepare(db, "INSERT INTO t VALUES(?1, ?2, ?3, ?4, ?5, ?6)", &insert, &err),
                 PS_OK);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(SQL_RUN(insert, &err, sql_int(INT64_MIN), sql_real(1.5), sql_text("x"),
                             sql_text_span(ps_span(NULL, 0)), sql_id(&id), sql_text(NULL)),
                     PS_OK);
    }
    cr_assert_eq(
        sql_prepare(db, "SELECT a, b, c, d, e, f, typeof(d) FROM t WHERE a < ?1", &select, &err),
        PS_OK);
    cr_assert_eq(SQL_BIND(select, &err, sql_int(0)), PS_OK);
    int rows = 0;
    while (sql_step(select, &row, &err) == PS_OK && row) {
        rows++;
        cr_assert_eq(sql_column_int(select, 0), INT64_MIN);
        cr_assert_eq(sql_column_real(select, 1), 1.5);
        cr_assert_str_eq(sql_column_text(select, 2), "x");
        cr_assert_eq(sql_column_span(select, 3).len, 0);
        cr_assert_str_eq(sql_column_text(select, 6), "text");
        cr_assert(sql_column_id(select, 4, &found));
        cr_assert(ps_id_eq(id, found));
        cr_assert_not(sql_column_id(select, 2, &found));
        cr_assert(sql_column_is_null(select, 5));
    }
    cr_assert_eq(rows, 2);
    int64_t count = 0;
    cr_assert_eq(sql_query_int(db, "SELECT count(*) FROM t", -1, &count, &err), PS_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(sql_query_int(db, "SELECT a FROM t WHERE 0", -1, &count, &err), PS_OK);
    cr_assert_eq(count, -1);
    sql_finalize(insert);
    sql_finalize(select);
    sql_close(db);
}

Test(sql, errors_say_what_to_do_next)
{
    sqlite3 *db = memory();
    sqlite3_stmt *insert = NULL;
    struct ps_error err;
    cr_assert_eq(sql_exec(db, "nonsense", &err), PS_REFUSED);
    cr_assert_not_null(strstr(err.text, "nonsense"));
    cr_assert_eq(sql_exec(db, "CREATE TABLE t(a PRIMARY KEY)", &err), PS_OK);
    cr_assert_eq(sql_prepare(db, "INSERT INTO t VALUES(?1)", &insert, &err), PS_OK);
    cr_assert_eq(SQL_RUN(insert, &err, sql_int(1)), PS_OK);
    cr_assert_eq(SQL_RUN(insert, &err, sql_int(1)), PS_REFUSED);
    cr_assert_str_eq(err.code, "sqlite_constraint");
    cr_assert_eq(SQL_RUN(insert, &err, sql_int(1), sql_int(2)), PS_BUG);
    cr_assert_eq(SQL_RUN(insert, &err, sql_int(2)), PS_OK);
    sql_finalize(insert);
    sql_close(db);
    sql_close(NULL);
    cr_assert_eq(sql_status(SQLITE_BUSY_SNAPSHOT), PS_AGAIN);
    cr_assert_eq(sql_status(SQLITE_IOERR_FSYNC), PS_AGAIN);
    cr_assert_eq(sql_status(SQLITE_FULL), PS_FULL);
    cr_assert_eq(sql_status(SQLITE_NOTADB), PS_BADDATA);
    cr_assert_eq(sql_status(SQLITE_DONE), PS_OK);
}

Test(sql, one_writer_at_a_time)
{
    char *folder = NULL;
    struct ps_error err;
    sqlite3 *a = NULL;
    sqlite3 *b = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    cr_assert_eq(ps_path_runtime_folder(&folder, &err), PS_OK);
    char *path = ps_path_join(folder, "a.db");
    cr_assert_eq(sql_open(path, flags, &a, &err), PS_OK);
    cr_assert_eq(sql_open(path, flags, &b, &err), PS_OK);
    cr_assert_eq(sql_begin_immediate(a, &err), PS_OK);
    cr_assert_eq(sql_begin_immediate(b, &err), PS_AGAIN);
    cr_assert_str_eq(err.code, "sqlite_busy");
    cr_assert_eq(sql_exec(a, "CREATE TABLE t(x)", &err), PS_OK);
    cr_assert_eq(sql_commit(a, &err), PS_OK);
    cr_assert_eq(sql_begin_immediate(b, &err), PS_OK);
    sql_rollback(b);
    sql_rollback(b);
    sql_close(a);
    sql_close(b);
    cr_assert_eq(sql_open("/nowhere/at/all.db", flags, &a, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "sqlite_cantopen");
    cr_assert_eq(ps_path_remove_tree(folder, &err), PS_OK);
    ps_free(path);
    ps_free(folder);
}

Test(sql, names_are_quoted)
{
    struct ps_buf out = PS_BUF_INIT;
    sql_quote_name(&out, "a\"b c");
    cr_assert_str_eq(ps_buf_str(&out), "\"a\"\"b c\"");
    ps_buf_fini(&out);
}
