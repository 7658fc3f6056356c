/* SPDX-License-Identifier: Apache-2.0 */
/* agent/unwrap/unw_template.c: copy this to unw_NAME.c, replace "template" and the identity below,
 * add UNWRAP(unw_NAME_ops) to unwraps.def, and run tests/unit/unwrap. It is compiled so that it
 * never rots, and registered nowhere.
 * State here: what the stored format is (with its RFC), what joins into one stream, what may
 * follow the last member. */
#include "agent/unwrap/unwrap.h"
#include "common/alloc.h"

struct template
{
    pull_fn pull;
    void *pull_ctx;
};

/* Must be strict: a text file that is taken for this format cannot be loaded with "auto". */
static bool
template_detect(struct ps_span head)
{
    (void)head;
    return false;
}

/* May not pull yet. */
static enum ps_status
template_open(pull_fn pull, void *pull_ctx, const struct unwrap_limits *limits, void **out_state,
              struct ps_error *err)
{
    (void)limits;
    struct template *template = ps_calloc(1, sizeof *template);
    if (template == NULL) {
        return ps_fail(err, PS_FULL, "out of memory");
    }
    template->pull = pull;
    template->pull_ctx = pull_ctx;
    *out_state = template;
    return PS_OK;
}

/* Gives *out_n > 0 bytes, or 0 at the true end only. Output that stands goes out before a pull
 * that may fail. PS_BADDATA: unwrap_truncated, unwrap_corrupt, unwrap_garbage, each with the
 * stored offset. */
static enum ps_status
template_read(void *state, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct template *template = state;
    return template->pull(template->pull_ctx, out, cap, out_n, err);
}

static void
template_close(void *state)
{
    ps_free(state);
}

extern const struct unwrap_ops unw_template_ops;
const struct unwrap_ops unw_template_ops = {
    .name = "template",
    .help = "one sentence for --help and the reference",
    .detect = template_detect,
    .open = template_open,
    .read = template_read,
    .close = template_close,
};
