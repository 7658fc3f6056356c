/* SPDX-License-Identifier: Apache-2.0 */
/* The token: "JSN", version byte, then little-endian:
 *     fingerprint u64, offset u64, line u64, bytes since the line's begin u64, phase u8, flags u8
 *     (1: the byte order mark was looked for, 2: the items were found), level u8. */
#include "agent/decode/dec_json.h"

enum { TOKEN_VERSION = 1, TOKEN_BYTES = 39, FLAG_BEGUN = 1, FLAG_FOUND = 2 };

enum ps_status
json_token_write(const struct decoder *decoder, struct ps_buf *out, struct ps_error *err)
{
    const uint64_t numbers[] = {decoder->fingerprint, decoder->offset, decoder->line,
                                decoder->offset - decoder->line_begin};
    uint8_t token[TOKEN_BYTES] = "JSN\x01";
    memcpy(token + 4, numbers, sizeof numbers);
    token[36] = (uint8_t)decoder->phase;
    token[37] = (uint8_t)((decoder->begun ? FLAG_BEGUN : 0) | (decoder->found ? FLAG_FOUND : 0));
    token[38] = (uint8_t)decoder->level;
    ps_buf_clear(out);
    return ps_buf_append(out, token, sizeof token, err);
}

enum ps_status
json_token_read(struct decoder *decoder, struct ps_span token, uint64_t offset,
                struct ps_error *err)
{
    uint64_t numbers[4];
    if (token.len < 4 || memcmp(token.ptr, "JSN", 3) != 0) {
        return ps_fail_code(err, PS_REFUSED, "resume_token", "json: the resume token is broken");
    }
    if (token.ptr[3] != TOKEN_VERSION) {
        return ps_fail_code(err, PS_REFUSED, "resume_token",
                            "json: resume token of version %u, this program reads version %d",
                            token.ptr[3], TOKEN_VERSION);
    }
    if (token.len != TOKEN_BYTES || token.ptr[36] > JSON_AFTER || token.ptr[38] > SPEC_PATH_STEPS) {
        return ps_fail_code(err, PS_REFUSED, "resume_token", "json: the resume token is broken");
    }
    memcpy(numbers, token.ptr + 4, sizeof numbers);
    if (numbers[0] != decoder->fingerprint || numbers[1] != offset) {
        return ps_fail_code(err, PS_REFUSED, "resume_token",
                            "json: the resume token is of another %s",
                            numbers[1] != offset ? "offset" : "format section of the spec");
    }
    decoder->offset = offset;
    decoder->line = numbers[2];
    decoder->line_begin = offset - (numbers[3] < offset ? numbers[3] : offset);
    decoder->phase = (enum json_phase)token.ptr[36];
    decoder->begun = (token.ptr[37] & FLAG_BEGUN) != 0;
    decoder->found = (token.ptr[37] & FLAG_FOUND) != 0;
    decoder->level = token.ptr[38];
    return decoder->level <= decoder->items.count
               ? PS_OK
               : ps_fail_code(err, PS_REFUSED, "resume_token", "json: the resume token is broken");
}
