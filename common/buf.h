/* SPDX-License-Identifier: Apache-2.0 */
/* common/buf.h: bytes that we own and that grow.
 * Invariant: len <= cap; ptr is NULL only while cap is 0.
 * Threads: one owner at a time. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/error.h"
#include "common/span.h"

struct ps_buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
};

#define PS_BUF_INIT ((struct ps_buf){0})

/* Room for at least extra more bytes; PS_FULL when memory is refused, the buffer unchanged. */
PS_MUSTCHECK enum ps_status ps_buf_reserve(struct ps_buf *buf, size_t extra, struct ps_error *err);
PS_MUSTCHECK enum ps_status ps_buf_append(struct ps_buf *buf, const void *bytes, size_t len,
                                          struct ps_error *err);
/* For small control texts: memory failure ends the process (see ps_xalloc). */
void ps_buf_xappend(struct ps_buf *buf, const void *bytes, size_t len);
void ps_buf_xprintf(struct ps_buf *buf, const char *fmt, ...) PS_PRINTF(2, 3);
/* NUL-terminated text of the buffer (the NUL is not counted in len); borrowed until it changes. */
const char *ps_buf_str(struct ps_buf *buf);
void ps_buf_clear(struct ps_buf *buf); /* keeps the memory */
void ps_buf_fini(struct ps_buf *buf);

static inline struct ps_span
ps_buf_span(const struct ps_buf *buf)
{
    return ps_span(buf->ptr, buf->len);
}

#endif
