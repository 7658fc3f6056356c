/* SPDX-License-Identifier: Apache-2.0 */
/* Records after the header: the fast way over an index, the slow way byte by byte, and what becomes
 * of a record once its fields are known. Both ways end in record_out, so they cannot differ in what
 * is a reject. */
#include <stdio.h>

#include "agent/decode/dec_csv.h"
#include "agent/decode/dec_text.h"

enum { SHOWN_MAX = 24 };

/* A whole record, its fields in decoder->fields. */
struct whole {
    const uint8_t *begin;
    const uint8_t *end;
    uint64_t lines;
    uint32_t flags; /* enum csv_index_flag: what may be in it */
};

enum { FLAGS_UNKNOWN = CSV_SEEN_RARE | CSV_SEEN_LINE | CSV_SEEN_DOUBLED };

bool
csv_too_long(struct csv_run *run)
{
    uint64_t left = csv_run_offset(run, run->end) - csv_run_offset(run, run->at);
    return left > run->decoder->dialect.max_record_bytes;
}

static enum ps_status
reject_out(struct csv_run *run, struct decode_reject *reject, const uint8_t *begin,
           const uint8_t *end)
{
    if (run->sink->reject == NULL) {
        return PS_OK;
    }
    reject->offset = csv_run_offset(run, begin);
    reject->length = csv_run_offset(run, end) - reject->offset;
    reject->line = run->decoder->line;
    reject->reason = run->decoder->reason;
    size_t raw = reject->length < CSV_RAW_MAX ? (size_t)reject->length : CSV_RAW_MAX;
    reject->raw = ps_span(run->raw + (reject->offset - run->raw_base), raw);
    return run->sink->reject(run->sink->ctx, reject, run->err);
}

static const char *
column_name(const struct decoder *decoder, uint32_t i)
{
    return i < decoder->width ? (const char *)decoder->names[i].ptr : NULL;
}

/* The byte at p for people. */
static const char *
byte_text(const uint8_t *p, char out[SHOWN_MAX])
{
    if (*p >= 0x21 && *p < 0x7F) {
        snprintf(out, SHOWN_MAX, "'%c'", *p);
    } else {
        snprintf(out, SHOWN_MAX, "byte 0x%02X", *p);
    }
    return out;
}

enum ps_status
csv_reject_bad(struct csv_run *run, const struct csv_scan *scan)
{
    struct decoder *decoder = run->decoder;
    char shown[SHOWN_MAX];
    if (scan->bad_open) {
        snprintf(decoder->reason, sizeof decoder->reason,
                 "field %u: the quote at byte %llu is never closed; a closing quote is expected",
                 scan->bad_field + 1, (unsigned long long)csv_run_offset(run, scan->bad_at));
    } else {
        snprintf(decoder->reason, sizeof decoder->reason,
                 "field %u: found %s behind the closing quote at byte %llu; a delimiter or a line "
                 "end is expected",
                 scan->bad_field + 1, byte_text(scan->bad_at, shown),
                 (unsigned long long)csv_run_offset(run, scan->bad_at));
    }
    struct decode_reject reject = {.code = "bad_quote",
                                   .column = column_name(decoder, scan->bad_field)};
    enum ps_status status = reject_out(run, &reject, run->at, scan->end);
    if (status == PS_OK) {
        csv_run_advance(run, scan->end, scan->lines);
    }
    return status;
}

static enum ps_status
reject_long(struct csv_run *run, const struct whole *whole)
{
    struct decoder *decoder = run->decoder;
    snprintf(
        decoder->reason, sizeof decoder->reason,
        "the record has %llu bytes; at most %llu are expected (limits.max_record_bytes)",
        (unsigned long long)(csv_run_offset(run, whole->end) - csv_run_offset(run, whole->begin)),
        (unsigned long long)decoder->dialect.max_record_bytes);
    struct decode_reject reject = {.code = "too_long"};
    return reject_out(run, &reject, whole->begin, whole->end);
}

static enum ps_status
reject_ragged(struct csv_run *run, const struct whole *whole)
{
    struct decoder *decoder = run->decoder;
    snprintf(decoder->reason, sizeof decoder->reason, "found %u fields; %u are expected",
             decoder->fields.count, decoder->width);
    struct decode_reject reject = {.code = "ragged",
                                   .column = column_name(decoder, decoder->fields.count)};
    return reject_out(run, &reject, whole->begin, whole->end);
}

