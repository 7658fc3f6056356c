/* SPDX-License-Identifier: Apache-2.0 */
/* common/map.h: hash map from byte strings to pointers (XXH3, linear probing, backward-shift
 * deletion). Keys are copied, values borrowed.
 * Invariant: at most 3/4 full, so that every probe ends. Order of iteration is unspecified:
 * whatever must replay sorts first. Threads: one owner at a time. */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include "common/error.h"
#include "common/span.h"

struct ps_map; /* opaque */

struct ps_map *ps_map_new(void);      /* never NULL */
void ps_map_free(struct ps_map *map); /* NULL is fine; values are not freed */
size_t ps_map_len(const struct ps_map *map);

/* NULL when the key is absent. Values are never NULL. */
void *ps_map_find(const struct ps_map *map, struct ps_span key);
/* Puts or replaces; returns the value replaced or NULL. */
void *ps_map_put(struct ps_map *map, struct ps_span key, void *value);
/* Removes; returns the value or NULL. */
void *ps_map_take(struct ps_map *map, struct ps_span key);
/* *cursor starts at 0; false at the end. The map must not change between calls. */
bool ps_map_next(const struct ps_map *map, size_t *cursor, struct ps_span *out_key,
                 void **out_value);

#endif
