/* SPDX-License-Identifier: Apache-2.0 */
/* null: rows are counted and dropped; for measuring everything before the destination.
 * It has no memory, hence no ledger: the same batch loads as often as it is asked to. */
#include "agent/dest/dest.h"
#include "common/alloc.h"

struct null_dest {
    struct dest_env env;
};

extern const struct dest_ops dst_null_ops;

static enum ps_status
null_open(const struct spec *spec, const struct dest_env *env, struct dest **out,
          struct ps_error *err)
{
    (void)spec;
    struct null_dest *null = ps_calloc(1, sizeof *null);
    if (null == NULL) {
        return ps_fail(err, PS_FULL, "destination null: out of memory");
    }
    null->env = *env;
    *out = (struct dest *)null;
    return PS_OK;
}

static void
null_close(struct dest *dest)
{
    ps_free(dest);
}

static enum ps_status
null_prepare(struct dest *dest, const struct dest_table *table, struct dest_state *out_state,
             struct ps_error *err)
{
    (void)dest;
    (void)err;
    *out_state = (struct dest_state){.table_exists = true,
                                     .has_fence = true,
                                     .uuid = table->uuid,
                                     .generation = table->generation};
    return PS_OK;
}

static enum ps_status
null_state(struct dest *dest, const char *pipeline_name, struct dest_state *out_state,
           struct ps_error *err)
{
    (void)dest;
    (void)pipeline_name;
    (void)err;
    *out_state = (struct dest_state){0};
    return PS_OK;
}

static enum ps_status
null_load(struct dest *dest, const struct spec_column *columns, size_t count,
          const struct dest_batch *batch, struct dest_result *out, struct ps_error *err)
{
    struct null_dest *null = (struct null_dest *)dest;
    (void)columns;
    (void)count;
    enum ps_status status = PS_OK;
    if (null->env.phase != NULL) {
        null->env.phase(null->env.ctx, "load");
    }
    stage_batch_rewind(batch->rows);
    uint64_t rows = 0;
    for (;;) {
        const struct block *block = NULL;
        status = stage_batch_next(batch->rows, &block, err);
        if (status != PS_OK || block == NULL) {
            break;
        }
        if (null->env.cancel != NULL && atomic_load(null->env.cancel)) {
            return ps_fail(err, PS_CANCELED, "destination null: asked to stop");
        }
        rows += block->rows;
    }
    if (status != PS_OK) {
        return ps_wrap(err, status, "destination null");
    }
    if (null->env.phase != NULL) {
        null->env.phase(null->env.ctx, "commit");
    }
    *out = (struct dest_result){.outcome = DEST_LOADED, .counts = batch->counts};
    out->counts.inserted = rows;
    return PS_OK;
}

static enum ps_status
null_tombstone(struct dest *dest, const struct dest_batch *batch, const char *reason,
               struct dest_result *out, struct ps_error *err)
{
    (void)dest;
    (void)reason;
    (void)err;
    *out = (struct dest_result){.outcome = DEST_CANCELLED, .counts = batch->counts};
    return PS_OK;
}

static enum ps_status
null_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each, void *ctx,
            struct ps_error *err)
{
    (void)dest;
    (void)each;
    (void)ctx;
    (void)err;
    page->last = true;
    return PS_OK;
}

static enum ps_status
null_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each, void *ctx,
             struct ps_error *err)
{
    (void)dest;
    (void)each;
    (void)ctx;
    (void)err;
    page->last = true;
    return PS_OK;
}

static enum ps_status
null_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each, void *ctx,
            struct ps_error *err)
{
    (void)dest;
    (void)batch;
    (void)each;
    (void)ctx;
    (void)err;
    return PS_OK;
}

const struct dest_ops dst_null_ops = {
    .scheme = "null",
    .help = "reads and counts rows, keeps nothing",
    .open = null_open,
    .close = null_close,
    .prepare = null_prepare,
    .state = null_state,
    .load = null_load,
    .tombstone = null_tombstone,
    .ledger = null_ledger,
    .rejects = null_rejects,
    .ranges = null_ranges,
};
