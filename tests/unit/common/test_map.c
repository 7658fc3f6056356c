/* SPDX-License-Identifier: Apache-2.0 */
#include "common/map.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "common/rand.h"

Test(map, puts_replaces_and_takes)
{
    struct ps_map *map = ps_map_new();
    int a = 1;
    int b = 2;
    cr_assert_null(ps_map_find(map, ps_span_str("x")));
    cr_assert_null(ps_map_put(map, ps_span_str("x"), &a));
    cr_assert_null(ps_map_put(map, ps_span("", 0), &b));
    cr_assert_null(ps_map_put(map, ps_span("x\0y", 3), &b));
    cr_assert_eq(ps_map_put(map, ps_span_str("x"), &b), &a);
    cr_assert_eq(ps_map_len(map), 3);
    cr_assert_eq(ps_map_find(map, ps_span(NULL, 0)), &b);
    cr_assert_eq(ps_map_take(map, ps_span_str("x")), &b);
    cr_assert_null(ps_map_take(map, ps_span_str("x")));
    cr_assert_eq(ps_map_find(map, ps_span("x\0y", 3)), &b);
    ps_map_free(map);
    ps_map_free(NULL);
}

enum { KEYS = 500 };

/* Random puts and takes against a plain array, so that every shift of a deletion is seen. */
Test(map, agrees_with_an_array)
{
    static int values[KEYS];
    bool in[KEYS] = {false};
    size_t count = 0;
    struct ps_rand rand;
    struct ps_map *map = ps_map_new();
    ps_rand_seed(&rand, 11);
    for (int round = 0; round < 50000; round++) {
        size_t k = ps_rand_below(&rand, KEYS);
        char text[16];
        struct ps_span key = ps_span(text, (size_t)snprintf(text, sizeof text, "key %zu", k));
        if (ps_rand_below(&rand, 2) == 0) {
            cr_assert_eq(ps_map_put(map, key, &values[k]), in[k] ? &values[k] : NULL);
            count += !in[k];
            in[k] = true;
        } else {
            cr_assert_eq(ps_map_take(map, key), in[k] ? &values[k] : NULL);
            count -= in[k];
            in[k] = false;
        }
        size_t probe = ps_rand_below(&rand, KEYS);
        key = ps_span(text, (size_t)snprintf(text, sizeof text, "key %zu", probe));
        cr_assert_eq(ps_map_find(map, key), in[probe] ? &values[probe] : NULL);
        cr_assert_eq(ps_map_len(map), count);
    }
    size_t cursor = 0;
    size_t seen = 0;
    struct ps_span key;
    void *value = NULL;
    while (ps_map_next(map, &cursor, &key, &value)) {
        cr_assert(in[(int *)value - values]);
        seen++;
    }
    cr_assert_eq(seen, count);
    ps_map_free(map);
}
