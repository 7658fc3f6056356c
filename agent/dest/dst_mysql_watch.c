/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that ends a blocking call of the client library, which has no other way to be stopped,
 * by shutting its socket down. It sleeps unless a call runs. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/dest/dst_mysql.h"
#include "common/alloc.h"

enum { LOOK_MS = 200 }; /* between looks at the cancel flag */

struct dst_mysql_watch {
    const _Atomic bool *cancel;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int fd; /* of the call that runs; -1: none */
    bool ends;
};

static void
wait_a_little(struct dst_mysql_watch *watch)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_cond_timedwait(&watch->changed, &watch->mutex, &until);
}

static void *
look(void *ctx)
{
    struct dst_mysql_watch *watch = ctx;
    pthread_mutex_lock(&watch->mutex);
    while (!watch->ends) {
        if (watch->fd < 0) {
            pthread_cond_wait(&watch->changed, &watch->mutex);
            continue;
        }
        if (atomic_load(watch->cancel)) {
            /* Under the mutex: the call cannot have returned, so the number is still its own. */
            (void)shutdown(watch->fd, SHUT_RDWR);
            watch->fd = -1;
            continue;
        }
        wait_a_little(watch);
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

struct dst_mysql_watch *
dst_mysql_watch_new(const _Atomic bool *cancel)
{
    if (cancel == NULL) {
        return NULL;
    }
    struct dst_mysql_watch *watch = ps_xcalloc(1, sizeof *watch);
    pthread_condattr_t attributes;
    watch->cancel = cancel;
    watch->fd = -1;
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&watch->thread, NULL, look, watch) != 0) {
        pthread_cond_destroy(&watch->changed);
        pthread_mutex_destroy(&watch->mutex);
        ps_free(watch);
        return NULL;
    }
    return watch;
}

void
dst_mysql_watch_free(struct dst_mysql_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    pthread_mutex_lock(&watch->mutex);
    watch->ends = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->mutex);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->mutex);
    ps_free(watch);
}

static void
set(struct dst_mysql_watch *watch, int fd)
{
    if (watch == NULL) {
        return;
    }
    pthread_mutex_lock(&watch->mutex);
    watch->fd = fd;
    if (fd >= 0) {
        pthread_cond_signal(&watch->changed);
    }
    pthread_mutex_unlock(&watch->mutex);
}

void
dst_mysql_watch_begin(struct dst_mysql_watch *watch, int fd)
{
    set(watch, fd);
}

void
dst_mysql_watch_end(struct dst_mysql_watch *watch)
{
    set(watch, -1);
}
