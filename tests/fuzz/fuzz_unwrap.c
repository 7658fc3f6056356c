/* SPDX-License-Identifier: Apache-2.0 */
/* Stored bytes through every filter. The first byte says how they are asked for and how large the
 * pieces are: the outcome must not depend on the pieces. */
#include <stdlib.h>
#include <string.h>

#include "agent/unwrap/unwrap.h"
#include "common/assert.h"

enum { MAX_OUT_BYTES = 4 << 20 };

struct feed {
    const uint8_t *bytes;
    size_t len;
    size_t at;
    size_t piece;
};

struct outcome {
    enum ps_status status;
    uint64_t out_bytes;
    uint64_t digest;
};

static enum ps_status
pull(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    (void)err;
    struct feed *feed = ctx;
    size_t n = feed->len - feed->at;
    n = n < feed->piece ? n : feed->piece;
    n = n < cap ? n : cap;
    if (n > 0) {
        memcpy(out, feed->bytes + feed->at, n);
    }
    feed->at += n;
    *out_n = n;
    return PS_OK;
}

static struct outcome
run(const char *compression, const uint8_t *bytes, size_t len, size_t piece, size_t cap)
{
    static uint8_t out[64 * 1024];
    struct feed feed = {.bytes = bytes, .len = len, .piece = piece};
    struct unwrap_limits limits = {.max_out_bytes = MAX_OUT_BYTES, .max_window_bytes = 1 << 20};
    struct outcome outcome = {.digest = 1469598103934665603U};
    struct unwrap *unwrap = NULL;
    struct ps_error err = {0};
    size_t n = 1;
    outcome.status = unwrap_open(compression, pull, &feed, &limits, &unwrap, &err);
    while (outcome.status == PS_OK && n > 0) {
        outcome.status = unwrap_read(unwrap, out, cap, &n, &err);
        for (size_t i = 0; outcome.status == PS_OK && i < n; i++) {
            outcome.digest = (outcome.digest ^ out[i]) * 1099511628211U;
        }
    }
    outcome.out_bytes = unwrap == NULL ? 0 : unwrap_out_bytes(unwrap);
    unwrap_close(unwrap);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const asks[] = {"auto", "gzip", "zstd", "none", "lz4", "bz2", "xz", "auto"};
    if (size == 0) {
        return 0;
    }
    const char *ask = asks[data[0] & 7];
    size_t piece = (size_t)(data[0] >> 3) + 1;
    struct outcome whole = run(ask, data + 1, size - 1, size, 64 * 1024);
    struct outcome parts = run(ask, data + 1, size - 1, piece, 1000);
    PS_ASSERT(whole.status == parts.status);
    PS_ASSERT(whole.status != PS_OK ||
              (whole.out_bytes == parts.out_bytes && whole.digest == parts.digest));
    return 0;
}
