/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_easy.h: libcurl's handles, set up for one pool.
 * Invariant: no proxy, credential file, cookie or redirect of libcurl's own choice; certificates
 *            are always verified; no socket is opened to an address that the policy refuses.
 * Threads: one at a time. */
#ifndef AGENT_SOURCE_HTTP_EASY_H
#define AGENT_SOURCE_HTTP_EASY_H

#include <curl/curl.h>

#include "agent/source/http_pool.h"

/* What a handle tells the transfer that uses it. */
struct http_easy_ctx {
    const struct http_policy *policy;
    bool proxied;
    char refused[96]; /* an address that the policy refused; "" */
    void *ctx;
    size_t (*on_header)(void *ctx, struct ps_span line);
    /* Returns how much was taken, CURL_WRITEFUNC_PAUSE, or less than len to end it. */
    size_t (*on_body)(void *ctx, struct ps_span bytes);
};

/* One request; texts borrowed until the handle is done with it. */
struct http_easy_request {
    const char *url; /* resolved */
    bool head;
    const char *range;          /* "0-99"; NULL */
    const char *if_match;       /* an ETag; NULL */
    int64_t unmodified_since_s; /* -1 */
    bool trusted;               /* may have headers, user and password */
};

PS_MUSTCHECK enum ps_status http_easy_global(struct ps_error *err);
/* A new handle with everything that does not change; NULL when memory is refused. */
CURL *http_easy_new(const struct http_settings *settings);
/* False when memory is refused. *out_headers lives as long as the request. */
bool http_easy_prepare(CURL *easy, const struct http_settings *settings,
                       const struct http_easy_request *request, struct http_easy_ctx *ctx,
                       struct curl_slist **out_headers);

#endif
