/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_index.h: the names on a folder's index page, as nginx (autoindex) and Apache
 * (mod_autoindex) write it, in every style of theirs.
 * In: the page's bytes, in any pieces.  Out: each name below the folder, once a link.
 * Invariant: only names one step below the page come out: no way up, no other host, no sort links;
 *            how the page is cut into pieces changes nothing; memory is bounded whatever comes.
 * Threads: one owner at a time. */
#ifndef AGENT_SOURCE_HTTP_INDEX_H
#define AGENT_SOURCE_HTTP_INDEX_H

#include "common/error.h"
#include "common/span.h"

/* A name with its bytes decoded. is_folder: its link ends with a slash, which name has not. */
typedef enum ps_status (*http_index_fn)(void *ctx, struct ps_span name, bool is_folder,
                                        struct ps_error *err);

struct http_index; /* opaque */

/* page: the page's own URL, ending with "/". */
struct http_index *http_index_new(const char *page, http_index_fn found, void *ctx);
void http_index_free(struct http_index *index); /* NULL is fine */
/* What found returns other than PS_OK stops it and comes back. */
PS_MUSTCHECK enum ps_status http_index_feed(struct http_index *index, struct ps_span bytes,
                                            struct ps_error *err);
/* Did it look like an index page? */
bool http_index_is_one(const struct http_index *index);

#endif
