/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_pool.h: HTTP requests in flight, over connections that are kept.
 * In: requests.  Out: their bytes, each exactly once and in order, into a sink; or one error.
 * Invariant: all bytes a transfer gives belong to one version of the object, and stand at the
 *            offsets that were asked for, however often the connection broke, whatever the server
 *            answered to a Range; every connection was allowed by the policy, after every redirect.
 * Threads: one at a time; nothing happens but inside these calls. */
#ifndef AGENT_SOURCE_HTTP_POOL_H
#define AGENT_SOURCE_HTTP_POOL_H

#include "agent/source/http_policy.h"
#include "agent/source/http_version.h"
#include "agent/source/source.h"
#include "common/buf.h"

#define HTTP_TO_END UINT64_MAX

/* How requests are made; borrowed for the life of the pool. */
struct http_settings {
    const struct http_policy *policy;
    const _Atomic bool *cancel; /* may be NULL */
    const char *proxy;          /* NULL = none */
    char **headers;             /* "Name: value", resolved; ends with NULL */
    char *user;                 /* resolved; NULL = none */
    char *password;
    struct ps_buf ca; /* PEM; empty = the system's */
    struct ps_buf cert;
    struct ps_buf key;
    char **trusted; /* origins that may have headers, user and password; ends with NULL */
    unsigned connections;
    unsigned retries;
    int64_t connect_ms;
    int64_t stall_ms;
    uint64_t least_rate; /* bytes a second, over stall_ms */
};

struct http_pool;
struct http_transfer;

/* Takes all of it, or nothing yet (false): then the transfer rests until http_transfer_resume. */
typedef bool (*http_sink_fn)(void *ctx, struct ps_span bytes);

enum http_what {
    HTTP_GET,   /* [from, to) */
    HTTP_HEAD,  /* headers only */
    HTTP_PROBE, /* headers only, by a GET of one byte: for servers that refuse HEAD */
    HTTP_PAGE   /* a whole body; tried again from its start, by the caller */
};

struct http_request {
    enum http_what what;
    const char *url; /* as in the spec: references are resolved here, errors show it as it is */
    uint64_t from;
    uint64_t to;                    /* HTTP_TO_END */
    const struct http_version *pin; /* NULL = any; copied */
    http_sink_fn sink;              /* NULL for HEAD and PROBE */
    void *ctx;
};

PS_MUSTCHECK enum ps_status http_pool_new(const struct http_settings *settings,
                                          struct http_pool **out, struct ps_error *err);
void http_pool_free(struct http_pool *pool); /* ends what is left; NULL is fine */

/* Never fails: what is wrong comes out as the transfer's error. */
struct http_transfer *http_pool_start(struct http_pool *pool, const struct http_request *request);
/* Moves everything on; waits at most wait_ms for something to happen. PS_CANCELED. */
PS_MUSTCHECK enum ps_status http_pool_turn(struct http_pool *pool, int64_t wait_ms,
                                           struct ps_error *err);
unsigned http_pool_running(const struct http_pool *pool); /* transfers that have not ended */

bool http_transfer_ended(const struct http_transfer *transfer);
/* After its end. PS_OK: all of [from, to) has been given. */
PS_MUSTCHECK enum ps_status http_transfer_status(const struct http_transfer *transfer,
                                                 struct ps_error *err);
/* The HTTP status of the last answer; 0 = there was none. */
int http_transfer_code(const struct http_transfer *transfer);
const struct http_head *http_transfer_head(const struct http_transfer *transfer);
/* What the version was taken for after the first good answer; NULL before. */
const struct http_version *http_transfer_version(const struct http_transfer *transfer);
/* The server gave all of it where a part was asked for. */
bool http_transfer_lacks_ranges(const struct http_transfer *transfer);
/* Where the last redirect led; NULL without one. */
const char *http_transfer_url(const struct http_transfer *transfer);
void http_transfer_resume(struct http_transfer *transfer);
void http_transfer_free(struct http_transfer *transfer); /* ends it; NULL is fine */

#endif
