/* SPDX-License-Identifier: Apache-2.0 */
/* What each option of the dialect means, in exact records and rejects. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "tests/support/decode_log.h"

static void
expect_bytes(struct csv_dialect dialect, const char *bytes, size_t len, const char *wanted)
{
    struct ps_buf found = PS_BUF_INIT;
    struct decode_log_run run = {.dialect = dialect};
    decode_log(&run, (const uint8_t *)bytes, len, &found);
    cr_expect_str_eq(ps_buf_str(&found), wanted, "found:\n%s\nwanted:\n%s", ps_buf_str(&found),
                     wanted);
    ps_buf_fini(&found);
}

static void
expect(struct csv_dialect dialect, const char *text, const char *wanted)
{
    expect_bytes(dialect, text, strlen(text), wanted);
}

static struct csv_mark
mark(const char *text)
{
    struct csv_mark out = {.len = (uint8_t)strlen(text)};
    memcpy(out.bytes, text, out.len);
    return out;
}

/* The default with some members set. */
#define WITH(...)                                                                                  \
    ({                                                                                             \
        struct csv_dialect d = csv_dialect_default();                                              \
        d.max_record_bytes = 1000;                                                                 \
        d.max_columns = 5;                                                                         \
        __VA_ARGS__;                                                                               \
        d;                                                                                         \
    })
#define PLAIN WITH(d.trim = false)

Test(csv_dialect, records_and_quotes)
{
    expect(PLAIN, "a,b\n1,\"x, \"\"y\"\"\"\n\"\",\n",
           "H|a|b\nR 4 13 2|u1|qx, \"y\"\nR 17 4 3|q|u\n");
    expect(PLAIN, "a,b\n\"1\n2\",3\n4,5", "H|a|b\nR 4 8 2|q1\\0a2|u3\nR 12 3 4|u4|u5\n");
    expect(PLAIN, "a,b\n5\" disk,it\"\"s\n", "H|a|b\nR 4 14 2|u5\" disk|uit\"\"s\n");
    expect(PLAIN, "a,b\n\"x\"y,1\n2,3\n",
           "H|a|b\nX 4 7 2 bad_quote a field 1: found 'y' behind the closing quote at byte 7; a "
           "delimiter or a line end is expected\nR 11 4 3|u2|u3\n");
    expect(PLAIN, "a,b\n1,\"x\n2,3\n",
           "H|a|b\nX 4 5 2 bad_quote b field 2: the quote at byte 6 is never closed; a closing "
           "quote is expected\nR 9 4 3|u2|u3\n");
    expect(WITH(d.quote = '\''), "a,b\n'1,''2',\"3\"\n", "H|a|b\nR 4 12 2|q1,'2|u\"3\"\n");
    expect(WITH(d.quote = 0), "a,b\n\"1,2\"\n", "H|a|b\nR 4 6 2|u\"1|u2\"\n");
    expect(WITH(d.escape = '\\'), "a,b\n\"1\\\"\\\\2\",\\,\\x\n",
           "H|a|b\nR 4 14 2|q1\"\\5c2|u,x\n");
}

Test(csv_dialect, line_ends)
{
    expect(PLAIN, "a,b\r\n1,2\r\n3,4\n\r\n5,\r6\r\n",
           "H|a|b\nR 5 5 2|u1|u2\nR 10 4 3|u3|u4\nR 16 6 5|u5|u\\0d6\n");
    expect(PLAIN, "a,b\r1,\n\r3,4\r", "H|a|b\nR 4 4 2|u1|u\\0a\nR 8 4 3|u3|u4\n");
    expect(WITH(d.line_end = CSV_LINE_LF), "a,b\n1,2\r\n", "H|a|b\nR 4 5 2|u1|u2\\0d\n");
    expect(WITH(d.line_end = CSV_LINE_CRLF), "a,b\r\n1,2\n3\r\n4,\"5\"\n6\r\n7,8\r\n",
           "H|a|b\nR 5 7 2|u1|u2\\0a3\n"
           "X 12 9 4 bad_quote b field 2: found byte 0x0A behind the closing quote at byte 17; a "
           "delimiter or a line end is expected\nR 21 5 6|u7|u8\n");
    expect(WITH(d.line_end = CSV_LINE_CR), "a,b\r1,2\n\r", "H|a|b\nR 4 5 2|u1|u2\\0a\n");
}

