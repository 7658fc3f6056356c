/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "agent/dest/dest_cell.h"
#include "agent/dest/dst_mysql.h"

static struct cell
text_cell(const char *text)
{
    return (struct cell){
        .tag = CELL_TEXT, .len = (uint32_t)strlen(text), .ptr = (const uint8_t *)text};
}

/* The field, or "!" and why there is none. */
static const char *
put_cell(struct dst_mysql_column column, struct cell cell, enum dst_mysql_form form)
{
    static char shown[400];
    struct ps_buf out = PS_BUF_INIT;
    const char *why = dst_mysql_value_put(&column, &cell, form, &out);
    snprintf(shown, sizeof shown, "%s%.*s", why == NULL ? "" : "!",
             why == NULL ? (int)out.len : (int)strlen(why),
             why == NULL ? (const char *)out.ptr : why);
    ps_buf_fini(&out);
    return shown;
}

static const char *
put(struct dst_mysql_column column, const char *text)
{
    return put_cell(column, text_cell(text), MY_FORM_LOAD);
}

#define IS(column, text, field) cr_expect_str_eq(put(column, text), field)
#define REFUSES(column, text) cr_expect_eq(put(column, text)[0], '!', "%s", text)

Test(dst_mysql_value, integers_stay_in_range)
{
    const struct dst_mysql_column tiny = {.type = MY_INT, .low = -128, .high = 127};
    const struct dst_mysql_column big = {.type = MY_UNSIGNED, .high = UINT64_MAX};
    IS(tiny, "127", "127");
    IS(tiny, "-128", "-128");
    IS(tiny, "007", "7");
    IS(tiny, "-0", "0");
    REFUSES(tiny, "128");
    REFUSES(tiny, "-129");
    REFUSES(tiny, "");
    REFUSES(tiny, "1.5");
    REFUSES(tiny, "foo");
    IS(big, "18446744073709551615", "18446744073709551615");
    REFUSES(big, "18446744073709551616");
    REFUSES(big, "-1");
    const struct cell half = {.tag = CELL_REAL, .real = 1.5};
    const struct cell whole = {.tag = CELL_REAL, .real = 12};
    cr_expect_eq(put_cell(tiny, half, MY_FORM_LOAD)[0], '!');
    cr_expect_str_eq(put_cell(tiny, whole, MY_FORM_LOAD), "12");
}

Test(dst_mysql_value, decimals_round_half_away_from_zero_and_never_lose_a_digit_before_the_point)
{
    const struct dst_mysql_column money = {.type = MY_DECIMAL, .precision = 12, .scale = 2};
    const struct dst_mysql_column wide = {.type = MY_DECIMAL, .precision = 38, .scale = 0};
    IS(money, "1.5", "1.5");
    IS(money, "0.005", ".01");
    IS(money, "-0.005", "-.01");
    IS(money, "-0.004", "0");
    IS(money, "9.995", "10.00");
    IS(money, "9999999999.99", "9999999999.99");
    REFUSES(money, "9999999999.995");
    REFUSES(money, "10000000000");
    IS(money, "1e3", "1000");
    IS(money, "1e-400", "0");
    REFUSES(money, "1e400");
    IS(money, "0009.10", "9.10");
    REFUSES(money, "--1");
    REFUSES(money, "1.2.3");
    REFUSES(money, ".");
    REFUSES(money, "NaN");
    IS(wide, "99999999999999999999999999999999999999", "99999999999999999999999999999999999999");
    REFUSES(wide, "100000000000000000000000000000000000000");
    const struct dst_mysql_column positive = {
        .type = MY_DECIMAL, .precision = 5, .scale = 2, .is_unsigned = true};
    REFUSES(positive, "-0.01");
    IS(positive, "-0.001", "0");
}

Test(dst_mysql_value, reals_are_finite_and_exact)
{
    const struct dst_mysql_column wide = {.type = MY_DOUBLE};
    const struct dst_mysql_column narrow = {.type = MY_FLOAT};
    IS(wide, "0.1", "0.1");
    IS(wide, "1e308", "1e+308");
    REFUSES(wide, "NaN");
    REFUSES(wide, "1e309");
    REFUSES(narrow, "1e39");
    const struct cell large = {.tag = CELL_INT, .integer = (INT64_C(1) << 53) + 1};
    const struct cell nan = {.tag = CELL_REAL, .real = NAN};
    cr_expect_eq(put_cell(wide, large, MY_FORM_LOAD)[0], '!');
    cr_expect_eq(put_cell(wide, nan, MY_FORM_LOAD)[0], '!');
}

