/* SPDX-License-Identifier: Apache-2.0 */
/* Batch partitions, and the ranges of them that a destination's ledger told us of. */
#include "common/assert.h"
#include "coordinator/catalog/catalog_internal.h"

void
cat_object_fill(sqlite3_stmt *stmt, struct cat_object *out)
{
    int c = 0;
    *out = (struct cat_object){0};
    out->pipeline_id = (uint64_t)sql_column_int(stmt, c++);
    out->id = (uint64_t)sql_column_int(stmt, c++);
    out->generation = (uint64_t)sql_column_int(stmt, c++);
    out->key = sql_column_span(stmt, c++);
    out->version = sql_column_span(stmt, c++);
    out->hash = ps_bp_hash(out->key, out->version);
    out->size_bytes = (uint64_t)sql_column_int(stmt, c++);
    out->compressed = sql_column_int(stmt, c++) != 0;
    out->weak = sql_column_int(stmt, c++) != 0;
    out->mtime_ms = sql_column_int(stmt, c++);
    out->state = sql_column_text(stmt, c++);
    out->offset = (uint64_t)sql_column_int(stmt, c++);
    out->rest_bytes = (uint64_t)sql_column_int(stmt, c++);
    out->resume = sql_column_span(stmt, c++);
    out->has_batch = sql_column_id(stmt, c++, &out->batch.id);
    out->reason = sql_column_text(stmt, c++);
    out->records = (uint64_t)sql_column_int(stmt, c++);
    out->spent_ms = (uint64_t)sql_column_int(stmt, c++);
    out->cut_offset = (uint64_t)sql_column_int(stmt, c++);
}

enum ps_status
cat_object_each(sqlite3_stmt *stmt, cat_object_fn each, void *ctx, struct ps_error *err)
{
    bool row = false;
    enum ps_status status = PS_OK;
    while ((status = sql_step(stmt, &row, err)) == PS_OK && row) {
        struct cat_object object;
        cat_object_fill(stmt, &object);
        if (!each(ctx, &object)) {
            break;
        }
    }
    sql_reset(stmt);
    return status;
}

enum ps_status
cat_object_by_key(struct catalog *catalog, const struct cat_object_page *page, struct ps_span key,
                  cat_object_fn each, void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_OBJECT_BY_KEY];
    enum ps_status status =
        SQL_BIND(stmt, err, sql_u64(page->pipeline_id), sql_u64(page->generation), sql_blob(key));
    return status == PS_OK ? cat_object_each(stmt, each, ctx, err) : status;
}

enum ps_status
cat_object_get(struct catalog *catalog, uint64_t pipeline_id, uint64_t id, cat_object_fn each,
               void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_OBJECT_GET];
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(pipeline_id), sql_u64(id));
    return status == PS_OK ? cat_object_each(stmt, each, ctx, err) : status;
}

/* What changes while it is loaded. */
#define OBJECT_PROGRESS(row)                                                                       \
    sql_text((row)->state), sql_u64((row)->offset), sql_u64((row)->rest_bytes),                    \
        sql_blob((row)->resume), (row)->has_batch ? sql_id(&(row)->batch.id) : sql_null(),         \
        sql_text((row)->reason), sql_u64((row)->records), sql_u64((row)->spent_ms),                \
        sql_u64((row)->cut_offset)

enum ps_status
cat_object_insert(struct catalog *catalog, const struct cat_object *row, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_OBJECT_INSERT, err, sql_u64(row->pipeline_id),
                       sql_u64(row->id), sql_u64(row->generation), sql_blob(row->key),
                       sql_blob(row->version), sql_u64(row->size_bytes), sql_int(row->compressed),
                       sql_int(row->weak), sql_int(row->mtime_ms), OBJECT_PROGRESS(row));
}

enum ps_status
cat_object_save(struct catalog *catalog, const struct cat_object *row, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_OBJECT_SAVE, err, sql_u64(row->pipeline_id), sql_u64(row->id),
                       OBJECT_PROGRESS(row));
}

enum ps_status
cat_object_set_version(struct catalog *catalog, const struct cat_object *row, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_OBJECT_SET_VERSION, err, sql_u64(row->pipeline_id),
                       sql_u64(row->id), sql_blob(row->version), sql_u64(row->size_bytes),
                       sql_int(row->compressed), sql_int(row->weak), sql_int(row->mtime_ms));
}

enum ps_status
cat_object_pending(struct catalog *catalog, const struct cat_object_page *page, cat_object_fn each,
                   void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_OBJECT_PENDING];
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(page->pipeline_id),
                                     sql_u64(page->generation), sql_int(page->limit));
    return status == PS_OK ? cat_object_each(stmt, each, ctx, err) : status;
}

