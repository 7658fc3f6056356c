/* SPDX-License-Identifier: Apache-2.0 */
/* Dates and times as PostgreSQL keeps them: days and microseconds since 2000-01-01. */
#include <ctype.h>
#include <strings.h>

#include "agent/dest/dst_postgres_field.h"

enum {
    TIMESTAMP_DAYS_END = 106751983, /* the year 294277 */
};

static const char not_date[] = "is no date: expected YYYY-MM-DD";
static const char not_time[] = "is no time: expected HH:MM[:SS[.ffffff]]";
static const char not_timestamp[] = "is no timestamp: expected YYYY-MM-DD HH:MM[:SS[.ffffff]]";
static const char zone_missing[] =
    "has no time zone, which the column needs: expected Z or +HH:MM behind it";
static const char zone_given[] = "has a time zone, which the column cannot keep";

/* Reads exactly `digits` digits, or more where most allows. */
static bool
read_digits(struct ps_span *rest, size_t least, size_t most, int64_t *out)
{
    size_t len = 0;
    *out = 0;
    while (len < most && len < rest->len && isdigit(rest->ptr[len])) {
        *out = *out * 10 + (rest->ptr[len++] - '0');
    }
    rest->ptr += len;
    rest->len -= len;
    return len >= least;
}

static bool
take_char(struct ps_span *rest, const char *any)
{
    if (rest->len == 0 || rest->ptr[0] == '\0' || strchr(any, rest->ptr[0]) == NULL) {
        return false;
    }
    rest->ptr++;
    rest->len--;
    return true;
}

static bool
take_word(struct ps_span *rest, const char *word)
{
    size_t len = strlen(word);
    if (rest->len < len || strncasecmp((const char *)rest->ptr, word, len) != 0) {
        return false;
    }
    rest->ptr += len;
    rest->len -= len;
    return true;
}

/* Days since 2000-01-01 of a proleptic Gregorian date (Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms"); year 0 is 1 BC. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 730425;
}

static bool
is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool
read_date(struct ps_span *rest, int64_t *out_year, int64_t *out_month, int64_t *out_day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!read_digits(rest, 4, 7, out_year) || !take_char(rest, "-") ||
        !read_digits(rest, 2, 2, out_month) || !take_char(rest, "-") ||
        !read_digits(rest, 2, 2, out_day) || *out_year == 0 || *out_month < 1 || *out_month > 12) {
        return false;
    }
    return *out_day >= 1 && *out_day <= 31 &&
           *out_day <= lengths[*out_month - 1] + (*out_month == 2);
}

/* February's 29th, and the days; bc: the year counts backwards. */
static bool
make_days(int64_t year, int64_t month, int64_t day, bool bc, int64_t *out)
{
    int64_t astronomical = bc ? 1 - year : year;
    if (month == 2 && day == 29 && !is_leap(astronomical)) {
        return false;
    }
    *out = days_of(astronomical, month, day);
    return *out >= -2451545 && *out < 2145031949; /* 4713 BC to 5874897 AD */
}

static bool
read_time(struct ps_span *rest, int64_t *out_us)
{
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    int64_t micros = 0;
    if (!read_digits(rest, 2, 2, &hour) || !take_char(rest, ":") ||
        !read_digits(rest, 2, 2, &minute)) {
        return false;
    }
    if (take_char(rest, ":")) {
        if (!read_digits(rest, 2, 2, &second)) {
            return false;
        }
        if (take_char(rest, ".")) {
            size_t before = rest->len;
            if (!read_digits(rest, 1, 6, &micros)) {
                return false;
            }
            for (size_t digits = before - rest->len; digits < 6; digits++) {
                micros *= 10;
            }
        }
    }
    /* 23:59:60 is the next day's start, as the server reads it; 24:00:00 too. */
    bool end_of_day = hour == 24 && minute == 0 && second == 0 && micros == 0;
    bool leap = second == 60 && micros == 0;
    if ((hour > 23 && !end_of_day) || minute > 59 || (second > 59 && !leap)) {
        return false;
    }
    *out_us = ((hour * 60 + minute) * 60 + second) * 1000000 + micros;
    return true;
}

