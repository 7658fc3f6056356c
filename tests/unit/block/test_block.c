/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "agent/block/block.h"
#include "common/alloc.h"

static void
row_put(struct block *block, uint64_t n, const uint8_t *text, size_t len)
{
    struct block_row row;
    struct row_meta meta = {
        .range_index = (uint32_t)n, .offset = n << 30, .length = len, .line = n};
    cr_assert_eq(block_row_begin(block, &meta, &row), PS_OK);
    cr_assert_eq(block_put_null(block, &row), PS_OK);
    cr_assert_eq(block_put_int(block, &row, n % 2 == 0 ? (int64_t)n : -(int64_t)n), PS_OK);
    cr_assert_eq(block_put_real(block, &row, (double)n / 4), PS_OK);
    cr_assert_eq(block_put_text(block, &row, text, len), PS_OK);
    cr_assert_eq(block_put_blob(block, &row, text, len), PS_OK);
    block_row_end(block, &row);
}

Test(block, every_cell_comes_back)
{
    static const size_t lens[] = {0, 1, 63, 64, 191, 192, 255, 256, 70000};
    uint8_t *text = malloc(70000);
    memset(text, 'x', 70000);
    struct block *block = block_new(5);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        row_put(block, i, text, lens[i]);
    }
    struct block_cursor cursor;
    struct row_meta meta;
    struct cell cells[5];
    bool more = false;
    block_cursor_init(&cursor, block);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        cr_assert_eq(block_cursor_next(&cursor, &meta, cells, &more, NULL), PS_OK);
        cr_assert(more);
        cr_assert_eq(meta.range_index, i);
        cr_assert_eq(meta.offset, (uint64_t)i << 30);
        cr_assert_eq(meta.length, lens[i]);
        cr_assert_eq(meta.line, i);
        cr_assert_eq(cells[0].tag, CELL_NULL);
        cr_assert_eq(cells[1].tag, CELL_INT);
        cr_assert_eq(cells[1].integer, i % 2 == 0 ? (int64_t)i : -(int64_t)i);
        cr_assert_eq(cells[2].tag, CELL_REAL);
        cr_assert_float_eq(cells[2].real, (double)i / 4, 0);
        cr_assert_eq(cells[3].tag, CELL_TEXT);
        cr_assert_eq(cells[3].len, lens[i]);
        cr_assert_eq(cells[4].tag, CELL_BLOB);
        cr_assert_eq(cells[4].len, lens[i]);
        cr_assert(memcmp(cells[3].ptr, text, lens[i]) == 0);
        cr_assert(memcmp(cells[4].ptr, text, lens[i]) == 0);
    }
    cr_assert_eq(block_cursor_next(&cursor, &meta, cells, &more, NULL), PS_OK);
    cr_assert_not(more);
    block_free(block);
    free(text);
}

Test(block, ends_of_the_integers)
{
    static const int64_t values[] = {0,         1,         -1,          63,        64,
                                     -64,       -65,       INT32_MAX,   INT32_MIN, INT64_MAX,
                                     INT64_MIN, 1LL << 62, -(1LL << 62)};
    struct block *block = block_new(1);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct block_row row;
        cr_assert_eq(block_row_begin(block, &(struct row_meta){.offset = UINT64_MAX}, &row), PS_OK);
        cr_assert_eq(block_put_int(block, &row, values[i]), PS_OK);
        block_row_end(block, &row);
    }
    struct block_cursor cursor;
    block_cursor_init(&cursor, block);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct row_meta meta;
        struct cell cell;
        bool more = false;
        cr_assert_eq(block_cursor_next(&cursor, &meta, &cell, &more, NULL), PS_OK);
        cr_assert(more);
        cr_assert_eq(meta.offset, UINT64_MAX);
        cr_assert_eq(cell.integer, values[i]);
    }
    block_free(block);
}

Test(block, abandoned_row_leaves_no_trace)
{
    struct block *a = block_new(5);
    struct block *b = block_new(5);
    row_put(a, 1, (const uint8_t *)"abc", 3);
    row_put(b, 1, (const uint8_t *)"abc", 3);
    struct block_row row;
    cr_assert_eq(block_row_begin(b, &(struct row_meta){0}, &row), PS_OK);
    cr_assert_eq(block_put_int(b, &row, 5), PS_OK);
    block_row_abandon(b, &row);
    row_put(a, 2, NULL, 0);
    row_put(b, 2, NULL, 0);
    cr_assert_eq(a->rows, b->rows);
    cr_assert_eq(a->len, b->len);
    cr_assert_eq(block_checksum(a), block_checksum(b));
    block_clear(a, 3);
    cr_assert_eq(a->len, 0);
    cr_assert_eq(a->ncols, 3);
    block_free(a);
    block_free(b);
}

