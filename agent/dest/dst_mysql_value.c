/* SPDX-License-Identifier: Apache-2.0 */
/* Cells as text that LOAD DATA and INSERT read alike. Everything is checked here, so that what is
 * wrong with a value is said of that value, before the server has seen it, and so that the server,
 * which would rather change a value than refuse it, has nothing to change. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "agent/decode/json_check.h"
#include "agent/dest/dest_late.h"
#include "agent/dest/dst_mysql_field.h"
#include "common/utf8.h"

enum { DECIMAL_MOST = 65 }; /* digits of the widest decimal */

static const char not_integer[] = "is no whole number";
static const char too_large_integer[] = "is outside of the integer column's range";
static const char not_number[] = "is no number";
static const char too_large_number[] = "is outside of the column's range";
static const char negative_number[] = "is below zero, and the column is unsigned";
static const char inexact[] =
    "is a whole number that the floating-point column cannot hold exactly";
static const char no_nan[] = "is no finite number, and the server knows no other";
static const char not_bool[] = "is no boolean: expected true, false, t, f, yes, no, on, off, or a "
                               "whole number from -128 to 127";
static const char not_year[] = "is no year from 1901 to 2155";
static const char not_uuid[] = "is no UUID";
static const char not_inet4[] = "is no IPv4 address";
static const char not_inet6[] = "is no IPv6 address";
static const char not_utf8[] = "is not UTF-8";
static const char four_bytes[] = "has a character of four bytes, and the column is utf8mb3";
static const char too_long[] = "is longer than the column allows";
static const char not_json[] = "is no JSON";
static const char not_member[] = "is none of the column's values";

/* ---- numbers */

static void
put_int(int64_t value, struct ps_buf *out)
{
    char digits[24];
    char *at = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        *--at = '-';
    }
    dst_mysql_field_put(out, at, (size_t)(digits + sizeof digits - at));
}

/* A whole number of a cell; a real counts where it is one exactly. */
static bool
whole(const struct cell *cell, int64_t *out)
{
    if (cell->tag == CELL_REAL) {
        *out = fabs(cell->real) <= 9007199254740992.0 ? (int64_t)cell->real : 0;
        return fabs(cell->real) <= 9007199254740992.0 && cell->real == trunc(cell->real);
    }
    *out = cell->integer;
    return cell->tag == CELL_INT || dest_read_int(ps_span(cell->ptr, cell->len), out);
}

static const char *
put_integer(const struct dst_mysql_column *column, const struct cell *cell, struct ps_buf *out)
{
    int64_t value = 0;
    if (!whole(cell, &value)) {
        return not_integer;
    }
    if (value < column->low || (value > 0 && (uint64_t)value > column->high)) {
        return too_large_integer;
    }
    put_int(value, out);
    return NULL;
}

static const char *
put_unsigned(const struct dst_mysql_column *column, const struct cell *cell, struct ps_buf *out)
{
    int64_t value = 0;
    uint64_t large = 0;
    if (whole(cell, &value)) {
        large = (uint64_t)value;
        if (value < 0) {
            return too_large_integer;
        }
    } else if (!dest_cell_is_text(cell) ||
               !dest_read_unsigned(ps_span(cell->ptr, cell->len), &large)) {
        return not_integer;
    }
    if (large > column->high) {
        return too_large_integer;
    }
    ps_buf_xprintf(out, "%" PRIu64, large);
    return NULL;
}

static const char *
put_bool(const struct dst_mysql_column *column, const struct cell *cell, struct ps_buf *out)
{
    char number[DEST_NUMBER_BYTES];
    bool value = false;
    if (dest_read_bool(dest_cell_text(cell, number), &value)) {
        ps_buf_xappend(out, value ? "1" : "0", 1);
        return NULL;
    }
    return put_integer(column, cell, out) == NULL ? NULL : not_bool;
}

static const char *
put_bit(const struct dst_mysql_column *column, const struct cell *cell, enum dst_mysql_form form,
        struct ps_buf *out)
{
    struct ps_buf digits = PS_BUF_INIT;
    uint8_t bytes[8];
    const char *why = put_unsigned(column, cell, &digits);
    if (why == NULL) {
        uint64_t value = 0;
        (void)dest_read_unsigned(ps_buf_span(&digits), &value);
        for (size_t i = column->most; i-- > 0; value >>= 8) {
            bytes[i] = (uint8_t)value;
        }
        dst_mysql_field_bytes(ps_span(bytes, (size_t)column->most), form, out);
    }
    ps_buf_fini(&digits);
    return why;
}