Test(dst_mysql_value, texts_are_escaped_and_counted_in_characters)
{
    const struct dst_mysql_column five = {.type = MY_CHARS, .most = 5};
    const struct dst_mysql_column bytes = {.type = MY_TEXT, .most = 5};
    IS(five, "äöüßé", "'äöüßé'");
    REFUSES(five, "abc   ");
    REFUSES(bytes, "äöü");
    IS(five, "a'\\\n", "'a\\'\\\\\\n'");
    IS(five, "NULL", "'NULL'");
    IS(five, "\\N", "'\\\\N'");
    const struct dst_mysql_column three = {.type = MY_CHARS, .most = 5, .utf8mb3 = true};
    REFUSES(three, "😀");
    const struct cell null = {.tag = CELL_NULL};
    cr_expect_str_eq(put_cell(five, null, MY_FORM_LOAD), "NULL");
    const struct dst_mysql_column needed = {.type = MY_CHARS, .most = 5, .not_null = true};
    cr_expect_eq(put_cell(needed, null, MY_FORM_LOAD)[0], '!');
    const struct cell blob = {.tag = CELL_BLOB, .len = 2, .ptr = (const uint8_t *)"\xff'"};
    cr_expect_eq(put_cell(five, blob, MY_FORM_LOAD)[0], '!');
    const struct dst_mysql_column binary = {.type = MY_BINARY, .most = 5};
    cr_expect_str_eq(put_cell(binary, blob, MY_FORM_LOAD), "'\xff\\''");
    cr_expect_str_eq(put_cell(binary, blob, MY_FORM_LOAD_HEX), "'FF27'");
    cr_expect_str_eq(put_cell(binary, blob, MY_FORM_LITERAL), "x'FF27'");
}

Test(dst_mysql_value, a_number_is_no_place_in_an_enum)
{
    static char sad[] = "sad";
    static char happy[] = "happy";
    static char *members[] = {sad, happy};
    const struct dst_mysql_column mood = {.type = MY_ENUM, .members = members, .member_count = 2};
    const struct dst_mysql_column moods = {.type = MY_SET, .members = members, .member_count = 2};
    IS(mood, "sad", "'sad'");
    REFUSES(mood, "1");
    REFUSES(mood, "");
    IS(moods, "sad,happy", "'sad,happy'");
    IS(moods, "", "''");
    REFUSES(moods, "sad,");
    REFUSES(moods, "3");
}

Test(dst_mysql_value, times_are_whole_and_zones_are_never_guessed)
{
    const struct dst_mysql_column date = {.type = MY_DATE};
    const struct dst_mysql_column stamp = {.type = MY_DATETIME, .precision = 3};
    struct dst_mysql_column instant = {
        .type = MY_TIMESTAMP, .zone_us = INT64_MIN, .last_us = INT64_C(2147483647999999)};
    const struct dst_mysql_column clock = {.type = MY_TIME};
    IS(date, "2024-02-29", "'2024-02-29'");
    REFUSES(date, "2023-02-29");
    REFUSES(date, "0000-00-00");
    REFUSES(date, "0000-01-01");
    REFUSES(date, "10000-01-01");
    IS(stamp, "2024-01-02T03:04:05.12", "'2024-01-02 03:04:05.120'");
    REFUSES(stamp, "2024-01-02 03:04:05.1234");
    REFUSES(stamp, "2016-12-31 23:59:60");
    REFUSES(stamp, "2024-01-02 03:04:05Z");
    IS(instant, "2024-01-01 00:30:00+02:00", "'2023-12-31 22:30:00'");
    IS(instant, "1970-01-01 00:00:01Z", "'1970-01-01 00:00:01'");
    REFUSES(instant, "1970-01-01 00:00:00Z");
    IS(instant, "2038-01-19 03:14:07Z", "'2038-01-19 03:14:07'");
    REFUSES(instant, "2038-01-19 03:14:08Z");
    REFUSES(instant, "2024-01-01 00:30:00");
    instant.zone_us = INT64_C(7200000000);
    IS(instant, "2024-03-01 00:30:00", "'2024-02-29 22:30:00'");
    IS(clock, "-838:59:59", "'-838:59:59'");
    REFUSES(clock, "839:00:00");
}

Test(dest_cell, days_of_a_date_and_back)
{
    for (int64_t days = -730119; days < 2921940; days += 37) {
        struct dest_date date = dest_date_of(days);
        int64_t back = 0;
        cr_assert(dest_date_days(&date, &back));
        cr_assert_eq(back, days);
    }
    struct dest_date first = dest_date_of(0);
    cr_expect(first.year == 2000 && first.month == 1 && first.day == 1);
}
