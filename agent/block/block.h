/* SPDX-License-Identifier: Apache-2.0 */
/* agent/block/block.h: decoded rows in memory, in the one encoding that disk and wire use too.
 * In: typed cells, row by row, in record order.  Out: the same rows, read through a cursor.
 * Invariant: bytes[0..len) is a whole number of rows; every row has exactly ncols cells; the
 *            encoding depends only on the rows, so equal rows give equal bytes and checksums.
 * Threads: one owner at a time; a finished block may be read by any one thread.
 *
 * Encoding (format version BLOCK_FORMAT): a row is
 *     varint range_index, varint record_offset (absolute, unwrapped bytes), varint record_length,
 *     varint line (0 = unknown), then ncols cells;
 * a cell is one tag byte and its payload:
 *     CELL_NULL -            CELL_INT  zigzag varint
 *     CELL_REAL 8 bytes LE   CELL_TEXT varint length, bytes (valid UTF-8)   CELL_BLOB the same
 *     tags >= CELL_SHORT_TEXT: text of (tag - CELL_SHORT_TEXT) bytes, no length. */
#ifndef AGENT_BLOCK_BLOCK_H
#define AGENT_BLOCK_BLOCK_H

#include "common/assert.h"
#include "common/error.h"
#include "common/span.h"

#ifdef __BMI2__
#include <immintrin.h>
#endif

enum { BLOCK_FORMAT = 1, BLOCK_TARGET_BYTES = 256 * 1024 };

enum cell_tag {
    CELL_NULL = 0,
    CELL_INT = 1,
    CELL_REAL = 2,
    CELL_TEXT = 3,
    CELL_BLOB = 4,
    CELL_SHORT_TEXT = 64, /* 64..255: text of 0..191 bytes */
};

/* A cell as the cursor shows it; ptr is borrowed from the block. tag is never CELL_SHORT_TEXT. */
struct cell {
    enum cell_tag tag;
    uint32_t len;
    union {
        int64_t integer;
        double real;
        const uint8_t *ptr;
    };
};

struct row_meta {
    uint32_t range_index; /* into the batch's ranges */
    uint64_t offset;      /* where the record begins, unwrapped bytes */
    uint64_t length;      /* of the record, its line end included */
    uint64_t line;        /* 1-based; 0 = unknown */
};

struct block {
    uint8_t *bytes;
    size_t len;
    size_t cap;
    uint32_t ncols;
    uint32_t rows;
};

/* Room for about BLOCK_TARGET_BYTES; NULL when memory is refused. */
struct block *block_new(uint32_t ncols);
void block_free(struct block *block); /* NULL is fine */
void block_clear(struct block *block, uint32_t ncols);
static inline bool
block_is_full(const struct block *block)
{
    return block->len >= BLOCK_TARGET_BYTES;
}

/* ---- writing: begin, exactly ncols puts, end; or abandon, which takes the whole row back.
 * Each put reserves its own room; PS_FULL when memory is refused (then abandon the row). */
struct block_row {
    size_t start; /* where the row begins, for abandon */
    uint32_t cells;
};
PS_MUSTCHECK enum ps_status block_row_begin(struct block *block, const struct row_meta *meta,
                                            struct block_row *out_row);

/* Room for at least extra more bytes; for the puts below. */
PS_MUSTCHECK enum ps_status block_reserve(struct block *block, size_t extra);

enum { BLOCK_VARINT_BYTES = 10, BLOCK_SHORT_TEXT_MAX = 255 - CELL_SHORT_TEXT };

/* Writes value in 1 to 10 bytes of 7 bits each, low ones first; returns the byte after them. At
 * least BLOCK_VARINT_BYTES must be there: up to 8 bytes are written at once, without a branch that
 * a mix of lengths would mispredict. */
