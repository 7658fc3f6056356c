/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/sql.h"
#include "coordinator/catalog/catalog_internal.h"

static char folder[64];
static char path[96];
static struct ps_error err;

static void
make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/penstock-catalog-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/catalog.db", folder);
}

static void
drop_folder(void)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm",
                                        "catalog.db.lock", "catalog.db.v1"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        (void)unlink(name);
    }
    (void)rmdir(folder);
}

TestSuite(catalog, .init = make_folder, .fini = drop_folder);

static struct catalog *
open_it(void)
{
    struct catalog *catalog = NULL;
    cr_assert_eq(catalog_open(path, &catalog, &err), PS_OK, "%s", err.text);
    return catalog;
}

static uint64_t
add_pipeline(struct catalog *catalog, const char *name)
{
    struct cat_pipeline row = {.name = name,
                               .generation = 1,
                               .spec_rev = 1,
                               .state = "created",
                               .revision = 1,
                               .next_bp_id = 1};
    cr_assert_eq(cat_pipeline_insert(catalog, &row, &err), PS_OK, "%s", err.text);
    cr_assert_eq(cat_pipeline_put_spec(catalog, row.id, 1, "{}", ps_span("c", 1), &err), PS_OK);
    return row.id;
}

static void
add_object(struct catalog *catalog, uint64_t pipeline, uint64_t id, uint64_t rest,
           const char *state)
{
    char key[32];
    snprintf(key, sizeof key, "key-%06llu", (unsigned long long)id);
    struct cat_object row = {.pipeline_id = pipeline,
                             .id = id,
                             .generation = 1,
                             .key = ps_span_str(key),
                             .version = ps_span_str("v"),
                             .hash = ps_bp_hash(ps_span_str(key), ps_span_str("v")),
                             .size_bytes = rest,
                             .rest_bytes = rest,
                             .state = state};
    cr_assert_eq(cat_object_insert(catalog, &row, &err), PS_OK, "%s", err.text);
}

Test(catalog, stamps_rise)
{
    struct catalog *catalog = open_it();
    struct cat_stamp first = catalog_stamp(catalog);
    cr_assert_eq(first.cluster_epoch, 1);
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    cr_assert_eq(catalog_stamp(catalog).commit_seq, first.commit_seq, "nothing was written");
    (void)add_pipeline(catalog, "a");
    cr_assert(catalog_has_writes(catalog));
    cr_assert_eq(catalog_stamp(catalog).commit_seq, first.commit_seq, "not committed yet");
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    cr_assert_eq(catalog_stamp(catalog).commit_seq, first.commit_seq + 1);
    cr_assert_not(catalog_has_writes(catalog));
    catalog_close(catalog);
    catalog = open_it();
    cr_assert_eq(catalog_stamp(catalog).cluster_epoch, 2);
    cr_assert_gt(catalog_stamp(catalog).commit_seq, first.commit_seq + 1);
    catalog_close(catalog);
}

