/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dest_cell.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { REAL_TEXT_BYTES = 1100 };

/* ---- numbers */

struct ps_span
dest_cell_text(const struct cell *cell, char out[DEST_NUMBER_BYTES])
{
    int len = 0;
    if (dest_cell_is_text(cell)) {
        return ps_span(cell->ptr, cell->len);
    }
    if (cell->tag == CELL_INT) {
        len = snprintf(out, DEST_NUMBER_BYTES, "%" PRId64, cell->integer);
    }
    for (int digits = 15; cell->tag == CELL_REAL && digits <= 17; digits++) {
        len = snprintf(out, DEST_NUMBER_BYTES, "%.*g", digits, cell->real);
        if (strtod(out, NULL) == cell->real) {
            break;
        }
    }
    return ps_span((const uint8_t *)out, (size_t)len);
}

static bool
read_digits(struct ps_span digits, uint64_t *out)
{
    *out = 0;
    for (size_t at = 0; at < digits.len; at++) {
        if (digits.ptr[at] < '0' || digits.ptr[at] > '9' || __builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(digits.ptr[at] - '0'), out)) {
            return false;
        }
    }
    return digits.len > 0;
}

static bool
read_signed(struct ps_span text, bool *out_negative, uint64_t *out)
{
    size_t sign = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    *out_negative = sign == 1 && text.ptr[0] == '-';
    return read_digits(ps_span(text.ptr + sign, text.len - sign), out);
}

bool
dest_read_int(struct ps_span text, int64_t *out)
{
    uint64_t value = 0;
    bool negative = false;
    if (!read_signed(text, &negative, &value) || value > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool
dest_read_unsigned(struct ps_span text, uint64_t *out)
{
    bool negative = false;
    return read_signed(text, &negative, out) && (!negative || *out == 0);
}

bool
dest_read_real(struct ps_span text, double *out)
{
    char copy[REAL_TEXT_BYTES];
    if (text.len == 0 || text.len >= sizeof copy) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\0' || strchr("0123456789+-.eE", text.ptr[i]) == NULL) {
            return false;
        }
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end = NULL;
    *out = strtod(copy, &end);
    return end == copy + text.len && isfinite(*out);
}

/* ---- words */

bool
dest_read_bool(struct ps_span text, bool *out)
{
    static const char *const words[2][6] = {{"false", "f", "no", "n", "off", "0"},
                                            {"true", "t", "yes", "y", "on", "1"}};
    for (size_t value = 0; value < 2; value++) {
        for (size_t i = 0; i < 6; i++) {
            if (text.len == strlen(words[value][i]) &&
                strncasecmp((const char *)text.ptr, words[value][i], text.len) == 0) {
                *out = value == 1;
                return true;
            }
        }
    }
    return false;
}

int
dest_hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (uint8_t)tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
dest_read_uuid(struct ps_span text, uint8_t out[16])
{
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = dest_hex_digit(text.ptr[i]);
        bool hyphen = text.ptr[i] == '-' && digits % 4 == 0 && digits > 0;
        bool brace = (i == 0 && text.ptr[i] == '{') || (i + 1 == text.len && text.ptr[i] == '}');
        if (digit >= 0 && digits < 32) {
            out[digits / 2] = (uint8_t)(digits % 2 == 0 ? digit << 4 : out[digits / 2] | digit);
            digits++;
        } else if (!hyphen && !brace) {
            return false;
        }
    }
    return digits == 32;
}

/* ---- dates and times */

bool
dest_take_digits(struct ps_span *rest, size_t least, size_t most, int64_t *out)
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

bool
dest_take_char(struct ps_span *rest, const char *any)
{
    if (rest->len == 0 || rest->ptr[0] == '\0' || strchr(any, rest->ptr[0]) == NULL) {
        return false;
    }
    rest->ptr++;
    rest->len--;
    return true;
}

bool
dest_take_word(struct ps_span *rest, const char *word)
{
    size_t len = strlen(word);
    if (rest->len < len || strncasecmp((const char *)rest->ptr, word, len) != 0) {
        return false;
    }
    rest->ptr += len;
    rest->len -= len;
    return true;
}

