/* SPDX-License-Identifier: Apache-2.0 */
/* What every destination promises of rows (design §3.6): values, refused rows, conflicts, tables.
 */
#include <float.h>
#include <stdio.h>

#include "common/alloc.h"
#include "tests/support/dest_contract.h"

TestSuite(dest_rows, .fini = contract_end);

static void
counts_add_up(const struct fixture_batch *batch)
{
    const struct dest_counts *c = &batch->result.counts;
    cr_assert_eq(c->decoded, batch->batch.counts.decoded);
    cr_assert_eq(c->decoded - c->rejected - c->filtered,
                 c->inserted + c->updated + c->skipped + c->rejected_at_load,
                 "%llu decoded, %llu rejected, %llu inserted, %llu updated, %llu skipped, "
                 "%llu rejected at load",
                 (unsigned long long)c->decoded, (unsigned long long)c->rejected,
                 (unsigned long long)c->inserted, (unsigned long long)c->updated,
                 (unsigned long long)c->skipped, (unsigned long long)c->rejected_at_load);
}

/* ---- sizes */

Test(dest_rows, a_batch_without_rows)
{
    begin_two(ANY, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    cr_assert_eq(batch.result.counts.inserted, 0);
    fixture_batch_fini(&batch);
    rows_are("SELECT count(*) FROM t", "0");
    rows_are("SELECT inserted, decoded FROM _penstock_ledger", "0,0");
    load_one(2, 1, "one");
}

Test(dest_rows, a_batch_of_rejects_only)
{
    begin_two(ANY, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_reject(&batch, 10, "first");
    fixture_reject(&batch, 20, "sec'ond \\ \"line\"\n\xf0\x9f\x98\x80");
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    cr_assert_eq(batch.result.counts.rejected, 2);
    fixture_batch_fini(&batch);
    rows_are("SELECT \"offset\", code, reason FROM t_rejects ORDER BY 1",
             "10,type,first|20,type,sec'ond \\ \"line\"\n\xf0\x9f\x98\x80");
    rows_are("SELECT count(*) FROM t", "0");
}

enum { BIG_ROWS = 120000 };

Test(dest_rows, a_big_batch)
{
    begin_two(ANY, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    char text[80];
    for (int64_t i = 0; i < BIG_ROWS; i++) {
        snprintf(text, sizeof text, "row %lld and some text that makes it longer", (long long)i);
        fixture_row(&batch, "is", i, text);
    }
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    cr_assert_eq(batch.result.counts.inserted, BIG_ROWS);
    fixture_batch_fini(&batch);
    rows_are("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM t",
             "120000,120000,0,119999");
    rows_are("SELECT count(*) FROM t WHERE name = 'row ' || id || "
             "' and some text that makes it longer'",
             "120000");
}

Test(dest_rows, many_small_batches_of_many_objects)
{
    begin_two(ANY, "");
    for (unsigned i = 0; i < 60; i++) {
        load_one(i, i, "x");
    }
    rows_are("SELECT count(*), sum(id) FROM t", "60,1770");
    rows_are("SELECT count(*), sum(inserted) FROM _penstock_ledger", "60,60");
}

/* ---- values */

static const struct spec_column three[] = {
    {.name = "i", .type = COL_BIGINT, .type_given = true},
    {.name = "d", .type = COL_DOUBLE, .type_given = true},
    {.name = "s", .type = COL_TEXT, .type_given = true},
};

static const int64_t integers[] = {0, 1, -1, 127, 32768, INT32_MIN, INT64_MAX, INT64_MIN};
static const double reals[] = {0.1,     -2.5,      1e308,      DBL_MAX,    -DBL_MAX,
                               DBL_MIN, 1.0 / 3.0, 1e15 + 0.3, 123456.789, 0.0};
static const char *const texts[] = {"",
                                    "007",
                                    "12345678901234567890",
                                    "1e3",
                                    " 12 ",
                                    "NULL",
                                    "\\N",
                                    "\\",
                                    "it's \"q\"",
                                    "\t",
                                    "a\nb",
                                    "\r\n",
                                    "a,b;",
                                    "\\t\\n",
                                    "\x01\x1f\x7f",
                                    "\xf0\x9f\x98\x80 \xf0\x9d\x94\xb8", /* astral */
                                    "\xef\xbf\xbf\xc2\xa0\xe2\x80\xae",
                                    "%s %n ?1 $1 :x",
                                    "{\"a\": [1]}",
                                    "-- '; DROP TABLE t; /*"};

Test(dest_rows, every_value_reads_back_equal)
{
    begin(KEEPS);
    fixture_open(&f, "");
    fixture_prepare(&f, three, 3);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 3, 1);
    size_t ni = sizeof integers / sizeof integers[0];
    size_t nr = sizeof reals / sizeof reals[0];
    size_t nt = sizeof texts / sizeof texts[0];
    for (size_t i = 0; i < ni; i++) {
        fixture_row(&batch, "inn", integers[i]);
    }
    for (size_t i = 0; i < nr; i++) {
        fixture_row(&batch, "idn", (int64_t)i + 1000, reals[i]);
    }
    for (size_t i = 0; i < nt; i++) {
        fixture_row(&batch, "ins", (int64_t)i + 2000, texts[i]);
    }
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, ni + nr + nt);
    fixture_batch_fini(&batch);
    char sql[200];
    char expected[200];
    for (size_t i = 0; i < ni; i++) {
        snprintf(sql, sizeof sql, "SELECT i, d, s FROM t WHERE i = %s%lld",
                 integers[i] == INT64_MIN ? "-1 + " : "",
                 (long long)(integers[i] == INT64_MIN ? INT64_MIN + 1 : integers[i]));
        snprintf(expected, sizeof expected, "%lld,NULL,NULL", (long long)integers[i]);
        rows_are(sql, expected);
    }
    for (size_t i = 0; i < nr; i++) {
        snprintf(sql, sizeof sql, "SELECT count(*) FROM t WHERE i = %zu AND d = %.17g", i + 1000,
                 reals[i]);
        rows_are(sql, "1");
    }
    for (size_t i = 0; i < nt; i++) {
        snprintf(sql, sizeof sql, "SELECT s FROM t WHERE i = %zu AND s IS NOT NULL", i + 2000);
        rows_are(sql, texts[i]);
    }
}

Test(dest_rows, a_mebibyte_of_text)
{
    begin_two(KEEPS, "");
    size_t len = 1 << 20;
    char *text = ps_xalloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)('!' + (i * 31) % 90);
    }
    text[len] = '\0';
    load_one(1, 1, text);
    struct ps_buf out = PS_BUF_INIT;
    f.side->sql(&f, "SELECT name FROM t", &out);
    cr_assert_eq(out.len, len);
    cr_assert_eq(memcmp(out.ptr, text, len), 0);
    ps_buf_fini(&out);
    ps_free(text);
}

