/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 8259, sentence by sentence: what it has is a record, what it has not is a reject. */
#include <criterion/criterion.h>

#include "tests/support/decode_log.h"
#include "tests/support/json_samples.h"

/* Values that the grammar has. */
static const char *const good[] = {
    "0",
    "-0",
    "1",
    "-1",
    "10",
    "0.0",
    "-0.5",
    "1.5e3",
    "1E+2",
    "1e-2",
    "0e0",
    "123456789012345678901234567890",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\\u0041\\u00e9\\uFFFF\"",
    "\"\\uD83D\\uDE00\"",
    "\"\x7F\"",
    "\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"",
    "[]",
    "[ ]",
    "{}",
    "{ }",
    "[1]",
    "[1,2]",
    "[[],[[]]]",
    "{\"a\":{}}",
    "{\"\":0}",
    "{\"a\":1,\"a\":2}",
    "[\t1\r, 2 ]",
    "{\"x\" : [ {\"y\" : null } ] }",
    "\"\xE2\x80\xA8\"",
    "[\"a\",1,true,null,{},[]]",
};

/* What it has not, and what we say of it. */
static const struct {
    const char *text;
    const char *code;
} bad[] = {
    {"", "bad_json"},
    {"nul", "bad_json"},
    {"True", "bad_json"},
    {"NaN", "bad_json"},
    {"Infinity", "bad_json"},
    {"-Infinity", "bad_json"},
    {"undefined", "bad_json"},
    {"+1", "bad_json"},
    {"01", "bad_json"},
    {"-01", "bad_json"},
    {"00", "bad_json"},
    {".5", "bad_json"},
    {"1.", "bad_json"},
    {"-", "bad_json"},
    {"--1", "bad_json"},
    {"1e", "bad_json"},
    {"1e+", "bad_json"},
    {"1.e1", "bad_json"},
    {"0x10", "bad_json"},
    {"1_000", "bad_json"},
    {"1 2", "bad_json"},
    {"1a", "bad_json"},
    {"1\"", "bad_json"},
    {"\xEF\xBC\x91", "bad_json"},
    {"truex", "bad_json"},
    {"'a'", "bad_json"},
    {"\"", "bad_json"},
    {"\"a", "bad_json"},
    {"\"a\\\"", "bad_json"},
    {"\"\t\"", "bad_json"},
    {"\"\x1F\"", "bad_json"},
    {"\"\x01\"", "bad_json"},
    {"\"\\x\"", "bad_escape"},
    {"\"\\a\"", "bad_escape"},
    {"\"\\'\"", "bad_escape"},
    {"\"\\U0041\"", "bad_escape"},
    {"\"\\u004\"", "bad_escape"},
    {"\"\\u00G0\"", "bad_escape"},
    {"\"\\u{41}\"", "bad_escape"},
    {"\"\\ud800\"", "bad_escape"},
    {"\"\\ud800x\"", "bad_escape"},
    {"\"\\ud800\\n\"", "bad_escape"},
    {"\"\\ud800\\ud800\"", "bad_escape"},
    {"\"\\ud800\\u0041\"", "bad_escape"},
    {"\"\\udc00\"", "bad_escape"},
    {"\"\\udc00\\ud800\"", "bad_escape"},
    {"\"\\u0000\"", "nul"},
    {"\"\x80\"", "bad_utf8"},
    {"\"\xC3\"", "bad_utf8"},
    {"\"\xC0\xAF\"", "bad_utf8"},
    {"\"\xE0\x80\x80\"", "bad_utf8"},
    {"\"\xED\xA0\x80\"", "bad_utf8"},
    {"\"\xF4\x90\x80\x80\"", "bad_utf8"},
    {"\"\xF8\x88\x80\x80\x80\"", "bad_utf8"},
    {"\"\xFF\"", "bad_utf8"},
    {"[", "bad_json"},
    {"]", "bad_json"},
    {"[1", "bad_json"},
    {"[1,", "bad_json"},
    {"[1,]", "bad_json"},
    {"[,1]", "bad_json"},
    {"[1,,2]", "bad_json"},
    {"[1 2]", "bad_json"},
    {"[1}", "bad_json"},
    {"[1:2]", "bad_json"},
    {"{", "bad_json"},
    {"{1:2}", "bad_json"},
    {"{a:1}", "bad_json"},
    {"{'a':1}", "bad_json"},
    {"{\"a\"}", "bad_json"},
    {"{\"a\":}", "bad_json"},
    {"{\"a\" 1}", "bad_json"},
    {"{\"a\"=1}", "bad_json"},
    {"{\"a\":1,}", "bad_json"},
    {"{,}", "bad_json"},
    {"{\"a\":1 \"b\":2}", "bad_json"},
    {"{\"a\":1]", "bad_json"},
    {"{\"a\":1,,\"b\":2}", "bad_json"},
    {"{\"a\":1};", "bad_json"},
    {"{null:1}", "bad_json"},
    {"1//x", "bad_json"},
    {"/*x*/1", "bad_json"},
    {"1#", "bad_json"},
    {"\xEF\xBB\xBF"
     "1",
     "bad_json"},
    {"\xC2\xA0"
     "1",
     "bad_json"},
    {"1\f", "bad_json"},
    {"1\v", "bad_json"},
    {"\\u0031", "bad_json"},
};

