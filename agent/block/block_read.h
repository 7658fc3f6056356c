/* SPDX-License-Identifier: Apache-2.0 */
/* agent/block/block_read.h: a row of a block cell by cell, for loops in which each instruction
 * counts; all others use block_cursor_next. Inline, so that a cell need not go through memory. Use:
 * while rows_left: block_read_meta, exactly ncols times block_read_cell, rows_left--. Invariant:
 * false means a corrupt block; never a read beyond it. */
#ifndef AGENT_BLOCK_BLOCK_READ_H
#define AGENT_BLOCK_BLOCK_READ_H

#include <endian.h>

#include "agent/block/block.h"

static inline bool
block_read_varint(struct block_cursor *cursor, uint64_t *out)
{
    const uint8_t *p = cursor->at;
    const uint8_t *end = cursor->end;
    if (p < end && *p < 0x80) {
        *out = *p;
        cursor->at = p + 1;
        return true;
    }
    if (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        word = le64toh(word);
        uint64_t stops = ~word & UINT64_C(0x8080808080808080);
        if (stops != 0) {
            /* Eight groups of seven bits become four of 14, two of 28, one of 56. */
            word &= stops ^ (stops - 1);
            word &= UINT64_C(0x7f7f7f7f7f7f7f7f);
            word =
                (word & UINT64_C(0x007f007f007f007f)) | (word & UINT64_C(0x7f007f007f007f00)) >> 1;
            word =
                (word & UINT64_C(0x00003fff00003fff)) | (word & UINT64_C(0x3fff00003fff0000)) >> 2;
            *out = (word & UINT64_C(0x0fffffff)) | (word & UINT64_C(0x0fffffff00000000)) >> 4;
            cursor->at = p + (unsigned)__builtin_ctzll(stops) / 8 + 1;
            return true;
        }
    }
    uint64_t value = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) {
            return false; /* more than 64 bits */
        }
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = value;
            cursor->at = p;
            return true;
        }
    }
    return false;
}

static inline bool
block_read_bytes(struct block_cursor *cursor, uint64_t len, struct cell *cell)
{
    if (len > (uint64_t)(cursor->end - cursor->at) || len > UINT32_MAX) {
        return false;
    }
    cell->len = (uint32_t)len;
    cell->ptr = cursor->at;
    cursor->at += len;
    return true;
}

static inline bool
block_read_cell(struct block_cursor *cursor, struct cell *cell)
{
    if (cursor->at >= cursor->end) {
        return false;
    }
    uint8_t tag = *cursor->at++;
    if (tag >= CELL_SHORT_TEXT) {
        cell->tag = CELL_TEXT;
        return block_read_bytes(cursor, tag - CELL_SHORT_TEXT, cell);
    }
    uint64_t value = 0;
    cell->tag = (enum cell_tag)tag;
    cell->len = 0;
    if (tag == CELL_NULL) {
        return true;
    }
    if (tag == CELL_REAL) {
        if (cursor->end - cursor->at < (ptrdiff_t)sizeof cell->real) {
            return false;
        }
        memcpy(&cell->real, cursor->at, sizeof cell->real);
        cursor->at += sizeof cell->real;
        return true;
    }
    if (tag > CELL_BLOB || !block_read_varint(cursor, &value)) {
        return false;
    }
    if (tag == CELL_INT) {
        cell->integer = (int64_t)((value >> 1) ^ (~(value & 1) + 1));
        return true;
    }
    return block_read_bytes(cursor, value, cell);
}

static inline bool
block_read_meta(struct block_cursor *cursor, struct row_meta *meta)
{
    uint64_t range_index = 0;
    bool good = block_read_varint(cursor, &range_index) && range_index <= UINT32_MAX &&
                block_read_varint(cursor, &meta->offset) &&
                block_read_varint(cursor, &meta->length) && block_read_varint(cursor, &meta->line);
    meta->range_index = (uint32_t)range_index;
    return good;
}

#endif
