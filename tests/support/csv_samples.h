/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/csv_samples.h: short inputs with every oddity of CSV, and dialects to read them in.
 */
#ifndef TESTS_SUPPORT_CSV_SAMPLES_H
#define TESTS_SUPPORT_CSV_SAMPLES_H

#include <string.h>

#include "agent/decode/csv_dialect.h"

enum { CSV_SAMPLES = 24 };

static const char *const csv_samples[CSV_SAMPLES] = {
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
} csv_sample_dialects[] = {
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
    {"one line", {BASE, COMMA, .one_line = true}},
    {"one line, lf", {BASE, COMMA, .one_line = true, .line_end = CSV_LINE_LF}},
    {"one line, crlf", {BASE, COMMA, .one_line = true, .line_end = CSV_LINE_CRLF}},
    {"one line, cr", {BASE, COMMA, .one_line = true, .line_end = CSV_LINE_CR}},
    {"one line, backslash", {BASE, COMMA, .one_line = true, .escape = '\\', .trim = true}},
    {"one line, comment", {BASE, COMMA, .one_line = true, .comment = {.bytes = "#", .len = 1}}},
    {"short, one line",
     {COMMA, .one_line = true, .quote = '"', .max_record_bytes = 16, .max_columns = 100}},
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
static inline size_t
csv_sample_len(const char *text)
{
    return strcmp(text, "a,b\nx") == 0 ? 15 : strlen(text);
}

#endif
