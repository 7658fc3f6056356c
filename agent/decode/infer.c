/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/infer.h"

#include <stdio.h>
#include <strings.h>

#include "agent/decode/infer_kind.h"
#include "common/alloc.h"
#include "spec/spec_path.h"

enum { SAMPLE_ROWS = 20, SHOWN_BYTES = 40, ROWS_AN_OBJECT = 100000, NAME_BYTES = 200 };

/* What is known of one field of the source, over all objects. */
struct seen {
    char *name; /* what columns[].from calls it */
    struct infer_kind kind;
    uint64_t objects;
    char *why; /* the value that made it text, and where */
};

struct infer {
    const struct spec *spec;
    const struct decode_ops *ops;
    bool decimal_comma;
    const char *const *nulls; /* borrowed from the spec */
    size_t null_count;

    struct seen *fields;
    size_t field_count;
    uint64_t objects;
    uint64_t rows;
    uint64_t rejects;
    bool keyed; /* records name their own fields; a name that is missing is nothing to speak of */
    bool found; /* and the spec has no columns: names are keys, not paths */

    /* The object now being read. */
    const char *object;
    bool named;
    uint64_t object_rows;
    size_t *map; /* its fields' places in fields */
    uint32_t map_count;

    struct spec_column *columns;
    char **names; /* of columns that are keys, and their paths */
    char **paths;
    size_t name_count;
    char *sample[SAMPLE_ROWS];
    size_t sample_count;
    struct ps_buf note;
};

enum ps_status
infer_new(const struct spec *spec, struct infer **out, struct ps_error *err)
{
    const struct decode_ops *ops = decode_find(spec_str(spec, "format.type"), err);
    if (ops == NULL) {
        return PS_REFUSED;
    }
    struct infer *infer = ps_xcalloc(1, sizeof *infer);
    infer->spec = spec;
    infer->ops = ops;
    infer->decimal_comma = spec_is(spec, "format.decimal", ",");
    infer->null_count = spec_list(spec, "format.null", &infer->nulls);
    const struct spec_column *columns = NULL;
    infer->keyed = ops->columns != NULL;
    infer->found = infer->keyed && spec_columns(spec, &columns) == 0;
    *out = infer;
    return PS_OK;
}

static void
names_free(struct infer *infer)
{
    for (size_t i = 0; i < infer->name_count; i++) {
        ps_free(infer->names[i]);
        ps_free(infer->paths[i]);
    }
    ps_free(infer->names);
    ps_free(infer->paths);
    infer->name_count = 0;
}

void
infer_free(struct infer *infer)
{
    if (infer == NULL) {
        return;
    }
    names_free(infer);
    for (size_t i = 0; i < infer->field_count; i++) {
        ps_free(infer->fields[i].name);
        ps_free(infer->fields[i].why);
    }
    for (size_t i = 0; i < infer->sample_count; i++) {
        ps_free(infer->sample[i]);
    }
    ps_free(infer->fields);
    ps_free(infer->map);
    ps_free(infer->columns);
    ps_buf_fini(&infer->note);
    ps_free(infer);
}

/* ---- Reading a sample. */

static struct seen *
seen_find(const struct infer *infer, struct ps_span name)
{
    for (size_t i = 0; i < infer->field_count; i++) {
        if (ps_span_eq(ps_span_str(infer->fields[i].name), name)) {
            return &infer->fields[i];
        }
    }
    return NULL;
}

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct infer *infer = ctx;
    (void)err;
    infer->map = ps_xrealloc(infer->map, count * sizeof *infer->map);
    infer->map_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct seen *seen = seen_find(infer, names[i]);
        if (seen == NULL) {
            infer->fields =
                ps_xrealloc(infer->fields, (infer->field_count + 1) * sizeof *infer->fields);
            seen = &infer->fields[infer->field_count++];
            *seen = (struct seen){
                .name = ps_xstrndup((const char *)names[i].ptr, names[i].len),
            };
            if (infer->objects > 0 && !infer->keyed) {
                ps_buf_xprintf(&infer->note, "%s has a field \"%s\" that others have not. ",
                               infer->object, seen->name);
            }
        }
        seen->objects++;
        infer->map[i] = (size_t)(seen - infer->fields);
    }
    infer->objects += !infer->named;
    infer->named = true;
    return PS_OK;
}

