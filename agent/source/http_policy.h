/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_policy.h: where this agent's URL sources may go.
 * In: the agent's allow-lists.  Out: yes or no for a URL's scheme and host, and for an address.
 * Invariant: an address is judged when a socket to it is about to be opened, so what a name meant
 *            earlier never counts. Without a list only public addresses are allowed; the addresses
 *            where clouds keep credentials only where the list names them.
 * Threads: immutable once made. */
#ifndef AGENT_SOURCE_HTTP_POLICY_H
#define AGENT_SOURCE_HTTP_POLICY_H

#include <sys/socket.h>

#include "agent/source/source.h"

struct http_policy; /* opaque */

/* Borrows the lists. PS_REFUSED with code "bad_allow_list". */
PS_MUSTCHECK enum ps_status http_policy_new(const struct source_allow *allow,
                                            struct http_policy **out, struct ps_error *err);
void http_policy_free(struct http_policy *policy); /* NULL is fine */

/* PS_REFUSED with code "not_allowed". The host as in the URL, brackets and all. */
PS_MUSTCHECK enum ps_status http_policy_url(const struct http_policy *policy, const char *scheme,
                                            const char *host, struct ps_error *err);
/* May a connection to this address be made? */
bool http_policy_address(const struct http_policy *policy, const struct sockaddr *address);
/* "127.0.0.1 (loopback)": the address and its kind, for an error. */
const char *http_policy_describe(const struct sockaddr *address, char *out, size_t out_bytes);

#endif
