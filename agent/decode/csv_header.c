/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/dec_csv.h"

#include <stdio.h>

#include "agent/decode/dec_text.h"
#include "agent/decode/number.h"
#include "common/alloc.h"
#include "common/assert.h"

enum { NUMBER_BYTES = 16 };

enum ps_status
csv_header_add(struct decoder *decoder, struct ps_span name, struct ps_error *err)
{
    enum ps_status status = ps_buf_append(&decoder->name_bytes, name.ptr, name.len, err);
    return status == PS_OK ? ps_buf_append(&decoder->name_bytes, "", 1, err) : status;
}

/* The names hold no NUL (checked before), so their ends are found again. */
enum ps_status
csv_header_spans(struct decoder *decoder, uint32_t width, struct ps_error *err)
{
    ps_free(decoder->names);
    decoder->names = ps_calloc(width, sizeof *decoder->names);
    if (decoder->names == NULL) {
        return ps_fail(err, PS_FULL, "csv: no memory for %u names", width);
    }
    const char *at = (const char *)decoder->name_bytes.ptr;
    for (uint32_t i = 0; i < width; i++) {
        decoder->names[i] = ps_span_str(at);
        at += decoder->names[i].len + 1;
    }
    decoder->width = width;
    return PS_OK;
}

static enum ps_status
too_wide(uint32_t width, const struct decoder *decoder, struct ps_error *err)
{
    return ps_fail_code(err, PS_BADDATA, "bad_header",
                        "csv: the first record has %u fields, at most %u are expected "
                        "(limits.max_columns)",
                        width, decoder->dialect.max_columns);
}

enum ps_status
csv_header_number(struct decoder *decoder, uint32_t width, struct ps_error *err)
{
    ps_buf_clear(&decoder->name_bytes);
    if (width > decoder->dialect.max_columns) {
        return too_wide(width, decoder, err);
    }
    for (uint32_t i = 0; i < width; i++) {
        char name[NUMBER_BYTES];
        int len = snprintf(name, sizeof name, "c%u", i + 1);
        enum ps_status status = csv_header_add(decoder, ps_span(name, (size_t)len), err);
        if (status != PS_OK) {
            return status;
        }
    }
    decoder->names_made = true;
    return csv_header_spans(decoder, width, err);
}

/* ASCII letters count as equal in both cases: most destinations think so of column names. */
static bool
alike(struct ps_span a, struct ps_span b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        uint8_t x = a.ptr[i];
        uint8_t y = b.ptr[i];
        x += x >= 'A' && x <= 'Z' ? 'a' - 'A' : 0;
        y += y >= 'A' && y <= 'Z' ? 'a' - 'A' : 0;
        if (x != y) {
            return false;
        }
    }
    return true;
}

static uint32_t
times(const struct ps_span *names, uint32_t count, struct ps_span name)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += alike(names[i], name);
    }
    return found;
}

/* A copy of base, or base_2, base_3 …: the first that nobody before has. An empty one is _N, N its
 * place. plain holds the names as they came: a made name never takes one of those. */
static enum ps_status
name_add(struct decoder *decoder, const struct ps_span *plain, uint32_t i, struct ps_error *err)
{
    const uint8_t *from = NULL;
    struct ps_span base = plain[i];
    uint32_t before = base.len == 0 ? i : times(plain, i, base);
    uint32_t number = before + 1;
    enum ps_status status = PS_OK;
    size_t start = decoder->name_bytes.len;
    if (base.len > 0 && before == 0) {
        return csv_header_add(decoder, base, err);
    }
    bool free_name = false;
    while (status == PS_OK && !free_name) {
        char tail[NUMBER_BYTES];
        int len = snprintf(tail, sizeof tail, "_%u", number++);
        decoder->name_bytes.len = start;
        status = ps_buf_append(&decoder->name_bytes, base.ptr, base.len, err);
        if (status == PS_OK) {
            status = csv_header_add(decoder, ps_span(tail, (size_t)len), err);
        }
        struct ps_span made = ps_span(decoder->name_bytes.ptr + start,
                                      decoder->name_bytes.len - start - (status == PS_OK));
        free_name = status == PS_OK && times(plain, decoder->fields.count, made) == 0;
        from = decoder->name_bytes.ptr;
        for (uint32_t k = 0; k < i && free_name; k++) { /* nor one made before */
            struct ps_span other = ps_span_str((const char *)from);
            free_name = !alike(other, made);
            from += other.len + 1;
        }
    }
    return status;
}