static bool
is_null(const struct infer *infer, const struct field *field)
{
    if (field->ptr == NULL) {
        return true;
    }
    for (size_t i = 0; i < infer->null_count && !field->quoted; i++) {
        if (ps_span_eq(ps_span_str(infer->nulls[i]), ps_span(field->ptr, field->len))) {
            return true;
        }
    }
    return false;
}

static void
json_text(struct ps_buf *out, const uint8_t *ptr, size_t len)
{
    ps_buf_xappend(out, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] < ' ' || ptr[i] == '"' || ptr[i] == '\\') {
            ps_buf_xprintf(out, "\\u%04x", ptr[i]);
        } else {
            ps_buf_xappend(out, ptr + i, 1);
        }
    }
    ps_buf_xappend(out, "\"", 1);
}

static void
sample_cell(const struct infer *infer, const struct field *field, struct ps_buf *out)
{
    ps_buf_xappend(out, ",", out->len > 1);
    if (field == NULL || is_null(infer, field)) {
        ps_buf_xappend(out, "null", 4);
    } else {
        json_text(out, field->ptr, field->len);
    }
}

/* The record's field that the column is taken from, or NULL. */
static const struct field *
field_of(const struct infer *infer, const struct spec_column *column, const struct record *record)
{
    const char *from = column->from != NULL ? column->from : column->name;
    for (uint32_t i = 0; i < record->count && i < infer->map_count; i++) {
        if (strcmp(infer->fields[infer->map[i]].name, from) == 0) {
            return &record->fields[i];
        }
    }
    return NULL;
}

/* The row as its columns will be, as far as a sample knows them. */
static void
sample_add(struct infer *infer, const struct record *record)
{
    struct ps_buf text = PS_BUF_INIT;
    const struct spec_column *columns = NULL;
    size_t count = spec_columns(infer->spec, &columns);
    ps_buf_xappend(&text, "[", 1);
    for (size_t i = 0; i < count; i++) {
        const char *constant = columns[i].constant;
        const struct field fixed = {.ptr = (const uint8_t *)constant,
                                    .len = constant == NULL ? 0 : (uint32_t)strlen(constant),
                                    .quoted = true};
        sample_cell(infer,
                    columns[i].value == VALUE_FIELD ? field_of(infer, &columns[i], record) : &fixed,
                    &text);
    }
    for (uint32_t i = 0; i < record->count && count == 0; i++) {
        sample_cell(infer, &record->fields[i], &text);
    }
    ps_buf_xappend(&text, "]", 1);
    infer->sample[infer->sample_count++] = ps_xstrndup((const char *)text.ptr, text.len);
    ps_buf_fini(&text);
}

/* Why this value makes the column text, for people. */
static const char *
why_text(const struct infer *infer, const struct field *field)
{
    double number = 0;
    const uint8_t *text = field->ptr;
    if (field->kind == FIELD_TEXT) {
        return "is a text";
    }
    bool real = infer->decimal_comma ? number_real_comma(text, field->len, &number)
                                     : number_real(text, field->len, &number);
    if (!real) {
        return "is no number";
    }
    size_t sign = *text == '-' || *text == '+';
    if (*text == '+') {
        return "begins with a plus";
    }
    if (field->len > sign + 1 && text[sign] == '0' && text[sign + 1] >= '0' &&
        text[sign + 1] <= '9') {
        return "has a leading zero";
    }
    return "has more digits than a bigint or a double keeps";
}