/* Four digits and twice two with hyphens between: nearly all dates, read at once. */
static bool
take_plain_date(struct ps_span *rest, struct dest_date *out)
{
    static const uint8_t places[] = {0, 1, 2, 3, 5, 6, 8, 9};
    unsigned digits[sizeof places];
    if (rest->len < 10 || rest->ptr[4] != '-' || rest->ptr[7] != '-') {
        return false;
    }
    for (size_t i = 0; i < sizeof places; i++) {
        digits[i] = (unsigned)rest->ptr[places[i]] - '0';
        if (digits[i] > 9) {
            return false;
        }
    }
    *out =
        (struct dest_date){.year = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3],
                           .month = digits[4] * 10 + digits[5],
                           .day = digits[6] * 10 + digits[7]};
    rest->ptr += 10;
    rest->len -= 10;
    return true;
}

bool
dest_take_date(struct ps_span *rest, struct dest_date *out)
{
    static const int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool taken = take_plain_date(rest, out) ||
                 (dest_take_digits(rest, 4, 7, &out->year) && dest_take_char(rest, "-") &&
                  dest_take_digits(rest, 2, 2, &out->month) && dest_take_char(rest, "-") &&
                  dest_take_digits(rest, 2, 2, &out->day));
    return taken && out->year > 0 && out->month >= 1 && out->month <= 12 && out->day >= 1 &&
           out->day <= lengths[out->month - 1];
}

bool
dest_take_clock(struct ps_span *rest, size_t hour_digits, struct dest_clock *out)
{
    *out = (struct dest_clock){0};
    if (!dest_take_digits(rest, 2, hour_digits, &out->hour) || !dest_take_char(rest, ":") ||
        !dest_take_digits(rest, 2, 2, &out->minute)) {
        return false;
    }
    if (!dest_take_char(rest, ":")) {
        return true;
    }
    if (!dest_take_digits(rest, 2, 2, &out->second)) {
        return false;
    }
    if (dest_take_char(rest, ".")) {
        size_t before = rest->len;
        if (!dest_take_digits(rest, 1, 6, &out->micros)) {
            return false;
        }
        out->digits = (int)(before - rest->len);
        for (int digits = out->digits; digits < 6; digits++) {
            out->micros *= 10;
        }
    }
    return true;
}

bool
dest_take_zone(struct ps_span *rest, bool *out_found, int64_t *out_us)
{
    struct ps_span before = *rest;
    *out_us = 0;
    *out_found = true;
    (void)dest_take_char(rest, " ");
    if (dest_take_word(rest, "Z") || dest_take_word(rest, "UTC")) {
        return true;
    }
    bool west = rest->len > 0 && rest->ptr[0] == '-';
    int64_t hours = 0;
    int64_t minutes = 0;
    if (!dest_take_char(rest, "+-")) {
        *rest = before;
        *out_found = false;
        return true;
    }
    if (!dest_take_digits(rest, 2, 2, &hours)) {
        return false;
    }
    bool more = dest_take_char(rest, ":") || (rest->len > 0 && isdigit(rest->ptr[0]));
    if (more && !dest_take_digits(rest, 2, 2, &minutes)) {
        return false;
    }
    *out_us = (hours * 60 + minutes) * 60000000 * (west ? -1 : 1);
    return hours <= 15 && minutes <= 59;
}

static bool
is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Hinnant, "chrono-Compatible Low-Level Date Algorithms": both ways. */
bool
dest_date_days(const struct dest_date *date, int64_t *out)
{
    int64_t month = date->month;
    int64_t year = date->year - (month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + date->day - 1;
    *out = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 730425;
    return month != 2 || date->day != 29 || is_leap(date->year);
}

struct dest_date
dest_date_of(int64_t days)
{
    days += 730425;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct dest_date date = {.year = year + era * 400,
                             .month = month + (month < 10 ? 3 : -9),
                             .day = of_year - (153 * month + 2) / 5 + 1};
    date.year += date.month <= 2;
    return date;
}
