/* SPDX-License-Identifier: Apache-2.0 */
/* Cells in the binary form of COPY (PostgreSQL documentation, "COPY", binary format; the fields are
 * what each type's receive function reads). Everything is checked here, so that what is wrong with
 * a value is said of that value, before the server has seen it. */
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "agent/dest/dst_postgres.h"
#include "common/alloc.h"

enum {
    NUMBER_TEXT_BYTES = 40,
    DECIMAL_MOST = 17000, /* 131072 digits before, 16383 behind the point is the server's limit */
    BASE_DIGITS = 4,
    TIMESTAMP_DAYS_END = 106751983, /* the year 294277 */
};

static const char not_integer[] = "is no whole number";
static const char too_large_integer[] = "is outside of the integer column's range";
static const char not_number[] = "is no number";
static const char inexact[] =
    "is a whole number that the floating-point column cannot hold exactly";
static const char not_bool[] =
    "is no boolean: expected true, false, t, f, yes, no, on, off, 1 or 0";
static const char not_date[] = "is no date: expected YYYY-MM-DD";
static const char not_time[] = "is no time: expected HH:MM[:SS[.ffffff]]";
static const char not_timestamp[] = "is no timestamp: expected YYYY-MM-DD HH:MM[:SS[.ffffff]]";
static const char zone_missing[] =
    "has no time zone, which the column needs: expected Z or +HH:MM behind it";
static const char zone_given[] = "has a time zone, which the column cannot keep";
static const char not_uuid[] = "is no UUID";
static const char too_long[] = "is longer than the column allows";
static const char null_refused[] = "is NULL, and the column is NOT NULL";
static const char too_many_digits[] = "has more digits than a numeric can hold";

/* ---- appending */

/* Room for so many bytes more, which are counted at once. */
static inline uint8_t *
grow(struct ps_buf *out, size_t bytes)
{
    if (__builtin_expect(out->cap - out->len < bytes, 0)) {
        static const uint8_t zeros[64];
        for (size_t left = bytes; left > 0;) {
            size_t part = left < sizeof zeros ? left : sizeof zeros;
            ps_buf_xappend(out, zeros, part);
            left -= part;
        }
    } else {
        out->len += bytes;
    }
    return out->ptr + out->len - bytes;
}

static inline void
put_bytes(struct ps_buf *out, const void *bytes, size_t len)
{
    uint32_t be = htobe32((uint32_t)len);
    uint8_t *at = grow(out, sizeof be + len);
    memcpy(at, &be, sizeof be);
    if (len > 0) {
        memcpy(at + sizeof be, bytes, len);
    }
}

static inline void
put_u16(struct ps_buf *out, uint16_t value)
{
    uint16_t be = htobe16(value);
    put_bytes(out, &be, sizeof be);
}

static inline void
put_u32(struct ps_buf *out, uint32_t value)
{
    uint32_t be = htobe32(value);
    put_bytes(out, &be, sizeof be);
}

static inline void
put_u64(struct ps_buf *out, uint64_t value)
{
    uint64_t be = htobe64(value);
    put_bytes(out, &be, sizeof be);
}

/* ---- text of a number, and numbers of a text */

/* The shortest text that reads back equal. */
static struct ps_span
print_number(const struct cell *cell, char out[NUMBER_TEXT_BYTES])
{
    int len = 0;
    if (cell->tag == CELL_INT) {
        len = snprintf(out, NUMBER_TEXT_BYTES, "%" PRId64, cell->integer);
    }
    for (int digits = 15; cell->tag == CELL_REAL && digits <= 17; digits++) {
        len = snprintf(out, NUMBER_TEXT_BYTES, "%.*g", digits, cell->real);
        if (strtod(out, NULL) == cell->real) {
            break;
        }
    }
    return ps_span((const uint8_t *)out, (size_t)len);
}

static bool
is_text(const struct cell *cell)
{
    return cell->tag == CELL_TEXT || cell->tag == CELL_SHORT_TEXT || cell->tag == CELL_BLOB;
}

static struct ps_span
text_of(const struct cell *cell, char out[NUMBER_TEXT_BYTES])
{
    return is_text(cell) ? ps_span(cell->ptr, cell->len) : print_number(cell, out);
}

