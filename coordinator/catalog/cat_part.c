/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog_internal.h"

enum ps_status
cat_part_put(struct catalog *catalog, const struct cat_part *row, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_PART_PUT, err, sql_u64(row->pipeline_id), sql_u64(row->bp_id),
                       sql_u64(row->from), sql_u64(row->target_bytes), sql_text(row->state),
                       row->has_batch ? sql_id(&row->batch.id) : sql_null(), sql_u64(row->start),
                       sql_u64(row->end), sql_int(row->eof), sql_u64(row->records),
                       sql_blob(row->resume));
}

enum ps_status
cat_part_drop(struct catalog *catalog, uint64_t pipeline_id, uint64_t bp_id, uint64_t from,
              struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_PART_DROP, err, sql_u64(pipeline_id), sql_u64(bp_id),
                       sql_u64(from));
}

enum ps_status
cat_part_drop_all(struct catalog *catalog, uint64_t pipeline_id, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_PIPELINE_DELETE_PARTS, err, sql_u64(pipeline_id));
}

enum ps_status
cat_part_all(struct catalog *catalog, uint64_t pipeline_id, uint64_t bp_id, cat_part_fn each,
             void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = catalog->queries[QUERY_PART_ALL];
    bool row = false;
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(pipeline_id), sql_u64(bp_id));
    while (status == PS_OK && (status = sql_step(stmt, &row, err)) == PS_OK && row) {
        struct cat_part part = {.pipeline_id = pipeline_id, .bp_id = bp_id};
        int c = 0;
        part.from = (uint64_t)sql_column_int(stmt, c++);
        part.target_bytes = (uint64_t)sql_column_int(stmt, c++);
        part.state = sql_column_text(stmt, c++);
        part.has_batch = sql_column_id(stmt, c++, &part.batch.id);
        part.start = (uint64_t)sql_column_int(stmt, c++);
        part.end = (uint64_t)sql_column_int(stmt, c++);
        part.eof = sql_column_int(stmt, c++) != 0;
        part.records = (uint64_t)sql_column_int(stmt, c++);
        part.resume = sql_column_span(stmt, c++);
        if (!each(ctx, &part)) {
            break;
        }
    }
    sql_reset(stmt);
    return status;
}