/* *out_found false: none stands there. */
static bool
read_zone(struct ps_span *rest, bool *out_found, int64_t *out_us)
{
    *out_us = 0;
    *out_found = true;
    struct ps_span before = *rest;
    (void)take_char(rest, " ");
    if (take_word(rest, "Z") || take_word(rest, "UTC")) {
        return true;
    }
    bool west = rest->len > 0 && rest->ptr[0] == '-';
    int64_t hours = 0;
    int64_t minutes = 0;
    if (!take_char(rest, "+-")) {
        *rest = before;
        *out_found = false;
        return true;
    }
    if (!read_digits(rest, 2, 2, &hours)) {
        return false;
    }
    if (take_char(rest, ":")
            ? !read_digits(rest, 2, 2, &minutes)
            : rest->len > 0 && isdigit(rest->ptr[0]) && !read_digits(rest, 2, 2, &minutes)) {
        return false;
    }
    *out_us = (hours * 60 + minutes) * 60000000 * (west ? -1 : 1);
    return hours <= 15 && minutes <= 59;
}

static bool
is_infinity(struct ps_span text, bool *out_negative)
{
    *out_negative = text.len > 0 && text.ptr[0] == '-';
    return take_word(&text, *out_negative ? "-infinity" : "infinity") && text.len == 0;
}

const char *
dst_postgres_time_date(struct ps_span text, struct ps_buf *out)
{
    bool negative = false;
    if (is_infinity(text, &negative)) {
        put_u32(out, negative ? (uint32_t)INT32_MIN : (uint32_t)INT32_MAX);
        return NULL;
    }
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    int64_t days = 0;
    if (!read_date(&text, &year, &month, &day)) {
        return not_date;
    }
    bool bc = take_word(&text, " BC");
    if (text.len != 0 || !make_days(year, month, day, bc, &days)) {
        return not_date;
    }
    put_u32(out, (uint32_t)(int32_t)days);
    return NULL;
}

const char *
dst_postgres_time_time(struct ps_span text, struct ps_buf *out)
{
    int64_t us = 0;
    if (!read_time(&text, &us) || text.len != 0) {
        return not_time;
    }
    put_u64(out, (uint64_t)us);
    return NULL;
}

const char *
dst_postgres_time_timetz(struct ps_span text, struct ps_buf *out)
{
    int64_t us = 0;
    int64_t zone_us = 0;
    bool has_zone = false;
    if (!read_time(&text, &us) || !read_zone(&text, &has_zone, &zone_us) || text.len != 0) {
        return not_time;
    }
    if (!has_zone) {
        return zone_missing;
    }
    /* timetz_recv: the zone is counted in seconds west. */
    const uint64_t time = htobe64((uint64_t)us);
    const uint32_t west = htobe32((uint32_t)(int32_t)(-zone_us / 1000000));
    uint8_t field[sizeof time + sizeof west];
    memcpy(field, &time, sizeof time);
    memcpy(field + sizeof time, &west, sizeof west);
    put_bytes(out, field, sizeof field);
    return NULL;
}

const char *
dst_postgres_time_stamp(struct ps_span text, bool zoned, struct ps_buf *out)
{
    bool negative = false;
    if (is_infinity(text, &negative)) {
        put_u64(out, negative ? (uint64_t)INT64_MIN : (uint64_t)INT64_MAX);
        return NULL;
    }
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    int64_t days = 0;
    int64_t us = 0;
    int64_t zone_us = 0;
    bool has_zone = false;
    if (!read_date(&text, &year, &month, &day) || !take_char(&text, " Tt") ||
        !read_time(&text, &us) || !read_zone(&text, &has_zone, &zone_us)) {
        return not_timestamp;
    }
    bool bc = take_word(&text, " BC");
    if (text.len != 0 || !make_days(year, month, day, bc, &days) || days >= TIMESTAMP_DAYS_END) {
        return not_timestamp;
    }
    if (has_zone != zoned) {
        return zoned ? zone_missing : zone_given;
    }
    put_u64(out, (uint64_t)(days * INT64_C(86400000000) + us - zone_us));
    return NULL;
}
