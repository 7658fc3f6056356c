/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/dest_side.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/dest_fixture.h"

static const struct dest_side *const sides[] = {
    &dest_side_sqlite,
    &dest_side_null,
#ifdef PS_DEST_POSTGRES
    &dest_side_postgres,
#endif
#ifdef PS_DEST_MYSQL
    &dest_side_mysql,
#endif
};

const struct dest_side *
dest_side_find(const char *scheme)
{
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        if (strcmp(sides[i]->scheme, scheme) == 0) {
            return sides[i];
        }
    }
    return NULL;
}

const char *
dest_side_at_server(struct dest_fixture *f, const char *scheme)
{
    static char line[300];
    const char *dir = getenv("PENSTOCK_TEST_SERVERS");
    char path[500];
    snprintf(path, sizeof path, "%s/%s", dir == NULL ? "" : dir, scheme);
    FILE *file = dir == NULL ? NULL : fopen(path, "r");
    if (file == NULL) {
        return "tests/support/servers.py was not asked to start it";
    }
    bool there = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    if (!there || strncmp(line, "none: ", 6) == 0) {
        return line + 6;
    }
    if (snprintf(f->server, sizeof f->server, "%s", line) >= (int)sizeof f->server) {
        return "the server's URL is too long";
    }
    snprintf(f->url, sizeof f->url, "%s/%s", f->server, f->place);
    return NULL;
}

void
dest_side_cell(struct ps_buf *out, size_t row, size_t column, const char *text, size_t len)
{
    if (out == NULL) {
        return;
    }
    if (row > 0 || column > 0) {
        ps_buf_xappend(out, column == 0 ? "|" : ",", 1);
    }
    ps_buf_xappend(out, text == NULL ? "NULL" : text, text == NULL ? 4 : len);
}

/* ---- sqlite */

static const char *
sqlite_begin(struct dest_fixture *f)
{
    snprintf(f->url, sizeof f->url, "sqlite:%s", f->path);
    return NULL;
}

static void
nothing(struct dest_fixture *f)
{
    (void)f;
}

static void
sqlite_sql(struct dest_fixture *f, const char *sql, struct ps_buf *out)
{
    sqlite3 *db = NULL;
    bool good = sqlite3_open(f->path, &db) == SQLITE_OK;
    size_t row = 0;
    for (const char *at = sql; good && *at != '\0';) {
        sqlite3_stmt *stmt = NULL;
        good = sqlite3_prepare_v2(db, at, -1, &stmt, &at) == SQLITE_OK;
        int rc = SQLITE_DONE;
        while (good && stmt != NULL && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
            for (int i = 0; i < sqlite3_column_count(stmt); i++) {
                const char *text = (const char *)sqlite3_column_text(stmt, i);
                dest_side_cell(out, row, (size_t)i, text, (size_t)sqlite3_column_bytes(stmt, i));
            }
            row++;
        }
        good = good && rc == SQLITE_DONE;
        sqlite3_finalize(stmt);
    }
    if (!good) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        abort();
    }
    sqlite3_close(db);
}

const struct dest_side dest_side_sqlite = {
    .scheme = "sqlite", .keeps = true, .begin = sqlite_begin, .end = nothing, .sql = sqlite_sql};

/* ---- null */

static const char *
null_begin(struct dest_fixture *f)
{
    snprintf(f->url, sizeof f->url, "null:");
    return NULL;
}

static void
null_sql(struct dest_fixture *f, const char *sql, struct ps_buf *out)
{
    (void)f;
    (void)out;
    fprintf(stderr, "null: keeps nothing to ask for: %s\n", sql);
    abort();
}

const struct dest_side dest_side_null = {
    .scheme = "null", .begin = null_begin, .end = nothing, .sql = null_sql};
