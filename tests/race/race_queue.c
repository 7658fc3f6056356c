/* SPDX-License-Identifier: Apache-2.0 */
/* Four putters and four takers over a small queue: every item arrives once, close wakes everybody.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "common/queue.h"

enum { THREADS = 4, ITEMS = 5000 };

static struct ps_queue *queue;
static _Atomic uint64_t sum, taken;

static void *
put_all(void *ctx)
{
    uintptr_t first = (uintptr_t)ctx * ITEMS;
    for (uintptr_t i = 1; i <= ITEMS; i++) {
        if (ps_queue_put(queue, (void *)(first + i), PS_WAIT_FOREVER) != PS_OK) {
            return (void *)1;
        }
    }
    return NULL;
}

static void *
take_all(void *ctx)
{
    void *item = NULL;
    (void)ctx;
    while (ps_queue_take(queue, PS_WAIT_FOREVER, &item) == PS_OK) {
        atomic_fetch_add(&sum, (uintptr_t)item);
        atomic_fetch_add(&taken, 1);
    }
    return NULL;
}

int
main(void)
{
    pthread_t putters[THREADS], takers[THREADS];
    queue = ps_queue_new(16);
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&putters[i], NULL, put_all, (void *)i);
        pthread_create(&takers[i], NULL, take_all, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(putters[i], NULL);
    }
    ps_queue_close(queue);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(takers[i], NULL);
    }
    ps_queue_free(queue);
    uint64_t all = (uint64_t)THREADS * ITEMS;
    bool right = taken == all && sum == all * (all + 1) / 2;
    printf("%llu of %llu items\n", (unsigned long long)taken, (unsigned long long)all);
    return right ? 0 : 1;
}
