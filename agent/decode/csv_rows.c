/* SPDX-License-Identifier: Apache-2.0 */
/* Records after the header: the fast way over an index, the slow way byte by byte, and what becomes
 * of a record once its fields are known. Both ways end in record_out, so they cannot differ in what
 * is a reject. */
#include <stddef.h>
#include <stdio.h>

#include "agent/decode/dec_csv.h"
#include "agent/decode/dec_text.h"

enum { SHOWN_MAX = 24 };

/* A whole record, its fields in decoder->fields. */
struct whole {
    const uint8_t *begin;
    const uint8_t *end;
    uint64_t lines;
    uint32_t flags; /* CSV_SEEN_RARE, CSV_HAS_ESCAPED: what may be in it */
};

/* Beside enum csv_index_flag: a field has escapes or doubled quotes. */
enum { CSV_HAS_ESCAPED = 256, FLAGS_UNKNOWN = CSV_SEEN_RARE | CSV_HAS_ESCAPED };

bool
csv_too_long(struct csv_run *run)
{
    uint64_t left = csv_run_offset(run, run->end) - csv_run_offset(run, run->at);
    return left > run->decoder->dialect.max_record_bytes;
}

bool
csv_scan_too_long(struct csv_run *run, enum csv_kind kind, const struct csv_scan *scan)
{
    /* A quote that is never closed reaches to the object's end: so it would be read from windows
     * that end earlier. */
    bool open = kind == CSV_BAD && scan->bad_open && !run->decoder->dialect.one_line;
    if (kind == CSV_MORE || open) {
        return csv_too_long(run);
    }
    return (kind == CSV_RECORD || kind == CSV_BAD) &&
           csv_run_offset(run, scan->end) - csv_run_offset(run, run->at) >
               run->decoder->dialect.max_record_bytes;
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
    reject->line = csv_line(run->decoder);
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
                 "field %u: the quote at byte %llu is %s; a closing quote is expected",
                 scan->bad_field + 1, (unsigned long long)csv_run_offset(run, scan->bad_at),
                 decoder->dialect.one_line ? "not closed on its line (format.multiline: false)"
                                           : "never closed");
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
    if ((whole->flags & CSV_HAS_ESCAPED) != 0 ||
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
        .line = csv_line(decoder),
        .raw = ps_span(run->raw + (offset - run->raw_base), (size_t)length),
        .slack = run->mapped ? 0 : (size_t)(run->end - whole->end),
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
    if (csv_scan_too_long(run, kind, &scan)) {
        return csv_long_begin(run);
    }
    switch (kind) {
    case CSV_MORE:
        run->waits = true;
        return PS_OK;
    case CSV_COMMENT:
        csv_run_advance(run, scan.end, scan.lines);
        return PS_OK;
    case CSV_BAD:
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

/* Where the reading of the indexed text stands. */
struct fast {
    const uint8_t *field; /* where the field now being read begins */
    const uint8_t *chunk; /* where the indexed chunk begins */
    uint32_t count;       /* fields of the record now being read */
    uint32_t flags;       /* what is known of its part in earlier chunks, and of its fields */
    bool quoted;          /* a field of it is quoted */
    bool slow;            /* it is for the slow way */
};

static inline bool
comment_begins(const struct csv_run *run, const uint8_t *p)
{
    const struct csv_mark *mark = &run->decoder->dialect.comment;
    return mark->len > 0 && p < run->end && *p == mark->bytes[0];
}

/* A field that needs more than a look: quoted, to be trimmed, or the last one of a line that may
 * end with CR LF. False: only the slow way knows. */
static bool
special_field(const struct decoder *decoder, struct fast *fast, struct field *field,
              const uint8_t *end)
{
    const struct csv_dialect *dialect = &decoder->dialect;
    const struct csv_index *index = decoder->index;
    const uint8_t *begin = fast->field;
    if (*end == index->line && dialect->line_end != CSV_LINE_LF &&
        dialect->line_end != CSV_LINE_CR) {
        bool cr = end > begin && end[-1] == '\r';
        if (!cr && dialect->line_end == CSV_LINE_CRLF) {
            return false;
        }
        end -= cr;
    }
    if (end > begin && *begin == dialect->quote && index->quotes) {
        if (end - begin < 2 || end[-1] != dialect->quote) {
            return false;
        }
        *field =
            (struct field){.ptr = begin + 1, .len = (uint32_t)(end - begin - 2), .quoted = true};
        fast->quoted = true;
        if (((fast->flags | index->flags) & CSV_SEEN_DOUBLED) != 0 &&
            memchr(field->ptr, dialect->quote, field->len) != NULL) {
            field->escaped = true;
            fast->flags |= CSV_HAS_ESCAPED;
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

/* The record that ends before next. */
static enum ps_status
fast_record(struct csv_run *run, struct fast *fast, const uint8_t *next)
{
    struct decoder *decoder = run->decoder;
    const struct csv_index *index = decoder->index;
    uint32_t flags = fast->flags & (CSV_SEEN_RARE | CSV_HAS_ESCAPED);
    if ((index->flags & CSV_SEEN_RARE) != 0) {
        const uint8_t *begin = run->at > fast->chunk ? run->at : fast->chunk;
        bool rare =
            csv_index_rare(index, (size_t)(begin - fast->chunk), (size_t)(next - fast->chunk));
        flags |= rare ? CSV_SEEN_RARE : 0;
    }
    struct whole whole = {.begin = run->at, .end = next, .lines = 1, .flags = flags};
    if (fast->quoted && ((fast->flags | index->flags) & CSV_SEEN_LINE) != 0) {
        whole.lines = csv_lines_count(decoder->dialect.line_end, run->at, next);
    }
    decoder->fields.count = fast->count;
    enum ps_status status = record_out(run, &whole);
    if (status != PS_OK) {
        return status;
    }
    csv_run_advance(run, next, whole.lines);
    fast->count = 0;
    fast->flags = 0;
    fast->quoted = false;
    fast->slow = comment_begins(run, next);
    return PS_OK;
}

/* What the chunk says of the record that goes on in the next one. */
static void
fast_carry(const struct csv_run *run, struct fast *fast)
{
    const struct csv_index *index = run->decoder->index;
    fast->flags |= index->flags & (CSV_SEEN_LINE | CSV_SEEN_DOUBLED | CSV_SEEN_RARE);
}

/* A plain slice: one store for the length and the marks behind it. */
static inline void
slice_put(struct field *field, const uint8_t *begin, const uint8_t *end)
{
    _Static_assert(offsetof(struct field, quoted) == offsetof(struct field, len) + 4 &&
                       sizeof(struct field) == offsetof(struct field, len) + 8,
                   "the marks are the upper half of eight little-endian bytes");
    uint64_t len_and_marks = (uint64_t)(end - begin);
    field->ptr = begin;
    memcpy(&field->len, &len_and_marks, sizeof len_and_marks);
}

/* The records that end in the indexed chunk. */
static enum ps_status
fast_chunk(struct csv_run *run, struct fast *fast)
{
    struct decoder *decoder = run->decoder;
    const struct csv_index *index = decoder->index;
    const uint32_t *at = index->at;
    const uint32_t *const last = at + index->count;
    const uint8_t *const base = run->base;
    const unsigned quote = index->quotes ? index->quote : UINT8_MAX + 1U;
    const unsigned line = index->line;
    const unsigned trim = decoder->dialect.trim;
    struct csv_fields *fields = &decoder->fields;
    struct field *next = fields->items + fast->count;
    struct field *limit = fields->items + fields->cap;
    const uint8_t *begin = fast->field;
    for (; at < last; at++) {
        const uint8_t *end = base + *at;
        if (__builtin_expect(next == limit, 0)) {
            uint32_t had = fields->cap;
            fast->slow = had >= CSV_FIELDS_MAX || !csv_fields_grow(fields);
            if (fast->slow) {
                return PS_OK;
            }
            next = fields->items + had;
            limit = fields->items + fields->cap;
        }
        if (__builtin_expect(((*end == line) | (*begin == quote) | trim) == 0, 1)) {
            slice_put(next++, begin, end);
            begin = end + 1;
            continue;
        }
        fast->field = begin;
        if (!special_field(decoder, fast, next, end)) {
            fast->slow = true;
            return PS_OK;
        }
        next++;
        begin = end + 1;
        if (*end == line) {
            fast->count = (uint32_t)(next - fields->items);
            enum ps_status status = fast_record(run, fast, begin);
            if (status != PS_OK || run->stopped || fast->slow) {
                return status;
            }
            next = fields->items; /* a padded record may have made them grow */
            limit = next + fields->cap;
        }
    }
    fast->field = begin;
    fast->count = (uint32_t)(next - fields->items);
    fast->slow = (index->flags & CSV_SEEN_BAD) != 0;
    fast_carry(run, fast);
    return PS_OK;
}

/* All the records of the window, until one is for the slow way. */
static enum ps_status
fast_records(struct csv_run *run, bool *out_slow)
{
    struct decoder *decoder = run->decoder;
    struct fast fast = {.field = run->at, .chunk = run->at};
    fast.slow = comment_begins(run, run->at);
    csv_index_reset(decoder->index);
    while (fast.chunk < run->end && !fast.slow && !run->stopped) {
        size_t len = (size_t)(run->end - fast.chunk);
        len = len < decoder->chunk_bytes ? len : decoder->chunk_bytes;
        decoder->kernel(decoder->index, fast.chunk, len, (uint32_t)(fast.chunk - run->base));
        if (decoder->dialect.one_line && (decoder->index->flags & CSV_SEEN_LINE) != 0) {
            fast.slow = true; /* what stands behind that line end is not what the quotes say */
            break;
        }
        enum ps_status status = fast_chunk(run, &fast);
        if (status != PS_OK) {
            return status;
        }
        fast.chunk += len;
        decoder->chunk_bytes =
            decoder->chunk_bytes * 2 < CSV_INDEX_CHUNK ? decoder->chunk_bytes * 2 : CSV_INDEX_CHUNK;
    }
    if (fast.slow) {
        decoder->chunk_bytes = CSV_INDEX_CHUNK / 16;
    }
    /* Else the last record: whole at eof, or to wait for, or too long. */
    *out_slow = fast.slow || (!run->stopped && run->at < run->end);
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
    decoder->skip = (struct csv_skip){.state = is_comment                  ? CSV_SKIP_COMMENT
                                               : decoder->dialect.one_line ? CSV_SKIP_RESYNC
                                                                           : CSV_SKIP_BEGIN};
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

/* The byte before the cut is an LF: the guess is that a CR stands before it. */
static bool
jumped_behind_line(const struct csv_run *run)
{
    const struct decoder *decoder = run->decoder;
    return decoder->jump_at > 0 && decoder->offset == decoder->jump_at &&
           decoder->skip.state == CSV_SKIP_COMMENT && decoder->dialect.line_end == CSV_LINE_CRLF &&
           run->at < run->end && *run->at == '\n';
}

enum ps_status
csv_long_run(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    const uint8_t *at = run->at;
    bool comment = decoder->skip.state == CSV_SKIP_COMMENT;
    bool done = jumped_behind_line(run);
    if (done) {
        at = run->at + 1;
    } else {
        done = csv_skip_run(&decoder->skip, &decoder->dialect, run->at, run->end, run->eof, &at);
    }
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
            .line = csv_line(decoder),
            .code = "too_long",
            .reason = decoder->reason,
            .raw = ps_buf_span(&decoder->long_raw),
        };
        status = run->sink->reject(run->sink->ctx, &reject, run->err);
    }
    csv_run_advance(run, at, decoder->skip.lines);
    return status;
}
