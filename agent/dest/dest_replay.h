/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dest_replay.h: what drivers say of rejects that a replay cannot take up.
 * In: numbers.  Out: one error that names the first of them.
 * Threads: one owner at a time. */
#ifndef AGENT_DEST_DEST_REPLAY_H
#define AGENT_DEST_DEST_REPLAY_H

#include "agent/dest/dest.h"

enum { DEST_NOT_OPEN_NAMED = 12 };

struct dest_not_open {
    uint64_t numbers[DEST_NOT_OPEN_NAMED];
    size_t count;
};
void dest_not_open_add(struct dest_not_open *not_open, uint64_t n);
/* Appends "3, 7, …". */
void dest_not_open_list(const struct dest_not_open *not_open, struct ps_buf *out);
/* PS_REFUSED, code "reject_not_open". */
enum ps_status dest_not_open_fail(const struct dest_not_open *not_open, const char *table,
                                  struct ps_error *err);

/* True where raw of a reject with this code is no record's bytes, but the values as they were to be
 * loaded (dest_late.h). */
bool dest_late_code(struct ps_span code);

/* Appends " AND (column BETWEEN a AND b OR …)"; nothing where no numbers are asked for. */
void dest_numbers_sql(const struct dest_reject_filter *filter, const char *column,
                      struct ps_buf *sql);

/* Appends the text; one that no server takes as such (not UTF-8, or with U+0000) as %HH. */
void dest_text_safe(struct ps_span text, struct ps_buf *out);

#endif
