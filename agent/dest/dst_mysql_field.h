/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_mysql_field.h: what the two files that write fields share.
 * Memory failure ends the process, as with ps_buf_xappend.
 * Threads: pure functions. */
#ifndef AGENT_DEST_DST_MYSQL_FIELD_H
#define AGENT_DEST_DST_MYSQL_FIELD_H

#include "agent/dest/dest_cell.h"
#include "agent/dest/dst_mysql.h"

/* Appends few bytes: what fields are made of. */
static inline void
dst_mysql_field_put(struct ps_buf *out, const void *bytes, size_t len)
{
    if (__builtin_expect(out->cap - out->len < len, 0)) {
        ps_buf_xappend(out, bytes, len);
        return;
    }
    memcpy(out->ptr + out->len, bytes, len);
    out->len += len;
}

/* Bytes that are no text, in the form that the statement reads. */
void dst_mysql_field_bytes(struct ps_span bytes, enum dst_mysql_form form, struct ps_buf *out);

/* ---- dst_mysql_time.c: date, time, datetime and timestamp. NULL when the text is one that the
 * column can hold, else why not. */
const char *dst_mysql_time_put(const struct dst_mysql_column *column, struct ps_span text,
                               struct ps_buf *out);

#endif
