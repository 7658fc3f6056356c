/* SPDX-License-Identifier: Apache-2.0 */
/* What every destination promises (design §3.2, §3.6), over each driver of dests.def that a test
 * can reach. Helpers: tests/support/dest_fixture.h. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/dest_fixture.h"

static struct dest_fixture f;

static void
set_up(void)
{
    dest_fixture_init(&f);
}

static void
tear_down(void)
{
    dest_fixture_fini(&f);
}

TestSuite(dest, .init = set_up, .fini = tear_down);

static const struct spec_column two[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
};

static void
load_is(struct dest_fixture *fixture, struct fixture_batch *batch, enum dest_outcome outcome)
{
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(fixture, batch, &err), PS_OK, "%s", err.text);
    cr_assert_eq(batch->result.outcome, outcome, "outcome %d: %s", batch->result.outcome, err.text);
}

Test(dest, null_counts_rows)
{
    fixture_open_url(&f, "null:", "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_row(&batch, "is", (int64_t)2, "two");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 2);
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_loads_once)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_row(&batch, "in", (int64_t)2, NULL);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 2);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(quote(id)||quote(name)) FROM t"),
                     "1'one',2NULL");
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.counts.inserted, 2);
    cr_assert_eq(batch.result.counts.decoded, 2);
    cr_assert_eq(batch.result.range_count, 1);
    cr_assert_eq(batch.result.ranges[0].end, batch.ranges[0].end);
    cr_assert(ps_span_eq(batch.result.ranges[0].resume, ps_span_str("resume")));
    cr_assert(ps_span_eq(batch.result.ranges[0].key, batch.ranges[0].key));
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), "2");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_already_tells_the_ledgers_end_not_ours)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    batch.ranges[0].end = 777;
    load_is(&f, &batch, DEST_LOADED);
    batch.ranges[0].end = 999;
    batch.batch.counts.decoded = 5;
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.ranges[0].end, 777);
    cr_assert_eq(batch.result.counts.decoded, 1);
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_a_tombstone_stands)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_tombstone(&f, &batch, DEST_CANCELLED);
    fixture_tombstone(&f, &batch, DEST_CANCELLED);
    load_is(&f, &batch, DEST_CANCELLED);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), "0");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_a_tombstone_that_comes_too_late_finds_it_loaded)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    load_is(&f, &batch, DEST_LOADED);
    fixture_tombstone(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.counts.inserted, 1);
    cr_assert_eq(batch.result.range_count, 1);
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_fence)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    batch.batch.generation = 2;
    load_is(&f, &batch, DEST_FENCE_MISMATCH);
    batch.batch.generation = 1;
    batch.batch.pipeline.id.b[3] ^= 1;
    load_is(&f, &batch, DEST_FENCE_MISMATCH);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), "0");
    fixture_batch_fini(&batch);
    /* A newer generation takes over, an older one and a stranger are refused. */
    struct dest_state state;
    struct ps_error err = {0};
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 3, &state, &err), PS_OK);
    cr_assert_eq(state.generation, 3);
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 2, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "fence_conflict");
    struct pipeline_uuid other = {ps_id_new()};
    cr_assert_eq(fixture_try_prepare(&f, other, 3, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "fence_conflict");
}

Test(dest, sqlite_range_conflict)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    struct fixture_batch twin;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_batch_init(&f, &twin, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_row(&twin, "is", (int64_t)1, "one");
    load_is(&f, &batch, DEST_LOADED);
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(&f, &twin, &err), PS_OK);
    cr_assert_eq(twin.result.outcome, DEST_RANGE_CONFLICT);
    char id[PS_ID_TEXT_BYTES];
    cr_assert_not_null(strstr(err.text, ps_id_text(batch.batch.id.id, id)), "%s", err.text);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), "1");
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM _penstock_ledger"), "1");
    fixture_batch_fini(&batch);
    fixture_batch_fini(&twin);
}

static enum dest_outcome
load_range(uint64_t from, uint64_t end)
{
    struct fixture_batch batch;
    struct ps_error err = {0};
    fixture_batch_init(&f, &batch, 2, 1);
    batch.ranges[0].from = from;
    batch.ranges[0].end = end;
    batch.ranges[0].eof = false;
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_OK, "%s", err.text);
    enum dest_outcome outcome = batch.result.outcome;
    fixture_batch_fini(&batch);
    return outcome;
}

