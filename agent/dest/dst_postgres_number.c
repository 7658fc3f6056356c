/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers: whole, floating and numeric, from cells of any kind. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "agent/dest/dest_cell.h"
#include "agent/dest/dst_postgres.h"
#include "agent/dest/dst_postgres_field.h"
#include "common/alloc.h"

enum {
    DECIMAL_MOST = 17000, /* 131072 digits before, 16383 behind the point is the server's limit */
    BASE_DIGITS = 4,
};

static const char not_integer[] = "is no whole number";
static const char too_large_integer[] = "is outside of the integer column's range";
static const char not_number[] = "is no number";
static const char inexact[] =
    "is a whole number that the floating-point column cannot hold exactly";
static const char too_many_digits[] = "has more digits than a numeric can hold";

/* ---- text of a number, and numbers of a text */

struct ps_span
dst_postgres_number_text(const struct cell *cell, char out[PG_NUMBER_TEXT_BYTES])
{
    _Static_assert((int)PG_NUMBER_TEXT_BYTES >= (int)DEST_NUMBER_BYTES, "room for a number");
    return dest_cell_text(cell, out);
}

/* NaN and infinities by the names that the server prints. */
static bool
read_special(struct ps_span text, double *out)
{
    static const struct {
        const char *name;
        double value;
    } names[] = {{"nan", NAN},
                 {"infinity", INFINITY},
                 {"inf", INFINITY},
                 {"-infinity", -INFINITY},
                 {"-inf", -INFINITY}};
    /* Nearly all texts are numbers. */
    size_t sign = text.len > 0 && text.ptr[0] == '-';
    if (text.len < 3 + sign || (text.ptr[sign] >= '0' && text.ptr[sign] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (text.len == strlen(names[i].name) &&
            strncasecmp((const char *)text.ptr, names[i].name, text.len) == 0) {
            *out = names[i].value;
            return true;
        }
    }
    return false;
}

static bool
read_real(struct ps_span text, double *out)
{
    return read_special(text, out) || dest_read_real(text, out);
}

/* ---- numbers */

const char *
dst_postgres_number_integer(const struct dst_postgres_column *column, const struct cell *cell,
                            struct ps_buf *out)
{
    int64_t value = cell->integer;
    if (cell->tag == CELL_REAL) {
        if (cell->real != trunc(cell->real) || fabs(cell->real) > 9007199254740992.0) {
            return not_integer;
        }
        value = (int64_t)cell->real;
    } else if (cell->tag != CELL_INT && !dest_read_int(ps_span(cell->ptr, cell->len), &value)) {
        return not_integer;
    }
    if (column->type == PG_OID) {
        if (value < 0 || value > UINT32_MAX) {
            return too_large_integer;
        }
        put_u32(out, (uint32_t)value);
    } else if (column->type == PG_INT2) {
        if (value < INT16_MIN || value > INT16_MAX) {
            return too_large_integer;
        }
        put_u16(out, (uint16_t)value);
    } else if (column->type == PG_INT4) {
        if (value < INT32_MIN || value > INT32_MAX) {
            return too_large_integer;
        }
        put_u32(out, (uint32_t)value);
    } else {
        put_u64(out, (uint64_t)value);
    }
    return NULL;
}

const char *
dst_postgres_number_real(const struct dst_postgres_column *column, const struct cell *cell,
                         struct ps_buf *out)
{
    double value = cell->real;
    int64_t most = column->type == PG_FLOAT8 ? INT64_C(1) << 53 : INT64_C(1) << 24;
    if (cell->tag == CELL_INT) {
        value = (double)cell->integer;
        if (cell->integer > most || cell->integer < -most) {
            return inexact;
        }
    } else if (cell->tag != CELL_REAL && !read_real(ps_span(cell->ptr, cell->len), &value)) {
        return not_number;
    }
    if (column->type == PG_FLOAT8) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        put_u64(out, bits);
    } else {
        float narrow = (float)value;
        uint32_t bits;
        if (isinf(narrow) && !isinf(value)) {
            return "is outside of the real column's range";
        }
        memcpy(&bits, &narrow, sizeof bits);
        put_u32(out, bits);
    }
    return NULL;
}

/* A decimal text taken apart: digits without sign and point, and where the point stands. */
struct decimal {
    struct ps_buf digits;
    int64_t point; /* digits before it; may be negative or beyond them */
    int64_t scale; /* shown behind the point */
    bool negative;
};

static bool
read_decimal(struct ps_span text, struct decimal *out)
{
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    out->negative = at == 1 && text.ptr[0] == '-';
    bool behind = false;
    bool any = false;
    for (; at < text.len && tolower(text.ptr[at]) != 'e'; at++) {
        if (text.ptr[at] == '.' && !behind) {
            behind = true;
        } else if (text.ptr[at] >= '0' && text.ptr[at] <= '9') {
            ps_buf_xappend(&out->digits, &text.ptr[at], 1);
            out->point += behind ? 0 : 1;
            out->scale += behind ? 1 : 0;
            any = true;
        } else {
            return false;
        }
    }
    int64_t exponent = 0;
    if (at < text.len &&
        (!dest_read_int(ps_span(text.ptr + at + 1, text.len - at - 1), &exponent) ||
         exponent > DECIMAL_MOST || exponent < -DECIMAL_MOST)) {
        return false;
    }
    out->point += exponent;
    out->scale = out->scale > exponent ? out->scale - exponent : 0;
    return any;
}

