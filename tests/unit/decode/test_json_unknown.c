/* SPDX-License-Identifier: Apache-2.0 */
/* Fields that are no column, where records name their own: told once, known a record, or taken as
 * further fields. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "agent/decode/decode.h"
#include "common/alloc.h"

static const char *const source = "{\"id\":1,\"a\":{\"b\":1,\"c\":2},\"x\":7,\"y\\u0041\":\"t\"}\n"
                                  "{\"id\":2}\n"
                                  "{\"x\":8,\"id\":3,\"q.r\":null,\"x\":9}\n"
                                  "{\"id\":4,\"broken\":}\n"
                                  "{\"yA\":true,\"id\":5}\n";

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    (void)err;
    ps_buf_xprintf(ctx, "H");
    for (uint32_t i = 0; i < count; i++) {
        ps_buf_xprintf(ctx, " %.*s", (int)names[i].len, (const char *)names[i].ptr);
    }
    ps_buf_xprintf(ctx, "\n");
    return PS_OK;
}

static enum ps_status
on_unknown(void *ctx, struct ps_span name, struct ps_error *err)
{
    (void)err;
    ps_buf_xprintf(ctx, "U %.*s\n", (int)name.len, (const char *)name.ptr);
    return PS_OK;
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    (void)err;
    ps_buf_xprintf(ctx, "R");
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        ps_buf_xprintf(ctx, " %.*s", field->ptr == NULL ? 1 : (int)field->len,
                       field->ptr == NULL ? "-" : (const char *)field->ptr);
    }
    if (record->unknown.ptr != NULL) {
        ps_buf_xprintf(ctx, " ? %.*s", (int)record->unknown.len, (const char *)record->unknown.ptr);
    }
    ps_buf_xprintf(ctx, "\n");
    return PS_OK;
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    (void)err;
    ps_buf_xprintf(ctx, "X %s\n", reject->code);
    return PS_OK;
}

/* window: bytes that are shown more each time. */
static char *
decode(const char *policy, const char *more, size_t window)
{
    char *text = ps_xasprintf("{name: p, source: {url: 'file:/d/*.ndjson'}, columns: {unknown: %s, "
                              "list: [id, {name: b, from: a.b}]}, destination: {url: 'null:'}%s}",
                              policy, more);
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    struct spec *spec = NULL;
    cr_assert_eq(spec_parse(ps_span_str(text), NULL, 0, &spec, &errors, &err), PS_OK, "%s",
                 errors.count > 0 ? errors.items[0].text : err.text);
    const struct decode_ops *ops = decode_find("ndjson", &err);
    struct decoder *decoder = NULL;
    cr_assert_eq(ops->open(spec, ps_span("", 0), 0, &decoder, &err), PS_OK);
    struct ps_buf out = PS_BUF_INIT;
    const struct decode_sink sink = {.ctx = &out,
                                     .header = on_header,
                                     .unknown = on_unknown,
                                     .record = on_record,
                                     .reject = on_reject};
    size_t whole = strlen(source);
    size_t begin = 0;
    for (size_t end = 0; begin < whole;) {
        size_t consumed = 0;
        bool stopped = false;
        end = end + window < whole ? end + window : whole;
        cr_assert_eq(ops->run(decoder, (const uint8_t *)source + begin, end - begin, end == whole,
                              UINT64_MAX, &sink, &consumed, &stopped, &err),
                     PS_OK, "%s", err.text);
        begin += consumed;
    }
    ops->close(decoder);
    spec_unref(spec);
    spec_errors_fini(&errors);
    ps_free(text);
    char *log = ps_xstrndup(ps_buf_str(&out), out.len);
    ps_buf_fini(&out);
    return log;
}

static void
expect(const char *policy, const char *more, const char *wanted)
{
    static const size_t windows[] = {4096, 40, 7, 1};
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        char *log = decode(policy, more, windows[i]);
        cr_expect_str_eq(log, wanted, "%s, windows of %zu:\n%s", policy, windows[i], log);
        ps_free(log);
    }
}

/* The way to a column is known; what else stands there is not looked at. A record that is refused
 * leaves nothing behind. */
static const char told[] = "H id a.b\n"
                           "U x\n"
                           "U yA\n"
                           "R 1 1 ? x\n"
                           "R 2 -\n"
                           "U q.r\n"
                           "R 3 - ? x\n"
                           "X bad_json\n"
                           "R 5 - ? yA\n";

Test(json_unknown, ignore_tells_each_name_once)
{
    expect("ignore", "", told);
}

Test(json_unknown, reject_knows_it_of_each_record)
{
    expect("reject", "", told);
}

Test(json_unknown, a_name_twice_that_nobody_wants_is_no_fault)
{
    expect("ignore", ", format: {duplicate_keys: reject}", told);
}

Test(json_unknown, add_takes_them_as_further_fields)
{
    expect("add", "",
           "H id a.b\n"
           "H id a.b x yA\n"
           "R 1 1 7 t\n"
           "R 2 - - -\n"
           "H id a.b x yA [\"q.r\"]\n"
           "R 3 - 9 - -\n"
           "X bad_json\n"
           "R 5 - - true -\n");
}
