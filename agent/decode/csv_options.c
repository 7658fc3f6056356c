/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/csv_options.c: the spec's format.* keys as a csv_dialect. */
#include "agent/decode/csv_dialect.h"

static enum csv_encoding
encoding_of(const struct spec *spec)
{
    if (spec_is(spec, "format.encoding", "latin-1")) {
        return CSV_LATIN1;
    }
    if (spec_is(spec, "format.encoding", "utf-16")) {
        return CSV_UTF16;
    }
    if (spec_is(spec, "format.encoding", "utf-16le")) {
        return CSV_UTF16LE;
    }
    return spec_is(spec, "format.encoding", "utf-16be") ? CSV_UTF16BE : CSV_UTF8;
}

static enum csv_line_end
line_end_of(const struct spec *spec)
{
    if (spec_is(spec, "format.line_end", "lf")) {
        return CSV_LINE_LF;
    }
    if (spec_is(spec, "format.line_end", "crlf")) {
        return CSV_LINE_CRLF;
    }
    return spec_is(spec, "format.line_end", "cr") ? CSV_LINE_CR : CSV_LINE_AUTO;
}

/* One byte, 0 for "" and "none". */
static enum ps_status
byte_of(const struct spec *spec, const char *key, uint8_t *out, struct ps_error *err)
{
    const char *text = spec_str(spec, key);
    *out = 0;
    if (text == NULL || strcmp(text, "none") == 0 || text[0] == '\0') {
        return PS_OK;
    }
    if (text[1] != '\0' || (uint8_t)text[0] >= 0x80) {
        return ps_fail_code(err, PS_REFUSED, "bad_format",
                            "%s: one ASCII character, or none, is expected; found \"%s\"", key,
                            text);
    }
    *out = (uint8_t)text[0];
    return PS_OK;
}

/* In Latin-1 input the delimiter is a Latin-1 byte. */
static enum ps_status
mark_to_latin1(struct csv_mark *mark, const char *key, struct ps_error *err)
{
    struct csv_mark out = {0};
    for (size_t i = 0; i < mark->len; i++) {
        uint8_t byte = mark->bytes[i];
        if (byte >= 0x80) {
            if ((byte != 0xC2 && byte != 0xC3) || i + 1 == mark->len) {
                return ps_fail_code(err, PS_REFUSED, "bad_format",
                                    "%s: has a character that Latin-1 does not have", key);
            }
            byte = (uint8_t)((byte & 3) << 6 | (mark->bytes[++i] & 0x3F));
        }
        out.bytes[out.len++] = byte;
    }
    *mark = out;
    return PS_OK;
}

static enum ps_status
marks_of(const struct spec *spec, struct csv_dialect *dialect, struct ps_error *err)
{
    const char *delimiter = spec_str(spec, "format.delimiter");
    if (delimiter != NULL && strcmp(delimiter, "auto") == 0) {
        delimiter = NULL;
    } else if (delimiter != NULL && delimiter[0] == '\0') {
        return ps_fail_code(err, PS_REFUSED, "bad_format", "format.delimiter: is empty");
    }
    enum ps_status status = csv_mark_set(&dialect->delimiter, "format.delimiter", delimiter, err);
    if (status == PS_OK) {
        status = csv_mark_set(&dialect->comment, "format.comment", spec_str(spec, "format.comment"),
                              err);
    }
    if (status == PS_OK && dialect->encoding == CSV_LATIN1) {
        status = mark_to_latin1(&dialect->delimiter, "format.delimiter", err);
    }
    if (status == PS_OK && dialect->encoding == CSV_LATIN1) {
        status = mark_to_latin1(&dialect->comment, "format.comment", err);
    }
    return status;
}

enum ps_status
csv_dialect_from_spec(const struct spec *spec, struct csv_dialect *out, struct ps_error *err)
{
    struct csv_dialect dialect = csv_dialect_default();
    dialect.encoding = encoding_of(spec);
    dialect.line_end = line_end_of(spec);
    dialect.trim = spec_bool(spec, "format.trim");
    dialect.one_line = !spec_bool(spec, "format.multiline");
    dialect.skip_lines = (uint64_t)spec_int(spec, "format.skip_lines");
    dialect.max_record_bytes = spec_bytes(spec, "limits.max_record_bytes");
    dialect.max_columns = (uint32_t)spec_int(spec, "limits.max_columns");
    dialect.header = spec_is(spec, "format.header", "auto")    ? CSV_HEADER_AUTO
                     : spec_is(spec, "format.header", "false") ? CSV_HEADER_FALSE
                                                               : CSV_HEADER_TRUE;
    dialect.ragged = spec_is(spec, "format.ragged", "pad")   ? CSV_RAGGED_PAD
                     : spec_is(spec, "format.ragged", "cut") ? CSV_RAGGED_CUT
                                                             : CSV_RAGGED_REJECT;
    enum ps_status status = byte_of(spec, "format.quote", &dialect.quote, err);
    if (status == PS_OK) {
        status = byte_of(spec, "format.escape", &dialect.escape, err);
    }
    if (status == PS_OK) {
        status = marks_of(spec, &dialect, err);
    }
    if (status == PS_OK) {
        dialect.escape = dialect.escape == dialect.quote ? 0 : dialect.escape;
        status = csv_dialect_check(&dialect, err);
    }
    if (status == PS_OK) {
        *out = dialect;
    }
    return status;
}