/* at: the first byte of the record that cannot be text. */
static enum ps_status
reject_text(struct csv_run *run, const struct whole *whole, const uint8_t *at)
{
    struct decoder *decoder = run->decoder;
    uint32_t field = 0;
    uint32_t kept = decoder->fields.count < CSV_FIELDS_MAX ? decoder->fields.count : CSV_FIELDS_MAX;
    while (field + 1 < kept && decoder->fields.items[field + 1].ptr <= at) {
        field++;
    }
    uint64_t offset = csv_run_offset(run, at);
    if (*at == 0) {
        snprintf(decoder->reason, sizeof decoder->reason,
                 "field %u: found U+0000 at byte %llu; text without it is expected", field + 1,
                 (unsigned long long)offset);
    } else {
        uint8_t byte = run->raw[offset - run->raw_base];
        snprintf(decoder->reason, sizeof decoder->reason,
                 "field %u: found byte 0x%02X at byte %llu; valid %s is expected (format.encoding)",
                 field + 1, byte, (unsigned long long)offset, run->mapped ? "UTF-16" : "UTF-8");
    }
    struct decode_reject reject = {.code = *at == 0 ? "nul" : "bad_utf8",
                                   .column = column_name(decoder, field)};
    return reject_out(run, &reject, whole->begin, whole->end);
}

/* The first byte that cannot be text, or NULL. */
static const uint8_t *
text_error(const struct decoder *decoder, const struct whole *whole)
{
    size_t len = (size_t)(whole->end - whole->begin);
    if (decoder->dialect.encoding == CSV_LATIN1) {
        return memchr(whole->begin, 0, len);
    }
    size_t good = csv_text_check(whole->begin, len);
    return good == len ? NULL : whole->begin + good;
}

/* Pads or cuts to the width where the dialect allows it; false: the record is a reject. */
static bool
fit(struct decoder *decoder)
{
    struct csv_fields *fields = &decoder->fields;
    if (fields->count > decoder->width) {
        if (decoder->dialect.ragged != CSV_RAGGED_CUT) {
            return false;
        }
        fields->count = decoder->width;
        return true;
    }
    if (decoder->dialect.ragged == CSV_RAGGED_REJECT) {
        return false;
    }
    while (fields->cap < decoder->width) {
        if (!csv_fields_grow(fields)) {
            return false;
        }
    }
    while (fields->count < decoder->width) {
        fields->items[fields->count++] = (struct field){0};
    }
    return true;
}

/* Fields that are not in the record byte for byte are made in scratch. */
static enum ps_status
fields_finish(struct csv_run *run, const struct whole *whole)
{
    struct decoder *decoder = run->decoder;
    bool latin1 = decoder->dialect.encoding == CSV_LATIN1 && (whole->flags & CSV_SEEN_RARE) != 0;
    struct ps_buf *scratch = &decoder->scratch;
    ps_buf_clear(scratch);
    /* Once for the whole record: spans into scratch stay where they are. */
    enum ps_status status =
        ps_buf_reserve(scratch, (size_t)(whole->end - whole->begin) * 3, run->err);
    for (uint32_t i = 0; i < decoder->fields.count && status == PS_OK; i++) {
        struct field *field = &decoder->fields.items[i];
        if (field->escaped) {
            uint8_t *out = scratch->ptr + scratch->len;
            field->len = csv_unescape(&decoder->dialect, field, out);
            field->ptr = out;
            field->escaped = false;
            scratch->len += field->len;
        }
        if (latin1 && field->len > 0) {
            uint8_t *out = scratch->ptr + scratch->len;
            field->len = (uint32_t)dec_text_latin1(field->ptr, field->len, out);
            field->ptr = out;
            scratch->len += field->len;
        }
    }
    return status;
}

/* Hands a whole record out, as a record, a reject or nothing (a blank line). The caller moves the
 * boundary. */
static enum ps_status
record_out(struct csv_run *run, const struct whole *whole)
{
    struct decoder *decoder = run->decoder;
    struct csv_fields *fields = &decoder->fields;
    uint64_t offset = csv_run_offset(run, whole->begin);
    uint64_t length = csv_run_offset(run, whole->end) - offset;
    if (length > decoder->dialect.max_record_bytes) {
        return reject_long(run, whole);
    }
    if (fields->count == 1 && fields->items[0].len == 0 && !fields->items[0].quoted &&
        decoder->width != 1) {
        return PS_OK;
    }
    if ((whole->flags & CSV_SEEN_RARE) != 0) {
        const uint8_t *at = text_error(decoder, whole);
        if (at != NULL) {
            return reject_text(run, whole, at);
        }
    }
    if (fields->count != decoder->width && !fit(decoder)) {
        return reject_ragged(run, whole);
    }
    if ((whole->flags & CSV_SEEN_DOUBLED) != 0 ||
        ((whole->flags & CSV_SEEN_RARE) != 0 && decoder->dialect.encoding == CSV_LATIN1)) {
        enum ps_status status = fields_finish(run, whole);
        if (status != PS_OK) {
            return status;
        }
    }
    struct record record = {
        .fields = fields->items,
        .count = fields->count,
        .offset = offset,
        .length = length,
        .line = decoder->line,
        .raw = ps_span(run->raw + (offset - run->raw_base), (size_t)length),
    };
    return run->sink->record(run->sink->ctx, &record, run->err);
}

