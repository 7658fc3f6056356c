/* SPDX-License-Identifier: Apache-2.0 */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/assert.h"

static size_t
grown(const struct ps_buf *buf, size_t extra)
{
    size_t want = buf->cap < 64 ? 64 : buf->cap;
    while (want - buf->len < extra && want <= SIZE_MAX / 2) {
        want *= 2;
    }
    return want - buf->len < extra ? 0 : want;
}

enum ps_status
ps_buf_reserve(struct ps_buf *buf, size_t extra, struct ps_error *err)
{
    if (buf->cap - buf->len >= extra && buf->ptr != NULL) {
        return PS_OK;
    }
    size_t want = grown(buf, extra);
    uint8_t *ptr = want == 0 ? NULL : ps_realloc(buf->ptr, want);
    if (ptr == NULL) {
        return ps_fail(err, PS_FULL, "out of memory for %zu more bytes", extra);
    }
    buf->ptr = ptr;
    buf->cap = want;
    return PS_OK;
}

enum ps_status
ps_buf_append(struct ps_buf *buf, const void *bytes, size_t len, struct ps_error *err)
{
    enum ps_status status = ps_buf_reserve(buf, len, err);
    if (status == PS_OK && len > 0) {
        memcpy(buf->ptr + buf->len, bytes, len);
        buf->len += len;
    }
    return status;
}

static void
xreserve(struct ps_buf *buf, size_t extra)
{
    if (buf->ptr == NULL || buf->cap - buf->len < extra) {
        size_t want = grown(buf, extra);
        buf->ptr = ps_xrealloc(buf->ptr, want);
        buf->cap = want;
    }
}

void
ps_buf_xappend(struct ps_buf *buf, const void *bytes, size_t len)
{
    xreserve(buf, len);
    if (len > 0) {
        memcpy(buf->ptr + buf->len, bytes, len);
        buf->len += len;
    }
}

void
ps_buf_xprintf(struct ps_buf *buf, const char *fmt, ...)
{
    PS_ASSERT(fmt != NULL); /* gcc with ubsan would warn of a NULL format */
    va_list args;
    va_start(args, fmt);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    xreserve(buf, (size_t)need + 1);
    va_start(args, fmt);
    vsnprintf((char *)buf->ptr + buf->len, (size_t)need + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)need;
}

const char *
ps_buf_str(struct ps_buf *buf)
{
    xreserve(buf, 1);
    buf->ptr[buf->len] = '\0';
    return (const char *)buf->ptr;
}

void
ps_buf_clear(struct ps_buf *buf)
{
    buf->len = 0;
}

void
ps_buf_fini(struct ps_buf *buf)
{
    ps_free(buf->ptr);
    *buf = PS_BUF_INIT;
}