/* One object in a line, and in a document, wanted and not wanted. */
static void
line_of(const char *key, const char *value, const char *code)
{
    static const char *const specs[] = {"ndjson", "json"};
    for (size_t i = 0; i < 2; i++) {
        struct spec *spec = json_sample_spec(specs[i]);
        struct ps_buf text = PS_BUF_INIT;
        struct ps_buf found = PS_BUF_INIT;
        struct decode_log_run run = {.spec = spec};
        char wanted[40];
        ps_buf_xprintf(&text, "{\"%s\":%s}", key, value);
        snprintf(wanted, sizeof wanted, " 1 %s ", code);
        decode_log(&run, text.ptr, text.len, &found);
        const char *log = strchr(ps_buf_str(&found), '\n') + 1;
        if (code[0] == '\0') {
            cr_expect(log[0] == 'R' && strchr(log, '\n')[1] == '\0', "%s: %s gave %s", specs[i],
                      ps_buf_str(&text), log);
        } else {
            cr_expect(log[0] == 'X' && strstr(log, wanted) != NULL, "%s: %s gave %s", specs[i],
                      ps_buf_str(&text), log);
        }
        ps_buf_fini(&text);
        ps_buf_fini(&found);
        spec_unref(spec);
    }
}

Test(json_grammar, what_there_is)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        line_of("a", good[i], "");
        line_of("b", good[i], "");
        line_of("nobody's", good[i], "");
    }
}

Test(json_grammar, what_there_is_not)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        line_of("a", bad[i].text, bad[i].code);
        line_of("b", bad[i].text, bad[i].code);
        line_of("nobody's", bad[i].text, bad[i].code);
    }
}

static void
expect(const char *options, const char *text, const char *wanted)
{
    struct spec *spec = json_sample_spec(options);
    struct ps_buf found = PS_BUF_INIT;
    struct decode_log_run run = {.spec = spec};
    decode_log(&run, (const uint8_t *)text, strlen(text), &found);
    cr_expect(strstr(ps_buf_str(&found), wanted) != NULL, "%s: %s\ngave %s\nwanted %s", options,
              text, ps_buf_str(&found), wanted);
    ps_buf_fini(&found);
    spec_unref(spec);
}

/* Fields: a, b.c, b.d[1], b.d, ["x.y"], b.d[2].e */
Test(json_grammar, values_are_exact)
{
    expect("ndjson", "{\"a\":9007199254740993}", "|u9007199254740993|");
    expect("ndjson", "{\"a\":1.10e5}", "|u1.10e5|");
    expect("ndjson", "{\"a\":\"\\u00e9\\ud83d\\ude00\"}", "|q\xC3\xA9\xF0\x9F\x98\x80|");
    expect("ndjson", "{\"a\":\"\",\"b\":{\"c\":null}}", "|q|-|-|-|-|-");
    expect("ndjson", "{\"a\":true,\"b\":{\"d\":[ 1 ,\"2\"]}}", "|otrue|-|q2|o[ 1 ,\"2\"]|-|-");
    expect("ndjson", "{\"b\":{\"d\":[0,{\"z\":1},{\"e\":5}]},\"x.y\":6,\"x\":{\"y\":7}}",
           "|-|-|o{\"z\":1}|o[0,{\"z\":1},{\"e\":5}]|u6|u5");
    expect("ndjson", "{\"\\u0061\":1,\"b\":{\"\\u0063\":2}}", "|u1|u2|");
}

