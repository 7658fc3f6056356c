/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "common/percent.h"

static void
expect_name(const void *bytes, size_t len, const char *text)
{
    struct ps_buf out = PS_BUF_INIT;
    struct ps_buf back = PS_BUF_INIT;
    ps_percent_name(ps_span(bytes, len), &out);
    cr_expect_str_eq(ps_buf_str(&out), text);
    cr_expect_eq(ps_percent_decode(ps_buf_span(&out), &back, NULL), PS_OK);
    cr_expect(ps_span_eq(ps_buf_span(&back), ps_span(bytes, len)), "%s", text);
    ps_buf_fini(&out);
    ps_buf_fini(&back);
}

Test(percent, names_are_lossless)
{
    expect_name("data/a.csv", 10, "data/a.csv");
    expect_name("100%.csv", 8, "100%25.csv");
    expect_name("a\0b\n", 4, "a%00b%0A");
    expect_name("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", 11, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
    expect_name("\xff\xc3", 2, "%FF%C3");
    expect_name("\xed\xa0\x80", 3, "%ED%A0%80"); /* a surrogate */
    expect_name("\xc0\xaf", 2, "%C0%AF");        /* overlong */
    expect_name("\xf4\x90\x80\x80", 4, "%F4%90%80%80");
}

Test(percent, refuses_broken_escapes)
{
    const char *const bad[] = {"%", "%4", "%zz", "a%f", "%%41"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ps_buf out = PS_BUF_INIT;
        cr_expect_eq(ps_percent_decode(ps_span_str(bad[i]), &out, NULL), PS_BADDATA, "%s", bad[i]);
        ps_buf_fini(&out);
    }
}
