/* SPDX-License-Identifier: Apache-2.0 */
#include "common/assert.h"

#include <stdio.h>
#include <stdlib.h>

void
ps_assert_failed(const char *cond, const char *file, int line, const char *function)
{
    fprintf(stderr, "penstock: broken invariant: %s (%s:%d, %s)\n", cond, file, line, function);
    abort();
}
