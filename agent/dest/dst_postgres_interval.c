/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals as PostgreSQL keeps them (interval_recv): microseconds, days and months, which do not
 * become each other but for fractions of a unit (documentation, "Interval Input"). */
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <strings.h>

#include "agent/dest/dst_postgres_field.h"

static const char not_interval[] =
    "is no interval: expected P1Y2M3DT4H5M6.5S, or 1 year 2 mons 3 days 04:05:06.5";
static const char too_wide[] = "is outside of what an interval can hold";

enum {
    FIELD_US = 1 << 0,
    FIELD_MS = 1 << 1,
    FIELD_SECOND = 1 << 2,
    FIELD_MINUTE = 1 << 3,
    FIELD_HOUR = 1 << 4,
    FIELD_DAY = 1 << 5,
    FIELD_WEEK = 1 << 6,
    FIELD_MONTH = 1 << 7,
    FIELD_YEAR = 1 << 8,
    FIELD_DECADE = 1 << 9,
    FIELD_CENTURY = 1 << 10,
    FIELD_MILLENNIUM = 1 << 11,
};

struct interval {
    int64_t us;
    int64_t days;
    int64_t months;
    unsigned seen; /* fields: none may come twice */
    bool overflow;
};

/* One number of the text: its whole part and the rest have one sign. */
struct amount {
    int64_t whole;
    double fraction;
    bool negative;
};

static void
skip_spaces(struct ps_span *rest)
{
    while (rest->len > 0 && isspace(rest->ptr[0])) {
        rest->ptr++;
        rest->len--;
    }
}

static bool
take(struct ps_span *rest, char c)
{
    if (rest->len == 0 || rest->ptr[0] != (uint8_t)c) {
        return false;
    }
    rest->ptr++;
    rest->len--;
    return true;
}

static bool
take_digits(struct ps_span *rest, int64_t *out)
{
    size_t len = 0;
    *out = 0;
    while (len < 18 && len < rest->len && isdigit(rest->ptr[len])) {
        *out = *out * 10 + (rest->ptr[len++] - '0');
    }
    rest->ptr += len;
    rest->len -= len;
    return len > 0 && (rest->len == 0 || !isdigit(rest->ptr[0]));
}

/* The digits behind a point, as a part of one. */
static double
take_fraction(struct ps_span *rest)
{
    double value = 0;
    double unit = 1;
    while (rest->len > 0 && isdigit(rest->ptr[0])) {
        value = value * 10 + (rest->ptr[0] - '0');
        unit *= 10;
        rest->ptr++;
        rest->len--;
    }
    return value / unit;
}

static bool
take_amount(struct ps_span *rest, struct amount *out)
{
    *out = (struct amount){0};
    out->negative = take(rest, '-');
    if (!out->negative) {
        (void)take(rest, '+');
    }
    bool any = take_digits(rest, &out->whole);
    if (take(rest, '.')) {
        any = any || (rest->len > 0 && isdigit(rest->ptr[0]));
        out->fraction = take_fraction(rest);
    }
    if (out->negative) {
        out->whole = -out->whole;
        out->fraction = -out->fraction;
    }
    return any;
}

static void
add(struct interval *to, int64_t *field, int64_t value, int64_t scale)
{
    to->overflow = to->overflow || __builtin_mul_overflow(value, scale, &value) ||
                   __builtin_add_overflow(*field, value, field);
}

/* A part of a unit of so many microseconds; halves go to zero, as the server has it. */
static void
add_fraction_us(struct interval *to, double fraction, double scale)
{
    double value = fraction * scale;
    int64_t whole = (int64_t)value;
    double rest = value - (double)whole;
    add(to, &to->us, whole + (rest > 0.5 ? 1 : rest < -0.5 ? -1 : 0), 1);
}

static void
add_fraction_days(struct interval *to, double fraction, double days)
{
    double value = fraction * days;
    int64_t whole = (int64_t)value;
    add(to, &to->days, whole, 1);
    add_fraction_us(to, value - (double)whole, 86400e6);
}

