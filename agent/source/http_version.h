/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_version.h: a response's headers, and the version token made of them.
 * In: header lines as they come.  Out: what they say, and 1 to 64 bytes that name one version.
 * Invariant: two responses with the same strong token carried the same bytes, as far as a server
 *            can be believed; a weak token says only what changed visibly.
 * Pure. */
#ifndef AGENT_SOURCE_HTTP_VERSION_H
#define AGENT_SOURCE_HTTP_VERSION_H

#include "common/error.h"
#include "common/span.h"

#define HTTP_NO_SIZE UINT64_MAX /* the server does not say */

enum { HTTP_VERSION_BYTES = 64, HTTP_ETAG_BYTES = 512, HTTP_LOCATION_BYTES = 4096 };

/* What one response's headers say. */
struct http_head {
    int status;
    char etag[HTTP_ETAG_BYTES]; /* with its quotes, without W/; "" = none, or not one to trust */
    bool etag_weak;
    int64_t modified_s; /* Last-Modified; -1 = none */
    uint64_t length;    /* Content-Length, of this body */
    bool have_range;    /* Content-Range: [from, to) of total */
    uint64_t from;
    uint64_t to; /* from == to: "bytes * / total", of a 416 */
    uint64_t total;
    int64_t retry_after_s; /* from now; -1 = none */
    char location[HTTP_LOCATION_BYTES];
};

void http_head_init(struct http_head *head);
/* One line, with or without its end. A status line begins a new head. now_s: for a Retry-After that
 * is a date. */
void http_head_line(struct http_head *head, struct ps_span line, int64_t now_s);

enum http_pin {
    HTTP_PIN_ETAG,     /* strong, kept as it is */
    HTTP_PIN_LONG,     /* strong, too long: its hash */
    HTTP_PIN_WEAK,     /* W/"…": its hash */
    HTTP_PIN_MODIFIED, /* Last-Modified and length */
    HTTP_PIN_LENGTH,   /* length, or not even that */
    HTTP_PIN_SHA256    /* the content's digest, from a manifest */
};

struct http_version {
    enum http_pin pin;
    uint64_t size; /* of the object; HTTP_NO_SIZE */
    char etag[HTTP_VERSION_BYTES];
    uint8_t hash[16];
    int64_t modified_s;
    uint8_t sha256[32];
};

/* The best that a response to GET or HEAD offers. */
void http_version_of(const struct http_head *head, struct http_version *out);
bool http_version_is_weak(const struct http_version *version);
/* At most HTTP_VERSION_BYTES, not terminated. Returns the length. */
size_t http_version_print(const struct http_version *version, char out[HTTP_VERSION_BYTES]);
bool http_version_parse(struct ps_span token, struct http_version *out);
/* Is a response (200, 206 or a HEAD's) of this version? *out_why says what differs. */
bool http_version_fits(const struct http_version *version, const struct http_head *head,
                       const char **out_why);
/* The whole object's size that the response tells; HTTP_NO_SIZE. */
uint64_t http_head_size(const struct http_head *head);

#endif
