/* SPDX-License-Identifier: Apache-2.0 */
/* common/queue.h: bounded FIFO of pointers between threads.
 * In: items that their putter no longer owns.  Out: the same items, in order, to one taker each.
 * Invariant: what was put before close is still taken after it; nothing is put after it. Items left
 *            when the queue is freed belong to nobody: drain it first.
 * Threads: all calls from any thread, but free, which is the last call of all. */
#ifndef COMMON_QUEUE_H
#define COMMON_QUEUE_H

#include "common/error.h"

struct ps_queue; /* opaque */

enum { PS_WAIT_FOREVER = -1 };

struct ps_queue *ps_queue_new(size_t capacity); /* capacity > 0; never NULL */
void ps_queue_free(struct ps_queue *queue);     /* NULL is fine */

/* Waits for room. PS_AGAIN: none within timeout_ms (0 = do not wait); PS_CANCELED: closed. On both
 * the caller still owns item. */
PS_MUSTCHECK enum ps_status ps_queue_put(struct ps_queue *queue, void *item, int64_t timeout_ms);
/* Waits for an item. PS_AGAIN: none within timeout_ms; PS_CANCELED: closed and empty. */
PS_MUSTCHECK enum ps_status ps_queue_take(struct ps_queue *queue, int64_t timeout_ms,
                                          void **out_item);
/* Wakes everybody; idempotent. */
void ps_queue_close(struct ps_queue *queue);
size_t ps_queue_len(struct ps_queue *queue);

#endif
