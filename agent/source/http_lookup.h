/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_lookup.h: the versions of listed URLs, asked for many at once.
 * In: a part of a list.  Out: each one's version, in the list's order.
 * Threads: that of the pool. */
#ifndef AGENT_SOURCE_HTTP_LOOKUP_H
#define AGENT_SOURCE_HTTP_LOOKUP_H

#include "agent/source/http_list.h"

struct http_looked {
    bool gone; /* left out: its index page had it, the server no longer does */
    struct http_version version;
    int64_t mtime_ms;
};

struct http_lookup_input {
    struct http_pool *pool;
    unsigned connections; /* requests in flight */
    const struct http_list *list;
    size_t from;
    size_t count;
};
/* Fills out[0, count) for the list's [from, from + count). An object of a manifest that cannot be
 * had is found all the same: it fails when it is read. */
PS_MUSTCHECK enum ps_status http_lookup(const struct http_lookup_input *input,
                                        struct http_looked *out, struct ps_error *err);

#endif
