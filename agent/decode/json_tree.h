/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/json_tree.h: which values of a record are wanted, as a tree of names and indexes.
 * In: paths.  Out: for each name in an object the node it stands for.
 * Invariant: children are in the order in which they were added; the one expected next is tried
 *            first, so that records whose names come in one order are read without a search.
 * Threads: one owner at a time. */
#ifndef AGENT_DECODE_JSON_TREE_H
#define AGENT_DECODE_JSON_TREE_H

#include "common/error.h"
#include "spec/spec_path.h"

enum { JSON_KEY_SPARE = 32, JSON_NO_FIELD = UINT32_MAX };

struct json_node {
    uint8_t *quoted;     /* "name" with its quotes, JSON_KEY_SPARE bytes that may be read behind */
    uint32_t quoted_len; /* 0: nobody writes the name without escapes */
    bool is_index;
    uint32_t index;
    uint32_t field; /* JSON_NO_FIELD: only a way to others */
    uint64_t stamp; /* the record that had it last */
    uint32_t names; /* children by name, and by index */
    uint32_t indexes;
    struct json_node *first;
    struct json_node *last;
    struct json_node *next;     /* its parent's next child */
    struct json_node *expected; /* the child that comes next if things go on as before */
    struct json_node **slots;   /* hash table of the children by name, where there are many */
    uint32_t slot_mask;
};

static inline struct ps_span
json_node_name(const struct json_node *node)
{
    return ps_span(node->quoted + 1, node->quoted_len == 0 ? strlen((const char *)node->quoted + 1)
                                                           : node->quoted_len - 2);
}

/* The node that step leads to, made where there is none; NULL when memory is refused. */
struct json_node *json_tree_step(struct json_node *node, const struct spec_path_step *step);
/* NULL where nobody wants it. */
struct json_node *json_tree_find(const struct json_node *node, struct ps_span name);
struct json_node *json_tree_at(const struct json_node *node, uint32_t index);
/* Takes node's last child away again. */
void json_tree_drop_last(struct json_node *node);
/* The most wanted values that hold one and the same byte. */
uint32_t json_tree_overlap(const struct json_node *node);
void json_tree_fini(struct json_node *root);

#endif
