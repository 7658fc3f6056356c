/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/number.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INT_DIGITS = 19, EXACT_DIGITS = 15, EXACT_POWER = 22, TEXT_MAX = 1000 };

const double number_powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

const uint8_t number_right[32] = {
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15,
};

const uint8_t number_without[17][16] = {
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0x80},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

bool
number_int(const uint8_t *text, size_t len, int64_t *out)
{
    bool negative = len > 0 && text[0] == '-';
    const uint8_t *p = text + negative;
    size_t digits = len - negative;
    if (digits == 0 || digits > INT_DIGITS || (*p == '0' && len > 1)) {
        return false;
    }
    uint64_t value = 0; /* 19 digits always fit */
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned)p[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

struct shape {
    uint64_t mantissa;    /* of the significant digits, when there are at most 19 */
    unsigned significant; /* digits from the first non-zero one on */
    unsigned trailing;    /* of these, zeros at the end */
    unsigned digits;      /* all of them */
    int exponent;         /* value = mantissa * 10^exponent, with the "e" part, clamped */
    bool negative;
    bool signed_plus;
    bool leading_zero; /* a 0 before another digit of the whole part */
};

/* The digits of one part; returns the first byte that is none. */
static const uint8_t *
digits_take(const uint8_t *p, const uint8_t *end, struct shape *shape)
{
    for (; p < end && (unsigned)*p - '0' <= 9; p++) {
        unsigned digit = (unsigned)*p - '0';
        shape->digits++;
        if (shape->significant == 0 && digit == 0) {
            continue;
        }
        shape->significant++;
        shape->trailing = digit == 0 ? shape->trailing + 1 : 0;
        if (shape->significant <= INT_DIGITS) {
            shape->mantissa = shape->mantissa * 10 + digit;
        }
    }
    return p;
}

static const uint8_t *
exponent_take(const uint8_t *p, const uint8_t *end, struct shape *shape)
{
    p++;
    bool negative = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    if (p == end) {
        return NULL;
    }
    int value = 0;
    for (; p < end && (unsigned)*p - '0' <= 9; p++) {
        value = value > 100000 ? value : value * 10 + (*p - '0');
    }
    shape->exponent += negative ? -value : value;
    return p;
}

static bool
shape_of(const uint8_t *text, size_t len, struct shape *shape)
{
    const uint8_t *p = text;
    const uint8_t *end = text + len;
    *shape = (struct shape){0};
    if (len == 0 || len > TEXT_MAX) {
        return false;
    }
    shape->negative = *p == '-';
    shape->signed_plus = *p == '+';
    p += shape->negative || shape->signed_plus;
    const uint8_t *whole = p;
    p = digits_take(p, end, shape);
    shape->leading_zero = p - whole > 1 && *whole == '0';
    if (p < end && *p == '.') {
        const uint8_t *point = ++p;
        p = digits_take(p, end, shape);
        shape->exponent = -(int)(p - point);
    }
    if (shape->digits == 0) {
        return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p = exponent_take(p, end, shape);
    }
    return p == end;
}

static bool
real_slow(const uint8_t *text, size_t len, double *out)
{
    char copy[TEXT_MAX + 1];
    memcpy(copy, text, len);
    copy[len] = '\0';
    *out = strtod(copy, NULL); /* no program here calls setlocale, so its point is a point */
    return isfinite(*out);
}

bool
number_real(const uint8_t *text, size_t len, double *out)
{
    struct shape shape;
    if (!shape_of(text, len, &shape)) {
        return false;
    }
    /* Both operands are doubles exactly, so the one rounding of * or / is the right one
     * (Clinger, "How to read floating point numbers accurately", 1990). */
    if (shape.significant <= INT_DIGITS && shape.mantissa <= (uint64_t)1 << DBL_MANT_DIG &&
        shape.exponent >= -EXACT_POWER && shape.exponent <= EXACT_POWER) {
        double value = (double)shape.mantissa;
        value = shape.exponent < 0 ? value / number_powers[-shape.exponent]
                                   : value * number_powers[shape.exponent];
        *out = shape.negative ? -value : value;
        return true;
    }
    return real_slow(text, len, out);
}

/* The text with points for commas; NULL when it is no number anyway. */
static const uint8_t *
comma_to_point(const uint8_t *text, size_t len, uint8_t copy[TEXT_MAX])
{
    if (len > TEXT_MAX || memchr(text, '.', len) != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        copy[i] = text[i] == ',' ? '.' : text[i];
    }
    return copy;
}

bool
number_real_comma(const uint8_t *text, size_t len, double *out)
{
    uint8_t copy[TEXT_MAX];
    const uint8_t *point = comma_to_point(text, len, copy);
    return point != NULL && number_real(point, len, out);
}

bool
number_real_exact(const uint8_t *text, size_t len, bool decimal_comma)
{
    struct shape shape;
    double value = 0;
    uint8_t copy[TEXT_MAX];
    if (decimal_comma) {
        text = comma_to_point(text, len, copy);
    }
    if (text == NULL || !shape_of(text, len, &shape) || shape.signed_plus || shape.leading_zero ||
        shape.significant - shape.trailing > EXACT_DIGITS || !number_real(text, len, &value)) {
        return false;
    }
    return shape.significant == 0 || fabs(value) >= DBL_MIN;
}
