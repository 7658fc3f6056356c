/* SPDX-License-Identifier: Apache-2.0 */
/* The token: "CSV", version byte, then little-endian:
 *     fingerprint u64, offset u64, line u64 (0: unknown), skip_left u64, phase u8, line_end u8,
 * delimiter u8 length and bytes, flags u8 (1: big-endian), width u32, width times (length u32,
 * name). */
#include "agent/decode/dec_csv.h"

enum { TOKEN_VERSION = 1, FLAG_BIG_ENDIAN = 1 };

static enum ps_status
number_add(struct ps_buf *out, uint64_t value, unsigned bytes, struct ps_error *err)
{
    return ps_buf_append(out, &value, bytes, err);
}

enum ps_status
csv_token_write(const struct decoder *decoder, struct ps_buf *out, struct ps_error *err)
{
    const struct {
        uint64_t value;
        unsigned bytes;
    } head[] = {
        {csv_dialect_fingerprint(&decoder->given), 8},
        {decoder->offset, 8},
        {csv_line(decoder), 8},
        {decoder->skip_left, 8},
        {decoder->phase, 1},
        {decoder->dialect.line_end, 1},
        {decoder->dialect.delimiter.len, 1},
    };
    ps_buf_clear(out);
    enum ps_status status = ps_buf_append(out, "CSV", 3, err);
    if (status == PS_OK) {
        status = number_add(out, TOKEN_VERSION, 1, err);
    }
    for (size_t i = 0; i < sizeof head / sizeof *head && status == PS_OK; i++) {
        status = number_add(out, head[i].value, head[i].bytes, err);
    }
    if (status == PS_OK) {
        status = ps_buf_append(out, decoder->dialect.delimiter.bytes,
                               decoder->dialect.delimiter.len, err);
    }
    if (status == PS_OK) {
        status = number_add(out, decoder->big_endian ? FLAG_BIG_ENDIAN : 0, 1, err);
    }
    if (status == PS_OK) {
        status = number_add(out, decoder->width, 4, err);
    }
    for (uint32_t i = 0; i < decoder->width && status == PS_OK; i++) {
        status = number_add(out, decoder->names[i].len, 4, err);
        if (status == PS_OK) {
            status = ps_buf_append(out, decoder->names[i].ptr, decoder->names[i].len, err);
        }
    }
    return status;
}

static bool
number_take(struct ps_span *token, unsigned bytes, uint64_t *out)
{
    if (token->len < bytes) {
        return false;
    }
    *out = 0;
    memcpy(out, token->ptr, bytes);
    token->ptr += bytes;
    token->len -= bytes;
    return true;
}

static enum ps_status
broken(struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "resume_token", "csv: the resume token is broken");
}

static enum ps_status
names_take(struct decoder *decoder, struct ps_span *token, struct ps_error *err)
{
    uint64_t width = 0;
    if (!number_take(token, 4, &width) || width > CSV_FIELDS_MAX) {
        return broken(err);
    }
    for (uint64_t i = 0; i < width; i++) {
        uint64_t len = 0;
        if (!number_take(token, 4, &len) || len > token->len) {
            return broken(err);
        }
        enum ps_status status = csv_header_add(decoder, ps_span(token->ptr, (size_t)len), err);
        if (status != PS_OK) {
            return status;
        }
        token->ptr += len;
        token->len -= (size_t)len;
    }
    return token->len > 0 ? broken(err) : csv_header_spans(decoder, (uint32_t)width, err);
}

enum ps_status
csv_token_read(struct decoder *decoder, struct ps_span token, uint64_t offset, struct ps_error *err)
{
    uint64_t version = 0;
    uint64_t fingerprint = 0;
    uint64_t at = 0;
    uint64_t phase = 0;
    uint64_t line_end = 0;
    uint64_t delimiter = 0;
    uint64_t flags = 0;
    if (token.len < 4 || memcmp(token.ptr, "CSV", 3) != 0) {
        return broken(err);
    }
    token = ps_span(token.ptr + 3, token.len - 3);
    (void)number_take(&token, 1, &version);
    if (version != TOKEN_VERSION) {
        return ps_fail_code(err, PS_REFUSED, "resume_token",
                            "csv: resume token of version %llu, this program reads version %d",
                            (unsigned long long)version, TOKEN_VERSION);
    }
    if (!number_take(&token, 8, &fingerprint) || !number_take(&token, 8, &at) ||
        !number_take(&token, 8, &decoder->line) || !number_take(&token, 8, &decoder->skip_left) ||
        !number_take(&token, 1, &phase) || !number_take(&token, 1, &line_end) ||
        !number_take(&token, 1, &delimiter) || delimiter > CSV_MARK_BYTES ||
        token.len < delimiter || phase > CSV_PHASE_ROWS || line_end > CSV_LINE_ANY) {
        return broken(err);
    }
    if (fingerprint != csv_dialect_fingerprint(&decoder->given) || at != offset) {
        return ps_fail_code(err, PS_REFUSED, "resume_token",
                            "csv: the resume token is of another %s",
                            at != offset ? "offset" : "format section of the spec");
    }
    decoder->line = decoder->line == 0 ? CSV_LINE_UNKNOWN : decoder->line;
    decoder->phase = (enum csv_phase)phase;
    decoder->dialect.line_end = (enum csv_line_end)line_end;
    decoder->dialect.delimiter = (struct csv_mark){.len = (uint8_t)delimiter};
    memcpy(decoder->dialect.delimiter.bytes, token.ptr, (size_t)delimiter);
    token = ps_span(token.ptr + delimiter, token.len - (size_t)delimiter);
    if (!number_take(&token, 1, &flags) ||
        (decoder->phase == CSV_PHASE_ROWS &&
         (delimiter == 0 || decoder->dialect.line_end == CSV_LINE_AUTO))) {
        return broken(err);
    }
    decoder->big_endian = (flags & FLAG_BIG_ENDIAN) != 0;
    return names_take(decoder, &token, err);
}
