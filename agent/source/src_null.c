/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/src_null.c: source.objects objects of no bytes, for measuring what a batch costs.
 * Keys are null/00000000, null/00000001, …; the version never changes. */
#include <inttypes.h>
#include <stdio.h>

#include "agent/source/source.h"
#include "common/alloc.h"

struct source {
    uint64_t objects;
    const _Atomic bool *cancel;
};

struct source_reader {
    uint8_t nothing;
};

static enum ps_status
null_open(const struct spec *spec, const struct source_env *env, struct source **out,
          struct ps_error *err)
{
    (void)err;
    struct source *source = ps_xcalloc(1, sizeof *source);
    source->objects = (uint64_t)spec_int(spec, "source.objects");
    source->cancel = env->cancel;
    *out = source;
    return PS_OK;
}

static void
null_close(struct source *source)
{
    ps_free(source);
}

/* The number of the first key that sorts after this one. */
static uint64_t
number_after(struct ps_span after)
{
    char text[32] = "";
    uint64_t number = 0;
    if (after.len == 0 || after.len >= sizeof text) {
        return 0;
    }
    memcpy(text, after.ptr, after.len);
    return sscanf(text, "null/%" SCNu64, &number) == 1 ? number + 1 : 0;
}

static enum ps_status
null_discover(struct source *source, struct source_page *page, struct ps_error *err)
{
    uint64_t i = number_after(page->after);
    for (size_t given = 0; given < page->limit && i < source->objects; given++, i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "null/%08" PRIu64, i);
        struct source_object object = {.key = ps_span(key, (size_t)len),
                                       .version = ps_span("1", 1)};
        if (source->cancel != NULL && atomic_load(source->cancel)) {
            return ps_fail(err, PS_CANCELED, "canceled");
        }
        enum ps_status status = page->found(page->ctx, &object, err);
        if (status != PS_OK) {
            return status;
        }
    }
    page->last = i >= source->objects;
    page->unsettled = 0;
    return PS_OK;
}

static enum ps_status
null_open_object(struct source *source, struct ps_span key, struct ps_span version,
                 struct source_reader **out, struct ps_error *err)
{
    if (key.len == 0 || number_after(key) == 0 || number_after(key) > source->objects) {
        return ps_fail_code(err, PS_REFUSED, "source_missing", "no such object");
    }
    if (!ps_span_eq(version, ps_span("1", 1))) {
        return ps_fail_code(err, PS_BADDATA, "source_changed", "it has only version 1");
    }
    *out = ps_xcalloc(1, sizeof **out);
    return PS_OK;
}

static enum ps_status
null_read(struct source_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
          struct ps_error *err)
{
    (void)reader;
    (void)out;
    (void)cap;
    (void)err;
    *out_n = 0;
    return PS_OK;
}

static enum ps_status
null_verify(struct source_reader *reader, struct ps_error *err)
{
    (void)reader;
    (void)err;
    return PS_OK;
}

static void
null_close_object(struct source_reader *reader)
{
    ps_free(reader);
}

extern const struct source_ops src_null_ops;
const struct source_ops src_null_ops = {
    .scheme = "null",
    .help = "objects of no bytes, to measure what a batch costs",
    .open = null_open,
    .close = null_close,
    .discover = null_discover,
    .open_object = null_open_object,
    .read = null_read,
    .verify = null_verify,
    .close_object = null_close_object,
};
