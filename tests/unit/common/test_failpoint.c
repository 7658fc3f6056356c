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

Test(failpoint, crash_is_sigkill, .signal = SIGKILL)
{
    setenv("PENSTOCK_FAILPOINTS", "a.end=crash", 1);
    ps_failpoint_hit("a.end");
}
#endif
