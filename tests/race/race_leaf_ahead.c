/* SPDX-License-Identifier: Apache-2.0 */
/* One thread takes the objects of many batches, some only in part, while helpers open them. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/leaf/leaf_ahead.h"
#include "tests/support/slow_source.h"

enum { BATCHES = 40, OBJECTS = 100 };

static void
take(struct leaf_ahead *ahead, size_t index)
{
    struct leaf_object object = {0};
    struct ps_error err = {0};
    uint8_t bytes[64];
    size_t n = 1;
    if (leaf_ahead_open(ahead, index, &object, &err) != PS_OK) {
        return;
    }
    while (n > 0 &&
           leaf_object_read(&slow_source_ops, &object, bytes, sizeof bytes, &n, &err) == PS_OK) {
    }
    leaf_object_close(&slow_source_ops, &object);
}

int
main(void)
{
    struct source source = {.delay_ns = 200 * 1000};
    struct leaf_ahead *ahead = leaf_ahead_new();
    static char keys[OBJECTS][32];
    for (size_t batch = 0; batch < BATCHES; batch++) {
        struct leaf_want *wants = ps_xcalloc(OBJECTS, sizeof *wants);
        for (size_t i = 0; i < OBJECTS; i++) {
            snprintf(keys[i], sizeof keys[i], "%s %zu", i % 10 == 3 ? "bad" : "object", i);
            wants[i] = (struct leaf_want){
                .key = ps_span_str(keys[i]), .size_bytes = strlen(keys[i]), .from_start = true};
        }
        leaf_ahead_begin(ahead, &slow_source_ops, &source, wants, OBJECTS);
        for (size_t i = 0; i < OBJECTS - batch; i++) {
            take(ahead, i);
        }
        leaf_ahead_end(ahead);
    }
    bool good = leaf_ahead_opened(ahead) > 0 && atomic_load(&source.open_now) == 0;
    leaf_ahead_free(ahead);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
