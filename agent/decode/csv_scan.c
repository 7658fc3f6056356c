/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/csv_scan.h"

#include "common/alloc.h"

enum { FIELDS_FIRST = 64 };

/* What stands at a place where a field may end. */
enum stop { STOP_NONE, STOP_DELIMITER, STOP_LINE, STOP_END, STOP_MORE };

struct place {
    const struct csv_dialect *dialect;
    const uint8_t *end;
    bool eof;
};

bool
csv_fields_grow(struct csv_fields *fields)
{
    uint32_t cap = fields->cap == 0 ? FIELDS_FIRST : fields->cap * 2;
    struct field *items = ps_realloc(fields->items, cap * sizeof *items);
    if (items == NULL) {
        return false;
    }
    fields->items = items;
    fields->cap = cap;
    return true;
}

void
csv_fields_fini(struct csv_fields *fields)
{
    ps_free(fields->items);
    *fields = (struct csv_fields){0};
}

unsigned
csv_line_end_len(enum csv_line_end kind, const uint8_t *p, const uint8_t *end, bool eof,
                 bool *out_more)
{
    if (kind == CSV_LINE_AUTO) {
        return *p == '\n' || *p == '\r';
    }
    if (*p == '\n') {
        return kind == CSV_LINE_LF || kind == CSV_LINE_ANY;
    }
    if (*p != '\r' || kind == CSV_LINE_LF) {
        return 0;
    }
    if (kind == CSV_LINE_CR) {
        return 1;
    }
    if (p + 1 == end) {
        *out_more = !eof;
        return eof && kind == CSV_LINE_ANY;
    }
    return p[1] == '\n' ? 2 : 0;
}

const uint8_t *
csv_line_skip(enum csv_line_end kind, const uint8_t *p, const uint8_t *end, bool eof)
{
    while (p < end) {
        const uint8_t *hit = memchr(p, kind == CSV_LINE_CR ? '\r' : '\n', (size_t)(end - p));
        if (hit == NULL) {
            break;
        }
        if (kind != CSV_LINE_CRLF || (hit > p && hit[-1] == '\r')) {
            return hit + 1;
        }
        p = hit + 1;
    }
    return eof ? end : NULL;
}

uint64_t
csv_lines_count(enum csv_line_end kind, const uint8_t *p, const uint8_t *end)
{
    uint64_t count = 0;
    uint8_t last = kind == CSV_LINE_CR ? '\r' : '\n';
    for (; p < end; p++) {
        count += *p == last;
    }
    return count;
}

uint32_t
csv_unescape(const struct csv_dialect *dialect, const struct field *field, uint8_t *out)
{
    const uint8_t *p = field->ptr;
    const uint8_t *end = p + field->len;
    uint8_t *at = out;
    while (p < end) {
        bool doubled = field->quoted && *p == dialect->quote;
        bool escaped = dialect->escape != 0 && *p == dialect->escape;
        if ((doubled || escaped) && p + 1 < end) {
            p++;
        }
        *at++ = *p++;
    }
    return (uint32_t)(at - out);
}

/* Whether mark stands at p; *out_more when it is cut by the end of what is shown. */
static bool
mark_at(const struct place *place, const struct csv_mark *mark, const uint8_t *p, bool *out_more)
{
    size_t left = (size_t)(place->end - p);
    size_t len = mark->len;
    if (len > left) {
        if (!place->eof && memcmp(p, mark->bytes, left) == 0) {
            *out_more = true;
        }
        return false;
    }
    return memcmp(p, mark->bytes, len) == 0;
}

/* What stands at p; *out_next is behind it. */
static enum stop
stop_at(const struct place *place, const uint8_t *p, const uint8_t **out_next)
{
    *out_next = p;
    if (p == place->end) {
        return place->eof ? STOP_END : STOP_MORE;
    }
    bool more = false;
    if (*p == place->dialect->delimiter.bytes[0] &&
        mark_at(place, &place->dialect->delimiter, p, &more)) {
        *out_next = p + place->dialect->delimiter.len;
        return STOP_DELIMITER;
    }
    unsigned len = 0;
    if (*p == '\n' || *p == '\r') {
        len = csv_line_end_len(place->dialect->line_end, p, place->end, place->eof, &more);
    }
    if (more) {
        return STOP_MORE;
    }
    *out_next = p + len;
    return len > 0 ? STOP_LINE : STOP_NONE;
}

static bool
is_blank(const struct csv_dialect *dialect, uint8_t byte)
{
    return (byte == ' ' || byte == '\t') && byte != dialect->delimiter.bytes[0];
}

