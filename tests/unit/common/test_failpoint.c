/* SPDX-License-Identifier: Apache-2.0 */
#include "common/failpoint.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"

#ifdef PS_FAILPOINTS
Test(failpoint, hits_by_name_and_number)
{
    setenv("PENSTOCK_FAILPOINTS", "a.one=error;a.two@3=error;a.slow=delay:30", 1);
    cr_assert(ps_failpoint_hit("a.one"));
    cr_assert(ps_failpoint_hit("a.one"));
    cr_assert_not(ps_failpoint_hit("a.other"));
    cr_assert_not(ps_failpoint_hit("a.two"));
    cr_assert_not(ps_failpoint_hit("a.two"));
    cr_assert(ps_failpoint_hit("a.two"));
    cr_assert_not(ps_failpoint_hit("a.two"));
    int64_t before = ps_clock_mono_ms();
    cr_assert_not(ps_failpoint_hit("a.slow"));
    cr_assert_geq(ps_clock_mono_ms() - before, 29);
}

Test(failpoint, a_file_makes_it_happen_once)
{
    char path[64];
    char points[128];
    snprintf(path, sizeof path, "/tmp/penstock-once-%d", (int)getpid());
    snprintf(points, sizeof points, "a.one=error:%s", path);
    setenv("PENSTOCK_FAILPOINTS", points, 1);
    cr_assert(ps_failpoint_hit("a.one"));
    cr_assert_not(ps_failpoint_hit("a.one"));
    cr_assert_eq(unlink(path), 0);
    cr_assert(ps_failpoint_hit("a.one"));
    unlink(path);
}

Test(failpoint, every_so_many_hits)
{
    setenv("PENSTOCK_FAILPOINTS", "a.turn%3=error", 1);
    for (int i = 1; i <= 9; i++) {
        cr_assert_eq(ps_failpoint_hit("a.turn"), i % 3 == 0, "hit %d", i);
    }
}

Test(failpoint, a_name_that_stands_twice_acts_twice)
{
    char path[64];
    char points[256];
    snprintf(path, sizeof path, "/tmp/penstock-twice-%d", (int)getpid());
    snprintf(points, sizeof points, "a.one=error:%s.1;a.one=delay:20:%s.2;a.one=error:%s.3", path,
             path, path);
    setenv("PENSTOCK_FAILPOINTS", points, 1);
    cr_assert(ps_failpoint_hit("a.one"));
    int64_t before = ps_clock_mono_ms();
    cr_assert(ps_failpoint_hit("a.one"), "a delay does not hide what comes after it");
    cr_assert_geq(ps_clock_mono_ms() - before, 19);
    cr_assert_not(ps_failpoint_hit("a.one"));
    for (int i = 1; i <= 3; i++) {
        char marker[80];
        snprintf(marker, sizeof marker, "%s.%d", path, i);
        cr_assert_eq(unlink(marker), 0);
    }
}

Test(failpoint, a_word_it_does_not_know_is_refused, .signal = SIGABRT)
{
    setenv("PENSTOCK_FAILPOINTS", "a.one=explode", 1);
    ps_failpoint_hit("a.one");
}

Test(failpoint, crash_is_sigkill, .signal = SIGKILL)
{
    setenv("PENSTOCK_FAILPOINTS", "a.end=crash", 1);
    ps_failpoint_hit("a.end");
}
#endif
