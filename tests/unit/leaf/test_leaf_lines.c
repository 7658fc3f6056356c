/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/leaf/leaf_fields.h"
#include "agent/leaf/leaf_lines.h"
#include "common/alloc.h"

static void
refuses(const char *text, const char *part)
{
    struct leaf_lines lines = {0};
    struct ps_error err = {0};
    cr_assert_eq(leaf_lines_parse(ps_span_str(text), &lines, &err), PS_REFUSED, "%s", text);
    cr_expect(strstr(err.text, part) != NULL, "%s: got \"%s\"", text, err.text);
    cr_expect_str_eq(err.code, "replay_line");
}

Test(leaf_lines, what_export_writes_is_read)
{
    struct leaf_lines lines = {0};
    struct ps_error err = {0};
    const char *text =
        "{\"n\":7,\"batch\":\"01a21955-9c2f-76f2-b59b-774c2eab01a5\",\"offset\":24,\"line\":3,"
        "\"object\":\"a.csv\",\"code\":\"bad_type\",\"fields\":{\"id\":\"2\"},\"raw\":\"2,x\\n\"}"
        "\r\n"
        "\n  \n{\"n\":\"3\",\"raw_b64\":\"AP8=\"}\n{\"n\":5}";
    cr_assert_eq(leaf_lines_parse(ps_span_str(text), &lines, &err), PS_OK, "%s", err.text);
    cr_assert_eq(lines.count, 3);
    cr_assert(lines.items[0].n == 3 && lines.items[1].n == 5 && lines.items[2].n == 7);
    cr_assert_eq(lines.items[0].line, 4, "the line in the text, not its place");
    cr_assert(ps_span_eq(ps_buf_span(&lines.items[0].raw), ps_span("\0\xff", 2)));
    cr_assert(!lines.items[1].has_raw && lines.items[1].fields == NULL);
    const struct leaf_line *seven = leaf_lines_find(&lines, 7);
    cr_assert(seven == &lines.items[2] && seven->has_batch && seven->offset == 24);
    cr_assert(ps_span_eq(ps_buf_span(&seven->raw), ps_span_str("2,x\n")));
    cr_assert_null(leaf_lines_find(&lines, 4));
    leaf_lines_fini(&lines);
}

Test(leaf_lines, the_text_wins_over_the_bytes)
{
    struct leaf_lines lines = {0};
    struct ps_error err = {0};
    const char *text = "{\"n\":1,\"raw\":\"written\",\"raw_b64\":\"AP8=\"}";
    cr_assert_eq(leaf_lines_parse(ps_span_str(text), &lines, &err), PS_OK, "%s", err.text);
    cr_assert(ps_span_eq(ps_buf_span(&lines.items[0].raw), ps_span_str("written")));
    leaf_lines_fini(&lines);
}

Test(leaf_lines, a_spec_stands_on_the_first_line)
{
    struct leaf_lines lines = {0};
    struct ps_error err = {0};
    const char *text = "{\"spec\":{\"name\":\"p\"}}\n{\"n\":1}\n";
    cr_assert_eq(leaf_lines_parse(ps_span_str(text), &lines, &err), PS_OK, "%s", err.text);
    cr_assert(lines.spec != NULL && lines.count == 1);
    leaf_lines_fini(&lines);
    refuses("{\"n\":1}\n{\"spec\":{}}\n", "line 2: spec");
    refuses("{\"spec\":[]}\n", "line 1: spec");
}

Test(leaf_lines, what_is_wrong_is_named)
{
    refuses("{\"n\":1}\n[2]\n", "line 2: the line: expected a JSON object");
    refuses("{\"n\":1}\n\n{\"n\":2,}\n", "line 3: expected a JSON object");
    refuses("{\"raw\":\"x\"}", "line 1: n: expected the reject's number");
    refuses("{\"n\":0}", "line 1: n");
    refuses("{\"n\":-1}", "line 1: n: expected a whole number");
    refuses("{\"n\":1.5}", "line 1: n: expected a whole number");
    refuses("{\"n\":\"12345678901234567890\"}", "line 1: n");
    refuses("{\"n\":1,\"batch\":\"x\"}", "line 1: batch: expected a batch id");
    refuses("{\"n\":1,\"offset\":\"x\"}", "line 1: offset");
    refuses("{\"n\":1,\"raw\":5}", "line 1: raw: expected the record as a text");
    refuses("{\"n\":1,\"raw_b64\":\"A\"}", "line 1: raw_b64");
    refuses("{\"n\":1,\"fields\":[]}", "line 1: fields: expected an object");
    refuses("{\"n\":4}\n{\"n\":1}\n{\"n\":4}\n", "lines 1 and 3: reject 4 is there twice");
}

/* ---- fields */