/* From begin, a field's first byte that is not its opening quote, to what ends it. */
static enum stop
plain_field(const struct place *place, const uint8_t *begin, struct field *field,
            const uint8_t **out_next)
{
    uint8_t escape = place->dialect->escape;
    const uint8_t *p = begin;
    enum stop stop;
    bool escaped = false;
    while ((stop = stop_at(place, p, out_next)) == STOP_NONE) {
        if (escape != 0 && *p == escape) {
            if (p + 1 == place->end && !place->eof) {
                return STOP_MORE;
            }
            escaped = true;
            p += p + 1 < place->end;
        }
        p++;
    }
    const uint8_t *end = p;
    while (place->dialect->trim && begin < end && is_blank(place->dialect, *begin)) {
        begin++;
    }
    while (place->dialect->trim && begin < end && is_blank(place->dialect, end[-1])) {
        end--;
    }
    *field = (struct field){.ptr = begin, .len = (uint32_t)(end - begin), .escaped = escaped};
    return stop;
}

/* From the opening quote on. STOP_NONE: something else follows the closing quote, at *out_next. */
static enum stop
quoted_field(const struct place *place, const uint8_t *open, struct field *field,
             const uint8_t **out_next, bool *out_unclosed)
{
    const struct csv_dialect *dialect = place->dialect;
    const uint8_t *p = open + 1;
    bool escaped = false;
    for (;; p++) {
        if (p == place->end) {
            *out_unclosed = place->eof;
            return place->eof ? STOP_NONE : STOP_MORE;
        }
        bool quote = *p == dialect->quote;
        if (!quote && (dialect->escape == 0 || *p != dialect->escape)) {
            continue;
        }
        if (p + 1 == place->end && !place->eof) {
            return STOP_MORE;
        }
        if (p + 1 < place->end && (!quote || p[1] == dialect->quote)) {
            escaped = true;
            p++;
        } else if (quote) {
            break;
        }
    }
    *field = (struct field){
        .ptr = open + 1, .len = (uint32_t)(p - open - 1), .quoted = true, .escaped = escaped};
    p++;
    while (dialect->trim && p < place->end && is_blank(dialect, *p)) {
        p++;
    }
    return stop_at(place, p, out_next);
}

static enum csv_kind
bad(const struct place *place, const uint8_t *begin, const uint8_t *at, struct csv_scan *out)
{
    const uint8_t *next = csv_line_skip(place->dialect->line_end, at, place->end, place->eof);
    if (next == NULL) {
        return CSV_MORE;
    }
    out->bad_at = at;
    out->end = next;
    out->lines = csv_lines_count(place->dialect->line_end, begin, next);
    return CSV_BAD;
}

static enum csv_kind
comment(const struct place *place, const uint8_t *begin, struct csv_scan *out)
{
    out->end = csv_line_skip(place->dialect->line_end, begin, place->end, place->eof);
    if (out->end == NULL) {
        return CSV_MORE;
    }
    out->lines = csv_lines_count(place->dialect->line_end, begin, out->end);
    return CSV_COMMENT;
}

static enum csv_kind
scan(const struct csv_dialect *dialect, const uint8_t *begin, const uint8_t *end, bool eof,
     struct csv_fields *fields, struct csv_scan *out)
{
    const struct place place = {.dialect = dialect, .end = end, .eof = eof};
    const uint8_t *p = begin;
    bool more = false;
    fields->count = 0;
    if (dialect->comment.len > 0 && mark_at(&place, &dialect->comment, begin, &more)) {
        return comment(&place, begin, out);
    }
    if (more) {
        return CSV_MORE;
    }
    for (;;) {
        struct field field;
        bool unclosed = false;
        const uint8_t *open = p;
        while (dialect->trim && open < end && is_blank(dialect, *open)) {
            open++;
        }
        bool quoted = dialect->quote != 0 && open < end && *open == dialect->quote;
        const uint8_t *next = p;
        enum stop stop = quoted ? quoted_field(&place, open, &field, &next, &unclosed)
                                : plain_field(&place, p, &field, &next);
        if (stop == STOP_MORE) {
            return CSV_MORE;
        }
        if (stop == STOP_NONE) {
            out->bad_field = fields->count;
            out->bad_open = unclosed;
            return bad(&place, begin, unclosed ? open : next, out);
        }
        if (fields->count < CSV_FIELDS_MAX) {
            if (fields->count == fields->cap && !csv_fields_grow(fields)) {
                return CSV_NOMEM;
            }
            fields->items[fields->count] = field;
        }
        fields->count++;
        p = next;
        if (stop != STOP_DELIMITER) {
            out->end = p;
            out->lines = csv_lines_count(dialect->line_end, begin, p);
            return CSV_RECORD;
        }
    }
}

