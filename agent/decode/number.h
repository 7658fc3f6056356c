/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/number.h: decimal texts as numbers, without a locale.
 * Invariant: a text that is accepted stands for exactly the value returned (bigint), or for the
 *            nearest double (real, correctly rounded).
 * Threads: pure. */
#ifndef AGENT_DECODE_NUMBER_H
#define AGENT_DECODE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* -?(0|[1-9][0-9]*) within int64; "-0" is refused. */
bool number_int(const uint8_t *text, size_t len, int64_t *out);
/* [+-]?(digits[.digits]|.digits)([eE][+-]?digits)?, finite, at most 1000 characters. */
bool number_real(const uint8_t *text, size_t len, double *out);
/* The same with a comma before the fraction; a point is no number then. */
bool number_real_comma(const uint8_t *text, size_t len, double *out);
/* For inference: number_real, no plus, no leading zero, at most 15 significant digits, and neither
 * overflow nor underflow: so the double prints back (%.15g) to an equal value. */
bool number_real_exact(const uint8_t *text, size_t len, bool decimal_comma);

/* ---- The hot forms: the same answers. readable: bytes that may be read from text on, >= len. */

/* The first len (1 to 8) bytes of word, little-endian, as a decimal number (eight digits at once:
 * Lemire, "Quickly parsing eight digits", 2018). */
static inline bool
number_digits8(uint64_t word, unsigned len, uint64_t *out)
{
    /* Digits become 0 to 9; what is not ours goes out at the top, zeros come in before it. */
    word = (word ^ 0x3030303030303030u) << ((0 - 8 * len) & 63);
    if ((((word + 0x7676767676767676u) | word) & 0x8080808080808080u) != 0) {
        return false;
    }
    word = word * 10 + (word >> 8);
    *out = (((word & 0x000000FF000000FFu) * 0x000F424000000064u) +
            (((word >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u)) >>
           32;
    return true;
}

enum number_found { NUMBER_NONE, NUMBER_FOUND, NUMBER_ASK };

/* NUMBER_ASK: number_int knows. */
static inline enum number_found
number_int_fast(const uint8_t *text, size_t len, size_t readable, int64_t *out)
{
    size_t sign = len > 0 && *text == '-';
    size_t digits = len - sign;
    uint64_t word = 0;
    uint64_t value = 0;
    if (digits - 1 >= 16 || readable < sign + 8) {
        return NUMBER_ASK;
    }
    memcpy(&word, text + sign, sizeof word);
    bool good = (word & 0xFF) != '0' || len == 1;
    if (digits <= 8) {
        good = good && number_digits8(word, (unsigned)digits, &value);
    } else {
        uint64_t tail = 0;
        uint64_t last = 0;
        memcpy(&tail, text + len - 8, sizeof tail);
        good = good && number_digits8(word, (unsigned)digits - 8, &value) &&
               number_digits8(tail, 8, &last);
        value = value * 100000000 + last;
    }
    *out = sign != 0 ? -(int64_t)value : (int64_t)value;
    return good ? NUMBER_FOUND : NUMBER_NONE;
}

/* 10^k for k <= 22 is a double exactly. */
extern const double number_powers[23];

/* 0x80 in the lowest byte of word that is a point; bits above it may be wrong. */
static inline uint64_t
number_point(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u;
    word ^= ones * '.';
    return (word - ones) & ~word & ones << 7;
}

/* digits[.digits] of at most 8 characters. */
static inline enum number_found
number_short(uint64_t word, size_t size, double *out)
{
    uint64_t value = 0;
    uint64_t point = number_point(word);
    size_t after = 0;
    if (point != 0) {
        unsigned at = (unsigned)__builtin_ctzll(point) & 56; /* the point's first bit */
        if (at / 8 < size) {
            uint64_t before = ((uint64_t)1 << at) - 1;
            word = (word & before) | ((word >> 8) & ~before);
            after = size - at / 8 - 1;
            size--;
        }
    }
    if (size == 0 || !number_digits8(word, (unsigned)size, &value)) {
        return NUMBER_ASK;
    }
    *out = (double)(int64_t)value / number_powers[after];
    return NUMBER_FOUND;
}

/* The same of 9 to 16 characters. */
static inline enum number_found
number_long(uint64_t low, uint64_t high, size_t size, double *out)
{
    uint64_t a = 0;
    uint64_t b = 0;
    unsigned __int128 all = (unsigned __int128)high << 64 | low;
    uint64_t points = number_point(low);
    size_t at = points != 0 ? (size_t)__builtin_ctzll(points) / 8 : 16;
    size_t after = 0;
    if (points == 0 && (points = number_point(high)) != 0) {
        at = 8 + (size_t)__builtin_ctzll(points) / 8;
    }
    if (at < size) {
        unsigned __int128 before = ((unsigned __int128)1 << 8 * at) - 1;
        all = (all & before) | (all >> 8 & ~before);
        after = size - at - 1;
        size--;
    }
    if (size > 15 || size < 9 || !number_digits8((uint64_t)all, (unsigned)size - 8, &a) ||
        !number_digits8((uint64_t)(all >> 8 * (size - 8)), 8, &b)) {
        return NUMBER_ASK;
    }
    *out = (double)(int64_t)(a * 100000000 + b) / number_powers[after];
    return NUMBER_FOUND;
}

/* Both operands of the divisions above are doubles exactly, so their one rounding is the right one.
 * NUMBER_ASK: number_real knows. */
static inline enum number_found
number_real_fast(const uint8_t *text, size_t len, size_t readable, double *out)
{
    size_t sign = len > 0 && *text == '-';
    size_t size = len - sign;
    uint64_t low = 0;
    uint64_t high = 0;
    enum number_found found = NUMBER_ASK;
    if (size - 1 < 8 && readable >= sign + 8) {
        memcpy(&low, text + sign, sizeof low);
        found = number_short(low, size, out);
    } else if (size - 1 < 16 && readable >= sign + 16) {
        memcpy(&low, text + sign, sizeof low);
        memcpy(&high, text + sign + 8, sizeof high);
        found = number_long(low, high, size, out);
    }
    *out = sign != 0 ? -*out : *out;
    return found;
}

#endif
