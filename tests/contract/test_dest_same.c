/* SPDX-License-Identifier: Apache-2.0 */
/* Where databases would answer one load differently, all destinations answer the same: a NULL where
 * none may be, what rows of one key in a batch count as, and which columns an update sets. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/support/dest_contract.h"

TestSuite(dest_same, .fini = contract_end);

static const struct spec_column keyed[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
    {.name = "ts", .type = COL_BIGINT, .type_given = true},
};

#define LAST "  last_commit_wins: true\n"
#define BY_TS "  order_by: ts\n"

/* ---- a NULL where the column is NOT NULL */

#define NULL_REJECT ",type,is NULL, and the column is NOT NULL"

static void
nulls_are_of_the_type(const char *more)
{
    begin_table("CREATE TABLE t(id BIGINT NOT NULL PRIMARY KEY,"
                " name VARCHAR(20) NOT NULL CHECK (name <> 'bad'))",
                more);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "a");
    fixture_row(&batch, "in", (int64_t)2);
    fixture_row(&batch, "is", (int64_t)3, "bad");
    fixture_row(&batch, "ns", "x");
    fixture_row(&batch, "is", (int64_t)4, "b");
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 2);
    cr_assert_eq(batch.result.counts.rejected_at_load, 3);
    fixture_batch_fini(&batch);
    rows_are("SELECT id, name FROM t ORDER BY id", "1,a|4,b");
    rows_are(
        "SELECT line, \"column\", code, reason FROM t_rejects WHERE code = 'type' ORDER BY line",
        "2,name" NULL_REJECT "|4,id" NULL_REJECT);
    rows_are("SELECT line, code FROM t_rejects WHERE code <> 'type'", "3,constraint");
}

Test(dest_same, a_null_is_of_the_type)
{
    nulls_are_of_the_type("");
}

Test(dest_same, a_null_is_of_the_type_for_skip)
{
    nulls_are_of_the_type("  key: [id]\n  on_conflict: skip\n");
}

Test(dest_same, a_null_is_of_the_type_for_update)
{
    nulls_are_of_the_type("  key: [id]\n  on_conflict: update\n" LAST);
}

Test(dest_same, a_null_is_of_the_type_where_the_table_is_made)
{
    begin_two(KEEPS, "  key: [id]\n");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "ns", "x");
    fixture_row(&batch, "is", (int64_t)1, "a");
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
    rows_are("SELECT line, \"column\", code, reason FROM t_rejects", "1,id" NULL_REJECT);
}

/* The table is loaded with one NULL in its column name, which is refused. */
static void
its_null_is_refused(const char *table)
{
    begin(KEEPS);
    fixture_sql(&f, table);
    fixture_open(&f, "");
    fixture_prepare(&f, keyed, 3);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 3, 1);
    fixture_row(&batch, "isi", (int64_t)1, "a", (int64_t)1);
    fixture_row(&batch, "ini", (int64_t)2, (int64_t)1);
    fixture_row(&batch, "isi", (int64_t)3, "b", (int64_t)1);
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
    rows_are("SELECT id, name FROM t ORDER BY id", "1,a|3,b");
    rows_are("SELECT line, \"column\", code, reason FROM t_rejects", "2,name" NULL_REJECT);
}

Test(dest_same, a_null_beside_what_only_the_server_reads)
{
    bool has_money = strcmp(contract_scheme(), "postgresql") == 0;
    its_null_is_refused(has_money ? "CREATE TABLE t(id BIGINT, name VARCHAR(20) NOT NULL, ts MONEY)"
                                  : "CREATE TABLE t(id BIGINT, name VARCHAR(20) NOT NULL,"
                                    " ts VARCHAR(20))");
}

Test(dest_same, a_null_that_only_the_server_finds)
{
    if (strcmp(contract_scheme(), "postgresql") == 0) {
        its_null_is_refused("CREATE TABLE t(id BIGINT, name VARCHAR(20), ts BIGINT)"
                            " PARTITION BY RANGE (id);"
                            "CREATE TABLE part PARTITION OF t(name NOT NULL) DEFAULT");
    }
}

