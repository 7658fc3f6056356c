/* SPDX-License-Identifier: Apache-2.0 */
#include "common/json.h"

#include <criterion/criterion.h>

#include "common/alloc.h"

Test(json, canonical_text_is_sorted)
{
    json_t *value = NULL;
    static const char text[] =
        " {\"b\": [1, 2.5, null], \"a\": {\"d\": true, \"c\": \"\xc3\xa9\"}}";
    cr_assert_eq(ps_json_load(ps_span_str(text), 1000, &value, NULL), PS_OK);
    char *canonical = ps_json_canonical(value);
    cr_assert_str_eq(canonical, "{\"a\":{\"c\":\"\xc3\xa9\",\"d\":true},\"b\":[1,2.5,null]}");
    cr_assert_eq(ps_json_depth(value), 2);
    ps_free(canonical);
    json_decref(value);
}

Test(json, ceilings_and_faults)
{
    json_t *value = NULL;
    struct ps_error err;
    struct ps_buf text = PS_BUF_INIT;
    for (int i = 0; i < 100000; i++) {
        ps_buf_xprintf(&text, "[");
    }
    cr_assert_eq(ps_json_load(ps_buf_span(&text), 1 << 20, &value, &err), PS_BADDATA);
    cr_assert_not_null(strstr(err.text, "deeper"));
    cr_assert_eq(ps_json_load(ps_buf_span(&text), 100, &value, &err), PS_BADDATA);
    cr_assert_eq(ps_json_load(ps_span_str("{\"a\":1,\n\"a\":2}"), 100, &value, &err), PS_BADDATA);
    cr_assert_not_null(strstr(err.text, "line 2"));
    cr_assert_eq(ps_json_load(ps_span(NULL, 0), 100, &value, &err), PS_BADDATA);
    cr_assert_eq(ps_json_load(ps_span_str("\"[[[[\\\"[[\""), 100, &value, &err), PS_OK);
    json_decref(value);
    ps_buf_fini(&text);
}

Test(json, quoting)
{
    struct ps_buf out = PS_BUF_INIT;
    ps_json_quote(ps_span("a\"\\\n\x7f\xff\xc3\xa9", 8), &out);
    cr_assert_str_eq(ps_buf_str(&out), "\"a\\\"\\\\\\u000a\\u007f\xef\xbf\xbd\xc3\xa9\"");
    ps_buf_fini(&out);
}
