/* SPDX-License-Identifier: Apache-2.0 */
/* common/list.h: intrusive doubly linked list; the links live inside the element.
 * Use: struct item { struct ps_list link; … }; PS_LIST_FOR(at, &head) { struct item *item =
 *      PS_CONTAINER(at, struct item, link); … } (the loop body may remove `at`).
 * Invariant: a head is never empty of itself: next and prev are never NULL once initialised.
 * Threads: one owner at a time. */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct ps_list {
    struct ps_list *next;
    struct ps_list *prev;
};

#define PS_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define PS_LIST_FOR(at, head)                                                                      \
    for (struct ps_list *at = (head)->next, *at##_next = at->next; at != (head);                   \
         at = at##_next, at##_next = at->next)

static inline void
ps_list_init(struct ps_list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool
ps_list_empty(const struct ps_list *head)
{
    return head->next == head;
}

static inline void
ps_list_insert_between(struct ps_list *prev, struct ps_list *next, struct ps_list *link)
{
    link->prev = prev;
    link->next = next;
    prev->next = link;
    next->prev = link;
}

static inline void
ps_list_push_back(struct ps_list *head, struct ps_list *link)
{
    ps_list_insert_between(head->prev, head, link);
}

static inline void
ps_list_push_front(struct ps_list *head, struct ps_list *link)
{
    ps_list_insert_between(head, head->next, link);
}

/* Leaves link initialised, so that removing it twice is harmless. */
static inline void
ps_list_remove(struct ps_list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    ps_list_init(link);
}

/* All of `from`, in order, behind what `to` has. */
static inline void
ps_list_move(struct ps_list *to, struct ps_list *from)
{
    if (!ps_list_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        ps_list_init(from);
    }
}

/* NULL when empty. */
static inline struct ps_list *
ps_list_take_front(struct ps_list *head)
{
    if (ps_list_empty(head)) {
        return NULL;
    }
    struct ps_list *link = head->next;
    ps_list_remove(link);
    return link;
}

#endif
