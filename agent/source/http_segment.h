/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_segment.h: a part of an object on its way into memory.
 * Either a range that fits its buffer, or a stream that rests while its buffer is full.
 * Threads: one at a time, that of its pool. */
#ifndef AGENT_SOURCE_HTTP_SEGMENT_H
#define AGENT_SOURCE_HTTP_SEGMENT_H

#include "agent/source/http_pool.h"

enum { HTTP_STREAM_BYTES = 512 * 1024 };

struct http_segment {
    struct http_transfer *transfer;
    uint64_t from;
    uint64_t to;    /* HTTP_TO_END */
    uint8_t *bytes; /* [used, len) is not yet taken */
    size_t cap, len, used;
    bool stream;
};

/* [from, to) of at most 2^31 bytes; a stream keeps HTTP_STREAM_BYTES at most. PS_FULL. */
PS_MUSTCHECK enum ps_status http_segment_new(struct http_pool *pool,
                                             const struct http_request *what, bool stream,
                                             struct http_segment **out, struct ps_error *err);
void http_segment_free(struct http_segment *segment); /* NULL is fine */
static inline size_t
http_segment_left(const struct http_segment *segment)
{
    return segment->len - segment->used;
}
size_t http_segment_take(struct http_segment *segment, uint8_t *out, size_t cap);

#endif
