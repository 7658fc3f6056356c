/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdio.h>

#include "agent/decode/infer.h"
#include "agent/decode/number.h"
#include "agent/transform/transform_impl.h"
#include "common/alloc.h"
#include "tests/support/spec_rest.h"

struct flow {
    struct transform *transform;
    struct block *block;
    struct ps_buf rejects;
};

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct flow *flow = ctx;
    return transform_object(flow->transform, ps_span_str("dir/o.csv"), "batch-1", names, count,
                            err);
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct flow *flow = ctx;
    bool rejected = false;
    struct transform_reject reject;
    size_t before = flow->block->len;
    enum ps_status status =
        transform_row(flow->transform, record, 3, flow->block, &rejected, &reject, err);
    if (rejected) {
        cr_assert_eq(before, flow->block->len);
        ps_buf_xprintf(&flow->rejects, "%s %s %s\n", reject.column, reject.code, reject.reason);
    }
    return status;
}

static void
cells_print(const struct block *block, struct ps_buf *out)
{
    struct block_cursor cursor;
    struct row_meta meta;
    struct cell *cells = ps_xcalloc(block->ncols, sizeof *cells);
    bool more = true;
    block_cursor_init(&cursor, block);
    while (block_cursor_next(&cursor, &meta, cells, &more, NULL) == PS_OK && more) {
        cr_assert_eq(meta.range_index, 3);
        for (uint32_t i = 0; i < block->ncols; i++) {
            if (cells[i].tag == CELL_NULL) {
                ps_buf_xprintf(out, "- ");
            } else if (cells[i].tag == CELL_INT) {
                ps_buf_xprintf(out, "i%lld ", (long long)cells[i].integer);
            } else if (cells[i].tag == CELL_REAL) {
                ps_buf_xprintf(out, "r%.17g ", cells[i].real);
            } else {
                ps_buf_xprintf(out, "t%.*s ", (int)cells[i].len, (const char *)cells[i].ptr);
            }
        }
        ps_buf_xprintf(out, "\n");
    }
    cr_assert_not(more);
    ps_free(cells);
}

/* What becomes of the text: rows, then rejects; or the error's code. */
static void
expect_with(transform_row_fn row, const char *more, const char *text, const char *wanted)
{
    struct spec *spec = spec_with(more);
    struct flow flow = {.rejects = PS_BUF_INIT};
    const struct decode_sink sink = {.ctx = &flow, .header = on_header, .record = on_record};
    struct infer *infer = NULL;
    struct decoder *decoder = NULL;
    struct ps_error err = {0};
    struct ps_buf found = PS_BUF_INIT;
    const struct spec_column *columns = NULL;
    const char *note = NULL;
    size_t count = 0;
    size_t consumed = 0;
    bool stopped = false;
    const struct decode_ops *ops = decode_find(spec_str(spec, "format.type"), &err);
    cr_assert_eq(infer_new(spec, &infer, &err), PS_OK);
    cr_assert_eq(infer_end(infer, &columns, &count, &note, &err), PS_OK, "%s", err.text);
    enum ps_status status = transform_new(spec, columns, count, &flow.transform, &err);
    if (status == PS_OK) {
        flow.transform->row = row;
        flow.block = block_new((uint32_t)count);
        cr_assert_eq(ops->open(spec, ps_span("", 0), 0, &decoder, &err), PS_OK);
        status = ops->run(decoder, (const uint8_t *)text, strlen(text), true, UINT64_MAX, &sink,
                          &consumed, &stopped, &err);
        cells_print(flow.block, &found);
    }
    ps_buf_xappend(&found, flow.rejects.ptr, flow.rejects.len);
    if (status != PS_OK) {
        ps_buf_xprintf(&found, "%s %s", ps_status_name(status), err.code);
    }
    cr_expect_str_eq(ps_buf_str(&found), wanted, "found:\n%s\nwanted:\n%s\n%s", ps_buf_str(&found),
                     wanted, err.text);
    ops->close(decoder);
    transform_free(flow.transform);
    block_free(flow.block);
    infer_free(infer);
    ps_buf_fini(&flow.rejects);
    ps_buf_fini(&found);
    spec_unref(spec);
}