Test(dest, sqlite_ranges_of_an_object_have_no_byte_in_common)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    cr_assert_eq(load_range(0, 100), DEST_LOADED);
    cr_assert_eq(load_range(300, 400), DEST_LOADED);
    cr_assert_eq(load_range(250, 301), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(399, 500), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(310, 320), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(90, 450), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(350, 350), DEST_LOADED, "nothing begins there");
    cr_assert_eq(load_range(400, 401), DEST_LOADED);
    cr_assert_eq(load_range(100, 300), DEST_LOADED);
    cr_assert_eq(load_range(360, 370), DEST_RANGE_CONFLICT);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM _penstock_ledger"), "5");
}

Test(dest, sqlite_guilty_rows_only)
{
    fixture_sql(&f, "CREATE TABLE t(id INTEGER UNIQUE, name TEXT NOT NULL CHECK (name <> 'bad'))");
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int64_t i = 0; i < 1000; i++) {
        fixture_row(&batch, "is", i, i == 500 ? "bad" : "good");
    }
    fixture_row(&batch, "is", (int64_t)7, "twice");
    fixture_row(&batch, "in", (int64_t)2000, NULL);
    fixture_reject(&batch, 12345, "stuff");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 999);
    cr_assert_eq(batch.result.counts.rejected_at_load, 3);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), "999");
    cr_assert_str_eq(
        fixture_text(&f, "SELECT group_concat(code||':'||ifnull(\"column\",'')||':'||reason, '|')"
                         " FROM t_rejects"),
        "type:name:stuff|constraint::CHECK constraint failed: name <> 'bad'|"
        "constraint:id:UNIQUE constraint failed: t.id|"
        "constraint:name:NOT NULL constraint failed: t.name");
    cr_assert_str_eq(fixture_text(&f, "SELECT CAST(raw AS TEXT) FROM t_rejects WHERE line = 501"),
                     "500,\"bad\"");
    cr_assert_str_eq(fixture_text(&f, "SELECT object FROM t_rejects LIMIT 1"), "object-1");
    cr_assert_str_eq(
        fixture_text(&f, "SELECT inserted||' '||rejected||' '||rejected_at_load||' '||decoded"
                         " FROM _penstock_ledger"),
        "999 1 3 1003");
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.counts.rejected_at_load, 3);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t_rejects"), "4");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_foreign_keys)
{
    fixture_sql(&f, "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
                    "INSERT INTO parent VALUES(1), (2);"
                    "CREATE TABLE t(id INTEGER REFERENCES parent(id), name TEXT)");
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "a");
    fixture_row(&batch, "is", (int64_t)9, "orphan");
    fixture_row(&batch, "is", (int64_t)2, "b");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(id||name) FROM t"), "1a,2b");
    cr_assert_str_eq(fixture_text(&f, "SELECT reason FROM t_rejects"),
                     "FOREIGN KEY constraint failed");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_foreign_keys_deferred_and_to_itself)
{
    fixture_sql(&f, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT REFERENCES t(id)"
                    " DEFERRABLE INITIALLY DEFERRED)");
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "3"); /* its parent comes later */
    fixture_row(&batch, "is", (int64_t)2, "77");
    fixture_row(&batch, "in", (int64_t)3, NULL);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(id) FROM t"), "1,3");
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*)||reason FROM t_rejects"),
                     "1FOREIGN KEY constraint failed");
    cr_assert_eq(batch.result.counts.inserted, 2);
    cr_assert_eq(batch.result.counts.rejected_at_load, 1);
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_foreign_key_to_itself_at_once)
{
    fixture_sql(&f, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT REFERENCES t(id))");
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "2");
    fixture_row(&batch, "is", (int64_t)2, "3");
    fixture_row(&batch, "is", (int64_t)4, "5");
    fixture_row(&batch, "in", (int64_t)3, NULL);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(id) FROM t"), "1,2,3");
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t_rejects"), "1");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_tolerance)
{
    fixture_open(&f, "errors: {tolerance: 1}\n");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_reject(&batch, 10, "first");
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
    fixture_batch_init(&f, &batch, 2, 2);
    fixture_row(&batch, "is", (int64_t)2, "two");
    fixture_reject(&batch, 10, "second");
    fixture_reject(&batch, 20, "third");
    load_is(&f, &batch, DEST_OVER_TOLERANCE);
    cr_assert_eq(batch.result.counts.inserted, 0);
    cr_assert_eq(batch.result.counts.rejected, 2);
    load_is(&f, &batch, DEST_CANCELLED);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(id) FROM t"), "1");
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(reason) FROM t_rejects"),
                     "first,second,third");
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM _penstock_ledger_range"), "1");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_tolerance_counts_what_the_table_refuses)
{
    fixture_sql(&f, "CREATE TABLE t(id INTEGER UNIQUE, name TEXT)");
    fixture_open(&f, "errors: {tolerance: 50%}\n");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int i = 0; i < 3; i++) {
        fixture_row(&batch, "is", (int64_t)1, "same");
    }
    load_is(&f, &batch, DEST_OVER_TOLERANCE);
    cr_assert_eq(batch.result.counts.rejected_at_load, 2);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), "0");
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t_rejects"), "2");
    fixture_batch_fini(&batch);
}

