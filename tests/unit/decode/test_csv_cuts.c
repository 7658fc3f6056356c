/* SPDX-License-Identifier: Apache-2.0 */
/* How the bytes are cut, which kernel reads them and where decoding was resumed never shows. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "tests/support/decode_log.h"

static const char *const inputs[] = {
    "a,b,c\n1,2,3\n4,5,6\n",
    "a,b,c\r\n1,2,3\r\n4,5,6",
    "a,b\r1,2\r3,4\r",
    "a,b\n\"x\",\"y,\"\"z\"\"\"\n\"line\none\",\"line\r\ntwo\"\n,\n\"\",x\n",
    "\xEF\xBB\xBFname,caf\xC3\xA9\nZ\xC3\xBCrich,\xE2\x82\xAC\nbad\xFF,1\nnext,2\n",
    "a,b\n1,\"open\n2,3\n4,5\n",
    "a,b\n\"x\"y,1\n2,\"3\"4\n5\" disk,6\n7,8\n",
    "a,b\n1\n1,2,3\n\n\r\n4,5\n",
    "# c \"x\na,b\n# it's \"\n1,2\n#\n3,\"#\"\n# end",
    "a,a,A,,a_2\n1,2,3,4,5\n",
    "a\n\n1\n\"\"\n\n2\n",
    "a,b\nx\0y,1\nok,2\n",
    "p\nq;r\nid;name;t|u\n1;a;b\n2;\"c;d\";e\n",
    "a||b||c\n1||2|3||4\n\"x||y\"||z||\n",
    "a,b\n1\\,5,x\\\"y\n\"q\\\"r\",\"s\\\\\"\n\"t\"\"u\",\\\n v\n",
    " a , b \n 1 ,\t\" x \" \n\" y\" , z \n   \n \"w\"v,1\n2,3\n",
    "a,b\n0123456789012345678901234567890123456789,x\n1,\"2\n3\"\n0123456789012345678901234567890"
    "123\"\n,45\"\"6789,\"x\ny\"\n5,6\n\"0123456789\n0123456789\n0123456789\n,\"\n7,8\n",
    "a,b\n\"never closed 0123456789\n0123456789\n0123456789\n",
    "",
    "\n\n",
    "a,b",
    "\"a\n",
    "a,b\n1,2\r",
    "a,b\n\"1\",\"2\"\r",
};

static const struct {
    const char *name;
    struct csv_dialect dialect;
} dialects[] = {
#define BASE .quote = '"', .max_record_bytes = 1 << 20, .max_columns = 100
#define COMMA .delimiter = {.bytes = ",", .len = 1}
    {"plain", {BASE, COMMA}},
    {"no header", {BASE, COMMA, .header = CSV_HEADER_FALSE}},
    {"auto header", {BASE, COMMA, .header = CSV_HEADER_AUTO}},
    {"auto delimiter", {BASE, .skip_lines = 2}},
    {"semicolon", {BASE, .delimiter = {.bytes = ";", .len = 1}, .skip_lines = 2}},
    {"two bytes", {BASE, .delimiter = {.bytes = "||", .len = 2}}},
    {"backslash", {BASE, COMMA, .escape = '\\'}},
    {"comment", {BASE, COMMA, .comment = {.bytes = "#", .len = 1}}},
    {"long comment", {BASE, COMMA, .comment = {.bytes = "# ", .len = 2}}},
    {"trim", {BASE, COMMA, .trim = true}},
    {"lf", {BASE, COMMA, .line_end = CSV_LINE_LF}},
    {"crlf", {BASE, COMMA, .line_end = CSV_LINE_CRLF}},
    {"cr", {BASE, COMMA, .line_end = CSV_LINE_CR}},
    {"no quotes", {COMMA, .max_record_bytes = 1 << 20, .max_columns = 100}},
    {"apostrophe", {COMMA, .quote = '\'', .max_record_bytes = 1 << 20, .max_columns = 100}},
    {"pad", {BASE, COMMA, .ragged = CSV_RAGGED_PAD}},
    {"cut", {BASE, COMMA, .ragged = CSV_RAGGED_CUT}},
    {"latin-1", {BASE, COMMA, .encoding = CSV_LATIN1}},
    {"short", {COMMA, .quote = '"', .max_record_bytes = 40, .max_columns = 100}},
    {"short, comment",
     {COMMA, .quote = '"', .max_record_bytes = 16, .max_columns = 100,
      .comment = {.bytes = "#", .len = 1}}},
    {"short, all",
     {.delimiter = {.bytes = "||", .len = 2},
      .quote = '"',
      .escape = '\\',
      .trim = true,
      .max_record_bytes = 16,
      .max_columns = 100}},
};

/* Some inputs hold a NUL, so their length is not strlen's. */
static size_t
input_len(const char *text)
{
    return strcmp(text, "a,b\nx") == 0 ? 15 : strlen(text);
}

