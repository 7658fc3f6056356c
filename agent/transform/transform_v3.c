/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with AVX2, BMI2 and LZCNT (see CMakeLists.txt): block.h and number.h have forms for
 * them. */
#include "agent/transform/transform_hot.h"

bool
transform_v3_runs(void)
{
#if defined(__x86_64__) && defined(__BMI2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
#else
    return false;
#endif
}

enum ps_status
transform_v3(struct transform *transform, const struct record *record, const struct row_meta *meta,
             struct block *block, struct transform_reject *out_reject)
{
    return hot_row(transform, record, meta, block, out_reject);
}
