/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unw_input.h: the stored bytes a filter has pulled and not yet used.
 * In: a pull function.  Out: [bytes + at, bytes + len), and where that stands in the object.
 * Invariant: at <= len; pulled_bytes counts every byte that was ever pulled.
 * Threads: one owner at a time. */
#ifndef AGENT_UNWRAP_UNW_INPUT_H
#define AGENT_UNWRAP_UNW_INPUT_H

#include <inttypes.h>

#include "agent/unwrap/unwrap.h"

enum { UNW_INPUT_BYTES = 64 * 1024 };

struct unw_input {
    pull_fn pull;
    void *pull_ctx;
    uint64_t pulled_bytes;
    size_t at;
    size_t len;
    uint8_t bytes[UNW_INPUT_BYTES];
};

static inline void
unw_input_init(struct unw_input *input, pull_fn pull, void *pull_ctx)
{
    input->pull = pull;
    input->pull_ctx = pull_ctx;
    input->pulled_bytes = 0;
    input->at = 0;
    input->len = 0;
}

static inline size_t
unw_input_left(const struct unw_input *input)
{
    return input->len - input->at;
}

/* Of the next byte to use, in the object as it is stored. */
static inline uint64_t
unw_input_offset(const struct unw_input *input)
{
    return input->pulled_bytes - unw_input_left(input);
}

/* Only when none is left. Still none left afterwards: the object has ended. */
static inline enum ps_status
unw_input_fill(struct unw_input *input, struct ps_error *err)
{
    size_t n = 0;
    enum ps_status status =
        input->pull(input->pull_ctx, input->bytes, sizeof input->bytes, &n, err);
    if (status == PS_OK) {
        input->pulled_bytes += n;
        input->at = 0;
        input->len = n;
    }
    return status;
}

#endif
