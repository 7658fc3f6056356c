/* SPDX-License-Identifier: Apache-2.0 */
/* agent/transform/transform_hot.h: one row's cells, the hottest loop of a load. Included by the
 * files that compile it, each for its own machine. */
#ifndef AGENT_TRANSFORM_TRANSFORM_HOT_H
#define AGENT_TRANSFORM_TRANSFORM_HOT_H

#include "agent/decode/number.h"
#include "agent/transform/transform_impl.h"

/* The plain forms of a cell; NULL: transform_cell knows. readable: bytes that may be read from ptr.
 */
static inline uint8_t *
hot_cell(enum source source, const uint8_t *ptr, size_t len, size_t readable, uint8_t *at)
{
    if (source == FROM_TEXT) {
        return block_cell_text(at, ptr, len, readable);
    }
    if (source == FROM_INT) {
        int64_t value = 0;
        return number_int_fast(ptr, len, readable, &value) ? block_cell_int(at, value) : NULL;
    }
    double value = 0;
    return number_real_fast(ptr, len, readable, &value) ? block_cell_real(at, value) : NULL;
}

static inline enum ps_status
hot_row(struct transform *transform, const struct record *record, const struct row_meta *meta,
        struct block *block, struct transform_reject *out_reject)
{
    const struct step *step = transform->steps;
    const uint32_t count = transform->count;
    const uint32_t fields = record->count;
    const size_t raw_len = record->raw.len + record->slack;
    const uint8_t *raw_end = record->raw.ptr + raw_len;
    const bool plain = transform->plain;
    /* A field's UTF-8 is at most twice its raw bytes, whatever the encoding. */
    size_t texts = transform->field_columns * 2 * record->raw.len * (1 + record->overlap);
    uint8_t *at = block_row_open(block, meta, transform->fixed_bytes + texts);
    if (at == NULL) {
        return PS_FULL;
    }
    for (uint32_t i = 0; i < count; i++, step++) {
        uint8_t *next = NULL;
        if (step->source <= FROM_REAL && step->field < fields && plain) {
            const struct field *field = &record->fields[step->field];
            /* To the window's end where the field is a slice of it. */
            size_t readable = (uintptr_t)raw_end - (uintptr_t)field->ptr;
            readable = readable <= raw_len ? readable : field->len;
            if (field->len > 0) {
                next = hot_cell(step->source, field->ptr, field->len, readable, at);
            }
        }
        if (__builtin_expect(next == NULL, 0)) {
            next = transform_cell(transform, i, record, at, out_reject);
            if (next == NULL) {
                return PS_BADDATA;
            }
        }
        at = next;
    }
    block_row_close(block, at);
    return PS_OK;
}

#endif
