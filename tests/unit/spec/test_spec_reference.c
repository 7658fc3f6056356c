/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "spec/spec.h"
#include "tests/support/reference.h"

Test(spec_reference, is_current)
{
    struct ps_buf made = PS_BUF_INIT;
    spec_reference_markdown(&made);
    reference_is("docs/reference/spec.md", ps_buf_span(&made), "spec_keys.def says");
    ps_buf_fini(&made);
}

/* Paths are unique and every help text reads as one cell of a table. */
Test(spec_reference, the_table_is_sound)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(spec_key_find(keys[i].path), &keys[i]);
        cr_assert_null(strchr(keys[i].help, '|'));
        cr_assert(keys[i].type != SPEC_ENUM || keys[i].choices != NULL);
    }
    cr_assert_null(spec_key_find("nothing"));
}