/* ---- rows of one key */

struct keyed_row {
    const char *kinds; /* of fixture_row */
    int64_t id;
    const char *name;
    int64_t ts;
};

/* Behind (1, 'old', 10) and (2, 'old', NULL). */
static const struct keyed_row meeting[] = {
    {"isi", 1, "a", 5},   {"isi", 1, "b", 12}, {"isi", 1, "c", 11}, {"isi", 1, "d", 12},
    {"isn", 2, "e", 0},   {"isi", 2, "f", 3},  {"isn", 2, "g", 0},  {"isn", 3, "h", 0},
    {"isi", 5, "bad", 1}, {"isi", 3, "i", 1},  {"isi", 3, "j", 0},  {"nsi", 0, "k", 1},
    {"nsi", 0, "l", 1},   {"isi", 4, "m", 1},  {"isi", 4, "n", 1},
};
enum { MEETING = sizeof meeting / sizeof meeting[0] };

static void
put_keyed(struct fixture_batch *batch, const struct keyed_row *row)
{
    bool no_key = row->kinds[0] == 'n';
    if (no_key) {
        fixture_row(batch, row->kinds, row->name, row->ts);
    } else {
        fixture_row(batch, row->kinds, row->id, row->name, row->ts);
    }
}

static void
add_counts(struct dest_counts *sum, const struct dest_counts *counts)
{
    sum->decoded += counts->decoded;
    sum->inserted += counts->inserted;
    sum->updated += counts->updated;
    sum->skipped += counts->skipped;
    sum->rejected_at_load += counts->rejected_at_load;
}

/* The rows in batches of so many each, from the given number on; the next one comes back. */
static unsigned
load_keyed(const struct keyed_row *rows, size_t count, size_t a_batch, unsigned number,
           struct dest_counts *sum)
{
    for (size_t i = 0; i < count; number++) {
        struct fixture_batch batch;
        fixture_batch_init(&f, &batch, 3, number);
        for (size_t k = 0; k < a_batch && i < count; k++) {
            put_keyed(&batch, &rows[i++]);
        }
        load_again_is(&batch, DEST_LOADED);
        add_counts(sum, &batch.result.counts);
        fixture_batch_fini(&batch);
    }
    return number;
}

static void
counts_are(const struct dest_counts *counts, const struct dest_counts *expected, size_t a_batch)
{
    cr_assert(counts->inserted == expected->inserted && counts->updated == expected->updated &&
                  counts->skipped == expected->skipped &&
                  counts->rejected_at_load == expected->rejected_at_load,
              "%zu rows a batch: %" PRIu64 " inserted, %" PRIu64 " updated, %" PRIu64
              " skipped, %" PRIu64 " rejected",
              a_batch, counts->inserted, counts->updated, counts->skipped,
              counts->rejected_at_load);
    cr_assert_eq(counts->decoded,
                 counts->inserted + counts->updated + counts->skipped + counts->rejected_at_load);
}

/* However they are cut into batches, and with a refused row among them or not. */
static void
they_meet(const char *more, const char *rows, const struct dest_counts *counts)
{
    static const size_t cuts[] = {MEETING, 1, 4, 7};
    begin(KEEPS);
    fixture_sql(&f, "CREATE TABLE t(id BIGINT UNIQUE, name VARCHAR(20), ts BIGINT,"
                    " CHECK (name <> 'bad'))");
    fixture_open(&f, more);
    fixture_prepare(&f, keyed, 3);
    unsigned number = 1;
    for (size_t i = 0; i < 2 * sizeof cuts / sizeof cuts[0]; i++) {
        struct keyed_row given[MEETING];
        size_t count = 0;
        bool without = i % 2 == 1;
        for (size_t k = 0; k < MEETING; k++) {
            if (!without || strcmp(meeting[k].name, "bad") != 0) {
                given[count++] = meeting[k];
            }
        }
        fixture_sql(&f, "DELETE FROM t; INSERT INTO t VALUES(1, 'old', 10), (2, 'old', NULL)");
        struct dest_counts sum = {0};
        struct dest_counts expected = *counts;
        expected.rejected_at_load = without ? 0 : 1;
        number = load_keyed(given, count, cuts[i / 2], number, &sum);
        rows_are("SELECT id, name, ts FROM t WHERE id IS NOT NULL ORDER BY id", rows);
        rows_are("SELECT name FROM t WHERE id IS NULL ORDER BY name", "k|l");
        counts_are(&sum, &expected, cuts[i / 2]);
    }
}

