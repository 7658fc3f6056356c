/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/rpc/rpc.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "coordinator/rpc/rpc_url.h"

enum {
    LANES_MAX = 65536,
    LANES_STEP = 32, /* opened at once */
    LANES_LOW = 8,   /* fewer free ones than this: open more */
    SEND_TIMEOUT_MS = 5000,
    REST_MS = 100, /* before a lane that failed receives again */
    REFUSED_LOG_MS = 1000,
    CLOSE_MS = 1000, /* for nng to let go of its connections */
    SOCKET_MODE = 0600,
    /* A frame, and before it nng's request id and hops. */
    RECV_MAX_BYTES = FRAME_MAX_BYTES + 64,
};

struct lane {
    struct rpc *rpc;
    nng_ctx ctx;
    nng_aio *recv_aio;
    nng_aio *send_aio;
    bool resting; /* recv_aio measures REST_MS, it does not receive */
};

struct rpc {
    struct engine *engine;
    nng_socket socket;
    uint16_t port;
    uint32_t send_timeout_ms;
    uint32_t lanes_max;
    pthread_mutex_t lock; /* lanes, lane_count, closed */
    struct lane **lanes;
    uint32_t lane_count;
    atomic_bool closed;
    bool stuck;            /* nng_close has not ended: what it uses must stay */
    atomic_int free_lanes; /* receiving now */
    atomic_uint refused;   /* since the last line that said so */
    atomic_int_least64_t refused_mono_ms;
};

static void lanes_grow(struct rpc *rpc);

static void
lane_recv(struct lane *lane)
{
    lane->resting = false;
    atomic_fetch_add(&lane->rpc->free_lanes, 1);
    nng_ctx_recv(lane->ctx, lane->recv_aio);
}

static void
lane_rest(struct lane *lane)
{
    lane->resting = true;
    nng_sleep_aio(REST_MS, lane->recv_aio);
}

/* Engine's thread. */
static void
lane_reply(void *ctx, enum msg_type type, const ProtobufCMessage *message)
{
    struct lane *lane = ctx;
    struct ps_error err = {0};
    struct ps_buf frame = PS_BUF_INIT;
    nng_msg *msg = NULL;
    if (frame_append(&frame, type, message, &err) != PS_OK) {
        log_error("rpc.reply_dropped", "type=%s error=\"%s\"", msg_type_name(type), err.text);
    } else if (nng_msg_alloc(&msg, 0) != 0 || nng_msg_append(msg, frame.ptr, frame.len) != 0) {
        log_error("rpc.reply_dropped", "type=%s error=\"no memory\"", msg_type_name(type));
        nng_msg_free(msg);
        msg = NULL;
    }
    ps_buf_fini(&frame);
    if (msg == NULL) {
        lane_recv(lane);
        return;
    }
    nng_aio_set_timeout(lane->send_aio, (nng_duration)lane->rpc->send_timeout_ms);
    nng_aio_set_msg(lane->send_aio, msg);
    nng_ctx_send(lane->ctx, lane->send_aio);
}

static void
lane_sent(void *ctx)
{
    struct lane *lane = ctx;
    int code = nng_aio_result(lane->send_aio);
    if (code != 0) {
        nng_msg_free(nng_aio_get_msg(lane->send_aio));
        if (code != NNG_ECLOSED && code != NNG_ECANCELED) {
            log_warn("rpc.send_failed", "error=\"%s\"", nng_strerror(code));
        }
    }
    lane_recv(lane);
}

static bool
type_from_agent(enum msg_type type)
{
    return type == MSG_HELLO || type == MSG_SYNC || type == MSG_DISCOVERED || type == MSG_READY ||
           type == MSG_DONE || type == MSG_FAILED || type == MSG_TASK_RESULT;
}

/* Its sender is not answered; at most one line in REFUSED_LOG_MS. The connection stays: nng 1.5's
 * reaper can hang on a pipe that is closed while its messages are being received. */
static void
frame_refused(struct rpc *rpc, size_t bytes, const char *why)
{
    int64_t now_mono_ms = ps_clock_mono_ms();
    int64_t last_mono_ms = atomic_load(&rpc->refused_mono_ms);
    atomic_fetch_add(&rpc->refused, 1);
    if (now_mono_ms - last_mono_ms >= REFUSED_LOG_MS &&
        atomic_compare_exchange_strong(&rpc->refused_mono_ms, &last_mono_ms, now_mono_ms)) {
        log_warn("rpc.frame_refused", "count=%u bytes=%zu error=\"%s\"",
                 atomic_exchange(&rpc->refused, 0), bytes, why);
    }
}