static void
add_amount(struct interval *to, const struct amount *amount, unsigned field)
{
    static const struct {
        unsigned field;
        int64_t us;
    } short_units[] = {{FIELD_US, 1},
                       {FIELD_MS, 1000},
                       {FIELD_SECOND, 1000000},
                       {FIELD_MINUTE, 60000000},
                       {FIELD_HOUR, INT64_C(3600000000)}};
    static const struct {
        unsigned field;
        int64_t months;
    } long_units[] = {
        {FIELD_YEAR, 12}, {FIELD_DECADE, 120}, {FIELD_CENTURY, 1200}, {FIELD_MILLENNIUM, 12000}};
    for (size_t i = 0; i < sizeof short_units / sizeof short_units[0]; i++) {
        if (short_units[i].field == field) {
            add(to, &to->us, amount->whole, short_units[i].us);
            add_fraction_us(to, amount->fraction, (double)short_units[i].us);
        }
    }
    for (size_t i = 0; i < sizeof long_units / sizeof long_units[0]; i++) {
        if (long_units[i].field == field) {
            add(to, &to->months, amount->whole, long_units[i].months);
            add(to, &to->months, (int64_t)rint(amount->fraction * (double)long_units[i].months), 1);
        }
    }
    if (field == FIELD_DAY) {
        add(to, &to->days, amount->whole, 1);
        add_fraction_us(to, amount->fraction, 86400e6);
    } else if (field == FIELD_WEEK) {
        add(to, &to->days, amount->whole, 7);
        add_fraction_days(to, amount->fraction, 7);
    } else if (field == FIELD_MONTH) {
        add(to, &to->months, amount->whole, 1);
        add_fraction_days(to, amount->fraction, 30);
    }
}

static bool
see(struct interval *to, unsigned fields)
{
    bool fresh = (to->seen & fields) == 0;
    to->seen |= fields;
    return fresh;
}

/* What stands behind H: in H:M, H:M:S.f or M:S.f. */
static bool
take_clock(struct interval *to, const struct amount *first, struct ps_span *rest)
{
    int64_t hours = first->negative ? -first->whole : first->whole;
    int64_t minutes = 0;
    int64_t seconds = 0;
    double fraction = 0;
    if (first->fraction != 0 || !take_digits(rest, &minutes)) {
        return false;
    }
    if (take(rest, ':')) {
        if (!take_digits(rest, &seconds)) {
            return false;
        }
        fraction = take(rest, '.') ? take_fraction(rest) : 0;
    } else if (take(rest, '.')) {
        fraction = take_fraction(rest);
        seconds = minutes;
        minutes = hours;
        hours = 0;
    }
    if (minutes > 59 || seconds > 60) {
        return false;
    }
    int64_t sign = first->negative ? -1 : 1;
    add(to, &to->us, hours, sign * INT64_C(3600000000));
    add(to, &to->us, (minutes * 60 + seconds) * sign, 1000000);
    add_fraction_us(to, fraction * (double)sign, 1e6);
    return see(to, FIELD_HOUR | FIELD_MINUTE | FIELD_SECOND | FIELD_MS | FIELD_US);
}

/* What stands behind Y- in Y-M. */
static bool
take_months(struct interval *to, const struct amount *years, struct ps_span *rest)
{
    int64_t months = 0;
    if (years->fraction != 0 || !take_digits(rest, &months) || months > 11) {
        return false;
    }
    add(to, &to->months, years->whole, 12);
    add(to, &to->months, months, years->negative ? -1 : 1);
    return see(to, FIELD_YEAR | FIELD_MONTH);
}

/* The word at the text's begin; 0 = no unit. */
static unsigned
take_unit(struct ps_span *rest)
{
    static const struct {
        const char *names; /* between blanks */
        unsigned field;
    } units[] = {
        {" us usec usecs usecond useconds microsecond microseconds microsecon ", FIELD_US},
        {" ms msec msecs msecond mseconds millisecond milliseconds millisecon ", FIELD_MS},
        {" s sec secs second seconds ", FIELD_SECOND},
        {" m min mins minute minutes ", FIELD_MINUTE},
        {" h hr hrs hour hours ", FIELD_HOUR},
        {" d day days ", FIELD_DAY},
        {" w week weeks ", FIELD_WEEK},
        {" mon mons month months ", FIELD_MONTH},
        {" y yr yrs year years ", FIELD_YEAR},
        {" dec decs decade decades ", FIELD_DECADE},
        {" c cent century centuries ", FIELD_CENTURY},
        {" mil mils millennium millennia millenia ", FIELD_MILLENNIUM},
    };
    char word[16] = " ";
    size_t len = 0;
    while (len < rest->len && isalpha(rest->ptr[len])) {
        if (len + 4 > sizeof word) {
            return 0;
        }
        word[len + 1] = (char)tolower(rest->ptr[len]);
        len++;
    }
    word[len + 1] = ' ';
    word[len + 2] = '\0';
    for (size_t i = 0; len > 0 && i < sizeof units / sizeof units[0]; i++) {
        if (strstr(units[i].names, word) != NULL) {
            rest->ptr += len;
            rest->len -= len;
            return units[i].field;
        }
    }
    return 0;
}