static void
expect(const char *more, const char *text, const char *wanted)
{
    expect_with(transform_any, more, text, wanted);
    if (transform_v3_runs()) {
        expect_with(transform_v3, more, text, wanted);
    }
}

Test(transform, types)
{
    expect("columns: [{name: a, type: bigint}, {name: b, type: double}, {name: c, type: text}]\n",
           "a,b,c\n1,2.5,x\n-9223372036854775808,-1e3,007\n,,\n123456789,123456789.5,\"\"\n"
           "123456789012345678,+.5,\"a\"\"b\"\n",
           "i1 r2.5 tx \ni-9223372036854775808 r-1000 t007 \n- - - \n"
           "i123456789 r123456789.5 t \ni123456789012345678 r0.5 ta\"b \n");
}

Test(transform, mismatches)
{
    expect("columns: [{name: a, type: bigint}]\n", "a\n01\n+1\n1.0\n9223372036854775808\n\"\"\n7\n",
           "i7 \n"
           "a bad_type found \"01\"; a bigint is expected\n"
           "a bad_type found \"+1\"; a bigint is expected\n"
           "a bad_type found \"1.0\"; a bigint is expected\n"
           "a bad_type found \"9223372036854775808\"; a bigint is expected\n"
           "a bad_type found \"\"; a bigint is expected\n");
    expect("columns: [{name: a, type: double, on_mismatch: text}]\n", "a\nx\n1e999\n2\n",
           "tx \nt1e999 \nr2 \n");
    expect("columns: [{name: a, type: bigint, on_mismatch: 'null'}, {name: b, type: text}]\n",
           "a,b\nx,y\n", "- ty \n");
    expect("columns: [{name: b, type: text}, {name: a, type: double}]\n",
           "a,b\n\"line\none\",y\n"
           "0123456789012345678901234567890123456789012345678901234567\xC3\xA9\xC3\xA9,z\n",
           "a bad_type found \"line one\"; a double is expected\n"
           "a bad_type found \"0123456789012345678901234567890123456789012345678901234567\xC3\xA9\""
           "\xE2\x80\xA6; a double is expected\n");
}

Test(transform, nulls)
{
    expect("format: {'null': ['NULL', '\\N', '-']}\n"
           "columns: [{name: a, type: text}, {name: b, type: bigint, on_mismatch: text}]\n",
           "a,b\nNULL,NULL\n\"NULL\",\"-\"\n\\N,-\n,x\nNULLx,1\n",
           "- - \ntNULL t- \n- - \nt tx \ntNULLx i1 \n");
    expect("format: {ragged: pad, 'null': []}\n"
           "columns: [{name: a, type: text}, {name: b, type: text}]\n",
           "a,b\n1\n2,\n", "t1 - \nt2 t \n");
}

Test(transform, lineage_defaults_and_constants)
{
    expect("columns: [{name: o, value: '$object'}, {name: f, value: '$offset'}, {name: l, value: "
           "'$line'}, {name: b, value: '$batch'}, {name: k, value: 'seven'}, {name: x, from: B, "
           "type: bigint, default: '5'}, {name: y, from: a, type: text}, {name: z, from: a, type: "
           "bigint}, {name: n, from: c, type: bigint, default: ''}]\n",
           "a\n1\n\"2\"\n",
           "tdir/o.csv i2 i2 tbatch-1 tseven i5 t1 i1 - \n"
           "tdir/o.csv i4 i3 tbatch-1 tseven i5 t2 i2 - \n");
    expect("columns: [{name: a, type: text}, {name: b, type: text}]\n", "a\n1\n",
           "baddata missing_column");
}

