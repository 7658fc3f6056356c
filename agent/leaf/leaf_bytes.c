/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_bytes.h"

#include "common/alloc.h"

enum { PART_BYTES = 64 * 1024 };

struct leaf_bytes {
    struct leaf_bytes_of of; /* its names are in these: */
    struct ps_buf key, version;
    struct source_reader *reader;
    struct unwrap *unwrap; /* NULL: nothing is unwrapped, and the reader stands at `at` */
    uint64_t at;           /* of the unwrapped stream */
    uint8_t part[PART_BYTES];
};

static enum ps_status
pull(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct leaf_bytes *bytes = ctx;
    return bytes->of.source->ops->read(bytes->reader, out, cap, out_n, err);
}

static void
drop(struct leaf_bytes *bytes)
{
    unwrap_close(bytes->unwrap);
    bytes->unwrap = NULL;
    bytes->of.source->ops->close_object(bytes->reader);
    bytes->reader = NULL;
}

static enum ps_status
begin(struct leaf_bytes *bytes, struct ps_error *err)
{
    const struct leaf_bytes_of *of = &bytes->of;
    struct unwrap_limits limits = leaf_stream_limits(of->spec, of->budget_bytes);
    bytes->at = 0;
    enum ps_status status =
        of->source->ops->open_object(of->source->source, of->key, of->version, &bytes->reader, err);
    return status == PS_OK ? unwrap_open(spec_str(of->spec, "format.compression"), pull, bytes,
                                         &limits, &bytes->unwrap, err)
                           : status;
}

enum ps_status
leaf_bytes_open(const struct leaf_bytes_of *of, struct leaf_bytes **out, struct ps_error *err)
{
    struct leaf_bytes *bytes = ps_xcalloc(1, sizeof *bytes);
    bytes->of = *of;
    ps_buf_xappend(&bytes->key, of->key.ptr, of->key.len);
    ps_buf_xappend(&bytes->version, of->version.ptr, of->version.len);
    bytes->of.key = ps_buf_span(&bytes->key);
    bytes->of.version = ps_buf_span(&bytes->version);
    enum ps_status status = begin(bytes, err);
    if (status != PS_OK) {
        leaf_bytes_close(bytes);
        return status;
    }
    *out = bytes;
    return PS_OK;
}

void
leaf_bytes_close(struct leaf_bytes *bytes)
{
    if (bytes != NULL) {
        drop(bytes);
        ps_buf_fini(&bytes->key);
        ps_buf_fini(&bytes->version);
        ps_free(bytes);
    }
}

static enum ps_status
read_part(struct leaf_bytes *bytes, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    enum ps_status status = bytes->unwrap != NULL
                                ? unwrap_read(bytes->unwrap, out, cap, out_n, err)
                                : bytes->of.source->ops->read(bytes->reader, out, cap, out_n, err);
    bytes->at += status == PS_OK ? *out_n : 0;
    return status;
}

/* What is unwrapped is known after the first read. */
static bool
can_seek(const struct leaf_bytes *bytes)
{
    return bytes->of.source->ops->seek != NULL &&
           (bytes->unwrap == NULL ||
            (bytes->at > 0 && strcmp(unwrap_name(bytes->unwrap), "none") == 0));
}

static enum ps_status
go_to(struct leaf_bytes *bytes, uint64_t from, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    if (from < bytes->at && !can_seek(bytes)) {
        drop(bytes);
        status = begin(bytes, err);
    }
    for (size_t got = 1; status == PS_OK && got > 0 && bytes->at != from;) {
        if (can_seek(bytes)) {
            unwrap_close(bytes->unwrap);
            bytes->unwrap = NULL;
            bytes->at = from;
            return bytes->of.source->ops->seek(bytes->reader, from, err);
        }
        uint64_t left = from - bytes->at;
        status =
            read_part(bytes, bytes->part, left < PART_BYTES ? (size_t)left : PART_BYTES, &got, err);
    }
    return status;
}

enum ps_status
leaf_bytes_read(struct leaf_bytes *bytes, uint64_t from, size_t cap, struct ps_buf *out,
                struct ps_error *err)
{
    size_t begun = out->len;
    enum ps_status status = go_to(bytes, from, err);
    for (size_t got = 1; status == PS_OK && got > 0 && out->len - begun < cap;) {
        size_t left = cap - (out->len - begun);
        size_t room = left < PART_BYTES ? left : PART_BYTES;
        status = ps_buf_reserve(out, room, err);
        if (status == PS_OK) {
            status = read_part(bytes, out->ptr + out->len, room, &got, err);
            out->len += status == PS_OK ? got : 0;
        }
    }
    return status;
}

enum ps_status
leaf_bytes_verify(struct leaf_bytes *bytes, struct ps_error *err)
{
    return bytes->of.source->ops->verify(bytes->reader, err);
}
