/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_manifest.h: a file that lists URLs, with sizes and checksums where it has them.
 * Three forms, told apart by the content: JSON (an array, or an object with an array under entries,
 * files, objects, items or urls; each a text or an object with url, size, sha256), CSV (the first
 * line is a header with url), else lines (URL, then maybe a size and a SHA-256; "sha256  name" as
 * sha256sum writes it; "#" begins a comment).
 * Invariant: an entry that cannot be understood is an error that names its line, never left out.
 * Pure. */
#ifndef AGENT_SOURCE_HTTP_MANIFEST_H
#define AGENT_SOURCE_HTTP_MANIFEST_H

#include "common/error.h"
#include "common/span.h"

enum { HTTP_MANIFEST_BYTES = 16 * 1024 * 1024, HTTP_MANIFEST_JSON_BYTES = 4 * 1024 * 1024 };

struct http_manifest_entry {
    const char *url;       /* as written: may be relative; borrowed for the call */
    uint64_t size;         /* HTTP_NO_SIZE = not said */
    const uint8_t *sha256; /* 32 bytes, or NULL */
};

typedef enum ps_status (*http_manifest_fn)(void *ctx, const struct http_manifest_entry *entry,
                                           struct ps_error *err);

/* PS_BADDATA with code "bad_manifest"; what found returns comes back. */
PS_MUSTCHECK enum ps_status http_manifest_read(struct ps_span text, http_manifest_fn found,
                                               void *ctx, struct ps_error *err);

#endif
