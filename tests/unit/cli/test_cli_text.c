/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_spec.h"
#include "cli/cli_text.h"
#include "common/alloc.h"

static void
safe_is(const char *in, const char *want)
{
    struct ps_buf out = PS_BUF_INIT;
    cli_text_safe(&out, in);
    cr_expect_str_eq(ps_buf_str(&out), want);
    ps_buf_fini(&out);
}

Test(cli_text, names_cannot_move_the_cursor)
{
    safe_is("plain.csv", "plain.csv");
    safe_is("größe €", "größe €");
    safe_is("a\x1b[2Jb\n", "a\\x1b[2Jb\\x0a");
    safe_is("\xff\xc3", "\\xff\\xc3");
    safe_is("\xc2\x9b", "\\xc2\\x9b");          /* a C1 control */
    safe_is("\xe2\x80\xae", "\\xe2\\x80\\xae"); /* right-to-left override */
    safe_is("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* a surrogate */
    safe_is("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
}

Test(cli_text, fits)
{
    struct ps_buf out = PS_BUF_INIT;
    cli_text_fit(&out, "flights-0001.csv", 10);
    cr_expect_str_eq(ps_buf_str(&out), "fli…01.csv");
    cr_expect_eq(cli_text_width(ps_buf_str(&out), out.len), 10);
    ps_buf_clear(&out);
    cli_text_fit(&out, "short", 10);
    cr_expect_str_eq(ps_buf_str(&out), "short");
    ps_buf_clear(&out);
    cli_text_fit(&out, "größer", 0);
    cr_expect_eq(out.len, 0);
    ps_buf_fini(&out);
}

Test(cli_text, figures)
{
    char out[CLI_TEXT_BYTES];
    cr_expect_str_eq(cli_text_short(312456, out), "312k");
    cr_expect_str_eq(cli_text_short(999, out), "999");
    cr_expect_str_eq(cli_text_short(999600, out), "1.0M");
    cr_expect_str_eq(cli_text_rate(2120000000, 10000, out), "212 MB/s");
    cr_expect_str_eq(cli_text_rate(100, 0, out), "0 kB/s");
}

Test(cli_text, table)
{
    struct cli_table table;
    struct ps_buf out = PS_BUF_INIT;
    cli_table_init(&table, 3);
    table.right[1] = true;
    static const char *const cells[] = {"NAME", "ROWS", "REASON", "größe", "7",
                                        "",     "b",    "123",    "x\ny"};
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        cli_table_cell(&table, cells[i]);
    }
    cli_table_print(&table, &out);
    cr_expect_str_eq(ps_buf_str(&out), "NAME   ROWS  REASON\n"
                                       "größe     7  -\n"
                                       "b       123  x\\x0ay\n");
    cli_table_fini(&table);
    ps_buf_fini(&out);
}

Test(cli_text, json_members)
{
    json_t *doc = json_loads("{\"a\":{\"n\":\"18446744073709551615\",\"i\":5,\"t\":\"x\"},"
                             "\"raw_b64\":\"aGkK\",\"flag\":true}",
                             0, NULL);
    cr_expect_eq(cli_json_u64(doc, "a.n"), UINT64_MAX);
    cr_expect_eq(cli_json_u64(doc, "a.i"), 5);
    cr_expect_eq(cli_json_u64(doc, "a.missing.x"), 0);
    cr_expect_str_eq(cli_json_str(doc, "a.t"), "x");
    cr_expect_str_eq(cli_json_str(doc, "nothing"), "");
    cr_expect(cli_json_bool(doc, "flag"));
    struct ps_buf name = PS_BUF_INIT;
    cli_json_name(doc, "raw", &name);
    cr_expect_str_eq(ps_buf_str(&name), "hi\\x0a");
    ps_buf_fini(&name);
    json_decref(doc);
}

static void
text_is(char *own_text, const char *want)
{
    if (want == NULL) {
        cr_expect_null(own_text);
    } else {
        cr_assert_not_null(own_text, "%s", want);
        cr_expect_str_eq(own_text, want);
    }
    ps_free(own_text);
}

Test(cli_spec, patterns_are_joined)
{
    static const char *const two[] = {"/a/x.csv", "/a/y.csv"};
    static const char *const apart[] = {"/a/x.csv", "/ab/y.csv", "/c,d/*.csv"};
    static const char *const nested[] = {"/a/{x,y}.csv", "/a/z\\,.csv"};
    text_is(cli_spec_join(two, 1), "/a/x.csv");
    text_is(cli_spec_join(two, 2), "/a/{x.csv,y.csv}");
    text_is(cli_spec_join(apart, 3), "/{a/x.csv,ab/y.csv,c\\,d/*.csv}");
    text_is(cli_spec_join(nested, 2), "/a/{{x,y}.csv,z\\,.csv}");
    text_is(cli_spec_escape("/a/b[1]{2},*.csv"), "/a/b\\[1\\]\\{2\\}\\,\\*.csv");
}

Test(cli_spec, names)
{
    text_is(cli_spec_name_of("/x/flights.csv.gz"), "flights");
    text_is(cli_spec_name_of("Data 2024 (1).csv"), "Data_2024__1");
    text_is(cli_spec_name_of("_hidden.csv"), "hidden");
    text_is(cli_spec_name_of("*.csv"), NULL);
}

Test(cli_spec, urls_become_absolute)
{
    text_is(cli_spec_absolute_url("data/*.csv", "/b"), "file:/b/data/*.csv");
    text_is(cli_spec_absolute_url("file:///x/../y.csv", "/b"), "file:/y.csv");
    text_is(cli_spec_absolute_url("sqlite:air.db", "/b"), "sqlite:/b/air.db");
    text_is(cli_spec_absolute_url("sqlite:/air.db", "/b"), "sqlite:/air.db");
    text_is(cli_spec_absolute_url("gen:", "/b"), "gen:");
    text_is(cli_spec_absolute_url("${env:DATA}/x.csv", "/b"), "${env:DATA}/x.csv");
}