Test(block, header_round_trip_and_refusals)
{
    struct block *block = block_new(5);
    row_put(block, 1, (const uint8_t *)"abc", 3);
    uint8_t header[BLOCK_HEADER_BYTES];
    block_header_write(block, header);
    uint32_t ncols = 0;
    uint32_t rows = 0;
    size_t len = 0;
    uint64_t checksum = 0;
    struct ps_error err;
    cr_assert_eq(block_header_read(header, 1 << 20, &ncols, &rows, &len, &checksum, &err), PS_OK);
    cr_assert_eq(ncols, 5);
    cr_assert_eq(rows, 1);
    cr_assert_eq(len, block->len);
    cr_assert_eq(checksum, block_checksum(block));
    cr_assert_eq(block_header_read(header, len - 1, &ncols, &rows, &len, &checksum, &err),
                 PS_BADDATA);
    header[4]++;
    cr_assert_eq(block_header_read(header, 1 << 20, &ncols, &rows, &len, &checksum, &err),
                 PS_REFUSED);
    header[0]++;
    cr_assert_eq(block_header_read(header, 1 << 20, &ncols, &rows, &len, &checksum, &err),
                 PS_BADDATA);
    block_free(block);
}

/* Any damage ends with PS_BADDATA or with other values, never outside the block (asan watches). */
Test(block, damaged_bytes_are_never_a_wild_read)
{
    struct block *block = block_new(5);
    for (uint64_t i = 0; i < 20; i++) {
        row_put(block, i, (const uint8_t *)"hello world", 11);
    }
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1664525 + 1013904223;
        size_t len = (seed >> 8) % (block->len + 1);
        uint8_t *copy = malloc(len == 0 ? 1 : len);
        memcpy(copy, block->bytes, len);
        if (len > 0) {
            seed = seed * 1664525 + 1013904223;
            copy[(seed >> 8) % len] = (uint8_t)(seed >> 24);
        }
        struct block damaged = {.bytes = copy, .len = len, .cap = len, .ncols = 5, .rows = 20};
        struct block_cursor cursor;
        block_cursor_init(&cursor, &damaged);
        bool more = true;
        while (more) {
            struct row_meta meta;
            struct cell cells[5];
            if (block_cursor_next(&cursor, &meta, cells, &more, NULL) != PS_OK) {
                break;
            }
        }
        free(copy);
    }
    block_free(block);
}

static bool
refuse_all(void *ctx, size_t bytes)
{
    (void)bytes;
    return *(bool *)ctx;
}

Test(block, refused_memory_is_full)
{
    bool refuse = true;
    ps_alloc_set_fault(refuse_all, &refuse);
    cr_assert_null(block_new(1));
    refuse = false;
    struct block *block = block_new(2);
    struct block_row row;
    refuse = true;
    cr_assert_eq(block_row_begin(block, &(struct row_meta){0}, &row), PS_OK);
    cr_assert_eq(block_put_int(block, &row, 7), PS_OK);
    size_t big = (size_t)BLOCK_TARGET_BYTES * 2;
    uint8_t *text = calloc(1, big);
    cr_assert_eq(block_put_text(block, &row, text, big), PS_FULL);
    block_row_abandon(block, &row);
    cr_assert_eq(block->len, 0);
    refuse = false;
    cr_assert_eq(block_row_begin(block, &(struct row_meta){0}, &row), PS_OK);
    cr_assert_eq(block_put_int(block, &row, 7), PS_OK);
    cr_assert_eq(block_put_text(block, &row, text, big), PS_OK);
    block_row_end(block, &row);
    cr_assert(block_is_full(block));
    ps_alloc_set_fault(NULL, NULL);
    free(text);
    block_free(block);
}

/* What stands in segments of an earlier version: these bytes never change while BLOCK_FORMAT is 1.
 */
Test(block, format_1_is_these_bytes)
{
    static const uint8_t wanted[] = {3,    0xAC,      2,  5,   0x7F, CELL_NULL, CELL_INT, 0x81,
                                     0x01, CELL_REAL, 0,  0,   0,    0,         0,        0,
                                     0xF8, 0x3F,      66, 'a', 'b',  CELL_BLOB, 1,        0xFF};
    struct block *block = block_new(5);
    struct block_row row;
    const struct row_meta meta = {.range_index = 3, .offset = 300, .length = 5, .line = 127};
    cr_assert_eq(block_row_begin(block, &meta, &row), PS_OK);
    cr_assert_eq(block_put_null(block, &row), PS_OK);
    cr_assert_eq(block_put_int(block, &row, -65), PS_OK);
    cr_assert_eq(block_put_real(block, &row, 1.5), PS_OK);
    cr_assert_eq(block_put_text(block, &row, (const uint8_t *)"ab", 2), PS_OK);
    cr_assert_eq(block_put_blob(block, &row, (const uint8_t *)"\xFF", 1), PS_OK);
    block_row_end(block, &row);
    cr_assert_eq(block->len, sizeof wanted);
    cr_assert(memcmp(block->bytes, wanted, sizeof wanted) == 0);
    block_clear(block, 4);
    uint8_t *at = block_row_open(block, &meta, 100);
    at = block_cell_null(at);
    at = block_cell_int(at, -65);
    at = block_cell_real(at, 1.5);
    at = block_cell_text(at, (const uint8_t *)"ab", 2, 2);
    block_row_close(block, at);
    cr_assert_eq(block->len, sizeof wanted - 3);
    cr_assert(memcmp(block->bytes, wanted, sizeof wanted - 3) == 0);
    block_free(block);
}