Test(csv_dialect, delimiters)
{
    expect(WITH(d.delimiter = mark("||")), "a||b\n1|2||\"3||4\"\n",
           "H|a|b\nR 5 12 2|u1\\7c2|q3\\7c\\7c4\n");
    expect(WITH(d.delimiter = mark("\t")), "a\tb\n1,\t2\n", "H|a|b\nR 4 5 2|u1,|u2\n");
    expect(WITH(d.delimiter = mark("")), "a;b,c;d\n1;2;3\n", "H|a|b,c|d\nR 8 6 2|u1|u2|u3\n");
    expect(WITH(d.delimiter = mark("")), "\"a;;;\",b\n1,2\n", "H|a;;;|b\nR 9 4 2|u1|u2\n");
    expect(WITH(d.delimiter = mark("\xC2\xA6")),
           "a\xC2\xA6"
           "b\n1\xC2\xA6\n",
           "H|a|b\nR 5 4 2|u1|u\n");
}

Test(csv_dialect, headers)
{
    expect(WITH(d.header = CSV_HEADER_FALSE), "1,2\n3,4\n",
           "H|c1|c2\nR 0 4 1|u1|u2\nR 4 4 2|u3|u4\n");
    expect(WITH(d.header = CSV_HEADER_AUTO), "x,y\n3,4\n", "H|x|y\nR 4 4 2|u3|u4\n");
    expect(WITH(d.header = CSV_HEADER_AUTO), "x,7\n", "H|c1|c2\nR 0 4 1|ux|u7\n");
    expect(WITH(d.header = CSV_HEADER_AUTO), "x,x\n", "H|c1|c2\nR 0 4 1|ux|ux\n");
    expect(WITH(d.header = CSV_HEADER_AUTO), "x,\n", "H|c1|c2\nR 0 3 1|ux|u\n");
    expect(PLAIN, "\xEF\xBB\xBF\"a \"\"b\"\n1\n", "H|a \"b\nR 11 2 2|u1\n");
    expect(PLAIN, "a,a,,a_2,A\n", "H|a|a_3|_3|a_2|A_4\n");
    expect(PLAIN, "\n\na\n1\n", "H|a\nR 4 2 4|u1\n");
    expect(PLAIN, "a,\xFF\n",
           "E baddata bad_header csv: name 2 of the header is not valid UTF-8 (or holds U+0000)\n");
    expect(PLAIN, "a,b,c,d,e,f\n",
           "E baddata bad_header csv: the first record has 6 fields, at most 5 are expected "
           "(limits.max_columns)\n");
    expect(PLAIN, "\"a\n",
           "E baddata bad_header csv: the header at line 1 has a quote that is not closed, or "
           "something behind a closing quote\n");
    expect(PLAIN,
           "\xFF\xFE"
           "a",
           "E baddata bad_encoding csv: the object begins with a UTF-16 byte order mark, UTF-8 is "
           "expected; set format.encoding: utf-16\n");
    expect(WITH(d.skip_lines = 2), "\"not\n\na,b\n1,2\n", "H|a|b\nR 10 4 4|u1|u2\n");
}

Test(csv_dialect, comments_trim_and_blank_lines)
{
    expect(WITH(d.comment = mark("#")), "# \"x\na,b\n#1,2\n3,#4\n#", "H|a|b\nR 14 5 4|u3|u#4\n");
    expect(WITH(d.trim = true), " a ,b\t\n 1\t, \" 2 \" \n  \n", "H|a|b\nR 7 12 2|u1|q 2 \n");
    expect(WITH(d.trim = true; d.delimiter = mark("\t")), "a\tb\n 1 \t\n", "H|a|b\nR 4 5 2|u1|u\n");
    expect(PLAIN, "a,b\n\n1,2\n\n\n", "H|a|b\nR 5 4 3|u1|u2\n");
    expect(PLAIN, "a\n1\n\n\"\"\n", "H|a\nR 2 2 2|u1\nR 4 1 3|u\nR 5 3 4|q\n");
}

Test(csv_dialect, ragged)
{
    static const char text[] = "a,b\n1\n1,2,3\n4,5\n";
    expect(PLAIN, text,
           "H|a|b\nX 4 2 2 ragged b found 1 fields; 2 are expected\n"
           "X 6 6 3 ragged - found 3 fields; 2 are expected\nR 12 4 4|u4|u5\n");
    expect(WITH(d.ragged = CSV_RAGGED_PAD), text,
           "H|a|b\nR 4 2 2|u1|-\nX 6 6 3 ragged - found 3 fields; 2 are expected\n"
           "R 12 4 4|u4|u5\n");
    expect(WITH(d.ragged = CSV_RAGGED_CUT), text,
           "H|a|b\nR 4 2 2|u1|-\nR 6 6 3|u1|u2\nR 12 4 4|u4|u5\n");
}

