/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/api_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"
#include "common/option.h"
#include "common/percent.h"
#include "coordinator/api/api_server.h"

/* ---------------------------------------------------------------- life */

struct api_call *
api_call_new(struct api *api, struct MHD_Connection *connection)
{
    struct api_call *call = ps_calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->api = api;
    call->connection = connection;
    call->holders = 1;
    pthread_mutex_lock(&api->lock);
    call->next = api->calls;
    if (call->next != NULL) {
        call->next->prev = call;
    }
    api->calls = call;
    api->connected++;
    pthread_mutex_unlock(&api->lock);
    return call;
}

static void
unlink_call(struct api_call *call)
{
    struct api *api = call->api;
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }
    if (call->prev != NULL) {
        call->prev->next = call->next;
    } else {
        api->calls = call->next;
    }
}

void
api_call_disconnect(struct api_call *call)
{
    struct api *api = call->api;
    pthread_mutex_lock(&api->lock);
    api->connected--;
    pthread_cond_signal(&api->call_left);
    pthread_mutex_unlock(&api->lock);
    api_call_release(call);
}

void
api_call_release(struct api_call *call)
{
    pthread_mutex_lock(&call->api->lock);
    bool last = --call->holders == 0;
    if (last) {
        unlink_call(call);
    }
    pthread_mutex_unlock(&call->api->lock);
    if (!last) {
        return;
    }
    for (size_t i = 0; i < call->parameter_count; i++) {
        ps_free(call->parameters[i].value);
    }
    for (size_t i = 0; i < call->header_count; i++) {
        ps_free(call->headers[i].value);
    }
    if (call->response != NULL) {
        MHD_destroy_response(call->response);
    }
    ps_buf_fini(&call->body);
    ps_free(call->if_none_match);
    ps_free(call->name);
    ps_free(call);
}

/* ---------------------------------------------------------------- header */

/* A decoded text, or NULL: broken escapes or a NUL inside. */
static char *
decode_text(struct ps_span text)
{
    struct ps_buf bytes = PS_BUF_INIT;
    char *out = NULL;
    if (ps_percent_decode(text, &bytes, NULL) == PS_OK &&
        (bytes.len == 0 || memchr(bytes.ptr, '\0', bytes.len) == NULL)) {
        out = ps_xstrndup(bytes.len == 0 ? "" : (const char *)bytes.ptr, bytes.len);
    }
    ps_buf_fini(&bytes);
    return out;
}

static enum MHD_Result
take_parameter(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct api_call *call = ctx;
    (void)kind;
    if (!api_route_has_parameter(call->match.route, name)) {
        char quoted[80];
        api_call_problem(call, PROBLEM_bad_parameter, "unknown parameter \"%s\"; known here: %s",
                         log_quote(ps_span_str(name), quoted, sizeof quoted),
                         call->match.route->parameters[0] == '\0' ? "none"
                                                                  : call->match.route->parameters);
        return MHD_NO;
    }
    char *text = decode_text(ps_span_str(value));
    if (text == NULL || api_call_parameter(call, name) != NULL ||
        call->parameter_count == API_PARAMETERS_MOST) {
        api_call_problem(call, PROBLEM_bad_parameter,
                         text == NULL ? "%s: broken %%-escape" : "%s: given twice", name);
        ps_free(text);
        return MHD_NO;
    }
    /* The name's text lives as long as the connection's header, which outlives the call. */
    call->parameters[call->parameter_count++] = (struct api_pair){.name = name, .value = text};
    return MHD_YES;
}

/* The host part of an Origin ("http://localhost:8080"); NULL for "null" and other schemes. */
static const char *
origin_host(const char *origin)
{
    const char *at = strstr(origin, "://");
    return at == NULL ? NULL : at + 3;
}

/* Loopback TCP is reachable for every web page in a browser of this machine: by a name that its
 * owner points at 127.0.0.1 (Host tells), or by a plain cross-origin request (Origin tells). */
