/* SPDX-License-Identifier: Apache-2.0 */
#include "common/heap.h"

#include <criterion/criterion.h>

#include "common/list.h"
#include "common/rand.h"

struct timer {
    int number;
    struct ps_heap_node node;
    struct ps_list link;
};

Test(heap, least_first_and_equal_keys_in_turn)
{
    static const int64_t keys[] = {5, 1, 5, -3, 1};
    static const int order[] = {3, 1, 4, 0, 2};
    struct timer timers[5];
    struct ps_heap heap = PS_HEAP_INIT;
    cr_assert_null(ps_heap_take(&heap));
    for (int i = 0; i < 5; i++) {
        timers[i].number = i;
        ps_heap_node_init(&timers[i].node);
        ps_heap_put(&heap, &timers[i].node, keys[i]);
    }
    for (int i = 0; i < 5; i++) {
        struct ps_heap_node *node = ps_heap_take(&heap);
        cr_assert_eq(PS_CONTAINER(node, struct timer, node)->number, order[i]);
        cr_assert_not(ps_heap_has(node));
    }
    cr_assert_null(ps_heap_first(&heap));
    ps_heap_fini(&heap);
}

enum { NODES = 300 };

Test(heap, any_node_can_be_removed)
{
    static struct ps_heap_node nodes[NODES];
    struct ps_heap heap = PS_HEAP_INIT;
    struct ps_rand rand;
    size_t in = 0;
    ps_rand_seed(&rand, 5);
    for (size_t i = 0; i < NODES; i++) {
        ps_heap_node_init(&nodes[i]);
    }
    for (int round = 0; round < 20000; round++) {
        struct ps_heap_node *node = &nodes[ps_rand_below(&rand, NODES)];
        if (ps_heap_has(node)) {
            ps_heap_remove(&heap, node);
            ps_heap_remove(&heap, node);
            in--;
        } else {
            ps_heap_put(&heap, node, (int64_t)ps_rand_below(&rand, 50));
            in++;
        }
        cr_assert_eq(heap.len, in);
        for (size_t i = 1; i < heap.len; i++) {
            cr_assert_leq(heap.nodes[(i - 1) / 2]->key, heap.nodes[i]->key);
            cr_assert_eq(heap.nodes[i]->index, i);
        }
    }
    ps_heap_fini(&heap);
}

Test(list, links_and_unlinks)
{
    struct ps_list head;
    struct timer timers[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    ps_list_init(&head);
    cr_assert(ps_list_empty(&head));
    cr_assert_null(ps_list_take_front(&head));
    ps_list_push_back(&head, &timers[1].link);
    ps_list_push_back(&head, &timers[2].link);
    ps_list_push_front(&head, &timers[0].link);
    int expected = 0;
    PS_LIST_FOR (at, &head) {
        cr_assert_eq(PS_CONTAINER(at, struct timer, link)->number, expected++);
        ps_list_remove(at);
        ps_list_remove(at);
    }
    cr_assert_eq(expected, 3);
    cr_assert(ps_list_empty(&head));
}
