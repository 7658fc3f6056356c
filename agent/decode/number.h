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

#if defined(__SSE4_1__) && defined(__BMI2__)
#include <immintrin.h>
#endif

/* -?(0|[1-9][0-9]*) within int64; "-0" is refused. */
bool number_int(const uint8_t *text, size_t len, int64_t *out);
/* [+-]?(digits[.digits]|.digits)([eE][+-]?digits)?, finite, at most 1000 characters. */
bool number_real(const uint8_t *text, size_t len, double *out);
/* The same with a comma before the fraction; a point is no number then. */
bool number_real_comma(const uint8_t *text, size_t len, double *out);
/* For inference: number_real, no plus, no leading zero, at most 15 significant digits, and neither
 * overflow nor underflow: so the double prints back (%.15g) to an equal value. */
bool number_real_exact(const uint8_t *text, size_t len, bool decimal_comma);

/* ---- The hot forms: true only with the same answer; false: ask the ones above. readable: bytes
 * that may be read from text on, at least len. */

/* 10^k for k <= 22 is a double exactly. */
extern const double number_powers[23];

#if defined(__SSE4_1__) && defined(__BMI2__)

/* Bytes at 16 + n - 16 …: moves the first n of 16 bytes to the end, zeros before them. */
extern const uint8_t number_right[32];
/* Row p: all bytes but byte p; row 16: all. */
extern const uint8_t number_without[17][16];

/* The last len bytes of digits (0 to 9 each, zeros before them) as a number; false when one is no
 * digit (Mula, "SIMD-ized faster parse of unsigned integers", 2014). */
static inline bool
number_digits16(__m128i digits, uint64_t *out)
{
    const __m128i tens = _mm_set1_epi16(0x010A);
    const __m128i hundreds = _mm_set1_epi32(0x00010064);
    const __m128i myriads = _mm_set1_epi32(0x00012710);
    __m128i beyond = _mm_subs_epu8(digits, _mm_set1_epi8(9));
    if (!_mm_testz_si128(beyond, beyond)) {
        return false;
    }
    __m128i sums = _mm_madd_epi16(_mm_maddubs_epi16(digits, tens), hundreds);
    sums = _mm_madd_epi16(_mm_packus_epi32(sums, sums), myriads);
    uint64_t halves = (uint64_t)_mm_cvtsi128_si64(sums);
    *out = (halves & UINT32_MAX) * 100000000 + (halves >> 32);
    return true;
}

static inline __m128i
number_align(__m128i digits, size_t len)
{
    return _mm_shuffle_epi8(digits,
                            _mm_loadu_si128((const __m128i *)(const void *)(number_right + len)));
}

static inline bool
number_int_fast(const uint8_t *text, size_t len, size_t readable, int64_t *out)
{
    size_t sign = *text == '-';
    size_t digits = len - sign;
    uint64_t value = 0;
    if (digits - 1 >= 16 || readable < 17 || (text[sign] == '0' && len > 1)) {
        return false;
    }
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + sign));
    bytes = _mm_xor_si128(bytes, _mm_set1_epi8('0'));
    bool good = number_digits16(number_align(bytes, digits), &value);
    *out = (int64_t)((value ^ (0 - sign)) + sign);
    return good;
}

static inline bool
number_real_fast(const uint8_t *text, size_t len, size_t readable, double *out)
{
    size_t sign = *text == '-';
    size_t size = len - sign;
    uint64_t value = 0;
    if (size - 1 >= 16 || readable < 17) {
        return false;
    }
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + sign));
    __m128i points = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('.'));
    unsigned mask = _bzhi_u32((unsigned)_mm_movemask_epi8(points), (unsigned)size);
    size_t point = _tzcnt_u32(mask | 1U << 16);
    size_t after = mask != 0 ? size - point - 1 : 0;
    size -= mask != 0;
    bytes = _mm_xor_si128(bytes, _mm_set1_epi8('0'));
    bytes = _mm_shuffle_epi8(bytes,
                             _mm_loadu_si128((const __m128i *)(const void *)number_without[point]));
    if (size == 0 || !number_digits16(number_align(bytes, size), &value) ||
        value > (uint64_t)1 << 53) {
        return false;
    }
    /* Both are doubles exactly, so the one rounding is the right one. */
    double real = (double)(int64_t)value / number_powers[after];
    *out = sign != 0 ? -real : real;
    return true;
}

#else

static inline bool
number_int_fast(const uint8_t *text, size_t len, size_t readable, int64_t *out)
{
    (void)readable;
    return number_int(text, len, out);
}

/* digits.digits of at most 15 digits. */
static inline bool
number_real_fast(const uint8_t *text, size_t len, size_t readable, double *out)
{
    size_t sign = *text == '-';
    size_t after = 0;
    bool point = false;
    int64_t value = 0;
    (void)readable;
    if (len - sign - 1 >= 16) {
        return false;
    }
    for (size_t i = sign; i < len; i++) {
        unsigned digit = (unsigned)text[i] - '0';
        if (digit <= 9) {
            value = value * 10 + (int64_t)digit;
            after += point;
        } else if (text[i] == '.' && !point && len - sign > 1) {
            point = true;
        } else {
            return false;
        }
    }
    if (value > (int64_t)1 << 53) {
        return false;
    }
    double real = (double)value / number_powers[after];
    *out = sign != 0 ? -real : real;
    return true;
}

#endif

#endif