static const struct spec_column keyed[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
    {.name = "ts", .type = COL_BIGINT, .type_given = true},
};

static void
two_rounds(const char *more, const char *expected, uint64_t inserted, uint64_t updated,
           uint64_t skipped)
{
    fixture_open(&f, more);
    fixture_prepare(&f, keyed, 3);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 3, 1);
    fixture_row(&batch, "isi", (int64_t)1, "a", (int64_t)10);
    fixture_row(&batch, "isi", (int64_t)2, "b", (int64_t)10);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 2);
    fixture_batch_fini(&batch);
    fixture_batch_init(&f, &batch, 3, 2);
    fixture_row(&batch, "isi", (int64_t)1, "A", (int64_t)5);
    fixture_row(&batch, "isi", (int64_t)2, "B", (int64_t)11);
    fixture_row(&batch, "isi", (int64_t)3, "C", (int64_t)7);
    fixture_row(&batch, "isi", (int64_t)3, "D", (int64_t)6);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(id||name||ts) FROM"
                                      " (SELECT * FROM t ORDER BY id)"),
                     expected);
    cr_assert_eq(batch.result.counts.inserted, inserted);
    cr_assert_eq(batch.result.counts.updated, updated);
    cr_assert_eq(batch.result.counts.skipped, skipped);
    cr_assert_eq(inserted + updated + skipped + batch.result.counts.rejected_at_load, 4);
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_conflict_error)
{
    two_rounds("  key: [id]\n", "1a10,2b10,3C7", 1, 0, 0);
}

Test(dest, sqlite_conflict_skip)
{
    two_rounds("  key: [id]\n  on_conflict: skip\n", "1a10,2b10,3C7", 1, 0, 3);
}

Test(dest, sqlite_conflict_update_by_order)
{
    two_rounds("  key: [id]\n  on_conflict: update\n  order_by: ts\n", "1a10,2B11,3C7", 1, 1, 2);
}

Test(dest, sqlite_conflict_replace_last_commit_wins)
{
    two_rounds("  key: [id]\n  on_conflict: replace\n  last_commit_wins: true\n", "1A5,2B11,3D6", 1,
               3, 0);
}

Test(dest, sqlite_replace_is_the_whole_row_update_only_what_is_loaded)
{
    fixture_sql(&f, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, extra TEXT DEFAULT 'd');"
                    "INSERT INTO t VALUES(1, 'old', 'kept')");
    fixture_open(&f, "  key: [id]\n  on_conflict: update\n  last_commit_wins: true\n");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "new");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT name||extra FROM t"), "newkept");
    fixture_batch_fini(&batch);
    fixture_reopen(&f, "  key: [id]\n  on_conflict: replace\n  last_commit_wins: true\n");
    fixture_batch_init(&f, &batch, 2, 2);
    fixture_row(&batch, "is", (int64_t)1, "newer");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT name||extra FROM t"), "newerd");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_an_update_that_the_table_refuses_is_a_reject)
{
    fixture_sql(&f, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
                    "INSERT INTO t VALUES(1, 'x'), (2, 'y')");
    fixture_open(&f, "  key: [id]\n  on_conflict: update\n  last_commit_wins: true\n");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "z");
    fixture_row(&batch, "is", (int64_t)2, "z");
    fixture_row(&batch, "is", (int64_t)3, "w");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.updated, 1);
    cr_assert_eq(batch.result.counts.inserted, 1);
    cr_assert_eq(batch.result.counts.rejected_at_load, 1);
    fixture_batch_fini(&batch);
}

