/* SPDX-License-Identifier: Apache-2.0 */
/* common/span.h: a view of bytes that somebody else owns. Not NUL-terminated, may hold NUL. */
#ifndef COMMON_SPAN_H
#define COMMON_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ps_span {
    const uint8_t *ptr;
    size_t len;
};

static inline struct ps_span
ps_span(const void *ptr, size_t len)
{
    return (struct ps_span){.ptr = ptr, .len = len};
}

static inline struct ps_span
ps_span_str(const char *text)
{
    return ps_span(text, text == NULL ? 0 : strlen(text));
}

static inline bool
ps_span_eq(struct ps_span a, struct ps_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

#endif