static bool
read_int(struct ps_span text, int64_t *out)
{
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    bool negative = at == 1 && text.ptr[0] == '-';
    uint64_t value = 0;
    if (at == text.len) {
        return false;
    }
    for (; at < text.len; at++) {
        if (text.ptr[at] < '0' || text.ptr[at] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[at] - '0'), &value)) {
            return false;
        }
    }
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static bool
looks_like_number(struct ps_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("0123456789+-.eE", text.ptr[i]) == NULL || text.ptr[i] == '\0') {
            return false;
        }
    }
    return text.len > 0;
}

/* NaN and infinities by the names that the server prints. */
static bool
read_special(struct ps_span text, double *out)
{
    static const struct {
        const char *name;
        double value;
    } names[] = {{"nan", NAN},
                 {"infinity", INFINITY},
                 {"inf", INFINITY},
                 {"-infinity", -INFINITY},
                 {"-inf", -INFINITY}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (text.len == strlen(names[i].name) &&
            strncasecmp((const char *)text.ptr, names[i].name, text.len) == 0) {
            *out = names[i].value;
            return true;
        }
    }
    return false;
}

static bool
read_real(struct ps_span text, double *out)
{
    char copy[1100];
    if (read_special(text, out)) {
        return true;
    }
    if (text.len >= sizeof copy || !looks_like_number(text)) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end = NULL;
    *out = strtod(copy, &end);
    return end == copy + text.len && isfinite(*out);
}

/* ---- numbers */

static const char *
put_integer(const struct dst_postgres_column *column, const struct cell *cell, struct ps_buf *out)
{
    int64_t value = cell->integer;
    if (cell->tag == CELL_REAL) {
        if (cell->real != trunc(cell->real) || fabs(cell->real) > 9007199254740992.0) {
            return not_integer;
        }
        value = (int64_t)cell->real;
    } else if (cell->tag != CELL_INT && !read_int(ps_span(cell->ptr, cell->len), &value)) {
        return not_integer;
    }
    if (column->type == PG_INT2) {
        if (value < INT16_MIN || value > INT16_MAX) {
            return too_large_integer;
        }
        put_u16(out, (uint16_t)value);
    } else if (column->type == PG_INT4) {
        if (value < INT32_MIN || value > INT32_MAX) {
            return too_large_integer;
        }
        put_u32(out, (uint32_t)value);
    } else {
        put_u64(out, (uint64_t)value);
    }
    return NULL;
}

static const char *
put_real(const struct dst_postgres_column *column, const struct cell *cell, struct ps_buf *out)
{
    double value = cell->real;
    int64_t most = column->type == PG_FLOAT8 ? INT64_C(1) << 53 : INT64_C(1) << 24;
    if (cell->tag == CELL_INT) {
        value = (double)cell->integer;
        if (cell->integer > most || cell->integer < -most) {
            return inexact;
        }
    } else if (cell->tag != CELL_REAL && !read_real(ps_span(cell->ptr, cell->len), &value)) {
        return not_number;
    }
    if (column->type == PG_FLOAT8) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        put_u64(out, bits);
    } else {
        float narrow = (float)value;
        uint32_t bits;
        if (isinf(narrow) && !isinf(value)) {
            return "is outside of the real column's range";
        }
        memcpy(&bits, &narrow, sizeof bits);
        put_u32(out, bits);
    }
    return NULL;
}

/* A decimal text taken apart: digits without sign and point, and where the point stands. */
struct decimal {
    struct ps_buf digits;
    int64_t point; /* digits before it; may be negative or beyond them */
    int64_t scale; /* shown behind the point */
    bool negative;
};

static bool
read_decimal(struct ps_span text, struct decimal *out)
{
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    out->negative = at == 1 && text.ptr[0] == '-';
    bool behind = false;
    bool any = false;
    for (; at < text.len && tolower(text.ptr[at]) != 'e'; at++) {
        if (text.ptr[at] == '.' && !behind) {
            behind = true;
        } else if (text.ptr[at] >= '0' && text.ptr[at] <= '9') {
            ps_buf_xappend(&out->digits, &text.ptr[at], 1);
            out->point += behind ? 0 : 1;
            out->scale += behind ? 1 : 0;
            any = true;
        } else {
            return false;
        }
    }
    int64_t exponent = 0;
    if (at < text.len && (!read_int(ps_span(text.ptr + at + 1, text.len - at - 1), &exponent) ||
                          exponent > DECIMAL_MOST || exponent < -DECIMAL_MOST)) {
        return false;
    }
    out->point += exponent;
    out->scale = out->scale > exponent ? out->scale - exponent : 0;
    return any;
}

static unsigned
digit_at(const struct decimal *decimal, int64_t at)
{
    return at < 0 || at >= (int64_t)decimal->digits.len ? 0 : decimal->digits.ptr[at] - '0';
}