static enum ps_status
slow_record(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    struct csv_scan scan = {0};
    enum csv_kind kind =
        csv_scan(&decoder->dialect, run->at, run->end, run->eof, &decoder->fields, &scan);
    switch (kind) {
    case CSV_MORE:
        if (csv_too_long(run)) {
            return csv_long_begin(run);
        }
        run->waits = true;
        return PS_OK;
    case CSV_COMMENT:
        csv_run_advance(run, scan.end, scan.lines);
        return PS_OK;
    case CSV_BAD:
        if (csv_too_long(run) &&
            (scan.bad_open || csv_run_offset(run, scan.end) - csv_run_offset(run, run->at) >
                                  decoder->dialect.max_record_bytes)) {
            return csv_long_begin(run); /* as it would be with a window that ends earlier */
        }
        return csv_reject_bad(run, &scan);
    case CSV_RECORD: {
        struct whole whole = {
            .begin = run->at, .end = scan.end, .lines = scan.lines, .flags = FLAGS_UNKNOWN};
        enum ps_status status = record_out(run, &whole);
        if (status == PS_OK) {
            csv_run_advance(run, scan.end, scan.lines);
        }
        return status;
    }
    case CSV_NOMEM:
        break;
    }
    return ps_fail(run->err, PS_FULL, "csv: no memory for %u fields", decoder->fields.count);
}

/* ---- The fast way. */