/* A decoder refuses it; what reaches a destination all the same must not come out shorter. */
Test(dest_rows, text_with_a_zero_byte_is_whole_or_refused)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    struct block_row row = fixture_row_begin(&batch);
    cr_assert_eq(block_put_int(batch.block, &row, 1), PS_OK);
    cr_assert_eq(block_put_text(batch.block, &row, (const uint8_t *)"ab\0cd", 5), PS_OK);
    fixture_row_end(&batch, &row);
    fixture_row(&batch, "is", (int64_t)2, "fine");
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    rows_are("SELECT count(*) FROM t WHERE name = 'fine'", "1");
    rows_are("SELECT count(*) FROM t WHERE name = 'ab'", "0");
    fixture_batch_fini(&batch);
}

/* ---- refused rows */

#define CHECKED                                                                                    \
    "CREATE TABLE t(id BIGINT UNIQUE,"                                                             \
    " name VARCHAR(100) NOT NULL CHECK (name <> 'bad'))"

Test(dest_rows, only_the_guilty_are_refused)
{
    begin_table(CHECKED, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int64_t i = 0; i < 1000; i++) {
        fixture_row(&batch, "is", i, i == 500 ? "bad" : "good");
    }
    fixture_row(&batch, "is", (int64_t)7, "twice");
    fixture_row(&batch, "in", (int64_t)2000);
    fixture_reject(&batch, 12345, "stuff");
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    cr_assert_eq(batch.result.counts.inserted, 999);
    cr_assert_eq(batch.result.counts.rejected_at_load, 3);
    rows_are("SELECT count(*), count(DISTINCT id), sum(id) FROM t", "999,999,499000");
    rows_are("SELECT name FROM t WHERE id = 7", "good");
    /* Record and line of each. */
    rows_are("SELECT line FROM t_rejects WHERE reason <> 'stuff' ORDER BY line", "501|1001|1002");
    rows_are("SELECT count(*) FROM t_rejects WHERE reason = '' OR code = ''", "0");
    rows_are("SELECT inserted, rejected, rejected_at_load, decoded FROM _penstock_ledger",
             "999,1,3,1003");
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.counts.rejected_at_load, 3);
    rows_are("SELECT count(*) FROM t_rejects", "4");
    fixture_batch_fini(&batch);
}

