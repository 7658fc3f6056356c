/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with AVX2 and BMI2 (see CMakeLists.txt): json_hot.h has forms for them. */
#include "agent/decode/json_hot.h"

bool
json_v3_runs(void)
{
#if defined(__x86_64__) && defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
#else
    return false;
#endif
}

const uint8_t *
json_walk_v3(struct json_walk *walk, const uint8_t *p)
{
    return hot_walk(walk, p);
}
