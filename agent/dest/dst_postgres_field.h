/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_postgres_field.h: fields of COPY's binary format, a length of 32 bits before each.
 * Memory failure ends the process, as with ps_buf_xappend.
 * Threads: pure functions. */
#ifndef AGENT_DEST_DST_POSTGRES_FIELD_H
#define AGENT_DEST_DST_POSTGRES_FIELD_H

#include <endian.h>

#include "agent/block/block.h"
#include "common/buf.h"

enum { PG_NUMBER_TEXT_BYTES = 40 };

struct dst_postgres_column;

/* Room for so many bytes more, which are counted at once. */
static inline uint8_t *
grow(struct ps_buf *out, size_t bytes)
{
    if (__builtin_expect(out->cap - out->len < bytes, 0)) {
        static const uint8_t zeros[64];
        for (size_t left = bytes; left > 0;) {
            size_t part = left < sizeof zeros ? left : sizeof zeros;
            ps_buf_xappend(out, zeros, part);
            left -= part;
        }
    } else {
        out->len += bytes;
    }
    return out->ptr + out->len - bytes;
}

static inline void
put_bytes(struct ps_buf *out, const void *bytes, size_t len)
{
    uint32_t be = htobe32((uint32_t)len);
    uint8_t *at = grow(out, sizeof be + len);
    memcpy(at, &be, sizeof be);
    if (len > 0) {
        memcpy(at + sizeof be, bytes, len);
    }
}

static inline void
put_u16(struct ps_buf *out, uint16_t value)
{
    uint16_t be = htobe16(value);
    put_bytes(out, &be, sizeof be);
}

static inline void
put_u32(struct ps_buf *out, uint32_t value)
{
    uint32_t be = htobe32(value);
    put_bytes(out, &be, sizeof be);
}

static inline void
put_u64(struct ps_buf *out, uint64_t value)
{
    uint64_t be = htobe64(value);
    put_bytes(out, &be, sizeof be);
}

/* -1: none. */
static inline int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- dst_postgres_number.c. NULL: it fits, else why not. */

/* The cell as text; a number is printed into out, as short as reads back equal. */
struct ps_span dst_postgres_number_text(const struct cell *cell, char out[PG_NUMBER_TEXT_BYTES]);
const char *dst_postgres_number_integer(const struct dst_postgres_column *column,
                                        const struct cell *cell, struct ps_buf *out);
const char *dst_postgres_number_real(const struct dst_postgres_column *column,
                                     const struct cell *cell, struct ps_buf *out);
const char *dst_postgres_number_numeric(const struct cell *cell, struct ps_buf *out);

/* ---- dst_postgres_time.c: dates and times by ISO 8601. NULL when the text is one, else why not.
 */
const char *dst_postgres_time_date(struct ps_span text, struct ps_buf *out);
const char *dst_postgres_time_time(struct ps_span text, struct ps_buf *out);
const char *dst_postgres_time_timetz(struct ps_span text, struct ps_buf *out);
const char *dst_postgres_time_stamp(struct ps_span text, bool zoned, struct ps_buf *out);

/* ---- dst_postgres_interval.c: ISO 8601 durations, and what the server's own styles print. */
const char *dst_postgres_interval_put(struct ps_span text, struct ps_buf *out);

/* ---- dst_postgres_net.c: addresses of networks and of their cards. */
const char *dst_postgres_net_inet(struct ps_span text, bool cidr, struct ps_buf *out);
/* bytes: 6 or 8. */
const char *dst_postgres_net_mac(struct ps_span text, size_t bytes, struct ps_buf *out);

/* ---- dst_postgres_array.c: {1,2,NULL} as the server prints it, or a JSON array. */
const char *dst_postgres_array_put(const struct dst_postgres_column *column, struct ps_span text,
                                   struct ps_buf *out);

#endif