/* The line as an object of its own, without its line end: what ends a line cannot be in it. */
static enum csv_kind
scan_line(const struct csv_dialect *dialect, const uint8_t *begin, const uint8_t *end, bool eof,
          struct csv_fields *fields, struct csv_scan *out)
{
    struct csv_dialect inner = *dialect;
    const uint8_t *next = csv_line_skip(dialect->line_end, begin, end, eof);
    if (next == NULL) {
        return CSV_MORE;
    }
    const uint8_t *content = next;
    uint8_t last = dialect->line_end == CSV_LINE_CR ? '\r' : '\n';
    bool ended =
        content > begin && content[-1] == last &&
        (dialect->line_end != CSV_LINE_CRLF || (content - begin >= 2 && content[-2] == '\r'));
    if (ended) {
        content -= dialect->line_end == CSV_LINE_CRLF ? 2 : 1;
    }
    if (ended && dialect->line_end == CSV_LINE_ANY) {
        content -= content > begin && content[-1] == '\r';
        inner.line_end = CSV_LINE_LF;
    }
    enum csv_kind kind = scan(&inner, begin, content, true, fields, out);
    out->end = next;
    out->lines = csv_lines_count(dialect->line_end, begin, next);
    return kind;
}

enum csv_kind
csv_scan(const struct csv_dialect *dialect, const uint8_t *begin, const uint8_t *end, bool eof,
         struct csv_fields *fields, struct csv_scan *out)
{
    return dialect->one_line ? scan_line(dialect, begin, end, eof, fields, out)
                             : scan(dialect, begin, end, eof, fields, out);
}

/* One step of the long record; returns the byte after what it took, or NULL to wait for more. */
static const uint8_t *
skip_step(struct csv_skip *skip, const struct place *place, const uint8_t *p, bool *out_done)
{
    const struct csv_dialect *dialect = place->dialect;
    bool escape = dialect->escape != 0 && *p == dialect->escape;
    if (skip->state == CSV_SKIP_QUOTED) {
        bool quote = *p == dialect->quote;
        if ((quote || escape) && p + 1 == place->end && !place->eof) {
            return NULL;
        }
        if ((quote || escape) && p + 1 < place->end && (!quote || p[1] == dialect->quote)) {
            return p + 2;
        }
        skip->state = quote ? CSV_SKIP_CLOSED : CSV_SKIP_QUOTED;
        return p + 1;
    }
    const uint8_t *next = p;
    enum stop stop = stop_at(place, p, &next);
    bool line_only = skip->state == CSV_SKIP_RESYNC || skip->state == CSV_SKIP_COMMENT;
    if (stop == STOP_MORE) {
        return NULL;
    }
    if (stop == STOP_LINE) {
        *out_done = true;
        return next;
    }
    if (line_only) {
        return p + 1;
    }
    if (stop == STOP_DELIMITER) {
        skip->state = CSV_SKIP_BEGIN;
        return next;
    }
    if (dialect->trim && skip->state != CSV_SKIP_PLAIN && is_blank(dialect, *p)) {
        return p + 1;
    }
    if (skip->state == CSV_SKIP_CLOSED) {
        skip->state = CSV_SKIP_RESYNC;
        return p; /* again: it may be a line end in another sense */
    }
    if (skip->state == CSV_SKIP_BEGIN && dialect->quote != 0 && *p == dialect->quote) {
        skip->state = CSV_SKIP_QUOTED;
        return p + 1;
    }
    skip->state = CSV_SKIP_PLAIN;
    if (escape && p + 1 == place->end && !place->eof) {
        return NULL;
    }
    return escape && p + 1 < place->end ? p + 2 : p + 1;
}

bool
csv_skip_run(struct csv_skip *skip, const struct csv_dialect *dialect, const uint8_t *p,
             const uint8_t *end, bool eof, const uint8_t **out_at)
{
    const struct place place = {.dialect = dialect, .end = end, .eof = eof};
    const uint8_t *begin = p;
    bool done = false;
    while (p < end && !done) {
        const uint8_t *next = skip_step(skip, &place, p, &done);
        if (next == NULL) {
            break;
        }
        p = next;
    }
    skip->lines += csv_lines_count(dialect->line_end, begin, p);
    *out_at = p;
    return done || (eof && p == end);
}
