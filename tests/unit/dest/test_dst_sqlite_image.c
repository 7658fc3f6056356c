/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever goes through an image must stand in the table as if it had gone in cell by cell: same
 * rowids, types and bytes, in a file that SQLite finds whole. */
#include <criterion/criterion.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/dest/dst_sqlite.h"
#include "common/alloc.h"
#include "common/rand.h"
#include "tests/support/dest_fixture.h"

static struct dest_fixture images, cells; /* the same rows by either way */
static struct ps_rand seeded;

static void
set_up(void)
{
    dest_fixture_init(&images);
    dest_fixture_init(&cells);
    ps_rand_seed(&seeded, 20);
}

static void
tear_down(void)
{
    dest_fixture_fini(&images);
    dest_fixture_fini(&cells);
}

TestSuite(dst_sqlite_image, .init = set_up, .fini = tear_down);

static int64_t
any_integer(void)
{
    static const int shifts[] = {0, 1, 7, 8, 15, 16, 23, 24, 31, 32, 47, 48, 53, 62, 63};
    int shift = shifts[ps_rand_below(&seeded, sizeof shifts / sizeof shifts[0])];
    uint64_t value = (UINT64_C(1) << shift) + ps_rand_below(&seeded, 3) - 1;
    return (int64_t)(ps_rand_below(&seeded, 2) == 0 ? value : ~value);
}

static double
any_real(void)
{
    static const double reals[] = {0.0,
                                   0.5,
                                   1.0,
                                   -1.0,
                                   3.14159,
                                   1e300,
                                   -1e-300,
                                   5e-324,
                                   2.0,
                                   127.0,
                                   128.0,
                                   -128.0,
                                   -129.0,
                                   1e15,
                                   1.5e15,
                                   1e18,
                                   -1e19,
                                   1e22,
                                   140737488355327.0,
                                   140737488355328.0,
                                   -140737488355328.0,
                                   -140737488355329.0,
                                   9007199254740993.0,
                                   HUGE_VAL,
                                   -HUGE_VAL,
                                   NAN,
                                   0.1};
    return reals[ps_rand_below(&seeded, sizeof reals / sizeof reals[0])];
}

static size_t
any_length(bool long_ones)
{
    static const size_t lengths[] = {0,  1,  2,   7,   8,   15,  16,   17,    31,    56,   57,
                                     58, 63, 127, 128, 191, 192, 1000, 16000, 40000, 65000};
    size_t count = sizeof lengths / sizeof lengths[0];
    return lengths[ps_rand_below(&seeded, long_ones ? count : count - 4)];
}

struct value {
    char kind;
    int64_t integer;
    double real;
    size_t len;
    char *bytes;
};

static void
put_value(struct fixture_batch *b, struct block_row *row, const struct value *value)
{
    enum ps_status status = PS_BUG;
    switch (value->kind) {
    case 'i':
        status = block_put_int(b->block, row, value->integer);
        break;
    case 'd':
        status = block_put_real(b->block, row, value->real);
        break;
    case 's':
        status = block_put_text(b->block, row, (const uint8_t *)value->bytes, value->len);
        break;
    case 'b':
        status = block_put_blob(b->block, row, (const uint8_t *)value->bytes, value->len);
        break;
    default:
        status = block_put_null(b->block, row);
        break;
    }
    cr_assert_eq(status, PS_OK);
}