/* ---- values */

Test(dest, sqlite_every_value_reads_back_with_its_type)
{
    static const struct spec_column columns[] = {
        {.name = "i", .type = COL_BIGINT, .type_given = true},
        {.name = "d", .type = COL_DOUBLE, .type_given = true},
        {.name = "s", .type = COL_TEXT, .type_given = true},
        {.name = "m", .type = COL_BIGINT, .type_given = true, .on_mismatch = MISMATCH_TEXT},
    };
    fixture_open(&f, "");
    fixture_prepare(&f, columns, 4);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 4, 1);
    fixture_row(&batch, "idsi", INT64_MAX, 0.1, "007", (int64_t)7);
    fixture_row(&batch, "idss", INT64_MIN, 1e308, "12345678901234567890", "007");
    fixture_row(&batch, "idss", (int64_t)0, 5e-324, "", " 12 ");
    fixture_row(&batch, "idss", (int64_t)-1, 3.0, "1e3", "1e3");
    fixture_row(&batch, "nnnn");
    fixture_row(&batch, "idss", (int64_t)127, -2.5, "\xf0\x9f\x98\x80 \"q\" 'x'", "");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(
        fixture_text(&f, "SELECT group_concat(typeof(i)||typeof(d)||typeof(s)||typeof(m), ' ')"
                         " FROM t"),
        "integerrealtextinteger integerrealtexttext integerrealtexttext integerrealtexttext "
        "nullnullnullnull integerrealtexttext");
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(s, '|') FROM t"),
                     "007|12345678901234567890||1e3|\xf0\x9f\x98\x80 \"q\" 'x'");
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(i) FROM t"),
                     "9223372036854775807,-9223372036854775808,0,-1,127");
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(m, '|') FROM t"), "7|007| 12 |1e3|");
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t WHERE d IN (0.1, 1e308, 5e-324, 3.0,"
                                      " -2.5)"),
                     "5");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_a_value_that_the_column_would_change_is_a_reject)
{
    fixture_sql(&f, "CREATE TABLE t(name NUMERIC, day DATE, price DECIMAL(10,2), f REAL)");
    static const struct spec_column columns[] = {
        {.name = "name", .type = COL_TEXT, .type_given = true},
        {.name = "day", .type = COL_TEXT, .type_given = true},
        {.name = "price", .type = COL_TEXT, .type_given = true},
        {.name = "f", .type = COL_BIGINT, .type_given = true},
    };
    fixture_open(&f, "");
    fixture_prepare(&f, columns, 4);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 4, 1);
    fixture_row(&batch, "sssi", "abc", "2024-01-02", "1.50", (int64_t)3);
    fixture_row(&batch, "sssi", "007", "2024-01-02", "1.50", (int64_t)3);
    fixture_row(&batch, "sssi", "1e3", "2024-01-02", "1.50", (int64_t)3);
    fixture_row(&batch, "sssi", "x", "12345678901234567890", "1.50", (int64_t)3);
    fixture_row(&batch, "sssi", "x", "y", "z", INT64_MAX);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 1);
    cr_assert_eq(batch.result.counts.rejected_at_load, 4);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(\"column\"||code) FROM t_rejects"),
                     "nameaffinity,nameaffinity,dayaffinity,faffinity");
    cr_assert_str_eq(fixture_text(&f, "SELECT name||day||price||f FROM t"), "abc2024-01-021.53.0");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_strict_table_and_integer_key)
{
    fixture_sql(&f, "CREATE TABLE t(id INTEGER PRIMARY KEY, name INTEGER) STRICT");
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "12");
    fixture_row(&batch, "is", (int64_t)2, "twelve");
    fixture_row(&batch, "ss", "x", "12");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT group_concat(id||typeof(name)) FROM t"), "1integer");
    cr_assert_eq(batch.result.counts.rejected_at_load, 2);
    fixture_batch_fini(&batch);
}

