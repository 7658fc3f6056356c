/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/csv_index.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_AVX2_KERNEL 1
#endif

enum { STEP = 64 };

/* What one step of 64 bytes shows; bit i is byte i. */
struct masks {
    uint64_t quote;
    uint64_t separator; /* delimiters and line ends */
    uint64_t line;
    uint64_t rare;
};

/* Turns masks into the separators outside quotes; prefix is the prefix xor of masks->quote, step
 * the number of the 64 bytes in the chunk. */
static inline __attribute__((always_inline)) uint64_t
outside(struct csv_index *index, const struct masks *masks, uint64_t prefix, size_t step)
{
    uint64_t inside = prefix ^ index->inside;
    uint64_t found = masks->separator & ~inside;
    uint64_t marks = masks->separator | masks->quote;
    if (masks->quote != 0) {
        uint64_t opens = masks->quote & inside;
        uint64_t bad = opens & ~(marks << 1 | index->before);
        if ((masks->quote & (masks->quote << 1 | index->before)) != 0) {
            index->flags |= CSV_SEEN_DOUBLED; /* at times for a mere `,"`: costs a search only */
        }
        if (bad != 0) {
            index->flags |= CSV_SEEN_BAD;
            found &= (bad & (~bad + 1)) - 1;
        }
    }
    index->flags |= (masks->line & inside) != 0 ? CSV_SEEN_LINE : 0;
    if (masks->rare != 0) {
        index->flags |= CSV_SEEN_RARE;
        index->rare[step / 64] |= (uint64_t)1 << (step % 64);
    }
    index->inside = (uint64_t)((int64_t)inside >> 63);
    index->before = marks >> 63;
    return found;
}

bool
csv_index_rare(const struct csv_index *index, size_t begin, size_t end)
{
    for (size_t step = begin / STEP; step * STEP < end; step++) {
        if ((index->rare[step / 64] >> (step % 64) & 1) != 0) {
            return true;
        }
    }
    return false;
}

/* 0x80 in each byte of x that is zero, exactly. */
static inline uint64_t
zero_bytes(uint64_t x)
{
    const uint64_t low = 0x7F7F7F7F7F7F7F7Fu;
    return ~(((x & low) + low) | x | low);
}

/* The eight 0x80 bits as eight low bits. */
static inline uint64_t
gather(uint64_t tops)
{
    return ((tops >> 7) * 0x0102040810204080u) >> 56;
}

static uint64_t
prefix_xor(uint64_t x)
{
    for (unsigned shift = 1; shift < 64; shift <<= 1) {
        x ^= x << shift;
    }
    return x;
}

static void
masks_scalar(const struct csv_index *index, const uint8_t *bytes, struct masks *out)
{
    const uint64_t ones = 0x0101010101010101u;
    *out = (struct masks){0};
    for (unsigned i = 0; i < STEP; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        uint64_t line = gather(zero_bytes(word ^ ones * index->line));
        uint64_t delimiter = gather(zero_bytes(word ^ ones * index->delimiter));
        uint64_t quote = gather(zero_bytes(word ^ ones * index->quote));
        uint64_t rare = gather(zero_bytes(word) | (word & ones << 7));
        out->line |= line << i;
        out->separator |= (line | delimiter) << i;
        out->quote |= quote << i;
        out->rare |= rare << i;
    }
    out->quote &= index->quotes ? UINT64_MAX : 0;
}

void
csv_index_scalar(struct csv_index *index, const uint8_t *bytes, size_t len, uint32_t base)
{
    uint8_t last[STEP];
    index->flags = 0;
    memset(index->rare, 0, sizeof index->rare);
    index->count = 0;
    for (size_t i = 0; i < len && (index->flags & CSV_SEEN_BAD) == 0; i += STEP) {
        const uint8_t *step = bytes + i;
        uint64_t keep = UINT64_MAX;
        if (len - i < STEP) {
            memset(last, 1, sizeof last);
            memcpy(last, step, len - i);
            keep = ((uint64_t)1 << (len - i)) - 1;
            step = last;
        }
        struct masks masks;
        masks_scalar(index, step, &masks);
        masks.quote &= keep;
        masks.separator &= keep;
        masks.line &= keep;
        uint64_t found = outside(index, &masks, prefix_xor(masks.quote), i / STEP);
        while (found != 0) {
            index->at[index->count++] = base + (uint32_t)i + (uint32_t)__builtin_ctzll(found);
            found &= found - 1;
        }
    }
}

