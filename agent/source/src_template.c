/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/src_template.c: copy this to src_NAME.c, replace "template" and the texts below, add
 * SOURCE(src_NAME_ops) to sources.def and the driver's keys to spec/spec_keys.def (applies
 * "source:NAME"), then run tests/contract/test_source.c, which covers every registered driver. It
 * is compiled so that it never rots, and registered nowhere.
 * State here: what a key is, what the version is and whether it is strong, what can be seeked. */
#include "agent/source/source.h"
#include "common/alloc.h"

struct source {
    struct source_env env;
};

struct source_reader {
    const struct source *source;
};

/* Looks at texts only; nothing is contacted before the first discover or open_object. */
static enum ps_status
template_open(const struct spec *spec, const struct source_env *env, struct source **out,
              struct ps_error *err)
{
    (void)spec;
    (void)err;
    struct source *source = ps_xcalloc(1, sizeof *source);
    source->env = *env;
    *out = source;
    return PS_OK;
}

static void
template_close(struct source *source)
{
    ps_free(source);
}

/* Bytewise key order, strictly after page->after; look at env.cancel. */
static enum ps_status
template_discover(struct source *source, struct source_page *page, struct ps_error *err)
{
    (void)source;
    (void)err;
    page->last = true;
    page->unsettled = 0;
    return PS_OK;
}

/* "source_missing" and "source_changed" are told apart here, and "not_visible" where another agent
 * may see the object. */
static enum ps_status
template_open_object(struct source *source, struct ps_span key, struct ps_span version,
                     struct source_reader **out, struct ps_error *err)
{
    (void)source;
    (void)key;
    (void)version;
    (void)out;
    return ps_fail_code(err, PS_REFUSED, "source_missing", "no such object");
}

/* *out_n is 0 at the object's true end only: an object that became shorter is source_changed. */
static enum ps_status
template_read(struct source_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
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
template_verify(struct source_reader *reader, struct ps_error *err)
{
    (void)reader;
    (void)err;
    return PS_OK;
}

static void
template_close_object(struct source_reader *reader)
{
    ps_free(reader);
}

extern const struct source_ops src_template_ops;
const struct source_ops src_template_ops = {
    .scheme = "template",
    .help = "one sentence for --help and the reference",
    .open = template_open,
    .close = template_close,
    .discover = template_discover,
    .open_object = template_open_object,
    .read = template_read,
    .seek = NULL, /* where the bytes can be had only from the start */
    .verify = template_verify,
    .close_object = template_close_object,
};
