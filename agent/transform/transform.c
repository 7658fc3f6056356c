/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "agent/decode/number.h"
#include "agent/transform/transform_impl.h"
#include "common/alloc.h"
#include "common/assert.h"

enum { SHOWN_BYTES = 60, NULL_LEN_BITS = 63 };

static void
nulls_take(struct transform *transform, const struct spec *spec)
{
    const char *const *texts = NULL;
    size_t count = spec_list(spec, "format.null", &texts);
    transform->nulls = ps_xcalloc(count, sizeof *transform->nulls);
    transform->null_count = count;
    for (size_t i = 0; i < count; i++) {
        transform->nulls[i] = ps_span_str(texts[i]);
        size_t len = transform->nulls[i].len;
        transform->null_long |= len > 0;
        transform->null_lens |= (uint64_t)1 << (len < NULL_LEN_BITS ? len : NULL_LEN_BITS);
    }
}

/* A constant or default as its column's type. */
static enum ps_status
constant_make(const struct spec_column *column, const char *text, struct cell *out,
              struct ps_error *err)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t len = strlen(text);
    bool good = false;
    switch (column->type) {
    case COL_TEXT:
        *out = (struct cell){.tag = CELL_TEXT, .len = (uint32_t)len, .ptr = bytes};
        good = true;
        break;
    case COL_BIGINT:
        out->tag = CELL_INT;
        good = number_int(bytes, len, &out->integer);
        break;
    case COL_DOUBLE:
        out->tag = CELL_REAL;
        good = number_real(bytes, len, &out->real);
        break;
    }
    if (!good) {
        return ps_fail_code(err, PS_REFUSED, "bad_default",
                            "columns: the value \"%s\" given for %s is no %s", text, column->name,
                            column_type_name(column->type));
    }
    return PS_OK;
}

static enum source
source_of(const struct spec_column *column)
{
    switch (column->value) {
    case VALUE_OBJECT:
        return FROM_OBJECT;
    case VALUE_OFFSET:
        return FROM_OFFSET;
    case VALUE_LINE:
        return FROM_LINE;
    case VALUE_BATCH:
        return FROM_BATCH;
    case VALUE_CONSTANT:
        return FROM_CONSTANT;
    case VALUE_FIELD:
        break;
    }
    switch (column->type) {
    case COL_BIGINT:
        return FROM_INT;
    case COL_DOUBLE:
        return FROM_REAL;
    case COL_TEXT:
        break;
    }
    return FROM_TEXT;
}

enum ps_status
transform_new(const struct spec *spec, const struct spec_column *columns, size_t count,
              struct transform **out, struct ps_error *err)
{
    struct transform *transform = ps_xcalloc(1, sizeof *transform);
    transform->row = transform_v3_runs() ? transform_v3 : transform_any;
    transform->columns = columns;
    transform->count = (uint32_t)count;
    transform->steps = ps_xcalloc(count, sizeof *transform->steps);
    nulls_take(transform, spec);
    transform->decimal_comma = spec_is(spec, "format.decimal", ",");
    transform->plain = !transform->null_long && !transform->decimal_comma;
    for (size_t i = 0; i < count; i++) {
        struct step *step = &transform->steps[i];
        step->source = source_of(&columns[i]);
        step->on_mismatch = columns[i].on_mismatch;
        if (columns[i].value == VALUE_CONSTANT) {
            enum ps_status status =
                constant_make(&columns[i], columns[i].constant, &step->constant, err);
            if (status != PS_OK) {
                transform_free(transform);
                return status;
            }
        }
    }
    *out = transform;
    return PS_OK;
}

void
transform_free(struct transform *transform)
{
    if (transform == NULL) {
        return;
    }
    ps_free(transform->steps);
    ps_free(transform->nulls);
    ps_buf_fini(&transform->object);
    ps_buf_fini(&transform->batch);
    ps_free(transform);
}

static bool
null_listed(const struct transform *transform, const struct field *field)
{
    struct ps_span text = ps_span(field->ptr, field->len);
    for (size_t i = 0; i < transform->null_count; i++) {
        if (ps_span_eq(transform->nulls[i], text)) {
            return true;
        }
    }
    return false;
}

