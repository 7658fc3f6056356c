/* SPDX-License-Identifier: Apache-2.0 */
/* common/yaml.h: one YAML document as JSON, with the line each value stands on.
 * Scalars follow the core schema of YAML 1.2 (true, null, 12, 0x1f, 1.5; "yes" and "1:30" are
 * text); an integer beyond int64 and anything quoted is text. Not accepted: several documents, tags
 * but
 * !!str, keys that are not text, duplicate keys, .inf and .nan, and aliases that would grow the
 * document beyond its ceilings. JSON texts are YAML.
 * Threads: immutable after loading. */
#ifndef COMMON_YAML_H
#define COMMON_YAML_H

#include <jansson.h>

#include "common/error.h"
#include "common/span.h"

enum { PS_YAML_MAX_BYTES = 1024 * 1024, PS_YAML_MAX_DEPTH = 32, PS_YAML_MAX_NODES = 100000 };

struct ps_yaml; /* opaque */

/* PS_BADDATA: "line 3: …" with *out_line (may be NULL) set where it is known, else 0. An empty
 * document is JSON null. */
PS_MUSTCHECK enum ps_status ps_yaml_load(struct ps_span text, struct ps_yaml **out,
                                         unsigned *out_line, struct ps_error *err);
void ps_yaml_free(struct ps_yaml *yaml); /* NULL is fine */

json_t *ps_yaml_root(const struct ps_yaml *yaml); /* borrowed */
/* The line (from 1) of "source.discover.mode" or "columns[2].type": of its key, or of the nearest
 * place above it; 0 when not even the root is known. */
unsigned ps_yaml_line(const struct ps_yaml *yaml, const char *path);

/* A plain scalar's value by the core schema; the caller's. Text that is no valid UTF-8 gives NULL.
 */
json_t *ps_yaml_scalar(const char *text, size_t len);

/* Appends value as block YAML that ps_yaml_load reads back as the same value. */
struct ps_buf;
void ps_yaml_print(const json_t *value, struct ps_buf *out);

#endif
