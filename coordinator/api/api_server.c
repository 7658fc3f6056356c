/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/api_server.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/alloc.h"

enum {
    THREADS = 2,
    CONNECTIONS_MOST = 1000,
    CONNECTION_MEMORY_BYTES = 32 * 1024,
    IDLE_SECONDS = 60,
    CLOSE_WAIT_MS = 1000, /* for the last answers to go out */
};

/* Parts of the path are decoded after it has been split: %2F is no separator. */
static size_t
keep_escapes(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx;
    (void)connection;
    return strlen(text);
}

static enum MHD_Result
take_body(struct api_call *call, const char *data, size_t *len)
{
    struct ps_error err = {0};
    size_t bytes = *len;
    *len = 0;
    if (call->state == CALL_ANSWERED) {
        return MHD_YES; /* read to its end and dropped, so that the answer can be seen */
    }
    if (call->body.len + bytes > API_BODY_BYTES) {
        api_call_problem(call, PROBLEM_body_too_large, "at most %d bytes", API_BODY_BYTES);
        ps_buf_fini(&call->body);
    } else if (ps_buf_append(&call->body, data, bytes, &err) != PS_OK) {
        api_call_problem_error(call, &err);
    }
    return MHD_YES;
}

static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
           const char *version, const char *data, size_t *data_len, void **slot)
{
    struct api *api = ctx;
    struct api_call *call = *slot;
    (void)version;
    if (call == NULL) {
        call = api_call_new(api, connection);
        if (call == NULL) {
            return MHD_NO;
        }
        *slot = call;
        /* A wrong header is answered before the body is read. */
        return api_call_read_header(call, method, path) ? MHD_YES : api_call_send(call);
    }
    if (*data_len > 0) {
        return take_body(call, data, data_len);
    }
    if (call->state == CALL_READING) {
        call->match.route->handler(call);
        if (call->submitted) {
            /* Suspended, even if its result is here already: sent by the call after the resume. */
            return MHD_YES;
        }
    }
    return api_call_send(call);
}

static void
on_completed(void *ctx, struct MHD_Connection *connection, void **slot,
             enum MHD_RequestTerminationCode why)
{
    struct api_call *call = *slot;
    (void)ctx;
    (void)connection;
    (void)why;
    if (call != NULL) {
        *slot = NULL;
        api_call_disconnect(call);
    }
}

static enum ps_status
start_daemon(struct api *api, struct ps_error *err)
{
    unsigned flags = MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    api->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, api, MHD_OPTION_LISTEN_SOCKET, api->listen.fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, api, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
        NULL, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MOST, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_END);
    if (api->daemon == NULL) {
        return ps_fail_errno(err, errno == 0 ? EINVAL : errno, "http: start the server");
    }
    return PS_OK;
}

enum ps_status
api_open(const struct api_config *config, struct engine *engine, struct catalog_reader *reader,
         struct api **out, struct ps_error *err)
{
    struct api *api = ps_xcalloc(1, sizeof *api);
    pthread_condattr_t monotonic;
    api->engine = engine;
    api->reader = reader;
    api->listen.fd = -1;
    api->why_not_ready = "starting";
    pthread_mutex_init(&api->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&api->call_left, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum ps_status status = api_listen_open(config->http, &api->listen, err);
    if (status == PS_OK) {
        status = start_daemon(api, err);
    }
    if (status != PS_OK) {
        api_free(api);
        return status;
    }
    *out = api;
    return PS_OK;
}

const char *
api_address(const struct api *api)
{
    return api->listen.address;
}

void
api_set_ready(struct api *api, const char *why_not)
{
    atomic_store(&api->why_not_ready, why_not);
}

/* Until all answers have gone out, or CLOSE_WAIT_MS is over. */
static void
wait_for_calls(struct api *api)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += CLOSE_WAIT_MS / 1000;
    pthread_mutex_lock(&api->lock);
    int code = 0;
    while (api->connected > 0 && code == 0) {
        code = pthread_cond_timedwait(&api->call_left, &api->lock, &until);
    }
    pthread_mutex_unlock(&api->lock);
}

void
api_close(struct api *api)
{
    pthread_mutex_lock(&api->lock);
    api->closing = true;
    pthread_mutex_unlock(&api->lock);
    api_set_ready(api, "the coordinator is ending");
    if (api->daemon != NULL) {
        (void)MHD_quiesce_daemon(api->daemon);
        api_call_cancel_all(api);
        wait_for_calls(api);
        MHD_stop_daemon(api->daemon);
        api->daemon = NULL;
    }
    api_listen_close(&api->listen);
}

void
api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    api_close(api);
    pthread_mutex_destroy(&api->lock);
    pthread_cond_destroy(&api->call_left);
    ps_free(api);
}
