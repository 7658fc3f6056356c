/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_setup.h: a pipeline's source section and the agent's limits, as the HTTP source
 * uses them.
 * Invariant: secrets are resolved here, once, and live in struct http_settings only; user and
 *            password are in none of urls.
 * Threads: immutable once made. */
#ifndef AGENT_SOURCE_HTTP_SETUP_H
#define AGENT_SOURCE_HTTP_SETUP_H

#include "agent/source/http_pool.h"

struct http_setup {
    struct http_settings settings;
    struct http_policy *policy;
    char **urls; /* source.url, then source.urls; without user and password */
    size_t url_count;
    const char *manifest; /* NULL = none */
    uint64_t max_unsized_bytes;
};

PS_MUSTCHECK enum ps_status http_setup_init(struct http_setup *setup, const struct spec *spec,
                                            const struct source_env *env, struct ps_error *err);
void http_setup_fini(struct http_setup *setup);

#endif
