/* SPDX-License-Identifier: Apache-2.0 */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

int64_t
ps_clock_mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t
ps_clock_mono_ms(void)
{
    return ps_clock_mono_ns() / 1000000;
}

int64_t
ps_clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *
ps_clock_text(int64_t wall_ms, char out[PS_CLOCK_TEXT_BYTES])
{
    int64_t seconds = wall_ms / 1000;
    int64_t rest = wall_ms % 1000;
    if (rest < 0) {
        rest += 1000;
        seconds--;
    }
    time_t when = (time_t)seconds;
    struct tm utc;
    if (gmtime_r(&when, &utc) == NULL) {
        out[0] = '\0';
        return out;
    }
    char day[64];
    size_t used = strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
    if (used != 19) { /* a year beyond 9999 has no place in RFC 3339 */
        out[0] = '\0';
        return out;
    }
    snprintf(out, PS_CLOCK_TEXT_BYTES, "%.19s.%03dZ", day, (int)rest);
    return out;
}
