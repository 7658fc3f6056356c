/* SPDX-License-Identifier: Apache-2.0 */
#include "common/yaml.h"

#include <criterion/criterion.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/json.h"

static void
reads_as(const char *text, const char *json)
{
    struct ps_yaml *yaml = NULL;
    struct ps_error err = {0};
    cr_assert_eq(ps_yaml_load(ps_span_str(text), &yaml, NULL, &err), PS_OK, "%s", err.text);
    char *found = ps_json_canonical(ps_yaml_root(yaml));
    cr_assert_str_eq(found, json);
    /* And printed it reads back. */
    struct ps_buf printed = PS_BUF_INIT;
    struct ps_yaml *again = NULL;
    ps_yaml_print(ps_yaml_root(yaml), &printed);
    cr_assert_eq(ps_yaml_load(ps_buf_span(&printed), &again, NULL, &err), PS_OK, "%s",
                 ps_buf_str(&printed));
    cr_assert(json_equal(ps_yaml_root(yaml), ps_yaml_root(again)), "%s", ps_buf_str(&printed));
    ps_yaml_free(again);
    ps_buf_fini(&printed);
    ps_free(found);
    ps_yaml_free(yaml);
}

static void
is_refused(const char *text, unsigned line, const char *part)
{
    struct ps_yaml *yaml = NULL;
    struct ps_error err = {0};
    unsigned found = 0;
    cr_assert_eq(ps_yaml_load(ps_span_str(text), &yaml, &found, &err), PS_BADDATA, "%s", text);
    cr_assert_eq(found, line, "%s: line %u", text, found);
    cr_assert_not_null(strstr(err.text, part), "%s", err.text);
}

Test(yaml, core_schema)
{
    reads_as("[true, True, FALSE, yes, on, null, ~, Null, '']",
             "[true,true,false,\"yes\",\"on\",null,null,null,\"\"]");
    reads_as("[1, -2, +3, 007, 0x1F, 0o17, 1:30, 1_000, 99999999999999999999]",
             "[1,-2,3,7,31,15,\"1:30\",\"1_000\",\"99999999999999999999\"]");
    reads_as("[1.5, .5, 1., 1e3, -1.5E-2, 1.2.3, e3, ., -, +]",
             "[1.5,0.5,1.0,1000.0,-0.014999999999999999,\"1.2.3\",\"e3\",\".\",\"-\",\"+\"]");
    reads_as("[\"1\", '1', !!str 1, \"a\\tb\", 0.1%, 16MiB]",
             "[\"1\",\"1\",\"1\",\"a\\tb\",\"0.1%\",\"16MiB\"]");
    reads_as("", "null");
    reads_as("a: b\nc:\n  - d: [ ]\n    e: {}\n  - \"#x\"\n  - - 1\n    - 2\n",
             "{\"a\":\"b\",\"c\":[{\"d\":[],\"e\":{}},\"#x\",[1,2]]}");
    reads_as("{\"a\": [1, {\"b\": \"x: y, z\"}]}", "{\"a\":[1,{\"b\":\"x: y, z\"}]}");
    reads_as("a: \"\xc3\xa9 \\u00e9 | [x] 'y'\"", "{\"a\":\"\xc3\xa9 \xc3\xa9 | [x] 'y'\"}");
    reads_as("a: |\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\"}");
    reads_as("a: &x {b: 1}\nc: *x\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}");
}

Test(yaml, refusals_name_the_line)
{
    is_refused("a: 1\nb: 2\na: 3\n", 3, "stands twice");
    is_refused("a: 1\n---\nb: 1\n", 2, "more than one document");
    is_refused("a: !!binary eA==\n", 1, "tags");
    is_refused("a: .inf\n", 1, ".inf");
    is_refused("a: 1\n[b]: 2\n", 2, "not text");
    is_refused("a: *nothing\n", 1, "nothing");
    is_refused("a: [1, 2\n", 2, "");
    is_refused("a: \"\\0\"\n", 1, "U+0000");
    is_refused("a: &x [*x]\n", 1, "anchored");
}

Test(yaml, ceilings)
{
    struct ps_buf text = PS_BUF_INIT;
    for (int i = 0; i < PS_YAML_MAX_DEPTH + 1; i++) {
        ps_buf_xprintf(&text, "[");
    }
    is_refused(ps_buf_str(&text), 1, "too deep");
    ps_buf_clear(&text);
    /* Ten times ten times … by aliases. */
    ps_buf_xprintf(&text, "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
    for (int i = 1; i < 9; i++) {
        ps_buf_xprintf(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++) {
            ps_buf_xprintf(&text, "*a%d%s", i - 1, j < 9 ? ", " : "]\n");
        }
    }
    is_refused(ps_buf_str(&text), 5, "aliases");
    ps_buf_fini(&text);
}

Test(yaml, lines_by_path)
{
    static const char text[] = "a: 1\nb:\n  c:\n    - x\n    - d: 1\n      e: 2\n";
    struct ps_yaml *yaml = NULL;
    cr_assert_eq(ps_yaml_load(ps_span_str(text), &yaml, NULL, NULL), PS_OK);
    cr_assert_eq(ps_yaml_line(yaml, "a"), 1);
    cr_assert_eq(ps_yaml_line(yaml, "b"), 2);
    cr_assert_eq(ps_yaml_line(yaml, "b.c"), 3);
    cr_assert_eq(ps_yaml_line(yaml, "b.c[0]"), 4);
    cr_assert_eq(ps_yaml_line(yaml, "b.c[1].e"), 6);
    cr_assert_eq(ps_yaml_line(yaml, "b.c[1].nothing"), 5);
    cr_assert_eq(ps_yaml_line(yaml, "b.c[7]"), 3);
    cr_assert_eq(ps_yaml_line(yaml, "nothing"), 1);
    ps_yaml_free(yaml);
}
