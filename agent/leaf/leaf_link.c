/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"

enum { READ_STEP_BYTES = 16 * 1024 };

struct leaf_link {
    int fd;
    pthread_mutex_t send_lock;
    struct ps_buf out; /* under send_lock */
    struct ps_buf in;  /* the receiving thread's */
};

struct leaf_link *
leaf_link_new(int fd)
{
    struct leaf_link *link = ps_xcalloc(1, sizeof *link);
    link->fd = fd;
    pthread_mutex_init(&link->send_lock, NULL);
    return link;
}

void
leaf_link_free(struct leaf_link *link)
{
    if (link == NULL) {
        return;
    }
    close(link->fd);
    ps_buf_fini(&link->in);
    ps_buf_fini(&link->out);
    pthread_mutex_destroy(&link->send_lock);
    ps_free(link);
}

/* The socket may be non-blocking: the agent's end and ours share no flags, but be safe. */
static enum ps_status
wait_writable(int fd, struct ps_error *err)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    if (poll(&pfd, 1, -1) < 0 && errno != EINTR) {
        return ps_fail_errno(err, errno, "wait for the agent's socket");
    }
    return PS_OK;
}

static enum ps_status
write_all(struct leaf_link *link, struct ps_error *err)
{
    size_t at = 0;
    while (at < link->out.len) {
        ssize_t wrote = send(link->fd, link->out.ptr + at, link->out.len - at, MSG_NOSIGNAL);
        if (wrote >= 0) {
            at += (size_t)wrote;
            continue;
        }
        if (errno == EAGAIN) {
            enum ps_status status = wait_writable(link->fd, err);
            if (status != PS_OK) {
                return status;
            }
        } else if (errno != EINTR) {
            return ps_fail(err, PS_CANCELED, "the agent is gone");
        }
    }
    return PS_OK;
}

enum ps_status
leaf_link_send(struct leaf_link *link, enum msg_type type, const void *message,
               struct ps_error *err)
{
    pthread_mutex_lock(&link->send_lock);
    ps_buf_clear(&link->out);
    enum ps_status status = frame_append(&link->out, type, message, err);
    if (status == PS_OK) {
        status = write_all(link, err);
    }
    pthread_mutex_unlock(&link->send_lock);
    return status;
}

/* Takes the first whole frame out of the input buffer, if there is one. */
static enum ps_status
take_frame(struct leaf_link *link, enum msg_type *out_type, ProtobufCMessage **out_message,
           struct ps_error *err)
{
    size_t total = 0;
    enum ps_status status = frame_total(ps_buf_span(&link->in), &total, err);
    if (status != PS_OK || total == 0 || link->in.len < total) {
        return status;
    }
    status = frame_unpack(ps_span(link->in.ptr, total), out_type, out_message, err);
    memmove(link->in.ptr, link->in.ptr + total, link->in.len - total);
    link->in.len -= total;
    return status;
}

enum ps_status
leaf_link_receive(struct leaf_link *link, int wait_ms, enum msg_type *out_type,
                  ProtobufCMessage **out_message, struct ps_error *err)
{
    *out_message = NULL;
    enum ps_status status = take_frame(link, out_type, out_message, err);
    if (status != PS_OK || *out_message != NULL) {
        return status;
    }
    struct pollfd pfd = {.fd = link->fd, .events = POLLIN};
    int ready = poll(&pfd, 1, wait_ms);
    if (ready <= 0) {
        return PS_OK; /* nothing yet, or a signal: the caller comes again */
    }
    status = ps_buf_reserve(&link->in, READ_STEP_BYTES, err);
    if (status != PS_OK) {
        return status;
    }
    ssize_t got = recv(link->fd, link->in.ptr + link->in.len, READ_STEP_BYTES, 0);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
        return ps_fail(err, PS_CANCELED, "the agent is gone");
    }
    if (got > 0) {
        link->in.len += (size_t)got;
    }
    return take_frame(link, out_type, out_message, err);
}
