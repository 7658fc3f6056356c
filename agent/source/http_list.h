/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_list.h: which URLs a pipeline means, before any of them is asked for.
 * In: URLs, patterns and a manifest.  Out: keys in order, without repeats.
 * Invariant: memory is bounded: more than MOST bytes of names is an error that says what to do.
 * Threads: one owner at a time, that of its pool; immutable once made. */
#ifndef AGENT_SOURCE_HTTP_LIST_H
#define AGENT_SOURCE_HTTP_LIST_H

#include "agent/source/http_pool.h"

enum { HTTP_LIST_MOST_BYTES = 40 * 1024 * 1024 };

struct http_list_input {
    struct http_pool *pool;
    const struct source_env *env; /* roots and base_dir, for a manifest that is a file */
    const char *const *urls;      /* without user and password */
    size_t url_count;
    const char *manifest; /* NULL = none: then urls are objects; else the first is its base */
};

enum http_named {
    HTTP_NAMED_URL,      /* by a person: it must be there */
    HTTP_NAMED_MANIFEST, /* it fails alone when it is not there */
    HTTP_NAMED_INDEX     /* it may have gone since */
};

struct http_listed {
    struct ps_span key;
    enum http_named named;
    uint64_t size;         /* HTTP_NO_SIZE */
    const uint8_t *sha256; /* 32 bytes, or NULL */
};

struct http_list; /* opaque */

PS_MUSTCHECK enum ps_status http_list_new(const struct http_list_input *input,
                                          struct http_list **out, struct ps_error *err);
void http_list_free(struct http_list *list); /* NULL is fine */
size_t http_list_count(const struct http_list *list);
struct http_listed http_list_at(const struct http_list *list, size_t i);
/* The first that sorts after key. */
size_t http_list_after(const struct http_list *list, struct ps_span key);

#endif
