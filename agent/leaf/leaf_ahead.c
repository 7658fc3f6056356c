/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_ahead.h"

#include <pthread.h>
#include <string.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"

enum {
    AHEAD_SLOTS = 64,
    AHEAD_THREADS_MOST = 16,
    AHEAD_BYTES = 4 << 20,
    AHEAD_OBJECT_BYTES = 256 * 1024, /* a larger one streams */
    SLOW_NS = 60 * 1000,             /* the page cache needs a tenth of it */
    LOOK_BACK = 8,
    SLOW_TO_BEGIN = 6, /* of the last LOOK_BACK: one slow open is only a busy machine */
    SLOW_TO_GO_ON = 2,
};

enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_READY };

struct slot {
    enum slot_state state;
    size_t index;
    struct leaf_object object;
    enum ps_status status;
    struct ps_error err;
};

struct leaf_ahead {
    const struct source_ops *ops;
    struct source *source;
    struct leaf_want *wants; /* NULL between batches */
    size_t count;
    size_t next_hint; /* the source knows of all before it */
    pthread_t threads[AHEAD_THREADS_MOST];
    size_t thread_count;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t work;  /* for helpers: there may be something to open, or it is over */
    pthread_cond_t done;  /* for the extract thread: a slot is ready, or a helper is idle */
    bool running;         /* helpers may open */
    bool ending;
    unsigned slow_bits; /* one a measured open, newest lowest */
    unsigned busy;
    size_t next_open; /* no helper has taken this one yet */
    size_t next_take; /* the extract thread asks for none before it */
    size_t held_bytes;
    uint64_t opened;
    struct slot slots[AHEAD_SLOTS];
};

/* ---------------------------------------------------------------- one object */

enum ps_status
leaf_object_read(const struct source_ops *ops, struct leaf_object *object, uint8_t *out, size_t cap,
                 size_t *out_n, struct ps_error *err)
{
    size_t left = object->len - object->at;
    if (left == 0 && !object->whole) {
        return ops->read(object->reader, out, cap, out_n, err);
    }
    *out_n = left < cap ? left : cap;
    if (*out_n > 0) {
        memcpy(out, object->bytes + object->at, *out_n);
    }
    object->at += *out_n;
    return PS_OK;
}

void
leaf_object_close(const struct source_ops *ops, struct leaf_object *object)
{
    ps_free(object->bytes);
    ops->close_object(object->reader);
    *object = (struct leaf_object){0};
}

static bool
is_small(const struct leaf_want *want)
{
    return want->from_start && want->size_bytes <= AHEAD_OBJECT_BYTES;
}

/* Opens and reads a small object whole; one that has grown since it was listed goes on by itself.
 */
static enum ps_status
fetch(const struct leaf_ahead *ahead, const struct leaf_want *want, struct leaf_object *out,
      struct ps_error *err)
{
    size_t cap = (size_t)want->size_bytes + 1;
    struct leaf_object object = {.bytes = ps_alloc(cap)};
    if (object.bytes == NULL) {
        return ps_fail(err, PS_FULL, "out of memory for %zu bytes of an object", cap);
    }
    enum ps_status status =
        ahead->ops->open_object(ahead->source, want->key, want->version, &object.reader, err);
    while (status == PS_OK && !object.whole && object.len < cap) {
        size_t n = 0;
        status =
            ahead->ops->read(object.reader, object.bytes + object.len, cap - object.len, &n, err);
        if (status == PS_OK) {
            object.len += n;
            object.whole = n == 0;
        }
    }
    if (status != PS_OK) {
        leaf_object_close(ahead->ops, &object);
        return status;
    }
    *out = object;
    return PS_OK;
}

/* ---------------------------------------------------------------- helpers */

static void
judge_locked(struct leaf_ahead *ahead, int64_t ns)
{
    ahead->slow_bits = (ahead->slow_bits << 1 | (ns > SLOW_NS)) & ((1u << LOOK_BACK) - 1);
    int slow = __builtin_popcount(ahead->slow_bits);
    ahead->running = slow >= (ahead->running ? SLOW_TO_GO_ON : SLOW_TO_BEGIN);
}

