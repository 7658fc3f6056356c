/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control/control_link.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"

enum { RECONNECT_LEAST_MS = 10, RECONNECT_MOST_MS = 500, REDIAL_MS = 2000 };

enum slot_step { STEP_IDLE, STEP_SEND, STEP_RECEIVE, STEP_DONE };

struct slot {
    struct control_link *link;
    nng_ctx ctx;
    nng_aio *aio;
    uint32_t timeout_ms;
    bool unsendable; /* the last one did not fit a frame */
    /* Under the link's lock. */
    enum slot_step step;
    nng_msg *answer; /* STEP_DONE: NULL when lost */
    int error;       /* nng's number when lost */
};

struct control_link {
    nng_socket socket;
    bool is_open;
    char *url;
    nng_dialer dialer;
    int64_t dialed_ms;
    _Atomic int pipe; /* the connection that stands, by nng's number; 0 = none */
    int event_fd;
    pthread_mutex_t lock;
    struct slot *slots;
    unsigned slot_count;
    unsigned next; /* where take looks first, so that no slot starves */
    struct ps_buf out;
};

static void
wake(struct control_link *link)
{
    uint64_t one = 1;
    ssize_t wrote = write(link->event_fd, &one, sizeof one);
    (void)wrote; /* full means that it is readable already */
}

static void
finish(struct slot *slot, nng_msg *answer, int error)
{
    pthread_mutex_lock(&slot->link->lock);
    slot->step = STEP_DONE;
    slot->answer = answer;
    slot->error = error;
    pthread_mutex_unlock(&slot->link->lock);
    wake(slot->link);
}

/* On a thread of nng. */
static void
on_aio(void *arg)
{
    struct slot *slot = arg;
    int error = nng_aio_result(slot->aio);
    pthread_mutex_lock(&slot->link->lock);
    enum slot_step step = slot->step;
    if (error == 0 && step == STEP_SEND) {
        slot->step = STEP_RECEIVE;
    }
    pthread_mutex_unlock(&slot->link->lock);
    if (step == STEP_SEND) {
        if (error != 0) {
            /* The context is left alone: after a send that failed its receive is ESTATE. */
            nng_msg_free(nng_aio_get_msg(slot->aio));
            nng_aio_set_msg(slot->aio, NULL);
            finish(slot, NULL, error);
            return;
        }
        nng_aio_set_timeout(slot->aio, (nng_duration)slot->timeout_ms);
        nng_ctx_recv(slot->ctx, slot->aio);
        return;
    }
    if (error != 0) {
        finish(slot, NULL, error);
        return;
    }
    nng_msg *answer = nng_aio_get_msg(slot->aio);
    nng_aio_set_msg(slot->aio, NULL);
    finish(slot, answer, 0);
}

/* On a thread of nng. */
static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct control_link *link = arg;
    int number = nng_pipe_id(pipe);
    if (event == NNG_PIPE_EV_ADD_POST) {
        atomic_store(&link->pipe, number);
    } else {
        (void)atomic_compare_exchange_strong(&link->pipe, &number, 0);
    }
}

static int
dial(struct control_link *link)
{
    link->dialed_ms = ps_clock_mono_ms();
    return nng_dial(link->socket, link->url, &link->dialer, NNG_FLAG_NONBLOCK);
}

/* nng 1.5.2 never dials again when the other side closes before the two have shaken hands, as a
 * coordinator does that ends with connections in its backlog. */
static void
redial_if_alone(struct control_link *link)
{
    if (atomic_load(&link->pipe) != 0) {
        link->dialed_ms = ps_clock_mono_ms();
    } else if (ps_clock_mono_ms() - link->dialed_ms >= REDIAL_MS) {
        (void)nng_dialer_close(link->dialer);
        (void)dial(link);
    }
}

static int
open_socket(struct control_link *link)
{
    int error = nng_req0_open(&link->socket);
    if (error != 0) {
        return error;
    }
    link->is_open = true;
    if ((error = nng_socket_set_size(link->socket, NNG_OPT_RECVMAXSZ, FRAME_MAX_BYTES)) != 0 ||
        (error = nng_socket_set_ms(link->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE)) !=
            0 ||
        (error = nng_socket_set_ms(link->socket, NNG_OPT_RECONNMINT, RECONNECT_LEAST_MS)) != 0 ||
        (error = nng_socket_set_ms(link->socket, NNG_OPT_RECONNMAXT, RECONNECT_MOST_MS)) != 0 ||
        (error = nng_pipe_notify(link->socket, NNG_PIPE_EV_ADD_POST, on_pipe, link)) != 0 ||
        (error = nng_pipe_notify(link->socket, NNG_PIPE_EV_REM_POST, on_pipe, link)) != 0) {
        return error;
    }
    for (unsigned i = 0; i < link->slot_count; i++) {
        struct slot *slot = &link->slots[i];
        slot->link = link;
        if ((error = nng_aio_alloc(&slot->aio, on_aio, slot)) != 0 ||
            (error = nng_ctx_open(&slot->ctx, link->socket)) != 0) {
            return error;
        }
    }
    return dial(link);
}

