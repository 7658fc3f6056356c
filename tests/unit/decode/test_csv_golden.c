/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/csv: small inputs and exactly what comes of them. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "tests/support/decode_log.h"

static struct ps_buf
file_read(const char *path)
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

static void
golden(const char *name, struct csv_dialect dialect)
{
    char path[100];
    struct decode_log_run run = {.dialect = dialect};
    struct ps_buf found = PS_BUF_INIT;
    snprintf(path, sizeof path, "tests/golden/csv/%s.csv", name);
    struct ps_buf bytes = file_read(path);
    snprintf(path, sizeof path, "tests/golden/csv/%s.log", name);
    struct ps_buf wanted = file_read(path);
    decode_log(&run, bytes.ptr, bytes.len, &found);
    cr_expect_str_eq(ps_buf_str(&found), ps_buf_str(&wanted), "%s gave\n%s", path,
                     ps_buf_str(&found));
    ps_buf_fini(&bytes);
    ps_buf_fini(&wanted);
    ps_buf_fini(&found);
}

Test(csv_golden, registry)
{
    golden("registry", csv_dialect_default());
}

Test(csv_golden, unicode)
{
    struct csv_dialect dialect = csv_dialect_default();
    dialect.delimiter.bytes[0] = ';';
    dialect.header = CSV_HEADER_AUTO;
    golden("unicode", dialect);
}