static bool
check_hosts(struct api_call *call)
{
    if (call->api->listen.is_unix) {
        return true;
    }
    const char *host = api_call_header(call, MHD_HTTP_HEADER_HOST);
    if (host == NULL || !api_listen_host_allowed(host)) {
        api_call_problem(call, PROBLEM_host_refused,
                         "the Host header must be localhost, 127.0.0.1 or [::1]");
        return false;
    }
    const char *origin = api_call_header(call, MHD_HTTP_HEADER_ORIGIN);
    const char *from = origin == NULL ? NULL : origin_host(origin);
    if (origin != NULL && (from == NULL || !api_listen_host_allowed(from))) {
        api_call_problem(call, PROBLEM_origin_refused, "pages of other hosts may not use this API");
        return false;
    }
    return true;
}

static bool
check_body(struct api_call *call)
{
    const char *length = api_call_header(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != NULL && (strlen(length) > 7 || strtoul(length, NULL, 10) > API_BODY_BYTES)) {
        api_call_problem(call, PROBLEM_body_too_large, "at most %d bytes", API_BODY_BYTES);
        return false;
    }
    const char *type = api_call_header(call, MHD_HTTP_HEADER_CONTENT_TYPE);
    static const char json[] = "application/json";
    if (call->match.route->method == API_PUT && type != NULL &&
        (strncasecmp(type, json, sizeof json - 1) != 0 ||
         (type[sizeof json - 1] != '\0' && type[sizeof json - 1] != ';' &&
          type[sizeof json - 1] != ' '))) {
        api_call_problem(call, PROBLEM_unsupported_media_type, "send %s", json);
        return false;
    }
    return true;
}

bool
api_call_read_header(struct api_call *call, const char *method, const char *path)
{
    if (!check_hosts(call)) {
        return false;
    }
    call->match = api_route_match(method, path);
    if (call->match.allow[0] == '\0') {
        api_call_problem(call, PROBLEM_no_route, NULL);
        return false;
    }
    if (call->match.route == NULL) {
        api_call_set_header(call, MHD_HTTP_HEADER_ALLOW, call->match.allow);
        api_call_problem(call, PROBLEM_method_not_allowed, "allowed: %s", call->match.allow);
        return false;
    }
    call->name = decode_text(call->match.name);
    if (call->name == NULL) {
        api_call_problem(call, PROBLEM_bad_path, "broken %%-escape");
        return false;
    }
    if (!check_body(call)) {
        return false;
    }
    if (call->match.route->method == API_GET) {
        call->if_none_match = ps_xstrdup(api_call_header(call, MHD_HTTP_HEADER_IF_NONE_MATCH));
    }
    MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, take_parameter, call);
    return call->state != CALL_ANSWERED;
}

/* ---------------------------------------------------------------- what was asked */

struct catalog_reader *
api_call_reader(struct api_call *call)
{
    return call->api->reader;
}

const char *
api_call_name(const struct api_call *call)
{
    return call->name;
}

struct ps_span
api_call_body(const struct api_call *call)
{
    return ps_buf_span(&call->body);
}