/* The column's default, which is NULL where it is one of format.null. */
static enum ps_status
default_make(const struct transform *transform, const struct spec_column *column, struct cell *out,
             struct ps_error *err)
{
    const struct field text = {.ptr = (const uint8_t *)column->default_text,
                               .len = (uint32_t)strlen(column->default_text)};
    if (null_listed(transform, &text)) {
        *out = (struct cell){.tag = CELL_NULL};
        return PS_OK;
    }
    return constant_make(column, column->default_text, out, err);
}

static enum ps_status
step_map(struct transform *transform, uint32_t i, const struct ps_span *names, uint32_t count,
         struct ps_error *err)
{
    const struct spec_column *column = &transform->columns[i];
    struct step *step = &transform->steps[i];
    struct ps_span from = ps_span_str(column->from != NULL ? column->from : column->name);
    for (uint32_t k = 0; k < count; k++) {
        if (ps_span_eq(names[k], from)) {
            step->source = source_of(column);
            step->field = k;
            step->fallback = column->default_text != NULL;
            return step->fallback ? default_make(transform, column, &step->constant, err) : PS_OK;
        }
    }
    if (column->default_text == NULL && column->or_null) {
        step->source = FROM_CONSTANT;
        step->constant = (struct cell){.tag = CELL_NULL};
        return PS_OK;
    }
    if (column->default_text == NULL) {
        return ps_fail_code(err, PS_BADDATA, "missing_column",
                            "the object has no field \"%.*s\" for column %s, and it has no default",
                            (int)from.len, (const char *)from.ptr, column->name);
    }
    step->source = FROM_CONSTANT;
    return default_make(transform, column, &step->constant, err);
}

/* How large a row can get, so that one reservation a row is enough. */
static void
bounds_find(struct transform *transform)
{
    transform->fixed_bytes = (size_t)transform->count * BLOCK_CELL_BYTES;
    transform->field_columns = 1;
    for (uint32_t i = 0; i < transform->count; i++) {
        const struct step *step = &transform->steps[i];
        size_t same = 0;
        switch (step->source) {
        case FROM_CONSTANT:
            transform->fixed_bytes += step->constant.tag == CELL_TEXT ? step->constant.len : 0;
            break;
        case FROM_OBJECT:
            transform->fixed_bytes += transform->object.len;
            break;
        case FROM_BATCH:
            transform->fixed_bytes += transform->batch.len;
            break;
        case FROM_TEXT:
        case FROM_INT:
        case FROM_REAL:
            transform->fixed_bytes +=
                step->fallback && step->constant.tag == CELL_TEXT ? step->constant.len : 0;
            for (uint32_t k = 0; k <= i; k++) {
                same += transform->steps[k].source <= FROM_REAL &&
                        transform->steps[k].field == step->field;
            }
            break;
        case FROM_OFFSET:
        case FROM_LINE:
            break;
        }
        transform->field_columns =
            same > transform->field_columns ? same : transform->field_columns;
    }
}

enum ps_status
transform_object(struct transform *transform, struct ps_span object, const char *batch_text,
                 const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    ps_buf_clear(&transform->object);
    ps_buf_clear(&transform->batch);
    enum ps_status status = ps_buf_append(&transform->object, object.ptr, object.len, err);
    if (status == PS_OK) {
        status = ps_buf_append(&transform->batch, batch_text,
                               batch_text == NULL ? 0 : strlen(batch_text), err);
    }
    for (uint32_t i = 0; i < transform->count && status == PS_OK; i++) {
        if (transform->columns[i].value == VALUE_FIELD) {
            status = step_map(transform, i, names, count, err);
        }
    }
    if (status == PS_OK) {
        bounds_find(transform);
    }
    return status;
}

/* For empty fields, and for all when a null text is not empty. */
static bool
is_null(const struct transform *transform, const struct field *field)
{
    if (field->ptr == NULL) {
        return true;
    }
    unsigned bit = field->len < NULL_LEN_BITS ? field->len : NULL_LEN_BITS;
    if ((transform->null_lens >> bit & 1) == 0 || field->quoted) {
        return false;
    }
    return field->len == 0 || null_listed(transform, field);
}

/* The value as people can read it, cut at a character's begin. */
static size_t
shown_len(const struct field *field)
{
    size_t len = field->len;
    if (len > SHOWN_BYTES) {
        len = SHOWN_BYTES;
        while (len > 0 && (field->ptr[len] & 0xC0) == 0x80) {
            len--;
        }
    }
    return len;
}