static struct value
any_value(enum column_type type, bool odd, bool long_ones)
{
    static char bytes[70000];
    struct value value = {.kind = type == COL_TEXT     ? 's'
                                  : type == COL_BIGINT ? 'i'
                                                       : 'd',
                          .bytes = bytes};
    uint64_t dice = ps_rand_below(&seeded, 20);
    if (dice == 0) {
        value.kind = 'n';
    } else if (dice == 1) {
        value.kind = 'b';
    } else if (odd && dice == 2) {
        value.kind = "ids"[ps_rand_below(&seeded, 3)];
    } else if (dice == 3 && type == COL_DOUBLE) {
        value.kind = 'i';
    }
    value.integer = any_integer();
    value.real = any_real();
    if (value.kind == 's' || value.kind == 'b') {
        value.len = any_length(long_ones);
        for (size_t i = 0; i < value.len; i++) {
            bytes[i] = (char)('a' + ps_rand_below(&seeded, 26));
        }
        if (value.len > 3 && ps_rand_below(&seeded, 3) == 0) {
            memcpy(bytes, "12", 2);
        }
    }
    return value;
}

/* Every cell with its type, as one number. */
static const char *
digest(struct dest_fixture *f, uint32_t ncols)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    cr_assert_eq(sqlite3_open(f->path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, "SELECT rowid, * FROM t ORDER BY rowid", -1, &stmt, NULL),
                 SQLITE_OK);
    uint64_t hash = 14695981039346656037u;
    uint64_t rows = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        rows++;
        for (uint32_t i = 0; i <= ncols; i++) {
            int type = sqlite3_column_type(stmt, (int)i);
            const uint8_t *bytes = type == SQLITE_TEXT
                                       ? (const uint8_t *)sqlite3_column_text(stmt, (int)i)
                                       : sqlite3_column_blob(stmt, (int)i);
            hash = (hash ^ (uint64_t)type) * 1099511628211u;
            for (int c = 0; c < sqlite3_column_bytes(stmt, (int)i); c++) {
                hash = (hash ^ bytes[c]) * 1099511628211u;
            }
            double real = sqlite3_column_double(stmt, (int)i);
            uint64_t bits = 0;
            if (type == SQLITE_FLOAT) {
                memcpy(&bits, &real, sizeof bits);
            } else if (type == SQLITE_INTEGER) {
                bits = (uint64_t)sqlite3_column_int64(stmt, (int)i);
            }
            hash = (hash ^ bits) * 1099511628211u;
        }
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    snprintf(f->text, sizeof f->text, "%llu rows %016llx", (unsigned long long)rows,
             (unsigned long long)hash);
    return f->text;
}

struct shape {
    uint32_t ncols;
    int rows;
    bool odd;       /* values that no image takes, here and there */
    bool long_ones; /* rows longer than a page */
    bool free_type; /* columns without a type */
    bool wants_image;
    bool no_mmap; /* pages are copied and cached by SQLite */
};

static void
load_both(struct fixture_batch *a, struct fixture_batch *b)
{
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(&images, a, &err), PS_OK, "%s", err.text);
    cr_assert_eq(fixture_load(&cells, b, &err), PS_OK, "%s", err.text);
    cr_assert_eq(a->result.counts.inserted, b->result.counts.inserted);
    cr_assert_eq(a->result.counts.rejected_at_load, b->result.counts.rejected_at_load);
}

