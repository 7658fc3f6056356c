/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/dest_side.h"

#ifdef PS_DEST_MYSQL
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/dest_fixture.h"

static void
give_up(MYSQL *conn, const char *sql)
{
    fprintf(stderr, "%s: %s\n", sql, mysql_error(conn));
    abort();
}

/* A session that reads ANSI. database NULL: none. */
static MYSQL *
connect_to(const struct dest_fixture *f, const char *database)
{
    char user[60];
    char host[60];
    unsigned port = 0;
    MYSQL *conn = mysql_init(NULL);
    if (sscanf(f->server, "mysql://%59[^@]@%59[^:]:%u", user, host, &port) != 3 ||
        mysql_options(conn, MYSQL_SET_CHARSET_NAME, "utf8mb4") != 0 ||
        mysql_real_connect(conn, host, user, NULL, database, port, NULL, CLIENT_MULTI_STATEMENTS) ==
            NULL ||
        mysql_query(conn, "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,"
                          "STRICT_ALL_TABLES'") != 0) {
        give_up(conn, f->server);
    }
    return conn;
}

static void
run(MYSQL *conn, const char *sql, struct ps_buf *out)
{
    int more = mysql_query(conn, sql) == 0 ? 0 : 1;
    for (size_t row = 0; more == 0; more = mysql_next_result(conn)) {
        MYSQL_RES *result = mysql_store_result(conn);
        for (MYSQL_ROW cells; result != NULL && (cells = mysql_fetch_row(result)) != NULL; row++) {
            const unsigned long *lengths = mysql_fetch_lengths(result);
            for (unsigned i = 0; i < mysql_num_fields(result); i++) {
                dest_side_cell(out, row, i, cells[i], lengths[i]);
            }
        }
        mysql_free_result(result);
    }
    if (more > 0) {
        give_up(conn, sql);
    }
}

static void
on_server(struct dest_fixture *f, const char *format)
{
    char sql[200];
    MYSQL *conn = connect_to(f, NULL);
    snprintf(sql, sizeof sql, "%s %s", format, f->place);
    run(conn, sql, NULL);
    mysql_close(conn);
}

static const char *
begin(struct dest_fixture *f)
{
    const char *why = dest_side_at_server(f, "mysql");
    if (why == NULL) {
        on_server(f, "CREATE DATABASE");
    }
    return why;
}

static void
end(struct dest_fixture *f)
{
    on_server(f, "DROP DATABASE IF EXISTS");
    mysql_library_end();
}

static void
sql_at_place(struct dest_fixture *f, const char *sql, struct ps_buf *out)
{
    MYSQL *conn = connect_to(f, f->place);
    run(conn, sql, out);
    mysql_close(conn);
}

static void
cut(struct dest_fixture *f)
{
    char sql[200];
    struct ps_buf ids = PS_BUF_INIT;
    MYSQL *conn = connect_to(f, NULL);
    snprintf(sql, sizeof sql, "SELECT id FROM information_schema.processlist WHERE db = '%s'",
             f->place);
    run(conn, sql, &ids);
    char *rest = NULL;
    char *text = ids.len == 0 ? NULL : (char *)(uintptr_t)ps_buf_str(&ids);
    for (char *id = text == NULL ? NULL : strtok_r(text, "|", &rest); id != NULL;
         id = strtok_r(NULL, "|", &rest)) {
        snprintf(sql, sizeof sql, "KILL %s", id);
        (void)mysql_query(conn, sql); /* it may have ended by itself */
    }
    mysql_close(conn);
    ps_buf_fini(&ids);
}

const struct dest_side dest_side_mysql = {.scheme = "mysql",
                                          .keeps = true,
                                          .served = true,
                                          .begin = begin,
                                          .end = end,
                                          .sql = sql_at_place,
                                          .cut = cut};
#else
typedef int no_mysql_in_this_build; /* an empty file is no C */
#endif
