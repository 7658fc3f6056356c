/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/csv: small inputs and exactly what comes of them. */
#include <criterion/criterion.h>

#include "tests/support/golden.h"

static void
golden(const char *name, struct csv_dialect dialect)
{
    golden_expect(name, &(struct decode_log_run){.dialect = dialect});
}

Test(csv_golden, registry)
{
    golden("csv/registry.csv", csv_dialect_default());
}

Test(csv_golden, unicode)
{
    struct csv_dialect dialect = csv_dialect_default();
    dialect.delimiter.bytes[0] = ';';
    dialect.header = CSV_HEADER_AUTO;
    golden("csv/unicode.csv", dialect);
}