Test(dest_rows, all_of_them_guilty)
{
    begin_table(CHECKED, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int64_t i = 0; i < 300; i++) {
        fixture_row(&batch, "is", i, "bad");
    }
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    cr_assert_eq(batch.result.counts.rejected_at_load, 300);
    rows_are("SELECT count(*) FROM t", "0");
    rows_are("SELECT count(DISTINCT line) FROM t_rejects", "300");
    fixture_batch_fini(&batch);
}

Test(dest_rows, a_row_without_its_parent)
{
    begin_table("CREATE TABLE parent(id BIGINT PRIMARY KEY);"
                "INSERT INTO parent VALUES(1), (2);"
                "CREATE TABLE t(id BIGINT, name VARCHAR(100),"
                " FOREIGN KEY (id) REFERENCES parent(id))",
                "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "a");
    fixture_row(&batch, "is", (int64_t)9, "orphan");
    fixture_row(&batch, "is", (int64_t)2, "b");
    load_is(&f, &batch, DEST_LOADED);
    rows_are("SELECT id, name FROM t ORDER BY id", "1,a|2,b");
    rows_are("SELECT line FROM t_rejects", "2");
    fixture_batch_fini(&batch);
}

Test(dest_rows, a_value_that_the_column_would_change_is_refused)
{
    begin_table("CREATE TABLE t(id BIGINT, name DECIMAL(30,0))", "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "12");
    fixture_row(&batch, "is", (int64_t)2, "12345678901234567890123456789012345678901");
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    rows_are("SELECT name FROM t WHERE id = 1", "12");
    rows_are("SELECT count(*) FROM t WHERE id = 2", "0");
    rows_are("SELECT line FROM t_rejects", "2");
    fixture_batch_fini(&batch);
}

/* ---- tolerance */

Test(dest_rows, over_tolerance_a_tombstone_carries_the_rejects)
{
    begin_two(KEEPS, "errors: {tolerance: 1}\n");
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
    rows_are("SELECT id FROM t", "1");
    rows_are("SELECT reason FROM t_rejects ORDER BY 1", "first|second|third");
    rows_are("SELECT count(*) FROM _penstock_ledger_range", "1");
    fixture_batch_fini(&batch);
}

Test(dest_rows, tolerance_counts_what_the_table_refuses)
{
    begin_table("CREATE TABLE t(id BIGINT UNIQUE, name VARCHAR(100))",
                "errors: {tolerance: 50%}\n");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int i = 0; i < 3; i++) {
        fixture_row(&batch, "is", (int64_t)1, "same");
    }
    load_is(&f, &batch, DEST_OVER_TOLERANCE);
    cr_assert_eq(batch.result.counts.rejected_at_load, 2);
    rows_are("SELECT count(*) FROM t", "0");
    rows_are("SELECT count(*) FROM t_rejects", "2");
    fixture_batch_fini(&batch);
}

/* ---- conflicts */

static const struct spec_column keyed[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
    {.name = "ts", .type = COL_BIGINT, .type_given = true},
};

static void
two_rounds(const char *more, const char *expected, const struct dest_counts *counts)
{
    begin(KEEPS);
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
    rows_are("SELECT id, name, ts FROM t ORDER BY id", expected);
    counts_add_up(&batch);
    const struct dest_counts first = batch.result.counts;
    cr_assert_eq(first.inserted, counts->inserted);
    cr_assert_eq(first.updated, counts->updated);
    cr_assert_eq(first.skipped, counts->skipped);
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.counts.updated, first.updated);
    cr_assert_eq(batch.result.counts.skipped, first.skipped);
    fixture_batch_fini(&batch);
}

Test(dest_rows, conflict_error)
{
    two_rounds("  key: [id]\n", "1,a,10|2,b,10|3,C,7", &(struct dest_counts){.inserted = 1});
}

Test(dest_rows, conflict_skip)
{
    two_rounds("  key: [id]\n  on_conflict: skip\n", "1,a,10|2,b,10|3,C,7",
               &(struct dest_counts){.inserted = 1, .skipped = 3});
}

Test(dest_rows, conflict_update_by_order)
{
    two_rounds("  key: [id]\n  on_conflict: update\n  order_by: ts\n", "1,a,10|2,B,11|3,C,7",
               &(struct dest_counts){.inserted = 1, .updated = 1, .skipped = 2});
}

Test(dest_rows, conflict_replace_last_commit_wins)
{
    two_rounds("  key: [id]\n  on_conflict: replace\n  last_commit_wins: true\n",
               "1,A,5|2,B,11|3,D,6", &(struct dest_counts){.inserted = 1, .updated = 3});
}

