/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/number.h: decimal texts as numbers, without a locale.
 * Invariant: a text that is accepted stands for exactly the value returned (bigint), or for the
 *            nearest double (real, correctly rounded).
 * Threads: pure. */
#ifndef AGENT_DECODE_NUMBER_H
#define AGENT_DECODE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -?(0|[1-9][0-9]*) within int64; "-0" is refused. */
bool number_int(const uint8_t *text, size_t len, int64_t *out);
/* [+-]?(digits[.digits]|.digits)([eE][+-]?digits)?, finite, at most 1000 characters. */
bool number_real(const uint8_t *text, size_t len, double *out);
/* The same with a comma before the fraction; a point is no number then. */
bool number_real_comma(const uint8_t *text, size_t len, double *out);
/* For inference: number_real, no plus, no leading zero, at most 15 significant digits, and neither
 * overflow nor underflow: so the double prints back (%.15g) to an equal value. */
bool number_real_exact(const uint8_t *text, size_t len, bool decimal_comma);

#endif
