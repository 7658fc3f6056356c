/* SPDX-License-Identifier: Apache-2.0 */
#include "common/percent.h"

#include "common/utf8.h"

void
ps_percent_name(struct ps_span bytes, struct ps_buf *out)
{
    for (size_t at = 0; at < bytes.len;) {
        const uint8_t *here = bytes.ptr + at;
        size_t len = ps_utf8_len(ps_span(here, bytes.len - at));
        if (len == 0 || here[0] < 0x20 || here[0] == 0x7f || here[0] == '%') {
            ps_buf_xprintf(out, "%%%02X", here[0]);
            at++;
        } else {
            ps_buf_xappend(out, here, len);
            at += len;
        }
    }
}

static int
hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    uint8_t lower = digit | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

enum ps_status
ps_percent_decode(struct ps_span text, struct ps_buf *out, struct ps_error *err)
{
    for (size_t at = 0; at < text.len; at++) {
        uint8_t byte = text.ptr[at];
        if (byte == '%') {
            int high = at + 2 < text.len ? hex_value(text.ptr[at + 1]) : -1;
            int low = at + 2 < text.len ? hex_value(text.ptr[at + 2]) : -1;
            if (high < 0 || low < 0) {
                return ps_fail(err, PS_BADDATA, "\"%%\" needs two hexadecimal digits");
            }
            byte = (uint8_t)(high * 16 + low);
            at += 2;
        }
        enum ps_status status = ps_buf_append(out, &byte, 1, err);
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}