Test(dest_same, each_update_of_a_key_counts)
{
    they_meet("  key: [id]\n  on_conflict: update\n" LAST, "1,d,12|2,g,NULL|3,j,0|4,n,1",
              &(struct dest_counts){.inserted = 4, .updated = 10});
}

Test(dest_same, each_replacement_of_a_key_counts)
{
    they_meet("  key: [id]\n  on_conflict: replace\n" LAST, "1,d,12|2,g,NULL|3,j,0|4,n,1",
              &(struct dest_counts){.inserted = 4, .updated = 10});
}

Test(dest_same, who_loses_by_order_is_skipped)
{
    they_meet("  key: [id]\n  on_conflict: update\n" BY_TS, "1,d,12|2,f,3|3,i,1|4,n,1",
              &(struct dest_counts){.inserted = 4, .updated = 6, .skipped = 4});
}

Test(dest_same, who_comes_later_is_skipped)
{
    they_meet("  key: [id]\n  on_conflict: skip\n", "1,old,10|2,old,NULL|3,h,NULL|4,m,1",
              &(struct dest_counts){.inserted = 4, .skipped = 10});
}

Test(dest_same, a_loser_beside_rows_without_a_key)
{
    static const struct keyed_row rows[] = {
        {"isi", 1, "a", 5}, {"nsi", 0, "k", 1}, {"isi", 4, "m", 1}, {"isi", 2, "f", 3}};
    begin(KEEPS);
    fixture_sql(&f, "CREATE TABLE t(id BIGINT UNIQUE, name VARCHAR(20), ts BIGINT);"
                    "INSERT INTO t VALUES(1, 'old', 10), (2, 'old', NULL)");
    fixture_open(&f, "  key: [id]\n  on_conflict: update\n" BY_TS);
    fixture_prepare(&f, keyed, 3);
    struct dest_counts sum = {0};
    (void)load_keyed(rows, 4, 4, 1, &sum);
    counts_are(&sum, &(struct dest_counts){.inserted = 2, .updated = 1, .skipped = 1}, 4);
}

/* (1, 'x') stands there, and both columns are unique. */
static void
skip_among(const char *more, const char *rejects, const struct dest_counts *counts)
{
    static const struct keyed_row rows[] = {
        {"isi", 1, "y", 0}, {"isi", 2, "x", 0}, {"isi", 3, "z", 0}};
    begin(KEEPS);
    fixture_sql(&f, "CREATE TABLE t(id BIGINT PRIMARY KEY, name VARCHAR(20) UNIQUE, ts BIGINT);"
                    "INSERT INTO t VALUES(1, 'x', 0)");
    fixture_open(&f, more);
    fixture_prepare(&f, keyed, 3);
    struct dest_counts sum = {0};
    (void)load_keyed(rows, 3, 3, 1, &sum);
    rows_are("SELECT id, name FROM t ORDER BY id", "1,x|3,z");
    rows_are("SELECT line, code FROM t_rejects", rejects);
    counts_are(&sum, counts, 3);
}

Test(dest_same, skip_heeds_the_key_that_is_given)
{
    skip_among("  key: [id]\n  on_conflict: skip\n", "2,constraint",
               &(struct dest_counts){.inserted = 1, .skipped = 1, .rejected_at_load = 1});
}

Test(dest_same, skip_without_a_key_heeds_any)
{
    skip_among("  on_conflict: skip\n", "", &(struct dest_counts){.inserted = 1, .skipped = 2});
}

/* ---- destination.update */

