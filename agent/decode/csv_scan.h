/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/csv_scan.h: one CSV record at a time, any dialect, byte by byte.
 * In: bytes from a record boundary on.  Out: its fields as slices of them, or what is wrong.
 * Invariant: the answer depends on the bytes alone; where more bytes could change it, it is
 *            CSV_MORE. csv_index.h is the fast way to the same fields for common dialects.
 *
 * Quotes (RFC 4180 §2, made total): a quote begins a quoted field only at the field's begin;
 * anywhere else in an unquoted field it is data, as in Python's csv module. After the closing quote
 * only a delimiter or a line end may follow (blanks too with trim). Anything else is a reject
 * "bad_quote" which ends at the next line end after it, whatever quotes stand between: decoding
 * goes on there. A quote that the object never closes is a reject of its first line only. */
#ifndef AGENT_DECODE_CSV_SCAN_H
#define AGENT_DECODE_CSV_SCAN_H

#include "agent/decode/csv_dialect.h"
#include "agent/decode/decode.h"

enum { CSV_FIELDS_MAX = 65536 };

/* The fields of the record being scanned; grows to the widest record, never beyond
 * CSV_FIELDS_MAX: what is beyond is counted, not kept. */
struct csv_fields {
    struct field *items;
    uint32_t cap;
    uint32_t count;
};
PS_MUSTCHECK bool csv_fields_grow(struct csv_fields *fields);
void csv_fields_fini(struct csv_fields *fields);

enum csv_kind {
    CSV_MORE,   /* no whole record: show more bytes behind these */
    CSV_RECORD, /* also a blank line: one empty unquoted field */
    CSV_COMMENT,
    CSV_BAD, /* at, found and expected say what is wrong; end is where decoding goes on */
    CSV_NOMEM,
};

struct csv_scan {
    const uint8_t *end; /* after the line end */
    uint64_t lines;     /* csv_lines_count of [begin, end) */
    const uint8_t *bad_at;
    uint32_t bad_field; /* 0-based */
    bool bad_open;      /* the quote at bad_at is never closed: in the object, or on its line */
};

/* dialect->line_end is not CSV_LINE_AUTO here, its delimiter known. begin < end. */
enum csv_kind csv_scan(const struct csv_dialect *dialect, const uint8_t *begin, const uint8_t *end,
                       bool eof, struct csv_fields *fields, struct csv_scan *out);

/* Length of the line end at p (0: none here); *out_more when bytes behind end could make one.
 * CSV_LINE_AUTO: any single CR or LF. */
unsigned csv_line_end_len(enum csv_line_end kind, const uint8_t *p, const uint8_t *end, bool eof,
                          bool *out_more);
/* The byte after the first line end at or after p, quotes not minded; end at eof; NULL = more. */
const uint8_t *csv_line_skip(enum csv_line_end kind, const uint8_t *p, const uint8_t *end,
                             bool eof);
/* Line ends (by their last byte) in [p, end). */
uint64_t csv_lines_count(enum csv_line_end kind, const uint8_t *p, const uint8_t *end);
/* Undoubles quotes and takes escapes away; out has room for field->len. Returns the new length. */
uint32_t csv_unescape(const struct csv_dialect *dialect, const struct field *field, uint8_t *out);

/* ---- A record too long to be held: where it ends, in the same terms, over any number of windows.
 */
enum csv_skip_state {
    CSV_SKIP_BEGIN,
    CSV_SKIP_PLAIN,
    CSV_SKIP_QUOTED,
    CSV_SKIP_CLOSED,
    CSV_SKIP_RESYNC,
    CSV_SKIP_COMMENT
};
struct csv_skip {
    enum csv_skip_state state;
    uint64_t lines;
};
/* Consumes from p; true when the record's end was reached. *out_at: what is consumed (a few bytes
 * before end may be left for the next window). */
bool csv_skip_run(struct csv_skip *skip, const struct csv_dialect *dialect, const uint8_t *p,
                  const uint8_t *end, bool eof, const uint8_t **out_at);

#endif
