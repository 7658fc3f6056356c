/* SPDX-License-Identifier: Apache-2.0 */
/* common/json.h: jansson with ceilings, and one canonical text.
 * Threads: pure; a json_t belongs to its owner. */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <jansson.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

enum { PS_JSON_MAX_BYTES = 16 * 1024 * 1024, PS_JSON_MAX_DEPTH = 64 };

/* Any JSON value; duplicate keys, U+0000, more than max_bytes or more than PS_JSON_MAX_DEPTH levels
 * are PS_BADDATA with line and column. *out is the caller's (json_decref). */
PS_MUSTCHECK enum ps_status ps_json_load(struct ps_span text, size_t max_bytes, json_t **out,
                                         struct ps_error *err);

/* Levels of nesting: 0 for a scalar, 1 for [] and {}. */
unsigned ps_json_depth(const json_t *value);

/* Compact, keys sorted: equal values give equal texts. The caller frees it (ps_free). */
char *ps_json_canonical(const json_t *value);
/* Appends the same, or with indent > 0 a text for people. */
void ps_json_print(const json_t *value, unsigned indent, struct ps_buf *out);
/* Appends text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void ps_json_quote(struct ps_span text, struct ps_buf *out);

#endif
