/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/json_plain.h: how far a string goes without anything that needs a look. The hottest
 * loop of JSON, in forms for AVX2 and for any machine; both give the same answer. Inline, so that
 * each file that is compiled for its own machine has its own. */
#ifndef AGENT_DECODE_JSON_PLAIN_H
#define AGENT_DECODE_JSON_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

/* The first byte at or after p that is a quote, a backslash, a control character or, unless wide,
 * not ASCII; end when there is none. Bytes before limit may be read. */
static inline const uint8_t *
json_plain_end(const uint8_t *p, const uint8_t *end, const uint8_t *limit, bool wide)
{
#ifdef __AVX2__
    while (limit - p >= 32 && p < end) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
        __m256i slash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
        /* Signed: bytes from 0x80 on are below the controls. */
        __m256i low = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
        if (wide) {
            low = _mm256_andnot_si256(bytes, low); /* not those: their own top bit says so */
        }
        __m256i hits = _mm256_or_si256(_mm256_or_si256(quote, slash), low);
        uint32_t mask = (uint32_t)_mm256_movemask_epi8(hits);
        if (mask != 0) {
            p += _tzcnt_u32(mask);
            return p < end ? p : end;
        }
        p += 32;
    }
#else
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t tops = 0x8080808080808080u;
    while (limit - p >= 8 && p < end) {
        uint64_t word = 0;
        memcpy(&word, p, sizeof word);
        uint64_t quote = word ^ ones * '"';
        uint64_t slash = word ^ ones * '\\';
        /* Each gives the lowest such byte exactly, and perhaps some above it. */
        uint64_t hits = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
                        ((word - ones * 0x20) & ~word) | (wide ? 0 : word);
        hits &= tops;
        if (hits != 0) {
            p += (unsigned)__builtin_ctzll(hits) / 8;
            return p < end ? p : end;
        }
        p += 8;
    }
#endif
    while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' && (wide || *p < 0x80)) {
        p++;
    }
    return p < end ? p : end;
}

#endif