/* Groups of four digits, aligned at the point (numeric_recv: ndigits, weight, sign, dscale). */
static const char *
put_decimal(const struct decimal *decimal, struct ps_buf *out)
{
    int64_t len = (int64_t)decimal->digits.len;
    int64_t before = decimal->point > 0 ? (decimal->point + BASE_DIGITS - 1) / BASE_DIGITS
                                        : -((-decimal->point) / BASE_DIGITS);
    int64_t behind = len - decimal->point;
    int64_t groups = before + (behind > 0 ? (behind + BASE_DIGITS - 1) / BASE_DIGITS
                                          : -((-behind) / BASE_DIGITS));
    int64_t first = decimal->point - before * BASE_DIGITS; /* index of the first group's digit */
    uint16_t *values = ps_xcalloc((size_t)(groups > 0 ? groups : 1), sizeof *values);
    int64_t lead = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < groups; i++) {
        int64_t at = first + i * BASE_DIGITS;
        unsigned value = digit_at(decimal, at) * 1000 + digit_at(decimal, at + 1) * 100 +
                         digit_at(decimal, at + 2) * 10 + digit_at(decimal, at + 3);
        values[i] = (uint16_t)value;
        count = value != 0 ? i + 1 : count;
        lead = value == 0 && lead == i ? i + 1 : lead;
    }
    lead = count == 0 ? 0 : lead;
    int64_t weight = count == 0 ? 0 : before - 1 - lead;
    const char *why = weight > INT16_MAX || decimal->scale > 16383 || count - lead > INT16_MAX
                          ? too_many_digits
                          : NULL;
    if (why == NULL) {
        struct ps_buf field = PS_BUF_INIT;
        const uint16_t head[4] = {htobe16((uint16_t)(count - lead)), htobe16((uint16_t)weight),
                                  htobe16(decimal->negative && count > 0 ? 0x4000 : 0),
                                  htobe16((uint16_t)decimal->scale)};
        ps_buf_xappend(&field, head, sizeof head);
        for (int64_t i = lead; i < count; i++) {
            uint16_t be = htobe16(values[i]);
            ps_buf_xappend(&field, &be, sizeof be);
        }
        put_bytes(out, field.ptr, field.len);
        ps_buf_fini(&field);
    }
    ps_free(values);
    return why;
}

/* The common decimals without their text: value / 10^scale, scale at most 4. */
static void
put_short_decimal(int64_t value, uint16_t scale, struct ps_buf *out)
{
    static const uint16_t to_group[] = {1, 1000, 100, 10, 1};
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t unit = scale == 0 ? 1 : 10000 / to_group[scale];
    uint16_t groups[8];
    size_t count = 0;
    if (scale > 0) {
        groups[count++] = (uint16_t)(rest % unit * to_group[scale]);
        rest /= unit;
    }
    for (; rest > 0; rest /= 10000) {
        groups[count++] = (uint16_t)(rest % 10000);
    }
    size_t first = 0; /* the lowest group that is not zero */
    while (first < count && groups[first] == 0) {
        first++;
    }
    while (count > first && groups[count - 1] == 0) {
        count--;
    }
    int16_t weight = count == first ? 0 : (int16_t)(count - 1 - (scale > 0 ? 1 : 0));
    uint16_t field[4 + 8] = {htobe16((uint16_t)(count - first)), htobe16((uint16_t)weight),
                             htobe16(value < 0 ? 0x4000 : 0), htobe16(scale)};
    for (size_t i = count; i > first; i--) {
        field[4 + count - i] = htobe16(groups[i - 1]);
    }
    put_bytes(out, field, (4 + count - first) * sizeof field[0]);
}

/* True when the number is a short decimal exactly as its shortest text says it. */
static bool
put_short(const struct cell *cell, struct ps_buf *out)
{
    if (cell->tag == CELL_INT) {
        put_short_decimal(cell->integer, 0, out);
        return true;
    }
    if (cell->tag != CELL_REAL || !(fabs(cell->real) < 1e10) || cell->real == 0) {
        return false;
    }
    static const double powers[] = {1, 10, 100, 1000, 10000};
    for (uint16_t scale = 0; scale < 5; scale++) {
        double scaled = cell->real * powers[scale];
        int64_t nearest = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
        /* At most 14 digits that read back equal: they are the shortest. */
        if ((double)nearest / powers[scale] == cell->real) {
            put_short_decimal(nearest, scale, out);
            return true;
        }
    }
    return false;
}

