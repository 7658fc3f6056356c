/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/reference.h: pages of docs/reference that are made from tables. */
#ifndef TESTS_SUPPORT_REFERENCE_H
#define TESTS_SUPPORT_REFERENCE_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "common/path.h"

/* The page is what `made` says. PENSTOCK_REGENERATE=1 writes it anew. Tests run in the root of the
 * sources. tables: what it is made from. */
static inline void
reference_is(const char *page, struct ps_span made, const char *tables)
{
    struct ps_buf kept = PS_BUF_INIT;
    struct ps_error err = {0};
    if (getenv("PENSTOCK_REGENERATE") != NULL) {
        cr_assert_eq(ps_path_write(page, made, &err), PS_OK, "%s", err.text);
    }
    cr_assert_eq(ps_path_read(page, 1 << 20, &kept, &err), PS_OK, "%s", err.text);
    cr_assert(ps_span_eq(made, ps_buf_span(&kept)),
              "%s is not what %s: run this test with PENSTOCK_REGENERATE=1", page, tables);
    ps_buf_fini(&kept);
}

#endif
