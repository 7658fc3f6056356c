/* SPDX-License-Identifier: Apache-2.0 */
/* Cells in the binary form of COPY (PostgreSQL documentation, "COPY", binary format; the fields are
 * what each type's receive function reads). Everything is checked here, so that what is wrong with
 * a value is said of that value, before the server has seen it. */
#include <stdlib.h>
#include <strings.h>

#include "agent/decode/json_check.h"
#include "agent/dest/dest_late.h"
#include "agent/dest/dst_postgres.h"
#include "agent/dest/dst_postgres_field.h"

static const char not_bool[] =
    "is no boolean: expected true, false, t, f, yes, no, on, off, 1 or 0";
static const char not_uuid[] = "is no UUID";
static const char not_json[] = "is no JSON";
static const char not_a_label[] = "is none of the enum's labels";
static const char too_long[] = "is longer than the column allows";

static const char *
put_uuid(struct ps_span text, struct ps_buf *out)
{
    uint8_t bytes[16];
    size_t digits = 0;
    bool braced = text.len > 1 && text.ptr[0] == '{' && text.ptr[text.len - 1] == '}';
    if (braced) {
        text = ps_span(text.ptr + 1, text.len - 2);
    }
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);
        bool hyphen = text.ptr[i] == '-' && digits % 4 == 0 && digits > 0 && digits < 32;
        if (digit >= 0 && digits < 32) {
            bytes[digits / 2] = (uint8_t)(digits % 2 == 0 ? digit << 4 : bytes[digits / 2] | digit);
            digits++;
        } else if (!hyphen) {
            return not_uuid;
        }
    }
    if (digits != 32) {
        return not_uuid;
    }
    put_bytes(out, bytes, sizeof bytes);
    return NULL;
}

/* As the server reads them: any beginning of a word that no other word shares. */
static const char *
put_bool(const struct cell *cell, struct ps_buf *out)
{
    static const struct {
        const char *word;
        size_t least;
        uint8_t value;
    } words[] = {{"true", 1, 1}, {"false", 1, 0}, {"yes", 1, 1}, {"no", 1, 0},
                 {"on", 2, 1},   {"off", 2, 0},   {"1", 1, 1},   {"0", 1, 0}};
    char number[PG_NUMBER_TEXT_BYTES];
    struct ps_span text = dst_postgres_number_text(cell, number);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (text.len >= words[i].least && text.len <= strlen(words[i].word) &&
            strncasecmp((const char *)text.ptr, words[i].word, text.len) == 0) {
            put_bytes(out, &words[i].value, 1);
            return NULL;
        }
    }
    return not_bool;
}

/* "\x…" is hexadecimal, as the server prints it; anything else stands for its own bytes. */
static void
put_bytea(struct ps_span text, struct ps_buf *out)
{
    bool hex = text.len >= 2 && text.len % 2 == 0 && text.ptr[0] == '\\' && text.ptr[1] == 'x';
    for (size_t i = 2; hex && i < text.len; i++) {
        hex = hex_digit(text.ptr[i]) >= 0;
    }
    if (!hex) {
        put_bytes(out, text.ptr, text.len);
        return;
    }
    uint32_t be = htobe32((uint32_t)(text.len / 2 - 1));
    ps_buf_xappend(out, &be, sizeof be);
    for (size_t i = 2; i < text.len; i += 2) {
        uint8_t byte = (uint8_t)(hex_digit(text.ptr[i]) << 4 | hex_digit(text.ptr[i + 1]));
        ps_buf_xappend(out, &byte, 1);
    }
}

/* As the server counts: blanks at the end may go beyond. */
static bool
fits(const struct dst_postgres_column *column, struct ps_span text)
{
    if (column->most_chars < 0 || text.len <= (size_t)column->most_chars) {
        return true;
    }
    int64_t chars = 0;
    for (size_t i = 0; i < text.len; i++) {
        chars += (text.ptr[i] & 0xC0) != 0x80;
        if (chars > column->most_chars && text.ptr[i] != ' ') {
            return false;
        }
    }
    return true;
}

static const char *
put_text(const struct dst_postgres_column *column, struct ps_span text, struct ps_buf *out)
{
    if (!fits(column, text)) {
        return too_long;
    }
    put_bytes(out, text.ptr, text.len);
    return NULL;
}

/* What the server alone can tell (depth, the range of a number) is left to it. */
static const char *
put_json(struct ps_span text, bool binary, struct ps_buf *out)
{
    switch (json_check(text)) {
    case JSON_OK:
    case JSON_DEPTH:
        break;
    case JSON_NUL:
    case JSON_SURROGATE:
        if (binary) {
            return "is JSON with an escape that jsonb cannot keep: \\u0000 or half a pair";
        }
        break;
    case JSON_END:
    case JSON_STRUCTURE:
    case JSON_CONTROL:
    case JSON_TOKEN:
    case JSON_MISSING:
    case JSON_ESCAPE:
    case JSON_UTF8:
    case JSON_DUPLICATE:
    case JSON_NOT_OBJECT:
    case JSON_TRAILING:
    case JSON_WIDE:
    case JSON_NOMEM:
        return not_json;
    }
    if (!binary) {
        put_bytes(out, text.ptr, text.len);
        return NULL;
    }
    uint32_t be = htobe32((uint32_t)text.len + 1);
    ps_buf_xappend(out, &be, sizeof be);
    ps_buf_xappend(out, "\x01", 1); /* the version that jsonb_recv takes */
    ps_buf_xappend(out, text.ptr, text.len);
    return NULL;
}