static void
same_both_ways(struct shape shape)
{
    struct spec_column *columns = ps_xcalloc(shape.ncols, sizeof *columns);
    for (uint32_t i = 0; i < shape.ncols; i++) {
        columns[i].name = ps_xasprintf("c%u", i);
        columns[i].type = i % 3 == 0 ? COL_TEXT : i % 3 == 1 ? COL_BIGINT : COL_DOUBLE;
        columns[i].type_given = true;
        columns[i].on_mismatch = shape.free_type ? MISMATCH_TEXT : MISMATCH_REJECT;
    }
    fixture_open(&images, "");
    fixture_prepare(&images, columns, shape.ncols);
    fixture_open(&cells, "  on_conflict: skip\n");
    fixture_prepare(&cells, columns, shape.ncols);
    cr_assert_eq(dst_sqlite_of(images.dest)->image_on, shape.wants_image);
    cr_assert_not(dst_sqlite_of(cells.dest)->image_on);
    if (shape.no_mmap) {
        cr_assert_eq(sqlite3_exec(dst_sqlite_of(images.dest)->db,
                                  "PRAGMA penstock_rows.mmap_size=0", NULL, NULL, NULL),
                     SQLITE_OK);
    }
    for (unsigned number = 0; number < 3; number++) {
        struct fixture_batch a, b;
        fixture_batch_init(&images, &a, shape.ncols, number);
        fixture_batch_init(&cells, &b, shape.ncols, number);
        for (int i = 0; i < shape.rows; i++) {
            struct block_row row_a = fixture_row_begin(&a);
            struct block_row row_b = fixture_row_begin(&b);
            for (uint32_t c = 0; c < shape.ncols; c++) {
                struct value value = any_value(columns[c].type, shape.odd && i % 1000 == 999,
                                               shape.long_ones && i % 50 == 7);
                put_value(&a, &row_a, &value);
                put_value(&b, &row_b, &value);
            }
            fixture_row_end(&a, &row_a);
            fixture_row_end(&b, &row_b);
        }
        load_both(&a, &b);
        fixture_batch_fini(&a);
        fixture_batch_fini(&b);
    }
    cr_assert_str_eq(digest(&images, shape.ncols), digest(&cells, shape.ncols));
    cr_assert_str_eq(fixture_text(&images, "PRAGMA integrity_check"), "ok");
    cr_assert_str_eq(fixture_text(&images, "SELECT count(*) > 0 FROM t"), "1");
    for (uint32_t i = 0; i < shape.ncols; i++) {
        ps_free((void *)(uintptr_t)columns[i].name);
    }
    ps_free(columns);
}

Test(dst_sqlite_image, one_column)
{
    same_both_ways((struct shape){.ncols = 1, .rows = 40000, .wants_image = true});
}

Test(dst_sqlite_image, sixteen_columns)
{
    same_both_ways((struct shape){.ncols = 16, .rows = 8000, .wants_image = true});
}

Test(dst_sqlite_image, pages_that_are_cached)
{
    same_both_ways((struct shape){.ncols = 16, .rows = 8000, .wants_image = true, .no_mmap = true});
}

Test(dst_sqlite_image, pages_that_are_cached_and_one_row)
{
    same_both_ways((struct shape){.ncols = 3, .rows = 1, .wants_image = true, .no_mmap = true});
}

Test(dst_sqlite_image, one_row)
{
    same_both_ways((struct shape){.ncols = 3, .rows = 1, .wants_image = true});
}

Test(dst_sqlite_image, more_than_one_byte_of_header)
{
    same_both_ways((struct shape){.ncols = 130, .rows = 900, .wants_image = true});
}

Test(dst_sqlite_image, hundreds_of_columns)
{
    same_both_ways((struct shape){.ncols = 300, .rows = 200, .wants_image = true});
}

Test(dst_sqlite_image, more_columns_than_the_schema_page_takes)
{
    same_both_ways((struct shape){.ncols = 1200, .rows = 50, .wants_image = false});
}

Test(dst_sqlite_image, odd_values_go_another_way)
{
    same_both_ways((struct shape){.ncols = 4, .rows = 30000, .odd = true, .wants_image = true});
}

Test(dst_sqlite_image, rows_longer_than_a_page)
{
    same_both_ways(
        (struct shape){.ncols = 5, .rows = 1200, .long_ones = true, .wants_image = true});
}

Test(dst_sqlite_image, columns_without_a_type)
{
    same_both_ways((struct shape){
        .ncols = 5, .rows = 8000, .odd = true, .free_type = true, .wants_image = true});
}

/* Where the table could object, or would change a value, SQLite itself says that records are not
 * to be transferred. */
