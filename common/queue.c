/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue.h"

#include <pthread.h>
#include <time.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"

struct ps_queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    bool closed;
    size_t capacity;
    size_t first;
    size_t len;
    void *items[];
};

static void
cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

struct ps_queue *
ps_queue_new(size_t capacity)
{
    PS_ASSERT(capacity > 0 && capacity < SIZE_MAX / sizeof(void *) - sizeof(struct ps_queue));
    struct ps_queue *queue = ps_xcalloc(1, sizeof *queue + capacity * sizeof(void *));
    pthread_mutex_init(&queue->lock, NULL);
    cond_init(&queue->not_empty);
    cond_init(&queue->not_full);
    queue->capacity = capacity;
    return queue;
}

void
ps_queue_free(struct ps_queue *queue)
{
    if (queue == NULL) {
        return;
    }
    pthread_cond_destroy(&queue->not_full);
    pthread_cond_destroy(&queue->not_empty);
    pthread_mutex_destroy(&queue->lock);
    ps_free(queue);
}

/* One wait; false once the deadline has passed. */
static bool
wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms)
{
    if (deadline_ms < 0) {
        pthread_cond_wait(cond, lock);
        return true;
    }
    struct timespec until = {.tv_sec = deadline_ms / 1000,
                             .tv_nsec = (deadline_ms % 1000) * 1000000};
    return pthread_cond_timedwait(cond, lock, &until) == 0;
}

static int64_t
deadline(int64_t timeout_ms)
{
    return timeout_ms < 0 ? -1 : ps_clock_mono_ms() + timeout_ms;
}

enum ps_status
ps_queue_put(struct ps_queue *queue, void *item, int64_t timeout_ms)
{
    enum ps_status status = PS_OK;
    int64_t until = deadline(timeout_ms);
    pthread_mutex_lock(&queue->lock);
    while (!queue->closed && queue->len == queue->capacity && status == PS_OK) {
        bool in_time = timeout_ms != 0 && wait_until(&queue->not_full, &queue->lock, until);
        status = in_time || queue->len < queue->capacity ? PS_OK : PS_AGAIN;
    }
    if (queue->closed) {
        status = PS_CANCELED;
    } else if (status == PS_OK) {
        queue->items[(queue->first + queue->len) % queue->capacity] = item;
        queue->len++;
        pthread_cond_signal(&queue->not_empty);
    }
    pthread_mutex_unlock(&queue->lock);
    return status;
}

enum ps_status
ps_queue_take(struct ps_queue *queue, int64_t timeout_ms, void **out_item)
{
    enum ps_status status = PS_OK;
    int64_t until = deadline(timeout_ms);
    pthread_mutex_lock(&queue->lock);
    while (queue->len == 0 && !queue->closed && status == PS_OK) {
        bool in_time = timeout_ms != 0 && wait_until(&queue->not_empty, &queue->lock, until);
        status = in_time || queue->len > 0 ? PS_OK : PS_AGAIN;
    }
    if (queue->len > 0) {
        *out_item = queue->items[queue->first];
        queue->first = (queue->first + 1) % queue->capacity;
        queue->len--;
        status = PS_OK;
        pthread_cond_signal(&queue->not_full);
    } else if (queue->closed) {
        status = PS_CANCELED;
    }
    pthread_mutex_unlock(&queue->lock);
    return status;
}

void
ps_queue_close(struct ps_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->not_empty);
    pthread_cond_broadcast(&queue->not_full);
    pthread_mutex_unlock(&queue->lock);
}

size_t
ps_queue_len(struct ps_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t len = queue->len;
    pthread_mutex_unlock(&queue->lock);
    return len;
}
