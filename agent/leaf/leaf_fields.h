/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_fields.h: a record as a JSON object of names and values, for people who correct
 * it, and back. A text is never NULL and null always is, whatever the format says of empty fields;
 * a name that is not there is a field that the record has not.
 * Threads: the task thread. */
#ifndef AGENT_LEAF_LEAF_FIELDS_H
#define AGENT_LEAF_LEAF_FIELDS_H

#include "agent/decode/decode.h"
#include "agent/dest/dest.h"
#include "common/json.h"

struct leaf_fields { /* borrowed */
    const json_t *fields;
    const struct spec_column *columns;
    size_t column_count;
    const struct dest_reject_row *row; /* whose place it takes */
};

/* Calls header with the names that columns are taken from, then record. PS_REFUSED, code
 * "replay_field": a name that no column is taken from. */
PS_MUSTCHECK enum ps_status leaf_fields_run(const struct leaf_fields *in,
                                            const struct decode_sink *sink, struct ps_error *err);

/* The way there: of a record with these names, those that columns are taken from. The caller's. */
struct leaf_fields_names {
    const struct spec *spec; /* which texts mean NULL */
    const struct spec_column *columns;
    size_t column_count;
    const struct ps_span *names;
    uint32_t count;
};
json_t *leaf_fields_of(const struct leaf_fields_names *names, const struct record *record);

#endif
