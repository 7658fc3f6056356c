/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_http.h: requests to a coordinator, over TCP or a unix socket.
 * In: method, path, JSON.  Out: status and JSON, or an error that says what to do.
 * Several calls can be under way at once; waiting also ends on signals (cli_signal.h).
 * Threads: main only. */
#ifndef CLI_CLI_HTTP_H
#define CLI_CLI_HTTP_H

#include <jansson.h>

#include "common/error.h"

struct cli_http; /* opaque: one coordinator */
struct cli_call; /* opaque: one request under way */

struct cli_reply {
    long status;  /* HTTP */
    json_t *body; /* owned; NULL when there was none or it was no JSON */
};
void cli_reply_fini(struct cli_reply *reply);

/* address: http://HOST:PORT or unix:PATH. */
PS_MUSTCHECK enum ps_status cli_http_new(const char *address, struct cli_http **out,
                                         struct ps_error *err);
void cli_http_free(struct cli_http *http); /* NULL is fine */

struct cli_request {
    const char *method; /* "GET" … */
    const char *path;   /* "/v1/pipelines", encoded */
    const json_t *body; /* borrowed; NULL = none */
    const char *lines;  /* borrowed, in place of body: JSON lines */
    const char *key;    /* Idempotency-Key; NULL = none */
    long timeout_ms;    /* 0: 30 s */
};

/* Begins a request; the caller ends it with cli_call_free. */
struct cli_call *cli_http_begin(struct cli_http *http, const struct cli_request *request);
bool cli_call_done(const struct cli_call *call);
/* Only after it is done. PS_AGAIN, code "unreachable": no answer; PS_REFUSED, code from the problem
 * document (or "http"): status >= 400, and the reply is set as well. */
PS_MUSTCHECK enum ps_status cli_call_take(struct cli_call *call, struct cli_reply *out,
                                          struct ps_error *err);
void cli_call_free(struct cli_call *call); /* NULL is fine; gives up a request under way */

/* Runs what is under way until something is done, a signal is readable or the time is over. */
void cli_http_wait(struct cli_http *http, int timeout_ms);

/* One request from begin to end. PS_CANCELED: a person asked for an end meanwhile. */
PS_MUSTCHECK enum ps_status cli_http_call(struct cli_http *http, const struct cli_request *request,
                                          struct cli_reply *out, struct ps_error *err);

/* "/v1/pipelines/" + name encoded + suffix; the caller's. */
char *cli_http_pipeline_path(const char *name, const char *suffix);

#endif