static void
same(const struct decode_log_run *run, const uint8_t *bytes, size_t len, struct ps_buf *wanted,
     const char *what)
{
    struct ps_buf found = PS_BUF_INIT;
    decode_log(run, bytes, len, &found);
    cr_assert_str_eq(ps_buf_str(&found), ps_buf_str(wanted),
                     "%s: first %zu, step %zu, stop %llu, kernel %d:\n%s\nwanted:\n%s", what,
                     run->first, run->step, (unsigned long long)run->stop_step, run->kernel,
                     ps_buf_str(&found), ps_buf_str(wanted));
    ps_buf_fini(&found);
}

static void
all_cuts(const struct csv_dialect *dialect, const uint8_t *bytes, size_t len, const char *what)
{
    struct ps_buf wanted = PS_BUF_INIT;
    struct decode_log_run run = {.dialect = *dialect, .kernel = KERNEL_NONE};
    decode_log(&run, bytes, len, &wanted);
    for (int kernel = KERNEL_BEST; kernel <= KERNEL_NONE; kernel++) {
        run = (struct decode_log_run){.dialect = *dialect, .kernel = (enum decode_kernel)kernel};
        same(&run, bytes, len, &wanted, what);
        for (size_t cut = 1; cut <= len; cut++) {
            run.first = cut;
            run.step = 0;
            same(&run, bytes, len, &wanted, what);
        }
        run.first = 1;
        for (run.step = 1; run.step < 9; run.step++) {
            same(&run, bytes, len, &wanted, what);
        }
        run.first = 0;
        run.step = 0;
        for (run.stop_step = 1; run.stop_step < 20; run.stop_step++) {
            same(&run, bytes, len, &wanted, what);
        }
        run.first = run.step = 3;
        run.stop_step = 1;
        same(&run, bytes, len, &wanted, what);
    }
    ps_buf_fini(&wanted);
}

Test(csv_cuts, nothing_shows, .timeout = 250)
{
    for (size_t d = 0; d < sizeof dialects / sizeof *dialects; d++) {
        for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
            all_cuts(&dialects[d].dialect, (const uint8_t *)inputs[i], input_len(inputs[i]),
                     dialects[d].name);
        }
    }
}

Test(csv_cuts, nothing_shows_in_utf16, .timeout = 250)
{
    struct csv_dialect dialect = csv_dialect_default();
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        uint8_t wide[1024] = {0xFE, 0xFF};
        size_t len = input_len(inputs[i]);
        for (size_t k = 0; k < len; k++) {
            wide[2 + k * 2] = inputs[i][k] == 'x' ? 0x20 : inputs[i][k] == 'z' ? 0xD8 : 0;
            wide[3 + k * 2] = (uint8_t)inputs[i][k];
        }
        dialect.encoding = CSV_UTF16;
        all_cuts(&dialect, wide, len * 2 + 2, "utf-16");
        all_cuts(&dialect, wide, len * 2 + 1, "utf-16, odd");
        dialect.encoding = CSV_UTF16BE;
        dialect.max_record_bytes = 50;
        all_cuts(&dialect, wide + 2, len * 2, "utf-16be");
    }
}

/* Pseudo-random rows over more than one chunk of the index, with every kernel and odd windows. */
Test(csv_cuts, long_inputs, .timeout = 250)
{
    static const char alphabet[] = "abc,,,\"\"\"\n\n\r\xC3\xA9# '5\\";
    enum { LEN = 60000 };
    uint8_t *bytes = calloc(1, LEN);
    uint32_t seed = 7;
    for (unsigned round = 0; round < 12; round++) {
        unsigned kinds = round % 4 == 0 ? 6 : round % 4 == 1 ? 10 : sizeof alphabet - 1;
        for (size_t i = 0; i < LEN; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = (uint8_t)alphabet[(seed >> 12) % kinds];
            bytes[i] = i % 97 == 0 ? '\n' : bytes[i];
        }
        struct csv_dialect dialect = csv_dialect_default();
        dialect.ragged = round % 2 == 0 ? CSV_RAGGED_CUT : CSV_RAGGED_REJECT;
        dialect.max_record_bytes = round % 3 == 0 ? 300 : 100000;
        dialect.header = CSV_HEADER_FALSE;
        struct ps_buf wanted = PS_BUF_INIT;
        struct decode_log_run run = {.dialect = dialect, .kernel = KERNEL_NONE};
        decode_log(&run, bytes, LEN, &wanted);
        run.kernel = KERNEL_BEST;
        same(&run, bytes, LEN, &wanted, "long");
        run.kernel = KERNEL_SCALAR;
        same(&run, bytes, LEN, &wanted, "long");
        run.kernel = KERNEL_BEST;
        run.first = 1000 + round;
        run.step = 4093;
        same(&run, bytes, LEN, &wanted, "long");
        run.stop_step = 777;
        same(&run, bytes, LEN, &wanted, "long");
        ps_buf_fini(&wanted);
    }
    free(bytes);
}
