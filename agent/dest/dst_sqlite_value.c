/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dst_sqlite.h"

/* Integers beyond this lie between doubles. */
static const int64_t real_exact_max = INT64_C(1) << 53;

enum { EXACT_DIGITS = 15, INT64_DIGITS = 19 };

static bool
is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static const uint8_t *
skip_digits(const uint8_t *at, const uint8_t *end, size_t *count)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
        (*count)++;
    }
    return at;
}

/* Would numeric affinity make a number of this text? As sqlite3AtoF reads it: spaces around, sign,
 * digits with a point, exponent, and nothing else. */
static bool
looks_numeric(const uint8_t *at, const uint8_t *end)
{
    while (at < end && is_space(*at)) {
        at++;
    }
    while (end > at && is_space(end[-1])) {
        end--;
    }
    if (at < end && (*at == '-' || *at == '+')) {
        at++;
    }
    size_t digits = 0;
    at = skip_digits(at, end, &digits);
    if (at < end && *at == '.') {
        at = skip_digits(at + 1, end, &digits);
    }
    if (digits > 0 && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '-' || *at == '+')) {
            at++;
        }
        size_t exponent = 0;
        at = skip_digits(at, end, &exponent);
        digits = exponent;
    }
    return digits > 0 && at == end;
}

/* Without a leading zero; as many digits as the ends of int64_t have are compared with them. */
static bool
is_int64(const uint8_t *digits, size_t count, bool minus)
{
    const char *most = minus ? "9223372036854775808" : "9223372036854775807";
    return count < INT64_DIGITS || (count == INT64_DIGITS && memcmp(digits, most, count) <= 0);
}

/* -?(0|[1-9][0-9]*)([.][0-9]+)? of at most 15 digits, or a whole number that becomes an integer:
 * the number says all that the text said. */
static bool
is_plain_number(const uint8_t *at, const uint8_t *end, bool whole_is_integer)
{
    bool minus = at < end && *at == '-';
    const uint8_t *digits = minus ? ++at : at;
    size_t count = 0;
    at = skip_digits(at, end, &count);
    if (count == 0 || (count > 1 && *digits == '0')) {
        return false;
    }
    if (at < end && *at == '.') {
        at++;
        const uint8_t *fraction = at;
        at = skip_digits(at, end, &count);
        if (at == fraction) {
            return false;
        }
    }
    bool minus_zero = minus && count == 1 && *digits == '0';
    if (whole_is_integer && at == end && (size_t)(end - digits) == count) {
        return is_int64(digits, count, minus) && !minus_zero;
    }
    return at == end && count <= EXACT_DIGITS && !minus_zero;
}

const char *
dst_sqlite_value_check(enum dst_sqlite_check check, const struct cell *cell)
{
    if (check == CHECK_NOTHING) {
        return NULL;
    }
    if (cell->tag == CELL_TEXT) {
        const uint8_t *end = cell->ptr + cell->len;
        if (check != CHECK_NO_REAL && looks_numeric(cell->ptr, end) &&
            !is_plain_number(cell->ptr, end, check == CHECK_NUMERIC)) {
            return "the column's numeric type would change this text (declare the column TEXT)";
        }
    } else if (cell->tag == CELL_INT) {
        if (check == CHECK_REAL &&
            (cell->integer > real_exact_max || cell->integer < -real_exact_max)) {
            return "the column's REAL type cannot hold this integer exactly";
        }
    } else if (cell->tag == CELL_REAL && check == CHECK_NO_REAL) {
        return "the column's text type would turn this number into other text";
    }
    return NULL;
}