static const char *
put_numeric(const struct cell *cell, struct ps_buf *out)
{
    if (put_short(cell, out)) {
        return NULL;
    }
    char number[NUMBER_TEXT_BYTES];
    struct ps_span text = text_of(cell, number);
    double special = 0;
    if (read_special(text, &special)) {
        const uint16_t sign = isnan(special) ? 0xC000 : special > 0 ? 0xD000 : 0xF000;
        const uint16_t head[4] = {0, 0, htobe16(sign), 0};
        put_bytes(out, head, sizeof head);
        return NULL;
    }
    struct decimal decimal = {0};
    const char *why = text.len <= DECIMAL_MOST && read_decimal(text, &decimal)
                          ? put_decimal(&decimal, out)
                          : not_number;
    ps_buf_fini(&decimal.digits);
    return why;
}

/* ---- dates and times */

/* Reads exactly `digits` digits, or more where most allows. */
static bool
read_digits(struct ps_span *rest, size_t least, size_t most, int64_t *out)
{
    size_t len = 0;
    *out = 0;
    while (len < most && len < rest->len && isdigit(rest->ptr[len])) {
        *out = *out * 10 + (rest->ptr[len++] - '0');
    }
    rest->ptr += len;
    rest->len -= len;
    return len >= least;
}

static bool
take_char(struct ps_span *rest, const char *any)
{
    if (rest->len == 0 || rest->ptr[0] == '\0' || strchr(any, rest->ptr[0]) == NULL) {
        return false;
    }
    rest->ptr++;
    rest->len--;
    return true;
}

static bool
take_word(struct ps_span *rest, const char *word)
{
    size_t len = strlen(word);
    if (rest->len < len || strncasecmp((const char *)rest->ptr, word, len) != 0) {
        return false;
    }
    rest->ptr += len;
    rest->len -= len;
    return true;
}

/* Days since 2000-01-01 of a proleptic Gregorian date (Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms"); year 0 is 1 BC. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 730425;
}

static bool
is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool
read_date(struct ps_span *rest, int64_t *out_year, int64_t *out_month, int64_t *out_day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!read_digits(rest, 4, 7, out_year) || !take_char(rest, "-") ||
        !read_digits(rest, 2, 2, out_month) || !take_char(rest, "-") ||
        !read_digits(rest, 2, 2, out_day) || *out_year == 0 || *out_month < 1 || *out_month > 12) {
        return false;
    }
    return *out_day >= 1 && *out_day <= 31 &&
           *out_day <= lengths[*out_month - 1] + (*out_month == 2);
}

/* February's 29th, and the days; bc: the year counts backwards. */
static bool
make_days(int64_t year, int64_t month, int64_t day, bool bc, int64_t *out)
{
    int64_t astronomical = bc ? 1 - year : year;
    if (month == 2 && day == 29 && !is_leap(astronomical)) {
        return false;
    }
    *out = days_of(astronomical, month, day);
    return *out >= -2451545 && *out < 2145031949; /* 4713 BC to 5874897 AD */
}

static bool
read_time(struct ps_span *rest, int64_t *out_us)
{
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    int64_t micros = 0;
    if (!read_digits(rest, 2, 2, &hour) || !take_char(rest, ":") ||
        !read_digits(rest, 2, 2, &minute)) {
        return false;
    }
    if (take_char(rest, ":")) {
        if (!read_digits(rest, 2, 2, &second)) {
            return false;
        }
        if (take_char(rest, ".")) {
            size_t before = rest->len;
            if (!read_digits(rest, 1, 6, &micros)) {
                return false;
            }
            for (size_t digits = before - rest->len; digits < 6; digits++) {
                micros *= 10;
            }
        }
    }
    /* 23:59:60 is the next day's start, as the server reads it; 24:00:00 too. */
    bool end_of_day = hour == 24 && minute == 0 && second == 0 && micros == 0;
    bool leap = second == 60 && micros == 0;
    if ((hour > 23 && !end_of_day) || minute > 59 || (second > 59 && !leap)) {
        return false;
    }
    *out_us = ((hour * 60 + minute) * 60 + second) * 1000000 + micros;
    return true;
}

