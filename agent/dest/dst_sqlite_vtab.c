/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of one block as a private table: INSERT INTO t(…) SELECT … FROM _penstock_rows_N.
 * Eponymous: it exists in this connection only and never in the file's schema. Text and blobs are
 * lent, not copied; they live in the block until the statement has been reset. */
#include <stdio.h>

#include "agent/dest/dst_sqlite.h"
#include "common/alloc.h"

struct rows_vtab {
    sqlite3_vtab base;
    struct dst_sqlite_feed *feed;
};

struct rows_cursor {
    sqlite3_vtab_cursor base;
    struct block_cursor at;
    struct dst_sqlite_feed *feed;
    bool more;
    sqlite3_int64 row;
};

struct registration {
    struct dst_sqlite_feed *feed;
    uint32_t ncols;
};

static int
rows_connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
             char **out_error)
{
    (void)argc;
    (void)argv;
    (void)out_error;
    const struct registration *registration = aux;
    struct ps_buf sql = PS_BUF_INIT;
    for (uint32_t i = 0; i < registration->ncols; i++) {
        ps_buf_xprintf(&sql, "%sc%u", i == 0 ? "CREATE TABLE x(" : ",", i);
    }
    ps_buf_xappend(&sql, ")", 1);
    int rc = sqlite3_declare_vtab(db, ps_buf_str(&sql));
    ps_buf_fini(&sql);
    if (rc != SQLITE_OK) {
        return rc;
    }
    struct rows_vtab *vtab = ps_calloc(1, sizeof *vtab);
    if (vtab == NULL) {
        return SQLITE_NOMEM;
    }
    vtab->feed = registration->feed;
    *out = &vtab->base;
    return SQLITE_OK;
}

static int
rows_disconnect(sqlite3_vtab *vtab)
{
    ps_free(vtab);
    return SQLITE_OK;
}

static int
rows_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab;
    info->estimatedCost = 1e6;
    info->estimatedRows = 1000;
    return SQLITE_OK;
}

static int
rows_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    struct rows_cursor *cursor = ps_calloc(1, sizeof *cursor);
    if (cursor == NULL) {
        return SQLITE_NOMEM;
    }
    cursor->feed = ((struct rows_vtab *)vtab)->feed;
    *out = &cursor->base;
    return SQLITE_OK;
}

static int
rows_close(sqlite3_vtab_cursor *base)
{
    ps_free(base);
    return SQLITE_OK;
}

static int
rows_next(sqlite3_vtab_cursor *base)
{
    struct rows_cursor *cursor = (struct rows_cursor *)base;
    struct dst_sqlite_feed *feed = cursor->feed;
    cursor->row++;
    enum ps_status status =
        block_cursor_next(&cursor->at, &feed->meta, feed->cells, &cursor->more, &feed->err);
    return status == PS_OK ? SQLITE_OK : SQLITE_ERROR;
}

static int
rows_filter(sqlite3_vtab_cursor *base, int index, const char *name, int argc, sqlite3_value **argv)
{
    (void)index;
    (void)name;
    (void)argc;
    (void)argv;
    struct rows_cursor *cursor = (struct rows_cursor *)base;
    if (cursor->feed->block == NULL) {
        cursor->more = false;
        return SQLITE_OK;
    }
    block_cursor_init(&cursor->at, cursor->feed->block);
    cursor->row = 0;
    return rows_next(base);
}

static int
rows_eof(sqlite3_vtab_cursor *base)
{
    return !((struct rows_cursor *)base)->more;
}

static int
rows_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct cell *cell = &((struct rows_cursor *)base)->feed->cells[column];
    switch (cell->tag) {
    case CELL_NULL:
        break; /* a context starts as NULL */
    case CELL_INT:
        sqlite3_result_int64(context, cell->integer);
        break;
    case CELL_REAL:
        sqlite3_result_double(context, cell->real);
        break;
    case CELL_TEXT:
    case CELL_SHORT_TEXT:
        sqlite3_result_text64(context, (const char *)cell->ptr, cell->len, SQLITE_STATIC,
                              SQLITE_UTF8);
        break;
    case CELL_BLOB:
        sqlite3_result_blob64(context, cell->ptr, cell->len, SQLITE_STATIC);
        break;
    }
    return SQLITE_OK;
}

static int
rows_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    *out = ((struct rows_cursor *)base)->row;
    return SQLITE_OK;
}

static const sqlite3_module rows_module = {
    .iVersion = 1,
    .xConnect = rows_connect,
    .xBestIndex = rows_best_index,
    .xDisconnect = rows_disconnect,
    .xOpen = rows_open,
    .xClose = rows_close,
    .xFilter = rows_filter,
    .xNext = rows_next,
    .xEof = rows_eof,
    .xColumn = rows_column,
    .xRowid = rows_rowid,
};

enum ps_status
dst_sqlite_vtab_register(struct dst_sqlite *d, uint32_t ncols, struct ps_buf *sql,
                         struct ps_error *err)
{
    char name[40];
    snprintf(name, sizeof name, "_penstock_rows_%u", ncols);
    ps_buf_xappend(sql, name, strlen(name));
    if (sqlite3_limit(d->db, SQLITE_LIMIT_COLUMN, -1) < (int)ncols) {
        return ps_fail_code(err, PS_REFUSED, "too_many_columns",
                            "sqlite %s: %u columns are more than SQLite takes", d->path, ncols);
    }
    struct registration *registration = ps_xcalloc(1, sizeof *registration);
    *registration = (struct registration){.feed = &d->feed, .ncols = ncols};
    int rc = sqlite3_create_module_v2(d->db, name, &rows_module, registration, ps_free);
    return rc == SQLITE_OK ? PS_OK : dst_sqlite_fail(d, rc, "register rows", err);
}