static void
value_add(struct infer *infer, struct seen *seen, const struct field *field, uint64_t line)
{
    bool was_text = seen->kind.not_int && seen->kind.not_real;
    infer_kind_add(&seen->kind, field, infer->decimal_comma);
    if (was_text) {
        return;
    }
    bool plain = field->kind == FIELD_PLAIN;
    /* A string of JSON is text by its own word, unless numbers came before it. */
    if (seen->kind.not_int && seen->kind.not_real && (plain || seen->kind.values > 1)) {
        size_t len = field->len;
        while (len > SHOWN_BYTES || (len < field->len && (field->ptr[len] & 0xC0) == 0x80)) {
            len--;
        }
        seen->why = ps_xasprintf("\"%.*s\"%s %s (%s line %llu)", (int)len, (const char *)field->ptr,
                                 len < field->len ? "…" : "", why_text(infer, field), infer->object,
                                 (unsigned long long)line);
        for (char *p = seen->why; *p != '\0'; p++) {
            *p = (unsigned char)*p < ' ' ? ' ' : *p;
        }
    }
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct infer *infer = ctx;
    (void)err;
    if (infer->object_rows++ >= ROWS_AN_OBJECT) {
        return PS_CANCELED;
    }
    infer->rows++;
    for (uint32_t i = 0; i < record->count && i < infer->map_count; i++) {
        if (!is_null(infer, &record->fields[i])) {
            value_add(infer, &infer->fields[infer->map[i]], &record->fields[i], record->line);
        }
    }
    if (infer->sample_count < SAMPLE_ROWS) {
        sample_add(infer, record);
    }
    return PS_OK;
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    struct infer *infer = ctx;
    (void)err;
    if (infer->rejects++ == 0) {
        ps_buf_xprintf(&infer->note, "%s line %llu would be rejected: %s. ", infer->object,
                       (unsigned long long)reject->line, reject->reason);
    }
    return PS_OK;
}

enum ps_status
infer_add(struct infer *infer, const char *object_name, struct ps_span head, bool whole,
          struct ps_error *err)
{
    const struct decode_sink sink = {
        .ctx = infer, .header = on_header, .record = on_record, .reject = on_reject};
    struct decoder *decoder = NULL;
    size_t consumed = 0;
    bool stopped = false;
    infer->object = object_name;
    infer->object_rows = 0;
    infer->map_count = 0;
    infer->named = false;
    enum ps_status status = infer->ops->open(infer->spec, ps_span("", 0), 0, &decoder, err);
    if (status == PS_OK) {
        status = infer->ops->run(decoder, head.ptr, head.len, whole, UINT64_MAX, &sink, &consumed,
                                 &stopped, err);
    }
    if (status == PS_CANCELED) {
        status = PS_OK; /* enough of this object was seen */
    }
    if (status == PS_OK && infer->ops->describe != NULL && infer->objects == 1) {
        infer->ops->describe(decoder, &infer->note);
    }
    infer->ops->close(decoder);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "%s", object_name);
}

/* ---- The columns. */

static void
note_type(struct infer *infer, const char *column, const struct seen *seen)
{
    if (seen->kind.values == 0) {
        ps_buf_xprintf(&infer->note, "%s: text, for only NULLs were seen. ", column);
    } else if (seen->why != NULL) {
        ps_buf_xprintf(&infer->note, "%s: text, for %s. ", column, seen->why);
    }
}

/* A column that the spec gives, its type filled in. */
static void
column_resolve(struct infer *infer, struct spec_column *column)
{
    if (column->type_given) {
        return;
    }
    column->type_given = true;
    switch (column->value) {
    case VALUE_OFFSET:
    case VALUE_LINE:
        column->type = COL_BIGINT;
        return;
    case VALUE_OBJECT:
    case VALUE_BATCH:
    case VALUE_CONSTANT:
        column->type = COL_TEXT;
        return;
    case VALUE_FIELD:
        break;
    }
    const char *from = column->from != NULL ? column->from : column->name;
    const struct seen *seen = seen_find(infer, ps_span_str(from));
    column->type = COL_TEXT;
    if (seen == NULL) {
        ps_buf_xprintf(&infer->note, "%s: no object of the sample has a field \"%s\". ",
                       column->name, from);
        return;
    }
    column->type = infer_kind_type(&seen->kind);
    note_type(infer, column->name, seen);
}

