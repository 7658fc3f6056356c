/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/csv_index.h: where separators outside quotes stand, 64 bytes at a time.
 * In: bytes from a record boundary on, in chunks.  Out: positions of delimiters and line ends, and
 *     flags that say which rare cares the chunk needs.
 * Invariant: all kernels give the same answers. A position is right as long as every quote before
 * it opens a field, closes one or is doubled; the first quote that does not is at bad, and no
 *            position behind it is given.
 * Threads: one owner at a time. Kernels are pure.
 *
 * Method: a quote toggles inside/outside; the prefix xor of the quotes' bits is the inside mask
 * (Langdale, Lemire: "Parsing Gigabytes of JSON per Second", 2019, §3.1.1; a carry-less multiply).
 */
#ifndef AGENT_DECODE_CSV_INDEX_H
#define AGENT_DECODE_CSV_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CSV_INDEX_CHUNK = 8192,
    CSV_INDEX_SPARE = 64, /* positions that a kernel may write beyond the last one */
};

enum csv_index_flag {
    CSV_SEEN_RARE = 1,    /* a byte >= 0x80 or a NUL */
    CSV_SEEN_LINE = 2,    /* a line end inside quotes */
    CSV_SEEN_DOUBLED = 4, /* a quote right behind a quote */
    CSV_SEEN_BAD = 8,     /* stopped at a quote inside an unquoted field */
};

struct csv_index {
    uint8_t delimiter;
    uint8_t line; /* last byte of a line end */
    uint8_t quote;
    bool quotes; /* false: the quote byte is data */

    uint64_t inside;                          /* all ones while the next byte is inside quotes */
    uint64_t before;                          /* 1 while the last byte was a separator or a quote */
    uint32_t flags;                           /* of this chunk */
    uint64_t rare[CSV_INDEX_CHUNK / 64 / 64]; /* bit n: the 64 bytes n of the chunk have one */
    uint32_t count;
    uint32_t at[CSV_INDEX_CHUNK + CSV_INDEX_SPARE]; /* base + position in the chunk, rising */
};

/* Whether bytes [begin, end) of the chunk share 64 bytes with a rare one. */
bool csv_index_rare(const struct csv_index *index, size_t begin, size_t end);

/* Begins at a record boundary. */
static inline void
csv_index_reset(struct csv_index *index)
{
    index->inside = 0;
    index->before = 1;
}

/* Indexes len <= CSV_INDEX_CHUNK bytes; a multiple of 64 unless they are the last ones. */
typedef void (*csv_index_fn)(struct csv_index *index, const uint8_t *bytes, size_t len,
                             uint32_t base);

void csv_index_scalar(struct csv_index *index, const uint8_t *bytes, size_t len, uint32_t base);
/* The fastest that this machine has; csv_index_scalar when PENSTOCK_SCALAR is to be tested. */
csv_index_fn csv_index_best(void);
/* NULL where the machine has no AVX2 and PCLMULQDQ. */
csv_index_fn csv_index_avx2(void);

/* Index of the first byte that is NUL or begins no valid UTF-8 sequence (Unicode 15, table 3-7);
 * len when there is none. */
size_t csv_text_check(const uint8_t *bytes, size_t len);

#endif