/* *out_found false: none stands there. */
static bool
read_zone(struct ps_span *rest, bool *out_found, int64_t *out_us)
{
    *out_us = 0;
    *out_found = true;
    struct ps_span before = *rest;
    (void)take_char(rest, " ");
    if (take_word(rest, "Z") || take_word(rest, "UTC")) {
        return true;
    }
    bool west = rest->len > 0 && rest->ptr[0] == '-';
    int64_t hours = 0;
    int64_t minutes = 0;
    if (!take_char(rest, "+-")) {
        *rest = before;
        *out_found = false;
        return true;
    }
    if (!read_digits(rest, 2, 2, &hours)) {
        return false;
    }
    if (take_char(rest, ":")
            ? !read_digits(rest, 2, 2, &minutes)
            : rest->len > 0 && isdigit(rest->ptr[0]) && !read_digits(rest, 2, 2, &minutes)) {
        return false;
    }
    *out_us = (hours * 60 + minutes) * 60000000 * (west ? -1 : 1);
    return hours <= 15 && minutes <= 59;
}

static bool
is_infinity(struct ps_span text, bool *out_negative)
{
    *out_negative = text.len > 0 && text.ptr[0] == '-';
    return take_word(&text, *out_negative ? "-infinity" : "infinity") && text.len == 0;
}

static const char *
put_date(struct ps_span text, struct ps_buf *out)
{
    bool negative = false;
    if (is_infinity(text, &negative)) {
        put_u32(out, negative ? (uint32_t)INT32_MIN : (uint32_t)INT32_MAX);
        return NULL;
    }
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    int64_t days = 0;
    if (!read_date(&text, &year, &month, &day)) {
        return not_date;
    }
    bool bc = take_word(&text, " BC");
    if (text.len != 0 || !make_days(year, month, day, bc, &days)) {
        return not_date;
    }
    put_u32(out, (uint32_t)(int32_t)days);
    return NULL;
}

static const char *
put_time(struct ps_span text, struct ps_buf *out)
{
    int64_t us = 0;
    if (!read_time(&text, &us) || text.len != 0) {
        return not_time;
    }
    put_u64(out, (uint64_t)us);
    return NULL;
}

static const char *
put_timestamp(struct ps_span text, bool zoned, struct ps_buf *out)
{
    bool negative = false;
    if (is_infinity(text, &negative)) {
        put_u64(out, negative ? (uint64_t)INT64_MIN : (uint64_t)INT64_MAX);
        return NULL;
    }
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    int64_t days = 0;
    int64_t us = 0;
    int64_t zone_us = 0;
    bool has_zone = false;
    if (!read_date(&text, &year, &month, &day) || !take_char(&text, " Tt") ||
        !read_time(&text, &us) || !read_zone(&text, &has_zone, &zone_us)) {
        return not_timestamp;
    }
    bool bc = take_word(&text, " BC");
    if (text.len != 0 || !make_days(year, month, day, bc, &days) || days >= TIMESTAMP_DAYS_END) {
        return not_timestamp;
    }
    if (has_zone != zoned) {
        return zoned ? zone_missing : zone_given;
    }
    put_u64(out, (uint64_t)(days * INT64_C(86400000000) + us - zone_us));
    return NULL;
}

/* ---- the others */

static int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (uint8_t)tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *
put_uuid(struct ps_span text, struct ps_buf *out)
{
    uint8_t bytes[16];
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);
        bool hyphen = text.ptr[i] == '-' && digits % 4 == 0 && digits > 0;
        bool brace = (i == 0 && text.ptr[i] == '{') || (i + 1 == text.len && text.ptr[i] == '}');
        if (digit >= 0 && digits < 32) {
            bytes[digits / 2] = (uint8_t)(digits % 2 == 0 ? digit << 4 : bytes[digits / 2] | digit);
            digits++;
        } else if (!hyphen && !brace) {
            return not_uuid;
        }
    }
    if (digits != 32) {
        return not_uuid;
    }
    put_bytes(out, bytes, sizeof bytes);
    return NULL;
}

static const char *
put_bool(const struct cell *cell, struct ps_buf *out)
{
    static const char *const words[2][6] = {{"false", "f", "no", "n", "off", "0"},
                                            {"true", "t", "yes", "y", "on", "1"}};
    char number[NUMBER_TEXT_BYTES];
    struct ps_span text = text_of(cell, number);
    for (uint8_t value = 0; value < 2; value++) {
        for (size_t i = 0; i < 6; i++) {
            if (text.len == strlen(words[value][i]) &&
                strncasecmp((const char *)text.ptr, words[value][i], text.len) == 0) {
                put_bytes(out, &value, 1);
                return NULL;
            }
        }
    }
    return not_bool;
}