Test(dest_rows, replace_is_the_whole_row_update_only_what_is_loaded)
{
    begin_table("CREATE TABLE t(id BIGINT PRIMARY KEY, name VARCHAR(100),"
                " extra VARCHAR(100) DEFAULT 'd');"
                "INSERT INTO t VALUES(1, 'old', 'kept')",
                "  key: [id]\n  on_conflict: update\n  last_commit_wins: true\n");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "new");
    load_is(&f, &batch, DEST_LOADED);
    rows_are("SELECT name, extra FROM t", "new,kept");
    fixture_batch_fini(&batch);
    fixture_reopen(&f, "  key: [id]\n  on_conflict: replace\n  last_commit_wins: true\n");
    fixture_batch_init(&f, &batch, 2, 2);
    fixture_row(&batch, "is", (int64_t)1, "newer");
    load_is(&f, &batch, DEST_LOADED);
    rows_are("SELECT name, extra FROM t", "newer,d");
    fixture_batch_fini(&batch);
}

Test(dest_rows, a_null_is_no_key)
{
    begin_table("CREATE TABLE t(id BIGINT UNIQUE, name VARCHAR(20))",
                "  key: [id]\n  on_conflict: update\n  last_commit_wins: true\n");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "ns", "a");
    fixture_row(&batch, "is", (int64_t)1, "b");
    fixture_row(&batch, "ns", "c");
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    cr_assert_eq(batch.result.counts.inserted, 3);
    fixture_batch_fini(&batch);
    rows_are("SELECT name FROM t ORDER BY 1", "a|b|c");
}

Test(dest_rows, an_update_that_the_table_refuses_is_a_reject)
{
    begin_table("CREATE TABLE t(id BIGINT PRIMARY KEY, name VARCHAR(100) UNIQUE);"
                "INSERT INTO t VALUES(1, 'x'), (2, 'y')",
                "  key: [id]\n  on_conflict: update\n  last_commit_wins: true\n");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "z");
    fixture_row(&batch, "is", (int64_t)2, "z");
    fixture_row(&batch, "is", (int64_t)3, "w");
    load_is(&f, &batch, DEST_LOADED);
    counts_add_up(&batch);
    cr_assert_eq(batch.result.counts.updated, 1);
    cr_assert_eq(batch.result.counts.inserted, 1);
    cr_assert_eq(batch.result.counts.rejected_at_load, 1);
    rows_are("SELECT id, name FROM t ORDER BY id", "1,z|2,y|3,w");
    fixture_batch_fini(&batch);
}

/* ---- tables */

Test(dest_rows, create_never)
{
    begin(KEEPS);
    fixture_open(&f, "  create: never\n");
    struct dest_state state;
    struct ps_error err = {0};
    f.columns = two;
    f.column_count = 2;
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 1, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "no_table");
    cr_assert_eq(f.ops->state(f.dest, "p", &state, &err), PS_OK);
    cr_assert_not(state.table_exists);
}

Test(dest_rows, all_that_does_not_fit_in_one_error)
{
    begin(KEEPS);
    fixture_sql(&f, "CREATE TABLE t(id BIGINT, name2 VARCHAR(9) NOT NULL,"
                    " g BIGINT GENERATED ALWAYS AS (id + 1) STORED)");
    static const struct spec_column columns[] = {
        {.name = "id", .type = COL_BIGINT},
        {.name = "name", .type = COL_TEXT},
        {.name = "g", .type = COL_BIGINT},
    };
    fixture_open(&f, "");
    struct dest_state state;
    struct ps_error err = {0};
    f.columns = columns;
    f.column_count = 3;
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 1, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "table_mismatch");
    cr_assert_not_null(strstr(err.text, "no column \"name\""), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "\"g\" is generated"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "\"name2\" is NOT NULL"), "%s", err.text);
    rows_are("SELECT count(*) FROM t", "0");
}

Test(dest_rows, names_are_quoted)
{
    static const struct spec_column columns[] = {
        {.name = "a\"b", .type = COL_TEXT, .type_given = true},
        {.name = "select", .type = COL_BIGINT, .type_given = true},
        {.name = "x; DROP TABLE t", .type = COL_DOUBLE, .type_given = true},
        {.name = "gr\xc3\xb6\xc3\x9f `m` \\", .type = COL_TEXT, .type_given = true},
        {.name = "it's 100%", .type = COL_TEXT, .type_given = true},
    };
    begin(KEEPS);
    fixture_open(&f, "");
    fixture_prepare(&f, columns, 5);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 5, 1);
    fixture_row(&batch, "sidss", "v", (int64_t)1, 2.5, "w", "x");
    load_is(&f, &batch, DEST_LOADED);
    rows_are("SELECT \"a\"\"b\", \"select\", \"x; DROP TABLE t\", \"gr\xc3\xb6\xc3\x9f `m` \\\", "
             "\"it's 100%\" FROM t",
             "v,1,2.5,w,x");
    fixture_batch_fini(&batch);
}