Test(transform, json_fields)
{
    expect("format: {type: ndjson}\n"
           "columns: [{name: a, type: bigint, default: '5'}, {name: b, type: text, default: none}, "
           "{name: c, from: b.c, type: double}, {name: d, from: b.c, type: text}]\n",
           "{\"a\":9223372036854775807,\"b\":{\"c\":1.50}}\n{\"b\":\"\"}\n{\"a\":null,\"b\":null}\n"
           "{\"a\":\"12\"}\n{\"a\":1.0}\n{\"a\":true}\n{\"a\":1e400,\"b\":[1, 2]}\n"
           "{\"a\":-7,\"b\":[1, \"x\"]}\n{\"a\":0,\"b\":{\"c\":1e400}}\n",
           "i9223372036854775807 t{\"c\":1.50} r1.5 t1.50 \ni5 t - - \n- - - - \ni12 tnone - - \n"
           "i-7 t[1, \"x\"] - - \n"
           "a bad_type found \"1.0\"; a bigint is expected\n"
           "a bad_type found \"true\"; a bigint is expected\n"
           "a bad_type found \"1e400\"; a bigint is expected\n"
           "c bad_type found \"1e400\"; a double is expected\n");
    /* Four columns of one and the same bytes: more than the record has. */
    expect("format: {type: ndjson}\n"
           "columns: [{name: a, type: text}, {name: b, from: a.b, type: text}, "
           "{name: c, from: a.b.c, type: text}, {name: d, from: 'a.b.c[0]', type: text}]\n",
           "{\"a\":{\"b\":{\"c\":[\"0123456789012345678901234567890123456789\"]}}}\n",
           "t{\"b\":{\"c\":[\"0123456789012345678901234567890123456789\"]}} "
           "t{\"c\":[\"0123456789012345678901234567890123456789\"]} "
           "t[\"0123456789012345678901234567890123456789\"] "
           "t0123456789012345678901234567890123456789 \n");
}

Test(transform, decimal_comma)
{
    expect("format: {decimal: ',', delimiter: ';'}\n"
           "columns: [{name: a, type: double}, {name: b, type: bigint}]\n",
           "a;b\n1,5;2\n1.5;3\n7;4\n",
           "r1.5 i2 \nr7 i4 \na bad_type found \"1.5\"; a double is expected\n");
}

Test(transform, encodings_and_long_texts)
{
    expect("format: {encoding: latin-1}\ncolumns: [{name: a, type: text}, {name: b, from: a, type: "
           "text}]\n",
           "a\n\xE9\xE9\xE9\xE9\xE9\xE9\xE9\xE9\n",
           "t\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9 "
           "t\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9 \n");
    char text[1000] = "a\n";
    char wanted[1000] = "t";
    memset(text + 2, 'x', 700);
    memset(wanted + 1, 'x', 700);
    memcpy(text + 702, "\n", 2);
    memcpy(wanted + 701, " \n", 3);
    expect("columns: [{name: a, type: text}]\n", text, wanted);
}

static unsigned refusals;
static bool
count_allocations(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    refusals++;
    return false;
}

/* After the first rows nothing is allocated, whatever the rows are. */
Test(transform, rows_allocate_nothing)
{
    struct spec *spec =
        spec_with("columns: [{name: a, type: bigint}, {name: b, type: text}, {name: "
                  "c, type: double, on_mismatch: text}]\n");
    struct flow flow = {.rejects = PS_BUF_INIT};
    const struct decode_sink sink = {.ctx = &flow, .header = on_header, .record = on_record};
    const struct spec_column *columns = NULL;
    struct decoder *decoder = NULL;
    struct ps_error err = {0};
    size_t count = spec_columns(spec, &columns);
    const struct decode_ops *ops = decode_find(spec_str(spec, "format.type"), &err);
    cr_assert_eq(transform_new(spec, columns, count, &flow.transform, &err), PS_OK);
    flow.block = block_new((uint32_t)count);
    cr_assert_eq(ops->open(spec, ps_span("", 0), 0, &decoder, &err), PS_OK);
    struct ps_buf text = PS_BUF_INIT;
    for (int i = 0; i < 500; i++) {
        ps_buf_xprintf(&text, "%d,\"a \"\"%d\"\" \xC3\xA9\",%d.5\n,\"\",x\n", i, i, i);
    }
    size_t consumed = 0;
    bool stopped = false;
    static const uint8_t head[] = "a,b,c\n1,\"\"\"\",1234567890123456789012345678901234567890\n";
    cr_assert_eq(ops->run(decoder, head, sizeof head - 1, false, UINT64_MAX, &sink, &consumed,
                          &stopped, &err),
                 PS_OK);
    cr_assert_eq(consumed, sizeof head - 1);
    ps_alloc_set_fault(count_allocations, NULL);
    cr_assert_eq(
        ops->run(decoder, text.ptr, text.len, true, UINT64_MAX, &sink, &consumed, &stopped, &err),
        PS_OK);
    ps_alloc_set_fault(NULL, NULL);
    cr_assert_eq(flow.block->rows, 1001);
    cr_assert_eq(refusals, 0, "%u allocations for 1000 rows", refusals);
    ops->close(decoder);
    transform_free(flow.transform);
    block_free(flow.block);
    ps_buf_fini(&text);
    spec_unref(spec);
}