/* The next one that a helper may open now; count when there is none. */
static size_t
choose_locked(struct leaf_ahead *ahead)
{
    size_t next = ahead->next_open < ahead->next_take ? ahead->next_take : ahead->next_open;
    while (next < ahead->count && !is_small(&ahead->wants[next])) {
        next++;
    }
    bool room = next < ahead->next_take + AHEAD_SLOTS && ahead->held_bytes < AHEAD_BYTES &&
                ahead->slots[next % AHEAD_SLOTS].state == SLOT_FREE;
    return ahead->running && ahead->wants != NULL && room ? next : ahead->count;
}

static void
open_one_locked(struct leaf_ahead *ahead, size_t index)
{
    const struct leaf_want *want = &ahead->wants[index];
    struct slot *slot = &ahead->slots[index % AHEAD_SLOTS];
    PS_ASSERT(slot->state == SLOT_FREE);
    *slot = (struct slot){.state = SLOT_BUSY, .index = index};
    ahead->next_open = index + 1;
    ahead->held_bytes += (size_t)want->size_bytes;
    ahead->busy++;
    pthread_mutex_unlock(&ahead->lock);
    int64_t began = ps_clock_mono_ns();
    enum ps_status status = fetch(ahead, want, &slot->object, &slot->err);
    int64_t ns = ps_clock_mono_ns() - began;
    pthread_mutex_lock(&ahead->lock);
    judge_locked(ahead, ns);
    slot->status = status;
    slot->state = SLOT_READY;
    ahead->opened++;
    ahead->busy--;
    pthread_cond_signal(&ahead->done);
}

static void *
ahead_thread(void *ctx)
{
    struct leaf_ahead *ahead = ctx;
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->ending) {
        size_t index = choose_locked(ahead);
        if (index < ahead->count) {
            open_one_locked(ahead, index);
        } else {
            pthread_cond_wait(&ahead->work, &ahead->lock);
        }
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

/* As many as the driver has use for; none, or fewer than asked for, is only slower. */
static void
start_threads(struct leaf_ahead *ahead)
{
    size_t want = ahead->ops->in_flight;
    want = want < AHEAD_THREADS_MOST ? want : AHEAD_THREADS_MOST;
    while (ahead->thread_count < want &&
           pthread_create(&ahead->threads[ahead->thread_count], NULL, ahead_thread, ahead) == 0) {
        ahead->thread_count++;
    }
}

/* ---------------------------------------------------------------- the extract thread */

struct leaf_ahead *
leaf_ahead_new(void)
{
    struct leaf_ahead *ahead = ps_xcalloc(1, sizeof *ahead);
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->work, NULL);
    pthread_cond_init(&ahead->done, NULL);
    return ahead;
}

void
leaf_ahead_begin(struct leaf_ahead *ahead, const struct source_ops *ops, struct source *source,
                 struct leaf_want *own_wants, size_t count)
{
    pthread_mutex_lock(&ahead->lock);
    PS_ASSERT(ahead->wants == NULL && ahead->busy == 0);
    ahead->ops = ops;
    ahead->source = source;
    ahead->wants = own_wants;
    ahead->count = count;
    ahead->next_open = 0;
    ahead->next_take = 0;
    ahead->next_hint = 0;
    pthread_cond_broadcast(&ahead->work);
    pthread_mutex_unlock(&ahead->lock);
}

static void
drop_locked(struct leaf_ahead *ahead, struct slot *slot)
{
    if (slot->status == PS_OK) {
        leaf_object_close(ahead->ops, &slot->object);
    }
    slot->state = SLOT_FREE;
    ahead->held_bytes -= (size_t)ahead->wants[slot->index].size_bytes;
}

/* Those before index were not asked for. */
static void
drop_older_locked(struct leaf_ahead *ahead, size_t index)
{
    for (size_t i = 0; i < AHEAD_SLOTS; i++) {
        if (ahead->slots[i].state == SLOT_READY && ahead->slots[i].index < index) {
            drop_locked(ahead, &ahead->slots[i]);
        }
    }
}