Test(json_grammar, names_that_come_twice)
{
    static const char text[] = "{\"a\":1,\"b\":{\"c\":2},\"b\":{\"d\":3},\"a\":{\"x\":4}}";
    expect("ndjson", text, "|o{\"x\":4}|-|-|u3|-|-");
    expect("ndjson duplicate_keys=first", text, "|u1|u2|-|-|-|-");
    expect("ndjson duplicate_keys=reject", text, "duplicate_key - line 1 column 20");
}

Test(json_grammar, ceilings)
{
    expect("ndjson max_depth=2", "{\"z\":[1]}", "R 0 9 1");
    expect("ndjson max_depth=2", "{\"z\":[[1]]}", "too_deep");
    expect("ndjson max_depth=2", "{\"b\":{\"d\":[1]}}", "too_deep");
    expect("ndjson max_record_bytes=16", "{\"a\":\"123456789\"}\n{\"a\":1}", "X 0 18 1 too_long");
    expect("ndjson max_record_bytes=16", "{\"a\":\"12345678\"}\n{\"a\":1}", "X 0 17 1 too_long");
    expect("ndjson max_record_bytes=16", "{\"a\":\"1234567\"}\n{\"a\":1}", "R 0 16 1|q1234567|");
    expect("json max_record_bytes=16", "[{\"a\":\"12345678\"},{\"a\":\"123456789\"}]",
           "X 18 17 1 too_long");
}

Test(json_grammar, halves_of_pairs)
{
    expect("ndjson lone_surrogates=replace", "{\"a\":\"x\\ud800y\"}", "|qx\xEF\xBF\xBDy|");
    expect("ndjson lone_surrogates=replace", "{\"a\":\"\\ud800\\ud83d\\ude00\"}",
           "|q\xEF\xBF\xBD\xF0\x9F\x98\x80|");
    expect("ndjson", "{\"nobody's\":\"\\ud800\"}", "bad_escape");
}

Test(json_grammar, places_are_told)
{
    expect("ndjson", "{\"a\":1}\n{\"a\":tru}\n",
           "X 8 10 2 bad_json a line 2 column 6, byte 13: found 'tru'; expected a value");
    expect("json", "[\n{\"a\":1},\n {\"a\":\n 01}]",
           "X 12 10 3 bad_json a line 4 column 2, byte 19: found '01'");
    expect("ndjson", "{\"a\":1,\n\"b\":2}", "found the line's end; expected a name in quotes");
    expect("json", "[{\"a\":1},{\"a\":2}", "X 16 0 1 bad_json - byte 16: found the object's end");
    expect("ndjson", "\xFF\xFE{}", "E baddata bad_encoding");
}

Test(json_grammar, documents)
{
    expect("json items=rows.list", "{\"x\":[{}],\"rows\":{\"list\":[{\"a\":1}]},\"y\":2}",
           "R 26 7 1|u1|");
    expect("json items=rows.list", "{\"rows\":{\"list\":{\"a\":1}}}", "R 16 7 1|u1|");
    expect("json items=rows.list", "{\"rows\":{\"lists\":[]}}", "X 0 21 1 no_items");
    expect("json items=rows.list", "[1]", "X 0 3 1 no_items");
    expect("json items=rows.list", "{\"rows\":{\"list\":7}}", "X 16 1 1 not_object");
    expect("json items=[1].rows", "[{\"rows\":1},{\"rows\":[{\"a\":5}]}]", "R 21 7 1|u5|");
    expect("json", "{\"a\":1}\n{\"a\":2}[{\"a\":3}]", "R 16 7 2|u3|");
}