static inline uint8_t *
block_varint_put(uint8_t *at, uint64_t value)
{
    if (__builtin_expect(value >> 56 != 0, 0)) {
        while (value >= 0x80) {
            *at++ = (uint8_t)(value | 0x80);
            value >>= 7;
        }
        *at++ = (uint8_t)value;
        return at;
    }
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    unsigned bytes = (bits * 9 + 64) / 64; /* ceil(bits / 7) for 1 to 56 */
#ifdef __BMI2__
    uint64_t word = _pdep_u64(value, 0x7F7F7F7F7F7F7F7Fu);
    word |= _bzhi_u64(0x8080808080808080u, 8 * (bytes - 1));
#else
    uint64_t word = (value & 0x00FFFFFFF0000000u) << 4 | (value & 0x000000000FFFFFFFu);
    word = (word & 0x0FFFC0000FFFC000u) << 2 | (word & 0x00003FFF00003FFFu);
    word = (word & 0x3F803F803F803F80u) << 1 | (word & 0x007F007F007F007Fu);
    word |= 0x8080808080808080u & (((uint64_t)1 << (8 * (bytes - 1))) - 1);
#endif
    memcpy(at, &word, sizeof word); /* little-endian machines only: see block.c */
    return at + bytes;
}

/* One test for every put: a cell's fixed part fits, and the row still wants cells. */
PS_MUSTCHECK static inline enum ps_status
block_room(struct block *block, struct block_row *row, size_t bytes)
{
    PS_ASSERT(row->cells < block->ncols);
    row->cells++;
    return __builtin_expect(block->cap - block->len >= bytes, 1) ? PS_OK
                                                                 : block_reserve(block, bytes);
}

PS_MUSTCHECK static inline enum ps_status
block_put_null(struct block *block, struct block_row *row)
{
    enum ps_status status = block_room(block, row, 1);
    if (status == PS_OK) {
        block->bytes[block->len++] = CELL_NULL;
    }
    return status;
}

PS_MUSTCHECK static inline enum ps_status
block_put_int(struct block *block, struct block_row *row, int64_t value)
{
    enum ps_status status = block_room(block, row, 1 + BLOCK_VARINT_BYTES);
    if (status == PS_OK) {
        uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
        uint8_t *at = block->bytes + block->len;
        *at++ = CELL_INT;
        block->len = (size_t)(block_varint_put(at, zigzag) - block->bytes);
    }
    return status;
}

PS_MUSTCHECK static inline enum ps_status
block_put_real(struct block *block, struct block_row *row, double value)
{
    enum ps_status status = block_room(block, row, 1 + sizeof value);
    if (status == PS_OK) {
        uint8_t *at = block->bytes + block->len;
        *at = CELL_REAL;
        memcpy(at + 1, &value, sizeof value); /* little-endian machines only: see block.c */
        block->len += 1 + sizeof value;
    }
    return status;
}

/* Texts longer than BLOCK_SHORT_TEXT_MAX, and blobs. */
PS_MUSTCHECK enum ps_status block_put_long(struct block *block, struct block_row *row,
                                           enum cell_tag tag, const uint8_t *ptr, size_t len);

PS_MUSTCHECK static inline enum ps_status
block_put_text(struct block *block, struct block_row *row, const uint8_t *ptr, size_t len)
{
    if (__builtin_expect(len > BLOCK_SHORT_TEXT_MAX, 0)) {
        return block_put_long(block, row, CELL_TEXT, ptr, len);
    }
    enum ps_status status = block_room(block, row, 1 + BLOCK_SHORT_TEXT_MAX);
    if (status == PS_OK) {
        uint8_t *at = block->bytes + block->len;
        *at = (uint8_t)(CELL_SHORT_TEXT + len);
        if (len > 0) {
            memcpy(at + 1, ptr, len);
        }
        block->len += 1 + len;
    }
    return status;
}

PS_MUSTCHECK static inline enum ps_status
block_put_blob(struct block *block, struct block_row *row, const uint8_t *ptr, size_t len)
{
    return block_put_long(block, row, CELL_BLOB, ptr, len);
}

/* The row had exactly ncols puts (asserted). */
static inline void
block_row_end(struct block *block, struct block_row *row)
{
    PS_ASSERT(row->cells == block->ncols);
    block->rows++;
}

static inline void
block_row_abandon(struct block *block, struct block_row *row)
{
    block->len = row->start;
}

