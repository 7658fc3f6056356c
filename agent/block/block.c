/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/block/block.h"

#include "agent/block/block_read.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/alloc.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "block_put_real and the header write machine order as little-endian");

enum {
    FIRST_BYTES = BLOCK_TARGET_BYTES + 16 * 1024, /* the row that fills a block seldom grows it */
};

static const uint8_t MAGIC[4] = {'P', 'S', 'B', 'K'};

struct block *
block_new(uint32_t ncols)
{
    struct block *block = ps_calloc(1, sizeof *block);
    if (block == NULL) {
        return NULL;
    }
    block->bytes = ps_alloc(FIRST_BYTES);
    if (block->bytes == NULL) {
        ps_free(block);
        return NULL;
    }
    block->cap = FIRST_BYTES;
    block->ncols = ncols;
    return block;
}

void
block_free(struct block *block)
{
    if (block != NULL) {
        ps_free(block->bytes);
        ps_free(block);
    }
}

void
block_clear(struct block *block, uint32_t ncols)
{
    block->len = 0;
    block->rows = 0;
    block->ncols = ncols;
}

enum ps_status
block_reserve(struct block *block, size_t extra)
{
    if (block->cap - block->len >= extra) {
        return PS_OK;
    }
    if (extra > SIZE_MAX / 2 - block->cap) {
        return PS_FULL;
    }
    size_t cap = block->cap + block->cap / 2;
    if (cap < block->len + extra) {
        cap = block->len + extra;
    }
    uint8_t *bytes = ps_realloc(block->bytes, cap);
    if (bytes == NULL) {
        return PS_FULL;
    }
    block->bytes = bytes;
    block->cap = cap;
    return PS_OK;
}

enum ps_status
block_row_begin(struct block *block, const struct row_meta *meta, struct block_row *out_row)
{
    enum ps_status status = block_reserve(block, BLOCK_META_BYTES);
    if (status != PS_OK) {
        return status;
    }
    out_row->start = block->len;
    out_row->cells = 0;
    block->len = (size_t)(block_meta_put(block->bytes + block->len, meta) - block->bytes);
    return PS_OK;
}

enum ps_status
block_put_long(struct block *block, struct block_row *row, enum cell_tag tag, const uint8_t *ptr,
               size_t len)
{
    PS_ASSERT(len <= UINT32_MAX);
    enum ps_status status = block_room(block, row, 1 + BLOCK_VARINT_BYTES + len);
    if (status != PS_OK) {
        return status;
    }
    uint8_t *at = block->bytes + block->len;
    *at++ = (uint8_t)tag;
    at = block_varint_put(at, len);
    if (len > 0) {
        memcpy(at, ptr, len);
    }
    block->len = (size_t)(at + len - block->bytes);
    return PS_OK;
}

void
block_cursor_init(struct block_cursor *cursor, const struct block *block)
{
    cursor->at = block->bytes;
    cursor->end = block->bytes + block->len;
    cursor->ncols = block->ncols;
    cursor->rows_left = block->rows;
}

enum ps_status
block_cursor_next(struct block_cursor *cursor, struct row_meta *meta, struct cell *cells,
                  bool *out_more, struct ps_error *err)
{
    if (cursor->rows_left == 0) {
        if (cursor->at != cursor->end) {
            return ps_fail_code(err, PS_BADDATA, "block_corrupt",
                                "block: %td bytes after its last row", cursor->end - cursor->at);
        }
        *out_more = false;
        return PS_OK;
    }
    bool good = block_read_meta(cursor, meta);
    for (uint32_t i = 0; good && i < cursor->ncols; i++) {
        good = block_read_cell(cursor, &cells[i]);
    }
    if (!good) {
        return ps_fail_code(err, PS_BADDATA, "block_corrupt",
                            "block: a row's encoding is broken, %u rows before the end",
                            cursor->rows_left);
    }
    cursor->rows_left--;
    *out_more = true;
    return PS_OK;
}

/* magic 4, format u32, ncols u32, rows u32, len u64, XXH3-64 of the payload u64; little-endian. */
void
block_header_write(const struct block *block, uint8_t out[BLOCK_HEADER_BYTES])
{
    uint32_t format = BLOCK_FORMAT;
    uint64_t len = block->len;
    uint64_t checksum = block_checksum(block);
    memcpy(out, MAGIC, 4);
    memcpy(out + 4, &format, 4);
    memcpy(out + 8, &block->ncols, 4);
    memcpy(out + 12, &block->rows, 4);
    memcpy(out + 16, &len, 8);
    memcpy(out + 24, &checksum, 8);
}

enum ps_status
block_header_read(const uint8_t in[BLOCK_HEADER_BYTES], size_t max_bytes, uint32_t *out_ncols,
                  uint32_t *out_rows, size_t *out_len, uint64_t *out_checksum, struct ps_error *err)
{
    uint32_t format = 0;
    uint64_t len = 0;
    if (memcmp(in, MAGIC, sizeof MAGIC) != 0) {
        return ps_fail_code(err, PS_BADDATA, "block_corrupt", "block: no block header here");
    }
    memcpy(&format, in + 4, 4);
    memcpy(&len, in + 16, 8);
    if (format != BLOCK_FORMAT) {
        return ps_fail_code(err, PS_REFUSED, "block_format",
                            "block: format %u found, %d is what this program reads", format,
                            BLOCK_FORMAT);
    }
    if (len > max_bytes) {
        return ps_fail_code(err, PS_BADDATA, "block_corrupt",
                            "block: says it has %llu bytes, at most %zu are expected",
                            (unsigned long long)len, max_bytes);
    }
    memcpy(out_ncols, in + 8, 4);
    memcpy(out_rows, in + 12, 4);
    memcpy(out_checksum, in + 24, 8);
    *out_len = (size_t)len;
    return PS_OK;
}

uint64_t
block_checksum(const struct block *block)
{
    return XXH3_64bits(block->bytes, block->len);
}
