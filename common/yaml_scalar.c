/* SPDX-License-Identifier: Apache-2.0 */
#include "common/yaml_scalar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/yaml.h"

static bool
one_of(const char *text, size_t len, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strlen(*words) == len && memcmp(*words, text, len) == 0) {
            return true;
        }
    }
    return false;
}

bool
yaml_scalar_is_special(const char *text, size_t len)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL};
    size_t sign = len > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    return one_of(text + sign, len - sign, words);
}

static size_t
span_of(const char *text, size_t at, const char *set)
{
    return at + strspn(text + at, set);
}

/* [-+]?[0-9]+ or 0o[0-7]+ or 0x[0-9a-fA-F]+; false also beyond int64. */
static bool
read_integer(const char *text, size_t len, long long *out)
{
    int base = 10;
    const char *digits = "0123456789";
    size_t at = text[0] == '-' || text[0] == '+' ? 1 : 0;
    if (len > 2 && text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        base = text[1] == 'o' ? 8 : 16;
        digits = base == 8 ? "01234567" : "0123456789abcdefABCDEF";
        at = 2;
    }
    if (at == len || span_of(text, at, digits) != len) {
        return false;
    }
    errno = 0;
    *out = strtoll(base == 10 ? text : text + 2, NULL, base);
    return errno == 0;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? with a point or an exponent; an integer is
 * not one here, so that one beyond int64 stays the text it was. */
static bool
read_real(const char *text, size_t len, double *out)
{
    static const char digits[] = "0123456789";
    size_t start = text[0] == '-' || text[0] == '+' ? 1 : 0;
    size_t at = span_of(text, start, digits);
    size_t whole = at - start;
    size_t fraction = 0;
    bool point = text[at] == '.';
    if (point) {
        fraction = span_of(text, at + 1, digits) - at - 1;
        at += 1 + fraction;
    }
    bool exponent = text[at] == 'e' || text[at] == 'E';
    if (exponent) {
        at++;
        at += text[at] == '-' || text[at] == '+' ? 1 : 0;
        size_t end = span_of(text, at, digits);
        if (end == at) {
            return false;
        }
        at = end;
    }
    if (at != len || whole + fraction == 0 || (!point && !exponent)) {
        return false;
    }
    *out = strtod(text, NULL);
    return *out <= 1.7e308 && *out >= -1.7e308;
}

json_t *
ps_yaml_scalar(const char *text, size_t len)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    long long integer = 0;
    double real = 0;
    if (strlen(text) != len) {
        return NULL;
    }
    if (one_of(text, len, nulls)) {
        return json_null();
    }
    if (one_of(text, len, trues) || one_of(text, len, falses)) {
        return json_boolean(text[0] == 't' || text[0] == 'T');
    }
    if (read_integer(text, len, &integer)) {
        return json_integer(integer);
    }
    return read_real(text, len, &real) ? json_real(real) : json_stringn(text, len);
}
