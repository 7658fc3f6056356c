/* SPDX-License-Identifier: Apache-2.0 */
/* agent/transform/transform.h: from an object's fields to the table's typed cells.
 * In: a record of the decoder.  Out: one row in a block, or the reason why not.
 * Invariant: a row is whole in the block or not there at all; a value is never changed silently:
 *            what does not fit its column's type is a reject, or what on_mismatch says.
 * Threads: one owner at a time. */
#ifndef AGENT_TRANSFORM_TRANSFORM_H
#define AGENT_TRANSFORM_TRANSFORM_H

#include "agent/block/block.h"
#include "agent/decode/decode.h"
#include "spec/spec.h"

struct transform;

/* columns: the frozen ones of the spec revision; borrowed until free. batch_text is what "$batch"
 * columns hold. */
PS_MUSTCHECK enum ps_status transform_new(const struct spec *spec,
                                          const struct spec_column *columns, size_t count,
                                          struct transform **out, struct ps_error *err);
/* Starts an object: its name for "$object", and its field names, from which the map is made.
 * A column whose source field is missing takes its default (NULL when that is one of
 * format.null), else the object fails:
 * PS_BADDATA, code "missing_column". */
PS_MUSTCHECK enum ps_status transform_object(struct transform *transform, struct ps_span object,
                                             const char *batch_text, const struct ps_span *names,
                                             uint32_t count, struct ps_error *err);
/* Appends one row. PS_OK with *out_reject filled (column, code, reason; the texts live until the
 * next call) when the record does not fit: the block is unchanged then. */
struct transform_reject {
    const char *column;
    const char *code;
    const char *reason;
};
PS_MUSTCHECK enum ps_status transform_row(struct transform *transform, const struct record *record,
                                          uint32_t range_index, struct block *block,
                                          bool *out_rejected, struct transform_reject *out_reject,
                                          struct ps_error *err);
void transform_free(struct transform *transform);

#endif
