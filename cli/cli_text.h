/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_text.h: rates and names as people read them (see common/human.h).
 * Everything is pure. Names from outside (objects, reasons) are made safe for a terminal before
 * they are printed: a file name must not be able to move the cursor. Widths count code points: good
 * enough for names, and independent of the locale. */
#ifndef CLI_CLI_TEXT_H
#define CLI_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum { CLI_TEXT_BYTES = 40 };

/* 312456 → "312k". */
const char *cli_text_short(double count, char out[CLI_TEXT_BYTES]);
/* Bytes in so many milliseconds as decimal megabytes: "212 MB/s". */
const char *cli_text_rate(uint64_t bytes, int64_t ms, char out[CLI_TEXT_BYTES]);

/* Appends text with control characters and broken UTF-8 shown as \xHH. */
void cli_text_safe(struct ps_buf *out, const char *text);
void cli_text_safe_bytes(struct ps_buf *out, const void *bytes, size_t len);
/* Columns that a safe UTF-8 text takes. */
size_t cli_text_width(const char *text, size_t len);
/* Appends at most width columns of text; longer ones lose their middle ("flig….csv"). */
void cli_text_fit(struct ps_buf *out, const char *text, size_t width);

#endif
