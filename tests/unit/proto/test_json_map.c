/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "common/alloc.h"
#include "proto/json_map.h"

static char *
dump(const ProtobufCMessage *message)
{
    json_t *json = NULL;
    struct ps_error err;
    cr_assert_eq(json_map_write(message, &json, &err), PS_OK, "%s", err.text);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static enum ps_status
load(const ProtobufCMessageDescriptor *descriptor, const char *text, ProtobufCMessage **out,
     struct ps_error *err)
{
    json_t *json = json_loads(text, 0, NULL);
    cr_assert_not_null(json, "%s", text);
    enum ps_status status = json_map_read(descriptor, json, out, err);
    json_decref(json);
    return status;
}

Test(json_map, a_pipeline_there_and_back)
{
    Penstock__Column column = PENSTOCK__COLUMN__INIT;
    column.name = "id";
    column.type = "bigint";
    Penstock__Column *columns[] = {&column};
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    counts.has_decoded = 1;
    counts.decoded = 1u << 31;
    Penstock__ApiTotals totals = PENSTOCK__API_TOTALS__INIT;
    totals.counts = &counts;
    Penstock__ApiPipeline pipeline = PENSTOCK__API_PIPELINE__INIT;
    pipeline.name = "flights";
    pipeline.uuid = "u";
    pipeline.generation = UINT64_MAX;
    pipeline.spec_rev = 7;
    pipeline.state = "running";
    pipeline.spec_json = "{\"name\": \"flights\", \"n\": [1]}";
    pipeline.columns = columns;
    pipeline.n_columns = 1;
    pipeline.totals = &totals;
    pipeline.has_slowest_object = 1;
    pipeline.slowest_object = proto_bytes("\xff\x00z", 3);
    pipeline.has_discovery_complete = 1;
    char *text = dump(&pipeline.base);
    cr_assert_str_eq(
        text, "{\"name\":\"flights\",\"uuid\":\"u\",\"generation\":\"18446744073709551615\","
              "\"spec_rev\":7,\"state\":\"running\",\"spec\":{\"name\":\"flights\",\"n\":[1]},"
              "\"columns\":[{\"name\":\"id\",\"type\":\"bigint\"}],\"totals\":{\"counts\":{"
              "\"decoded\":\"2147483648\",\"rejected\":\"0\",\"filtered\":\"0\",\"inserted\":"
              "\"0\",\"updated\":\"0\",\"skipped\":\"0\",\"rejected_at_load\":\"0\","
              "\"raw_bytes\":\"0\",\"unwrapped_bytes\":\"0\"}},\"revision\":\"0\","
              "\"slowest_object_b64\":\"/wB6\",\"discovery_complete\":false}");
    ProtobufCMessage *message = NULL;
    struct ps_error err;
    cr_assert_eq(load(pipeline.base.descriptor, text, &message, &err), PS_OK, "%s", err.text);
    const Penstock__ApiPipeline *back = (const Penstock__ApiPipeline *)message;
    cr_assert_eq(back->generation, UINT64_MAX);
    cr_assert_str_eq(back->spec_json, "{\"name\":\"flights\",\"n\":[1]}");
    cr_assert_eq(back->slowest_object.len, 3);
    cr_assert_eq(back->has_slowest_ms, 0);
    char *again = dump(message);
    cr_assert_str_eq(again, text);
    msg_free(message);
    cr_assert_eq(ps_alloc_bytes_now(), 0);
    free(again);
    free(text);
}

Test(json_map, enums_are_lower_case_names)
{
    const char *text =
        "{\"batch_id_b64\":\"AA==\",\"epoch\":\"1\",\"class\":\"leaf_died\",\"code\":\"c\","
        "\"text\":\"t\",\"columns\":[]}";
    ProtobufCMessage *message = NULL;
    struct ps_error err;
    cr_assert_eq(load(&penstock__leaf_failed__descriptor, text, &message, &err), PS_OK, "%s",
                 err.text);
    cr_assert_eq(((Penstock__LeafFailed *)message)->class_, PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED);
    char *again = dump(message);
    cr_assert_str_eq(again, text);
    free(again);
    msg_free(message);
}

Test(json_map, what_is_wrong_is_named_by_its_path)
{
    static const struct {
        const char *json;
        const char *starts;
    } cases[] = {
        {"[]", "(document): expected an object"},
        {"{\"rows\":[\"a\",3]}", "rows[1]: expected a string"},
        {"{\"columns\":[{\"name\":\"a\",\"type\":\"text\",\"typo\":1}]}",
         "columns[0].typo: unknown key"},
        {"{\"columns\":[{\"name\":\"a\"}]}", "columns[0].type: missing"},
        {"{\"columns\":{}}", "columns: expected a list"},
        {"{\"format_note\":null}", "format_note: expected a string"},
        {"{\"rows\":[\"a\\u0000b\"]}", "rows[0]: expected a string without"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = json_loads(cases[i].json, JSON_ALLOW_NUL, NULL);
        ProtobufCMessage *message = NULL;
        struct ps_error err;
        cr_assert_eq(json_map_read(&penstock__api_sample__descriptor, json, &message, &err),
                     PS_BADDATA, "%s", cases[i].json);
        cr_assert(strncmp(err.text, cases[i].starts, strlen(cases[i].starts)) == 0, "%s", err.text);
        json_decref(json);
        cr_assert_eq(ps_alloc_bytes_now(), 0);
    }
}

Test(json_map, numbers_are_strict)
{
    static const char *const bad[] = {"1",      "\"\"",   "\"01\"", "\"-1\"",
                                      "\"+1\"", "\" 1\"", "\"1 \"", "\"18446744073709551616\"",
                                      "1.5",    "true"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"objects\":%s}", bad[i]);
        ProtobufCMessage *message = NULL;
        struct ps_error err;
        cr_assert_eq(load(&penstock__api_totals__descriptor, text, &message, &err), PS_BADDATA,
                     "%s", text);
    }
    static const char *const bad32[] = {"-1", "4294967296", "\"1\"", "1.0"};
    for (size_t i = 0; i < sizeof bad32 / sizeof bad32[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"leaf\":%s}", bad32[i]);
        ProtobufCMessage *message = NULL;
        struct ps_error err;
        cr_assert_eq(load(&penstock__api_leaf__descriptor, text, &message, &err), PS_BADDATA);
    }
}

Test(json_map, what_json_cannot_show_is_refused)
{
    Penstock__ApiFieldError error = PENSTOCK__API_FIELD_ERROR__INIT;
    error.path = "caf\xe9";
    error.text = "t";
    json_t *json = NULL;
    struct ps_error err;
    cr_assert_eq(json_map_write(&error.base, &json, &err), PS_BADDATA);
    cr_assert_str_eq(err.text, "ApiFieldError.path cannot be shown as JSON");
}

Test(json_map, schema)
{
    json_t *schema = json_map_schema(&penstock__api_sample__descriptor);
    char *text = json_dumps(schema, JSON_COMPACT);
    cr_assert_str_eq(
        text, "{\"title\":\"ApiSample\",\"type\":\"object\",\"properties\":{\"columns\":{\"type\":"
              "\"array\",\"items\":{\"$ref\":\"#/components/schemas/Column\"}},\"format_note\":{"
              "\"type\":\"string\"},\"rows\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
              "\"objects\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}},"
              "\"additionalProperties\":false,\"required\":[\"columns\",\"rows\",\"objects\"]}");
    free(text);
    json_decref(schema);
}
