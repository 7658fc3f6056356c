/* SPDX-License-Identifier: Apache-2.0 */
/* agent/transform/transform_impl.h: the inside of a transform, shared by its files and its tests
 * only. transform.c: life, maps, and every cell that is not plain.  transform_hot.h: the loop over
 * a row's cells, compiled for any machine (transform_any.c) and for x86-64-v3 (transform_v3.c). */
#ifndef AGENT_TRANSFORM_TRANSFORM_IMPL_H
#define AGENT_TRANSFORM_TRANSFORM_IMPL_H

#include "agent/transform/transform.h"

enum { TRANSFORM_REASON_BYTES = 320 };

/* What one column takes its cell from, decided once an object. */
enum source {
    FROM_TEXT,
    FROM_INT,
    FROM_REAL,
    FROM_CONSTANT,
    FROM_OBJECT,
    FROM_OFFSET,
    FROM_LINE,
    FROM_BATCH,
};

struct step {
    enum source source;
    uint32_t field; /* FROM_TEXT, FROM_INT, FROM_REAL */
    enum column_mismatch on_mismatch;
    struct cell constant; /* FROM_CONSTANT; a text belongs to the column */
    bool fallback;        /* constant stands for a FIELD_MISSING too */
};

/* Appends the record as one row. PS_BADDATA: it is a reject; PS_FULL: memory is refused. */
typedef enum ps_status (*transform_row_fn)(struct transform *transform, const struct record *record,
                                           const struct row_meta *meta, struct block *block,
                                           struct transform_reject *out_reject);

struct transform {
    transform_row_fn row;
    const struct spec_column *columns;
    uint32_t count;
    struct step *steps;
    struct ps_span *nulls; /* borrowed from the spec */
    size_t null_count;
    uint64_t null_lens; /* bit n: a null text of n bytes (63: or more) */
    bool null_long;     /* one that is not empty */
    bool decimal_comma;
    bool plain; /* none of the two: only an empty field can be NULL */
    struct ps_buf object;
    struct ps_buf batch;
    size_t fixed_bytes;   /* bounds a row's cells but the texts of its fields */
    size_t field_columns; /* columns that take one and the same field, at most */
    char reason[TRANSFORM_REASON_BYTES];
};

/* Any cell, hot or not: lineage, NULLs, numbers of odd forms, what does not fit. The byte after it;
 * NULL: the record is a reject. */
uint8_t *transform_cell(struct transform *transform, uint32_t i, const struct record *record,
                        uint8_t *at, struct transform_reject *out_reject);

enum ps_status transform_any(struct transform *transform, const struct record *record,
                             const struct row_meta *meta, struct block *block,
                             struct transform_reject *out_reject);
/* Only where transform_v3_runs(). */
enum ps_status transform_v3(struct transform *transform, const struct record *record,
                            const struct row_meta *meta, struct block *block,
                            struct transform_reject *out_reject);
bool transform_v3_runs(void);

#endif
