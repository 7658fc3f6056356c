/* SPDX-License-Identifier: Apache-2.0 */
/* Dates and times as PostgreSQL keeps them: days and microseconds since 2000-01-01. */
#include "agent/dest/dest_cell.h"
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

/* bc: the year counts backwards. False: there is no such day. */
static bool
make_days(const struct dest_date *date, bool bc, int64_t *out)
{
    struct dest_date astronomical = *date;
    astronomical.year = bc ? 1 - date->year : date->year;
    return dest_date_days(&astronomical, out) && *out >= -2451545 &&
           *out < 2145031949; /* 4713 BC to 5874897 AD */
}

static bool
read_time(struct ps_span *rest, int64_t *out_us)
{
    struct dest_clock clock;
    if (!dest_take_clock(rest, 2, &clock)) {
        return false;
    }
    /* 23:59:60 is the next day's start, as the server reads it; 24:00:00 too. */
    bool end_of_day =
        clock.hour == 24 && clock.minute == 0 && clock.second == 0 && clock.micros == 0;
    bool leap = clock.second == 60 && clock.micros == 0;
    if ((clock.hour > 23 && !end_of_day) || clock.minute > 59 || (clock.second > 59 && !leap)) {
        return false;
    }
    *out_us = ((clock.hour * 60 + clock.minute) * 60 + clock.second) * 1000000 + clock.micros;
    return true;
}

static bool
is_infinity(struct ps_span text, bool *out_negative)
{
    *out_negative = text.len > 0 && text.ptr[0] == '-';
    if (text.len < 8 || (text.ptr[0] >= '0' && text.ptr[0] <= '9')) {
        return false;
    }
    return dest_take_word(&text, *out_negative ? "-infinity" : "infinity") && text.len == 0;
}

const char *
dst_postgres_time_date(struct ps_span text, struct ps_buf *out)
{
    bool negative = false;
    if (is_infinity(text, &negative)) {
        put_u32(out, negative ? (uint32_t)INT32_MIN : (uint32_t)INT32_MAX);
        return NULL;
    }
    struct dest_date date;
    int64_t days = 0;
    if (!dest_take_date(&text, &date)) {
        return not_date;
    }
    bool bc = text.len > 0 && dest_take_word(&text, " BC");
    if (text.len != 0 || !make_days(&date, bc, &days)) {
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
    if (!read_time(&text, &us) || !dest_take_zone(&text, &has_zone, &zone_us) || text.len != 0) {
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
    struct dest_date date;
    int64_t days = 0;
    int64_t us = 0;
    int64_t zone_us = 0;
    bool has_zone = false;
    if (!dest_take_date(&text, &date) || !dest_take_char(&text, " Tt") || !read_time(&text, &us) ||
        !dest_take_zone(&text, &has_zone, &zone_us)) {
        return not_timestamp;
    }
    bool bc = text.len > 0 && dest_take_word(&text, " BC");
    if (text.len != 0 || !make_days(&date, bc, &days) || days >= TIMESTAMP_DAYS_END) {
        return not_timestamp;
    }
    if (has_zone != zoned) {
        return zoned ? zone_missing : zone_given;
    }
    put_u64(out, (uint64_t)(days * INT64_C(86400000000) + us - zone_us));
    return NULL;
}
