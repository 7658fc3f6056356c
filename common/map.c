/* SPDX-License-Identifier: Apache-2.0 */
#include "common/map.h"

#include <xxhash.h>

#include "common/alloc.h"
#include "common/assert.h"

struct slot {
    uint64_t hash;
    uint8_t *key; /* NULL while value is NULL */
    size_t key_len;
    void *value; /* NULL = free */
};

struct ps_map {
    size_t mask; /* slots - 1 */
    size_t len;
    struct slot *slots;
};

enum { FIRST_SLOTS = 16 };

struct ps_map *
ps_map_new(void)
{
    struct ps_map *map = ps_xcalloc(1, sizeof *map);
    map->mask = FIRST_SLOTS - 1;
    map->slots = ps_xcalloc(FIRST_SLOTS, sizeof *map->slots);
    return map;
}

void
ps_map_free(struct ps_map *map)
{
    if (map == NULL) {
        return;
    }
    for (size_t i = 0; i <= map->mask; i++) {
        ps_free(map->slots[i].key);
    }
    ps_free(map->slots);
    ps_free(map);
}

size_t
ps_map_len(const struct ps_map *map)
{
    return map->len;
}

/* The slot that holds the key, or the free one where it would go. */
static size_t
locate(const struct ps_map *map, struct ps_span key, uint64_t hash)
{
    size_t at = hash & map->mask;
    while (map->slots[at].value != NULL) {
        const struct slot *slot = &map->slots[at];
        if (slot->hash == hash && ps_span_eq(ps_span(slot->key, slot->key_len), key)) {
            break;
        }
        at = (at + 1) & map->mask;
    }
    return at;
}

static uint64_t
hash_of(struct ps_span key)
{
    return XXH3_64bits(key.len == 0 ? (const uint8_t *)"" : key.ptr, key.len);
}

void *
ps_map_find(const struct ps_map *map, struct ps_span key)
{
    return map->slots[locate(map, key, hash_of(key))].value;
}

static void
grow(struct ps_map *map)
{
    size_t old_count = map->mask + 1;
    struct slot *old = map->slots;
    map->mask = old_count * 2 - 1;
    map->slots = ps_xcalloc(old_count * 2, sizeof *map->slots);
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].value != NULL) {
            size_t at = locate(map, ps_span(old[i].key, old[i].key_len), old[i].hash);
            map->slots[at] = old[i];
        }
    }
    ps_free(old);
}

void *
ps_map_put(struct ps_map *map, struct ps_span key, void *value)
{
    PS_ASSERT(value != NULL);
    uint64_t hash = hash_of(key);
    size_t at = locate(map, key, hash);
    void *before = map->slots[at].value;
    if (before != NULL) {
        map->slots[at].value = value;
        return before;
    }
    if ((map->len + 1) * 4 > (map->mask + 1) * 3) {
        grow(map);
        at = locate(map, key, hash);
    }
    uint8_t *copy = ps_xalloc(key.len);
    if (key.len > 0) {
        memcpy(copy, key.ptr, key.len);
    }
    map->slots[at] = (struct slot){.hash = hash, .key = copy, .key_len = key.len, .value = value};
    map->len++;
    return NULL;
}

void *
ps_map_take(struct ps_map *map, struct ps_span key)
{
    size_t hole = locate(map, key, hash_of(key));
    void *value = map->slots[hole].value;
    if (value == NULL) {
        return NULL;
    }
    ps_free(map->slots[hole].key);
    map->slots[hole] = (struct slot){0};
    map->len--;
    /* Moves back every follower that may no longer be reached across the hole. */
    for (size_t at = (hole + 1) & map->mask; map->slots[at].value != NULL;
         at = (at + 1) & map->mask) {
        size_t home = map->slots[at].hash & map->mask;
        if (((at - home) & map->mask) >= ((at - hole) & map->mask)) {
            map->slots[hole] = map->slots[at];
            map->slots[at] = (struct slot){0};
            hole = at;
        }
    }
    return value;
}

bool
ps_map_next(const struct ps_map *map, size_t *cursor, struct ps_span *out_key, void **out_value)
{
    for (; *cursor <= map->mask; (*cursor)++) {
        const struct slot *slot = &map->slots[*cursor];
        if (slot->value != NULL) {
            *out_key = ps_span(slot->key, slot->key_len);
            *out_value = slot->value;
            (*cursor)++;
            return true;
        }
    }
    return false;
}
