/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdio.h>

#include "agent/decode/infer.h"
#include "tests/support/spec_rest.h"

static void
expect(const char *more, const char *const *objects, const char *wanted, const char *in_note)
{
    struct spec *spec = spec_with(more);
    struct infer *infer = NULL;
    struct ps_error err = {0};
    struct ps_buf found = PS_BUF_INIT;
    const struct spec_column *columns = NULL;
    const char *note = NULL;
    size_t count = 0;
    cr_assert_eq(infer_new(spec, &infer, &err), PS_OK);
    for (size_t i = 0; objects[i] != NULL; i++) {
        char name[32];
        snprintf(name, sizeof name, "o%zu", i);
        cr_assert_eq(infer_add(infer, name, ps_span_str(objects[i]), true, &err), PS_OK, "%s",
                     err.text);
    }
    cr_assert_eq(infer_end(infer, &columns, &count, &note, &err), PS_OK, "%s", err.text);
    for (size_t i = 0; i < count; i++) {
        cr_assert(columns[i].type_given);
        ps_buf_xprintf(&found, "%s%s:%s", i > 0 ? " " : "", columns[i].name,
                       column_type_name(columns[i].type));
    }
    cr_expect_str_eq(ps_buf_str(&found), wanted, "found %s, wanted %s", ps_buf_str(&found), wanted);
    cr_expect(strstr(note, in_note) != NULL, "note: %s", note);
    ps_buf_fini(&found);
    infer_free(infer);
    spec_unref(spec);
}
#define OBJECTS(...)                                                                               \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

Test(infer, types)
{
    expect("",
           OBJECTS("i,d,t,z,big,n,q,exp,neg\n"
                   "1,1.5,x,007,9223372036854775807,,\"\",1e3,-0\n"
                   "-20,2,,1,9223372036854775808,,5,2.50,1\n"),
           "i:bigint d:double t:text z:text big:text n:text q:text exp:double neg:double",
           "z: text, for \"007\" has a leading zero (o0 line 2).");
    expect("", OBJECTS("a\n0.1234567890123456\n"), "a:text", "more digits");
    expect("", OBJECTS("a\n0.123456789012345\n1000000000000000\n"), "a:double", "");
    expect("", OBJECTS("a\n1000000000000001\n0.5\n"), "a:text", "");
    expect("", OBJECTS("a\n+1\n"), "a:text", "begins with a plus");
    expect("", OBJECTS("a\n1\n", "a\n2.5\n"), "a:double", "");
    expect("", OBJECTS("a,b\n1,NULL\n"), "a:bigint b:text", "\"NULL\" is no number");
    expect("format: {null: ['', 'NULL']}\n", OBJECTS("a,b\n1,NULL\n2,3\n"), "a:bigint b:bigint",
           "");
    expect("format: {decimal: ',', delimiter: ';'}\n", OBJECTS("a;b\n1,5;2\n-3,25;1.5\n"),
           "a:double b:text", "");
}

Test(infer, names)
{
    expect("", OBJECTS("a,A,,a,a_2\n1,2,3,4,5\n"),
           "a:bigint A_3:bigint _3:bigint a_4:bigint a_2:bigint", "");
}

Test(infer, headers)
{
    expect("format: {header: false, delimiter: ';'}\n", OBJECTS("0041;A;\n0042;B;1\n"),
           "c1:text c2:text c3:bigint", "");
    expect("format: {header: auto}\n", OBJECTS("1,2\n3,4\n"), "c1:bigint c2:bigint", "holds data");
    expect("format: {header: auto}\n", OBJECTS("x,y\n3,4\n"), "x:bigint y:bigint", "names");
    expect("format: {delimiter: auto}\n", OBJECTS("x;y\n3;4,5\n"), "x:bigint y:text",
           "delimiter is \";\"");
    expect("format: {delimiter: auto}\n", OBJECTS("x\ty\n3\t4\n"), "x:bigint y:bigint", "tab");
    expect("", OBJECTS("x,y\n"), "x:text y:text", "only NULLs");
    expect("", OBJECTS("a,b\n1,2\n", "b,c\n3,4\n"), "a:bigint b:bigint c:bigint",
           "o1 has a field \"c\"");
}