static const char *
put_real(const struct dst_mysql_column *column, const struct cell *cell, struct ps_buf *out)
{
    bool is_float = column->type == MY_FLOAT;
    int64_t most = is_float ? INT64_C(1) << 24 : INT64_C(1) << 53;
    double value = cell->real;
    if (cell->tag == CELL_INT) {
        value = (double)cell->integer;
        if (cell->integer > most || cell->integer < -most) {
            return inexact;
        }
    } else if (cell->tag != CELL_REAL && !dest_read_real(ps_span(cell->ptr, cell->len), &value)) {
        return not_number;
    }
    if (!isfinite(value)) {
        return no_nan;
    }
    if (column->is_unsigned && value < 0) {
        return negative_number;
    }
    if (is_float && isinf((float)value)) {
        return too_large_number;
    }
    const struct cell exact = {.tag = CELL_REAL, .real = value};
    char number[DEST_NUMBER_BYTES];
    struct ps_span text = dest_cell_text(&exact, number);
    ps_buf_xappend(out, text.ptr, text.len);
    return NULL;
}

/* ---- decimals: digits without sign and point, and where the point stands */

struct decimal {
    char digits[DECIMAL_MOST + 2]; /* room for one that rounding looks at, and one it makes */
    int64_t count;                 /* digits kept */
    int64_t point;                 /* digits before the point; may be negative or beyond them */
    bool negative;
};

/* Significant digits from the first that is not zero; those beyond what any column holds are read
 * for their number only. */
static bool
read_decimal(struct ps_span text, struct decimal *out)
{
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    bool behind = false;
    bool any = false;
    out->negative = at == 1 && text.ptr[0] == '-';
    for (; at < text.len && text.ptr[at] != 'e' && text.ptr[at] != 'E'; at++) {
        uint8_t c = text.ptr[at];
        if (c == '.' && !behind) {
            behind = true;
            continue;
        }
        if (c < '0' || c > '9') {
            return false;
        }
        any = true;
        if (out->count == 0 && c == '0') {
            out->point -= behind ? 1 : 0;
            continue;
        }
        if (out->count <= DECIMAL_MOST) {
            out->digits[out->count++] = (char)c;
        }
        out->point += behind ? 0 : 1;
    }
    int64_t exponent = 0;
    if (at < text.len &&
        (!dest_read_int(ps_span(text.ptr + at + 1, text.len - at - 1), &exponent) ||
         exponent > INT32_MAX || exponent < INT32_MIN)) {
        return false;
    }
    out->point += exponent;
    return any;
}

/* Half away from zero to so many digits behind the point, as the server does. */
static void
round_decimal(struct decimal *decimal, int64_t scale)
{
    int64_t keep = decimal->point + scale;
    if (keep >= decimal->count) {
        return;
    }
    bool up = keep >= 0 && decimal->digits[keep] >= '5';
    decimal->count = keep < 0 ? 0 : keep;
    for (int64_t i = decimal->count; up && i-- > 0;) {
        up = decimal->digits[i] == '9';
        decimal->digits[i] = up ? '0' : (char)(decimal->digits[i] + 1);
    }
    if (up) {
        memmove(decimal->digits + 1, decimal->digits, (size_t)decimal->count);
        decimal->digits[0] = '1';
        decimal->count++;
        decimal->point++;
    }
}

static const char *
put_decimal_text(const struct dst_mysql_column *column, struct ps_span text, struct ps_buf *out)
{
    struct decimal decimal = {.count = 0};
    if (!read_decimal(text, &decimal)) {
        return not_number;
    }
    round_decimal(&decimal, column->scale);
    if (decimal.count == 0) {
        ps_buf_xappend(out, "0", 1);
        return NULL;
    }
    if (decimal.negative && column->is_unsigned) {
        return negative_number;
    }
    if (decimal.point > (int64_t)column->precision - (int64_t)column->scale) {
        return too_large_number;
    }
    ps_buf_xappend(out, "-", decimal.negative ? 1 : 0);
    for (int64_t i = decimal.point < 0 ? decimal.point : 0; i < decimal.count || i < decimal.point;
         i++) {
        ps_buf_xappend(out, ".", i == decimal.point ? 1 : 0);
        ps_buf_xappend(out, i >= 0 && i < decimal.count ? &decimal.digits[i] : "0", 1);
    }
    return NULL;
}

static uint64_t
pow_10(uint32_t exponent)
{
    uint64_t value = 1;
    for (; exponent > 0; exponent--) {
        value *= 10;
    }
    return value;
}