/* "\x…" is hexadecimal, as the server prints it; anything else stands for its own bytes. */
static void
put_bytea(struct ps_span text, struct ps_buf *out)
{
    bool hex = text.len >= 2 && text.len % 2 == 0 && text.ptr[0] == '\\' && text.ptr[1] == 'x';
    for (size_t i = 2; hex && i < text.len; i++) {
        hex = hex_digit(text.ptr[i]) >= 0;
    }
    if (!hex) {
        put_bytes(out, text.ptr, text.len);
        return;
    }
    uint32_t be = htobe32((uint32_t)(text.len / 2 - 1));
    ps_buf_xappend(out, &be, sizeof be);
    for (size_t i = 2; i < text.len; i += 2) {
        uint8_t byte = (uint8_t)(hex_digit(text.ptr[i]) << 4 | hex_digit(text.ptr[i + 1]));
        ps_buf_xappend(out, &byte, 1);
    }
}

/* As the server counts: blanks at the end may go beyond. */
static bool
fits(const struct dst_postgres_column *column, struct ps_span text)
{
    if (column->most_chars < 0 || text.len <= (size_t)column->most_chars) {
        return true;
    }
    int64_t chars = 0;
    for (size_t i = 0; i < text.len; i++) {
        chars += (text.ptr[i] & 0xC0) != 0x80;
        if (chars > column->most_chars && text.ptr[i] != ' ') {
            return false;
        }
    }
    return true;
}

static const char *
put_text(const struct dst_postgres_column *column, struct ps_span text, struct ps_buf *out)
{
    if (!fits(column, text)) {
        return too_long;
    }
    put_bytes(out, text.ptr, text.len);
    return NULL;
}

static void
put_jsonb(struct ps_span text, struct ps_buf *out)
{
    uint32_t be = htobe32((uint32_t)text.len + 1);
    ps_buf_xappend(out, &be, sizeof be);
    ps_buf_xappend(out, "\x01", 1);
    ps_buf_xappend(out, text.ptr, text.len);
}

const char *
dst_postgres_value_put(const struct dst_postgres_column *column, const struct cell *cell,
                       struct ps_buf *out)
{
    char number[NUMBER_TEXT_BYTES];
    if (cell->tag == CELL_NULL) {
        static const uint32_t minus_one = UINT32_MAX;
        ps_buf_xappend(out, &minus_one, sizeof minus_one);
        return column->not_null ? null_refused : NULL;
    }
    switch (column->type) {
    case PG_TEXT:
    case PG_BY_SERVER:
        return put_text(column, text_of(cell, number), out);
    case PG_JSONB:
        put_jsonb(text_of(cell, number), out);
        return NULL;
    case PG_BYTEA:
        put_bytea(text_of(cell, number), out);
        return NULL;
    case PG_BOOL:
        return put_bool(cell, out);
    case PG_INT2:
    case PG_INT4:
    case PG_INT8:
        return put_integer(column, cell, out);
    case PG_FLOAT4:
    case PG_FLOAT8:
        return put_real(column, cell, out);
    case PG_NUMERIC:
        return put_numeric(cell, out);
    case PG_DATE:
        return put_date(text_of(cell, number), out);
    case PG_TIME:
        return put_time(text_of(cell, number), out);
    case PG_TIMESTAMP:
        return put_timestamp(text_of(cell, number), false, out);
    case PG_TIMESTAMPTZ:
        return put_timestamp(text_of(cell, number), true, out);
    case PG_UUID:
        return put_uuid(text_of(cell, number), out);
    }
    return not_number;
}

void
dst_postgres_value_text(const struct cell *cell, bool last, struct ps_buf *out)
{
    char number[NUMBER_TEXT_BYTES];
    if (cell->tag == CELL_NULL) {
        ps_buf_xappend(out, "\\N", 2);
    } else {
        struct ps_span text = text_of(cell, number);
        size_t done = 0;
        for (size_t i = 0; i < text.len; i++) {
            static const char special[] = "\\\t\n\r";
            static const char letters[] = "\\tnr";
            const char *found =
                text.ptr[i] > '\\' ? NULL : memchr(special, text.ptr[i], sizeof special - 1);
            if (found != NULL) {
                ps_buf_xappend(out, text.ptr + done, i - done);
                ps_buf_xappend(out, "\\", 1);
                ps_buf_xappend(out, &letters[found - special], 1);
                done = i + 1;
            }
        }
        ps_buf_xappend(out, text.ptr + done, text.len - done);
    }
    ps_buf_xappend(out, last ? "\n" : "\t", 1);
}