#ifdef HAVE_AVX2_KERNEL
#define AVX2 __attribute__((target("avx2,pclmul,bmi,bmi2,popcnt,lzcnt")))

AVX2 static inline uint64_t
equal_mask(__m256i low, __m256i high, __m256i wanted)
{
    uint32_t a = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted));
    uint32_t b = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted));
    return a | (uint64_t)b << 32;
}

AVX2 static inline void
masks_avx2(const struct csv_index *index, const uint8_t *bytes, struct masks *out)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)bytes);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 32));
    __m256i zero = _mm256_setzero_si256();
    out->line = equal_mask(low, high, _mm256_set1_epi8((char)index->line));
    out->separator = out->line | equal_mask(low, high, _mm256_set1_epi8((char)index->delimiter));
    out->quote = equal_mask(low, high, _mm256_set1_epi8((char)index->quote));
    /* Signed: NUL and bytes >= 0x80 are those that are not greater than zero. */
    uint32_t a = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(low, zero));
    uint32_t b = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(high, zero));
    out->rare = ~(a | (uint64_t)b << 32);
}

AVX2 static void
kernel_avx2(struct csv_index *index, const uint8_t *bytes, size_t len, uint32_t base)
{
    uint8_t last[STEP];
    const uint64_t quotes = index->quotes ? UINT64_MAX : 0;
    uint32_t *at = index->at;
    index->flags = 0;
    memset(index->rare, 0, sizeof index->rare);
    for (size_t i = 0; i < len && (index->flags & CSV_SEEN_BAD) == 0; i += STEP) {
        const uint8_t *step = bytes + i;
        uint64_t keep = UINT64_MAX;
        if (len - i < STEP) {
            memset(last, 1, sizeof last);
            memcpy(last, step, len - i);
            keep = ((uint64_t)1 << (len - i)) - 1;
            step = last;
        }
        struct masks masks;
        masks_avx2(index, step, &masks);
        masks.quote &= keep & quotes;
        masks.separator &= keep;
        masks.line &= keep;
        uint64_t prefix = 0;
        if (masks.quote != 0) {
            __m128i bits = _mm_set_epi64x(0, (long long)masks.quote);
            prefix = (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(bits, _mm_set1_epi8(-1), 0));
        }
        uint64_t found = outside(index, &masks, prefix, i / STEP);
        uint32_t *next = at + __builtin_popcountll(found);
        uint32_t here = base + (uint32_t)i;
        do {
            for (unsigned k = 0; k < 12; k++) { /* some of them in vain: no branch to mispredict */
                at[k] = here + (uint32_t)_tzcnt_u64(found);
                found = _blsr_u64(found);
            }
            at += 12;
        } while (__builtin_expect(found != 0, 0));
        at = next;
    }
    index->count = (uint32_t)(at - index->at);
}
#endif

csv_index_fn
csv_index_avx2(void)
{
#ifdef HAVE_AVX2_KERNEL
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") &&
        __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("popcnt")) {
        return kernel_avx2;
    }
#endif
    return NULL;
}

csv_index_fn
csv_index_best(void)
{
    csv_index_fn fast = csv_index_avx2();
    return fast != NULL ? fast : csv_index_scalar;
}

/* Length of the valid sequence at p; 0 when there is none. */
static unsigned
sequence_len(const uint8_t *p, size_t left)
{
    uint8_t a = p[0];
    if (a < 0x80) {
        return a != 0;
    }
    if (a < 0xC2 || a > 0xF4) {
        return 0;
    }
    unsigned len = a < 0xE0 ? 2 : a < 0xF0 ? 3 : 4;
    if (left < len) {
        return 0;
    }
    uint8_t low = a == 0xE0 ? 0xA0 : a == 0xF0 ? 0x90 : 0x80;
    uint8_t high = a == 0xED ? 0x9F : a == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (unsigned i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

size_t
csv_text_check(const uint8_t *bytes, size_t len)
{
    size_t i = 0;
    while (i < len) {
        uint64_t word = 0x80;
        if (len - i >= sizeof word) {
            memcpy(&word, bytes + i, sizeof word);
        }
        if ((word & 0x8080808080808080u) == 0 && zero_bytes(word) == 0) {
            i += sizeof word;
            continue;
        }
        unsigned step = sequence_len(bytes + i, len - i);
        if (step == 0) {
            return i;
        }
        i += step;
    }
    return len;
}