Test(dst_sqlite_image, is_not_used_where_it_could_matter)
{
    static const char *const tables[] = {
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE t(id INTEGER UNIQUE, name TEXT)",
        "CREATE TABLE t(id INTEGER NOT NULL, name TEXT)",
        "CREATE TABLE t(id INTEGER CHECK (id > 0), name TEXT)",
        "CREATE TABLE t(id INTEGER, name TEXT, UNIQUE (id, name))",
        "CREATE TABLE t(id INTEGER, name TEXT); CREATE INDEX i ON t(name)",
        "CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(1);"
        "CREATE TABLE t(id INTEGER REFERENCES p(id), name TEXT)",
        "CREATE TABLE t(id INTEGER, name TEXT) STRICT",
        "CREATE TABLE t(id INTEGER, name TEXT, PRIMARY KEY (id)) WITHOUT ROWID",
        "CREATE TABLE t(id INTEGER, name TEXT, more TEXT)",
        "CREATE TABLE t(id INTEGER, name TEXT, g AS (id + 1))",
        "CREATE TABLE t(id NUMERIC, name TEXT)",
        "CREATE TABLE t(id INTEGER, name NUMERIC)",
        "CREATE TABLE t(id TEXT, name TEXT)",
        "CREATE TABLE t(id INTEGER, name TEXT); CREATE TRIGGER r BEFORE INSERT ON t BEGIN"
        " SELECT RAISE(IGNORE) WHERE new.id < 0; END",
        "PRAGMA encoding='UTF-16le'; CREATE TABLE t(id INTEGER, name TEXT)",
    };
    static const struct spec_column two[] = {
        {.name = "id", .type = COL_BIGINT, .type_given = true},
        {.name = "name", .type = COL_TEXT, .type_given = true},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        remove(images.path);
        fixture_sql(&images, tables[i]);
        fixture_open(&images, "");
        fixture_prepare(&images, two, 2);
        cr_expect_not(dst_sqlite_of(images.dest)->image_on, "%s", tables[i]);
        struct fixture_batch batch;
        fixture_batch_init(&images, &batch, 2, 1);
        fixture_row(&batch, "is", (int64_t)1, "x");
        struct ps_error err = {0};
        cr_expect_eq(fixture_load(&images, &batch, &err), PS_OK, "%s: %s", tables[i], err.text);
        cr_expect_eq(batch.result.counts.inserted, 1, "%s", tables[i]);
        fixture_batch_fini(&batch);
        fixture_close(&images);
    }
}

/* The owner changes the table between two batches of one connection. */
Test(dst_sqlite_image, the_table_changes_under_it)
{
    static const struct spec_column two[] = {
        {.name = "id", .type = COL_BIGINT, .type_given = true},
        {.name = "name", .type = COL_TEXT, .type_given = true},
    };
    static const char *const changes[] = {"", "CREATE UNIQUE INDEX i ON t(id)", "DROP INDEX i",
                                          "", "ALTER TABLE t ADD COLUMN more",  ""};
    /* After a change, one batch goes the other way. */
    static const bool on[] = {true, false, false, true, false, false};
    fixture_open(&images, "");
    fixture_prepare(&images, two, 2);
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        fixture_sql(&images, changes[i]);
        struct fixture_batch batch;
        fixture_batch_init(&images, &batch, 2, i);
        fixture_row(&batch, "is", (int64_t)i, "x");
        fixture_row(&batch, "is", (int64_t)(i == 1 ? 0 : 100 + i), "x");
        struct ps_error err = {0};
        cr_assert_eq(fixture_load(&images, &batch, &err), PS_OK, "%u: %s", i, err.text);
        cr_assert_eq(batch.result.counts.inserted, i == 1 ? 1 : 2, "%u", i);
        cr_assert_eq(dst_sqlite_of(images.dest)->image_on, on[i], "%u", i);
        fixture_batch_fini(&batch);
    }
    cr_assert_str_eq(fixture_text(&images, "SELECT count(*) FROM t"), "11");
    cr_assert_str_eq(fixture_text(&images, "PRAGMA integrity_check"), "ok");
}
