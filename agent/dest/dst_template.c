/* SPDX-License-Identifier: Apache-2.0 */
/* A destination to copy: dst_NAME.c, a line in dests.def, a scheme in spec/spec_schemes.def, a
 * suite in tests/contract/test_dest_NAME.c. Built so that it stays true, listed in no table.
 * dst_null.c is the smallest driver that runs; dst_sqlite.c the one with a ledger.
 *
 * What every driver owes (design §3.2):
 *  - One sealed batch is one transaction: read the fence and compare uuid and generation; insert
 *    the ledger row FIRST, then its ranges; load rows and rejects; update the counts; COMMIT.
 *  - The ledger's keys decide, never a read that found nothing: a duplicate batch id is ALREADY or
 *    CANCELLED, a duplicate range is RANGE_CONFLICT.
 *  - A COMMIT whose answer was lost is PS_AGAIN: the same transaction is run again.
 *  - A row that the table refuses becomes a reject of that row (code "constraint"), with the
 *    server's own words; it never fails the batch. A NULL in a NOT NULL column is no such: its
 *    code is "type" and its reason dest_late_null, whoever finds it.
 *  - Rows of one key count as they would one after the other (struct dest_counts).
 *  - Waiting for a lock is waiting, never an error; it looks at env->cancel.
 *  - Identifiers go through one quoting function, values are bound or escaped, never pasted.
 * A driver never logs; it says what happened in *err, with the destination's name in it. */
#include "agent/dest/dest.h"
#include "common/alloc.h"

extern const struct dest_ops dst_template_ops;

/* The driver's own state. struct dest is opaque to everybody else, so a cast is all there is. */
struct template_dest {
    struct dest_env env; /* a copy; what it points to outlives us */
};

/* Connects; creates nothing. Take what is needed from the spec now: it may be gone later. */
static enum ps_status
template_open(const struct spec *spec, const struct dest_env *env, struct dest **out,
              struct ps_error *err)
{
    (void)spec;
    struct template_dest *template = ps_calloc(1, sizeof *template);
    if (template == NULL) {
        return ps_fail(err, PS_FULL, "destination template: out of memory");
    }
    template->env = *env;
    *out = (struct dest *)template;
    return PS_OK;
}

static void
template_close(struct dest *dest)
{
    ps_free(dest);
}

/* DDL and the fence, all or nothing where the server can. Run again it changes nothing. */
static enum ps_status
template_prepare(struct dest *dest, const struct dest_table *table, struct dest_state *out_state,
                 struct ps_error *err)
{
    (void)dest;
    (void)table;
    (void)out_state;
    return ps_fail(err, PS_BUG, "template: prepare");
}

/* A missing database or table is a state, not an error. */
static enum ps_status
template_state(struct dest *dest, const char *pipeline_name, struct dest_state *out_state,
               struct ps_error *err)
{
    (void)dest;
    (void)pipeline_name;
    (void)err;
    *out_state = (struct dest_state){0};
    return PS_OK;
}

/* Rows: stage_batch_rewind, then stage_batch_next and a block_cursor over each block; rejects:
 * stage_batch_next_reject. Say env->phase "load" before the first row and "commit" before COMMIT.
 */
static enum ps_status
template_load(struct dest *dest, const struct spec_column *columns, size_t count,
              const struct dest_batch *batch, struct dest_result *out, struct ps_error *err)
{
    (void)dest;
    (void)columns;
    (void)count;
    (void)batch;
    (void)out;
    return ps_fail(err, PS_BUG, "template: load");
}

/* No fence check: a tombstone settles a batch whatever the generation. */
static enum ps_status
template_tombstone(struct dest *dest, const struct dest_batch *batch, const char *reason,
                   struct dest_result *out, struct ps_error *err)
{
    (void)dest;
    (void)batch;
    (void)reason;
    (void)out;
    return ps_fail(err, PS_BUG, "template: tombstone");
}

/* Pages by key, never by number: the cursor is what the last row sorted by. */
static enum ps_status
template_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each, void *ctx,
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
template_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each, void *ctx,
                 struct ps_error *err)
{
    (void)dest;
    (void)each;
    (void)ctx;
    (void)err;
    page->last = true;
    return PS_OK;
}

/* What a replay needs to read its records again. */
static enum ps_status
template_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each, void *ctx,
                struct ps_error *err)
{
    (void)dest;
    (void)batch;
    (void)each;
    (void)ctx;
    (void)err;
    return PS_OK;
}

const struct dest_ops dst_template_ops = {
    .scheme = "template",
    .help = "a driver to copy",
    .open = template_open,
    .close = template_close,
    .prepare = template_prepare,
    .state = template_state,
    .load = template_load,
    .tombstone = template_tombstone,
    .ledger = template_ledger,
    .rejects = template_rejects,
    .ranges = template_ranges,
};
