/* SPDX-License-Identifier: Apache-2.0 */
/* Dates and times as MySQL's family writes them. The server would drop digits of a second that the
 * column has no room for, and read a text without a zone in the session's; neither happens here. */
#include "agent/dest/dst_mysql_field.h"

static const char not_date[] = "is no date from 0001-01-01 to 9999-12-31: expected YYYY-MM-DD";
static const char not_time[] =
    "is no time from -838:59:59 to 838:59:59: expected HH:MM[:SS[.ffffff]]";
static const char not_stamp[] = "is no timestamp: expected YYYY-MM-DD HH:MM[:SS[.ffffff]]";
static const char out_of_range[] = "is outside of what a timestamp holds";
static const char too_fine[] = "has more digits of a second than the column keeps";
static const char zone_missing[] = "has no time zone, which a timestamp needs: expected Z or "
                                   "+HH:MM behind it, or time_zone in destination.url";
static const char zone_given[] = "has a time zone, which the column cannot keep";

enum { EPOCH_DAYS = 10957 }; /* from 1970-01-01 to 2000-01-01 */

static bool
fits(const struct dst_mysql_column *column, const struct dest_clock *clock)
{
    int64_t unit = 1;
    for (uint32_t digits = column->precision; digits < 6; digits++) {
        unit *= 10;
    }
    return clock->micros % unit == 0;
}

static char *
two_digits(char *at, int64_t value)
{
    *at++ = (char)('0' + value / 10);
    *at++ = (char)('0' + value % 10);
    return at;
}

static void
put_date(const struct dest_date *date, struct ps_buf *out)
{
    char text[16] = "'";
    char *at = two_digits(two_digits(text + 1, date->year / 100), date->year % 100);
    *at++ = '-';
    at = two_digits(at, date->month);
    *at++ = '-';
    at = two_digits(at, date->day);
    dst_mysql_field_put(out, text, (size_t)(at - text));
}

/* Exactly the digits of a second that the column keeps. */
static void
put_clock(const struct dst_mysql_column *column, const struct dest_clock *clock, struct ps_buf *out)
{
    char text[24];
    char *at = text;
    if (clock->hour > 99) {
        *at++ = (char)('0' + clock->hour / 100);
    }
    at = two_digits(at, clock->hour % 100);
    *at++ = ':';
    at = two_digits(at, clock->minute);
    *at++ = ':';
    at = two_digits(at, clock->second);
    if (column->precision > 0) {
        char *point = at;
        *at++ = '.';
        at = two_digits(at, clock->micros / 10000);
        at = two_digits(at, clock->micros / 100 % 100);
        at = two_digits(at, clock->micros % 100);
        at = column->precision < 6 ? point + 1 + column->precision : at;
    }
    *at++ = '\'';
    dst_mysql_field_put(out, text, (size_t)(at - text));
}

static bool
read_date(struct ps_span *rest, struct dest_date *out, int64_t *out_days)
{
    return dest_take_date(rest, out) && out->year <= 9999 && dest_date_days(out, out_days);
}

static const char *
put_time(const struct dst_mysql_column *column, struct ps_span text, struct ps_buf *out)
{
    struct dest_clock clock;
    bool negative = dest_take_char(&text, "-");
    if (!dest_take_clock(&text, 3, &clock) || text.len != 0 || clock.hour > 838 ||
        clock.minute > 59 || clock.second > 59 ||
        (clock.hour == 838 && clock.minute == 59 && clock.second == 59 && clock.micros > 0)) {
        return not_time;
    }
    if (!fits(column, &clock)) {
        return too_fine;
    }
    dst_mysql_field_put(out, "'-", negative ? 2 : 1);
    put_clock(column, &clock, out);
    return NULL;
}

/* The instant in UTC, which the session's zone is. */
static const char *
put_instant(const struct dst_mysql_column *column, int64_t us, struct ps_buf *out)
{
    const int64_t day_us = INT64_C(86400000000);
    int64_t days = us / day_us - (us % day_us < 0);
    int64_t rest = us - days * day_us;
    int64_t epoch_us = us + EPOCH_DAYS * day_us;
    if (epoch_us < 1000000 || epoch_us > column->last_us) {
        return out_of_range;
    }
    struct dest_date date = dest_date_of(days);
    struct dest_clock clock = {.hour = rest / INT64_C(3600000000),
                               .minute = rest / 60000000 % 60,
                               .second = rest / 1000000 % 60,
                               .micros = rest % 1000000};
    put_date(&date, out);
    dst_mysql_field_put(out, " ", 1);
    put_clock(column, &clock, out);
    return NULL;
}

static const char *
put_stamp(const struct dst_mysql_column *column, struct ps_span text, struct ps_buf *out)
{
    struct dest_date date;
    struct dest_clock clock;
    int64_t days = 0;
    int64_t zone_us = 0;
    bool has_zone = false;
    if (!read_date(&text, &date, &days) || !dest_take_char(&text, " Tt") ||
        !dest_take_clock(&text, 2, &clock) || !dest_take_zone(&text, &has_zone, &zone_us) ||
        text.len != 0 || clock.hour > 23 || clock.minute > 59 || clock.second > 59) {
        return not_stamp;
    }
    if (!fits(column, &clock)) {
        return too_fine;
    }
    if (column->type == MY_DATETIME) {
        if (has_zone) {
            return zone_given;
        }
        put_date(&date, out);
        dst_mysql_field_put(out, " ", 1);
        put_clock(column, &clock, out);
        return NULL;
    }
    if (!has_zone && column->zone_us == INT64_MIN) {
        return zone_missing;
    }
    int64_t us = ((days * 24 + clock.hour) * 60 + clock.minute) * 60 + clock.second;
    return put_instant(column, us * 1000000 + clock.micros - (has_zone ? zone_us : column->zone_us),
                       out);
}

const char *
dst_mysql_time_put(const struct dst_mysql_column *column, struct ps_span text, struct ps_buf *out)
{
    struct dest_date date;
    int64_t days = 0;
    if (column->type == MY_TIME) {
        return put_time(column, text, out);
    }
    if (column->type != MY_DATE) {
        return put_stamp(column, text, out);
    }
    if (!read_date(&text, &date, &days) || text.len != 0) {
        return not_date;
    }
    put_date(&date, out);
    dst_mysql_field_put(out, "'", 1);
    return NULL;
}
