/* SPDX-License-Identifier: Apache-2.0 */
#include "common/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(error, made_and_wrapped)
{
    struct ps_error err;
    cr_assert_eq(ps_fail(&err, PS_AGAIN, "disk %d", 3), PS_AGAIN);
    cr_assert_str_eq(err.text, "disk 3");
    cr_assert_str_eq(err.code, "");
    cr_assert_eq(ps_wrap(&err, PS_BUG, "insert %s", "t"), PS_AGAIN);
    cr_assert_str_eq(err.text, "insert t: disk 3");
    cr_assert_eq(ps_fail_code(&err, PS_BADDATA, "source_changed", "x"), PS_BADDATA);
    cr_assert_str_eq(err.code, "source_changed");
    cr_assert_eq(ps_fail(NULL, PS_FULL, "nobody reads it"), PS_FULL);
    cr_assert_eq(ps_wrap(NULL, PS_FULL, "nobody reads it"), PS_FULL);
}

Test(error, long_texts_are_cut)
{
    struct ps_error err;
    char text[2 * PS_ERROR_TEXT_BYTES];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ps_fail(&err, PS_BUG, "%s", text);
    cr_assert_eq(strlen(err.text), PS_ERROR_TEXT_BYTES - 1);
    ps_wrap(&err, PS_BUG, "in front");
    cr_assert_eq(strlen(err.text), PS_ERROR_TEXT_BYTES - 1);
    cr_assert_eq(strncmp(err.text, "in front: xxx", 13), 0);
    ps_wrap(&err, PS_BUG, "%s", text);
    cr_assert_eq(strlen(err.text), PS_ERROR_TEXT_BYTES - 1);
}

Test(error, of_the_system)
{
    struct ps_error err;
    cr_assert_eq(ps_fail_errno(&err, ENOSPC, "write %s", "f"), PS_FULL);
    cr_assert_str_eq(err.text, "write f: No space left on device");
    cr_assert_eq(ps_status_from_errno(EIO), PS_AGAIN);
    cr_assert_eq(ps_status_from_errno(EACCES), PS_REFUSED);
    for (int status = PS_OK; status <= PS_BUG; status++) {
        cr_assert_str_neq(ps_status_name((enum ps_status)status), "unknown");
    }
}
