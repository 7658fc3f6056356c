/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_redo.h: one rejected record by itself, decoded once more.
 * In: a row of the rejects table, and perhaps other bytes in its place.  Out: the record with its
 *     object's field names, at its own place (offset, length, line), or the decoder's reject.
 * Where the kept bytes are not the whole record, it is read again from its object in the version
 * that was loaded; where records do not name their fields (CSV), names and dialect come from the
 * ledger's resume token, else from the object's begin.
 * Invariant: bytes that hold more or less than one record are an error, never half taken.
 * Threads: the task thread. */
#ifndef AGENT_LEAF_LEAF_REDO_H
#define AGENT_LEAF_LEAF_REDO_H

#include "agent/leaf/leaf_work.h"

struct leaf_redo;

struct leaf_redo_env { /* borrowed */
    struct leaf_work *work;
    const struct spec *spec;
    const struct spec_column *columns;
    size_t column_count;
    const struct dest_ops *ops;
    struct dest *dest;
};

struct leaf_redo *leaf_redo_new(const struct leaf_redo_env *env);
void leaf_redo_free(struct leaf_redo *redo); /* NULL is fine */

/* True where row->raw is the record as it came, whole. */
bool leaf_redo_is_whole(const struct dest_reject_row *row);
/* The record's own bytes, read again; appended to out. The error says what to do instead. */
PS_MUSTCHECK enum ps_status leaf_redo_read(struct leaf_redo *redo,
                                           const struct dest_reject_row *row, struct ps_buf *out,
                                           struct ps_error *err);
/* Decodes bytes in place of row's record. sink->header comes first, then exactly one of record and
 * reject. */
PS_MUSTCHECK enum ps_status leaf_redo_decode(struct leaf_redo *redo,
                                             const struct dest_reject_row *row,
                                             struct ps_span bytes, const struct decode_sink *sink,
                                             struct ps_error *err);

#endif
