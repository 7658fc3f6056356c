/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/json_walk.h: one record: its text checked whole, its wanted values taken out.
 * In: the bytes of one value.  Out: a field for each wanted path, or the fault.
 * Invariant: all of the value is checked, wanted or not; what comes out does not depend on the
 * order in which earlier records had their names, nor on the machine. Threads: one owner at a time.
 */
#ifndef AGENT_DECODE_JSON_WALK_H
#define AGENT_DECODE_JSON_WALK_H

#include "agent/decode/decode.h"
#include "agent/decode/json_scan.h"
#include "agent/decode/json_tree.h"

struct json_walk {
    struct json_scan scan;
    struct json_node root;
    struct field *fields; /* one a wanted value; missing ones have no ptr */
    struct field *blank;  /* what they are before a record */
    uint32_t count;
    uint32_t cap;
    bool discover; /* every name of the record's own is wanted from now on */
    uint64_t stamp;
    const struct json_node *at; /* where the fault is, as far as it is known */
    /* Names of records that nobody wants, where discover is off: at most max_columns of them. */
    bool notes_strange;
    struct json_node strange;
    uint32_t strange_count;
    struct json_node *strange_next; /* if things go on as before */
    uint64_t strange_stamp;         /* the record that had one last, and which: */
    struct ps_span strange_name;
};

/* The record at p, which is no blank. Returns the byte behind it; NULL: walk->scan has the fault.
 * scan.end, limit and final are set by the caller. */
typedef const uint8_t *(*json_walk_fn)(struct json_walk *walk, const uint8_t *p);
const uint8_t *json_walk_any(struct json_walk *walk, const uint8_t *p);
/* Only where json_v3_runs(). */
const uint8_t *json_walk_v3(struct json_walk *walk, const uint8_t *p);
bool json_v3_runs(void);
/* The fastest that this machine has. */
json_walk_fn json_walk_best(void);

/* Makes the value at the path wanted; *out_field says which field it is. */
PS_MUSTCHECK enum ps_status json_walk_want(struct json_walk *walk, const char *path,
                                           struct ps_error *err);
/* The same for a name that a record was found to have; NULL = fault. */
struct json_node *json_walk_discover(struct json_walk *walk, struct ps_span name,
                                     const uint8_t *at);
/* Notes the name of a field that nobody wants. */
void json_walk_strange(struct json_walk *walk, struct ps_span name);
/* Forgets the fields from count on: the record that had them was none. */
void json_walk_forget(struct json_walk *walk, uint32_t count);
void json_walk_forget_strange(struct json_walk *walk, uint32_t count);
/* The child's name came before in this record. Returns what takes the value now: child, or NULL for
 * nobody; *out_fault: the record is a reject. */
struct json_node *json_walk_duplicate(struct json_walk *walk, struct json_node *child,
                                      const uint8_t *at, bool *out_fault);
/* Room for all that a record of so many bytes can unescape to; false when memory is refused. */
bool json_walk_scratch(struct json_walk *walk, size_t bytes);
/* Nothing is wanted any more. */
void json_walk_clear(struct json_walk *walk);
void json_walk_fini(struct json_walk *walk);

/* Tests only: a decoder of ndjson or json takes this walker. */
void json_walker_force(struct decoder *decoder, json_walk_fn walker);

#endif