static unsigned
digit_at(const struct decimal *decimal, int64_t at)
{
    return at < 0 || at >= (int64_t)decimal->digits.len ? 0 : decimal->digits.ptr[at] - '0';
}

/* Groups of four digits, aligned at the point (numeric_recv: ndigits, weight, sign, dscale). */
static const char *
put_decimal(const struct decimal *decimal, struct ps_buf *out)
{
    int64_t len = (int64_t)decimal->digits.len;
    int64_t before = decimal->point > 0 ? (decimal->point + BASE_DIGITS - 1) / BASE_DIGITS
                                        : -((-decimal->point) / BASE_DIGITS);
    int64_t behind = len - decimal->point;
    int64_t groups = before + (behind > 0 ? (behind + BASE_DIGITS - 1) / BASE_DIGITS
                                          : -((-behind) / BASE_DIGITS));
    int64_t first = decimal->point - before * BASE_DIGITS; /* index of the first group's digit */
    uint16_t *values = ps_xcalloc((size_t)(groups > 0 ? groups : 1), sizeof *values);
    int64_t lead = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < groups; i++) {
        int64_t at = first + i * BASE_DIGITS;
        unsigned value = digit_at(decimal, at) * 1000 + digit_at(decimal, at + 1) * 100 +
                         digit_at(decimal, at + 2) * 10 + digit_at(decimal, at + 3);
        values[i] = (uint16_t)value;
        count = value != 0 ? i + 1 : count;
        lead = value == 0 && lead == i ? i + 1 : lead;
    }
    lead = count == 0 ? 0 : lead;
    int64_t weight = count == 0 ? 0 : before - 1 - lead;
    const char *why = weight > INT16_MAX || decimal->scale > 16383 || count - lead > INT16_MAX
                          ? too_many_digits
                          : NULL;
    if (why == NULL) {
        struct ps_buf field = PS_BUF_INIT;
        const uint16_t head[4] = {htobe16((uint16_t)(count - lead)), htobe16((uint16_t)weight),
                                  htobe16(decimal->negative && count > 0 ? 0x4000 : 0),
                                  htobe16((uint16_t)decimal->scale)};
        ps_buf_xappend(&field, head, sizeof head);
        for (int64_t i = lead; i < count; i++) {
            uint16_t be = htobe16(values[i]);
            ps_buf_xappend(&field, &be, sizeof be);
        }
        put_bytes(out, field.ptr, field.len);
        ps_buf_fini(&field);
    }
    ps_free(values);
    return why;
}

/* The common decimals without their text: value / 10^scale, scale at most 4. */
static void
put_short_decimal(int64_t value, uint16_t scale, struct ps_buf *out)
{
    static const uint16_t to_group[] = {1, 1000, 100, 10, 1};
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t unit = scale == 0 ? 1 : 10000 / to_group[scale];
    uint16_t groups[8];
    size_t count = 0;
    if (scale > 0) {
        groups[count++] = (uint16_t)(rest % unit * to_group[scale]);
        rest /= unit;
    }
    for (; rest > 0; rest /= 10000) {
        groups[count++] = (uint16_t)(rest % 10000);
    }
    size_t first = 0; /* the lowest group that is not zero */
    while (first < count && groups[first] == 0) {
        first++;
    }
    while (count > first && groups[count - 1] == 0) {
        count--;
    }
    int16_t weight = count == first ? 0 : (int16_t)(count - 1 - (scale > 0 ? 1 : 0));
    uint16_t field[4 + 8] = {htobe16((uint16_t)(count - first)), htobe16((uint16_t)weight),
                             htobe16(value < 0 ? 0x4000 : 0), htobe16(scale)};
    for (size_t i = count; i > first; i--) {
        field[4 + count - i] = htobe16(groups[i - 1]);
    }
    put_bytes(out, field, (4 + count - first) * sizeof field[0]);
}

/* True when the number is a short decimal exactly as its shortest text says it. */
static bool
put_short(const struct cell *cell, struct ps_buf *out)
{
    if (cell->tag == CELL_INT) {
        put_short_decimal(cell->integer, 0, out);
        return true;
    }
    if (cell->tag != CELL_REAL || !(fabs(cell->real) < 1e10)) {
        return false;
    }
    static const double powers[] = {1, 10, 100, 1000, 10000};
    for (uint16_t scale = 0; scale < 5; scale++) {
        double scaled = cell->real * powers[scale];
        int64_t nearest = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
        /* At most 14 digits that read back equal: they are the shortest. */
        if ((double)nearest / powers[scale] == cell->real) {
            put_short_decimal(nearest, scale, out);
            return true;
        }
    }
    return false;
}

const char *
dst_postgres_number_numeric(const struct cell *cell, struct ps_buf *out)
{
    if (put_short(cell, out)) {
        return NULL;
    }
    char number[PG_NUMBER_TEXT_BYTES];
    struct ps_span text = dst_postgres_number_text(cell, number);
    double special = 0;
    if (read_special(text, &special)) {
        const uint16_t sign = isnan(special) ? 0xC000 : special > 0 ? 0xD000 : 0xF000;
        const uint16_t head[4] = {0, 0, htobe16(sign), 0};
        put_bytes(out, head, sizeof head);
        return NULL;
    }
    struct decimal decimal = {0};
    const char *why = text.len <= DECIMAL_MOST && read_decimal(text, &decimal)
                          ? put_decimal(&decimal, out)
                          : not_number;
    ps_buf_fini(&decimal.digits);
    return why;
}
