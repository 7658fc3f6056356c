/* SPDX-License-Identifier: Apache-2.0 */
/* common/clock.h: the two clocks. mono_ms measures leases and waits; wall_ms is only for people
 * and for the time part of ids. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

int64_t ps_clock_mono_ms(void);
int64_t ps_clock_mono_ns(void);
int64_t ps_clock_wall_ms(void);

enum { PS_CLOCK_TEXT_BYTES = 25 };
/* RFC 3339 UTC with milliseconds: 2026-01-02T03:04:05.678Z. */
const char *ps_clock_text(int64_t wall_ms, char out[PS_CLOCK_TEXT_BYTES]);

#endif
