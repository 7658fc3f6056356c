/* SPDX-License-Identifier: Apache-2.0 */
/* common/base64.h: RFC 4648 §4, with padding, no line breaks.
 * Threads: pure. */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include "common/error.h"
#include "common/span.h"

/* A new NUL-terminated text, freed by ps_free; NULL when memory is refused. */
char *ps_base64_text(struct ps_span bytes);

/* *out_bytes is freed by ps_free, and is not NULL even for no bytes. PS_BADDATA unless the text is
 * canonical: padded, no other characters, unused bits zero. */
PS_MUSTCHECK enum ps_status ps_base64_parse(struct ps_span text, uint8_t **out_bytes,
                                            size_t *out_len, struct ps_error *err);

#endif
