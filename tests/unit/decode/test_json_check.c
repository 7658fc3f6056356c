/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "agent/decode/json_check.h"

static enum json_fault
check(const char *text)
{
    return json_check(ps_span_str(text));
}

Test(json_check, takes_one_value_of_every_kind)
{
    static const char *const good[] = {"null",
                                       " true ",
                                       "-12.5e3",
                                       "\"a\\u00e9\\n\"",
                                       "[]",
                                       "{}",
                                       "[1, [2, {\"a\": [] }], \"x\"]",
                                       "{\"a\": {\"b\": null}, \"a\": 1}\n"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_expect_eq(check(good[i]), JSON_OK, "%s", good[i]);
    }
}

Test(json_check, refuses_what_the_grammar_has_not)
{
    static const struct {
        const char *text;
        enum json_fault fault;
    } bad[] = {{"", JSON_END},
               {"  ", JSON_END},
               {"[1", JSON_END},
               {"{\"a\":", JSON_END},
               {"[1,]", JSON_MISSING},
               {"[,1]", JSON_MISSING},
               {"{\"a\":1,}", JSON_STRUCTURE},
               {"{\"a\" 1}", JSON_STRUCTURE},
               {"[1}", JSON_STRUCTURE},
               {"{1: 2}", JSON_STRUCTURE},
               {"01", JSON_TOKEN},
               {"nul", JSON_TOKEN},
               {"1 2", JSON_TRAILING},
               {"[]]", JSON_TRAILING},
               {"\"\\x\"", JSON_ESCAPE},
               {"\"\\u0000\"", JSON_NUL},
               {"\"\\ud800\"", JSON_SURROGATE},
               {"\"a\tb\"", JSON_CONTROL}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(check(bad[i].text), bad[i].fault, "%s: %d", bad[i].text, check(bad[i].text));
    }
}

Test(json_check, counts_brackets_to_its_limit)
{
    struct ps_buf text = PS_BUF_INIT;
    for (unsigned i = 0; i < JSON_DEPTH_MAX; i++) {
        ps_buf_xappend(&text, "[", 1);
    }
    size_t open = text.len;
    for (unsigned i = 0; i < JSON_DEPTH_MAX; i++) {
        ps_buf_xappend(&text, "]", 1);
    }
    cr_expect_eq(json_check(ps_buf_span(&text)), JSON_OK);
    text.len = open;
    cr_expect_eq(json_check(ps_buf_span(&text)), JSON_END);
    ps_buf_xappend(&text, "[", 1);
    cr_expect_eq(json_check(ps_buf_span(&text)), JSON_DEPTH);
    ps_buf_fini(&text);
}