enum ps_status
cat_object_in_state(struct catalog *catalog, const struct cat_object_page *page, cat_object_fn each,
                    void *ctx, struct ps_error *err)
{
    bool is_open = strcmp(page->state, "open") == 0;
    PS_ASSERT(is_open || strcmp(page->state, "quarantined") == 0);
    sqlite3_stmt *stmt = catalog->queries[is_open ? QUERY_OBJECT_OPEN : QUERY_OBJECT_QUARANTINED];
    enum ps_status status =
        SQL_BIND(stmt, err, sql_u64(page->pipeline_id), sql_u64(page->generation),
                 sql_u64(page->after_id), sql_int(page->limit));
    return status == PS_OK ? cat_object_each(stmt, each, ctx, err) : status;
}

enum ps_status
cat_object_first(struct catalog *catalog, const struct cat_object_page *page, cat_object_fn each,
                 void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_OBJECT_FIRST];
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(page->pipeline_id),
                                     sql_u64(page->generation), sql_int(page->limit));
    return status == PS_OK ? cat_object_each(stmt, each, ctx, err) : status;
}

enum ps_status
cat_object_after(struct catalog *catalog, const struct cat_object_page *page, cat_object_fn each,
                 void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_OBJECT_AFTER];
    enum ps_status status =
        SQL_BIND(stmt, err, sql_u64(page->pipeline_id), sql_u64(page->generation),
                 sql_u64(page->after_id), sql_int(page->limit));
    return status == PS_OK ? cat_object_each(stmt, each, ctx, err) : status;
}

enum ps_status
cat_object_drop_untouched(struct catalog *catalog, uint64_t pipeline_id, uint64_t generation,
                          struct cat_untouched *out, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_OBJECT_COUNT_UNTOUCHED];
    struct cat_untouched count = {0};
    bool row = false;
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(pipeline_id), sql_u64(generation));
    while (status == PS_OK && (status = sql_step(stmt, &row, err)) == PS_OK && row) {
        bool is_pending = strcmp(sql_column_text(stmt, 0), "pending") == 0;
        uint64_t objects = (uint64_t)sql_column_int(stmt, 1);
        *(is_pending ? &count.pending : &count.quarantined) = objects;
        count.size_bytes += (uint64_t)sql_column_int(stmt, 2);
        count.pending_rest_bytes += is_pending ? (uint64_t)sql_column_int(stmt, 3) : 0;
    }
    if (status == PS_OK) {
        status = CATALOG_RUN(catalog, QUERY_OBJECT_DROP_UNTOUCHED, err, sql_u64(pipeline_id),
                             sql_u64(generation));
    }
    if (status == PS_OK) {
        *out = count;
    }
    return status;
}

enum ps_status
cat_object_drop_all(struct catalog *catalog, uint64_t pipeline_id, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_PIPELINE_DELETE_OBJECTS, err, sql_u64(pipeline_id));
}

enum ps_status
cat_object_drop_known(struct catalog *catalog, uint64_t pipeline_id, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_PIPELINE_DELETE_KNOWN, err, sql_u64(pipeline_id));
}

enum ps_status
cat_object_put_known(struct catalog *catalog, const struct cat_known_range *row,
                     struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_KNOWN_PUT, err, sql_u64(row->pipeline_id),
                       sql_id(&row->hash.id), sql_u64(row->from), sql_u64(row->end),
                       sql_int(row->eof), sql_blob(row->resume), sql_id(&row->batch.id),
                       sql_u64(row->records));
}

enum ps_status
cat_object_next_known(struct catalog *catalog, struct cat_known_range *known, bool *out_found,
                      struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_KNOWN_NEXT];
    bool row = false;
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(known->pipeline_id),
                                     sql_id(&known->hash.id), sql_u64(known->from));
    if (status == PS_OK) {
        status = sql_step(stmt, &row, err);
    }
    *out_found = status == PS_OK && row;
    if (*out_found) {
        known->from = (uint64_t)sql_column_int(stmt, 0);
        known->end = (uint64_t)sql_column_int(stmt, 1);
        known->eof = sql_column_int(stmt, 2) != 0;
        known->resume = sql_column_span(stmt, 3);
        known->records = (uint64_t)sql_column_int(stmt, 5);
        *out_found = sql_column_id(stmt, 4, &known->batch.id);
    }
    return status; /* not reset: known borrows from it */
}
