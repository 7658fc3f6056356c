/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_rejects.c: any bytes as the lines of a replay. What is accepted names each reject
 * once, in their order, and can be found; its fields can be made a record. */
#include <stdlib.h>

#include "agent/leaf/leaf_fields.h"
#include "agent/leaf/leaf_lines.h"
#include "common/alloc.h"
#include "common/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct spec_column columns[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .from = "the name", .type = COL_TEXT, .type_given = true},
    {.name = "object", .value = VALUE_OBJECT, .type = COL_TEXT, .type_given = true},
    {.name = "again", .from = "id", .type = COL_TEXT, .type_given = true},
};

static enum ps_status
take_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    (void)ctx, (void)err;
    PS_ASSERT(count == 2 && ps_span_eq(names[1], ps_span_str("the name")));
    return PS_OK;
}

static enum ps_status
take_record(void *ctx, const struct record *record, struct ps_error *err)
{
    unsigned *found = ctx;
    (void)err;
    (*found)++;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        bool is_there = field->kind != FIELD_NULL && field->kind != FIELD_MISSING;
        PS_ASSERT(is_there == (field->ptr != NULL));
        PS_ASSERT(field->ptr == NULL ||
                  (field->ptr >= record->raw.ptr &&
                   field->ptr + field->len <= record->raw.ptr + record->raw.len));
    }
    return PS_OK;
}

static enum ps_status
take_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    (void)ctx, (void)reject, (void)err;
    abort();
}

static void
check_fields(const struct leaf_line *line)
{
    unsigned found = 0;
    struct ps_error err = {0};
    const struct dest_reject_row row = {.n = line->n};
    const struct decode_sink sink = {
        .ctx = &found, .header = take_header, .record = take_record, .reject = take_reject};
    const struct leaf_fields in = {
        .fields = line->fields, .columns = columns, .column_count = 4, .row = &row};
    enum ps_status status = leaf_fields_run(&in, &sink, &err);
    PS_ASSERT((status == PS_OK) == (found == 1));
    PS_ASSERT(status == PS_OK || err.text[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct leaf_lines lines = {0};
    struct ps_error err = {0};
    if (leaf_lines_parse(ps_span(data, size), &lines, &err) != PS_OK) {
        PS_ASSERT(err.text[0] != '\0' && lines.count == 0);
        return 0;
    }
    for (size_t i = 0; i < lines.count; i++) {
        PS_ASSERT(lines.items[i].n > 0 && (i == 0 || lines.items[i - 1].n < lines.items[i].n));
        PS_ASSERT(leaf_lines_find(&lines, lines.items[i].n) == &lines.items[i]);
        if (lines.items[i].fields != NULL) {
            check_fields(&lines.items[i]);
        }
    }
    leaf_lines_fini(&lines);
    return 0;
}
