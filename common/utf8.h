/* SPDX-License-Identifier: Apache-2.0 */
/* common/utf8.h: is it UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF)?
 * Threads: pure. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include "common/span.h"

/* Bytes of the whole, valid sequence at the start of text (1 to 4), or 0 when there is none. */
size_t ps_utf8_len(struct ps_span text);
/* Valid from end to end. */
bool ps_utf8_valid(struct ps_span text);

#endif