enum ps_status
control_link_open(const char *url, unsigned slots, struct control_link **out, struct ps_error *err)
{
    struct control_link *link = ps_xcalloc(1, sizeof *link);
    link->slot_count = slots;
    link->slots = ps_xcalloc(slots, sizeof *link->slots);
    pthread_mutex_init(&link->lock, NULL);
    link->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    PS_ASSERT(link->event_fd >= 0);
    link->url = ps_xstrdup(url);
    int error = open_socket(link);
    if (error != 0) {
        control_link_close(link);
        return ps_fail(err, PS_REFUSED, "coordinator %s: %s", url, nng_strerror(error));
    }
    *out = link;
    return PS_OK;
}

void
control_link_close(struct control_link *link)
{
    if (link == NULL) {
        return;
    }
    for (unsigned i = 0; i < link->slot_count; i++) {
        if (link->slots[i].aio != NULL) {
            nng_aio_stop(link->slots[i].aio); /* the last callback has returned */
        }
    }
    if (link->is_open) {
        nng_close(link->socket);
    }
    for (unsigned i = 0; i < link->slot_count; i++) {
        nng_msg_free(link->slots[i].answer);
        nng_aio_free(link->slots[i].aio);
    }
    close(link->event_fd);
    pthread_mutex_destroy(&link->lock);
    ps_buf_fini(&link->out);
    ps_free(link->slots);
    ps_free(link->url);
    ps_free(link);
}

int
control_link_fd(const struct control_link *link)
{
    return link->event_fd;
}

void
control_link_send(struct control_link *link, unsigned number, uint32_t timeout_ms,
                  enum msg_type type, const ProtobufCMessage *message)
{
    struct slot *slot = &link->slots[number];
    pthread_mutex_lock(&link->lock);
    PS_ASSERT(slot->step == STEP_IDLE);
    slot->step = STEP_SEND;
    pthread_mutex_unlock(&link->lock);
    slot->timeout_ms = timeout_ms;
    redial_if_alone(link);
    struct ps_error err;
    nng_msg *msg = NULL;
    ps_buf_clear(&link->out);
    slot->unsendable = frame_append(&link->out, type, message, &err) != PS_OK;
    if (slot->unsendable) {
        finish(slot, NULL, NNG_EMSGSIZE);
        return;
    }
    int error = nng_msg_alloc(&msg, 0);
    if (error == 0) {
        error = nng_msg_append(msg, link->out.ptr, link->out.len);
    }
    if (error != 0) {
        nng_msg_free(msg);
        finish(slot, NULL, error);
        return;
    }
    nng_aio_set_timeout(slot->aio, (nng_duration)timeout_ms);
    nng_aio_set_msg(slot->aio, msg);
    nng_ctx_send(slot->ctx, slot->aio);
}

static struct slot *
take_done(struct control_link *link)
{
    struct slot *found = NULL;
    pthread_mutex_lock(&link->lock);
    for (unsigned i = 0; i < link->slot_count && found == NULL; i++) {
        struct slot *slot = &link->slots[(link->next + i) % link->slot_count];
        if (slot->step == STEP_DONE) {
            slot->step = STEP_IDLE;
            found = slot;
        }
    }
    if (found == NULL) {
        uint64_t count;
        ssize_t got = read(link->event_fd, &count, sizeof count);
        (void)got; /* whatever was counted has been looked at, under the lock */
    }
    pthread_mutex_unlock(&link->lock);
    return found;
}

bool
control_link_take(struct control_link *link, struct control_taken *out)
{
    struct slot *slot = take_done(link);
    redial_if_alone(link);
    if (slot == NULL) {
        return false;
    }
    nng_msg *answer = slot->answer;
    slot->answer = NULL;
    *out = (struct control_taken){.slot = (unsigned)(slot - link->slots)};
    link->next = out->slot + 1;
    if (answer == NULL) {
        out->why = nng_strerror(slot->error);
        out->unsendable = slot->unsendable;
        return true;
    }
    struct ps_error err;
    if (frame_unpack(ps_span(nng_msg_body(answer), nng_msg_len(answer)), &out->type, &out->message,
                     &err) != PS_OK) {
        out->why = "the answer is not a frame";
    }
    nng_msg_free(answer);
    return true;
}
