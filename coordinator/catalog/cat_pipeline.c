/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog_internal.h"

void
cat_pipeline_fill(sqlite3_stmt *stmt, struct cat_pipeline *out)
{
    int c = 0;
    *out = (struct cat_pipeline){0};
    out->id = (uint64_t)sql_column_int(stmt, c++);
    out->name = sql_column_text(stmt, c++);
    bool is_id = sql_column_id(stmt, c++, &out->uuid.id);
    (void)is_id; /* a damaged one stays zero and matches nothing */
    out->generation = (uint64_t)sql_column_int(stmt, c++);
    out->spec_rev = (uint32_t)sql_column_int(stmt, c++);
    out->state = sql_column_text(stmt, c++);
    out->reason = sql_column_text(stmt, c++);
    out->failure_class = sql_column_text(stmt, c++);
    out->table = sql_column_text(stmt, c++);
    out->format_note = sql_column_text(stmt, c++);
    out->revision = (uint64_t)sql_column_int(stmt, c++);
    out->created_ms = sql_column_int(stmt, c++);
    out->started_ms = sql_column_int(stmt, c++);
    out->ended_ms = sql_column_int(stmt, c++);
    out->prepared = sql_column_int(stmt, c++) != 0;
    out->reconciled = sql_column_int(stmt, c++) != 0;
    out->discovery_complete = sql_column_int(stmt, c++) != 0;
    out->discover_cursor = sql_column_span(stmt, c++);
    uint64_t *const numbers[] = {
        &out->next_bp_id,
        &out->next_batch_number,
        &out->objects,
        &out->objects_done,
        &out->objects_pending,
        &out->objects_quarantined,
        &out->bytes,
        &out->bytes_done,
        &out->bytes_pending,
        &out->batches_open,
        &out->batches_loaded,
        &out->batches_quarantined,
        &out->retries,
        &out->counts.decoded,
        &out->counts.rejected,
        &out->counts.filtered,
        &out->counts.inserted,
        &out->counts.updated,
        &out->counts.skipped,
        &out->counts.rejected_at_load,
        &out->counts.raw_bytes,
        &out->counts.unwrapped_bytes,
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        *numbers[i] = (uint64_t)sql_column_int(stmt, c++);
    }
    out->slowest_object = sql_column_span(stmt, c++);
    out->slowest_ms = (uint64_t)sql_column_int(stmt, c++);
    out->reconcile = sql_column_span(stmt, c++);
    out->replayed = (uint64_t)sql_column_int(stmt, c++);
    out->unknown = sql_column_span(stmt, c++);
    out->spec_json = sql_column_text(stmt, c++);
    out->columns = sql_column_span(stmt, c++);
}

enum ps_status
cat_pipeline_each(sqlite3_stmt *stmt, cat_pipeline_fn each, void *ctx, struct ps_error *err)
{
    bool row = false;
    enum ps_status status = PS_OK;
    while ((status = sql_step(stmt, &row, err)) == PS_OK && row) {
        struct cat_pipeline pipeline;
        cat_pipeline_fill(stmt, &pipeline);
        if (!each(ctx, &pipeline)) {
            break;
        }
    }
    sql_reset(stmt);
    return status;
}

