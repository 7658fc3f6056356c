/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/catalog/catalog_internal.h: what the files of this room share. */
#ifndef COORDINATOR_CATALOG_CATALOG_INTERNAL_H
#define COORDINATOR_CATALOG_CATALOG_INTERNAL_H

#include "common/sql.h"
#include "coordinator/catalog/catalog.h"

enum query_name {
#define QUERY(name, sql) QUERY_##name,
#define READ(name, sql)
#include "coordinator/catalog/queries.def"
#undef QUERY
#undef READ
    QUERY_COUNT
};

/* An event of this transaction that is not written yet; its texts stand in event_texts. */
struct cat_event_kept {
    int64_t at_ms;
    size_t texts[4]; /* pipeline, kind, subject, text; CAT_EVENT_NONE */
};
#define CAT_EVENT_NONE SIZE_MAX

struct catalog {
    sqlite3 *db;
    sqlite3_stmt *queries[QUERY_COUNT];
    int lock_fd; /* -1 in memory */
    bool writing;
    struct cat_stamp stamp;
    struct cat_stamp next; /* as committed next */
    struct cat_event_kept *events;
    size_t event_count;
    size_t event_room;
    struct ps_buf event_texts;
};

/* The statement, inside a transaction (opened when this is the first write since the commit). */
PS_MUSTCHECK enum ps_status catalog_write(struct catalog *catalog, enum query_name name,
                                          sqlite3_stmt **out, struct ps_error *err);
/* Binds and runs one write. */
PS_MUSTCHECK enum ps_status catalog_run(struct catalog *catalog, enum query_name name,
                                        const struct sql_value *values, size_t count,
                                        struct ps_error *err);
#define CATALOG_RUN(catalog, name, err, ...)                                                       \
    catalog_run((catalog), (name), (const struct sql_value[]){__VA_ARGS__},                        \
                sizeof((const struct sql_value[]){__VA_ARGS__}) / sizeof(struct sql_value), (err))

static inline struct sql_value
sql_u64(uint64_t value)
{
    return sql_int((int64_t)value);
}

/* schema/: brings an open database to the newest version. path names the copy kept before. */
PS_MUSTCHECK enum ps_status catalog_migrate(sqlite3 *db, const char *path, struct ps_error *err);

/* Writes the events that were added since the last commit. */
PS_MUSTCHECK enum ps_status cat_event_flush(struct catalog *catalog, struct ps_error *err);
void cat_event_forget(struct catalog *catalog);

/* From a row of …_COLUMNS; pointers are borrowed until the next step. */
void cat_pipeline_fill(sqlite3_stmt *stmt, struct cat_pipeline *out);
void cat_object_fill(sqlite3_stmt *stmt, struct cat_object *out);
void cat_batch_fill(sqlite3_stmt *stmt, struct cat_batch *out);
void cat_agent_fill(sqlite3_stmt *stmt, struct cat_agent *out);
void cat_event_fill(sqlite3_stmt *stmt, struct cat_event *out);

/* Steps a bound statement to its end: each row is filled and handed on until each says false. */
PS_MUSTCHECK enum ps_status cat_pipeline_each(sqlite3_stmt *stmt, cat_pipeline_fn each, void *ctx,
                                              struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_object_each(sqlite3_stmt *stmt, cat_object_fn each, void *ctx,
                                            struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_batch_each(sqlite3_stmt *stmt, cat_batch_fn each, void *ctx,
                                           struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_agent_each(sqlite3_stmt *stmt, cat_agent_fn each, void *ctx,
                                           struct ps_error *err);
PS_MUSTCHECK enum ps_status cat_event_each(sqlite3_stmt *stmt, cat_event_fn each, void *ctx,
                                           struct ps_error *err);

#endif
