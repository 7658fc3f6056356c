/* SPDX-License-Identifier: Apache-2.0 */
/* common/log.h: one line an event to stderr, RFC 3339 UTC with milliseconds.
 * Form: `2026-01-02T03:04:05.678Z warn lease.expired batch=… agent=…` or one JSON object a line.
 * The event is noun.past-verb; the rest is key=value text. Library rooms never log: only main, the
 * engine, the leaf loop and the RPC edges do, each error once.
 * Threads: safe from any thread; a line is one write(2). */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/error.h"
#include "common/span.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_TEXT, LOG_JSON };

/* program is borrowed for the life of the process. Defaults: LOG_INFO, LOG_TEXT. */
void log_setup(const char *program, enum log_level least, enum log_format format);
/* "debug", "info", "warn", "error", "off". */
PS_MUSTCHECK bool log_level_parse(const char *name, enum log_level *out);

void log_write(enum log_level level, const char *event, const char *fmt, ...) PS_PRINTF(3, 4);
bool log_enabled(enum log_level level);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

/* Quotes bytes from outside for a log line or a message: printable ASCII stays, the
 * rest becomes \xHH; always NUL-terminated, cut with "..." where out is too small. Returns out. */
const char *log_quote(struct ps_span bytes, char *out, size_t out_bytes);

#endif
