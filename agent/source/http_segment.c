/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_segment.h"

#include "common/alloc.h"

static bool
sink(void *ctx, struct ps_span bytes)
{
    struct http_segment *segment = ctx;
    if (segment->used > 0 && segment->cap - segment->len < bytes.len) {
        memmove(segment->bytes, segment->bytes + segment->used, http_segment_left(segment));
        segment->len -= segment->used;
        segment->used = 0;
    }
    if (segment->cap - segment->len < bytes.len) {
        return false;
    }
    memcpy(segment->bytes + segment->len, bytes.ptr, bytes.len);
    segment->len += bytes.len;
    return true;
}

enum ps_status
http_segment_new(struct http_pool *pool, const struct http_request *what, bool stream,
                 struct http_segment **out, struct ps_error *err)
{
    struct http_request request = *what;
    struct http_segment *segment = ps_xcalloc(1, sizeof *segment);
    segment->from = what->from;
    segment->to = what->to;
    segment->stream = stream;
    segment->cap = stream ? HTTP_STREAM_BYTES : (size_t)(what->to - what->from);
    segment->bytes = ps_alloc(segment->cap + 1);
    if (segment->bytes == NULL) {
        ps_free(segment);
        return ps_fail(err, PS_FULL, "out of memory for %.200s", what->url);
    }
    request.sink = sink;
    request.ctx = segment;
    segment->transfer = http_pool_start(pool, &request);
    *out = segment;
    return PS_OK;
}

void
http_segment_free(struct http_segment *segment)
{
    if (segment != NULL) {
        http_transfer_free(segment->transfer);
        ps_free(segment->bytes);
        ps_free(segment);
    }
}

size_t
http_segment_take(struct http_segment *segment, uint8_t *out, size_t cap)
{
    size_t left = http_segment_left(segment);
    size_t n = left < cap ? left : cap;
    memcpy(out, segment->bytes + segment->used, n);
    segment->used += n;
    if (segment->used == segment->len) {
        segment->used = segment->len = 0;
    }
    if (segment->stream && segment->len - segment->used <= segment->cap / 2) {
        http_transfer_resume(segment->transfer);
    }
    return n;
}
