/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/json_scan.h"

#include "agent/decode/csv_index.h"
#include "agent/decode/json_plain.h"

const uint8_t *
json_fail_at(struct json_scan *scan, const uint8_t *at, const char *expected)
{
    if (at >= scan->end) {
        return json_fail(scan, JSON_END, scan->end, expected);
    }
    return json_fail(scan, JSON_STRUCTURE, at, expected);
}

/* ---- Strings. */

static int
hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The four digits at p: -1 = one is none, -2 = the text ends before. */
static int
hex_unit(const uint8_t *p, const uint8_t *end)
{
    int unit = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (p + i >= end) {
            return -2;
        }
        int digit = hex_digit(p[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

static uint8_t *
utf8_put(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (uint8_t)code;
    } else if (code < 0x800) {
        *out++ = (uint8_t)(0xC0 | code >> 6);
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *out++ = (uint8_t)(0xE0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | code >> 18);
        *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    }
    return out;
}

static bool
is_high(int unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool
is_low(int unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/* \uXXXX at p, with the second half of its pair. */
static const uint8_t *
unicode_escape(struct json_scan *scan, const uint8_t *p, uint32_t *out_code)
{
    int unit = hex_unit(p + 2, scan->end);
    int low = -1;
    if (unit == -2) {
        return json_fail(scan, JSON_END, scan->end, "four hexadecimal digits");
    }
    if (unit == -1) {
        return json_fail(scan, JSON_ESCAPE, p, "four hexadecimal digits behind \\u");
    }
    const uint8_t *next = p + 6;
    if (unit == 0) {
        return json_fail(scan, JSON_NUL, p, "text without it");
    }
    if (is_high(unit)) {
        /* What follows decides: another escape, or anything else. */
        if (next >= scan->end || (*next == '\\' && next + 1 >= scan->end)) {
            return json_fail(scan, JSON_END, scan->end, "the second half of a surrogate pair");
        }
        if (*next == '\\' && next[1] == 'u') {
            low = hex_unit(next + 2, scan->end);
        }
        if (low == -2) {
            return json_fail(scan, JSON_END, scan->end, "the second half of a surrogate pair");
        }
        if (is_low(low)) {
            *out_code = 0x10000 + (uint32_t)((unit - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
            return next + 6;
        }
    }
    if (is_high(unit) || is_low(unit)) {
        if (!scan->rules->replace_surrogates) {
            return json_fail(scan, JSON_SURROGATE, p,
                             "a whole surrogate pair (format.lone_surrogates: replace takes it)");
        }
        unit = 0xFFFD;
    }
    *out_code = (uint32_t)unit;
    return next;
}

/* The escape at p. */
static const uint8_t *
escape(struct json_scan *scan, const uint8_t *p, uint32_t *out_code)
{
    static const char from[] = "\"\\/bfnrt";
    static const char into[] = "\"\\/\b\f\n\r\t";
    if (p + 1 >= scan->end) {
        return json_fail(scan, JSON_END, scan->end, "an escape");
    }
    if (p[1] == 'u') {
        return unicode_escape(scan, p, out_code);
    }
    const char *hit = p[1] == 0 ? NULL : strchr(from, p[1]);
    if (hit == NULL) {
        return json_fail(scan, JSON_ESCAPE, p, "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    }
    *out_code = (uint8_t)into[hit - from];
    return p + 2;
}

/* The text of a string that was checked, with its escapes undone, in scratch. */
static void
unescape(struct json_scan *scan, const uint8_t *begin, const uint8_t *end, struct ps_span *out)
{
    uint8_t *start = scan->scratch->ptr + scan->scratch->len;
    uint8_t *at = start;
    const uint8_t *p = begin;
    while (p < end) {
        const uint8_t *hit = memchr(p, '\\', (size_t)(end - p));
        size_t len = (size_t)((hit == NULL ? end : hit) - p);
        memcpy(at, p, len);
        at += len;
        p += len;
        if (hit != NULL) {
            uint32_t code = 0;
            p = escape(scan, p, &code);
            at = utf8_put(at, code);
        }
    }
    *out = ps_span(start, (size_t)(at - start));
    scan->scratch->len += out->len;
}

const uint8_t *
json_string_rest(struct json_scan *scan, const uint8_t *begin, const uint8_t *at,
                 struct ps_span *out)
{
    bool escaped = false;
    bool wide = false;
    const uint8_t *p = at;
    for (;;) {
        if (p >= scan->end) {
            return json_fail(scan, JSON_END, scan->end, "a closing quote");
        }
        if (*p == '"') {
            break;
        }
        if (*p == '\\') {
            uint32_t code = 0;
            escaped = true;
            p = escape(scan, p, &code);
            if (p == NULL) {
                return NULL;
            }
        } else if (*p < 0x20) {
            return json_fail(scan, *p == 0 ? JSON_NUL : JSON_CONTROL, p,
                             "control characters in a string are to be escaped");
        } else {
            wide = wide || *p >= 0x80;
            p++;
        }
        p = json_plain_end(p, scan->end, scan->limit, wide);
    }
    if (wide) {
        size_t good = csv_text_check(begin, (size_t)(p - begin));
        if (good != (size_t)(p - begin)) {
            return json_fail(scan, JSON_UTF8, begin + good, "valid UTF-8");
        }
    }
    if (out != NULL && escaped) {
        unescape(scan, begin, p, out);
    } else if (out != NULL) {
        *out = ps_span(begin, (size_t)(p - begin));
    }
    return p + 1;
}

/* ---- Numbers and words. */

static bool
is_digit(const struct json_scan *scan, const uint8_t *p)
{
    return p < scan->end && *p >= '0' && *p <= '9';
}

static bool
ends_token(uint8_t byte)
{
    return byte <= ' ' || byte == ',' || byte == '}' || byte == ']' || byte == ':';
}

/* Letters, digits and what else makes other languages' numbers and names. */
static bool
is_wordy(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           byte == '+' || byte == '-' || byte == '.' || byte == '_' || byte == '$';
}

/* The token that begins at p is none of JSON's. */
static const uint8_t *
bad_token(struct json_scan *scan, const uint8_t *p, const char *expected)
{
    const uint8_t *q = p;
    while (q < scan->end && is_wordy(*q)) {
        q++;
    }
    if (q == scan->end && !scan->final) {
        return json_fail(scan, JSON_END, scan->end, expected);
    }
    bool sound = q > p && (q == scan->end || ends_token(*q));
    return json_fail(scan, sound ? JSON_TOKEN : JSON_STRUCTURE, p, expected);
}

const uint8_t *
json_number(struct json_scan *scan, const uint8_t *p)
{
    static const char expected[] = "a number such as -12.5e3";
    const uint8_t *q = p + (*p == '-');
    bool zero = is_digit(scan, q) && *q == '0';
    bool good = is_digit(scan, q);
    while (is_digit(scan, q)) {
        q++;
        if (zero) {
            break;
        }
    }
    if (good && q < scan->end && *q == '.') {
        q++;
        good = is_digit(scan, q);
        while (is_digit(scan, q)) {
            q++;
        }
    }
    if (good && q < scan->end && (*q | 0x20) == 'e') {
        q++;
        q += q < scan->end && (*q == '+' || *q == '-');
        good = is_digit(scan, q);
        while (is_digit(scan, q)) {
            q++;
        }
    }
    if (q == scan->end && (!scan->final || !good)) {
        return scan->final ? bad_token(scan, p, expected)
                           : json_fail(scan, JSON_END, scan->end, expected);
    }
    if (!good || (q < scan->end && !ends_token(*q))) {
        return bad_token(scan, p, expected);
    }
    return q;
}

const uint8_t *
json_word(struct json_scan *scan, const uint8_t *p)
{
    static const char *const words[] = {"true", "false", "null"};
    static const char expected[] = "a value (\"text\", number, true, false, null, { or [)";
    if (p >= scan->end) {
        return json_fail(scan, JSON_END, scan->end, expected);
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = strlen(words[i]);
        size_t left = (size_t)(scan->end - p);
        if (memcmp(p, words[i], left < len ? left : len) != 0) {
            continue;
        }
        if (left < len || (left == len && !scan->final)) {
            return scan->final ? bad_token(scan, p, expected)
                               : json_fail(scan, JSON_END, scan->end, expected);
        }
        if (left == len || ends_token(p[len])) {
            return p + len;
        }
    }
    if (*p == ',' || *p == '}' || *p == ']') {
        return json_fail(scan, JSON_MISSING, p, expected);
    }
    return bad_token(scan, p, expected);
}

/* ---- Skipping. */

void
json_skip_open(struct json_skip *skip, bool is_array)
{
    if (skip->depth < JSON_DEPTH_MAX) {
        uint64_t bit = (uint64_t)1 << (skip->depth % 64);
        uint64_t *kinds = &skip->kinds[skip->depth / 64];
        *kinds = is_array ? *kinds | bit : *kinds & ~bit;
    }
    skip->depth++;
    skip->begun = true;
}

static void
skip_close(struct json_skip *skip, bool is_array)
{
    skip->depth--;
    skip->broken = skip->depth < JSON_DEPTH_MAX &&
                   (skip->kinds[skip->depth / 64] >> (skip->depth % 64) & 1) != is_array;
}

/* From inside a string to behind its end, or as far as the bytes go. */
static const uint8_t *
skip_string(struct json_skip *skip, const uint8_t *p, const uint8_t *end)
{
    while (p < end && skip->in_string && !skip->broken) {
        if (skip->escaped) {
            skip->escaped = false;
            p++;
            continue;
        }
        p = json_plain_end(p, end, end, true);
        if (p < end) {
            skip->escaped = *p == '\\';
            skip->in_string = *p != '"';
            skip->broken = *p < 0x20;
            p++;
        }
    }
    return p;
}

/* The byte at p, outside of strings. True: the value ended; *out_at is behind it. */
static bool
skip_byte(struct json_skip *skip, const uint8_t *p, const uint8_t **out_at)
{
    *out_at = p + 1;
    if (skip->scalar && ends_token(*p)) {
        *out_at = p;
        return true;
    }
    switch (*p) {
    case '"':
        skip->in_string = true;
        skip->begun = true;
        return false;
    case '{':
    case '[':
        json_skip_open(skip, *p == '[');
        return false;
    case '}':
    case ']':
        if (skip->depth == 0) {
            skip->broken = true;
            return true;
        }
        skip_close(skip, *p == ']');
        return skip->broken || skip->depth == 0;
    default:
        if (*p > ' ' && !skip->begun) {
            skip->begun = true;
            skip->scalar = true;
        }
        return false;
    }
}

bool
json_skip_run(struct json_skip *skip, const uint8_t *p, const uint8_t *end, const uint8_t **out_at)
{
    bool done = skip->broken;
    while (p < end && !done) {
        if (skip->in_string) {
            p = skip_string(skip, p, end);
            done = skip->broken || (!skip->in_string && skip->depth == 0);
        } else {
            done = skip_byte(skip, p, &p);
        }
    }
    *out_at = p;
    return done;
}