Test(catalog, a_second_coordinator_is_refused)
{
    struct catalog *catalog = open_it();
    struct catalog *second = NULL;
    cr_assert_eq(catalog_open(path, &second, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "catalog_locked");
    catalog_close(catalog);
    catalog = open_it();
    catalog_close(catalog);
}

Test(catalog, a_newer_catalog_is_refused)
{
    catalog_close(open_it());
    sqlite3 *db = NULL;
    cr_assert_eq(sql_open(path, SQLITE_OPEN_READWRITE, &db, &err), PS_OK);
    cr_assert_eq(sql_exec(db, "PRAGMA user_version = 1000", &err), PS_OK);
    sql_close(db);
    struct catalog *catalog = NULL;
    cr_assert_eq(catalog_open(path, &catalog, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "catalog_newer");
}

Test(catalog, what_is_not_committed_is_gone)
{
    struct catalog *catalog = open_it();
    (void)add_pipeline(catalog, "a");
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    (void)add_pipeline(catalog, "b");
    catalog_close(catalog);
    catalog = open_it();
    struct catalog_reader *reader = NULL;
    uint64_t id = 0;
    cr_assert_eq(catalog_reader_open(path, &reader, &err), PS_OK, "%s", err.text);
    cr_assert_eq(catalog_reader_find_pipeline(reader, "a", &id, &err), PS_OK);
    cr_assert_gt(id, 0);
    cr_assert_eq(catalog_reader_find_pipeline(reader, "b", &id, &err), PS_OK);
    cr_assert_eq(id, 0);
    catalog_reader_close(reader);
    catalog_close(catalog);
}

static bool
check_pipeline(void *ctx, const struct cat_pipeline *row)
{
    const struct cat_pipeline *want = ctx;
    cr_assert_str_eq(row->name, want->name);
    cr_assert_str_eq(row->state, want->state);
    cr_assert_str_eq(row->reason, want->reason);
    cr_assert_null(row->table);
    cr_assert_str_eq(row->spec_json, "{\"a\":1}");
    cr_assert(ps_span_eq(row->columns, ps_span_str("columns")));
    cr_assert(ps_span_eq(row->discover_cursor, want->discover_cursor));
    cr_assert_eq(row->retries, want->retries);
    cr_assert_eq(row->counts.decoded, want->counts.decoded);
    cr_assert_eq(row->counts.unwrapped_bytes, want->counts.unwrapped_bytes);
    cr_assert_eq(row->slowest_ms, want->slowest_ms);
    cr_assert_eq(row->prepared, want->prepared);
    cr_assert(ps_id_eq(row->uuid.id, want->uuid.id));
    return true;
}

Test(catalog, a_pipeline_comes_back_as_it_was_saved)
{
    struct catalog *catalog = open_it();
    struct cat_pipeline row = {.name = "p",
                               .uuid = {ps_id_new()},
                               .state = "running",
                               .spec_rev = 7,
                               .reason = "because",
                               .discover_cursor = ps_span("\0\1", 2),
                               .retries = 3,
                               .counts = {.decoded = 11, .unwrapped_bytes = UINT64_MAX / 2},
                               .slowest_ms = 99,
                               .prepared = true};
    cr_assert_eq(cat_pipeline_insert(catalog, &row, &err), PS_OK, "%s", err.text);
    cr_assert_eq(
        cat_pipeline_put_spec(catalog, row.id, 7, "{\"a\":1}", ps_span_str("columns"), &err),
        PS_OK);
    cr_assert_eq(cat_pipeline_all(catalog, check_pipeline, &row, &err), PS_OK);
    row.state = "stopped";
    row.retries = 4;
    row.counts.decoded = 12;
    row.slowest_ms = 100;
    cr_assert_eq(cat_pipeline_save(catalog, &row, &err), PS_OK, "%s", err.text);
    cr_assert_eq(cat_pipeline_all(catalog, check_pipeline, &row, &err), PS_OK);
    catalog_close(catalog);
}

struct ids {
    uint64_t at[16];
    size_t count;
};

static bool
take_id(void *ctx, const struct cat_object *row)
{
    struct ids *ids = ctx;
    ids->at[ids->count++] = row->id;
    return ids->count < 16;
}

Test(catalog, pending_objects_come_largest_first)
{
    struct catalog *catalog = open_it();
    uint64_t p = add_pipeline(catalog, "p");
    add_object(catalog, p, 1, 10, "pending");
    add_object(catalog, p, 2, 30, "pending");
    add_object(catalog, p, 3, 40, "done");
    add_object(catalog, p, 4, 30, "pending");
    add_object(catalog, p, 5, 50, "quarantined");
    struct ids ids = {0};
    cr_assert_eq(
        cat_object_pending(
            catalog,
            &(struct cat_object_page){
                .pipeline_id = p, .generation = 1, .state = NULL, .after_id = 0, .limit = 10},
            take_id, &ids, &err),
        PS_OK);
    cr_assert_eq(ids.count, 3);
    cr_assert(ids.at[0] == 2 && ids.at[1] == 4 && ids.at[2] == 1);
    ids.count = 0;
    cr_assert_eq(cat_object_in_state(catalog,
                                     &(struct cat_object_page){.pipeline_id = p,
                                                               .generation = 1,
                                                               .state = "quarantined",
                                                               .after_id = 0,
                                                               .limit = 10},
                                     take_id, &ids, &err),
                 PS_OK);
    cr_assert(ids.count == 1 && ids.at[0] == 5);
    catalog_close(catalog);
}

Test(catalog, pages_of_a_reader)
{
    struct catalog *catalog = open_it();
    uint64_t other = add_pipeline(catalog, "other");
    uint64_t p = add_pipeline(catalog, "p");
    for (uint64_t id = 1; id <= 20; id++) {
        add_object(catalog, p, id, 100, id % 5 == 0 ? "open" : "done");
        add_object(catalog, other, id, 100, "open");
    }
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    struct catalog_reader *reader = NULL;
    cr_assert_eq(catalog_reader_open(path, &reader, &err), PS_OK, "%s", err.text);
    struct ids ids = {0};
    cr_assert_eq(
        catalog_reader_objects(
            reader,
            &(struct cat_object_page){
                .pipeline_id = p, .generation = 1, .state = NULL, .after_id = 17, .limit = 10},
            take_id, &ids, &err),
        PS_OK);
    cr_assert(ids.count == 3 && ids.at[0] == 18 && ids.at[2] == 20);
    ids.count = 0;
    cr_assert_eq(
        catalog_reader_objects(
            reader,
            &(struct cat_object_page){
                .pipeline_id = p, .generation = 1, .state = "open", .after_id = 5, .limit = 2},
            take_id, &ids, &err),
        PS_OK);
    cr_assert(ids.count == 2 && ids.at[0] == 10 && ids.at[1] == 15);
    ids.count = 0;
    cr_assert_eq(
        catalog_reader_objects(
            reader,
            &(struct cat_object_page){
                .pipeline_id = p, .generation = 1, .state = "done", .after_id = 18, .limit = 10},
            take_id, &ids, &err),
        PS_OK);
    cr_assert(ids.count == 1 && ids.at[0] == 19);
    catalog_reader_close(reader);
    catalog_close(catalog);
}

static bool
take_batch_state(void *ctx, const struct cat_batch *row)
{
    snprintf(ctx, CAT_STATE_BYTES, "%s", row->state);
    return true;
}

Test(catalog, a_batch_and_its_ranges)
{
    struct catalog *catalog = open_it();
    uint64_t p = add_pipeline(catalog, "p");
    struct cat_batch row = {.pipeline_id = p,
                            .id = {ps_id_new()},
                            .state = "pending",
                            .ranges = 2,
                            .first_object = ps_span_str("key")};
    const struct cat_range ranges[] = {{.bp_id = 4, .from = 0, .target_bytes = 9},
                                       {.bp_id = 3, .from = 7, .target_bytes = 9}};
    cr_assert_eq(cat_batch_insert(catalog, &row, ranges, &err), PS_OK, "%s", err.text);
    struct cat_range back[2];
    size_t count = 0;
    cr_assert_eq(cat_batch_ranges(catalog, &row, back, &count, &err), PS_OK);
    cr_assert_eq(count, 2);
    cr_assert(back[0].bp_id == 4 && back[1].bp_id == 3 && back[1].from == 7);
    char state[CAT_STATE_BYTES] = "";
    cr_assert_eq(cat_batch_open(catalog, take_batch_state, state, &err), PS_OK);
    cr_assert_str_eq(state, "pending");
    row.state = "loaded";
    cr_assert_eq(cat_batch_save(catalog, &row, &err), PS_OK, "%s", err.text);
    state[0] = '\0';
    cr_assert_eq(cat_batch_open(catalog, take_batch_state, state, &err), PS_OK);
    cr_assert_str_empty(state);
    cr_assert_eq(cat_batch_get(catalog, p, row.id, take_batch_state, state, &err), PS_OK);
    cr_assert_str_eq(state, "loaded");
    catalog_close(catalog);
}

Test(catalog, known_ranges)
{
    struct catalog *catalog = open_it();
    uint64_t p = add_pipeline(catalog, "p");
    struct cat_known_range row = {.pipeline_id = p,
                                  .hash = ps_bp_hash(ps_span_str("k"), ps_span_str("v")),
                                  .from = 5,
                                  .end = 9,
                                  .resume = ps_span_str("token"),
                                  .batch = {ps_id_new()},
                                  .records = 3};
    cr_assert_eq(cat_object_put_known(catalog, &row, &err), PS_OK, "%s", err.text);
    cr_assert_eq(cat_object_put_known(catalog, &row, &err), PS_OK, "once more is fine");
    struct cat_known_range back = {.pipeline_id = p, .hash = row.hash, .from = 5};
    bool found = false;
    cr_assert_eq(cat_object_next_known(catalog, &back, &found, &err), PS_OK);
    cr_assert(found && back.from == 5 && back.end == 9 && !back.eof && back.records == 3);
    cr_assert(ps_span_eq(back.resume, row.resume));
    cr_assert(ps_id_eq(back.batch.id, row.batch.id));
    back.from = 1;
    cr_assert_eq(cat_object_next_known(catalog, &back, &found, &err), PS_OK);
    cr_assert(found && back.from == 5, "the next one from there on");
    back.from = 6;
    cr_assert_eq(cat_object_next_known(catalog, &back, &found, &err), PS_OK);
    cr_assert_not(found);
    catalog_close(catalog);
}

static bool
take_part(void *ctx, const struct cat_part *row)
{
    struct cat_part *out = ctx;
    cr_assert(out->bp_id == 0 || row->from > out->from, "by from");
    *out = *row;
    out->resume = ps_span(NULL, 0);
    cr_assert(ps_span_eq(row->resume, ps_span_str(row->eof ? "" : "token")));
    return true;
}

Test(catalog, parts)
{
    struct catalog *catalog = open_it();
    uint64_t p = add_pipeline(catalog, "p");
    struct cat_part row = {.pipeline_id = p,
                           .bp_id = 7,
                           .from = 100,
                           .target_bytes = 50,
                           .state = "open",
                           .has_batch = true,
                           .batch = {ps_id_new()},
                           .resume = ps_span_str("token")};
    cr_assert_eq(cat_part_put(catalog, &row, &err), PS_OK, "%s", err.text);
    row.from = 150;
    row.start = 155;
    row.end = 201;
    row.records = 4;
    row.state = "loaded";
    cr_assert_eq(cat_part_put(catalog, &row, &err), PS_OK, "%s", err.text);
    row.resume = ps_span(NULL, 0);
    row.eof = true;
    cr_assert_eq(cat_part_put(catalog, &row, &err), PS_OK, "replaces");
    struct cat_part last = {0};
    cr_assert_eq(cat_part_all(catalog, p, 7, take_part, &last, &err), PS_OK, "%s", err.text);
    cr_assert(last.from == 150 && last.start == 155 && last.end == 201 && last.records == 4);
    cr_assert(last.has_batch && ps_id_eq(last.batch.id, row.batch.id));
    cr_assert_eq(cat_part_drop(catalog, p, 7, 150, &err), PS_OK);
    last = (struct cat_part){0};
    cr_assert_eq(cat_part_all(catalog, p, 7, take_part, &last, &err), PS_OK);
    cr_assert_eq(last.from, 100);
    cr_assert_eq(cat_part_drop_all(catalog, p, &err), PS_OK);
    last = (struct cat_part){0};
    cr_assert_eq(cat_part_all(catalog, p, 7, take_part, &last, &err), PS_OK);
    cr_assert_eq(last.bp_id, 0);
    catalog_close(catalog);
}

static bool
count_events(void *ctx, const struct cat_event *row)
{
    uint64_t *last = ctx;
    cr_assert_gt(row->id, *last);
    *last = row->id;
    return true;
}

static const char *const texts[] = {
#define QUERY(name, sql) sql,
#define READ(name, sql) sql,
#include "coordinator/catalog/queries.def"
#undef QUERY
#undef READ
};

/* Tables that grow with the data are never walked whole; SQLite plans by the schema alone, so an
 * empty catalog shows it. */
Test(catalog, no_query_walks_a_large_table)
{
    catalog_close(open_it());
    sqlite3 *db = NULL;
    cr_assert_eq(sql_open(path, SQLITE_OPEN_READWRITE, &db, &err), PS_OK);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *explain = ps_xasprintf("EXPLAIN QUERY PLAN %s", texts[i]);
        sqlite3_stmt *stmt = NULL;
        bool row = false;
        cr_assert_eq(sql_prepare(db, explain, &stmt, &err), PS_OK, "%s", err.text);
        while (sql_step(stmt, &row, &err) == PS_OK && row) {
            const char *detail = sql_column_text(stmt, 3);
            bool walks = strncmp(detail, "SCAN batch", 10) == 0 ||
                         strncmp(detail, "SCAN known_range", 16) == 0 ||
                         strncmp(detail, "SCAN part", 9) == 0;
            cr_assert(!walks || strstr(detail, "USING INDEX batch_open") != NULL, "%s: %s",
                      texts[i], detail);
        }
        sql_finalize(stmt);
        ps_free(explain);
    }
    sql_close(db);
}

Test(catalog, events_rise)
{
    struct catalog *catalog = open_it();
    for (int i = 0; i < 10; i++) {
        struct cat_event row = {.at_ms = i, .kind = "k", .pipeline = i % 2 == 0 ? "p" : NULL};
        cr_assert_eq(cat_event_add(catalog, &row, &err), PS_OK, "%s", err.text);
    }
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    struct catalog_reader *reader = NULL;
    cr_assert_eq(catalog_reader_open(path, &reader, &err), PS_OK, "%s", err.text);
    uint64_t last = 3;
    cr_assert_eq(catalog_reader_events(reader,
                                       &(struct cat_event_page){.after_id = 3, .limit = 100},
                                       count_events, &last, &err),
                 PS_OK);
    cr_assert_eq(last, 10);
    last = 0;
    cr_assert_eq(catalog_reader_events(reader,
                                       &(struct cat_event_page){.pipeline = "p", .limit = 100},
                                       count_events, &last, &err),
                 PS_OK);
    cr_assert_eq(last, 9);
    catalog_reader_close(reader);
    catalog_close(catalog);
}

Test(catalog, deleting_takes_everything)
{
    struct catalog *catalog = open_it();
    uint64_t p = add_pipeline(catalog, "p");
    add_object(catalog, p, 1, 10, "pending");
    cr_assert_eq(cat_pipeline_delete(catalog, p, &err), PS_OK, "%s", err.text);
    struct ids ids = {0};
    cr_assert_eq(
        cat_object_first(
            catalog,
            &(struct cat_object_page){
                .pipeline_id = p, .generation = 1, .state = NULL, .after_id = 0, .limit = 10},
            take_id, &ids, &err),
        PS_OK);
    cr_assert_eq(ids.count, 0);
    cr_assert_neq(add_pipeline(catalog, "p"), p, "an id is never used again");
    catalog_close(catalog);
}

Test(catalog, the_stamp_of_a_ledger_is_reached)
{
    struct catalog *catalog = open_it();
    struct cat_stamp seen = {.cluster_epoch = 100, .commit_seq = 5000};
    cr_assert_eq(catalog_raise_stamp(catalog, seen, &err), PS_OK, "%s", err.text);
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    cr_assert_eq(catalog_stamp(catalog).cluster_epoch, 100);
    cr_assert_eq(catalog_stamp(catalog).commit_seq, 5001);
    catalog_close(catalog);
    catalog = open_it();
    cr_assert_eq(catalog_stamp(catalog).cluster_epoch, 101);
    catalog_close(catalog);
}

/* SQLite rolls back by itself when the disk is full in the wrong moment. */
Test(catalog, after_a_rollback_of_sqlites_own_no_write_stands_alone)
{
    struct catalog *catalog = open_it();
    uint64_t p = add_pipeline(catalog, "p");
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    add_object(catalog, p, 1, 10, "pending");
    cr_assert_eq(sql_exec(catalog->db, "ROLLBACK", &err), PS_OK, "%s", err.text);
    cr_assert_eq(cat_pipeline_delete(catalog, p, &err), PS_AGAIN);
    cr_assert_str_eq(err.code, "catalog_rolled_back");
    cr_assert_neq(catalog_commit(catalog, &err), PS_OK);
    cr_assert_eq(catalog_restart(catalog, &err), PS_OK, "%s", err.text);
    cr_assert_neq(add_pipeline(catalog, "q"), p);
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK);
    catalog_close(catalog);
}