/* True when the number is one of at most 15 digits that the column's scale holds, as its shortest
 * text would say: no text of it is made. */
static bool
put_short_decimal(const struct dst_mysql_column *column, double real, struct ps_buf *out)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    static const int64_t units[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    if (column->scale >= sizeof powers / sizeof powers[0]) {
        return false;
    }
    double scaled = real * powers[column->scale];
    if (!(fabs(scaled) < 1e15) || (real < 0 && column->is_unsigned)) {
        return false;
    }
    int64_t nearest = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    int64_t unit = units[column->scale];
    uint32_t before = column->precision - column->scale;
    if ((double)nearest / powers[column->scale] != real ||
        (before < 15 && llabs(nearest / unit) >= (int64_t)pow_10(before))) {
        return false;
    }
    dst_mysql_field_put(out, "-", nearest < 0 ? 1 : 0);
    put_int(llabs(nearest / unit), out);
    if (unit > 1) {
        char behind[8] = ".";
        int64_t rest = llabs(nearest % unit);
        for (uint32_t i = column->scale; i > 0; i--, rest /= 10) {
            behind[i] = (char)('0' + rest % 10);
        }
        dst_mysql_field_put(out, behind, 1 + column->scale);
    }
    return true;
}

static const char *
put_decimal(const struct dst_mysql_column *column, const struct cell *cell, struct ps_buf *out)
{
    if (cell->tag == CELL_REAL && put_short_decimal(column, cell->real, out)) {
        return NULL;
    }
    char number[DEST_NUMBER_BYTES];
    if (cell->tag == CELL_REAL && !isfinite(cell->real)) {
        return no_nan;
    }
    return put_decimal_text(column, dest_cell_text(cell, number), out);
}

/* ---- texts */

static const char *
check_chars(const struct dst_mysql_column *column, struct ps_span text)
{
    uint64_t chars = 0;
    for (size_t i = 0; i < text.len; i++) {
        chars += (text.ptr[i] & 0xC0) != 0x80;
        if (column->utf8mb3 && text.ptr[i] >= 0xF0) {
            return four_bytes;
        }
    }
    return chars > column->most ? too_long : NULL;
}

static const char *
put_text(const struct dst_mysql_column *column, const struct cell *cell, struct ps_span text,
         struct ps_buf *out)
{
    if (cell->tag == CELL_BLOB && !ps_utf8_valid(text)) {
        return not_utf8;
    }
    bool in_bytes = column->type == MY_TEXT && !column->as_text;
    if (in_bytes && text.len > column->most) {
        return too_long;
    }
    bool counts = column->type == MY_CHARS && (text.len > column->most || column->utf8mb3);
    const char *why = counts || column->utf8mb3 ? check_chars(column, text) : NULL;
    if (why == NULL) {
        dst_mysql_value_quote(text, out);
    }
    return why;
}

static bool
is_member(const struct dst_mysql_column *column, struct ps_span text)
{
    for (size_t i = 0; i < column->member_count; i++) {
        if (text.len == strlen(column->members[i]) &&
            strncasecmp(column->members[i], (const char *)text.ptr, text.len) == 0) {
            return true;
        }
    }
    return false;
}

/* What the server alone can tell (depth, the range of a number) is left to it. */
static bool
is_json(struct ps_span text)
{
    enum json_fault fault = json_check(text);
    return fault == JSON_OK || fault == JSON_DEPTH || fault == JSON_NUL;
}

/* A number that is no member would be taken for a member's place. */
static const char *
put_member(const struct dst_mysql_column *column, struct ps_span text, struct ps_buf *out)
{
    struct ps_span rest = text;
    for (bool more = column->type == MY_ENUM || text.len > 0; more;) {
        const uint8_t *comma =
            column->type == MY_SET && rest.len > 0 ? memchr(rest.ptr, ',', rest.len) : NULL;
        size_t len = comma == NULL ? rest.len : (size_t)(comma - rest.ptr);
        if (!is_member(column, ps_span(rest.ptr, len))) {
            return not_member;
        }
        more = comma != NULL;
        rest = ps_span(rest.ptr + len + more, rest.len - len - more);
    }
    dst_mysql_value_quote(text, out);
    return NULL;
}

static const char *
put_uuid(struct ps_span text, struct ps_buf *out)
{
    uint8_t bytes[16];
    if (!dest_read_uuid(text, bytes)) {
        return not_uuid;
    }
    ps_buf_xappend(out, "'", 1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        ps_buf_xprintf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
    }
    ps_buf_xappend(out, "'", 1);
    return NULL;
}