/* ---- tables */

Test(dest, sqlite_all_that_does_not_fit_in_one_error)
{
    fixture_sql(&f, "CREATE TABLE t(ID INTEGER, name2 TEXT NOT NULL, g AS (id + 1), d VARCHAR(9))");
    static const struct spec_column columns[] = {
        {.name = "id", .type = COL_BIGINT},
        {.name = "name", .type = COL_TEXT},
        {.name = "g", .type = COL_BIGINT},
        {.name = "d", .type = COL_DOUBLE},
    };
    fixture_open(&f, "");
    struct dest_state state;
    struct ps_error err = {0};
    f.columns = columns;
    f.column_count = 4;
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 1, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "table_mismatch");
    cr_assert_not_null(strstr(err.text, "no column \"name\""), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "\"g\" is generated"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "\"name2\" is NOT NULL"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "\"d\" has type VARCHAR(9)"), "%s", err.text);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM sqlite_schema"), "1");
}

Test(dest, sqlite_create_never)
{
    fixture_open(&f, "  create: never\n");
    struct dest_state state;
    struct ps_error err = {0};
    f.columns = two;
    f.column_count = 2;
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 1, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "no_table");
    cr_assert_neq(access(f.path, F_OK), 0);
}

Test(dest, sqlite_names_are_quoted)
{
    static const struct spec_column columns[] = {
        {.name = "a\"b", .type = COL_TEXT},
        {.name = "select", .type = COL_BIGINT},
        {.name = "x; DROP TABLE t", .type = COL_DOUBLE},
    };
    fixture_open(&f, "");
    fixture_prepare(&f, columns, 3);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 3, 1);
    fixture_row(&batch, "sid", "v", (int64_t)1, 2.5);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT \"a\"\"b\"||\"select\"||\"x; DROP TABLE t\" FROM t"),
                     "v12.5");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_columns_in_another_order_and_more_of_them)
{
    fixture_sql(&f, "CREATE TABLE t(extra TEXT DEFAULT 'e', name TEXT, id INTEGER)");
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)5, "five");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_str_eq(fixture_text(&f, "SELECT extra||name||id FROM t"), "efive5");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_the_owners_file_keeps_its_mode_and_page_size)
{
    fixture_sql(&f, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE other(x)");
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)5, "five");
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
    fixture_close(&f);
    cr_assert_str_eq(fixture_text(&f, "PRAGMA journal_mode"), "wal");
    cr_assert_str_eq(fixture_text(&f, "PRAGMA page_size"), "4096");
}

Test(dest, sqlite_a_new_file)
{
    fixture_open(&f, "");
    struct dest_state state;
    struct ps_error err = {0};
    cr_assert_eq(f.ops->state(f.dest, "p", &state, &err), PS_OK);
    cr_assert_not(state.table_exists);
    cr_assert_not(state.has_fence);
    cr_assert_neq(access(f.path, F_OK), 0, "reading makes no file");
    fixture_prepare(&f, two, 2);
    cr_assert_str_eq(fixture_text(&f, "PRAGMA page_size"), "16384");
    fixture_close(&f);
    char journal[200];
    snprintf(journal, sizeof journal, "%s-journal", f.path);
    cr_assert_neq(access(journal, F_OK), 0, "no empty journal is left behind");
}

Test(dest, sqlite_another_file_is_not_visible)
{
    fixture_open(&f, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)5, "five");
    struct ps_error err = {0};
    f.columns = two;
    f.column_count = 2;
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "not_visible");
    fixture_sql(&f, "CREATE TABLE t(id INTEGER, name TEXT)");
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "not_visible");
    fixture_prepare(&f, two, 2);
    load_is(&f, &batch, DEST_LOADED);
    /* Deleted and made anew under the open connection. */
    unlink(f.path);
    fixture_sql(&f, "CREATE TABLE t(id INTEGER, name TEXT)");
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "not_visible");
    fixture_batch_fini(&batch);
}