Test(dest_rows, columns_in_another_order_and_more_of_them)
{
    begin_table("CREATE TABLE t(extra VARCHAR(9) DEFAULT 'e', name VARCHAR(100), id BIGINT)", "");
    load_one(1, 5, "five");
    rows_are("SELECT extra, name, id FROM t", "e,five,5");
}

Test(dest_rows, the_table_changes_between_batches)
{
    begin_table("CREATE TABLE t(id BIGINT, name VARCHAR(100))", "");
    load_one(1, 1, "one");
    fixture_sql(&f, "ALTER TABLE t ADD COLUMN extra VARCHAR(9) DEFAULT 'e'");
    load_one(2, 2, "two");
    /* Nothing goes into a table that has lost a column; with it, all goes on. */
    fixture_sql(&f, "ALTER TABLE t DROP COLUMN name");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 3);
    fixture_row(&batch, "is", (int64_t)3, "three");
    struct ps_error err = {0};
    enum ps_status status = load_again(&batch, &err);
    cr_assert_eq(status, PS_REFUSED, "%s: %s", ps_status_name(status), err.text);
    cr_assert_not_null(strstr(err.text, "name"), "%s", err.text);
    rows_are("SELECT id FROM t ORDER BY id", "1|2");
    rows_are("SELECT count(*) FROM _penstock_ledger", "2");
    fixture_sql(&f, "ALTER TABLE t ADD COLUMN name VARCHAR(100)");
    load_again_is(&batch, DEST_LOADED);
    rows_are("SELECT id, name, extra FROM t ORDER BY id", "1,NULL,e|2,NULL,e|3,three,e");
    fixture_batch_fini(&batch);
}

static const struct spec_column five[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
    {.name = "n \" `x", .type = COL_BIGINT, .type_given = true, .or_null = true},
    {.name = "ratio", .type = COL_DOUBLE, .type_given = true, .or_null = true},
    {.name = "city", .type = COL_TEXT, .type_given = true, .or_null = true},
};

static enum ps_status
prepare_added(size_t count, size_t added, struct ps_error *err)
{
    struct dest_state state;
    f.columns = five;
    f.column_count = count;
    f.added = added;
    enum ps_status status = fixture_try_prepare(&f, f.uuid, 1, &state, err);
    f.added = 0;
    return status;
}

Test(dest_rows, columns_are_added_to_a_table_that_is_there)
{
    begin_two(KEEPS, "");
    load_one(1, 1, "one");
    struct ps_error err = {0};
    /* Not without a word: as long as nobody says so, a missing column is an error. */
    cr_assert_eq(prepare_added(5, 0, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "table_mismatch");
    cr_assert_eq(prepare_added(3, 1, &err), PS_OK, "%s", err.text);
    cr_assert_eq(prepare_added(5, 3, &err), PS_OK, "%s", err.text); /* one of them is there */
    cr_assert_eq(prepare_added(5, 3, &err), PS_OK, "%s", err.text); /* and again */
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 5, 2);
    fixture_row(&batch, "isids", (int64_t)2, "two", (int64_t)-7, 2.5, "Oslo");
    load_again_is(&batch, DEST_LOADED);
    fixture_batch_fini(&batch);
    /* What was cut before goes in as it is. */
    f.columns = two;
    f.column_count = 2;
    load_one(3, 3, "three");
    rows_are("SELECT id, name, \"n \"\" `x\", ratio, city FROM t ORDER BY id",
             "1,one,NULL,NULL,NULL|2,two,-7,2.5,Oslo|3,three,NULL,NULL,NULL");
}

Test(dest_rows, a_column_that_is_there_already_is_taken_as_it_is)
{
    begin(KEEPS);
    fixture_sql(&f, "CREATE TABLE t(id BIGINT, name VARCHAR(100), ratio DOUBLE PRECISION)");
    fixture_open(&f, "");
    struct ps_error err = {0};
    cr_assert_eq(prepare_added(5, 3, &err), PS_OK, "%s", err.text);
    rows_are("SELECT count(city) FROM t", "0");
}
