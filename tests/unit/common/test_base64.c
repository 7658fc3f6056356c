/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "common/alloc.h"
#include "common/base64.h"

Test(base64, vectors_of_the_rfc)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char *text = ps_base64_text(ps_span_str(pairs[i][0]));
        cr_assert_str_eq(text, pairs[i][1]);
        uint8_t *bytes = NULL;
        size_t len = 0;
        cr_assert_eq(ps_base64_parse(ps_span_str(text), &bytes, &len, NULL), PS_OK);
        cr_assert(ps_span_eq(ps_span(bytes, len), ps_span_str(pairs[i][0])));
        ps_free(bytes);
        ps_free(text);
    }
}

Test(base64, only_the_canonical_form_is_read)
{
    static const char *const bad[] = {
        "Z", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm-_"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t *bytes = NULL;
        size_t len = 0;
        cr_assert_eq(ps_base64_parse(ps_span_str(bad[i]), &bytes, &len, NULL), PS_BADDATA, "%s",
                     bad[i]);
    }
}
