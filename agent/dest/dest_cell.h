/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dest_cell.h: what a cell says, read exactly: numbers, dates and times by ISO 8601. A
 * driver adds what its types can hold.
 * Threads: pure functions. */
#ifndef AGENT_DEST_DEST_CELL_H
#define AGENT_DEST_DEST_CELL_H

#include "agent/block/block.h"
#include "common/span.h"

enum { DEST_NUMBER_BYTES = 40 };

static inline bool
dest_cell_is_text(const struct cell *cell)
{
    return cell->tag == CELL_TEXT || cell->tag == CELL_SHORT_TEXT || cell->tag == CELL_BLOB;
}

/* The cell's text; of a number the shortest that reads back equal, put into out. */
struct ps_span dest_cell_text(const struct cell *cell, char out[DEST_NUMBER_BYTES]);

/* An optional sign and digits, nothing else. */
bool dest_read_int(struct ps_span text, int64_t *out);
bool dest_read_unsigned(struct ps_span text, uint64_t *out);
/* Finite, as C writes it; no NaN and no infinity. */
bool dest_read_real(struct ps_span text, double *out);
/* true t yes y on 1, false f no n off 0, in any case. */
bool dest_read_bool(struct ps_span text, bool *out);
/* 32 hexadecimal digits with hyphens behind groups of four, in braces or not. */
bool dest_read_uuid(struct ps_span text, uint8_t out[16]);
int dest_hex_digit(uint8_t c); /* -1: none */

/* ---- the parts of a date or time: each takes what it reads from the front of rest */

struct dest_date {
    int64_t year, month, day; /* year 1 and later */
};
struct dest_clock {
    int64_t hour, minute, second, micros;
    int digits; /* behind the second's point */
};
bool dest_take_char(struct ps_span *rest, const char *any);
bool dest_take_word(struct ps_span *rest, const char *word);
/* From least to most digits. */
bool dest_take_digits(struct ps_span *rest, size_t least, size_t most, int64_t *out);
/* YYYY-MM-DD; the day may be February's 29th of any year: dest_date_days tells. */
bool dest_take_date(struct ps_span *rest, struct dest_date *out);
/* HH:MM[:SS[.ffffff]]; hour of 2 to hour_digits digits, minute and second of 2: not judged. */
bool dest_take_clock(struct ps_span *rest, size_t hour_digits, struct dest_clock *out);
/* Z, UTC, ±HH, ±HH:MM or ±HHMM; *out_found false: none stands there. */
bool dest_take_zone(struct ps_span *rest, bool *out_found, int64_t *out_us);

/* Days since 2000-01-01; false: the year has no such day. Year 0 is 1 BC. */
bool dest_date_days(const struct dest_date *date, int64_t *out);
/* And back. */
struct dest_date dest_date_of(int64_t days);

#endif
