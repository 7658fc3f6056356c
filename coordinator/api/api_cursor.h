/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/api/api_cursor.h: where a list goes on, opaque to people: base64url (RFC 4648 §5, no
 * padding) of the list's tag and the key of the last item. Pure. */
#ifndef COORDINATOR_API_API_CURSOR_H
#define COORDINATOR_API_API_CURSOR_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

enum api_cursor_list {
    API_CURSOR_PIPELINES = 'p',
    API_CURSOR_PARTITIONS = 'o',
    API_CURSOR_BATCHES = 'b',
    API_CURSOR_REJECTS = 'r',
    API_CURSOR_EVENTS = 'e',
};

/* Appends the text. */
void api_cursor_write(enum api_cursor_list list, struct ps_span key, struct ps_buf *out);
void api_cursor_write_u64(enum api_cursor_list list, uint64_t key, struct ps_buf *out);
/* Appends the key. PS_BADDATA: no cursor of this list. */
PS_MUSTCHECK enum ps_status api_cursor_read(enum api_cursor_list list, const char *text,
                                            struct ps_buf *out, struct ps_error *err);
PS_MUSTCHECK enum ps_status api_cursor_read_u64(enum api_cursor_list list, const char *text,
                                                uint64_t *out, struct ps_error *err);

#endif