/* What on_mismatch says; NULL when it says reject. */
static uint8_t *
mismatch(struct transform *transform, uint32_t i, const struct field *field, uint8_t *at,
         struct transform_reject *out_reject)
{
    const struct spec_column *column = &transform->columns[i];
    switch (transform->steps[i].on_mismatch) {
    case MISMATCH_NULL:
        return block_cell_null(at);
    case MISMATCH_TEXT:
        return block_cell_text(at, field->ptr, field->len, field->len);
    case MISMATCH_REJECT:
        break;
    }
    size_t len = shown_len(field);
    snprintf(transform->reason, sizeof transform->reason, "found \"%.*s\"%s; a %s is expected",
             (int)len, (const char *)field->ptr, len < field->len ? "…" : "",
             column_type_name(column->type));
    for (char *p = transform->reason; *p != '\0'; p++) {
        *p = (unsigned char)*p < ' ' ? ' ' : *p;
    }
    *out_reject = (struct transform_reject){
        .column = column->name, .code = "bad_type", .reason = transform->reason};
    return NULL;
}

static uint8_t *
constant_put(const struct cell *cell, uint8_t *at)
{
    switch (cell->tag) {
    case CELL_INT:
        return block_cell_int(at, cell->integer);
    case CELL_REAL:
        return block_cell_real(at, cell->real);
    case CELL_NULL:
        return block_cell_null(at);
    case CELL_TEXT:
    case CELL_BLOB:
    case CELL_SHORT_TEXT:
        break;
    }
    return block_cell_text(at, cell->ptr, cell->len, cell->len);
}

/* Columns that are no field of the record. */
static uint8_t *
lineage_put(const struct transform *transform, const struct step *step, const struct record *record,
            uint8_t *at)
{
    const struct ps_buf *text = &transform->batch;
    switch (step->source) {
    case FROM_CONSTANT:
        return constant_put(&step->constant, at);
    case FROM_OFFSET:
        return block_cell_int(at, (int64_t)record->offset);
    case FROM_LINE:
        return record->line == 0 ? block_cell_null(at) : block_cell_int(at, (int64_t)record->line);
    case FROM_OBJECT:
        text = &transform->object;
        break;
    case FROM_BATCH:
    case FROM_TEXT:
    case FROM_INT:
    case FROM_REAL:
        break;
    }
    return block_cell_text(at, text->ptr, text->len, text->len);
}

uint8_t *
transform_cell(struct transform *transform, uint32_t i, const struct record *record, uint8_t *at,
               struct transform_reject *out_reject)
{
    static const struct field absent = {0};
    const struct step *step = &transform->steps[i];
    if (step->source > FROM_REAL) {
        return lineage_put(transform, step, record, at);
    }
    const struct field *field =
        step->field < record->count ? &record->fields[step->field] : &absent;
    if (field->kind == FIELD_MISSING && step->fallback) {
        return constant_put(&step->constant, at);
    }
    if (is_null(transform, field)) {
        return block_cell_null(at);
    }
    int64_t integer = 0;
    double real = 0;
    if (step->source == FROM_TEXT) {
        return block_cell_text(at, field->ptr, field->len, field->len);
    }
    if (step->source == FROM_INT && number_int(field->ptr, field->len, &integer)) {
        return block_cell_int(at, integer);
    }
    if (step->source == FROM_REAL &&
        (transform->decimal_comma ? number_real_comma(field->ptr, field->len, &real)
                                  : number_real(field->ptr, field->len, &real))) {
        return block_cell_real(at, real);
    }
    return mismatch(transform, i, field, at, out_reject);
}

enum ps_status
transform_row(struct transform *transform, const struct record *record, uint32_t range_index,
              struct block *block, bool *out_rejected, struct transform_reject *out_reject,
              struct ps_error *err)
{
    PS_ASSERT(block->ncols == transform->count);
    const struct row_meta meta = {
        .range_index = range_index,
        .offset = record->offset,
        .length = record->length,
        .line = record->line,
    };
    enum ps_status status = transform->row(transform, record, &meta, block, out_reject);
    if (status == PS_FULL) {
        return ps_fail(err, PS_FULL, "transform: no memory for a row of %llu bytes",
                       (unsigned long long)record->length);
    }
    *out_rejected = status == PS_BADDATA;
    return PS_OK;
}
