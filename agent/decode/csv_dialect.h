/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/csv_dialect.h: what a CSV object looks like, checked and in the decoder's terms.
 * In: the spec's format.* keys.  Out: bytes to compare with.
 * Invariant: delimiter, quote, escape, comment and the line ends are all different from each other;
 *            delimiter_len >= 1 unless it is to be detected.
 * Threads: immutable once made. */
#ifndef AGENT_DECODE_CSV_DIALECT_H
#define AGENT_DECODE_CSV_DIALECT_H

#include "common/error.h"
#include "common/span.h"
#include "spec/spec.h"

enum csv_line_end {
    CSV_LINE_AUTO, /* to be found from the object's first line: CSV_LINE_ANY or CSV_LINE_CR */
    CSV_LINE_LF,   /* "\n"; a CR before it is data */
    CSV_LINE_CRLF, /* "\r\n"; a lone "\n" is data */
    CSV_LINE_CR,   /* "\r" */
    CSV_LINE_ANY,  /* "\n" or "\r\n" */
};
enum csv_encoding { CSV_UTF8, CSV_LATIN1, CSV_UTF16, CSV_UTF16LE, CSV_UTF16BE };
enum csv_header { CSV_HEADER_TRUE, CSV_HEADER_FALSE, CSV_HEADER_AUTO };
enum csv_ragged {
    CSV_RAGGED_REJECT, /* any other number of fields than the header's is a reject */
    CSV_RAGGED_PAD,    /* missing last fields are NULL; surplus ones are a reject */
    CSV_RAGGED_CUT,    /* the same, and surplus fields are dropped */
};

enum { CSV_MARK_BYTES = 16 };

struct csv_mark {
    uint8_t bytes[CSV_MARK_BYTES];
    uint8_t len; /* 0 = none; the delimiter: to be detected */
};

struct csv_dialect {
    struct csv_mark delimiter;
    struct csv_mark comment; /* a line that begins with it is no record */
    uint8_t quote;           /* 0 = fields are never quoted */
    uint8_t escape;          /* 0 = only a doubled quote stands for a quote */
    bool trim;               /* blanks and tabs around fields */
    bool one_line;           /* a line end ends the record, quoted or escaped or not */
    enum csv_line_end line_end;
    enum csv_encoding encoding;
    enum csv_header header;
    enum csv_ragged ragged;
    uint64_t skip_lines;
    uint64_t max_record_bytes;
    uint32_t max_columns; /* more fields in a header are an error of the object */
};

/* "," UTF-8, header in the first line, and so on: every default of the spec. */
struct csv_dialect csv_dialect_default(void);
/* PS_REFUSED, code "bad_format", when options contradict each other. */
PS_MUSTCHECK enum ps_status csv_dialect_from_spec(const struct spec *spec, struct csv_dialect *out,
                                                  struct ps_error *err);
PS_MUSTCHECK enum ps_status csv_dialect_check(const struct csv_dialect *dialect,
                                              struct ps_error *err);
/* Writes the mark; a text "\t" of two characters is a tab. */
PS_MUSTCHECK enum ps_status csv_mark_set(struct csv_mark *mark, const char *what, const char *text,
                                         struct ps_error *err);
/* Names every option that decides where records end: equal dialects have equal numbers. */
uint64_t csv_dialect_fingerprint(const struct csv_dialect *dialect);

#endif
