/* SPDX-License-Identifier: Apache-2.0 */
/* common/human.h: sizes, durations, counts and shares as people write and read them.
 * Sizes: "0", "512", "64KiB" "16MiB" "1GiB" "1TiB" (powers of 1024) and "5kB" "5MB" "5GB" "5TB"
 *        (powers of 1000); durations: "250ms" "2s" "5m" "1h" "1d", "0"; a fraction is allowed where
 *        it comes out whole ("1.5s"). No spaces, no sign, case as shown (k = kB, too: "5KB" is
 *        refused since nobody knows which it means).
 * Threads: pure. No locale. */
#ifndef COMMON_HUMAN_H
#define COMMON_HUMAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PS_HUMAN_BYTES = 32 };

bool ps_human_parse_bytes(const char *text, uint64_t *out_bytes);
bool ps_human_parse_duration(const char *text, int64_t *out_ms);
/* Decimal, whole text, no sign but one leading '-'; no overflow. */
bool ps_human_parse_int(const char *text, int64_t *out);
/* Decimal fraction "0.1", "12", "1e-3" without sign; finite. */
bool ps_human_parse_real(const char *text, double *out);

/* Exact, parseable again: the largest binary unit that divides ("16MiB", "1000"). */
const char *ps_human_format_bytes(uint64_t bytes, char out[PS_HUMAN_BYTES]);
const char *ps_human_format_duration(int64_t ms, char out[PS_HUMAN_BYTES]);

/* For reading only: "1.23 GB" (SI: MB = 1e6), "1,234,567", "2.3 s" "850 ms" "3m 07s". */
const char *ps_human_show_bytes(uint64_t bytes, char out[PS_HUMAN_BYTES]);
const char *ps_human_show_count(uint64_t count, char out[PS_HUMAN_BYTES]);
const char *ps_human_show_duration(int64_t ms, char out[PS_HUMAN_BYTES]);

#endif
