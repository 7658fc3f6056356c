/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/dec_text.h"

enum { ODD_BYTE = 0xFF };

size_t
dec_text_latin1(const uint8_t *bytes, size_t len, uint8_t *out)
{
    uint8_t *at = out;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] < 0x80) {
            *at++ = bytes[i];
        } else {
            *at++ = (uint8_t)(0xC0 | bytes[i] >> 6);
            *at++ = (uint8_t)(0x80 | (bytes[i] & 0x3F));
        }
    }
    return (size_t)(at - out);
}

static uint8_t *
utf8_put(uint8_t *at, uint32_t code)
{
    if (code < 0x80) {
        *at++ = (uint8_t)code;
        return at;
    }
    if (code < 0x800) {
        *at++ = (uint8_t)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *at++ = (uint8_t)(0xE0 | code >> 12);
        } else {
            *at++ = (uint8_t)(0xF0 | code >> 18);
            *at++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        }
        *at++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    }
    *at++ = (uint8_t)(0x80 | (code & 0x3F));
    return at;
}

static uint32_t
unit_at(const uint8_t *bytes, bool big_endian)
{
    return big_endian ? (uint32_t)bytes[0] << 8 | bytes[1] : (uint32_t)bytes[1] << 8 | bytes[0];
}

enum ps_status
dec_text_utf16(const struct dec_text_utf16 *in, struct ps_buf *out, size_t *out_taken,
               struct ps_error *err)
{
    const uint8_t *bytes = in->bytes.ptr;
    const size_t len = in->bytes.len;
    enum ps_status status = ps_buf_reserve(out, len + len / 2 + 4, err);
    if (status != PS_OK) {
        return status;
    }
    uint8_t *at = out->ptr + out->len;
    size_t i = 0;
    while (len - i >= 2) {
        uint32_t code = unit_at(bytes + i, in->big_endian);
        size_t step = 2;
        if (code >= 0xD800 && code < 0xDC00) {
            if (len - i < 4 && !in->eof) {
                break;
            }
            uint32_t low = len - i < 4 ? 0 : unit_at(bytes + i + 2, in->big_endian);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                step = 4;
            }
        }
        at = utf8_put(at, code);
        i += step;
    }
    if (in->eof && len - i == 1) {
        *at++ = ODD_BYTE;
        i++;
    }
    out->len = (size_t)(at - out->ptr);
    *out_taken = i;
    return PS_OK;
}

uint64_t
dec_text_utf16_raw(const uint8_t *p, const uint8_t *end)
{
    uint64_t raw = 0;
    for (; p < end; p++) {
        if (*p == ODD_BYTE) {
            raw += 1;
        } else if ((*p & 0xC0) != 0x80) {
            raw += *p >= 0xF0 ? 4 : 2;
        }
    }
    return raw;
}
