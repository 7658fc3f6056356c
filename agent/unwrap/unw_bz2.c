/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unw_bz2.c: bzip2. All streams are one; anything after the last is an error.
 * libbz2 checks the CRC of each block and of each stream. Its memory is 3.7 MB at most by
 * definition. */
#include <bzlib.h>
#include <limits.h>
#include <string.h>

#include "agent/unwrap/unw_input.h"
#include "common/alloc.h"

struct bz2 {
    bz_stream stream;
    bool in_stream; /* between a stream's first byte and its last: `stream` is initialised */
    bool ended;
    uint64_t stream_at; /* stored offset of the stream that is, or was last, begun */
    struct unw_input in;
};

/* "BZh", the level, then the first block's magic or, in an empty stream, the end's. */
static bool
bz2_detect(struct ps_span head)
{
    if (head.len < 10 || memcmp(head.ptr, "BZh", 3) != 0 || head.ptr[3] < '1' ||
        head.ptr[3] > '9') {
        return false;
    }
    return memcmp(head.ptr + 4, "1AY&SY", 6) == 0 || memcmp(head.ptr + 4, "\x17rE8P\x90", 6) == 0;
}

static void *
bz2_alloc(void *opaque, int count, int bytes)
{
    (void)opaque;
    return ps_alloc((size_t)count * (size_t)bytes);
}

static void
bz2_free(void *opaque, void *block)
{
    (void)opaque;
    ps_free(block);
}

static void
bz2_close(void *state)
{
    struct bz2 *bz2 = state;
    if (bz2->in_stream) {
        BZ2_bzDecompressEnd(&bz2->stream);
    }
    ps_free(bz2);
}

static enum ps_status
bz2_open(pull_fn pull, void *pull_ctx, const struct unwrap_limits *limits, void **out_state,
         struct ps_error *err)
{
    (void)limits; /* the block is 900 kB at most by definition */
    struct bz2 *bz2 = ps_alloc(sizeof *bz2);
    if (bz2 == NULL) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    bz2->stream = (bz_stream){.bzalloc = bz2_alloc, .bzfree = bz2_free};
    bz2->in_stream = false;
    bz2->ended = false;
    bz2->stream_at = 0;
    unw_input_init(&bz2->in, pull, pull_ctx);
    *out_state = bz2;
    return PS_OK;
}

static enum ps_status
begin_stream(struct bz2 *bz2, struct ps_error *err)
{
    bz2->stream_at = unw_input_offset(&bz2->in);
    if (BZ2_bzDecompressInit(&bz2->stream, 0, 0) != BZ_OK) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    bz2->in_stream = true;
    return PS_OK;
}

/* One call of libbz2: uses some input or gives some output, or is an error. */
static enum ps_status
inflate_some(struct bz2 *bz2, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct unw_input *in = &bz2->in;
    bz_stream *stream = &bz2->stream;
    unsigned room = cap > UINT_MAX ? UINT_MAX : (unsigned)cap;
    stream->next_in = (char *)in->bytes + in->at;
    stream->avail_in = (unsigned)unw_input_left(in);
    stream->next_out = (char *)out;
    stream->avail_out = room;
    int code = BZ2_bzDecompress(stream);
    in->at = in->len - stream->avail_in;
    *out_n = room - stream->avail_out;
    switch (code) {
    case BZ_OK:
        return PS_OK;
    case BZ_STREAM_END:
        BZ2_bzDecompressEnd(stream);
        bz2->in_stream = false;
        return PS_OK;
    case BZ_MEM_ERROR:
        return ps_fail(err, PS_FULL, "out of memory");
    case BZ_DATA_ERROR_MAGIC:
        if (bz2->stream_at > 0) {
            return ps_fail_code(err, PS_BADDATA, "unwrap_garbage",
                                "bytes that are no bzip2 stream at stored offset %" PRIu64,
                                bz2->stream_at);
        }
        break;
    default:
        break;
    }
    return ps_fail_code(err, PS_BADDATA, "unwrap_corrupt",
                        "damaged data or a wrong checksum at stored offset %" PRIu64,
                        unw_input_offset(in));
}

static enum ps_status
bz2_read(void *state, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct bz2 *bz2 = state;
    struct unw_input *in = &bz2->in;
    size_t made = 0;
    bool drained = false; /* libbz2 holds no more output for the input it has */
    enum ps_status status = PS_OK;
    while (status == PS_OK && !bz2->ended && made < cap) {
        if (unw_input_left(in) == 0 && (drained || !bz2->in_stream)) {
            if (made > 0) {
                break; /* what is there goes out before a pull that may fail */
            }
            status = unw_input_fill(in, err);
            bz2->ended = status == PS_OK && unw_input_left(in) == 0;
        }
        if (status != PS_OK || bz2->ended) {
            break;
        }
        if (!bz2->in_stream) {
            status = begin_stream(bz2, err);
        }
        if (status == PS_OK) {
            size_t n = 0;
            status = inflate_some(bz2, out + made, cap - made, &n, err);
            made += n;
            drained = made < cap;
        }
    }
    if (status == PS_OK && bz2->ended && bz2->in_stream) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_truncated",
                            "the object ends inside a stream at stored offset %" PRIu64,
                            unw_input_offset(in));
    }
    *out_n = made;
    return status;
}

extern const struct unwrap_ops unw_bz2_ops;
const struct unwrap_ops unw_bz2_ops = {
    .name = "bz2",
    .help = "bzip2, several streams too",
    .detect = bz2_detect,
    .open = bz2_open,
    .read = bz2_read,
    .close = bz2_close,
};