/* Takes the message. False: it was no frame of an agent. */
static bool
lane_submit(struct lane *lane, nng_msg *msg)
{
    struct ps_error err = {0};
    struct engine_request request = {.ctx = lane, .reply = lane_reply};
    enum ps_status status = frame_unpack(ps_span(nng_msg_body(msg), nng_msg_len(msg)),
                                         &request.type, &request.message, &err);
    if (status == PS_OK && !type_from_agent(request.type)) {
        status =
            ps_fail(&err, PS_BADDATA, "%s is no message of an agent", msg_type_name(request.type));
        msg_free(request.message);
    }
    if (status != PS_OK) {
        frame_refused(lane->rpc, nng_msg_len(msg), err.text);
        nng_msg_free(msg);
        return false;
    }
    nng_msg_free(msg);
    /* The lane may already be receiving again when this returns. */
    engine_submit_request(lane->rpc->engine, &request);
    return true;
}

/* ESTATE: the context is in no state to receive; only a new one is. */
static bool
lane_reopen(struct lane *lane)
{
    nng_ctx fresh;
    if (nng_ctx_open(&fresh, lane->rpc->socket) != 0) {
        return false;
    }
    nng_ctx_close(lane->ctx);
    lane->ctx = fresh;
    return true;
}

static void
lane_received(void *ctx)
{
    struct lane *lane = ctx;
    struct rpc *rpc = lane->rpc;
    int code = nng_aio_result(lane->recv_aio);
    bool rested = lane->resting;
    if (!rested) {
        atomic_fetch_sub(&rpc->free_lanes, 1);
    }
    if (code == NNG_ECLOSED || code == NNG_ECANCELED) {
        return;
    }
    if (rested) {
        lane_recv(lane);
        return;
    }
    if (code != 0) {
        log_warn("rpc.recv_failed", "error=\"%s\"", nng_strerror(code));
        if (code == NNG_ESTATE && !lane_reopen(lane)) {
            return;
        }
        lane_rest(lane);
        return;
    }
    nng_msg *msg = nng_aio_get_msg(lane->recv_aio);
    nng_aio_set_msg(lane->recv_aio, NULL);
    if (atomic_load(&rpc->closed)) {
        nng_msg_free(msg);
        return;
    }
    if (atomic_load(&rpc->free_lanes) < LANES_LOW) {
        lanes_grow(rpc);
    }
    if (!lane_submit(lane, msg)) {
        lane_recv(lane);
    }
}

static void
lane_free(struct lane *lane)
{
    if (lane == NULL) {
        return;
    }
    /* In this order: a send that ends starts a receive. */
    nng_aio_stop(lane->send_aio);
    nng_aio_stop(lane->recv_aio);
    nng_aio_free(lane->recv_aio);
    nng_aio_free(lane->send_aio);
    ps_free(lane);
}

static struct lane *
lane_new(struct rpc *rpc)
{
    struct lane *lane = ps_xcalloc(1, sizeof *lane);
    lane->rpc = rpc;
    int code = nng_aio_alloc(&lane->recv_aio, lane_received, lane);
    if (code == 0) {
        code = nng_aio_alloc(&lane->send_aio, lane_sent, lane);
    }
    if (code == 0) {
        code = nng_ctx_open(&lane->ctx, rpc->socket);
    }
    if (code == 0) {
        return lane;
    }
    if (code != NNG_ECLOSED) {
        log_warn("rpc.lane_refused", "error=\"%s\"", nng_strerror(code));
    }
    nng_aio_free(lane->recv_aio);
    nng_aio_free(lane->send_aio);
    ps_free(lane);
    return NULL;
}

static void
lanes_grow(struct rpc *rpc)
{
    struct lane *fresh[LANES_STEP];
    uint32_t count = 0;
    pthread_mutex_lock(&rpc->lock);
    while (!rpc->closed && count < LANES_STEP && rpc->lane_count < rpc->lanes_max) {
        struct lane *lane = lane_new(rpc);
        if (lane == NULL) {
            break;
        }
        rpc->lanes[rpc->lane_count++] = lane;
        fresh[count++] = lane;
    }
    pthread_mutex_unlock(&rpc->lock);
    for (uint32_t i = 0; i < count; i++) {
        lane_recv(fresh[i]);
    }
}

