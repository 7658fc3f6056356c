/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog_internal.h"

void
cat_batch_fill(sqlite3_stmt *stmt, struct cat_batch *out)
{
    int c = 0;
    *out = (struct cat_batch){0};
    out->pipeline_id = (uint64_t)sql_column_int(stmt, c++);
    bool is_id = sql_column_id(stmt, c++, &out->id.id);
    out->generation = (uint64_t)sql_column_int(stmt, c++);
    out->spec_rev = (uint32_t)sql_column_int(stmt, c++);
    out->state = sql_column_text(stmt, c++);
    out->epoch = (uint64_t)sql_column_int(stmt, c++);
    out->agent = sql_column_text(stmt, c++);
    is_id = sql_column_id(stmt, c++, &out->incarnation.id) && is_id;
    (void)is_id; /* a damaged one stays zero and matches nothing */
    out->leaf = (uint32_t)sql_column_int(stmt, c++);
    out->leased = sql_column_int(stmt, c++) != 0;
    out->attempts = (uint32_t)sql_column_int(stmt, c++);
    out->killed = (uint32_t)sql_column_int(stmt, c++);
    out->killers = sql_column_text(stmt, c++);
    out->retry_ms = sql_column_int(stmt, c++);
    out->code = sql_column_text(stmt, c++);
    out->reason = sql_column_text(stmt, c++);
    out->fault_bp = (uint64_t)sql_column_int(stmt, c++);
    out->ranges = (uint32_t)sql_column_int(stmt, c++);
    out->bytes = (uint64_t)sql_column_int(stmt, c++);
    out->first_object = sql_column_span(stmt, c++);
    uint64_t *const numbers[] = {
        &out->counts.decoded,
        &out->counts.rejected,
        &out->counts.filtered,
        &out->counts.inserted,
        &out->counts.updated,
        &out->counts.skipped,
        &out->counts.rejected_at_load,
        &out->counts.raw_bytes,
        &out->counts.unwrapped_bytes,
        &out->fetch_ms,
        &out->stage_ms,
        &out->load_ms,
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        *numbers[i] = (uint64_t)sql_column_int(stmt, c++);
    }
    out->created_ms = sql_column_int(stmt, c++);
    out->ended_ms = sql_column_int(stmt, c++);
}

enum ps_status
cat_batch_each(sqlite3_stmt *stmt, cat_batch_fn each, void *ctx, struct ps_error *err)
{
    bool row = false;
    enum ps_status status = PS_OK;
    while ((status = sql_step(stmt, &row, err)) == PS_OK && row) {
        struct cat_batch batch;
        cat_batch_fill(stmt, &batch);
        if (!each(ctx, &batch)) {
            break;
        }
    }
    sql_reset(stmt);
    return status;
}

/* All of the table in its order; an update leaves some out. */
#define BATCH_VALUES(row)                                                                          \
    sql_u64((row)->pipeline_id), sql_id(&(row)->id.id), sql_u64((row)->generation),                \
        sql_u64((row)->spec_rev), sql_text((row)->state), sql_u64((row)->epoch),                   \
        sql_text((row)->agent), sql_id(&(row)->incarnation.id), sql_u64((row)->leaf),              \
        sql_int((row)->leased), sql_u64((row)->attempts), sql_u64((row)->killed),                  \
        sql_text((row)->killers), sql_int((row)->retry_ms), sql_text((row)->code),                 \
        sql_text((row)->reason), sql_u64((row)->fault_bp), sql_u64((row)->ranges),                 \
        sql_u64((row)->bytes), sql_blob((row)->first_object), sql_u64((row)->counts.decoded),      \
        sql_u64((row)->counts.rejected), sql_u64((row)->counts.filtered),                          \
        sql_u64((row)->counts.inserted), sql_u64((row)->counts.updated),                           \
        sql_u64((row)->counts.skipped), sql_u64((row)->counts.rejected_at_load),                   \
        sql_u64((row)->counts.raw_bytes), sql_u64((row)->counts.unwrapped_bytes),                  \
        sql_u64((row)->fetch_ms), sql_u64((row)->stage_ms), sql_u64((row)->load_ms),               \
        sql_int((row)->created_ms), sql_int((row)->ended_ms)

enum ps_status
cat_batch_insert(struct catalog *catalog, const struct cat_batch *row,
                 const struct cat_range *ranges, struct ps_error *err)
{
    enum ps_status status = CATALOG_RUN(catalog, QUERY_BATCH_INSERT, err, BATCH_VALUES(row));
    for (uint32_t i = 0; status == PS_OK && i < row->ranges; i++) {
        status = CATALOG_RUN(catalog, QUERY_RANGE_INSERT, err, sql_u64(row->pipeline_id),
                             sql_id(&row->id.id), sql_int(i), sql_u64(ranges[i].bp_id),
                             sql_u64(ranges[i].from), sql_u64(ranges[i].target_bytes),
                             sql_int(ranges[i].part));
    }
    return status;
}

enum ps_status
cat_batch_save(struct catalog *catalog, const struct cat_batch *row, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_BATCH_SAVE, err, BATCH_VALUES(row));
}

enum ps_status
cat_batch_ranges(struct catalog *catalog, const struct cat_batch *batch, struct cat_range *ranges,
                 size_t *out_count, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_RANGE_ALL];
    bool row = false;
    size_t count = 0;
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(batch->pipeline_id), sql_id(&batch->id.id));
    while (status == PS_OK && count < batch->ranges &&
           (status = sql_step(stmt, &row, err)) == PS_OK && row) {
        ranges[count++] = (struct cat_range){.bp_id = (uint64_t)sql_column_int(stmt, 0),
                                             .from = (uint64_t)sql_column_int(stmt, 1),
                                             .target_bytes = (uint64_t)sql_column_int(stmt, 2),
                                             .part = sql_column_int(stmt, 3) != 0};
    }
    sql_reset(stmt);
    *out_count = count;
    return status;
}

enum ps_status
cat_batch_open(struct catalog *catalog, cat_batch_fn each, void *ctx, struct ps_error *err)
{
    return cat_batch_each(catalog->queries[QUERY_BATCH_OPEN], each, ctx, err);
}

enum ps_status
cat_batch_get(struct catalog *catalog, uint64_t pipeline_id, struct batch_id id, cat_batch_fn each,
              void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_BATCH_GET];
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(pipeline_id), sql_id(&id.id));
    return status == PS_OK ? cat_batch_each(stmt, each, ctx, err) : status;
}
