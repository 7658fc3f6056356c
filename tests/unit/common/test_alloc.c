/* SPDX-License-Identifier: Apache-2.0 */
#include "common/alloc.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/buf.h"

static bool
refuse_large(void *ctx, size_t bytes)
{
    (*(int *)ctx)++;
    return bytes > 100;
}

Test(alloc, is_counted)
{
    uint64_t before = ps_alloc_bytes_now();
    char *block = ps_alloc(1000);
    cr_assert_geq(ps_alloc_bytes_now(), before + 1000);
    block = ps_realloc(block, 5000);
    cr_assert_geq(ps_alloc_bytes_now(), before + 5000);
    char *copy = ps_xstrdup("text");
    char *part = ps_xstrndup("text", 2);
    char *made = ps_xasprintf("%s %d", copy, 7);
    cr_assert_str_eq(copy, "text");
    cr_assert_str_eq(part, "te");
    cr_assert_str_eq(made, "text 7");
    cr_assert_null(ps_xstrdup(NULL));
    ps_free(made);
    ps_free(part);
    ps_free(copy);
    ps_free(block);
    ps_free(NULL);
    cr_assert_eq(ps_alloc_bytes_now(), before);
}

Test(alloc, can_be_made_to_fail)
{
    int calls = 0;
    char *block = ps_alloc(50);
    block[0] = 'x';
    ps_alloc_set_fault(refuse_large, &calls);
    cr_assert_null(ps_alloc(101));
    cr_assert_null(ps_calloc(1, 101));
    cr_assert_null(ps_realloc(block, 101));
    cr_assert_eq(calls, 3);
    struct ps_buf buf = PS_BUF_INIT;
    struct ps_error err;
    cr_assert_eq(ps_buf_append(&buf, "small", 5, &err), PS_OK);
    cr_assert_eq(ps_buf_reserve(&buf, 1000, &err), PS_FULL);
    cr_assert_eq(buf.len, 5);
    cr_assert_eq(memcmp(buf.ptr, "small", 5), 0);
    ps_alloc_set_fault(NULL, NULL);
    cr_assert_eq(block[0], 'x');
    cr_assert_null(ps_calloc(SIZE_MAX / 2, 4));
    ps_buf_fini(&buf);
    ps_free(block);
}

Test(buf, grows_and_prints)
{
    struct ps_buf buf = PS_BUF_INIT;
    struct ps_error err;
    cr_assert_str_eq(ps_buf_str(&buf), "");
    cr_assert_eq(ps_buf_append(&buf, NULL, 0, &err), PS_OK);
    for (int i = 0; i < 1000; i++) {
        ps_buf_xprintf(&buf, "%d,", i % 10);
        cr_assert_eq(ps_buf_append(&buf, "ab", 2, &err), PS_OK);
    }
    cr_assert_eq(buf.len, 4000);
    cr_assert_eq(strlen(ps_buf_str(&buf)), 4000);
    cr_assert_eq(strncmp(ps_buf_str(&buf), "0,ab1,ab", 8), 0);
    cr_assert_eq(ps_buf_reserve(&buf, SIZE_MAX, &err), PS_FULL);
    size_t cap = buf.cap;
    ps_buf_clear(&buf);
    cr_assert_eq(buf.len, 0);
    cr_assert_eq(buf.cap, cap);
    ps_buf_fini(&buf);
}
