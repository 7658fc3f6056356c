/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "common/clock.h"

Test(queue, keeps_order_and_capacity)
{
    struct ps_queue *queue = ps_queue_new(2);
    int a = 1;
    int b = 2;
    void *item = NULL;
    cr_assert_eq(ps_queue_take(queue, 0, &item), PS_AGAIN);
    cr_assert_eq(ps_queue_put(queue, &a, 0), PS_OK);
    cr_assert_eq(ps_queue_put(queue, &b, 0), PS_OK);
    cr_assert_eq(ps_queue_put(queue, &a, 0), PS_AGAIN);
    cr_assert_eq(ps_queue_len(queue), 2);
    cr_assert_eq(ps_queue_take(queue, PS_WAIT_FOREVER, &item), PS_OK);
    cr_assert_eq(item, &a);
    cr_assert_eq(ps_queue_take(queue, 0, &item), PS_OK);
    cr_assert_eq(item, &b);
    ps_queue_free(queue);
}

Test(queue, what_was_put_before_close_is_still_taken)
{
    struct ps_queue *queue = ps_queue_new(2);
    int a = 1;
    void *item = NULL;
    cr_assert_eq(ps_queue_put(queue, &a, 0), PS_OK);
    ps_queue_close(queue);
    ps_queue_close(queue);
    cr_assert_eq(ps_queue_put(queue, &a, PS_WAIT_FOREVER), PS_CANCELED);
    cr_assert_eq(ps_queue_take(queue, PS_WAIT_FOREVER, &item), PS_OK);
    cr_assert_eq(ps_queue_take(queue, PS_WAIT_FOREVER, &item), PS_CANCELED);
    ps_queue_free(queue);
    ps_queue_free(NULL);
}

Test(queue, a_timed_take_waits_its_time)
{
    struct ps_queue *queue = ps_queue_new(1);
    void *item = NULL;
    int64_t start = ps_clock_mono_ms();
    cr_assert_eq(ps_queue_take(queue, 20, &item), PS_AGAIN);
    cr_assert_geq(ps_clock_mono_ms() - start, 19);
    ps_queue_free(queue);
}

enum { ITEMS = 20000, THREADS = 3 };
static int numbers[ITEMS];

struct taker {
    struct ps_queue *queue;
    uint64_t sum;
    size_t taken;
};

static void *
take_all(void *ctx)
{
    struct taker *taker = ctx;
    void *item = NULL;
    while (ps_queue_take(taker->queue, PS_WAIT_FOREVER, &item) == PS_OK) {
        taker->sum += (uint64_t)(*(int *)item);
        taker->taken++;
    }
    return NULL;
}

Test(queue, each_item_is_taken_once)
{
    struct ps_queue *queue = ps_queue_new(7);
    struct taker takers[THREADS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        takers[i] = (struct taker){.queue = queue};
        pthread_create(&threads[i], NULL, take_all, &takers[i]);
    }
    for (int i = 0; i < ITEMS; i++) {
        numbers[i] = i;
        cr_assert_eq(ps_queue_put(queue, &numbers[i], PS_WAIT_FOREVER), PS_OK);
    }
    ps_queue_close(queue);
    uint64_t sum = 0;
    size_t taken = 0;
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += takers[i].sum;
        taken += takers[i].taken;
    }
    cr_assert_eq(taken, ITEMS);
    cr_assert_eq(sum, (uint64_t)ITEMS * (ITEMS - 1) / 2);
    ps_queue_free(queue);
}
