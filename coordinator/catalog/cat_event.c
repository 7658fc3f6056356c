/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog_internal.h"

enum { TRIM_EVERY = 1000 };

void
cat_event_fill(sqlite3_stmt *stmt, struct cat_event *out)
{
    *out = (struct cat_event){.id = (uint64_t)sql_column_int(stmt, 0),
                              .at_ms = sql_column_int(stmt, 1),
                              .pipeline = sql_column_text(stmt, 2),
                              .kind = sql_column_text(stmt, 3),
                              .subject = sql_column_text(stmt, 4),
                              .text = sql_column_text(stmt, 5)};
}

enum ps_status
cat_event_each(sqlite3_stmt *stmt, cat_event_fn each, void *ctx, struct ps_error *err)
{
    bool row = false;
    enum ps_status status = PS_OK;
    while ((status = sql_step(stmt, &row, err)) == PS_OK && row) {
        struct cat_event event;
        cat_event_fill(stmt, &event);
        if (!each(ctx, &event)) {
            break;
        }
    }
    sql_reset(stmt);
    return status;
}

enum ps_status
cat_event_add(struct catalog *catalog, const struct cat_event *row, struct ps_error *err)
{
    enum ps_status status =
        CATALOG_RUN(catalog, QUERY_EVENT_ADD, err, sql_int(row->at_ms), sql_text(row->pipeline),
                    sql_text(row->kind), sql_text(row->subject), sql_text(row->text));
    if (status != PS_OK) {
        return status;
    }
    uint64_t id = (uint64_t)sqlite3_last_insert_rowid(catalog->db);
    if (id % TRIM_EVERY == 0 && id > CAT_EVENTS_KEPT) {
        status = CATALOG_RUN(catalog, QUERY_EVENT_TRIM, err, sql_u64(id - CAT_EVENTS_KEPT));
    }
    return status;
}
