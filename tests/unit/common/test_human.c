/* SPDX-License-Identifier: Apache-2.0 */
#include "common/human.h"

#include <criterion/criterion.h>

#include "common/suggest.h"
#include "common/utf8.h"

Test(human, bytes)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},          {"512", 512},
                {"64KiB", 65536},  {"16MiB", 16 << 20},
                {"1.5KiB", 1536},  {"5MB", 5000000},
                {"1kB", 1000},     {"7B", 7},
                {"0.001MB", 1000}, {"18446744073709551615", UINT64_MAX}};
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "1 KiB",
                                      "1KB",
                                      "1.3",
                                      "1.0001kB",
                                      "1..0",
                                      ".5kB",
                                      "1.kB",
                                      "16EiB",
                                      "1kib",
                                      "99999999999TiB",
                                      "18446744073709551616"};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(ps_human_parse_bytes(good[i].text, &bytes), "%s", good[i].text);
        cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
        char text[PS_HUMAN_BYTES];
        uint64_t again = 0;
        cr_assert(ps_human_parse_bytes(ps_human_format_bytes(bytes, text), &again));
        cr_assert_eq(bytes, again);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(ps_human_parse_bytes(bad[i], &bytes), "%s", bad[i]);
    }
}

Test(human, durations)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},       {"250ms", 250},  {"2s", 2000},     {"1.5s", 1500},
                {"5m", 300000}, {"1h", 3600000}, {"2d", 172800000}};
    static const char *const bad[] = {"", "5", "-1s", "1.0005s", "1 s", "1S", "999999999999d"};
    int64_t ms = 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(ps_human_parse_duration(good[i].text, &ms), "%s", good[i].text);
        cr_assert_eq(ms, good[i].ms);
        char text[PS_HUMAN_BYTES];
        int64_t again = -1;
        cr_assert(ps_human_parse_duration(ps_human_format_duration(ms, text), &again), "%s", text);
        cr_assert_eq(ms, again);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(ps_human_parse_duration(bad[i], &ms), "%s", bad[i]);
    }
}

Test(human, numbers)
{
    int64_t integer = 0;
    double real = 0;
    cr_assert(ps_human_parse_int("-9223372036854775808", &integer));
    cr_assert_eq(integer, INT64_MIN);
    cr_assert_not(ps_human_parse_int("9223372036854775808", &integer));
    cr_assert_not(ps_human_parse_int("+1", &integer));
    cr_assert_not(ps_human_parse_int("-", &integer));
    cr_assert_not(ps_human_parse_int("", &integer));
    cr_assert(ps_human_parse_real("0.125", &real));
    cr_assert_eq(real, 0.125);
    cr_assert_not(ps_human_parse_real("inf", &real));
    cr_assert_not(ps_human_parse_real("1x", &real));
    cr_assert_not(ps_human_parse_real("1e999", &real));
}

Test(human, shown)
{
    char text[PS_HUMAN_BYTES];
    cr_assert_str_eq(ps_human_show_bytes(999, text), "999 B");
    cr_assert_str_eq(ps_human_show_bytes(1234567, text), "1.23 MB");
    cr_assert_str_eq(ps_human_show_bytes(123456789, text), "123 MB");
    cr_assert_str_eq(ps_human_show_count(1234567, text), "1,234,567");
    cr_assert_str_eq(ps_human_show_count(12, text), "12");
    cr_assert_str_eq(ps_human_show_duration(850, text), "850 ms");
    cr_assert_str_eq(ps_human_show_duration(2300, text), "2.3 s");
    cr_assert_str_eq(ps_human_show_duration(187000, text), "3m 07s");
    cr_assert_str_eq(ps_human_show_duration(7500000, text), "2h 05m");
}

Test(suggest, nearest_name)
{
    struct ps_suggest suggest;
    cr_assert_eq(ps_suggest_distance("abcd", "abdc"), 1);
    cr_assert_eq(ps_suggest_distance("", "abc"), 3);
    cr_assert_eq(ps_suggest_distance("Kitten", "sitting"), 3);
    ps_suggest_start(&suggest, "delimter");
    ps_suggest_offer(&suggest, "quote");
    ps_suggest_offer(&suggest, "delimiter");
    cr_assert_str_eq(suggest.best, "delimiter");
    ps_suggest_start(&suggest, "xyz");
    ps_suggest_offer(&suggest, "delimiter");
    cr_assert_null(suggest.best);
}

Test(utf8, valid_and_not)
{
    static const char *const good[] = {"",
                                       "plain ascii text of some length",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xed\x9f\xbf",
                                       "\xf4\x8f\xbf\xbf",
                                       "12345678\xc3\xa9"};
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\x80",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xff",
                                      "\xe2\x82",
                                      "12345678\xff",
                                      "\xf0\x9f\x98"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(ps_utf8_valid(ps_span_str(good[i])), "good %zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(ps_utf8_valid(ps_span_str(bad[i])), "bad %zu", i);
    }
}