/* A field between two separators, as the index shows it; false: only the slow way knows. */
static inline bool
fast_field(const struct decoder *decoder, struct field *field, const uint8_t *begin,
           const uint8_t *end, bool line, uint32_t flags)
{
    const struct csv_dialect *dialect = &decoder->dialect;
    if (line && dialect->line_end != CSV_LINE_LF && dialect->line_end != CSV_LINE_CR) {
        bool cr = end > begin && end[-1] == '\r';
        if (!cr && dialect->line_end == CSV_LINE_CRLF) {
            return false;
        }
        end -= cr;
    }
    if (end > begin && *begin == dialect->quote && decoder->index->quotes) {
        if (end - begin < 2 || end[-1] != dialect->quote) {
            return false;
        }
        *field =
            (struct field){.ptr = begin + 1, .len = (uint32_t)(end - begin - 2), .quoted = true};
        if ((flags & CSV_SEEN_DOUBLED) != 0) {
            field->escaped = memchr(field->ptr, dialect->quote, field->len) != NULL;
        }
        return true;
    }
    while (dialect->trim && begin < end && (*begin == ' ' || *begin == '\t')) {
        begin++;
    }
    while (dialect->trim && begin < end && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    *field = (struct field){.ptr = begin, .len = (uint32_t)(end - begin)};
    return true;
}

static inline bool
comment_begins(const struct csv_run *run, const uint8_t *p)
{
    const struct csv_mark *mark = &run->decoder->dialect.comment;
    return mark->len > 0 && p < run->end && *p == mark->bytes[0];
}

/* The records that end in the indexed chunk. *field is where the field now being read begins.
 * *out_slow: the record at run->at is for the slow way. */
static enum ps_status
fast_chunk(struct csv_run *run, const uint8_t **field, uint32_t *flags, bool *out_slow)
{
    struct decoder *decoder = run->decoder;
    const struct csv_index *index = decoder->index;
    struct csv_fields *fields = &decoder->fields;
    const uint8_t *begin = *field;
    *flags |= index->flags;
    for (uint32_t i = 0; i < index->count; i++) {
        const uint8_t *end = run->base + index->at[i];
        bool line = *end == index->line;
        if (fields->count == fields->cap) {
            *out_slow = fields->count == CSV_FIELDS_MAX || !csv_fields_grow(fields);
        }
        if (*out_slow ||
            !fast_field(decoder, &fields->items[fields->count], begin, end, line, *flags)) {
            *out_slow = true;
            return PS_OK;
        }
        fields->count++;
        begin = end + 1;
        if (!line) {
            continue;
        }
        struct whole whole = {.begin = run->at, .end = begin, .lines = 1, .flags = *flags};
        if ((*flags & CSV_SEEN_LINE) != 0) {
            whole.lines = csv_lines_count(decoder->dialect.line_end, run->at, begin);
        }
        enum ps_status status = record_out(run, &whole);
        if (status != PS_OK) {
            return status;
        }
        csv_run_advance(run, begin, whole.lines);
        fields->count = 0;
        *flags = index->flags;
        if (run->stopped) {
            return PS_OK;
        }
        if (comment_begins(run, begin)) {
            *out_slow = true;
            return PS_OK;
        }
    }
    *field = begin;
    *out_slow = (index->flags & CSV_SEEN_BAD) != 0;
    return PS_OK;
}

/* All the records of the window, until one is for the slow way. */
static enum ps_status
fast_records(struct csv_run *run, bool *out_slow)
{
    struct decoder *decoder = run->decoder;
    const uint8_t *field = run->at;
    const uint8_t *chunk = run->at;
    uint32_t flags = 0;
    decoder->fields.count = 0;
    csv_index_reset(decoder->index);
    *out_slow = comment_begins(run, run->at);
    while (chunk < run->end && !*out_slow && !run->stopped) {
        size_t len = (size_t)(run->end - chunk);
        len = len < decoder->chunk_bytes ? len : decoder->chunk_bytes;
        decoder->kernel(decoder->index, chunk, len, (uint32_t)(chunk - run->base));
        chunk += len;
        enum ps_status status = fast_chunk(run, &field, &flags, out_slow);
        if (status != PS_OK) {
            return status;
        }
        decoder->chunk_bytes =
            decoder->chunk_bytes * 2 < CSV_INDEX_CHUNK ? decoder->chunk_bytes * 2 : CSV_INDEX_CHUNK;
    }
    if (*out_slow) {
        decoder->chunk_bytes = CSV_INDEX_CHUNK / 16;
    } else if (!run->stopped && run->at < run->end) {
        *out_slow = true; /* the last record: whole at eof, else to wait for or too long */
    }
    return PS_OK;
}

enum ps_status
csv_rows(struct csv_run *run)
{
    bool slow = true;
    if (run->decoder->kernel != NULL) {
        enum ps_status status = fast_records(run, &slow);
        if (status != PS_OK) {
            return status;
        }
    }
    return slow && !run->stopped ? slow_record(run) : PS_OK;
}

/* ---- Records longer than the limit. */

enum ps_status
csv_long_begin(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    const struct csv_mark *comment = &decoder->dialect.comment;
    bool is_comment = comment->len > 0 && (size_t)(run->end - run->at) >= comment->len &&
                      memcmp(run->at, comment->bytes, comment->len) == 0;
    decoder->skip = (struct csv_skip){.state = is_comment ? CSV_SKIP_COMMENT : CSV_SKIP_BEGIN};
    decoder->in_long = true;
    decoder->long_begin = csv_run_offset(run, run->at);
    ps_buf_clear(&decoder->long_raw);
    return PS_OK;
}

/* Keeps the record's first bytes, which no later window shows again. */
static enum ps_status
long_keep(struct csv_run *run, uint64_t begin, uint64_t end)
{
    struct ps_buf *raw = &run->decoder->long_raw;
    size_t room = raw->len < CSV_RAW_MAX ? CSV_RAW_MAX - raw->len : 0;
    size_t len = end - begin < room ? (size_t)(end - begin) : room;
    return ps_buf_append(raw, run->raw + (begin - run->raw_base), len, run->err);
}

enum ps_status
csv_long_run(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    const uint8_t *at = run->at;
    bool comment = decoder->skip.state == CSV_SKIP_COMMENT;
    bool done = csv_skip_run(&decoder->skip, &decoder->dialect, run->at, run->end, run->eof, &at);
    uint64_t begin = csv_run_offset(run, run->at);
    uint64_t end = csv_run_offset(run, at);
    enum ps_status status = long_keep(run, begin, end);
    if (status != PS_OK) {
        return status;
    }
    if (!done) {
        run->at = at;
        decoder->offset = end;
        run->waits = true;
        return PS_OK;
    }
    decoder->in_long = false;
    if (!comment && run->sink->reject != NULL) {
        uint64_t length = end - decoder->long_begin;
        snprintf(decoder->reason, sizeof decoder->reason,
                 "the record has %llu bytes; at most %llu are expected (limits.max_record_bytes)",
                 (unsigned long long)length, (unsigned long long)decoder->dialect.max_record_bytes);
        struct decode_reject reject = {
            .offset = decoder->long_begin,
            .length = length,
            .line = decoder->line,
            .code = "too_long",
            .reason = decoder->reason,
            .raw = ps_buf_span(&decoder->long_raw),
        };
        status = run->sink->reject(run->sink->ctx, &reject, run->err);
    }
    csv_run_advance(run, at, decoder->skip.lines);
    return status;
}