static const char *
put_inet(const struct dst_mysql_column *column, struct ps_span text, struct ps_buf *out)
{
    char copy[INET6_ADDRSTRLEN + 1];
    uint8_t bytes[16];
    bool is_4 = column->type == MY_INET4;
    const char *why = is_4 ? not_inet4 : not_inet6;
    if (text.len >= sizeof copy || memchr(text.ptr, 0, text.len) != NULL) {
        return why;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(is_4 ? AF_INET : AF_INET6, copy, bytes) != 1) {
        return why;
    }
    dst_mysql_value_quote(text, out);
    return NULL;
}

static const char *
put_year(const struct cell *cell, struct ps_buf *out)
{
    int64_t year = 0;
    if (!whole(cell, &year) || year < 1901 || year > 2155) {
        return not_year;
    }
    put_int(year, out);
    return NULL;
}

static const char *
put_binary(const struct dst_mysql_column *column, struct ps_span bytes, enum dst_mysql_form form,
           struct ps_buf *out)
{
    if (bytes.len > column->most) {
        return too_long;
    }
    dst_mysql_field_bytes(bytes, form, out);
    return NULL;
}

/* ---- fields */

/* What has to be escaped between quotes. */
static const char *
escape_of(uint8_t c)
{
    switch (c) {
    case '\0':
        return "\\0";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\'':
        return "\\'";
    case '\\':
        return "\\\\";
    default:
        return NULL;
    }
}

void
dst_mysql_value_quote(struct ps_span text, struct ps_buf *out)
{
    size_t done = 0;
    dst_mysql_field_put(out, "'", 1);
    for (size_t i = 0; i < text.len; i++) {
        const char *escape = text.ptr[i] > '\\' ? NULL : escape_of(text.ptr[i]);
        if (escape != NULL) {
            dst_mysql_field_put(out, text.ptr + done, i - done);
            dst_mysql_field_put(out, escape, 2);
            done = i + 1;
        }
    }
    if (text.len > done) {
        dst_mysql_field_put(out, text.ptr + done, text.len - done);
    }
    dst_mysql_field_put(out, "'", 1);
}

void
dst_mysql_field_bytes(struct ps_span bytes, enum dst_mysql_form form, struct ps_buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    if (form == MY_FORM_LOAD) {
        dst_mysql_value_quote(bytes, out);
        return;
    }
    ps_buf_xprintf(out, "%s", form == MY_FORM_LITERAL ? "x'" : "'");
    for (size_t i = 0; i < bytes.len; i++) {
        const char pair[2] = {digits[bytes.ptr[i] >> 4], digits[bytes.ptr[i] & 15]};
        ps_buf_xappend(out, pair, sizeof pair);
    }
    ps_buf_xappend(out, "'", 1);
}

const char *
dst_mysql_value_put(const struct dst_mysql_column *column, const struct cell *cell,
                    enum dst_mysql_form form, struct ps_buf *out)
{
    char number[DEST_NUMBER_BYTES];
    if (cell->tag == CELL_NULL) {
        ps_buf_xappend(out, "NULL", 4);
        return column->not_null ? dest_late_null : NULL;
    }
    switch (column->type) {
    case MY_INT:
        return put_integer(column, cell, out);
    case MY_UNSIGNED:
        return put_unsigned(column, cell, out);
    case MY_BOOL:
        return put_bool(column, cell, out);
    case MY_DECIMAL:
        return put_decimal(column, cell, out);
    case MY_FLOAT:
    case MY_DOUBLE:
        return put_real(column, cell, out);
    case MY_BINARY:
        return put_binary(column, dest_cell_text(cell, number), form, out);
    case MY_BIT:
        return put_bit(column, cell, form, out);
    case MY_DATE:
    case MY_TIME:
    case MY_DATETIME:
    case MY_TIMESTAMP:
        return dst_mysql_time_put(column, dest_cell_text(cell, number), out);
    case MY_YEAR:
        return put_year(cell, out);
    case MY_ENUM:
    case MY_SET:
        return put_member(column, dest_cell_text(cell, number), out);
    case MY_UUID:
        return put_uuid(dest_cell_text(cell, number), out);
    case MY_INET4:
    case MY_INET6:
        return put_inet(column, dest_cell_text(cell, number), out);
    case MY_JSON:
        if (!is_json(dest_cell_text(cell, number))) {
            return not_json;
        }
        return put_text(column, cell, dest_cell_text(cell, number), out);
    case MY_CHARS:
    case MY_TEXT:
    case MY_BY_SERVER:
        return put_text(column, cell, dest_cell_text(cell, number), out);
    }
    return not_number;
}