static const struct spec_column columns[] = {
    {.name = "id", .from = "Flight ID", .type = COL_BIGINT, .type_given = true},
    {.name = "o", .value = VALUE_OBJECT, .type = COL_TEXT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
    {.name = "delay", .type = COL_DOUBLE, .type_given = true},
};

struct taken {
    char names[3][16];
    char values[3][64];
    uint8_t kinds[3];
    bool quoted[3];
    uint32_t count;
};

static enum ps_status
take_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct taken *taken = ctx;
    (void)err;
    cr_assert_eq(count, 3);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(taken->names[i], sizeof taken->names[i], "%.*s", (int)names[i].len,
                 (const char *)names[i].ptr);
    }
    return PS_OK;
}

static enum ps_status
take_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct taken *taken = ctx;
    (void)err;
    taken->count = record->count;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        taken->kinds[i] = field->kind;
        taken->quoted[i] = field->quoted;
        snprintf(taken->values[i], sizeof taken->values[i], "%.*s", (int)field->len,
                 field->ptr == NULL ? "" : (const char *)field->ptr);
    }
    return PS_OK;
}

static enum ps_status
run(const char *json, struct taken *taken, struct ps_error *err)
{
    json_t *fields = NULL;
    const struct dest_reject_row row = {.n = 9, .offset = 100, .line = 7};
    const struct decode_sink sink = {.ctx = taken, .header = take_header, .record = take_record};
    cr_assert_eq(ps_json_load(ps_span_str(json), 4096, &fields, err), PS_OK, "%s", err->text);
    const struct leaf_fields in = {
        .fields = fields, .columns = columns, .column_count = 4, .row = &row};
    enum ps_status status = leaf_fields_run(&in, &sink, err);
    json_decref(fields);
    return status;
}

Test(leaf_fields, a_text_is_never_null_and_what_is_left_out_is_missing)
{
    struct taken taken = {0};
    struct ps_error err = {0};
    cr_assert_eq(run("{\"name\":\"\",\"Flight ID\":null}", &taken, &err), PS_OK, "%s", err.text);
    cr_assert_str_eq(taken.names[0], "Flight ID");
    cr_assert_eq(taken.kinds[0], FIELD_NULL);
    cr_assert_eq(taken.kinds[1], FIELD_TEXT);
    cr_assert(taken.quoted[1], "so that an empty text is not taken for NULL");
    cr_assert_eq(taken.kinds[2], FIELD_MISSING);
}

Test(leaf_fields, numbers_are_the_shortest_that_read_back)
{
    struct taken taken = {0};
    struct ps_error err = {0};
    cr_assert_eq(run("{\"Flight ID\":9223372036854775807,\"delay\":0.1,\"name\":[1,{\"a\":null}]}",
                     &taken, &err),
                 PS_OK, "%s", err.text);
    cr_assert_str_eq(taken.values[0], "9223372036854775807");
    cr_assert_str_eq(taken.values[1], "[1,{\"a\":null}]");
    cr_assert_str_eq(taken.values[2], "0.1");
}

Test(leaf_fields, a_name_that_no_column_is_taken_from_is_an_error)
{
    struct taken taken = {0};
    struct ps_error err = {0};
    cr_assert_eq(run("{\"id\":1}", &taken, &err), PS_REFUSED);
    cr_assert(strstr(err.text, "reject 9: fields: no column is taken from \"id\"") != NULL, "%s",
              err.text);
}

Test(leaf_fields, there_and_back)
{
    struct ps_error err = {0};
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    const char *yaml = "name: p\nsource: {url: 'file:a.csv'}\nformat: {null: ['', 'n/a']}\n"
                       "destination: {url: 'sqlite:a.db', table: t}\n";
    cr_assert_eq(spec_parse(ps_span_str(yaml), NULL, 0, &spec, &errors, &err), PS_OK, "%s",
                 err.text);
    const struct ps_span names[] = {ps_span_str("Flight ID"), ps_span_str("unused"),
                                    ps_span_str("name"), ps_span_str("delay")};
    const struct field fields[] = {{.ptr = (const uint8_t *)"12", .len = 2},
                                   {.ptr = (const uint8_t *)"x", .len = 1},
                                   {.ptr = (const uint8_t *)"n/a", .len = 3, .quoted = true},
                                   {.ptr = (const uint8_t *)"n/a", .len = 3}};
    const struct record record = {.fields = fields, .count = 4};
    const struct leaf_fields_names in = {
        .spec = spec, .columns = columns, .column_count = 4, .names = names, .count = 4};
    json_t *found = leaf_fields_of(&in, &record);
    char *text = ps_json_canonical(found);
    cr_assert_str_eq(text, "{\"Flight ID\":\"12\",\"delay\":null,\"name\":\"n/a\"}");
    ps_free(text);
    json_decref(found);
    spec_errors_fini(&errors);
    spec_unref(spec);
}