static void
only_these_are_set(const char *more, const struct keyed_row *rows, size_t count,
                   const char *expected, const struct dest_counts *counts)
{
    static const size_t cuts[] = {100, 1, 2};
    begin(KEEPS);
    fixture_sql(&f, "CREATE TABLE t(id BIGINT UNIQUE, name VARCHAR(20), ts BIGINT,"
                    " extra VARCHAR(9) DEFAULT 'd')");
    fixture_open(&f, more);
    fixture_prepare(&f, keyed, 3);
    unsigned number = 1;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        struct dest_counts sum = {0};
        fixture_sql(&f, "DELETE FROM t; INSERT INTO t VALUES(1, 'old', 10, 'kept')");
        number = load_keyed(rows, count, cuts[i], number, &sum);
        rows_are("SELECT id, name, ts, extra FROM t ORDER BY id", expected);
        counts_are(&sum, counts, cuts[i]);
    }
}

Test(dest_same, an_update_sets_only_the_columns_that_are_named)
{
    static const struct keyed_row rows[] = {
        {"isi", 1, "a", 11}, {"isi", 2, "b", 1}, {"isi", 2, "c", 2}, {"isi", 1, "d", 9}};
    only_these_are_set("  key: [id]\n  on_conflict: update\n  update: [ts]\n" LAST, rows, 4,
                       "1,old,9,kept|2,b,2,d", &(struct dest_counts){.inserted = 1, .updated = 3});
}

Test(dest_same, an_update_by_order_sets_only_the_columns_that_are_named)
{
    static const struct keyed_row rows[] = {{"isi", 1, "a", 5},
                                            {"isi", 1, "b", 11},
                                            {"isi", 2, "c", 3},
                                            {"isi", 2, "d", 2},
                                            {"isi", 2, "e", 4}};
    only_these_are_set("  key: [id]\n  on_conflict: update\n  update: [TS]\n" BY_TS, rows, 5,
                       "1,old,11,kept|2,c,4,d",
                       &(struct dest_counts){.inserted = 1, .updated = 2, .skipped = 2});
}

/* ---- names in upper and lower case are one */

static void
spelled_otherwise(const char *table)
{
    static const struct keyed_row rows[] = {
        {"isi", 1, "a", 5}, {"isi", 1, "b", 11}, {"isi", 1, "c", 7}, {"isi", 2, "d", 1}};
    begin(KEEPS);
    if (table != NULL) {
        fixture_sql(&f, table);
    }
    fixture_open(&f, "  key: [ID]\n  on_conflict: update\n  update: [Name, tS]\n  order_by: Ts\n");
    fixture_prepare(&f, keyed, 3);
    struct dest_counts sum = {0};
    (void)load_keyed(rows, 4, 2, 1, &sum);
    rows_are("SELECT id, name, ts FROM t ORDER BY id", "1,b,11|2,d,1");
    counts_are(&sum, &(struct dest_counts){.inserted = 2, .updated = 1, .skipped = 1}, 2);
}

Test(dest_same, names_are_spelled_otherwise)
{
    spelled_otherwise("CREATE TABLE t(id BIGINT UNIQUE, name VARCHAR(20), ts BIGINT)");
}

Test(dest_same, names_are_spelled_otherwise_than_in_the_table_that_is_made)
{
    spelled_otherwise(NULL);
}

/* Where columns are found from a sample, the spec cannot tell. */
Test(dest_same, an_update_of_a_column_that_is_not_loaded)
{
    begin(KEEPS);
    fixture_sql(&f,
                "CREATE TABLE t(id BIGINT PRIMARY KEY, name VARCHAR(20), ts BIGINT, nope BIGINT)");
    fixture_open(&f, "  key: [id]\n  on_conflict: update\n  update: [ts, nope]\n" LAST);
    struct dest_state state;
    struct ps_error err = {0};
    f.columns = keyed;
    f.column_count = 3;
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 1, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "table_mismatch");
    cr_assert_not_null(strstr(err.text, "destination.update: there is no column nope"), "%s",
                       err.text);
}
