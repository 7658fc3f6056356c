/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/golden.h: small inputs below tests/golden and exactly what a decoder says of them.
 */
#ifndef TESTS_SUPPORT_GOLDEN_H
#define TESTS_SUPPORT_GOLDEN_H

#include <stdio.h>

#include <criterion/criterion.h>

#include "tests/support/decode_log.h"

static struct ps_buf
golden_read(const char *path)
{
    struct ps_buf out = PS_BUF_INIT;
    char part[4096];
    size_t got = 0;
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    while ((got = fread(part, 1, sizeof part, file)) > 0) {
        ps_buf_xappend(&out, part, got);
    }
    fclose(file);
    return out;
}

/* name: of the input; what is wanted stands beside it, its ending .log. */
static void
golden_expect(const char *name, const struct decode_log_run *run)
{
    char path[100];
    struct ps_buf found = PS_BUF_INIT;
    snprintf(path, sizeof path, "tests/golden/%s", name);
    struct ps_buf bytes = golden_read(path);
    snprintf(strrchr(path, '.'), 5, ".log");
    struct ps_buf wanted = golden_read(path);
    decode_log(run, bytes.ptr, bytes.len, &found);
    cr_expect_str_eq(ps_buf_str(&found), ps_buf_str(&wanted), "%s gave\n%s", path,
                     ps_buf_str(&found));
    ps_buf_fini(&bytes);
    ps_buf_fini(&wanted);
    ps_buf_fini(&found);
}

#endif
