/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unw_zstd.c: Zstandard (RFC 8878). All frames are one stream, skippable ones are
 * skipped; anything after the last frame is an error, as with zstd(1). libzstd checks the content
 * checksum of frames that carry one. */
#include <inttypes.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "agent/unwrap/unwrap.h"
#include "common/alloc.h"

enum { IN_BYTES = 128 * 1024, MIN_WINDOW_LOG = 10 };

struct zstd {
    pull_fn pull;
    void *pull_ctx;
    ZSTD_DCtx *dctx;
    bool in_frame;
    bool ended;
    uint64_t frame_at; /* stored offset of the frame that is, or was last, begun */
    uint64_t pulled_bytes;
    ZSTD_inBuffer in;
    uint8_t bytes[IN_BYTES];
};

static bool
zstd_detect(struct ps_span head)
{
    if (head.len < 4) {
        return false;
    }
    const uint8_t *p = head.ptr;
    bool frame = p[0] == 0x28 && p[1] == 0xB5 && p[2] == 0x2F && p[3] == 0xFD;
    bool skippable = (p[0] & 0xF0) == 0x50 && p[1] == 0x2A && p[2] == 0x4D && p[3] == 0x18;
    return frame || skippable;
}

static void
zstd_close(void *state)
{
    struct zstd *zstd = state;
    if (zstd != NULL) {
        ZSTD_freeDCtx(zstd->dctx);
        ps_free(zstd);
    }
}

static int
window_log(size_t max_window_bytes)
{
    int max = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound;
    int log = MIN_WINDOW_LOG;
    while (log < max && (max_window_bytes == 0 || (size_t)2 << log <= max_window_bytes)) {
        log++;
    }
    return log;
}

static enum ps_status
zstd_open(pull_fn pull, void *pull_ctx, const struct unwrap_limits *limits, void **out_state,
          struct ps_error *err)
{
    struct zstd *zstd = ps_alloc(sizeof *zstd);
    if (zstd == NULL) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    zstd->pull = pull;
    zstd->pull_ctx = pull_ctx;
    zstd->in_frame = false;
    zstd->ended = false;
    zstd->pulled_bytes = 0;
    zstd->frame_at = 0;
    zstd->in = (ZSTD_inBuffer){.src = zstd->bytes};
    zstd->dctx = ZSTD_createDCtx();
    if (zstd->dctx == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(zstd->dctx, ZSTD_d_windowLogMax,
                                            window_log(limits->max_window_bytes)))) {
        zstd_close(zstd);
        return ps_fail(err, PS_FULL, "out of memory");
    }
    *out_state = zstd;
    return PS_OK;
}

static uint64_t
stored_offset(const struct zstd *zstd)
{
    return zstd->pulled_bytes - (zstd->in.size - zstd->in.pos);
}

static enum ps_status
fill(struct zstd *zstd, struct ps_error *err)
{
    size_t n = 0;
    enum ps_status status = zstd->pull(zstd->pull_ctx, zstd->bytes, sizeof zstd->bytes, &n, err);
    if (status == PS_OK) {
        zstd->pulled_bytes += n;
        zstd->in.size = n;
        zstd->in.pos = 0;
    }
    return status;
}

static enum ps_status
fail_inflate(const struct zstd *zstd, size_t code, struct ps_error *err)
{
    ZSTD_ErrorCode error = ZSTD_getErrorCode(code);
    uint64_t at = stored_offset(zstd);
    if (error == ZSTD_error_memory_allocation) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    if (error == ZSTD_error_frameParameter_windowTooLarge) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_window",
                            "a frame needs a larger window than is allowed, at stored offset "
                            "%" PRIu64,
                            at);
    }
    if (error == ZSTD_error_prefix_unknown && zstd->frame_at > 0) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_garbage",
                            "bytes that are no frame at stored offset %" PRIu64, zstd->frame_at);
    }
    return ps_fail_code(err, PS_BADDATA, "unwrap_corrupt", "%s at stored offset %" PRIu64,
                        ZSTD_getErrorName(code), at);
}

static enum ps_status
zstd_read(void *state, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct zstd *zstd = state;
    ZSTD_outBuffer to = {.dst = out, .size = cap};
    bool drained = false; /* libzstd holds no more output for the input it has */
    while (!zstd->ended && to.pos < to.size) {
        if (zstd->in.pos == zstd->in.size && (drained || !zstd->in_frame)) {
            if (to.pos > 0) {
                break; /* what is there goes out before a pull that may fail */
            }
            enum ps_status status = fill(zstd, err);
            if (status != PS_OK) {
                return status;
            }
            if (zstd->in.size == 0) {
                zstd->ended = true;
                break;
            }
        }
        size_t out_before = to.pos;
        zstd->frame_at = zstd->in_frame ? zstd->frame_at : stored_offset(zstd);
        size_t code = ZSTD_decompressStream(zstd->dctx, &to, &zstd->in);
        if (ZSTD_isError(code)) {
            return fail_inflate(zstd, code, err);
        }
        zstd->in_frame = code != 0;
        drained = to.pos == out_before || to.pos < to.size;
    }
    if (zstd->ended && zstd->in_frame) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_truncated",
                            "the object ends inside a frame at stored offset %" PRIu64,
                            stored_offset(zstd));
    }
    *out_n = to.pos;
    return PS_OK;
}

extern const struct unwrap_ops unw_zstd_ops;
const struct unwrap_ops unw_zstd_ops = {
    .name = "zstd",
    .help = "Zstandard (RFC 8878), several frames too",
    .detect = zstd_detect,
    .open = zstd_open,
    .read = zstd_read,
    .close = zstd_close,
};
