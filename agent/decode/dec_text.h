/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/dec_text.h: other encodings into UTF-8, in a way that can be counted back.
 * In: raw bytes.  Out: UTF-8; what is not valid in the source encoding becomes bytes that are not
 *     valid UTF-8, so that one check later finds both.
 * Threads: pure. */
#ifndef AGENT_DECODE_DEC_TEXT_H
#define AGENT_DECODE_DEC_TEXT_H

#include "common/buf.h"
#include "common/error.h"

/* ISO 8859-1; out has room for 2 * len. Returns what was written. */
size_t dec_text_latin1(const uint8_t *bytes, size_t len, uint8_t *out);

/* UTF-16 (RFC 2781) appended to out. A unit or pair that the end cuts is left, unless eof.
 * *out_taken: raw bytes that were turned. A lone surrogate becomes its three-byte form, a lone last
 * byte 0xFF: neither is UTF-8. */
struct dec_text_utf16 {
    struct ps_span bytes;
    bool eof;
    bool big_endian;
};
PS_MUSTCHECK enum ps_status dec_text_utf16(const struct dec_text_utf16 *in, struct ps_buf *out,
                                           size_t *out_taken, struct ps_error *err);
/* Raw UTF-16 bytes that [p, end) of dec_text_utf16's output came from. */
uint64_t dec_text_utf16_raw(const uint8_t *p, const uint8_t *end);

#endif