Test(csv_dialect, encodings)
{
    expect(PLAIN, "a,b\n1,x\xC3\n\xE9,2\nc,\xC3\xA9\n",
           "H|a|b\nX 4 5 2 bad_utf8 b field 2: found byte 0xC3 at byte 7; valid UTF-8 is expected "
           "(format.encoding)\nX 9 4 3 bad_utf8 a field 1: found byte 0xE9 at byte 9; valid UTF-8 "
           "is expected (format.encoding)\nR 13 5 4|uc|u\xC3\xA9\n");
    expect_bytes(PLAIN, "a,b\n1,\0\n2,3\n", 12,
                 "H|a|b\nX 4 4 2 nul b field 2: found U+0000 at byte 6; text without it is "
                 "expected\nR 8 4 3|u2|u3\n");
    expect(WITH(d.encoding = CSV_LATIN1), "\xE9,b\n\"\xFC\"\"\",\xA4\n",
           "H|\xC3\xA9|b\nR 4 8 2|q\xC3\xBC\"|u\xC2\xA4\n");
    expect_bytes(
        WITH(d.encoding = CSV_UTF16),
        "\xFF\xFE"
        "a\0\n\0\xAC\x20\n\0\x00\xD8\n\0"
        "1\0\n\0",
        19, /* an odd byte ends it */
        "H|a\nR 6 4 2|u\xE2\x82\xAC\n"
        "X 10 4 3 bad_utf8 a field 1: found byte 0x00 at byte 10; valid UTF-16 is expected "
        "(format.encoding)\nR 14 4 4|u1\n"
        "X 18 1 5 bad_utf8 a field 1: found byte 0x00 at byte 18; valid UTF-16 is expected "
        "(format.encoding)\n");
    expect_bytes(WITH(d.encoding = CSV_UTF16BE), "\0a\0\n\xD8\x3D\xDE\x00\0\n", 10,
                 "H|a\nR 4 6 2|u\xF0\x9F\x98\x80\n");
}

Test(csv_dialect, too_long)
{
    expect(WITH(d.max_record_bytes = 10), "a,b\n0123456789,x\n\"01234\n56789\",x\n1,2\n",
           "H|a|b\n"
           "X 4 13 2 too_long - the record has 13 bytes; at most 10 are expected "
           "(limits.max_record_bytes)\n"
           "X 17 16 3 too_long - the record has 16 bytes; at most 10 are expected "
           "(limits.max_record_bytes)\nR 33 4 5|u1|u2\n");
}

Test(csv_dialect, tokens_of_others_are_refused)
{
    struct csv_dialect dialect = csv_dialect_default();
    struct decoder *decoder = NULL;
    struct decoder *other = NULL;
    struct ps_buf token = PS_BUF_INIT;
    struct ps_error err = {0};
    size_t consumed = 0;
    bool stopped = false;
    const struct decode_sink sink = {0};
    cr_assert_eq(csv_open(&dialect, ps_span("", 0), 0, &decoder, &err), PS_OK);
    cr_assert_eq(csv_run(decoder, (const uint8_t *)"a,b\n1,2\n", 4, false, 1, &sink, &consumed,
                         &stopped, &err),
                 PS_OK);
    cr_assert(stopped);
    cr_assert_eq(csv_token_write(decoder, &token, &err), PS_OK);
    cr_assert_eq(csv_open(&dialect, ps_buf_span(&token), 4, &other, &err), PS_OK);
    csv_close(other);
    cr_assert_eq(csv_open(&dialect, ps_buf_span(&token), 5, &other, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "resume_token");
    cr_assert_eq(csv_open(&dialect, ps_span("", 0), 4, &other, &err), PS_REFUSED);
    for (size_t len = 1; len < token.len; len++) {
        uint8_t *part = malloc(len);
        memcpy(part, token.ptr, len);
        cr_assert_eq(csv_open(&dialect, ps_span(part, len), 4, &other, &err), PS_REFUSED, "%zu",
                     len);
        free(part);
    }
    token.ptr[3]++;
    cr_assert_eq(csv_open(&dialect, ps_buf_span(&token), 4, &other, &err), PS_REFUSED);
    token.ptr[3]--;
    dialect.quote = '\'';
    cr_assert_eq(csv_open(&dialect, ps_buf_span(&token), 4, &other, &err), PS_REFUSED);
    csv_close(decoder);
    ps_buf_fini(&token);
}

Test(csv_dialect, contradictions)
{
    struct ps_error err = {0};
    const struct csv_dialect bad[] = {
        WITH(d.delimiter = mark("\n")),
        WITH(d.delimiter = mark("\"")),
        WITH(d.comment = mark("\"")),
        WITH(d.comment = mark(",x")),
        WITH(d.comment = mark("#\n")),
        WITH(d.quote = '\n'),
        WITH(d.escape = 0xE9),
        WITH(d.delimiter = mark("a\\"); d.escape = '\\'),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(csv_dialect_check(&bad[i], &err), PS_REFUSED, "%zu", i);
    }
    struct csv_dialect good = csv_dialect_default();
    cr_expect_eq(csv_dialect_check(&good, &err), PS_OK);
}
