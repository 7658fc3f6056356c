/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_pg_value.c: any cell for any type of a PostgreSQL column. First byte: the type;
 * second: what kind of cell, and the type of an array's elements; the rest is its value. What is
 * taken is one field whose length is true; a numeric has digits that the server takes, an array as
 * many elements as its dimensions say. */
#include <endian.h>

#include "agent/dest/dst_postgres.h"
#include "common/assert.h"
#include "tests/support/fuzz_cell.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_numeric(const uint8_t *field, size_t len)
{
    uint16_t head[4];
    PS_ASSERT(len >= sizeof head);
    memcpy(head, field, sizeof head);
    PS_ASSERT(len == sizeof head + 2 * (size_t)be16toh(head[0]));
    for (size_t i = sizeof head; i < len; i += 2) {
        PS_ASSERT((unsigned)(field[i] << 8 | field[i + 1]) < 10000);
    }
    PS_ASSERT(be16toh(head[3]) <= 16383);
}

static uint32_t
read_u32(const uint8_t *at)
{
    uint32_t be;
    memcpy(&be, at, sizeof be);
    return be32toh(be);
}

static void
check_array(const uint8_t *field, size_t len, Oid element)
{
    PS_ASSERT(len >= 12 && read_u32(field) <= 6 && read_u32(field + 4) <= 1);
    PS_ASSERT(read_u32(field + 8) == element);
    size_t at = 12 + 8 * (size_t)read_u32(field);
    uint64_t elements = at > 12 ? 1 : 0;
    PS_ASSERT(len >= at);
    for (size_t i = 12; i < at; i += 8) {
        PS_ASSERT(read_u32(field + i) > 0);
        elements *= read_u32(field + i);
    }
    bool null = false;
    for (; elements > 0; elements--) {
        PS_ASSERT(len >= at + 4);
        uint32_t bytes = read_u32(field + at);
        null = null || bytes == UINT32_MAX;
        at += 4 + (bytes == UINT32_MAX ? 0 : (size_t)bytes);
        PS_ASSERT(len >= at);
    }
    PS_ASSERT(at == len && null == (read_u32(field + 4) == 1));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char sad[] = "sad";
    static char happy[] = "happy";
    static char *labels[] = {happy, sad};
    if (size < 2) {
        return 0;
    }
    struct dst_postgres_column column = {.type = (enum dst_postgres_type)(data[0] % PG_BY_SERVER),
                                         .most_chars = data[1] & 0x80 ? 5 : -1,
                                         .labels = labels,
                                         .label_count = 2,
                                         .element_oid = 23};
    struct dst_postgres_column element = column;
    element.type = (enum dst_postgres_type)((data[1] >> 2) % PG_ARRAY);
    column.element = &element;
    struct cell cell = fuzz_cell(data[1], data + 2, size - 2);
    struct ps_buf out = PS_BUF_INIT;
    ps_buf_xappend(&out, "before", 6);
    if (dst_postgres_value_put(&column, &cell, &out) == NULL) {
        uint32_t be = 0;
        PS_ASSERT(out.len >= 6 + sizeof be);
        memcpy(&be, out.ptr + 6, sizeof be);
        size_t len = out.len - 6 - sizeof be;
        PS_ASSERT(cell.tag == CELL_NULL ? be == UINT32_MAX && len == 0 : be32toh(be) == len);
        if (column.type == PG_NUMERIC && cell.tag != CELL_NULL) {
            check_numeric(out.ptr + 6 + sizeof be, len);
        } else if (column.type == PG_ARRAY && cell.tag != CELL_NULL) {
            check_array(out.ptr + 6 + sizeof be, len, column.element_oid);
        }
    }
    ps_buf_clear(&out);
    dst_postgres_value_text(&cell, true, &out);
    PS_ASSERT(out.len > 0 && out.ptr[out.len - 1] == '\n');
    PS_ASSERT(memchr(out.ptr, '\n', out.len - 1) == NULL);
    ps_buf_fini(&out);
    return 0;
}