static bool
name_taken(const struct infer *infer, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(infer->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Columns' names and paths for keys: destinations do not tell upper from lower case, and want no
 * empty name, no control character and none longer than a column may have. */
static void
names_of_keys(struct infer *infer)
{
    size_t count = infer->field_count;
    names_free(infer);
    infer->names = ps_xcalloc(count, sizeof(char *));
    infer->paths = ps_xcalloc(count, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        const char *key = infer->fields[i].name;
        struct ps_buf path = PS_BUF_INIT;
        spec_path_spell(ps_span_str(key), &path);
        infer->paths[i] = ps_xstrndup((const char *)path.ptr, path.len);
        ps_buf_fini(&path);
        size_t len = strlen(key);
        while (len > NAME_BYTES || (len < strlen(key) && (key[len] & 0xC0) == 0x80)) {
            len--;
        }
        char *name = ps_xstrndup(key, len);
        for (char *p = name; *p != '\0'; p++) {
            *p = (unsigned char)*p < ' ' ? '_' : *p;
        }
        for (unsigned n = 2; name[0] == '\0' || name_taken(infer, i, name); n++) {
            ps_free(name);
            name = len == 0 ? ps_xasprintf("_%zu", i + n - 1)
                            : ps_xasprintf("%.*s_%u", (int)len, key, n);
        }
        infer->names[i] = name;
        infer->name_count = i + 1;
    }
}

static size_t
columns_of_fields(struct infer *infer)
{
    size_t count = infer->field_count;
    if (infer->found) {
        names_of_keys(infer);
    }
    infer->columns = ps_xcalloc(count, sizeof *infer->columns);
    for (size_t i = 0; i < count; i++) {
        const struct seen *seen = &infer->fields[i];
        infer->columns[i] = (struct spec_column){
            .name = infer->found ? infer->names[i] : seen->name,
            .from = infer->found ? infer->paths[i] : seen->name,
            .value = VALUE_FIELD,
            .type = infer_kind_type(&seen->kind),
            .type_given = true,
            .on_mismatch = MISMATCH_REJECT,
        };
        note_type(infer, infer->columns[i].name, seen);
        if (seen->objects < infer->objects && infer->null_count > 0) {
            infer->columns[i].default_text = infer->nulls[0];
            ps_buf_xprintf(&infer->note, "%s: NULL in objects without it. ", seen->name);
        }
    }
    return count;
}

enum ps_status
infer_end(struct infer *infer, const struct spec_column **out_columns, size_t *out_count,
          const char **out_note, struct ps_error *err)
{
    const struct spec_column *given = NULL;
    size_t count = spec_columns(infer->spec, &given);
    ps_free(infer->columns);
    infer->columns = NULL;
    if (count > 0) {
        infer->columns = ps_xcalloc(count, sizeof *infer->columns);
        memcpy(infer->columns, given, count * sizeof *given);
        for (size_t i = 0; i < count; i++) {
            column_resolve(infer, &infer->columns[i]);
        }
    } else if (infer->field_count == 0) {
        return ps_fail_code(err, PS_BADDATA, "no_columns",
                            "no object of the sample has a record or a header to find columns in");
    } else {
        count = columns_of_fields(infer);
    }
    if (infer->rejects > 1) {
        ps_buf_xprintf(&infer->note, "%llu records of the sample would be rejected. ",
                       (unsigned long long)infer->rejects);
    }
    const char *note = ps_buf_str(&infer->note);
    if (infer->note.len > 0) {
        infer->note.ptr[--infer->note.len] = '\0'; /* the last blank */
    }
    *out_columns = infer->columns;
    *out_count = count;
    *out_note = note;
    return PS_OK;
}

size_t
infer_sample_rows(const struct infer *infer, const char *const **out_rows)
{
    *out_rows = (const char *const *)infer->sample;
    return infer->sample_count;
}
