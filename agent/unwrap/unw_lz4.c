/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unw_lz4.c: the LZ4 frame format (its specification 1.6.2). All frames are one
 * stream, skippable ones are skipped; anything after the last frame is an error. liblz4 checks the
 * header's, the blocks' and the content's checksum where a frame carries them, and its length where
 * the header says it. Blocks are 4 MiB at most by definition, so memory is about twice that. */
#include <lz4frame.h>
#include <string.h>

#include "agent/unwrap/unw_input.h"
#include "common/alloc.h"

struct lz4 {
    LZ4F_dctx *dctx;
    bool in_frame;
    bool ended;
    uint64_t frame_at; /* stored offset of the frame that is, or was last, begun */
    struct unw_input in;
};

/* Skippable frames look the same in Zstandard, which is asked first. */
static bool
lz4_detect(struct ps_span head)
{
    if (head.len < 4) {
        return false;
    }
    const uint8_t *p = head.ptr;
    bool frame = p[0] == 0x04 && p[1] == 0x22 && p[2] == 0x4D && p[3] == 0x18;
    bool skippable = (p[0] & 0xF0) == 0x50 && p[1] == 0x2A && p[2] == 0x4D && p[3] == 0x18;
    return frame || skippable;
}

static void
lz4_close(void *state)
{
    struct lz4 *lz4 = state;
    LZ4F_freeDecompressionContext(lz4->dctx);
    ps_free(lz4);
}

static enum ps_status
lz4_open(pull_fn pull, void *pull_ctx, const struct unwrap_limits *limits, void **out_state,
         struct ps_error *err)
{
    (void)limits; /* the block is 4 MiB at most by definition */
    struct lz4 *lz4 = ps_alloc(sizeof *lz4);
    if (lz4 == NULL) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    lz4->dctx = NULL;
    lz4->in_frame = false;
    lz4->ended = false;
    lz4->frame_at = 0;
    unw_input_init(&lz4->in, pull, pull_ctx);
    if (LZ4F_isError(LZ4F_createDecompressionContext(&lz4->dctx, LZ4F_VERSION))) {
        ps_free(lz4);
        return ps_fail(err, PS_FULL, "out of memory");
    }
    *out_state = lz4;
    return PS_OK;
}

/* liblz4 gives its error codes by name only. */
static enum ps_status
fail_inflate(const struct lz4 *lz4, size_t code, struct ps_error *err)
{
    const char *name = LZ4F_getErrorName(code);
    if (strcmp(name, "ERROR_allocation_failed") == 0) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    if (strcmp(name, "ERROR_frameType_unknown") == 0 && lz4->frame_at > 0) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_garbage",
                            "bytes that are no frame at stored offset %" PRIu64, lz4->frame_at);
    }
    return ps_fail_code(err, PS_BADDATA, "unwrap_corrupt", "%s at stored offset %" PRIu64, name,
                        unw_input_offset(&lz4->in));
}

static enum ps_status
lz4_read(void *state, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct lz4 *lz4 = state;
    struct unw_input *in = &lz4->in;
    size_t made = 0;
    bool drained = false; /* liblz4 holds no more output for the input it has */
    while (!lz4->ended && made < cap) {
        if (unw_input_left(in) == 0 && (drained || !lz4->in_frame)) {
            if (made > 0) {
                break; /* what is there goes out before a pull that may fail */
            }
            enum ps_status status = unw_input_fill(in, err);
            if (status != PS_OK) {
                return status;
            }
            if (unw_input_left(in) == 0) {
                lz4->ended = true;
                break;
            }
        }
        size_t to = cap - made;
        size_t from = unw_input_left(in);
        lz4->frame_at = lz4->in_frame ? lz4->frame_at : unw_input_offset(in);
        size_t code = LZ4F_decompress(lz4->dctx, out + made, &to, in->bytes + in->at, &from, NULL);
        if (LZ4F_isError(code)) {
            return fail_inflate(lz4, code, err);
        }
        made += to;
        in->at += from;
        lz4->in_frame = code != 0;
        drained = to == 0 || made < cap;
    }
    if (lz4->ended && lz4->in_frame) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_truncated",
                            "the object ends inside a frame at stored offset %" PRIu64,
                            unw_input_offset(in));
    }
    *out_n = made;
    return PS_OK;
}

extern const struct unwrap_ops unw_lz4_ops;
const struct unwrap_ops unw_lz4_ops = {
    .name = "lz4",
    .help = "LZ4 frames, several too",
    .detect = lz4_detect,
    .open = lz4_open,
    .read = lz4_read,
    .close = lz4_close,
};
