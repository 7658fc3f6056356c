/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/decode/number.h"

static bool
as_int(const char *text, int64_t *out)
{
    return number_int((const uint8_t *)text, strlen(text), out);
}

static bool
as_real(const char *text, double *out)
{
    return number_real((const uint8_t *)text, strlen(text), out);
}

Test(number, integers)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      "00",
                                      "-01",
                                      "1 ",
                                      " 1",
                                      "1a",
                                      "1.0",
                                      "1e3",
                                      "0x1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "1234567a",
                                      "12345678a",
                                      "/",
                                      ":",
                                      "1/",
                                      "1:",
                                      "12345678:",
                                      "1234567/1"};
    static const char *const good[] = {"0",
                                       "1",
                                       "-1",
                                       "10",
                                       "12345678",
                                       "123456789",
                                       "-12345678",
                                       "1234567890123456",
                                       "12345678901234567",
                                       "9223372036854775807",
                                       "-9223372036854775808"};
    int64_t value = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_not(as_int(bad[i], &value), "%s", bad[i]);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[32];
        cr_expect(as_int(good[i], &value), "%s", good[i]);
        snprintf(text, sizeof text, "%" PRId64, value);
        cr_expect_str_eq(text, good[i]);
    }
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        char text[32];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int64_t wanted = (int64_t)seed >> (seed >> 58);
        snprintf(text, sizeof text, "%" PRId64, wanted);
        cr_assert(as_int(text, &value) && value == wanted, "%s", text);
    }
}

Test(number, reals_are_correctly_rounded)
{
    static const char *const good[] = {"0",
                                       "-0",
                                       "1",
                                       "+1",
                                       "1.",
                                       ".5",
                                       "-.5",
                                       "1e3",
                                       "1E+3",
                                       "1e-3",
                                       "0.1",
                                       "123456.789",
                                       "007.50",
                                       "1e22",
                                       "1e23",
                                       "9007199254740993",
                                       "9007199254740992.5",
                                       "1e308",
                                       "4.9e-324",
                                       "2.2250738585072011e-308",
                                       "123456789012345678901234567890",
                                       "0.000000000000000000001",
                                       "1e-400",
                                       "179769313486231570814527423731704356798070e267",
                                       "0e99999999999",
                                       "0.0000",
                                       "12345678901234567890123e-3"};
    static const char *const bad[] = {"",      ".",   "-",    "e1",  "1e",  "1e+",   "1 ",
                                      " 1",    "1x",  "0x10", "inf", "nan", "1e400", "--1",
                                      "1.2.3", "1,5", "1e5.", "+",   "1_0", "1d3"};
    double value = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double wanted = strtod(good[i], NULL);
        cr_expect(as_real(good[i], &value), "%s", good[i]);
        cr_expect(memcmp(&value, &wanted, sizeof value) == 0, "%s gave %.17g", good[i], value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_not(as_real(bad[i], &value), "%s", bad[i]);
    }
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        snprintf(text, sizeof text, "%.*f", (int)(seed >> 60),
                 (double)(int64_t)(seed >> 20) / (double)(1 + (seed & 0xFFFFF)));
        double wanted = strtod(text, NULL);
        cr_assert(as_real(text, &value) && memcmp(&value, &wanted, sizeof value) == 0, "%s", text);
    }
}

Test(number, exact_reals)
{
    static const char *const good[] = {"0",
                                       "-0",
                                       "1.5",
                                       "0.1",
                                       "123456789012345",
                                       "1e5",
                                       "0.123456789012345",
                                       "1000000000000000000",
                                       "1.50"};
    static const char *const bad[] = {
        "+1", "007",   "00.5", "0.1234567890123456", "1e400", "1e-400", "1234567890123456",
        "x",  "1e-310"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect(number_real_exact((const uint8_t *)good[i], strlen(good[i]), false), "%s",
                  good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_not(number_real_exact((const uint8_t *)bad[i], strlen(bad[i]), false), "%s",
                      bad[i]);
    }
    double value = 0;
    cr_expect(number_real_comma((const uint8_t *)"-1,25", 5, &value));
    cr_expect_float_eq(value, -1.25, 0);
    cr_expect_not(number_real_comma((const uint8_t *)"1.25", 4, &value));
    cr_expect(number_real_exact((const uint8_t *)"1,25", 4, true));
}
