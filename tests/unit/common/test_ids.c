/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ids.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/clock.h"
#include "common/rand.h"

Test(ids, are_version_7_and_ordered_by_time)
{
    uint8_t zeros[PS_ID_BYTES] = {0};
    uint8_t ones[PS_ID_BYTES];
    char text[PS_ID_TEXT_BYTES];
    struct ps_id back;
    memset(ones, 0xff, sizeof ones);
    struct ps_id id = ps_id_make(0x017f22e279b0, zeros);
    cr_assert_str_eq(ps_id_text(id, text), "017f22e2-79b0-7000-8000-000000000000");
    cr_assert_str_eq(ps_id_text(ps_id_make(0x017f22e279b0, ones), text),
                     "017f22e2-79b0-7fff-bfff-ffffffffffff");
    cr_assert(ps_id_parse("017F22E2-79b0-7000-8000-000000000000", &back));
    cr_assert(ps_id_eq(id, back));
    cr_assert_lt(memcmp(id.b, ps_id_make(0x017f22e279b1, zeros).b, PS_ID_BYTES), 0);
    cr_assert_not(ps_id_eq(ps_id_new(), ps_id_new()));
    cr_assert_not(ps_id_is_zero(id));
    cr_assert(ps_id_is_zero((struct ps_id){0}));
}

Test(ids, wrong_texts_are_refused)
{
    static const char *const wrong[] = {"",
                                        "017f22e2",
                                        "017f22e279b07000800000000000000000000000",
                                        "017f22e2-79b0-7000-8000-00000000000",
                                        "017f22e2-79b0-7000-8000-0000000000000",
                                        "017f22e2-79b0-7000-8000-00000000000g"};
    struct ps_id id;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_not(ps_id_parse(wrong[i], &id), "%s", wrong[i]);
    }
    cr_assert_not(ps_id_from_span(ps_span("short", 5), &id));
}

/* The ledgers of destinations hold these for ever. */
Test(ids, a_partition_s_hash_never_changes)
{
    char text[PS_ID_TEXT_BYTES];
    struct bp_hash a = ps_bp_hash(ps_span_str("data/a.csv"), ps_span_str("v1"));
    struct bp_hash moved = ps_bp_hash(ps_span_str("data/a.csvv"), ps_span_str("1"));
    cr_assert_not(ps_id_eq(a.id, moved.id));
    cr_assert_str_eq(ps_id_text(a.id, text), "bb05fa77-552e-07d7-4690-ee6556a568f6");
}

Test(rand, the_same_seed_gives_the_same_numbers)
{
    struct ps_rand a;
    struct ps_rand b;
    ps_rand_seed(&a, 42);
    ps_rand_seed(&b, 42);
    uint64_t buckets[10] = {0};
    for (int i = 0; i < 10000; i++) {
        cr_assert_eq(ps_rand_next(&a), ps_rand_next(&b));
        buckets[ps_rand_below(&a, 10)]++;
        ps_rand_below(&b, 10);
    }
    for (int i = 0; i < 10; i++) {
        cr_assert(buckets[i] > 800 && buckets[i] < 1200);
    }
    ps_rand_seed(&b, 43);
    cr_assert_neq(ps_rand_next(&a), ps_rand_next(&b));
    cr_assert_eq(ps_rand_below(&a, 1), 0);
}

Test(clock, text_is_rfc_3339)
{
    char text[PS_CLOCK_TEXT_BYTES];
    cr_assert_str_eq(ps_clock_text(0, text), "1970-01-01T00:00:00.000Z");
    cr_assert_str_eq(ps_clock_text(1767323045678, text), "2026-01-02T03:04:05.678Z");
    int64_t before = ps_clock_mono_ns();
    cr_assert_leq(before, ps_clock_mono_ns());
    cr_assert_gt(ps_clock_wall_ms(), 1700000000000);
}
