/* SPDX-License-Identifier: Apache-2.0 */
/* The check must agree with SQLite itself: whatever it lets pass reads back as the same text, and
 * it never looks away from a text that SQLite would turn into a number. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/dest/dst_sqlite.h"
#include "common/rand.h"

static struct cell
text_cell(const char *text)
{
    return (struct cell){
        .tag = CELL_TEXT, .len = (uint32_t)strlen(text), .ptr = (const uint8_t *)text};
}

static bool
passes(enum dst_sqlite_check check, const char *text)
{
    struct cell cell = text_cell(text);
    return dst_sqlite_value_check(check, &cell) == NULL;
}

Test(dst_sqlite_value, text_into_a_numeric_column)
{
    static const char *const kept[] = {"abc",
                                       "",
                                       "2024-01-02",
                                       "1.2.3",
                                       "12a",
                                       "-",
                                       "0x10",
                                       "1e",
                                       "NaN",
                                       "inf",
                                       ".",
                                       "1,5",
                                       "12",
                                       "-12",
                                       "0",
                                       "1.50",
                                       "0.5",
                                       "-0.25",
                                       "+",
                                       "e5",
                                       "1 2",
                                       "123456789012345",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "1234567890123456"};
    static const char *const changed[] = {"007",
                                          "1e3",
                                          " 12",
                                          "12 ",
                                          "+12",
                                          "12345678901234567890",
                                          "-0",
                                          "1.",
                                          ".5",
                                          "0.1234567890123456",
                                          "1E+2",
                                          "00",
                                          "\t1\n",
                                          "9223372036854775808",
                                          "-9223372036854775809",
                                          "1234567890123456.5"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        cr_expect(passes(CHECK_NUMERIC, kept[i]), "%s", kept[i]);
    }
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        cr_expect_not(passes(CHECK_NUMERIC, changed[i]), "%s", changed[i]);
        cr_expect(passes(CHECK_NOTHING, changed[i]), "%s", changed[i]);
    }
    cr_expect_not(passes(CHECK_REAL, "1234567890123456"), "a double holds fewer digits");
}

Test(dst_sqlite_value, numbers)
{
    struct cell cell = {.tag = CELL_INT, .integer = INT64_C(1) << 53};
    cr_assert_null(dst_sqlite_value_check(CHECK_REAL, &cell));
    cell.integer++;
    cr_assert_not_null(dst_sqlite_value_check(CHECK_REAL, &cell));
    cr_assert_null(dst_sqlite_value_check(CHECK_NUMERIC, &cell));
    cell = (struct cell){.tag = CELL_REAL, .real = 1.5};
    cr_assert_not_null(dst_sqlite_value_check(CHECK_NO_REAL, &cell));
    cr_assert_null(dst_sqlite_value_check(CHECK_REAL, &cell));
}

/* Random short texts over the alphabet of numbers, judged by the library. */
Test(dst_sqlite_value, agrees_with_sqlite)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    cr_assert_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "CREATE TABLE t(n NUMERIC, s TEXT)", NULL, NULL, NULL),
                 SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db,
                                    "INSERT INTO t VALUES(?1, ?1)"
                                    " RETURNING typeof(n), n = CAST(s AS NUMERIC)",
                                    -1, &insert, NULL),
                 SQLITE_OK);
    struct ps_rand rand;
    ps_rand_seed(&rand, 7);
    for (int i = 0; i < 200000; i++) {
        static const char alphabet[] = "0012345.eE+- a";
        char text[24];
        size_t len = ps_rand_below(&rand, 8);
        for (size_t c = 0; c < len; c++) {
            text[c] = alphabet[ps_rand_below(&rand, sizeof alphabet - 1)];
        }
        text[len] = '\0';
        if (i % 4 == 0) { /* around the ends of int64_t */
            uint64_t near = (uint64_t)INT64_MAX + ps_rand_below(&rand, 40) - 20;
            len = (size_t)snprintf(text, sizeof text, "%s%llu", i % 8 == 0 ? "-" : "",
                                   (unsigned long long)near);
        }
        sqlite3_reset(insert);
        sqlite3_bind_text(insert, 1, text, (int)len, SQLITE_STATIC);
        cr_assert_eq(sqlite3_step(insert), SQLITE_ROW);
        bool stays = strcmp((const char *)sqlite3_column_text(insert, 0), "text") == 0;
        bool equal = sqlite3_column_int(insert, 1) != 0;
        if (stays) {
            cr_assert(passes(CHECK_NUMERIC, text), "\"%s\" stays text", text);
        } else if (passes(CHECK_NUMERIC, text)) {
            cr_assert(equal, "\"%s\"", text);
            cr_assert_not(text[0] == '0' && len > 1 && text[1] != '.', "\"%s\"", text);
            cr_assert_null(strpbrk(text, "eE+ "), "\"%s\"", text);
        }
    }
    sqlite3_finalize(insert);
    sqlite3_close(db);
}