/* False: no helper has it and none will. */
static bool
take_locked(struct leaf_ahead *ahead, size_t index, struct leaf_object *out,
            enum ps_status *out_status, struct ps_error *err)
{
    struct slot *slot = &ahead->slots[index % AHEAD_SLOTS];
    if (index > ahead->next_take) {
        drop_older_locked(ahead, index);
    }
    ahead->next_take = index + 1;
    if (slot->state == SLOT_FREE || slot->index != index) {
        ahead->next_open = ahead->next_open <= index ? index + 1 : ahead->next_open;
        pthread_cond_broadcast(&ahead->work);
        return false;
    }
    while (slot->state != SLOT_READY) {
        pthread_cond_wait(&ahead->done, &ahead->lock);
    }
    slot->state = SLOT_FREE;
    ahead->held_bytes -= (size_t)ahead->wants[index].size_bytes;
    *out_status = slot->status;
    if (slot->status == PS_OK) {
        *out = slot->object;
    } else if (err != NULL) {
        *err = slot->err;
    }
    pthread_cond_signal(&ahead->work);
    return true;
}

/* For a driver that has several requests in flight by itself. */
static void
give_hints(struct leaf_ahead *ahead, size_t index)
{
    size_t next = ahead->next_hint < index ? index : ahead->next_hint;
    for (; ahead->ops->prefetch != NULL && next < ahead->count; next++) {
        const struct leaf_want *want = &ahead->wants[next];
        if (want->from_start && !ahead->ops->prefetch(ahead->source, want->key, want->version)) {
            break;
        }
    }
    ahead->next_hint = next;
}

enum ps_status
leaf_ahead_open(struct leaf_ahead *ahead, size_t index, struct leaf_object *out,
                struct ps_error *err)
{
    const struct leaf_want *want = &ahead->wants[index];
    enum ps_status status = PS_OK;
    give_hints(ahead, index);
    if (ahead->ops->in_flight < 2 || !is_small(want)) {
        *out = (struct leaf_object){0};
        return ahead->ops->open_object(ahead->source, want->key, want->version, &out->reader, err);
    }
    pthread_mutex_lock(&ahead->lock);
    bool taken = take_locked(ahead, index, out, &status, err);
    pthread_mutex_unlock(&ahead->lock);
    if (taken) {
        return status;
    }
    int64_t began = ps_clock_mono_ns();
    status = fetch(ahead, want, out, err);
    pthread_mutex_lock(&ahead->lock);
    judge_locked(ahead, ps_clock_mono_ns() - began);
    bool start = ahead->running && ahead->thread_count == 0;
    pthread_cond_broadcast(&ahead->work);
    pthread_mutex_unlock(&ahead->lock);
    if (start) {
        start_threads(ahead);
    }
    return status;
}

void
leaf_ahead_end(struct leaf_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    ahead->next_open = ahead->count; /* none is begun any more */
    while (ahead->busy > 0) {
        pthread_cond_wait(&ahead->done, &ahead->lock);
    }
    drop_older_locked(ahead, ahead->count);
    PS_ASSERT(ahead->held_bytes == 0);
    ps_free(ahead->wants);
    ahead->wants = NULL;
    ahead->count = 0;
    pthread_mutex_unlock(&ahead->lock);
}

uint64_t
leaf_ahead_opened(struct leaf_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    uint64_t opened = ahead->opened;
    pthread_mutex_unlock(&ahead->lock);
    return opened;
}

void
leaf_ahead_free(struct leaf_ahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    pthread_mutex_lock(&ahead->lock);
    PS_ASSERT(ahead->wants == NULL);
    ahead->ending = true;
    pthread_cond_broadcast(&ahead->work);
    pthread_mutex_unlock(&ahead->lock);
    for (size_t i = 0; i < ahead->thread_count; i++) {
        pthread_join(ahead->threads[i], NULL);
    }
    pthread_cond_destroy(&ahead->work);
    pthread_cond_destroy(&ahead->done);
    pthread_mutex_destroy(&ahead->lock);
    ps_free(ahead);
}