static int
by_bytes(const void *a, const void *b)
{
    const struct ps_span *text = a;
    const char *const *label = b;
    size_t len = strlen(*label);
    int order = memcmp(text->ptr, *label, text->len < len ? text->len : len);
    return order != 0 ? order : (text->len > len) - (text->len < len);
}

static const char *
put_enum(const struct dst_postgres_column *column, struct ps_span text, struct ps_buf *out)
{
    if (text.len == 0 || bsearch(&text, column->labels, column->label_count,
                                 sizeof column->labels[0], by_bytes) == NULL) {
        return not_a_label;
    }
    put_bytes(out, text.ptr, text.len);
    return NULL;
}

const char *
dst_postgres_value_put(const struct dst_postgres_column *column, const struct cell *cell,
                       struct ps_buf *out)
{
    if (cell->tag == CELL_NULL) {
        static const uint32_t minus_one = UINT32_MAX;
        ps_buf_xappend(out, &minus_one, sizeof minus_one);
        return column->not_null ? dest_late_null : NULL;
    }
    char number[PG_NUMBER_TEXT_BYTES];
    switch (column->type) {
    case PG_INT2:
    case PG_INT4:
    case PG_INT8:
    case PG_OID:
        return dst_postgres_number_integer(column, cell, out);
    case PG_FLOAT4:
    case PG_FLOAT8:
        return dst_postgres_number_real(column, cell, out);
    case PG_NUMERIC:
        return dst_postgres_number_numeric(cell, out);
    case PG_TEXT:
    case PG_BY_SERVER:
        return put_text(column, dst_postgres_number_text(cell, number), out);
    case PG_JSON:
    case PG_JSONB:
        return put_json(dst_postgres_number_text(cell, number), column->type == PG_JSONB, out);
    case PG_BYTEA:
        put_bytea(dst_postgres_number_text(cell, number), out);
        return NULL;
    case PG_BOOL:
        return put_bool(cell, out);
    case PG_DATE:
        return dst_postgres_time_date(dst_postgres_number_text(cell, number), out);
    case PG_TIME:
        return dst_postgres_time_time(dst_postgres_number_text(cell, number), out);
    case PG_TIMETZ:
        return dst_postgres_time_timetz(dst_postgres_number_text(cell, number), out);
    case PG_TIMESTAMP:
        return dst_postgres_time_stamp(dst_postgres_number_text(cell, number), false, out);
    case PG_TIMESTAMPTZ:
        return dst_postgres_time_stamp(dst_postgres_number_text(cell, number), true, out);
    case PG_INTERVAL:
        return dst_postgres_interval_put(dst_postgres_number_text(cell, number), out);
    case PG_UUID:
        return put_uuid(dst_postgres_number_text(cell, number), out);
    case PG_INET:
    case PG_CIDR:
        return dst_postgres_net_inet(dst_postgres_number_text(cell, number),
                                     column->type == PG_CIDR, out);
    case PG_MACADDR:
    case PG_MACADDR8:
        return dst_postgres_net_mac(dst_postgres_number_text(cell, number),
                                    column->type == PG_MACADDR ? 6 : 8, out);
    case PG_ENUM:
        return put_enum(column, dst_postgres_number_text(cell, number), out);
    case PG_ARRAY:
        return dst_postgres_array_put(column, dst_postgres_number_text(cell, number), out);
    }
    return not_bool;
}

void
dst_postgres_value_text(const struct cell *cell, bool last, struct ps_buf *out)
{
    char number[PG_NUMBER_TEXT_BYTES];
    if (cell->tag == CELL_NULL) {
        ps_buf_xappend(out, "\\N", 2);
    } else {
        struct ps_span text = dst_postgres_number_text(cell, number);
        size_t done = 0;
        for (size_t i = 0; i < text.len; i++) {
            static const char special[] = "\\\t\n\r";
            static const char letters[] = "\\tnr";
            const char *found =
                text.ptr[i] > '\\' ? NULL : memchr(special, text.ptr[i], sizeof special - 1);
            if (found != NULL) {
                ps_buf_xappend(out, text.ptr + done, i - done);
                ps_buf_xappend(out, "\\", 1);
                ps_buf_xappend(out, &letters[found - special], 1);
                done = i + 1;
            }
        }
        ps_buf_xappend(out, text.ptr + done, text.len - done);
    }
    ps_buf_xappend(out, last ? "\n" : "\t", 1);
}
