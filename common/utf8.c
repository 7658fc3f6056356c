/* SPDX-License-Identifier: Apache-2.0 */
#include "common/utf8.h"

static bool
follows(struct ps_span text, size_t count)
{
    if (text.len <= count) {
        return false;
    }
    for (size_t i = 1; i <= count; i++) {
        if ((text.ptr[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

size_t
ps_utf8_len(struct ps_span text)
{
    if (text.len == 0) {
        return 0;
    }
    uint8_t first = text.ptr[0];
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        return follows(text, 1) ? 2 : 0;
    }
    if (first >= 0xe0 && first <= 0xef && follows(text, 2)) {
        bool overlong = first == 0xe0 && text.ptr[1] < 0xa0;
        bool surrogate = first == 0xed && text.ptr[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (first >= 0xf0 && first <= 0xf4 && follows(text, 3)) {
        bool overlong = first == 0xf0 && text.ptr[1] < 0x90;
        bool beyond = first == 0xf4 && text.ptr[1] > 0x8f;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

bool
ps_utf8_valid(struct ps_span text)
{
    for (size_t at = 0; at < text.len;) {
        uint64_t eight;
        /* Eight bytes of ASCII at a time. */
        while (text.len - at >= sizeof eight) {
            memcpy(&eight, text.ptr + at, sizeof eight);
            if ((eight & 0x8080808080808080ULL) != 0) {
                break;
            }
            at += sizeof eight;
        }
        if (at == text.len) {
            break;
        }
        size_t len = ps_utf8_len(ps_span(text.ptr + at, text.len - at));
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}
