/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/fuzz_cell.h: any cell out of a fuzzer's bytes. */
#ifndef TESTS_SUPPORT_FUZZ_CELL_H
#define TESTS_SUPPORT_FUZZ_CELL_H

#include "agent/block/block.h"

/* kind: text, integer, real, or a blob (NULL where it is empty). */
static inline struct cell
fuzz_cell(uint8_t kind, const uint8_t *value, size_t len)
{
    struct cell cell = {.tag = CELL_TEXT, .len = (uint32_t)len, .ptr = value};
    uint64_t bits = 0;
    memcpy(&bits, value, len < sizeof bits ? len : sizeof bits);
    if (kind % 4 == 1) {
        cell = (struct cell){.tag = CELL_INT, .integer = (int64_t)bits};
    } else if (kind % 4 == 2) {
        cell = (struct cell){.tag = CELL_REAL};
        memcpy(&cell.real, &bits, sizeof bits);
    } else if (kind % 4 == 3) {
        cell.tag = len == 0 ? CELL_NULL : CELL_BLOB;
    }
    return cell;
}

#endif
