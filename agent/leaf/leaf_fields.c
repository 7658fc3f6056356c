/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_fields.h"

#include <inttypes.h>

#include "common/alloc.h"

enum { SPARE_BYTES = 64, REAL_DIGITS = 17 };

static struct ps_span
taken_from(const struct spec_column *column)
{
    return ps_span_str(column->from != NULL ? column->from : column->name);
}

static bool
is_taken(const struct spec_column *columns, size_t count, struct ps_span name)
{
    for (size_t i = 0; i < count; i++) {
        if (columns[i].value == VALUE_FIELD && ps_span_eq(taken_from(&columns[i]), name)) {
            return true;
        }
    }
    return false;
}

static enum ps_status
check_names(const struct leaf_fields *in, struct ps_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)in->fields, name, value)
    {
        if (!is_taken(in->columns, in->column_count, ps_span_str(name))) {
            return ps_fail_code(err, PS_REFUSED, "replay_field",
                                "reject %" PRIu64 ": fields: no column is taken from \"%s\"",
                                in->row->n, name);
        }
    }
    return PS_OK;
}

/* Its text behind buf; the kind as a record of JSON has it. */
static uint8_t
append_value(const json_t *value, struct ps_buf *buf)
{
    if (json_is_string(value)) {
        ps_buf_xappend(buf, json_string_value(value), json_string_length(value));
        return FIELD_TEXT;
    }
    if (json_is_integer(value)) {
        ps_buf_xprintf(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return FIELD_PLAIN;
    }
    if (json_is_real(value)) {
        char shortest[64];
        for (int digits = 1; digits <= REAL_DIGITS; digits++) {
            int len = snprintf(shortest, sizeof shortest, "%.*g", digits, json_real_value(value));
            if (len > 0 && strtod(shortest, NULL) == json_real_value(value)) {
                break;
            }
        }
        ps_buf_xprintf(buf, "%s", shortest);
        return FIELD_PLAIN;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    ps_buf_xprintf(buf, "%s", text == NULL ? "" : text);
    free(text);
    return FIELD_OTHER;
}

struct made {
    struct ps_span *names;
    struct field *fields;
    size_t *at; /* where each begins in bytes */
    uint32_t count;
    struct ps_buf bytes;
};

static void
make(const struct leaf_fields *in, struct made *made)
{
    made->names = ps_xcalloc(in->column_count + 1, sizeof *made->names);
    made->fields = ps_xcalloc(in->column_count + 1, sizeof *made->fields);
    made->at = ps_xcalloc(in->column_count + 1, sizeof *made->at);
    for (size_t i = 0; i < in->column_count; i++) {
        struct ps_span name = taken_from(&in->columns[i]);
        if (in->columns[i].value != VALUE_FIELD || is_taken(in->columns, i, name)) {
            continue;
        }
        struct field *field = &made->fields[made->count];
        const json_t *value = json_object_get(in->fields, (const char *)name.ptr);
        made->names[made->count] = name;
        made->at[made->count] = made->bytes.len;
        field->kind = value == NULL ? FIELD_MISSING : FIELD_NULL;
        if (value != NULL && !json_is_null(value)) {
            field->kind = append_value(value, &made->bytes);
            field->quoted = true;
        }
        field->len = (uint32_t)(made->bytes.len - made->at[made->count]);
        made->count++;
    }
    static const uint8_t spare[SPARE_BYTES];
    ps_buf_xappend(&made->bytes, spare, sizeof spare);
    for (uint32_t i = 0; i < made->count; i++) {
        struct field *field = &made->fields[i];
        bool is_there = field->kind != FIELD_MISSING && field->kind != FIELD_NULL;
        field->ptr = is_there ? made->bytes.ptr + made->at[i] : NULL;
    }
}

enum ps_status
leaf_fields_run(const struct leaf_fields *in, const struct decode_sink *sink, struct ps_error *err)
{
    struct made made = {0};
    if (!json_is_object(in->fields)) {
        return ps_fail_code(err, PS_REFUSED, "replay_field",
                            "reject %" PRIu64 ": fields: expected an object", in->row->n);
    }
    enum ps_status status = check_names(in, err);
    if (status != PS_OK) {
        return status;
    }
    make(in, &made);
    const struct record record = {
        .fields = made.fields,
        .count = made.count,
        .offset = in->row->offset,
        .length = in->row->length,
        .line = in->row->line,
        .raw = ps_span(made.bytes.ptr, made.bytes.len - SPARE_BYTES),
        .slack = SPARE_BYTES,
    };
    status = sink->header(sink->ctx, made.names, made.count, err);
    if (status == PS_OK) {
        status = sink->record(sink->ctx, &record, err);
    }
    ps_buf_fini(&made.bytes);
    ps_free(made.at);
    ps_free(made.fields);
    ps_free(made.names);
    return status;
}

static bool
is_null(const struct spec *spec, const struct field *field)
{
    const char *const *texts = NULL;
    if (field->ptr == NULL) {
        return true;
    }
    if (field->kind != FIELD_PLAIN || field->quoted) {
        return false;
    }
    size_t count = spec_list(spec, "format.null", &texts);
    for (size_t i = 0; i < count; i++) {
        if (ps_span_eq(ps_span_str(texts[i]), ps_span(field->ptr, field->len))) {
            return true;
        }
    }
    return false;
}

json_t *
leaf_fields_of(const struct leaf_fields_names *names, const struct record *record)
{
    json_t *out = json_object();
    for (uint32_t i = 0; i < names->count; i++) {
        const struct field *field = i < record->count ? &record->fields[i] : NULL;
        if ((field != NULL && field->kind == FIELD_MISSING) ||
            !is_taken(names->columns, names->column_count, names->names[i])) {
            continue;
        }
        json_t *value = field == NULL || is_null(names->spec, field)
                            ? json_null()
                            : json_stringn((const char *)field->ptr, field->len);
        json_object_setn_new(out, (const char *)names->names[i].ptr, names->names[i].len, value);
    }
    return out;
}
