/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog_reader.h"

#include <pthread.h>

#include "common/alloc.h"
#include "coordinator/catalog/catalog_internal.h"

enum read_name {
#define QUERY(name, sql)
#define READ(name, sql) READ_##name,
#include "coordinator/catalog/queries.def"
#undef QUERY
#undef READ
    READ_COUNT
};

static const char *const read_texts[READ_COUNT] = {
#define QUERY(name, sql)
#define READ(name, sql) [READ_##name] = sql,
#include "coordinator/catalog/queries.def"
#undef QUERY
#undef READ
};

struct catalog_reader {
    pthread_mutex_t mutex;
    sqlite3 *db;
    sqlite3_stmt *reads[READ_COUNT];
};

enum ps_status
catalog_reader_open(const char *path, struct catalog_reader **out, struct ps_error *err)
{
    struct catalog_reader *reader = ps_xcalloc(1, sizeof *reader);
    pthread_mutex_init(&reader->mutex, NULL);
    /* READWRITE: a WAL reader has to be able to make the shared index; query_only forbids the rest.
     */
    enum ps_status status = sql_open(path, SQLITE_OPEN_READWRITE, &reader->db, err);
    if (status == PS_OK) {
        sqlite3_busy_timeout(reader->db, 5000);
        status = sql_exec(reader->db, "PRAGMA query_only = 1; PRAGMA cache_size = -16384;", err);
    }
    for (size_t i = 0; status == PS_OK && i < READ_COUNT; i++) {
        status = sql_prepare(reader->db, read_texts[i], &reader->reads[i], err);
    }
    if (status != PS_OK) {
        catalog_reader_close(reader);
        return ps_wrap(err, status, "read catalog %s", path);
    }
    *out = reader;
    return PS_OK;
}

void
catalog_reader_close(struct catalog_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    for (size_t i = 0; i < READ_COUNT; i++) {
        sql_finalize(reader->reads[i]);
    }
    sql_close(reader->db);
    pthread_mutex_destroy(&reader->mutex);
    ps_free(reader);
}

enum ps_status
catalog_reader_pipelines(struct catalog_reader *reader, const char *after_name, uint32_t limit,
                         cat_pipeline_fn each, void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = reader->reads[READ_PIPELINES];
    pthread_mutex_lock(&reader->mutex);
    enum ps_status status =
        SQL_BIND(stmt, err, sql_text(after_name == NULL ? "" : after_name), sql_int(limit));
    if (status == PS_OK) {
        status = cat_pipeline_each(stmt, each, ctx, err);
    }
    pthread_mutex_unlock(&reader->mutex);
    return status;
}

enum ps_status
catalog_reader_find_pipeline(struct catalog_reader *reader, const char *name, uint64_t *out_id,
                             struct ps_error *err)
{
    sqlite3_stmt *stmt = reader->reads[READ_PIPELINE_ID];
    bool row = false;
    pthread_mutex_lock(&reader->mutex);
    enum ps_status status = SQL_BIND(stmt, err, sql_text(name));
    if (status == PS_OK) {
        status = sql_step(stmt, &row, err);
    }
    if (status == PS_OK) {
        *out_id = row ? (uint64_t)sql_column_int(stmt, 0) : 0;
    }
    sql_reset(stmt);
    pthread_mutex_unlock(&reader->mutex);
    return status;
}

enum ps_status
catalog_reader_objects(struct catalog_reader *reader, const struct cat_object_page *page,
                       cat_object_fn each, void *ctx, struct ps_error *err)
{
    const char *state = page->state;
    enum read_name name = READ_OBJECTS;
    if (state != NULL && strcmp(state, "open") == 0) {
        name = READ_OBJECTS_OPEN;
    } else if (state != NULL && strcmp(state, "quarantined") == 0) {
        name = READ_OBJECTS_QUARANTINED;
    }
    sqlite3_stmt *stmt = reader->reads[name];
    struct sql_value values[] = {sql_u64(page->pipeline_id), sql_u64(page->after_id),
                                 sql_int(page->limit), sql_text(state)};
    pthread_mutex_lock(&reader->mutex);
    enum ps_status status = sql_bind(stmt, values, name == READ_OBJECTS ? 4 : 3, err);
    if (status == PS_OK) {
        status = cat_object_each(stmt, each, ctx, err);
    }
    pthread_mutex_unlock(&reader->mutex);
    return status;
}

enum ps_status
catalog_reader_batches(struct catalog_reader *reader, const struct cat_batch_page *page,
                       cat_batch_fn each, void *ctx, struct ps_error *err)
{
    const struct batch_id *after_id = page->after_id;
    sqlite3_stmt *stmt = reader->reads[READ_BATCHES];
    struct ps_span after = after_id == NULL ? ps_span("", 0) : ps_span(after_id->id.b, PS_ID_BYTES);
    pthread_mutex_lock(&reader->mutex);
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(page->pipeline_id), sql_blob(after),
                                     sql_int(page->limit), sql_text(page->state));
    if (status == PS_OK) {
        status = cat_batch_each(stmt, each, ctx, err);
    }
    pthread_mutex_unlock(&reader->mutex);
    return status;
}

enum ps_status
catalog_reader_agents(struct catalog_reader *reader, const char *after_name, uint32_t limit,
                      cat_agent_fn each, void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = reader->reads[READ_AGENTS];
    pthread_mutex_lock(&reader->mutex);
    enum ps_status status =
        SQL_BIND(stmt, err, sql_text(after_name == NULL ? "" : after_name), sql_int(limit));
    if (status == PS_OK) {
        status = cat_agent_each(stmt, each, ctx, err);
    }
    pthread_mutex_unlock(&reader->mutex);
    return status;
}

enum ps_status
catalog_reader_events(struct catalog_reader *reader, const struct cat_event_page *page,
                      cat_event_fn each, void *ctx, struct ps_error *err)
{
    sqlite3_stmt *stmt = reader->reads[READ_EVENTS];
    pthread_mutex_lock(&reader->mutex);
    enum ps_status status = SQL_BIND(stmt, err, sql_u64(page->after_id), sql_int(page->limit),
                                     sql_text(page->pipeline));
    if (status == PS_OK) {
        status = cat_event_each(stmt, each, ctx, err);
    }
    pthread_mutex_unlock(&reader->mutex);
    return status;
}

enum ps_status
catalog_reader_event_before_last(struct catalog_reader *reader, const char *pipeline,
                                 uint32_t count, uint64_t *out_id, struct ps_error *err)
{
    sqlite3_stmt *stmt = reader->reads[READ_EVENT_BEFORE_LAST];
    bool row = false;
    pthread_mutex_lock(&reader->mutex);
    enum ps_status status = SQL_BIND(stmt, err, sql_text(pipeline), sql_int(count));
    if (status == PS_OK) {
        status = sql_step(stmt, &row, err);
    }
    if (status == PS_OK) {
        *out_id = row ? (uint64_t)sql_column_int(stmt, 0) : 0;
    }
    sql_reset(stmt);
    pthread_mutex_unlock(&reader->mutex);
    return status;
}
