/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/unwrap/unwrap.h"

#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "common/assert.h"

/* Enough for every magic number; the rest of the object never passes through here. */
enum { HEAD_BYTES = 16, RATIO_FREE_BYTES = 1 << 20 };

struct unwrap {
    char compression[16]; /* as asked for */
    pull_fn pull;
    void *pull_ctx;
    struct unwrap_limits limits;

    bool detected;
    const struct unwrap_ops *ops; /* NULL: none */
    void *state;

    uint8_t head[HEAD_BYTES];
    size_t head_len;
    size_t head_at; /* how much of head has been handed on */
    uint64_t stored_bytes;
    uint64_t out_bytes;
};

#define UNWRAP(ops) extern const struct unwrap_ops ops;
#include "agent/unwrap/unwraps.def"
#undef UNWRAP

static const struct unwrap_ops *const registry[] = {
#define UNWRAP(ops) &ops,
#include "agent/unwrap/unwraps.def"
#undef UNWRAP
    NULL,
};

const struct unwrap_ops *const *
unwrap_all(void)
{
    return registry;
}

static const struct unwrap_ops *
ops_by_name(const char *name)
{
    for (size_t i = 0; registry[i] != NULL; i++) {
        if (strcmp(registry[i]->name, name) == 0) {
            return registry[i];
        }
    }
    return NULL;
}

static const struct unwrap_ops *
ops_by_magic(struct ps_span head)
{
    for (size_t i = 0; registry[i] != NULL; i++) {
        if (registry[i]->detect(head)) {
            return registry[i];
        }
    }
    return NULL;
}

/* Formats that nobody would mean as text: loading their bytes as rows would be a surprise. */
static const char *
foreign_format(struct ps_span head)
{
    static const struct {
        const char *name;
        const char *magic;
        size_t len;
    } formats[] = {
        {"xz", "\xFD\x37\x7A\x58\x5A\x00", 6},
        {"lz4", "\x04\x22\x4D\x18", 4},
        {"legacy lz4", "\x02\x21\x4C\x18", 4},
        {"lzma (.lzma)", "\x5D\x00\x00", 3},
        {"zip", "PK\x03\x04", 4},
        {"compress (.Z)", "\x1F\x9D", 2},
        {"7z", "7z\xBC\xAF\x27\x1C", 6},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (head.len >= formats[i].len && memcmp(head.ptr, formats[i].magic, formats[i].len) == 0) {
            return formats[i].name;
        }
    }
    bool bzip2 =
        head.len >= 10 && memcmp(head.ptr, "BZh", 3) == 0 && memcmp(head.ptr + 4, "1AY&SY", 6) == 0;
    return bzip2 ? "bzip2" : NULL;
}

enum ps_status
unwrap_open(const char *compression, pull_fn pull, void *pull_ctx,
            const struct unwrap_limits *limits, struct unwrap **out, struct ps_error *err)
{
    PS_ASSERT(pull != NULL && out != NULL);
    if (strcmp(compression, "auto") != 0 && strcmp(compression, "none") != 0 &&
        ops_by_name(compression) == NULL) {
        return ps_fail_code(err, PS_REFUSED, "compression_unknown",
                            "compression %s is not built in", compression);
    }
    struct unwrap *unwrap = ps_calloc(1, sizeof *unwrap);
    if (unwrap == NULL) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    size_t len = strnlen(compression, sizeof unwrap->compression - 1);
    memcpy(unwrap->compression, compression, len);
    unwrap->pull = pull;
    unwrap->pull_ctx = pull_ctx;
    if (limits != NULL) {
        unwrap->limits = *limits;
    }
    *out = unwrap;
    return PS_OK;
}

/* What the filters pull from: the head that detection took, then the source. */
static enum ps_status
pull_stored(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct unwrap *unwrap = ctx;
    if (unwrap->head_at < unwrap->head_len) {
        size_t left = unwrap->head_len - unwrap->head_at;
        *out_n = left < cap ? left : cap;
        memcpy(out, unwrap->head + unwrap->head_at, *out_n);
        unwrap->head_at += *out_n;
        return PS_OK;
    }
    enum ps_status status = unwrap->pull(unwrap->pull_ctx, out, cap, out_n, err);
    if (status == PS_OK) {
        unwrap->stored_bytes += *out_n;
    }
    return status;
}