/* ---- writing, the hot way: one reservation a row, then cells through a local pointer. open
 * returns where the first cell goes, NULL when memory is refused; most_bytes bounds all cells
 * together, BLOCK_CELL_BYTES for each and its text. close makes the row part of the block; without
 * it the row was never there. */
enum { BLOCK_CELL_BYTES = 1 + BLOCK_VARINT_BYTES, BLOCK_SLACK_BYTES = 64 };
enum { BLOCK_META_BYTES = 4 * BLOCK_VARINT_BYTES };

static inline uint8_t *
block_meta_put(uint8_t *at, const struct row_meta *meta)
{
    if (__builtin_expect(meta->range_index < 0x80, 1)) {
        *at++ = (uint8_t)meta->range_index;
    } else {
        at = block_varint_put(at, meta->range_index);
    }
    at = block_varint_put(at, meta->offset);
    at = block_varint_put(at, meta->length);
    return block_varint_put(at, meta->line);
}

static inline uint8_t *
block_row_open(struct block *block, const struct row_meta *meta, size_t most_bytes)
{
    size_t most = BLOCK_META_BYTES + most_bytes + BLOCK_SLACK_BYTES;
    if (__builtin_expect(block->cap - block->len < most, 0) &&
        block_reserve(block, most) != PS_OK) {
        return NULL;
    }
    return block_meta_put(block->bytes + block->len, meta);
}

static inline void
block_row_close(struct block *block, const uint8_t *end)
{
    block->len = (size_t)(end - block->bytes);
    block->rows++;
}

static inline uint8_t *
block_cell_null(uint8_t *at)
{
    *at = CELL_NULL;
    return at + 1;
}

static inline uint8_t *
block_cell_int(uint8_t *at, int64_t value)
{
    *at = CELL_INT;
    return block_varint_put(at + 1, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

static inline uint8_t *
block_cell_real(uint8_t *at, double value)
{
    *at = CELL_REAL;
    memcpy(at + 1, &value, sizeof value);
    return at + 1 + sizeof value;
}

/* readable: bytes that may be read from ptr on, at least len; short texts are then copied without a
 * call, up to BLOCK_SLACK_BYTES too much. */
static inline uint8_t *
block_cell_text(uint8_t *at, const uint8_t *ptr, size_t len, size_t readable)
{
    if (__builtin_expect(len > BLOCK_SHORT_TEXT_MAX, 0)) {
        *at++ = CELL_TEXT;
        at = block_varint_put(at, len);
    } else {
        *at++ = (uint8_t)(CELL_SHORT_TEXT + len);
    }
    if (len <= 32 && readable >= 32) {
        memcpy(at, ptr, 32);
    } else if (len <= 64 && readable >= 64) {
        memcpy(at, ptr, 64);
    } else if (len > 0) {
        memcpy(at, ptr, len);
    }
    return at + len;
}

/* ---- reading. Every length is checked: a corrupt block gives PS_BADDATA, never a wild read. */
struct block_cursor {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t ncols;
    uint32_t rows_left;
};
void block_cursor_init(struct block_cursor *cursor, const struct block *block);
/* PS_OK with *out_more false at the end. cells has room for ncols. */
PS_MUSTCHECK enum ps_status block_cursor_next(struct block_cursor *cursor, struct row_meta *meta,
                                              struct cell *cells, bool *out_more,
                                              struct ps_error *err);

/* ---- disk and wire form: header (magic, format, ncols, rows, len, XXH3-64) then the bytes. */
enum { BLOCK_HEADER_BYTES = 32 };
void block_header_write(const struct block *block, uint8_t out[BLOCK_HEADER_BYTES]);
/* Checks magic, format and bounds (max_bytes) and says how many payload bytes follow. */
PS_MUSTCHECK enum ps_status block_header_read(const uint8_t in[BLOCK_HEADER_BYTES],
                                              size_t max_bytes, uint32_t *out_ncols,
                                              uint32_t *out_rows, size_t *out_len,
                                              uint64_t *out_checksum, struct ps_error *err);
uint64_t block_checksum(const struct block *block);

#endif
