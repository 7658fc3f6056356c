/* SPDX-License-Identifier: Apache-2.0 */
#include "common/alloc.h"
#include "coordinator/catalog/catalog_internal.h"

enum { TRIM_EVERY = 1000, CAT_EVENT_ROWS = 16 };

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

static size_t
keep_text(struct ps_buf *texts, const char *text)
{
    size_t at = texts->len;
    if (text == NULL) {
        return CAT_EVENT_NONE;
    }
    ps_buf_xappend(texts, text, strlen(text) + 1);
    return at;
}

enum ps_status
cat_event_add(struct catalog *catalog, const struct cat_event *row, struct ps_error *err)
{
    sqlite3_stmt *ignored = NULL;
    enum ps_status status = catalog_write(catalog, QUERY_EVENT_ADD, &ignored, err);
    if (status != PS_OK) {
        return status;
    }
    if (catalog->event_count == catalog->event_room) {
        catalog->event_room = catalog->event_room == 0 ? 256 : catalog->event_room * 2;
        catalog->events =
            ps_xrealloc(catalog->events, catalog->event_room * sizeof *catalog->events);
    }
    struct ps_buf *texts = &catalog->event_texts;
    catalog->events[catalog->event_count++] = (struct cat_event_kept){
        .at_ms = row->at_ms,
        .texts = {keep_text(texts, row->pipeline), keep_text(texts, row->kind),
                  keep_text(texts, row->subject), keep_text(texts, row->text)}};
    return PS_OK;
}

static enum ps_status
write_some(struct catalog *catalog, size_t first, size_t count, struct ps_error *err)
{
    enum { COLUMNS = 5 };
    struct sql_value values[CAT_EVENT_ROWS * COLUMNS];
    for (size_t i = 0; i < count; i++) {
        const struct cat_event_kept *event = &catalog->events[first + i];
        values[i * COLUMNS] = sql_int(event->at_ms);
        for (size_t k = 0; k < COLUMNS - 1; k++) {
            size_t at = event->texts[k];
            values[i * COLUMNS + 1 + k] =
                at == CAT_EVENT_NONE ? sql_null()
                                     : sql_text((const char *)catalog->event_texts.ptr + at);
        }
    }
    return catalog_run(catalog, count == 1 ? QUERY_EVENT_ADD : QUERY_EVENT_ADD_MANY, values,
                       count * COLUMNS, err);
}

enum ps_status
cat_event_flush(struct catalog *catalog, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    for (size_t i = 0; status == PS_OK && i < catalog->event_count;) {
        size_t count = catalog->event_count - i >= CAT_EVENT_ROWS ? CAT_EVENT_ROWS : 1;
        status = write_some(catalog, i, count, err);
        i += count;
    }
    uint64_t id = (uint64_t)sqlite3_last_insert_rowid(catalog->db);
    bool trims = catalog->event_count > 0 && id > CAT_EVENTS_KEPT &&
                 id / TRIM_EVERY != (id - catalog->event_count) / TRIM_EVERY;
    if (status == PS_OK && trims) {
        status = CATALOG_RUN(catalog, QUERY_EVENT_TRIM, err, sql_u64(id - CAT_EVENTS_KEPT));
    }
    cat_event_forget(catalog);
    return status;
}

void
cat_event_forget(struct catalog *catalog)
{
    catalog->event_count = 0;
    ps_buf_clear(&catalog->event_texts);
}
