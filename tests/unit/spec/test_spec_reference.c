/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/path.h"
#include "spec/spec.h"

/* PENSTOCK_REGENERATE=1 writes it anew. Tests run in the root of the sources. */
Test(spec_reference, is_current)
{
    static const char path[] = "docs/reference/spec.md";
    struct ps_buf now = PS_BUF_INIT;
    struct ps_buf kept = PS_BUF_INIT;
    spec_reference_markdown(&now);
    if (getenv("PENSTOCK_REGENERATE") != NULL) {
        FILE *file = fopen(path, "w");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(now.ptr, 1, now.len, file), now.len);
        cr_assert_eq(fclose(file), 0);
    }
    cr_assert_eq(ps_path_read(path, 1 << 20, &kept, NULL), PS_OK);
    cr_assert(ps_span_eq(ps_buf_span(&now), ps_buf_span(&kept)),
              "%s is not what spec_keys.def says: run this test with PENSTOCK_REGENERATE=1", path);
    ps_buf_fini(&now);
    ps_buf_fini(&kept);
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
