/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_mysql_value.c: any cell for any type of a column of MySQL's family. First byte:
 * the type; second: what kind of cell, and the form; the rest is its value. What is taken is one
 * field that neither LOAD DATA nor INSERT could read on from: NULL, a number, or a text between
 * quotes in which every special byte is escaped. */
#include "agent/dest/dst_mysql.h"
#include "common/assert.h"
#include "tests/support/fuzz_cell.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_field(struct ps_span field)
{
    if (ps_span_eq(field, ps_span_str("NULL"))) {
        return;
    }
    bool hex = field.len > 0 && field.ptr[0] == 'x';
    struct ps_span rest = ps_span(field.ptr + hex, field.len - hex);
    PS_ASSERT(rest.len > 0);
    if (rest.ptr[0] != '\'') {
        for (size_t i = 0; i < rest.len; i++) {
            PS_ASSERT(rest.ptr[i] != '\0' && strchr("0123456789+-.e", rest.ptr[i]) != NULL);
        }
        return;
    }
    PS_ASSERT(rest.len >= 2 && rest.ptr[rest.len - 1] == '\'');
    for (size_t i = 1; i + 1 < rest.len; i++) {
        PS_ASSERT(rest.ptr[i] != '\'' && rest.ptr[i] != '\n' && rest.ptr[i] != '\0');
        if (rest.ptr[i] == '\\') {
            i++;
            PS_ASSERT(i + 1 < rest.len && strchr("0nr'\\", rest.ptr[i]) != NULL);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char sad[] = "sad";
    static char quote[] = "it's";
    static char *members[] = {sad, quote};
    if (size < 2) {
        return 0;
    }
    const struct dst_mysql_column column = {
        .type = (enum dst_mysql_type)(data[0] % (MY_BY_SERVER + 1)),
        .is_unsigned = (data[0] & 0x80) != 0,
        .low = INT32_MIN,
        .high = data[0] % (MY_BY_SERVER + 1) == MY_BIT ? 511 : INT32_MAX,
        .most = data[0] % (MY_BY_SERVER + 1) == MY_BIT ? 2 : 40,
        .precision = data[1] & 0x40 ? 6 : 3,
        .scale = 2,
        .utf8mb3 = (data[1] & 0x20) != 0,
        .members = members,
        .member_count = 2,
        .zone_us = data[1] & 0x10 ? 0 : INT64_MIN,
        .last_us = INT64_C(2147483647999999)};
    struct cell cell = fuzz_cell(data[1], data + 2, size - 2);
    struct ps_buf out = PS_BUF_INIT;
    ps_buf_xappend(&out, "before", 6);
    enum dst_mysql_form form = (enum dst_mysql_form)(data[1] / 4 % 3);
    if (dst_mysql_value_put(&column, &cell, form, &out) == NULL) {
        check_field(ps_span(out.ptr + 6, out.len - 6));
    }
    ps_buf_fini(&out);
    return 0;
}
