/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/dest_side.h"

#ifdef PS_DEST_POSTGRES
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/dest_fixture.h"

static void
run(const char *url, const char *sql, struct ps_buf *out)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, "SET client_min_messages = error");
    PQclear(result);
    result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s: %s\n", url, sql, PQerrorMessage(conn));
        abort();
    }
    for (int row = 0; row < PQntuples(result); row++) {
        for (int i = 0; i < PQnfields(result); i++) {
            bool null = PQgetisnull(result, row, i);
            dest_side_cell(out, (size_t)row, (size_t)i, null ? NULL : PQgetvalue(result, row, i),
                           (size_t)PQgetlength(result, row, i));
        }
    }
    PQclear(result);
    PQfinish(conn);
}

static void
on_server(struct dest_fixture *f, const char *format, const char *end)
{
    char url[160];
    char sql[200];
    snprintf(url, sizeof url, "%s/postgres", f->server);
    snprintf(sql, sizeof sql, "%s %s%s", format, f->place, end);
    run(url, sql, NULL);
}

static const char *
begin(struct dest_fixture *f)
{
    const char *why = dest_side_at_server(f, "postgresql");
    if (why == NULL) {
        on_server(f, "CREATE DATABASE", "");
    }
    return why;
}

static void
end(struct dest_fixture *f)
{
    on_server(f, "DROP DATABASE IF EXISTS", " WITH (FORCE)");
}

static void
sql_at_place(struct dest_fixture *f, const char *sql, struct ps_buf *out)
{
    run(f->url, sql, out);
}

static void
cut(struct dest_fixture *f)
{
    run(f->url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        NULL);
}

const struct dest_side dest_side_postgres = {.scheme = "postgresql",
                                             .keeps = true,
                                             .served = true,
                                             .begin = begin,
                                             .end = end,
                                             .sql = sql_at_place,
                                             .cut = cut};
#else
typedef int no_postgresql_in_this_build; /* an empty file is no C */
#endif
