/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base64.h"

#include "common/alloc.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *
ps_base64_text(struct ps_span bytes)
{
    if (bytes.len > SIZE_MAX / 2) {
        return NULL;
    }
    char *text = ps_alloc((bytes.len + 2) / 3 * 4 + 1);
    if (text == NULL) {
        return NULL;
    }
    size_t at = 0;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)bytes.ptr[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.ptr[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)bytes.ptr[i + 2] : 0;
        text[at++] = alphabet[group >> 18];
        text[at++] = alphabet[group >> 12 & 63];
        text[at++] = left > 1 ? alphabet[group >> 6 & 63] : '=';
        text[at++] = left > 2 ? alphabet[group & 63] : '=';
    }
    text[at] = '\0';
    return text;
}

/* 0..63, or 64 for any other character. */
static uint32_t
digit(uint8_t c)
{
    const char *found = c == '\0' ? NULL : strchr(alphabet, c);
    return found == NULL ? 64 : (uint32_t)(found - alphabet);
}

/* Four characters of which the last `pad` are '='. */
static bool
parse_group(const uint8_t *text, size_t pad, uint8_t *out)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t value = i < 4 - pad ? digit(text[i]) : 0;
        if (value == 64) {
            return false;
        }
        group = group << 6 | value;
    }
    if ((group & ((1u << 8 * pad) - 1)) != 0) {
        return false;
    }
    for (size_t i = 0; i < 3 - pad; i++) {
        out[i] = (uint8_t)(group >> (16 - 8 * i));
    }
    return true;
}

enum ps_status
ps_base64_parse(struct ps_span text, uint8_t **out_bytes, size_t *out_len, struct ps_error *err)
{
    if (text.len % 4 != 0) {
        return ps_fail(err, PS_BADDATA, "base64 of %zu characters is not whole", text.len);
    }
    uint8_t *bytes = ps_alloc(text.len / 4 * 3);
    if (bytes == NULL) {
        return ps_fail(err, PS_FULL, "out of memory for %zu base64 characters", text.len);
    }
    size_t len = 0;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t pad = 0;
        if (i + 4 == text.len && text.ptr[i + 3] == '=') {
            pad = text.ptr[i + 2] == '=' ? 2 : 1;
        }
        if (!parse_group(text.ptr + i, pad, bytes + len)) {
            ps_free(bytes);
            return ps_fail(err, PS_BADDATA, "bad base64 at character %zu", i);
        }
        len += 3 - pad;
    }
    *out_bytes = bytes;
    *out_len = len;
    return PS_OK;
}
