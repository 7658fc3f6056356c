/* SPDX-License-Identifier: Apache-2.0 */
#include "common/human.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit byte_units[] = {
    {"TiB", 1ULL << 40},
    {"GiB", 1ULL << 30},
    {"MiB", 1ULL << 20},
    {"KiB", 1ULL << 10},
    {"TB", 1000000000000},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"kB", 1000},
    {"B", 1},
    {"", 1},
};
static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
enum {
    BYTE_UNITS = sizeof byte_units / sizeof byte_units[0],
    TIME_UNITS = sizeof time_units / sizeof time_units[0],
    BINARY_UNITS = 4
};

/* Digits, then "." and digits. *out_scale is 10 to the number of the latter. */
static const char *
parse_decimal(const char *text, uint64_t *out_digits, uint64_t *out_scale)
{
    uint64_t digits = 0;
    uint64_t scale = 1;
    bool fraction = false;
    const char *at = text;
    for (; (*at >= '0' && *at <= '9') || (*at == '.' && !fraction && at > text); at++) {
        if (*at == '.') {
            fraction = true;
            continue;
        }
        if (__builtin_mul_overflow(digits, 10, &digits) ||
            __builtin_add_overflow(digits, (uint64_t)(*at - '0'), &digits) || scale > 1000000000) {
            return NULL;
        }
        scale *= fraction ? 10 : 1;
    }
    if (at == text || at[-1] == '.') {
        return NULL;
    }
    *out_digits = digits;
    *out_scale = scale;
    return at;
}

static bool
parse_units(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
    uint64_t digits = 0;
    uint64_t scale = 1;
    const char *rest = parse_decimal(text, &digits, &scale);
    for (size_t i = 0; rest != NULL && i < count; i++) {
        uint64_t value = 0;
        if (strcmp(rest, units[i].name) == 0) {
            bool whole = !__builtin_mul_overflow(digits, units[i].factor, &value);
            if (whole && value % scale == 0) {
                *out = value / scale;
                return true;
            }
            return false;
        }
    }
    return false;
}

bool
ps_human_parse_bytes(const char *text, uint64_t *out_bytes)
{
    return parse_units(text, byte_units, BYTE_UNITS, out_bytes);
}

bool
ps_human_parse_duration(const char *text, int64_t *out_ms)
{
    uint64_t ms = 0;
    if (strcmp(text, "0") != 0 && !parse_units(text, time_units, TIME_UNITS, &ms)) {
        return false;
    }
    if (ms > INT64_MAX / 1000000) { /* still counts as nanoseconds */
        return false;
    }
    *out_ms = (int64_t)ms;
    return true;
}

bool
ps_human_parse_int(const char *text, int64_t *out)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        return false;
    }
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0) {
        return false;
    }
    *out = value;
    return true;
}

bool
ps_human_parse_real(const char *text, double *out)
{
    size_t len = strspn(text, "0123456789.eE-+");
    if (text[0] < '0' || text[0] > '9' || text[len] != '\0') {
        return false;
    }
    char *end = NULL;
    double value = strtod(text, &end);
    if (*end != '\0' || value > 1e300) {
        return false;
    }
    *out = value;
    return true;
}

const char *
ps_human_format_bytes(uint64_t bytes, char out[PS_HUMAN_BYTES])
{
    for (size_t i = 0; bytes > 0 && i < BINARY_UNITS; i++) {
        if (bytes % byte_units[i].factor == 0) {
            snprintf(out, PS_HUMAN_BYTES, "%" PRIu64 "%s", bytes / byte_units[i].factor,
                     byte_units[i].name);
            return out;
        }
    }
    snprintf(out, PS_HUMAN_BYTES, "%" PRIu64, bytes);
    return out;
}

const char *
ps_human_format_duration(int64_t ms, char out[PS_HUMAN_BYTES])
{
    size_t i = 0;
    while (i + 1 < TIME_UNITS && (ms == 0 || ms % (int64_t)time_units[i].factor != 0)) {
        i++;
    }
    snprintf(out, PS_HUMAN_BYTES, "%" PRId64 "%s", ms / (int64_t)time_units[i].factor,
             time_units[i].name);
    return out;
}

const char *
ps_human_show_bytes(uint64_t bytes, char out[PS_HUMAN_BYTES])
{
    static const struct unit units[] = {
        {"TB", 1000000000000}, {"GB", 1000000000}, {"MB", 1000000}, {"kB", 1000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (bytes >= units[i].factor) {
            double value = (double)bytes / (double)units[i].factor;
            snprintf(out, PS_HUMAN_BYTES, "%.*f %s",
                     value < 10    ? 2
                     : value < 100 ? 1
                                   : 0,
                     value, units[i].name);
            return out;
        }
    }
    snprintf(out, PS_HUMAN_BYTES, "%" PRIu64 " B", bytes);
    return out;
}

const char *
ps_human_show_count(uint64_t count, char out[PS_HUMAN_BYTES])
{
    char digits[PS_HUMAN_BYTES];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, count);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            out[at++] = ',';
        }
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *
ps_human_show_duration(int64_t ms, char out[PS_HUMAN_BYTES])
{
    long long seconds = ms / 1000;
    if (ms < 1000) {
        snprintf(out, PS_HUMAN_BYTES, "%lld ms", (long long)ms);
    } else if (ms < 60000) {
        snprintf(out, PS_HUMAN_BYTES, "%.1f s", (double)ms / 1000);
    } else if (seconds < 3600) {
        snprintf(out, PS_HUMAN_BYTES, "%lldm %02llds", seconds / 60, seconds % 60);
    } else {
        snprintf(out, PS_HUMAN_BYTES, "%lldh %02lldm", seconds / 3600, seconds / 60 % 60);
    }
    return out;
}