static enum ps_status
read_head(struct unwrap *unwrap, struct ps_error *err)
{
    for (size_t n = 1; n > 0 && unwrap->head_len < HEAD_BYTES; unwrap->head_len += n) {
        enum ps_status status = unwrap->pull(unwrap->pull_ctx, unwrap->head + unwrap->head_len,
                                             HEAD_BYTES - unwrap->head_len, &n, err);
        if (status != PS_OK) {
            return status;
        }
        unwrap->stored_bytes += n;
    }
    return PS_OK;
}

static enum ps_status
detect(struct unwrap *unwrap, struct ps_error *err)
{
    if (strcmp(unwrap->compression, "none") == 0) {
        unwrap->detected = true;
        return PS_OK;
    }
    enum ps_status status = read_head(unwrap, err);
    if (status != PS_OK) {
        return status;
    }
    struct ps_span head = ps_span(unwrap->head, unwrap->head_len);
    const struct unwrap_ops *asked = ops_by_name(unwrap->compression);
    const struct unwrap_ops *found =
        asked != NULL && asked->detect(head) ? asked : ops_by_magic(head);
    if (strcmp(unwrap->compression, "auto") == 0) {
        const char *foreign = found == NULL ? foreign_format(head) : NULL;
        if (foreign != NULL) {
            return ps_fail_code(err, PS_BADDATA, "compression_unknown",
                                "this is %s data, which is not built in", foreign);
        }
    } else if (found != asked) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_corrupt",
                            "at stored offset 0: expected %s, found %s", unwrap->compression,
                            found == NULL ? "other bytes" : found->name);
    }
    if (found != NULL) {
        status = found->open(pull_stored, unwrap, &unwrap->limits, &unwrap->state, err);
        if (status != PS_OK) {
            return ps_wrap(err, status, "%s", found->name);
        }
    }
    unwrap->ops = found;
    unwrap->detected = true;
    return PS_OK;
}

/* A plain object is as large as it is stored: only filters have ceilings. */
static enum ps_status
check_ceilings(const struct unwrap *unwrap, struct ps_error *err)
{
    const struct unwrap_limits *limits = &unwrap->limits;
    if (limits->max_out_bytes > 0 && unwrap->out_bytes > limits->max_out_bytes) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_ceiling",
                            "%s: more than %" PRIu64 " bytes unwrapped at stored offset %" PRIu64,
                            unwrap->ops->name, limits->max_out_bytes, unwrap->stored_bytes);
    }
    if (limits->max_ratio > 0 && unwrap->out_bytes > RATIO_FREE_BYTES &&
        unwrap->out_bytes / limits->max_ratio > unwrap->stored_bytes) {
        return ps_fail_code(err, PS_BADDATA, "unwrap_ceiling",
                            "%s: grows more than %" PRIu64 " times: %" PRIu64
                            " bytes unwrapped at stored offset %" PRIu64,
                            unwrap->ops->name, limits->max_ratio, unwrap->out_bytes,
                            unwrap->stored_bytes);
    }
    return PS_OK;
}

enum ps_status
unwrap_read(struct unwrap *unwrap, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    PS_ASSERT(cap > 0);
    enum ps_status status = unwrap->detected ? PS_OK : detect(unwrap, err);
    if (status != PS_OK) {
        return status;
    }
    if (unwrap->ops == NULL) {
        status = pull_stored(unwrap, out, cap, out_n, err);
        if (status == PS_OK) {
            unwrap->out_bytes += *out_n;
        }
        return status;
    }
    status = unwrap->ops->read(unwrap->state, out, cap, out_n, err);
    if (status != PS_OK) {
        return ps_wrap(err, status, "%s", unwrap->ops->name);
    }
    unwrap->out_bytes += *out_n;
    return check_ceilings(unwrap, err);
}

const char *
unwrap_name(const struct unwrap *unwrap)
{
    return unwrap->ops == NULL ? "none" : unwrap->ops->name;
}

uint64_t
unwrap_stored_bytes(const struct unwrap *unwrap)
{
    return unwrap->stored_bytes;
}

uint64_t
unwrap_out_bytes(const struct unwrap *unwrap)
{
    return unwrap->out_bytes;
}

void
unwrap_close(struct unwrap *unwrap)
{
    if (unwrap == NULL) {
        return;
    }
    if (unwrap->ops != NULL) {
        unwrap->ops->close(unwrap->state);
    }
    ps_free(unwrap);
}
