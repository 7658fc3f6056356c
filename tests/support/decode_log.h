/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/decode_log.h: what a decoder says of some bytes, as one text to compare.
 * The bytes are shown in windows, in memory of exactly their size, so that a sanitizer sees every
 * read beyond them; and each record's raw bytes are checked. */
#ifndef TESTS_SUPPORT_DECODE_LOG_H
#define TESTS_SUPPORT_DECODE_LOG_H

#include "agent/decode/dec_csv.h"
#include "agent/decode/json_walk.h"

enum decode_kernel { KERNEL_BEST, KERNEL_SCALAR, KERNEL_NONE };

struct decode_log_run {
    const struct spec *spec; /* NULL: CSV of this dialect, else what the spec says */
    json_walk_fn walker;     /* ndjson and json: NULL = the best */
    struct csv_dialect dialect;
    enum decode_kernel kernel;
    size_t first;       /* bytes of the first window; 0 = all */
    size_t step;        /* bytes that are shown more each time; 0 = all the rest */
    uint64_t stop_step; /* stop after so many bytes and resume from the token; 0 = never */
    uint64_t jump;      /* a second decoder jumps there; no line is told then. 0 = never */
};

/* "H names", "R offset length line fields", "X offset length line code column reason raw",
 * "E status code" lines. */
void decode_log(const struct decode_log_run *run, const uint8_t *bytes, size_t len,
                struct ps_buf *out);

#endif