static bool
is_ago(struct ps_span rest)
{
    if (rest.len < 3 || strncasecmp((const char *)rest.ptr, "ago", 3) != 0) {
        return false;
    }
    for (size_t i = 3; i < rest.len; i++) {
        if (!isspace(rest.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* Behind a number that has no unit: a time of day makes it days, the end seconds. */
static unsigned
unit_by_place(struct ps_span rest)
{
    struct amount next;
    if (rest.len == 0) {
        return FIELD_SECOND;
    }
    return take_amount(&rest, &next) && take(&rest, ':') ? FIELD_DAY : 0;
}

static bool
read_words(struct ps_span rest, struct interval *out)
{
    skip_spaces(&rest);
    if (take(&rest, '@')) {
        skip_spaces(&rest);
    }
    if (rest.len == 0) {
        return false;
    }
    while (rest.len > 0) {
        if (out->seen != 0 && is_ago(rest)) {
            out->us = -out->us;
            out->days = -out->days;
            out->months = -out->months;
            return true;
        }
        struct amount amount;
        if (!take_amount(&rest, &amount)) {
            return false;
        }
        bool good = false;
        if (take(&rest, ':')) {
            good = take_clock(out, &amount, &rest);
        } else if (take(&rest, '-')) {
            good = take_months(out, &amount, &rest);
        } else {
            skip_spaces(&rest);
            unsigned field = rest.len > 0 && isalpha(rest.ptr[0]) && !is_ago(rest)
                                 ? take_unit(&rest)
                                 : unit_by_place(rest);
            good = field != 0 && see(out, field);
            add_amount(out, &amount, field);
        }
        if (!good) {
            return false;
        }
        skip_spaces(&rest);
    }
    return true;
}

/* Behind the P: designators, or 0001-02-03T04:05:06. */
static bool
read_iso(struct ps_span rest, struct interval *out)
{
    static const char names[2][5] = {"YMWD", "HMS"};
    static const unsigned fields[2][4] = {{FIELD_YEAR, FIELD_MONTH, FIELD_WEEK, FIELD_DAY},
                                          {FIELD_HOUR, FIELD_MINUTE, FIELD_SECOND, 0}};
    bool of_day = false;
    bool any = false;
    while (rest.len > 0) {
        struct amount amount;
        if (!of_day && take(&rest, 'T')) {
            of_day = true;
            any = false;
            continue;
        }
        if (!take_amount(&rest, &amount)) {
            return false;
        }
        any = true;
        const char *name =
            rest.len == 0 || rest.ptr[0] == '\0' ? NULL : strchr(names[of_day], rest.ptr[0]);
        if (name != NULL) {
            add_amount(out, &amount, fields[of_day][name - names[of_day]]);
            (void)take(&rest, *name);
        } else if (of_day && take(&rest, ':')) {
            if (!take_clock(out, &amount, &rest) || rest.len > 0) {
                return false;
            }
        } else if (!of_day && out->seen == 0 && take(&rest, '-')) {
            struct amount days = {0};
            if (!take_months(out, &amount, &rest) || !take(&rest, '-') ||
                !take_amount(&rest, &days) || days.fraction != 0) {
                return false;
            }
            add_amount(out, &days, FIELD_DAY);
        } else {
            return false;
        }
    }
    return any;
}

const char *
dst_postgres_interval_put(struct ps_span text, struct ps_buf *out)
{
    struct interval interval = {0};
    bool iso = text.len > 0 && text.ptr[0] == 'P';
    if (iso ? !read_iso(ps_span(text.ptr + 1, text.len - 1), &interval)
            : !read_words(text, &interval)) {
        return not_interval;
    }
    if (interval.overflow || interval.days < INT32_MIN || interval.days > INT32_MAX ||
        interval.months < INT32_MIN || interval.months > INT32_MAX) {
        return too_wide;
    }
    const uint64_t us = htobe64((uint64_t)interval.us);
    const uint32_t rest[2] = {htobe32((uint32_t)(int32_t)interval.days),
                              htobe32((uint32_t)(int32_t)interval.months)};
    uint8_t field[16];
    memcpy(field, &us, sizeof us);
    memcpy(field + sizeof us, rest, sizeof rest);
    put_bytes(out, field, sizeof field);
    return NULL;
}