/* All of the table in its order; id and name are ?1 and ?2 of an update too. */
#define PIPELINE_VALUES(row)                                                                       \
    sql_u64((row)->id), sql_text((row)->name), sql_id(&(row)->uuid.id),                            \
        sql_u64((row)->generation), sql_u64((row)->spec_rev), sql_text((row)->state),              \
        sql_text((row)->reason), sql_text((row)->failure_class), sql_text((row)->table),           \
        sql_text((row)->format_note), sql_u64((row)->revision), sql_int((row)->created_ms),        \
        sql_int((row)->started_ms), sql_int((row)->ended_ms), sql_int((row)->prepared),            \
        sql_int((row)->reconciled), sql_int((row)->discovery_complete),                            \
        sql_blob((row)->discover_cursor), sql_u64((row)->next_bp_id),                              \
        sql_u64((row)->next_batch_number), sql_u64((row)->objects), sql_u64((row)->objects_done),  \
        sql_u64((row)->objects_pending), sql_u64((row)->objects_quarantined),                      \
        sql_u64((row)->bytes), sql_u64((row)->bytes_done), sql_u64((row)->bytes_pending),          \
        sql_u64((row)->batches_open), sql_u64((row)->batches_loaded),                              \
        sql_u64((row)->batches_quarantined), sql_u64((row)->retries),                              \
        sql_u64((row)->counts.decoded), sql_u64((row)->counts.rejected),                           \
        sql_u64((row)->counts.filtered), sql_u64((row)->counts.inserted),                          \
        sql_u64((row)->counts.updated), sql_u64((row)->counts.skipped),                            \
        sql_u64((row)->counts.rejected_at_load), sql_u64((row)->counts.raw_bytes),                 \
        sql_u64((row)->counts.unwrapped_bytes), sql_blob((row)->slowest_object),                   \
        sql_u64((row)->slowest_ms), sql_blob((row)->reconcile), sql_u64((row)->replayed),          \
        sql_blob((row)->unknown)

enum ps_status
cat_pipeline_insert(struct catalog *catalog, struct cat_pipeline *row, struct ps_error *err)
{
    enum ps_status status = CATALOG_RUN(catalog, QUERY_PIPELINE_INSERT, err, PIPELINE_VALUES(row));
    if (status == PS_OK) {
        row->id = (uint64_t)sqlite3_last_insert_rowid(catalog->db);
    }
    return status;
}

enum ps_status
cat_pipeline_save(struct catalog *catalog, const struct cat_pipeline *row, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_PIPELINE_SAVE, err, PIPELINE_VALUES(row));
}

enum ps_status
cat_pipeline_put_spec(struct catalog *catalog, uint64_t pipeline_id, uint32_t spec_rev,
                      const char *spec_json, struct ps_span columns, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_SPEC_PUT, err, sql_u64(pipeline_id), sql_u64(spec_rev),
                       sql_text(spec_json), sql_blob(columns));
}

enum ps_status
cat_pipeline_get_spec(struct catalog *catalog, uint64_t pipeline_id, uint32_t spec_rev,
                      cat_pipeline_fn each, void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_SPEC_GET];
    bool row = false;
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(pipeline_id), sql_u64(spec_rev));
    if (status == PS_OK) {
        status = sql_step(stmt, &row, err);
    }
    if (status == PS_OK && row) {
        struct cat_pipeline found = {.id = pipeline_id,
                                     .spec_rev = spec_rev,
                                     .spec_json = sql_column_text(stmt, 0),
                                     .columns = sql_column_span(stmt, 1)};
        (void)each(ctx, &found);
    }
    sql_reset(stmt);
    return status;
}

enum ps_status
cat_pipeline_delete(struct catalog *catalog, uint64_t pipeline_id, struct ps_error *err)
{
    static const enum query_name deletes[] = {
        QUERY_PIPELINE_DELETE_SPEC,    QUERY_PIPELINE_DELETE_OBJECTS, QUERY_PIPELINE_DELETE_KNOWN,
        QUERY_PIPELINE_DELETE_BATCHES, QUERY_PIPELINE_DELETE_RANGES,  QUERY_PIPELINE_DELETE_PARTS,
        QUERY_PIPELINE_DELETE_REPLAYS, QUERY_PIPELINE_DELETE,
    };
    enum ps_status status = PS_OK;
    for (size_t i = 0; status == PS_OK && i < sizeof deletes / sizeof deletes[0]; i++) {
        status = CATALOG_RUN(catalog, deletes[i], err, sql_u64(pipeline_id));
    }
    return status;
}

enum ps_status
cat_pipeline_all(struct catalog *catalog, cat_pipeline_fn each, void *ctx, struct ps_error *err)
{
    return cat_pipeline_each(catalog->queries[QUERY_PIPELINE_ALL], each, ctx, err);
}