Test(dest, sqlite_a_file_that_is_no_database)
{
    FILE *file = fopen(f.path, "w");
    for (int i = 0; i < 1000; i++) {
        fputs("this is not a database\n", file);
    }
    fclose(file);
    struct ps_error err = {0};
    cr_assert_eq(fixture_try_open(&f, f.url, "", &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "not_a_database");
    cr_assert_not_null(strstr(err.text, f.path));
}

/* ---- reconcile */

struct seen {
    size_t count;
    uint64_t sum;
    size_t full_after; /* rows of a page; 0 = any */
    size_t in_page;
};

static enum ps_status
see(struct seen *seen, uint64_t number, struct ps_error *err)
{
    if (seen->full_after != 0 && seen->in_page == seen->full_after) {
        return ps_fail(err, PS_FULL, "enough");
    }
    seen->in_page++;
    seen->count++;
    seen->sum += number;
    return PS_OK;
}

static enum ps_status
see_range(void *ctx, const struct dest_range *range, struct batch_id batch, struct ps_error *err)
{
    cr_assert_not(ps_id_is_zero(batch.id));
    return see(ctx, range->end + range->eof, err);
}

static enum ps_status
see_reject(void *ctx, const struct dest_reject_row *row, struct ps_error *err)
{
    cr_assert(ps_span_eq(row->raw, ps_span_str("raw bytes")));
    cr_assert(ps_span_eq(row->code, ps_span_str("type")));
    return see(ctx, row->offset, err);
}

/* How many pages there were. */
static size_t
read_pages(struct pipeline_uuid uuid, size_t limit, bool ranges, struct seen *seen)
{
    struct ps_error err = {0};
    struct ps_buf cursor = PS_BUF_INIT;
    size_t pages = 0;
    for (bool last = false; !last; pages++) {
        struct ps_buf next = PS_BUF_INIT;
        struct dest_page page = {
            .uuid = uuid, .cursor = ps_buf_span(&cursor), .limit = limit, .next = &next};
        seen->in_page = 0;
        enum ps_status status = ranges ? f.ops->ledger(f.dest, &page, see_range, seen, &err)
                                       : f.ops->rejects(f.dest, &page, see_reject, seen, &err);
        cr_assert(status == PS_OK || (status == PS_FULL && seen->full_after != 0), "%s", err.text);
        last = page.last;
        ps_buf_fini(&cursor);
        cursor = next;
    }
    ps_buf_fini(&cursor);
    return pages;
}

Test(dest, sqlite_pages)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    uint64_t sum = 0;
    for (unsigned i = 1; i <= 25; i++) {
        struct fixture_batch batch;
        fixture_batch_init(&f, &batch, 2, i);
        fixture_row(&batch, "is", (int64_t)i, "x");
        fixture_reject(&batch, i, "why");
        batch.ranges[0].end = i * 10;
        batch.batch.cluster_epoch = 2;
        batch.batch.commit_seq = i;
        sum += i * 10 + 1;
        load_is(&f, &batch, DEST_LOADED);
        fixture_batch_fini(&batch);
    }
    struct ps_error err = {0};
    struct seen seen = {0};
    cr_assert_eq(read_pages(f.uuid, 10, true, &seen), 3);
    cr_assert_eq(seen.count, 25);
    cr_assert_eq(seen.sum, sum);
    /* A page that its reader finds too large goes on where that stopped. */
    seen = (struct seen){.full_after = 4};
    cr_assert_eq(read_pages(f.uuid, 10, true, &seen), 7);
    cr_assert_eq(seen.count, 25);
    cr_assert_eq(seen.sum, sum);
    seen = (struct seen){0};
    cr_assert_eq(read_pages(f.uuid, 7, false, &seen), 4);
    cr_assert_eq(seen.count, 25);
    cr_assert_eq(seen.sum, 25 * 26 / 2);
    struct dest_state state;
    cr_assert_eq(f.ops->state(f.dest, "p", &state, &err), PS_OK);
    cr_assert_eq(state.batches, 25);
    cr_assert_eq(state.totals.inserted, 25);
    cr_assert_eq(state.totals.rejected, 25);
    cr_assert_eq(state.cluster_epoch, 2);
    cr_assert_eq(state.commit_seq, 25);
    cr_assert(ps_id_eq(state.uuid.id, f.uuid.id));
    struct pipeline_uuid stranger = {ps_id_new()};
    seen = (struct seen){0};
    cr_assert_eq(read_pages(stranger, 10, true, &seen), 1);
    cr_assert_eq(seen.count, 0);
}
