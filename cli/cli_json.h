/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_json.h: reads API documents. 64-bit integers come as strings, bytes as base64 under a key
 * that ends in _b64. A missing member is not an error: older and newer coordinators differ. */
#ifndef CLI_CLI_JSON_H
#define CLI_CLI_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

/* path: "totals.counts.inserted". Borrowed; NULL when any step is missing. */
const json_t *cli_json_at(const json_t *doc, const char *path);
/* Borrowed text; "" when missing or not a string. */
const char *cli_json_str(const json_t *doc, const char *path);
/* An integer, or a string of digits; 0 when missing. */
uint64_t cli_json_u64(const json_t *doc, const char *path);
bool cli_json_bool(const json_t *doc, const char *path);
/* Decodes base64 from path; false when missing or malformed. */
bool cli_json_bytes(const json_t *doc, const char *path, struct ps_buf *out);
/* A name for people, from key "name" or from "name_b64"; appended safe for a terminal. */
void cli_json_name(const json_t *doc, const char *path, struct ps_buf *out);

#endif
