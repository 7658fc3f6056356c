/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog_internal.h"

void
cat_agent_fill(sqlite3_stmt *stmt, struct cat_agent *out)
{
    *out = (struct cat_agent){.name = sql_column_text(stmt, 0),
                              .state = sql_column_text(stmt, 2),
                              .version = sql_column_text(stmt, 3),
                              .leaves = (uint32_t)sql_column_int(stmt, 4),
                              .pid = (uint32_t)sql_column_int(stmt, 5),
                              .host_token = sql_column_span(stmt, 6),
                              .hello_ms = sql_column_int(stmt, 7)};
    bool is_id = sql_column_id(stmt, 1, &out->incarnation.id);
    (void)is_id; /* a damaged one stays zero and matches nothing */
}

enum ps_status
cat_agent_each(sqlite3_stmt *stmt, cat_agent_fn each, void *ctx, struct ps_error *err)
{
    bool row = false;
    enum ps_status status = PS_OK;
    while ((status = sql_step(stmt, &row, err)) == PS_OK && row) {
        struct cat_agent agent;
        cat_agent_fill(stmt, &agent);
        if (!each(ctx, &agent)) {
            break;
        }
    }
    sql_reset(stmt);
    return status;
}

enum ps_status
cat_agent_save(struct catalog *catalog, const struct cat_agent *row, struct ps_error *err)
{
    return CATALOG_RUN(catalog, QUERY_AGENT_SAVE, err, sql_text(row->name),
                       sql_id(&row->incarnation.id), sql_text(row->state), sql_text(row->version),
                       sql_u64(row->leaves), sql_u64(row->pid), sql_blob(row->host_token),
                       sql_int(row->hello_ms));
}

enum ps_status
cat_agent_all(struct catalog *catalog, cat_agent_fn each, void *ctx, struct ps_error *err)
{
    return cat_agent_each(catalog->queries[QUERY_AGENT_ALL], each, ctx, err);
}