static enum ps_status
listen_one(struct rpc *rpc, const char *url, struct ps_error *err)
{
    nng_listener listener;
    enum ps_status status = rpc_url_check(url, err);
    if (status != PS_OK) {
        return status;
    }
    bool ipc = strncmp(url, "ipc:", 4) == 0;
    int code = nng_listener_create(&listener, rpc->socket, url);
    if (code == 0 && ipc) {
        code = nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS, SOCKET_MODE);
    }
    if (code == 0) {
        code = nng_listener_start(listener, 0);
    }
    if (code != 0) {
        return ps_fail(err, code == NNG_EADDRINUSE ? PS_AGAIN : PS_REFUSED, "rpc \"%s\": %s", url,
                       nng_strerror(code));
    }
    int port = 0;
    if (!ipc && nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0 &&
        rpc->port == 0) {
        rpc->port = (uint16_t)port;
    }
    return PS_OK;
}

static enum ps_status
socket_open(struct rpc *rpc, struct ps_error *err)
{
    int code = nng_rep0_open(&rpc->socket);
    if (code == 0) {
        code = nng_socket_set_size(rpc->socket, NNG_OPT_RECVMAXSZ, RECV_MAX_BYTES);
    }
    if (code != 0) {
        return ps_fail(err, PS_FULL, "rpc: %s", nng_strerror(code));
    }
    (void)nng_socket_set_bool(rpc->socket, NNG_OPT_TCP_KEEPALIVE, true);
    return PS_OK;
}

enum ps_status
rpc_open(const struct rpc_config *config, struct engine *engine, struct rpc **out,
         struct ps_error *err)
{
    struct rpc *rpc = ps_xcalloc(1, sizeof *rpc);
    rpc->engine = engine;
    atomic_store(&rpc->refused_mono_ms, ps_clock_mono_ms() - REFUSED_LOG_MS);
    rpc->send_timeout_ms = config->send_timeout_ms == 0 ? SEND_TIMEOUT_MS : config->send_timeout_ms;
    rpc->lanes_max = config->lanes_max == 0 ? LANES_MAX : config->lanes_max;
    rpc->lanes = ps_xcalloc(rpc->lanes_max, sizeof *rpc->lanes);
    pthread_mutex_init(&rpc->lock, NULL);
    enum ps_status status = socket_open(rpc, err);
    for (size_t i = 0; status == PS_OK && i < config->url_count; i++) {
        status = listen_one(rpc, config->urls[i], err);
    }
    if (status != PS_OK) {
        rpc_free(rpc);
        return status;
    }
    lanes_grow(rpc);
    *out = rpc;
    return PS_OK;
}

uint16_t
rpc_port(const struct rpc *rpc)
{
    return rpc->port;
}

static void *
close_socket(void *ctx)
{
    struct rpc *rpc = ctx;
    nng_close(rpc->socket);
    return NULL;
}

/* nng 1.5's reaper sometimes waits for ever for a connection that was closed while a message came
 * in, and nng_close with it. The program must end all the same. */
void
rpc_close(struct rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    bool was_closed = atomic_exchange(&rpc->closed, true);
    pthread_mutex_unlock(&rpc->lock);
    pthread_t thread;
    if (was_closed) {
        return;
    }
    if (pthread_create(&thread, NULL, close_socket, rpc) != 0) {
        nng_close(rpc->socket);
        return;
    }
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += CLOSE_MS / 1000;
    rpc->stuck = pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &end) != 0;
    if (rpc->stuck) {
        log_debug("rpc.close_abandoned", "after_ms=%d", CLOSE_MS);
        pthread_detach(thread);
    }
}

void
rpc_free(struct rpc *rpc)
{
    if (rpc == NULL) {
        return;
    }
    rpc_close(rpc);
    if (rpc->stuck) {
        return; /* the program is about to end; nng may still look at these */
    }
    for (uint32_t i = 0; i < rpc->lane_count; i++) {
        lane_free(rpc->lanes[i]);
    }
    pthread_mutex_destroy(&rpc->lock);
    ps_free(rpc->lanes);
    ps_free(rpc);
}
