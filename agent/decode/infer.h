/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/infer.h: header, dialect and column types from a sample (design §10).
 * In: the first bytes of up to 20 objects.  Out: the fields' names and the narrowest type that
 * holds every value seen, plus sentences that say why, for --dry-run. Rules: NULL is an unquoted
 * field in format.null. bigint: exact decimal int64 without leading zero or plus. double: at most
 * 15 significant digits and prints back equal. Else text. A column of only NULLs is text. Empty or
 * repeated names get _2, _3, …. Where records name their own fields (JSON) the columns are the
 * union of their keys, in the order in which they were met; a JSON string is text whatever it looks
 * like, and so are true, false, objects and arrays. Threads: one owner at a time. */
#ifndef AGENT_DECODE_INFER_H
#define AGENT_DECODE_INFER_H

#include "agent/decode/decode.h"
#include "spec/spec.h"

struct infer; /* opaque */

PS_MUSTCHECK enum ps_status infer_new(const struct spec *spec, struct infer **out,
                                      struct ps_error *err);
/* One object's first unwrapped bytes (whole: they are the entire object). object_name is for
 * messages. Objects whose header differs from the first one's add their names. */
PS_MUSTCHECK enum ps_status infer_add(struct infer *infer, const char *object_name,
                                      struct ps_span head, bool whole, struct ps_error *err);
/* The resolved columns: the spec's own where it has some (types filled in), else all fields. The
 * array and its texts belong to infer. note: sentences for people, borrowed. */
PS_MUSTCHECK enum ps_status infer_end(struct infer *infer, const struct spec_column **out_columns,
                                      size_t *out_count, const char **out_note,
                                      struct ps_error *err);
/* The first rows as JSON arrays, for previews; borrowed. */
size_t infer_sample_rows(const struct infer *infer, const char *const **out_rows);
void infer_free(struct infer *infer);

#endif
