/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/leaf/leaf_ahead.h"
#include "tests/support/slow_source.h"

enum { OBJECTS = 300 };
static char keys[OBJECTS][32];

static struct leaf_want *
wants_of(size_t grown_at)
{
    struct leaf_want *wants = ps_xcalloc(OBJECTS, sizeof *wants);
    for (size_t i = 0; i < OBJECTS; i++) {
        const char *kind = i % 50 == 17 ? "bad" : i % 50 == 33 ? "torn" : "object";
        snprintf(keys[i], sizeof keys[i], "%s %zu", kind, i);
        wants[i] = (struct leaf_want){
            .key = ps_span_str(keys[i]), .size_bytes = strlen(keys[i]), .from_start = i % 20 != 19};
        if (i % 20 == 7) {
            wants[i].size_bytes = UINT64_MAX;
        } else if (i == grown_at) {
            wants[i].size_bytes = 2;
        }
    }
    return wants;
}

static void
expect_object(struct source *source, struct leaf_ahead *ahead, size_t i)
{
    struct leaf_object object = {0};
    struct ps_error err = {0};
    enum ps_status status = leaf_ahead_open(ahead, i, &object, &err);
    char text[64];
    size_t len = 0;
    size_t n = 1;
    bool opened = status == PS_OK;
    while (status == PS_OK && n > 0) {
        status = leaf_object_read(&slow_source_ops, &object, (uint8_t *)text + len, 5, &n, &err);
        len += status == PS_OK ? n : 0;
    }
    if (opened) {
        leaf_object_close(&slow_source_ops, &object);
    }
    if (slow_source_begins(ps_span_str(keys[i]), "object")) {
        cr_assert_eq(status, PS_OK, "%s: %s", keys[i], err.text);
        cr_assert(ps_span_eq(ps_span(text, len), ps_span_str(keys[i])), "%s", keys[i]);
    } else {
        cr_assert_eq(status,
                     slow_source_begins(ps_span_str(keys[i]), "bad") ? PS_REFUSED : PS_AGAIN);
        cr_assert_str_eq(err.text, keys[i]);
    }
    (void)source;
}

Test(leaf_ahead, slow_objects_are_opened_at_once_and_come_in_order)
{
    struct source source = {.delay_ns = 1000 * 1000};
    struct leaf_ahead *ahead = leaf_ahead_new();
    for (int batch = 0; batch < 2; batch++) {
        leaf_ahead_begin(ahead, &slow_source_ops, &source, wants_of(101), OBJECTS);
        for (size_t i = 0; i < OBJECTS; i++) {
            if (i % 31 != 30) { /* what a chain goes on with is not opened again */
                expect_object(&source, ahead, i);
            }
        }
        leaf_ahead_end(ahead);
        cr_assert_eq(atomic_load(&source.open_now), 0);
    }
    cr_assert_gt(leaf_ahead_opened(ahead), OBJECTS / 2);
    cr_assert_gt(atomic_load(&source.most_at_once), 2);
    leaf_ahead_free(ahead);
}

Test(leaf_ahead, a_batch_that_ends_early_leaves_nothing_open)
{
    struct source source = {.delay_ns = 1000 * 1000};
    struct leaf_ahead *ahead = leaf_ahead_new();
    for (size_t stop = 0; stop < 60; stop += 7) {
        leaf_ahead_begin(ahead, &slow_source_ops, &source, wants_of(OBJECTS), OBJECTS);
        for (size_t i = 0; i < stop; i++) {
            expect_object(&source, ahead, i);
        }
        leaf_ahead_end(ahead);
        cr_assert_eq(atomic_load(&source.open_now), 0, "stopped at %zu", stop);
    }
    leaf_ahead_free(ahead);
}

Test(leaf_ahead, a_driver_without_use_for_it_gets_no_helpers)
{
    struct source source = {.delay_ns = 1000 * 1000};
    struct source_ops ops = slow_source_ops;
    struct leaf_ahead *ahead = leaf_ahead_new();
    ops.in_flight = 1;
    leaf_ahead_begin(ahead, &ops, &source, wants_of(OBJECTS), OBJECTS);
    for (size_t i = 0; i < 40; i++) {
        expect_object(&source, ahead, i);
    }
    leaf_ahead_end(ahead);
    cr_assert_eq(leaf_ahead_opened(ahead), 0);
    leaf_ahead_free(ahead);
}
