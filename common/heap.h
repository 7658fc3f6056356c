/* SPDX-License-Identifier: Apache-2.0 */
/* common/heap.h: binary heap of intrusive nodes, least key first; any node can be removed.
 * Use: struct timer { struct ps_heap_node node; … }; set node.key, put, and PS_CONTAINER back.
 * Invariant: a node's index is its place in the heap, or PS_HEAP_OUT. Equal keys come out in the
 *            order in which they were put.
 * Threads: one owner at a time. */
#ifndef COMMON_HEAP_H
#define COMMON_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PS_HEAP_OUT SIZE_MAX

struct ps_heap_node {
    int64_t key;
    uint64_t turn; /* set by put: breaks ties */
    size_t index;  /* PS_HEAP_OUT while in no heap */
};

struct ps_heap {
    struct ps_heap_node **nodes;
    size_t len;
    size_t cap;
    uint64_t turns;
};

#define PS_HEAP_INIT ((struct ps_heap){0})

void ps_heap_node_init(struct ps_heap_node *node); /* index = PS_HEAP_OUT */
static inline bool
ps_heap_has(const struct ps_heap_node *node)
{
    return node->index != PS_HEAP_OUT;
}

void ps_heap_put(struct ps_heap *heap, struct ps_heap_node *node, int64_t key);
struct ps_heap_node *ps_heap_first(const struct ps_heap *heap); /* NULL when empty */
struct ps_heap_node *ps_heap_take(struct ps_heap *heap);        /* NULL when empty */
/* A node that is in no heap is left alone. */
void ps_heap_remove(struct ps_heap *heap, struct ps_heap_node *node);
void ps_heap_fini(struct ps_heap *heap); /* the nodes are their owner's */

#endif
