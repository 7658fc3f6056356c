/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_text.h"

#include <stdio.h>
#include <string.h>

const char *
cli_text_short(double count, char out[CLI_TEXT_BYTES])
{
    static const char units[] = {' ', 'k', 'M', 'G', 'T'};
    size_t unit = 0;
    while (count >= 999.5 && unit + 1 < sizeof units) {
        count /= 1000;
        unit++;
    }
    if (unit == 0) {
        snprintf(out, CLI_TEXT_BYTES, "%.0f", count);
    } else {
        snprintf(out, CLI_TEXT_BYTES, "%.*f%c", count < 9.95 ? 1 : 0, count, units[unit]);
    }
    return out;
}

const char *
cli_text_rate(uint64_t bytes, int64_t ms, char out[CLI_TEXT_BYTES])
{
    double rate = ms <= 0 ? 0 : (double)bytes / 1000.0 / (double)ms;
    if (rate < 0.0995) {
        snprintf(out, CLI_TEXT_BYTES, "%.0f kB/s", rate * 1000);
    } else {
        snprintf(out, CLI_TEXT_BYTES, "%.*f MB/s", rate < 9.95 ? 1 : 0, rate);
    }
    return out;
}

/* Length of the well-formed UTF-8 sequence at text, 0 where there is none or it is a control. */
static size_t
safe_sequence(const unsigned char *text, size_t len)
{
    unsigned char c = text[0];
    if (c < 0x80) {
        return c >= 0x20 && c != 0x7f ? 1 : 0;
    }
    size_t want = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 ? 2 : 0;
    if (c >= 0xf5 || want == 0 || want > len) {
        return 0;
    }
    for (size_t i = 1; i < want; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool c1 = c == 0xc2 && text[1] < 0xa0;
    bool direction = c == 0xe2 && ((text[1] == 0x80 && text[2] >= 0xa8 && text[2] <= 0xae) ||
                                   (text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9));
    bool surrogate = c == 0xed && text[1] >= 0xa0;
    bool overlong = (c == 0xe0 && text[1] < 0xa0) || (c == 0xf0 && text[1] < 0x90);
    return c1 || direction || surrogate || overlong ? 0 : want;
}

void
cli_text_safe_bytes(struct ps_buf *out, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0) {
        size_t step = safe_sequence(at, len);
        if (step == 0) {
            ps_buf_xprintf(out, "\\x%02x", *at);
            step = 1;
        } else {
            ps_buf_xappend(out, at, step);
        }
        at += step;
        len -= step;
    }
}

void
cli_text_safe(struct ps_buf *out, const char *text)
{
    cli_text_safe_bytes(out, text, strlen(text));
}

size_t
cli_text_width(const char *text, size_t len)
{
    size_t width = 0;
    for (size_t i = 0; i < len; i++) {
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return width;
}

/* Bytes of the first `columns` code points. */
static size_t
prefix_bytes(const char *text, size_t len, size_t columns)
{
    size_t at = 0;
    while (at < len) {
        if (((unsigned char)text[at] & 0xc0) != 0x80) {
            if (columns == 0) {
                break;
            }
            columns--;
        }
        at++;
    }
    return at;
}

void
cli_text_fit(struct ps_buf *out, const char *text, size_t width)
{
    size_t len = strlen(text);
    size_t have = cli_text_width(text, len);
    if (have <= width) {
        ps_buf_xappend(out, text, len);
        return;
    }
    if (width == 0) {
        return;
    }
    /* The end of a name tells more than its middle: numbers and extensions stand there. */
    size_t tail = (width - 1) * 2 / 3;
    size_t head = width - 1 - tail;
    ps_buf_xappend(out, text, prefix_bytes(text, len, head));
    ps_buf_xappend(out, "…", strlen("…"));
    size_t from = prefix_bytes(text, len, have - tail);
    ps_buf_xappend(out, text + from, len - from);
}
