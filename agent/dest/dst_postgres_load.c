/* SPDX-License-Identifier: Apache-2.0 */
/* One sealed batch, one transaction (design §3.2): fence, ledger, ranges, rows, rejects, counts,
 * COMMIT. */
#include "agent/dest/dst_postgres_rows.h"

enum { TWIN_ROUNDS = 30 }; /* lock waits of 2 s each, before the leaf is told to try later */

struct load {
    struct dst_postgres *d;
    const struct dest_batch *batch;
    struct dst_postgres_rows rows;
    struct dest_result result;
};

/* Fence and ledger row. *out_settled: result says how, nothing to load. */
static enum ps_status
enter(struct load *load, const char *tombstone, bool *out_settled, struct ps_error *err)
{
    bool match = false;
    *out_settled = true;
    enum ps_status status = dst_postgres_check_fence(load->d, load->batch, &match, err);
    if (status != PS_OK) {
        return status;
    }
    if (!match) {
        load->result.outcome = DEST_FENCE_MISMATCH;
        return PS_OK;
    }
    status = dest_reach(DEST_AFTER_FENCE, err);
    return status == PS_OK ? dst_postgres_enter(load->d, load->batch, tombstone, out_settled,
                                                &load->result, err)
                           : status;
}

static enum ps_status
finish(struct load *load, enum dest_outcome outcome, const struct dest_counts *counts,
       bool *out_constraint, struct ps_error *err)
{
    struct dst_postgres *d = load->d;
    enum ps_status status = dst_postgres_rows_reject(&load->rows, err);
    if (status == PS_OK) {
        status = dst_postgres_enter_counts(d, load->batch->id, counts, err);
    }
    if (status == PS_OK) {
        status = dest_reach(DEST_BEFORE_COMMIT, err);
    }
    if (status == PS_OK) {
        dst_postgres_phase(d, "commit");
        status = dst_postgres_commit(d, out_constraint, err);
    }
    if (status == PS_OK) {
        status = dest_reach(DEST_AFTER_COMMIT, err);
    }
    if (status == PS_OK) {
        load->result.outcome = outcome;
        load->result.counts = *counts;
    }
    return status;
}

/* The tombstone's transaction carries the rejects, so that the evidence stays. */
static enum ps_status
bury_over_tolerance(struct load *load, struct ps_error *err)
{
    struct dst_postgres *d = load->d;
    bool settled = false;
    bool constraint = false;
    dst_postgres_roll_back(d);
    enum ps_status status = dst_postgres_connect(d, err);
    if (status == PS_OK) {
        status = dst_postgres_begin(d, load->batch->id.id, err);
    }
    if (status == PS_OK) {
        status = enter(load, "over the tolerance for rejects", &settled, err);
    }
    if (status != PS_OK || settled) {
        return status;
    }
    struct dest_counts counts = load->rows.counts;
    counts.inserted = 0;
    counts.updated = 0;
    counts.skipped = 0;
    return finish(load, DEST_OVER_TOLERANCE, &counts, &constraint, err);
}

/* *out_again: with load->rows told to be more careful. */
static enum ps_status
attempt(struct load *load, bool *out_again, struct ps_error *err)
{
    struct dst_postgres *d = load->d;
    bool settled = false;
    bool conflict = false;
    *out_again = false;
    enum ps_status status = dst_postgres_begin(d, load->batch->id.id, err);
    if (status == PS_OK) {
        status = enter(load, NULL, &settled, err);
    }
    if (status != PS_OK || settled) {
        return status;
    }
    status = dest_reach(DEST_AFTER_LEDGER, err);
    if (status == PS_OK) {
        status = dst_postgres_enter_ranges(d, load->batch, &conflict, err);
    }
    if (status == PS_OK && conflict) {
        load->result.outcome = DEST_RANGE_CONFLICT;
        return PS_OK;
    }
    if (status == PS_OK) {
        /* The rows wait for whom they must: the server finds what waits for each other. */
        status = dst_postgres_exec(d, "SET LOCAL lock_timeout = 0", NULL, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_hold_table(d, err);
    }
    bool refused = false;
    if (status == PS_OK) {
        status = dst_postgres_rows_insert(&load->rows, &refused, err);
    }
    if (status != PS_OK || refused) {
        load->rows.careful = load->rows.careful || refused;
        *out_again = status == PS_OK;
        return status;
    }
    status = dest_reach(DEST_AFTER_ROWS, err);
    if (status != PS_OK) {
        return status;
    }
    const struct dest_counts *counts = &load->rows.counts;
    if (spec_over_tolerance(d->tolerance, counts->rejected + counts->rejected_at_load,
                            counts->decoded)) {
        return bury_over_tolerance(load, err);
    }
    bool constraint = false;
    status = finish(load, DEST_LOADED, counts, &constraint, err);
    if (constraint && !load->rows.at_once) {
        load->rows.careful = load->rows.at_once = true;
        *out_again = true;
        return PS_OK;
    }
    return status;
}

/* Connected, with a plan: outside of the transaction, since both survive it. */
static enum ps_status
get_ready(struct load *load, const struct spec_column *columns, size_t count, struct ps_error *err)
{
    enum ps_status status = dst_postgres_connect(load->d, err);
    return status == PS_OK ? dst_postgres_plan(load->d, columns, count, err) : status;
}

enum ps_status
dst_postgres_load(struct dest *dest, const struct spec_column *columns, size_t count,
                  const struct dest_batch *batch, struct dest_result *out, struct ps_error *err)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    struct load load = {.d = d, .batch = batch, .rows = {.d = d, .batch = batch}};
    enum ps_status status = PS_OK;
    bool again = true;
    dst_postgres_phase(d, "load");
    for (int twins = 0; again && status == PS_OK;) {
        status = get_ready(&load, columns, count, err);
        if (status != PS_OK) {
            break;
        }
        status = attempt(&load, &again, err);
        dst_postgres_roll_back(d);
        if (status == PS_AGAIN && strcmp(err->code, "lock_timeout") == 0 && twins++ < TWIN_ROUNDS) {
            /* An earlier life of this batch, stopped in the middle, would hold its key for ever. */
            status = get_ready(&load, columns, count, err);
            if (status == PS_OK) {
                status = dst_postgres_end_twins(d, batch->id.id, err);
            }
            again = true;
        }
    }
    dst_postgres_rows_fini(&load.rows);
    if (status != PS_OK) {
        dest_result_fini(&load.result);
        return ps_wrap(err, status, "load into %s", d->quoted);
    }
    *out = load.result;
    return PS_OK;
}
