/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unw_gzip.c: gzip (RFC 1952) by ISA-L's igzip.
 * All members are one stream. As gzip(1) does, zero bytes after the last member are taken for
 * padding (tapes, block devices); any other bytes there are an error. igzip checks each member's
 * CRC-32 and length itself.
 * The member's header is read apart, into a struct that lives as long as the stream: isal_inflate
 * keeps the header's flags on its stack, so a header that is cut by a window was misread. */
#include <inttypes.h>
#include <isa-l/igzip_lib.h>

#include "agent/unwrap/unwrap.h"
#include "common/alloc.h"

enum { IN_BYTES = 64 * 1024 };

struct gzip {
    pull_fn pull;
    void *pull_ctx;
    bool in_member; /* between a member's first byte and its trailer's last */
    bool in_header; /* and its header is not yet whole */
    bool padding;   /* zeros have begun: nothing else may follow */
    bool ended;
    uint64_t pulled_bytes;
    struct isal_gzip_header header;
    struct inflate_state inflate;
    uint8_t in[IN_BYTES];
};

static bool
gzip_detect(struct ps_span head)
{
    return head.len >= 3 && head.ptr[0] == 0x1F && head.ptr[1] == 0x8B && head.ptr[2] == 8;
}

static enum ps_status
gzip_open(pull_fn pull, void *pull_ctx, const struct unwrap_limits *limits, void **out_state,
          struct ps_error *err)
{
    (void)limits; /* the window is 32 KiB by definition */
    struct gzip *gzip = ps_alloc(sizeof *gzip);
    if (gzip == NULL) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    gzip->pull = pull;
    gzip->pull_ctx = pull_ctx;
    gzip->in_member = false;
    gzip->in_header = false;
    gzip->padding = false;
    gzip->ended = false;
    gzip->pulled_bytes = 0;
    isal_inflate_init(&gzip->inflate);
    gzip->inflate.next_in = gzip->in;
    gzip->inflate.avail_in = 0;
    *out_state = gzip;
    return PS_OK;
}

static uint64_t
stored_offset(const struct gzip *gzip)
{
    return gzip->pulled_bytes - gzip->inflate.avail_in;
}

/* More stored bytes; avail_in stays 0 at the end of the object. */
static enum ps_status
fill(struct gzip *gzip, struct ps_error *err)
{
    size_t n = 0;
    enum ps_status status = gzip->pull(gzip->pull_ctx, gzip->in, sizeof gzip->in, &n, err);
    if (status == PS_OK) {
        gzip->pulled_bytes += n;
        gzip->inflate.next_in = gzip->in;
        gzip->inflate.avail_in = (uint32_t)n;
    }
    return status;
}

static enum ps_status
fail_inflate(const struct gzip *gzip, int code, struct ps_error *err)
{
    const char *what = "damaged data";
    if (code == ISAL_INCORRECT_CHECKSUM) {
        what = "checksum or length of the member does not match";
    } else if (code == ISAL_INVALID_WRAPPER || code == ISAL_UNSUPPORTED_METHOD) {
        what = "damaged header";
    }
    return ps_fail_code(err, PS_BADDATA, "unwrap_corrupt", "%s at stored offset %" PRIu64, what,
                        stored_offset(gzip));
}

/* Between members: a next one, padding, or the end. */
static enum ps_status
begin_member(struct gzip *gzip, struct ps_error *err)
{
    struct inflate_state *inflate = &gzip->inflate;
    while (inflate->avail_in > 0 && *inflate->next_in == 0) {
        gzip->padding = true;
        inflate->next_in++;
        inflate->avail_in--;
    }
    if (inflate->avail_in == 0) {
        return PS_OK;
    }
    if (gzip->padding || *inflate->next_in != 0x1F) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_garbage",
                            "bytes that are no gzip member at stored offset %" PRIu64,
                            stored_offset(gzip));
    }
    uint8_t *next_in = inflate->next_in;
    uint32_t avail_in = inflate->avail_in;
    isal_inflate_reset(inflate);
    inflate->crc_flag = ISAL_GZIP_NO_HDR_VER;
    inflate->next_in = next_in;
    inflate->avail_in = avail_in;
    isal_gzip_header_init(&gzip->header);
    gzip->in_member = true;
    gzip->in_header = true;
    return PS_OK;
}

/* Uses input up to the header's end; in_header stays true where more is needed. */
static enum ps_status
read_header(struct gzip *gzip, struct ps_error *err)
{
    int code = isal_read_gzip_header(&gzip->inflate, &gzip->header);
    if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT) {
        return fail_inflate(gzip, ISAL_INVALID_WRAPPER, err);
    }
    gzip->in_header = code == ISAL_END_INPUT;
    return PS_OK;
}

/* One call of igzip: some output, some input used, or an error. */
static enum ps_status
inflate_some(struct gzip *gzip, struct ps_error *err)
{
    struct inflate_state *inflate = &gzip->inflate;
    uint32_t in_before = inflate->avail_in;
    uint32_t out_before = inflate->avail_out;
    int code = isal_inflate(inflate);
    if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT && code != ISAL_OUT_OVERFLOW) {
        return fail_inflate(gzip, code, err);
    }
    if (inflate->block_state == ISAL_BLOCK_FINISH) {
        gzip->in_member = false;
    } else if (in_before > 0 && inflate->avail_in == in_before &&
               inflate->avail_out == out_before) {
        return fail_inflate(gzip, ISAL_INVALID_BLOCK, err); /* would turn for ever */
    }
    return PS_OK;
}

static enum ps_status
gzip_read(void *state, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct gzip *gzip = state;
    struct inflate_state *inflate = &gzip->inflate;
    uint32_t room = cap > UINT32_MAX ? UINT32_MAX : (uint32_t)cap;
    enum ps_status status = PS_OK;
    inflate->next_out = out;
    inflate->avail_out = room;
    while (status == PS_OK && !gzip->ended && inflate->avail_out > 0) {
        if (inflate->avail_in == 0) {
            if (inflate->avail_out < room) {
                break; /* what is there goes out before a pull that may fail */
            }
            status = fill(gzip, err);
            if (status == PS_OK && inflate->avail_in == 0) {
                gzip->ended = true;
                break;
            }
        }
        if (status == PS_OK && !gzip->in_member) {
            status = begin_member(gzip, err);
        }
        if (status == PS_OK && gzip->in_header) {
            status = read_header(gzip, err);
        }
        if (status == PS_OK && gzip->in_member && !gzip->in_header) {
            status = inflate_some(gzip, err);
        }
    }
    if (status == PS_OK && gzip->ended && gzip->in_member) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_truncated",
                            "the object ends inside a member at stored offset %" PRIu64,
                            stored_offset(gzip));
    }
    *out_n = room - inflate->avail_out;
    return status;
}

static void
gzip_close(void *state)
{
    ps_free(state);
}

extern const struct unwrap_ops unw_gzip_ops;
const struct unwrap_ops unw_gzip_ops = {
    .name = "gzip",
    .help = "gzip (RFC 1952), several members too",
    .detect = gzip_detect,
    .open = gzip_open,
    .read = gzip_read,
    .close = gzip_close,
};
