/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_lines.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/base64.h"

static void
line_fini(struct leaf_line *line)
{
    ps_buf_fini(&line->raw);
    json_decref(line->fields);
}

void
leaf_lines_fini(struct leaf_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        line_fini(&lines->items[i]);
    }
    ps_free(lines->items);
    json_decref(lines->spec);
    *lines = (struct leaf_lines){0};
}

static enum ps_status
wrong(unsigned line, const char *key, const char *expected, struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "replay_line", "line %u: %s: expected %s", line, key,
                        expected);
}

/* A number, or a text of digits as the API writes 64-bit numbers. *out_has false: it is missing. */
static enum ps_status
take_number(const json_t *doc, const char *key, unsigned line, bool *out_has, uint64_t *out,
            struct ps_error *err)
{
    const json_t *value = json_object_get(doc, key);
    *out_has = value != NULL && !json_is_null(value);
    if (!*out_has) {
        return PS_OK;
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return PS_OK;
    }
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 19 || text[digits] != '\0') {
        return wrong(line, key, "a whole number", err);
    }
    *out = strtoull(text, NULL, 10);
    return PS_OK;
}

static enum ps_status
take_batch(const json_t *doc, struct leaf_line *item, struct ps_error *err)
{
    const json_t *value = json_object_get(doc, "batch");
    item->has_batch = value != NULL && !json_is_null(value);
    if (item->has_batch &&
        (!json_is_string(value) || !ps_id_parse(json_string_value(value), &item->batch.id))) {
        return wrong(item->line, "batch", "a batch id", err);
    }
    return PS_OK;
}

/* raw is a text; raw_b64 stands for bytes that are none. The text wins: people write that one. */
static enum ps_status
take_raw(const json_t *doc, struct leaf_line *item, struct ps_error *err)
{
    const json_t *raw = json_object_get(doc, "raw");
    const json_t *coded = json_object_get(doc, "raw_b64");
    if (raw != NULL && !json_is_null(raw)) {
        if (!json_is_string(raw)) {
            return wrong(item->line, "raw", "the record as a text", err);
        }
        item->has_raw = true;
        return ps_buf_append(&item->raw, json_string_value(raw), json_string_length(raw), err);
    }
    if (coded == NULL || json_is_null(coded)) {
        return PS_OK;
    }
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (!json_is_string(coded) ||
        ps_base64_parse(ps_span(json_string_value(coded), json_string_length(coded)), &bytes, &len,
                        err) != PS_OK) {
        return wrong(item->line, "raw_b64", "the record's bytes in base64", err);
    }
    item->has_raw = true;
    enum ps_status status = ps_buf_append(&item->raw, bytes, len, err);
    ps_free(bytes);
    return status;
}

static enum ps_status
take_item(const json_t *doc, struct leaf_line *item, struct ps_error *err)
{
    bool has_n = false;
    enum ps_status status = take_number(doc, "n", item->line, &has_n, &item->n, err);
    if (status == PS_OK && (!has_n || item->n == 0)) {
        status = wrong(item->line, "n", "the reject's number, as export writes it", err);
    }
    if (status == PS_OK) {
        status = take_number(doc, "offset", item->line, &item->has_offset, &item->offset, err);
    }
    if (status == PS_OK) {
        status = take_batch(doc, item, err);
    }
    if (status == PS_OK) {
        status = take_raw(doc, item, err);
    }
    const json_t *discard = json_object_get(doc, "discard");
    if (status == PS_OK && discard != NULL && !json_is_boolean(discard)) {
        return wrong(item->line, "discard", "true or false", err);
    }
    item->discards = json_is_true(discard);
    json_t *fields = json_object_get(doc, "fields");
    if (status == PS_OK && fields != NULL && !json_is_null(fields)) {
        if (!json_is_object(fields)) {
            return wrong(item->line, "fields", "an object of names and values", err);
        }
        item->fields = json_incref(fields);
    }
    return status;
}

static enum ps_status
take_line(struct ps_span text, unsigned line, struct leaf_lines *out, struct ps_error *err)
{
    json_t *doc = NULL;
    enum ps_status status = ps_json_load(text, PS_JSON_MAX_BYTES, &doc, err);
    if (status != PS_OK) {
        return ps_fail_code(err, PS_REFUSED, "replay_line", "line %u: expected a JSON object: %s",
                            line, err->text);
    }
    json_t *spec = json_is_object(doc) ? json_object_get(doc, "spec") : NULL;
    if (!json_is_object(doc)) {
        status = wrong(line, "the line", "a JSON object", err);
    } else if (spec != NULL && (line > 1 || !json_is_object(spec))) {
        status = wrong(line, "spec", "an object, on the first line only", err);
    } else if (spec != NULL) {
        out->spec = json_incref(spec);
    } else if (out->count == LEAF_LINES_MOST) {
        status = ps_fail_code(err, PS_REFUSED, "replay_line", "more than %d records at once",
                              LEAF_LINES_MOST);
    } else {
        out->items = ps_xrealloc(out->items, (out->count + 1) * sizeof *out->items);
        struct leaf_line *item = &out->items[out->count++];
        *item = (struct leaf_line){.line = line};
        status = take_item(doc, item, err);
    }
    json_decref(doc);
    return status;
}

static int
by_number(const void *a, const void *b)
{
    const struct leaf_line *x = a;
    const struct leaf_line *y = b;
    return x->n < y->n ? -1 : x->n > y->n;
}

static bool
is_blank(struct ps_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != ' ' && text.ptr[i] != '\t' && text.ptr[i] != '\r') {
            return false;
        }
    }
    return true;
}

enum ps_status
leaf_lines_parse(struct ps_span text, struct leaf_lines *out, struct ps_error *err)
{
    struct leaf_lines lines = {0};
    enum ps_status status = PS_OK;
    unsigned number = 0;
    for (size_t at = 0; status == PS_OK && at < text.len;) {
        const uint8_t *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end == NULL ? text.len - at : (size_t)(end - text.ptr) - at;
        struct ps_span line = ps_span(text.ptr + at, len);
        number++;
        status = is_blank(line) ? PS_OK : take_line(line, number, &lines, err);
        at += len + 1;
    }
    if (status == PS_OK && lines.count > 1) {
        qsort(lines.items, lines.count, sizeof *lines.items, by_number);
    }
    for (size_t i = 1; status == PS_OK && i < lines.count; i++) {
        if (lines.items[i].n == lines.items[i - 1].n) {
            status = ps_fail_code(err, PS_REFUSED, "replay_line",
                                  "lines %u and %u: reject %" PRIu64 " is there twice",
                                  lines.items[i - 1].line, lines.items[i].line, lines.items[i].n);
        }
    }
    if (status != PS_OK) {
        leaf_lines_fini(&lines);
        return status;
    }
    *out = lines;
    return PS_OK;
}

const struct leaf_line *
leaf_lines_find(const struct leaf_lines *lines, uint64_t n)
{
    const struct leaf_line key = {.n = n};
    return lines->count == 0
               ? NULL
               : bsearch(&key, lines->items, lines->count, sizeof *lines->items, by_number);
}
