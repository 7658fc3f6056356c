/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this table can be filled from an image, and the statements that do it. */
#include <stdio.h>

#include "agent/dest/dst_sqlite.h"
#include "common/alloc.h"

enum { SQL_BYTES = 64 };

static const char schema[] = "penstock_rows";

/* Once a connection; a file of another encoding than UTF-8 refuses it. */
static bool
attach(struct dst_sqlite *d)
{
    d->image = dst_sqlite_image_new();
    if (d->image == NULL) {
        return false;
    }
    char sql[200];
    snprintf(sql, sizeof sql, "ATTACH '%s' AS %s", dst_sqlite_image_uri(d->image), schema);
    if (sqlite3_exec(d->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        dst_sqlite_image_free(d->image);
        d->image = NULL;
        return false;
    }
    /* Pages are read in place where this build can. */
    snprintf(sql, sizeof sql, "PRAGMA %s.mmap_size=2000000000", schema);
    (void)sqlite3_exec(d->db, sql, NULL, NULL, NULL);
    return true;
}

static void
append_insert(const struct dst_sqlite *d, uint32_t table, struct ps_buf *sql)
{
    char name[SQL_BYTES];
    dst_sqlite_image_table(d->image, table, name, sizeof name);
    ps_buf_xprintf(sql, "INSERT OR ABORT INTO main.");
    dst_sqlite_quote(sql, d->table);
    ps_buf_xprintf(sql, " SELECT * FROM %s.%s", schema, name);
}

/* SQLite's own word: does its program for this statement copy whole records? It does so only where
 * nothing (constraint, index, trigger, affinity, default) could make a difference. */
static bool
transfers_records(struct dst_sqlite *d)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "EXPLAIN ");
    append_insert(d, 0, &sql);
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(d->db, ps_buf_str(&sql), -1, &stmt, NULL);
    ps_buf_fini(&sql);
    bool whole = false;
    bool parts = rc != SQLITE_OK;
    while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *op = (const char *)sqlite3_column_text(stmt, 1);
        whole = whole || strcmp(op, "RowData") == 0 || strcmp(op, "RowCell") == 0;
        parts = parts || strcmp(op, "Column") == 0 || strcmp(op, "MakeRecord") == 0;
    }
    (void)sqlite3_finalize(stmt);
    return whole && !parts;
}

void
dst_sqlite_bulk_plan(struct dst_sqlite *d)
{
    d->image_on = false;
    d->image_asked = true;
    if (d->on_conflict != CONFLICT_ERROR || !d->covers_table || d->has_triggers) {
        return;
    }
    enum image_store *stores = ps_xcalloc(d->ncols, sizeof *stores);
    uint32_t *cells = ps_xcalloc(d->ncols, sizeof *cells);
    bool takes = true;
    for (uint32_t i = 0; i < d->ncols; i++) {
        takes = takes && d->columns[i].image_takes;
        stores[i] = d->columns[i].store;
        cells[i] = d->columns[i].cell;
    }
    /* BEGIN IMMEDIATE has opened a transaction on what was attached before: of a new shape that one
     * knows nothing. The next will. */
    bool known = d->image == NULL;
    takes = takes && (d->image != NULL || attach(d)) &&
            dst_sqlite_image_shape(d->image, d->ncols, stores, cells);
    d->image_on = takes && known && transfers_records(d);
    d->image_asked = !takes || known;
    ps_free(stores);
    ps_free(cells);
}

void
dst_sqlite_bulk_ask(struct dst_sqlite *d)
{
    if (!d->image_asked) {
        d->image_asked = true;
        d->image_on = transfers_records(d);
    }
}

sqlite3_stmt *
dst_sqlite_bulk_stmt(struct dst_sqlite *d, uint32_t table, struct ps_error *err)
{
    if (d->insert_image[table] == NULL) {
        struct ps_buf sql = PS_BUF_INIT;
        append_insert(d, table, &sql);
        d->insert_image[table] = dst_sqlite_prepare_text(d, ps_buf_str(&sql), err);
        ps_buf_fini(&sql);
    }
    return d->insert_image[table];
}
