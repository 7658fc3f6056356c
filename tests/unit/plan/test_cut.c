/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/plan/cut.h"

#include <criterion/criterion.h>

enum { MIB = 1024 * 1024 };

Test(cut, a_large_object_is_alone)
{
    struct cut cut;
    cut_init(&cut, 16 * MIB, 1000U * MIB, 4);
    cr_assert_eq(cut_offer(&cut, 500U * MIB, 50, false), CUT_TAKE);
    cr_assert_eq(cut_offer(&cut, 1, 50, false), CUT_ENOUGH);
    cr_assert_eq(cut.count, 1);
}

Test(cut, small_ones_share_a_batch)
{
    struct cut cut;
    cut_init(&cut, 16 * MIB, 1000U * MIB, 4);
    size_t taken = 0;
    while (cut_offer(&cut, 100 * 1024, 50, false) == CUT_TAKE) {
        taken++;
    }
    cr_assert_eq(taken, 163); /* 16 MiB hold as many of 100 KiB */
    cr_assert(cut.bytes <= 16 * MIB);
}

Test(cut, tiny_ones_are_bounded_by_number)
{
    struct cut cut;
    cut_init(&cut, 16 * MIB, 1000U * MIB, 1);
    size_t taken = 0;
    while (cut_offer(&cut, 10, 50, false) == CUT_TAKE) {
        taken++;
    }
    cr_assert_eq(taken, CUT_MAX_OBJECTS);
}

Test(cut, names_fit_their_frame)
{
    struct cut cut;
    cut_init(&cut, 16 * MIB, 1000U * MIB, 1);
    size_t taken = 0;
    while (cut_offer(&cut, 10, 4096, false) == CUT_TAKE) {
        taken++;
    }
    cr_assert_eq(taken, CUT_MAX_NAME_BYTES / 4096);
}

Test(cut, empty_objects_are_work_too)
{
    struct cut cut;
    cut_init(&cut, 16 * MIB, 0, 4);
    cr_assert_eq(cut_offer(&cut, 0, 50, false), CUT_TAKE);
    cr_assert_eq(cut_offer(&cut, 0, 50, false), CUT_TAKE);
    cr_assert_eq(cut.count, 2);
}

Test(cut, a_chain_is_never_packed)
{
    struct cut cut;
    cut_init(&cut, 16 * MIB, 1000U * MIB, 4);
    cr_assert_eq(cut_offer(&cut, 10, 50, false), CUT_TAKE);
    cr_assert_eq(cut_offer(&cut, 10, 50, true), CUT_SKIP);
    cr_assert_eq(cut_offer(&cut, 10, 50, false), CUT_TAKE);
}

/* Leaves finish together: the last batches are smaller, but not tiny. */
Test(cut, smaller_towards_the_end)
{
    struct cut cut;
    cut_init(&cut, 16 * MIB, 1000U * MIB, 4);
    cr_assert_eq(cut.target_bytes, 16 * MIB);
    cut_init(&cut, 16 * MIB, 48 * MIB, 4);
    cr_assert_eq(cut.target_bytes, 4 * MIB);
    cut_init(&cut, 16 * MIB, 1, 4);
    cr_assert_eq(cut.target_bytes, MIB);
    cut_init(&cut, 16 * MIB, 48 * MIB, 0);
    cr_assert_eq(cut.target_bytes, 16 * MIB);
}

Test(cut, estimates)
{
    cr_assert_eq(cut_estimate_bytes(100, false), 100);
    cr_assert_eq(cut_estimate_bytes(100, true), 400);
    cr_assert_eq(cut_estimate_bytes(UINT64_MAX, true), UINT64_MAX);
    cr_assert_eq(cut_rest_bytes(100, false, 40, 1000), 60);
    cr_assert_eq(cut_rest_bytes(100, true, 40, 1000), 360);
    cr_assert_eq(cut_rest_bytes(100, true, 500, 1000), 1000); /* the guess was too small */
    cr_assert_eq(cut_rest_bytes(0, false, 0, 1000), 0);
}

/* One large object alone keeps all leaves busy only in parts; several do without. */
Test(cut, when_an_object_is_taken_in_parallel)
{
    cr_assert(cut_wants_split(100 * MIB, 0, 16 * MIB, 2));
    cr_assert_not(cut_wants_split(100 * MIB, 0, 16 * MIB, 1), "there is nobody to share it with");
    cr_assert_not(cut_wants_split(16 * MIB, 0, 16 * MIB, 4), "it is one batch");
    cr_assert_not(cut_wants_split(100 * MIB, 400 * MIB, 16 * MIB, 2), "there is enough for all");
    cr_assert(cut_wants_split(100 * MIB, 400 * MIB, 16 * MIB, 8));
}

Test(cut, parts_leave_no_crumbs)
{
    cr_assert_eq(cut_part_bytes(100, 10), 10);
    cr_assert_eq(cut_part_bytes(15, 10), 10);
    cr_assert_eq(cut_part_bytes(14, 10), 14);
    cr_assert_eq(cut_part_bytes(3, 10), 3);
    cr_assert_eq(cut_part_bytes(3, 0), 3);
}