/* One field as a cell of both types, by the one loop or the other. */
static void
cells_of(transform_row_fn row, struct transform *transform, const char *text, size_t len,
         struct block *block)
{
    struct field field = {.ptr = (const uint8_t *)text, .len = (uint32_t)len};
    struct record record = {
        .fields = &field, .count = 1, .raw = ps_span(text, len), .slack = 64, .line = 1};
    struct transform_reject reject;
    block_clear(block, 2);
    transform->row = row;
    cr_assert_eq(row(transform, &record, &(struct row_meta){.line = 1}, block, &reject), PS_OK);
}

/* Texts that look like numbers: the hot loops, the plain functions and each other agree. */
Test(transform, hot_forms_agree)
{
    static const char alphabet[] = "0123456789012345678901234567890123456789...-+e ,/:";
    struct spec *spec =
        spec_with("columns: [{name: a, type: bigint, on_mismatch: 'null'}, {name: b, "
                  "from: a, type: double, on_mismatch: 'null'}]\n");
    const struct spec_column *columns = NULL;
    struct transform *transform = NULL;
    struct ps_error err = {0};
    size_t count = spec_columns(spec, &columns);
    const struct ps_span name = ps_span_str("a");
    cr_assert_eq(transform_new(spec, columns, count, &transform, &err), PS_OK);
    cr_assert_eq(transform_object(transform, name, "", &name, 1, &err), PS_OK);
    struct block *block = block_new(2);
    uint64_t seed = 1;
    for (int round = 0; round < 600000; round++) {
        char text[128];
        memset(text, "0.7x"[round % 4], sizeof text);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t len = 1 + (seed >> 40) % (round % 3 == 0 ? 22 : 9);
        unsigned kinds = round % 2 == 0 ? 43 : sizeof alphabet - 1;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = alphabet[(seed >> 33) % kinds];
        }
        text[0] = round % 5 == 0 ? '-' : text[0];
        int64_t integer = 0;
        double real = 0;
        bool is_int = number_int((const uint8_t *)text, len, &integer);
        bool is_real = number_real((const uint8_t *)text, len, &real);
        for (int v3 = 0; v3 <= (transform_v3_runs() ? 1 : 0); v3++) {
            struct block_cursor cursor;
            struct row_meta meta;
            struct cell cells[2];
            bool more = false;
            cells_of(v3 == 1 ? transform_v3 : transform_any, transform, text, len, block);
            block_cursor_init(&cursor, block);
            cr_assert_eq(block_cursor_next(&cursor, &meta, cells, &more, &err), PS_OK);
            cr_assert_eq(cells[0].tag, is_int ? CELL_INT : CELL_NULL, "%.*s", (int)len, text);
            cr_assert_eq(cells[1].tag, is_real ? CELL_REAL : CELL_NULL, "%.*s", (int)len, text);
            cr_assert(!is_int || cells[0].integer == integer, "%.*s", (int)len, text);
            cr_assert(!is_real || memcmp(&cells[1].real, &real, sizeof real) == 0, "%.*s", (int)len,
                      text);
        }
    }
    transform_free(transform);
    block_free(block);
    spec_unref(spec);
}