const char *
api_call_header(struct api_call *call, const char *name)
{
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

const char *
api_call_parameter(struct api_call *call, const char *name)
{
    for (size_t i = 0; i < call->parameter_count; i++) {
        if (strcmp(call->parameters[i].name, name) == 0) {
            return call->parameters[i].value;
        }
    }
    return NULL;
}

const char *
api_call_why_not_ready(const struct api_call *call)
{
    return atomic_load(&call->api->why_not_ready);
}

bool
api_call_number(struct api_call *call, const char *name, uint64_t absent, uint64_t most,
                uint64_t *out)
{
    const char *text = api_call_parameter(call, name);
    uint64_t value = absent;
    bool good = true;
    if (text != NULL) {
        size_t digits = strspn(text, "0123456789");
        good = digits > 0 && text[digits] == '\0' && digits <= 20;
        errno = 0;
        value = good ? strtoull(text, NULL, 10) : 0;
        good = good && errno == 0 && value <= most;
    }
    if (!good) {
        api_call_problem(call, PROBLEM_bad_parameter, "%s: expected a number from 0 to %llu", name,
                         (unsigned long long)most);
        return false;
    }
    *out = value;
    return true;
}

bool
api_call_limit(struct api_call *call, uint32_t *out)
{
    uint64_t limit = 0;
    if (!api_call_number(call, "limit", API_LIMIT, UINT32_MAX, &limit)) {
        return false;
    }
    *out = limit == 0 ? 1 : limit > API_LIMIT_MOST ? API_LIMIT_MOST : (uint32_t)limit;
    return true;
}

bool
api_call_choice(struct api_call *call, const char *name, const char *choices, const char **out)
{
    const char *text = api_call_parameter(call, name);
    if (text != NULL && !option_is_choice(choices, text)) {
        api_call_problem(call, PROBLEM_bad_parameter, "%s: expected one of %s", name, choices);
        return false;
    }
    *out = text;
    return true;
}

bool
api_call_cursor(struct api_call *call, enum api_cursor_list list, struct ps_buf *out_key)
{
    struct ps_error err = {0};
    const char *text = api_call_parameter(call, "cursor");
    if (text != NULL && api_cursor_read(list, text, out_key, &err) != PS_OK) {
        api_call_problem(call, PROBLEM_bad_cursor, "%s", err.text);
        return false;
    }
    return true;
}

bool
api_call_cursor_u64(struct api_call *call, enum api_cursor_list list, uint64_t *out)
{
    struct ps_error err = {0};
    const char *text = api_call_parameter(call, "cursor");
    *out = 0;
    if (text != NULL && api_cursor_read_u64(list, text, out, &err) != PS_OK) {
        api_call_problem(call, PROBLEM_bad_cursor, "%s", err.text);
        return false;
    }
    return true;
}

bool
api_call_find_pipeline(struct api_call *call, uint64_t *out)
{
    struct ps_error err = {0};
    uint64_t id = 0;
    enum ps_status status = catalog_reader_find_pipeline(call->api->reader, call->name, &id, &err);
    if (status != PS_OK) {
        api_call_problem_error(call, &err);
    } else if (id == 0) {
        api_call_problem(call, PROBLEM_not_found, "there is no pipeline \"%s\"", call->name);
    }
    *out = id;
    return status == PS_OK && id != 0;
}

const char *
api_call_if_none_match(const struct api_call *call)
{
    return call->if_none_match;
}

/* ---------------------------------------------------------------- commands */

/* Engine's thread. */
static void
command_done(void *ctx, const struct command_result *result)
{
    struct api_call *call = ctx;
    struct api *api = call->api;
    pthread_mutex_lock(&api->lock);
    bool live = call->state == CALL_WAITING;
    if (live) {
        call->state = CALL_BUILDING;
    }
    pthread_mutex_unlock(&api->lock);
    if (live) {
        if (result->status == PS_OK) {
            call->done(call, result);
        } else {
            api_call_problem_result(call, result);
        }
        PS_ASSERT(call->response != NULL);
        MHD_resume_connection(call->connection);
    }
    api_call_release(call);
}

void
api_call_submit(struct api_call *call, struct engine_command *command, api_done_fn done)
{
    struct api *api = call->api;
    command->name = ps_xstrdup(call->name);
    command->ctx = call;
    command->reply = command_done;
    call->done = done;
    pthread_mutex_lock(&api->lock);
    bool closing = api->closing;
    if (!closing) {
        call->holders++;
        call->submitted = true;
        call->state = CALL_WAITING;
        MHD_suspend_connection(call->connection);
    }
    pthread_mutex_unlock(&api->lock);
    if (closing) {
        engine_command_fini(command);
        api_call_problem(call, PROBLEM_shutting_down, NULL);
        return;
    }
    engine_submit_command(api->engine, command);
}

void
api_call_cancel_all(struct api *api)
{
    pthread_mutex_lock(&api->lock);
    for (struct api_call *call = api->calls; call != NULL; call = call->next) {
        if (call->state == CALL_WAITING) {
            api_call_problem(call, PROBLEM_shutting_down, NULL);
            MHD_resume_connection(call->connection);
        }
    }
    pthread_mutex_unlock(&api->lock);
}