Test(infer, given_columns)
{
    expect("columns: [{name: x, from: b}, {name: y, from: a, type: text}, {name: o, value: "
           "'$object'}, {name: l, value: '$line'}, {name: m, from: z}]\n",
           OBJECTS("a,b\n1,2\n"), "x:bigint y:text o:text l:bigint m:text",
           "no object of the sample has a field \"z\"");
}

Test(infer, a_part_of_an_object_leaves_its_last_line_out)
{
    struct spec *spec = spec_with("");
    struct infer *infer = NULL;
    struct ps_error err = {0};
    const struct spec_column *columns = NULL;
    const char *note = NULL;
    const char *const *rows = NULL;
    size_t count = 0;
    cr_assert_eq(infer_new(spec, &infer, &err), PS_OK);
    cr_assert_eq(infer_add(infer, "o", ps_span_str("a,b\n1,\"x\"\n2,\n3,xxx"), false, &err), PS_OK);
    cr_assert_eq(infer_end(infer, &columns, &count, &note, &err), PS_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(infer_sample_rows(infer, &rows), 2);
    cr_assert_str_eq(rows[0], "[\"1\",\"x\"]");
    cr_assert_str_eq(rows[1], "[\"2\",null]");
    infer_free(infer);
    cr_assert_eq(infer_new(spec, &infer, &err), PS_OK);
    cr_assert_eq(infer_end(infer, &columns, &count, &note, &err), PS_BADDATA);
    cr_assert_str_eq(err.code, "no_columns");
    infer_free(infer);
    spec_unref(spec);
}

static const char NDJSON[] = "format: {type: ndjson}\n";

Test(infer, the_union_of_keys)
{
    expect(NDJSON,
           OBJECTS(
               "{\"i\":1,\"d\":1.5,\"t\":\"1\",\"big\":9223372036854775808,\"n\":null,\"b\":true}\n"
               "{\"i\":-20,\"late\":[1],\"d\":2}\n",
               "{\"more\":{\"x\":1},\"i\":0}\n"),
           "i:bigint d:double t:text big:text n:text b:text late:text more:text",
           "big: text, for \"9223372036854775808\" has more digits");
    expect(NDJSON, OBJECTS("{\"a\":1}\n{\"a\":\"x\"}\n"), "a:text", "\"x\" is a text");
    expect(NDJSON, OBJECTS("{\"Id\":1,\"id\":2,\"\":3,\"x.y\":4,\"id_2\":5}\n"),
           "Id:bigint id_2:bigint _3:bigint x.y:bigint id_2_2:bigint", "");
    /* A record that is none has no columns. */
    expect(NDJSON, OBJECTS("{\"a\":1}\n{\"b\":2,\"c\":tru}\n{\"d\":3}\n"), "a:bigint d:bigint",
           "would be rejected");
    expect("format: {type: json, items: rows}\n", OBJECTS("{\"rows\":[{\"a\":1},{\"b\":2.5}]}"),
           "a:bigint b:double", "");
}

Test(infer, paths)
{
    expect("format: {type: ndjson}\n"
           "columns: [{name: city, from: user.address.city}, {name: tag, from: 'tags[0]'},\n"
           "  {name: dotted, from: '[\"a.b\"]'}, {name: no, from: nobody.knows}]\n",
           OBJECTS("{\"user\":{\"address\":{\"city\":\"Bern\"}},\"tags\":[7],\"a.b\":1.5}\n"),
           "city:text tag:bigint dotted:double no:text", "");
}

Test(infer, a_key_keeps_its_path)
{
    struct spec *spec = spec_with(NDJSON);
    struct infer *infer = NULL;
    struct ps_error err = {0};
    const struct spec_column *columns = NULL;
    const char *note = NULL;
    size_t count = 0;
    cr_assert_eq(infer_new(spec, &infer, &err), PS_OK);
    cr_assert_eq(infer_add(infer, "o", ps_span_str("{\"a.b\":1,\"c\":2,\"q\\\"\":3}"), true, &err),
                 PS_OK);
    cr_assert_eq(infer_end(infer, &columns, &count, &note, &err), PS_OK);
    cr_assert_eq(count, 3);
    cr_expect_str_eq(columns[0].name, "a.b");
    cr_expect_str_eq(columns[0].from, "[\"a.b\"]");
    cr_expect_str_eq(columns[1].from, "c");
    cr_expect_str_eq(columns[2].from, "[\"q\\\"\"]");
    infer_free(infer);
    spec_unref(spec);
}
