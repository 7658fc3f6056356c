/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_bytes.h: any bytes of one object, unwrapped; for samples and for records that are
 * read again.
 * In: places, best in rising order: a compressed object is read on from where it stands.
 * Out: the bytes there, of the version that was asked for.
 * Threads: one owner at a time. */
#ifndef AGENT_LEAF_LEAF_BYTES_H
#define AGENT_LEAF_LEAF_BYTES_H

#include "agent/leaf/leaf_stream.h"

struct leaf_bytes;

/* spec and source are borrowed until close, the names for the call. */
struct leaf_bytes_of {
    const struct spec *spec;
    const struct leaf_source *source;
    struct ps_span key;
    struct ps_span version;
    uint64_t budget_bytes; /* the leaf's */
};

PS_MUSTCHECK enum ps_status leaf_bytes_open(const struct leaf_bytes_of *of, struct leaf_bytes **out,
                                            struct ps_error *err);
/* Appends at most cap bytes from `from` on; fewer only where the object ends. */
PS_MUSTCHECK enum ps_status leaf_bytes_read(struct leaf_bytes *bytes, uint64_t from, size_t cap,
                                            struct ps_buf *out, struct ps_error *err);
/* Is it still the version that was opened? */
PS_MUSTCHECK enum ps_status leaf_bytes_verify(struct leaf_bytes *bytes, struct ps_error *err);
void leaf_bytes_close(struct leaf_bytes *bytes); /* NULL is fine */

#endif