/* The field's text as UTF-8, in scratch. */
static enum ps_status
name_text(struct decoder *decoder, const struct field *field, struct ps_span *out,
          struct ps_error *err)
{
    struct ps_buf *scratch = &decoder->scratch;
    enum ps_status status = ps_buf_reserve(scratch, (size_t)field->len * 3 + 1, err);
    if (status != PS_OK) {
        return status;
    }
    uint8_t *plain = scratch->ptr + scratch->len;
    size_t len = field->len;
    if (field->escaped) {
        len = csv_unescape(&decoder->dialect, field, plain);
    } else if (len > 0) {
        memcpy(plain, field->ptr, len);
    }
    *out = ps_span(plain, len);
    if (decoder->dialect.encoding == CSV_LATIN1) {
        len = dec_text_latin1(out->ptr, out->len, plain + len);
        *out = ps_span(plain + out->len, len);
    }
    scratch->len = (size_t)(out->ptr + out->len - scratch->ptr);
    return PS_OK;
}

enum ps_status
csv_header_take(struct decoder *decoder, struct ps_error *err)
{
    uint32_t count = decoder->fields.count;
    if (count > decoder->dialect.max_columns) {
        return too_wide(count, decoder, err);
    }
    size_t all = 0;
    for (uint32_t i = 0; i < count; i++) {
        all += (size_t)decoder->fields.items[i].len * 3 + 1;
    }
    ps_buf_clear(&decoder->scratch);
    ps_buf_clear(&decoder->name_bytes);
    enum ps_status status = ps_buf_reserve(&decoder->scratch, all, err); /* spans stay valid */
    struct ps_span *plain = ps_calloc(count, sizeof *plain);
    if (status == PS_OK && plain == NULL) {
        status = ps_fail(err, PS_FULL, "csv: no memory for %u names", count);
    }
    for (uint32_t i = 0; i < count && status == PS_OK; i++) {
        PS_ASSERT(plain != NULL);
        status = name_text(decoder, &decoder->fields.items[i], &plain[i], err);
        if (status == PS_OK && csv_text_check(plain[i].ptr, plain[i].len) != plain[i].len) {
            status = ps_fail_code(err, PS_BADDATA, "bad_header",
                                  "csv: name %u of the header is not valid UTF-8 (or holds U+0000)",
                                  i + 1);
        }
    }
    for (uint32_t i = 0; i < count && status == PS_OK; i++) {
        status = name_add(decoder, plain, i, err);
    }
    ps_free(plain);
    return status == PS_OK ? csv_header_spans(decoder, count, err) : status;
}

bool
csv_header_looks(const struct decoder *decoder)
{
    const struct field *fields = decoder->fields.items;
    bool latin1 = decoder->dialect.encoding == CSV_LATIN1;
    if (decoder->fields.count > decoder->dialect.max_columns) {
        return false;
    }
    for (uint32_t i = 0; i < decoder->fields.count; i++) {
        double number = 0;
        if (fields[i].len == 0 || number_real(fields[i].ptr, fields[i].len, &number) ||
            (!latin1 && csv_text_check(fields[i].ptr, fields[i].len) != fields[i].len)) {
            return false;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (alike(ps_span(fields[i].ptr, fields[i].len),
                      ps_span(fields[k].ptr, fields[k].len))) {
                return false;
            }
        }
    }
    return true;
}

enum ps_status
csv_header_tell(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    decoder->names_told = true;
    return run->sink->header == NULL
               ? PS_OK
               : run->sink->header(run->sink->ctx, decoder->names, decoder->width, run->err);
}
