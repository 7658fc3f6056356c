/* SPDX-License-Identifier: Apache-2.0 */
/* common/percent.h: bytes as text and back, without loss: names of objects in JSON and on a
 * terminal, and parts of a URL.
 * Pure. */
#ifndef COMMON_PERCENT_H
#define COMMON_PERCENT_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

/* Appends bytes as UTF-8 text: control characters, "%" and whatever is not UTF-8 become %HH. */
void ps_percent_name(struct ps_span bytes, struct ps_buf *out);

/* Appends what an escaped text means. PS_BADDATA: a "%" without two hexadecimal digits. */
PS_MUSTCHECK enum ps_status ps_percent_decode(struct ps_span text, struct ps_buf *out,
                                              struct ps_error *err);

#endif
