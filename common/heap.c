/* SPDX-License-Identifier: Apache-2.0 */
#include "common/heap.h"

#include "common/alloc.h"
#include "common/assert.h"

static bool
before(const struct ps_heap_node *a, const struct ps_heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->turn < b->turn;
}

static void
place(struct ps_heap *heap, size_t index, struct ps_heap_node *node)
{
    heap->nodes[index] = node;
    node->index = index;
}

static void
sift_up(struct ps_heap *heap, size_t index)
{
    struct ps_heap_node *node = heap->nodes[index];
    while (index > 0 && before(node, heap->nodes[(index - 1) / 2])) {
        place(heap, index, heap->nodes[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(heap, index, node);
}

static void
sift_down(struct ps_heap *heap, size_t index)
{
    struct ps_heap_node *node = heap->nodes[index];
    for (size_t child = index * 2 + 1; child < heap->len; child = index * 2 + 1) {
        if (child + 1 < heap->len && before(heap->nodes[child + 1], heap->nodes[child])) {
            child++;
        }
        if (!before(heap->nodes[child], node)) {
            break;
        }
        place(heap, index, heap->nodes[child]);
        index = child;
    }
    place(heap, index, node);
}

void
ps_heap_node_init(struct ps_heap_node *node)
{
    *node = (struct ps_heap_node){.index = PS_HEAP_OUT};
}

void
ps_heap_put(struct ps_heap *heap, struct ps_heap_node *node, int64_t key)
{
    PS_ASSERT(!ps_heap_has(node));
    if (heap->len == heap->cap) {
        heap->cap = heap->cap == 0 ? 16 : heap->cap * 2;
        heap->nodes = ps_xrealloc(heap->nodes, heap->cap * sizeof(struct ps_heap_node *));
    }
    node->key = key;
    node->turn = heap->turns++;
    place(heap, heap->len++, node);
    sift_up(heap, node->index);
}

struct ps_heap_node *
ps_heap_first(const struct ps_heap *heap)
{
    return heap->len == 0 ? NULL : heap->nodes[0];
}

struct ps_heap_node *
ps_heap_take(struct ps_heap *heap)
{
    struct ps_heap_node *first = ps_heap_first(heap);
    if (first != NULL) {
        ps_heap_remove(heap, first);
    }
    return first;
}

void
ps_heap_remove(struct ps_heap *heap, struct ps_heap_node *node)
{
    if (!ps_heap_has(node)) {
        return;
    }
    size_t index = node->index;
    PS_ASSERT(index < heap->len && heap->nodes[index] == node);
    struct ps_heap_node *last = heap->nodes[--heap->len];
    if (last != node) {
        place(heap, index, last);
        sift_up(heap, index);
        sift_down(heap, last->index);
    }
    node->index = PS_HEAP_OUT;
}

void
ps_heap_fini(struct ps_heap *heap)
{
    ps_free(heap->nodes);
    *heap = PS_HEAP_INIT;
}
