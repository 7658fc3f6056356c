/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_url.h: URLs as text: taking them apart, and putting names from outside into
 * them.
 * Invariant: a URL made here of what a server sent holds no "${": nothing from outside is ever
 *            resolved as a secret.
 * Pure. */
#ifndef AGENT_SOURCE_HTTP_URL_H
#define AGENT_SOURCE_HTTP_URL_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

enum { HTTP_URL_BYTES = 8192 };

/* Is it "http://…" or "https://…", with a host, short enough, without blanks and controls? */
PS_MUSTCHECK enum ps_status http_url_check(const char *url, struct ps_error *err);
/* Takes user and password (references included) out of a URL that a person wrote. All three are the
 * caller's; user and password NULL where there are none. The fragment is dropped. */
void http_url_split_user(const char *url, char **out_clean, char **out_user, char **out_password);

/* "https", "host" (with the brackets of IPv6, in lower case), and "https://host:443". */
struct http_origin {
    char scheme[8];
    char host[260];
    char text[300];
};
PS_MUSTCHECK enum ps_status http_url_origin(const char *url, struct http_origin *out,
                                            struct ps_error *err);

/* What a reference (a Location, a link, a manifest's line) means on the page at base: absolute,
 * without user, password and fragment. The caller frees it. PS_BADDATA when it is no http URL. */
PS_MUSTCHECK enum ps_status http_url_resolve(const char *base, const char *reference, char **out,
                                             struct ps_error *err);

/* Appends a name as a part of a path. */
void http_url_append_name(struct ps_buf *out, struct ps_span name);
/* Does its path have * or [ or {, which mean many objects? ? begins the query and does not. */
bool http_url_is_pattern(const char *url);
/* "https://host" and, as a pattern for pathglob, the decoded path. Both the caller's. */
void http_url_split_pattern(const char *url, char **out_root, char **out_pattern);

#endif
