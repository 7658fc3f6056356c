/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_drift.h: fields of the objects that are no column of the table
 * (columns.unknown).
 * In: the names of each object, and with `add` the values of the fields in question. Out: with
 * `ignore`, names that the coordinator has not been told by this leaf; with `add`, the columns that
 * have to be made before the batch can be loaded: then nothing of it is staged any more.
 * Threads: a job's drift belongs to the place that the job is in; what was told is under a lock. */
#ifndef AGENT_LEAF_LEAF_DRIFT_H
#define AGENT_LEAF_LEAF_DRIFT_H

#include "agent/decode/decode.h"
#include "agent/leaf/leaf_doc.h"
#include "agent/stage/stage.h"
#include "proto/frame.h"

enum leaf_unknown { LEAF_UNKNOWN_IGNORE, LEAF_UNKNOWN_REJECT, LEAF_UNKNOWN_ADD };
enum leaf_unknown leaf_drift_policy(const struct spec *spec);

struct leaf_drift;                              /* of one job; opaque */
void leaf_drift_free(struct leaf_drift *drift); /* NULL is fine */

/* One object's part in it. */
struct leaf_drift_object {
    const struct spec *spec; /* borrowed */
    enum leaf_unknown policy;
    struct ps_buf refused; /* reject: a name of the object's own that is no column; empty = none */
    struct leaf_drift_added *added; /* add: which fields */
    size_t added_count;
};
void leaf_drift_object_init(struct leaf_drift_object *object, const struct spec *spec);
void leaf_drift_object_fini(struct leaf_drift_object *object);
/* The object's names, as it is read in range `range` of the job whose drift it is. */
void leaf_drift_object_names(struct leaf_drift_object *object, const struct leaf_doc *doc,
                             struct leaf_drift **drift, size_t range, const struct ps_span *names,
                             uint32_t count);
/* A name that no column takes, where records name their own. */
void leaf_drift_object_name(struct leaf_drift_object *object, struct leaf_drift **drift,
                            size_t range, struct ps_span name);
/* `reject`: the record is one; and why: column, code and reason live as long as both. */
static inline bool
leaf_drift_object_refuses(const struct leaf_drift_object *object, const struct record *record)
{
    return object->policy == LEAF_UNKNOWN_REJECT &&
           (record->unknown.ptr != NULL || object->refused.len > 0);
}
void leaf_drift_object_say(const struct leaf_drift_object *object, const struct record *record,
                           struct stage_reject *out);
/* `add`, once the job has a drift: the batch will not be loaded as it is, only types are looked
 * for.
 */
void leaf_drift_object_look(const struct leaf_drift_object *object, struct leaf_drift *drift,
                            const struct record *record);

/* `add`: something is to become a column. PS_REFUSED, code "unknown_columns", naming them. */
PS_MUSTCHECK enum ps_status leaf_drift_stop(const struct leaf_drift *drift, struct ps_error *err);
#define LEAF_UNKNOWN_COLUMNS "unknown_columns"
/* All of them, for LeafFailed; freed by the caller with ps_free, texts are the drift's. */
size_t leaf_drift_columns(const struct leaf_drift *drift, Penstock__Column **out_items,
                          Penstock__Column ***out_pointers);
/* `ignore`: all names of range `range`, and one of them again for another life of the batch. The
 * array is the caller's, the bytes are the drift's. */
size_t leaf_drift_names(const struct leaf_drift *drift, size_t range, ProtobufCBinaryData **out);
void leaf_drift_name_again(struct leaf_drift **drift, size_t range, struct ps_span name);
/* `ignore`: the names of range `range` that were not told yet; they are from now on. The array is
 * the caller's, the bytes are the drift's. */
size_t leaf_drift_untold(struct leaf_docs *docs, struct leaf_doc *doc,
                         const struct leaf_drift *drift, size_t range, ProtobufCBinaryData **out);

#endif
