/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unw_xz.c: .xz (its format 1.2.0) by liblzma. All streams are one; between and after
 * them zero bytes in multiples of four are padding, anything else there is an error. liblzma checks
 * each block's checksum; a kind of checksum that this liblzma does not know is refused, because it
 * would be passed over in silence. A dictionary beyond the ceiling is refused with both figures. */
#include <lzma.h>
#include <string.h>

#include "agent/unwrap/unw_input.h"
#include "common/alloc.h"

struct xz {
    lzma_stream stream;
    lzma_allocator allocator;
    uint64_t memory_limit;
    bool in_stream;
    bool ended;
    uint64_t padding_bytes; /* zeros since the last stream's end */
    uint64_t padding_at;    /* stored offset of that end */
    struct unw_input in;
};

static bool
xz_detect(struct ps_span head)
{
    return head.len >= 6 && memcmp(head.ptr, "\xFD\x37\x7A\x58\x5A\x00", 6) == 0;
}

static void *
xz_alloc(void *opaque, size_t count, size_t bytes)
{
    (void)opaque;
    size_t total = 0;
    return __builtin_mul_overflow(count, bytes, &total) ? NULL : ps_alloc(total);
}

static void
xz_free(void *opaque, void *block)
{
    (void)opaque;
    ps_free(block);
}

static void
xz_close(void *state)
{
    struct xz *xz = state;
    lzma_end(&xz->stream);
    ps_free(xz);
}

static enum ps_status
xz_open(pull_fn pull, void *pull_ctx, const struct unwrap_limits *limits, void **out_state,
        struct ps_error *err)
{
    struct xz *xz = ps_alloc(sizeof *xz);
    if (xz == NULL) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    xz->stream = (lzma_stream)LZMA_STREAM_INIT;
    xz->allocator = (lzma_allocator){.alloc = xz_alloc, .free = xz_free};
    xz->stream.allocator = &xz->allocator;
    xz->memory_limit = limits->max_window_bytes == 0 ? UINT64_MAX : limits->max_window_bytes;
    xz->in_stream = false;
    xz->ended = false;
    xz->padding_bytes = 0;
    xz->padding_at = 0;
    unw_input_init(&xz->in, pull, pull_ctx);
    *out_state = xz;
    return PS_OK;
}

static enum ps_status
fail_inflate(const struct xz *xz, lzma_ret code, struct ps_error *err)
{
    uint64_t at = unw_input_offset(&xz->in);
    const char *what = "damaged data or a wrong checksum";
    if (code == LZMA_MEM_ERROR) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    if (code == LZMA_MEMLIMIT_ERROR) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_window",
                            "a block needs %" PRIu64 " bytes of memory, %" PRIu64
                            " are allowed (the agent's budget), at stored offset %" PRIu64,
                            lzma_memusage(&xz->stream), xz->memory_limit, at);
    }
    if (code == LZMA_UNSUPPORTED_CHECK) {
        what = "a kind of checksum that cannot be checked here";
    } else if (code == LZMA_OPTIONS_ERROR) {
        what = "a header that this liblzma does not understand";
    }
    return ps_fail_code(err, PS_BADDATA, "unwrap_corrupt", "%s at stored offset %" PRIu64, what,
                        at);
}

/* Between streams: padding, a next stream, or an error. There is input. */
static enum ps_status
between_streams(struct xz *xz, struct ps_error *err)
{
    struct unw_input *in = &xz->in;
    while (unw_input_left(in) > 0 && in->bytes[in->at] == 0) {
        in->at++;
        xz->padding_bytes++;
    }
    if (unw_input_left(in) == 0) {
        return PS_OK;
    }
    if (in->bytes[in->at] != 0xFD || xz->padding_bytes % 4 != 0) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_garbage",
                            "bytes that are no xz stream at stored offset %" PRIu64,
                            in->bytes[in->at] != 0xFD ? unw_input_offset(in) : xz->padding_at);
    }
    lzma_ret code = lzma_stream_decoder(&xz->stream, xz->memory_limit, LZMA_TELL_UNSUPPORTED_CHECK);
    if (code != LZMA_OK) {
        return fail_inflate(xz, code, err);
    }
    xz->in_stream = true;
    return PS_OK;
}

/* One call of liblzma: uses some input or gives some output, or is an error. */
static enum ps_status
inflate_some(struct xz *xz, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct unw_input *in = &xz->in;
    lzma_stream *stream = &xz->stream;
    stream->next_in = in->bytes + in->at;
    stream->avail_in = unw_input_left(in);
    stream->next_out = out;
    stream->avail_out = cap;
    lzma_ret code = lzma_code(stream, LZMA_RUN);
    in->at = in->len - stream->avail_in;
    *out_n = cap - stream->avail_out;
    if (code == LZMA_STREAM_END) {
        xz->in_stream = false;
        xz->padding_bytes = 0;
        xz->padding_at = unw_input_offset(in);
        return PS_OK;
    }
    /* LZMA_BUF_ERROR: nothing could be done without more input, which comes next. */
    return code == LZMA_OK || code == LZMA_BUF_ERROR ? PS_OK : fail_inflate(xz, code, err);
}

static enum ps_status
check_end(const struct xz *xz, struct ps_error *err)
{
    if (xz->in_stream) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_truncated",
                            "the object ends inside a stream at stored offset %" PRIu64,
                            unw_input_offset(&xz->in));
    }
    if (xz->padding_bytes % 4 != 0) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_garbage",
                            "%" PRIu64 " bytes of padding, no multiple of 4, at stored offset "
                            "%" PRIu64,
                            xz->padding_bytes, xz->padding_at);
    }
    return PS_OK;
}

static enum ps_status
xz_read(void *state, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct xz *xz = state;
    struct unw_input *in = &xz->in;
    size_t made = 0;
    bool drained = false; /* liblzma holds no more output for the input it has */
    enum ps_status status = PS_OK;
    while (status == PS_OK && !xz->ended && made < cap) {
        if (unw_input_left(in) == 0 && (drained || !xz->in_stream)) {
            if (made > 0) {
                break; /* what is there goes out before a pull that may fail */
            }
            status = unw_input_fill(in, err);
            xz->ended = status == PS_OK && unw_input_left(in) == 0;
        }
        if (status != PS_OK || xz->ended) {
            break;
        }
        if (!xz->in_stream) {
            status = between_streams(xz, err);
        }
        if (status == PS_OK && xz->in_stream) {
            size_t n = 0;
            status = inflate_some(xz, out + made, cap - made, &n, err);
            made += n;
            drained = made < cap;
        }
    }
    *out_n = made;
    return status == PS_OK && xz->ended ? check_end(xz, err) : status;
}

extern const struct unwrap_ops unw_xz_ops;
const struct unwrap_ops unw_xz_ops = {
    .name = "xz",
    .help = "xz, several streams too",
    .detect = xz_detect,
    .open = xz_open,
    .read = xz_read,
    .close = xz_close,
};
