/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unwrap.h: pull filters between stored bytes and the decoder.
 * In: a function that pulls stored bytes.  Out: the unwrapped stream, by pulling.
 * Invariant: what comes out is exactly the concatenation of all members or frames; trailing
 *            garbage, a truncated member or a bad checksum is PS_BADDATA naming the stored offset,
 *            never a silent end.
 * Threads: one owner at a time. */
#ifndef AGENT_UNWRAP_UNWRAP_H
#define AGENT_UNWRAP_UNWRAP_H

#include "common/error.h"
#include "common/span.h"

/* Pulls up to cap bytes; *out_n 0 only at the end. */
typedef enum ps_status (*pull_fn)(void *ctx, uint8_t *out, size_t cap, size_t *out_n,
                                  struct ps_error *err);

/* Against decompression bombs; 0 = no ceiling. */
struct unwrap_limits {
    uint64_t max_ratio;      /* unwrapped / stored, judged after the first 1 MiB of output */
    uint64_t max_out_bytes;  /* of one object */
    size_t max_window_bytes; /* zstd frames and xz blocks that ask for more memory are refused */
};

struct unwrap; /* an open chain: magic detection, then one filter (or none) */

struct unwrap_ops {
    const char *name; /* "gzip" */
    const char *help;
    /* True when the first bytes (at least 6 unless the object is shorter) are this format's. */
    bool (*detect)(struct ps_span head);
    enum ps_status (*open)(pull_fn pull, void *pull_ctx, const struct unwrap_limits *limits,
                           void **out_state, struct ps_error *err);
    enum ps_status (*read)(void *state, uint8_t *out, size_t cap, size_t *out_n,
                           struct ps_error *err);
    void (*close)(void *state);
};

/* compression: "auto" (by magic bytes), "none", or a filter's name from unwraps.def (then other
 * magic bytes are an error). pull_ctx is borrowed until unwrap_close. */
PS_MUSTCHECK enum ps_status unwrap_open(const char *compression, pull_fn pull, void *pull_ctx,
                                        const struct unwrap_limits *limits, struct unwrap **out,
                                        struct ps_error *err);
PS_MUSTCHECK enum ps_status unwrap_read(struct unwrap *unwrap, uint8_t *out, size_t cap,
                                        size_t *out_n, struct ps_error *err);
/* "none", "gzip", …: what was found. Detection happens at the first read. */
const char *unwrap_name(const struct unwrap *unwrap);
uint64_t unwrap_stored_bytes(const struct unwrap *unwrap); /* pulled so far */
uint64_t unwrap_out_bytes(const struct unwrap *unwrap);
void unwrap_close(struct unwrap *unwrap); /* NULL is fine */
const struct unwrap_ops *const *unwrap_all(void);

#endif
