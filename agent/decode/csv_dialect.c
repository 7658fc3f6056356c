/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/csv_dialect.h"

enum { DEFAULT_MAX_RECORD_BYTES = 16 * 1024 * 1024, DEFAULT_MAX_COLUMNS = 2000 };

struct csv_dialect
csv_dialect_default(void)
{
    return (struct csv_dialect){
        .delimiter = {.bytes = {','}, .len = 1},
        .quote = '"',
        .line_end = CSV_LINE_AUTO,
        .encoding = CSV_UTF8,
        .header = CSV_HEADER_TRUE,
        .ragged = CSV_RAGGED_REJECT,
        .max_record_bytes = DEFAULT_MAX_RECORD_BYTES,
        .max_columns = DEFAULT_MAX_COLUMNS,
    };
}

enum ps_status
csv_mark_set(struct csv_mark *mark, const char *what, const char *text, struct ps_error *err)
{
    *mark = (struct csv_mark){0};
    if (text == NULL) {
        return PS_OK;
    }
    if (strcmp(text, "\\t") == 0) {
        text = "\t";
    }
    size_t len = strlen(text);
    if (len > CSV_MARK_BYTES) {
        return ps_fail_code(err, PS_REFUSED, "bad_format", "%s: at most %d bytes, %zu given", what,
                            CSV_MARK_BYTES, len);
    }
    memcpy(mark->bytes, text, len);
    mark->len = (uint8_t)len;
    return PS_OK;
}

static bool
mark_has(const struct csv_mark *mark, uint8_t byte)
{
    return byte != 0 && memchr(mark->bytes, byte, mark->len) != NULL;
}

enum ps_status
csv_dialect_check(const struct csv_dialect *dialect, struct ps_error *err)
{
    if (mark_has(&dialect->delimiter, '\n') || mark_has(&dialect->delimiter, '\r')) {
        return ps_fail_code(err, PS_REFUSED, "bad_format",
                            "format.delimiter: a line end cannot be the delimiter");
    }
    if (mark_has(&dialect->comment, '\n') || mark_has(&dialect->comment, '\r')) {
        return ps_fail_code(err, PS_REFUSED, "bad_format",
                            "format.comment: a line end cannot begin a comment");
    }
    if (mark_has(&dialect->delimiter, dialect->quote) ||
        mark_has(&dialect->delimiter, dialect->escape)) {
        return ps_fail_code(err, PS_REFUSED, "bad_format",
                            "format.delimiter: holds the quote or escape character");
    }
    if (dialect->comment.len > 0 && dialect->comment.bytes[0] == dialect->quote) {
        return ps_fail_code(err, PS_REFUSED, "bad_format",
                            "format.comment: begins with the quote character");
    }
    if (dialect->delimiter.len > 0 && dialect->comment.len > 0 &&
        dialect->comment.bytes[0] == dialect->delimiter.bytes[0]) {
        return ps_fail_code(err, PS_REFUSED, "bad_format",
                            "format.comment: begins like the delimiter");
    }
    const uint8_t single[] = {dialect->quote, dialect->escape};
    for (size_t i = 0; i < sizeof single; i++) {
        if (single[i] == '\n' || single[i] == '\r' || single[i] >= 0x80) {
            return ps_fail_code(err, PS_REFUSED, "bad_format",
                                "format.%s: one ASCII character that is no line end is expected",
                                i == 0 ? "quote" : "escape");
        }
    }
    return PS_OK;
}

uint64_t
csv_dialect_fingerprint(const struct csv_dialect *dialect)
{
    uint64_t values[] = {
        dialect->delimiter.len, dialect->comment.len,
        dialect->quote,         dialect->escape,
        dialect->trim,          dialect->line_end | (unsigned)dialect->one_line << 8,
        dialect->encoding,      dialect->header,
        dialect->skip_lines,
    };
    uint64_t hash = 0xcbf29ce484222325u;         /* FNV-1a */
    for (size_t i = 0; i < sizeof values; i++) { /* byte by byte, little end first */
        hash = (hash ^ (uint8_t)(values[i / 8] >> (8 * (i % 8)))) * 0x100000001b3u;
    }
    for (size_t i = 0; i < CSV_MARK_BYTES; i++) {
        hash = (hash ^ dialect->delimiter.bytes[i]) * 0x100000001b3u;
        hash = (hash ^ dialect->comment.bytes[i]) * 0x100000001b3u;
    }
    return hash;
}
