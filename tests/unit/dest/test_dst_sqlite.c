/* SPDX-License-Identifier: Apache-2.0 */
/* What SQLite's file, its types and its words for a refused row are like; what every destination
 * promises stands in tests/contract/test_dest_*.c. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/dest_contract.h"

static void
set_up(void)
{
    dest_fixture_init(&f);
}

TestSuite(dst_sqlite, .init = set_up, .fini = contract_end);

Test(dst_sqlite, guilty_rows_only)
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
        "type:name:is NULL, and the column is NOT NULL");
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

Test(dst_sqlite, foreign_keys_deferred_and_to_itself)
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

Test(dst_sqlite, foreign_key_to_itself_at_once)
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

/* ---- values */

Test(dst_sqlite, every_value_reads_back_with_its_type)
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

Test(dst_sqlite, a_value_that_the_column_would_change_is_a_reject)
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

Test(dst_sqlite, strict_table_and_integer_key)
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

Test(dst_sqlite, a_type_that_does_not_fit)
{
    fixture_sql(&f, "CREATE TABLE t(ID INTEGER, d VARCHAR(9))");
    static const struct spec_column columns[] = {{.name = "id", .type = COL_BIGINT},
                                                 {.name = "d", .type = COL_DOUBLE}};
    struct dest_state state;
    struct ps_error err = {0};
    fixture_open(&f, "");
    f.columns = columns;
    f.column_count = 2;
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 1, &state, &err), PS_REFUSED);
    cr_assert_not_null(strstr(err.text, "\"d\" has type VARCHAR(9)"), "%s", err.text);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM sqlite_schema"), "1");
}

Test(dst_sqlite, the_owners_file_keeps_its_mode_and_page_size)
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

Test(dst_sqlite, a_new_file)
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

Test(dst_sqlite, another_file_is_not_visible)
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

Test(dst_sqlite, a_file_that_is_no_database)
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
