/* SPDX-License-Identifier: Apache-2.0 */
/* One sealed batch, one transaction (design §3.2): fence, ledger, ranges, rows, rejects, counts,
 * COMMIT. */
#include "agent/dest/dst_sqlite_rows.h"

struct load {
    struct dst_sqlite *d;
    const struct spec_column *columns;
    size_t count;
    const struct dest_batch *batch;
    struct dst_sqlite_rows rows;
    struct dest_result result;
};

/* Fence and ledger row; tombstone as in dst_sqlite_enter. *out_settled: result says how, nothing to
 * load. */
static enum ps_status
enter(struct load *load, const char *tombstone, bool *out_settled, struct ps_error *err)
{
    struct dst_sqlite *d = load->d;
    bool match = false;
    *out_settled = true;
    enum ps_status status = dst_sqlite_check_fence(d, load->batch, &match, err);
    if (status != PS_OK) {
        return status;
    }
    if (!match) {
        load->result.outcome = DEST_FENCE_MISMATCH;
        return PS_OK;
    }
    status = dest_reach(DEST_AFTER_FENCE, err);
    return status == PS_OK
               ? dst_sqlite_enter(d, load->batch, tombstone, out_settled, &load->result, err)
               : status;
}

/* The tombstone's transaction carries the rejects, so that the evidence stays. */
static enum ps_status
bury_over_tolerance(struct load *load, struct ps_error *err)
{
    struct dst_sqlite *d = load->d;
    dst_sqlite_roll_back(d);
    enum ps_status status = dst_sqlite_begin(d, err);
    bool settled = false;
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
    status = dst_sqlite_rows_reject(&load->rows, err);
    if (status == PS_OK) {
        status = dst_sqlite_enter_counts(d, load->batch->id, &counts, err);
    }
    bool constraint = false;
    if (status == PS_OK) {
        dst_sqlite_phase(d, "commit");
        status = dst_sqlite_commit(d, &constraint, err);
    }
    if (status == PS_OK) {
        load->result.outcome = DEST_OVER_TOLERANCE;
        load->result.counts = counts;
    }
    return status;
}

static enum ps_status
commit(struct load *load, bool *out_constraint, struct ps_error *err)
{
    enum ps_status status = dest_reach(DEST_BEFORE_COMMIT, err);
    if (status == PS_OK) {
        dst_sqlite_phase(load->d, "commit");
        status = dst_sqlite_commit(load->d, out_constraint, err);
    }
    if (status == PS_OK) {
        status = dest_reach(DEST_AFTER_COMMIT, err);
    }
    if (status != PS_OK) {
        return status;
    }
    load->result.outcome = DEST_LOADED;
    load->result.counts = load->rows.counts;
    return PS_OK;
}

static enum ps_status
attempt(struct load *load, bool *out_constraint, struct ps_error *err)
{
    struct dst_sqlite *d = load->d;
    *out_constraint = false;
    enum ps_status status = dst_sqlite_begin(d, err);
    if (status != PS_OK) {
        return status;
    }
    bool settled = false;
    status = enter(load, NULL, &settled, err);
    if (status != PS_OK || settled) {
        return status;
    }
    bool conflict = false;
    status = dest_reach(DEST_AFTER_LEDGER, err);
    if (status != PS_OK) {
        return status;
    }
    status = dst_sqlite_enter_ranges(d, load->batch, &conflict, err);
    if (status == PS_OK && conflict) {
        load->result.outcome = DEST_RANGE_CONFLICT;
        return PS_OK;
    }
    bool open = true;
    if (status == PS_OK && load->batch->replays != NULL) {
        status = dst_sqlite_take_up(d, load->batch, &open, err);
    }
    if (status == PS_OK && !open) {
        load->result.outcome = DEST_NOT_OPEN;
        return PS_OK;
    }
    if (status == PS_OK) {
        status = dst_sqlite_plan(d, load->columns, load->count, err);
    }
    if (status == PS_OK) {
        status = dst_sqlite_rows_insert(&load->rows, err);
    }
    if (status == PS_OK) {
        status = dest_reach(DEST_AFTER_ROWS, err);
    }
    if (status != PS_OK) {
        return status;
    }
    const struct dest_counts *counts = &load->rows.counts;
    /* A replay's rejects have been counted before. */
    if (load->batch->replays == NULL &&
        spec_over_tolerance(d->tolerance, counts->rejected + counts->rejected_at_load,
                            counts->decoded)) {
        return bury_over_tolerance(load, err);
    }
    status = dst_sqlite_rows_reject(&load->rows, err);
    if (status == PS_OK) {
        status = dst_sqlite_enter_counts(d, load->batch->id, counts, err);
    }
    return status == PS_OK ? commit(load, out_constraint, err) : status;
}

enum ps_status
dst_sqlite_load(struct dest *dest, const struct spec_column *columns, size_t count,
                const struct dest_batch *batch, struct dest_result *out, struct ps_error *err)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    struct load load = {.d = d,
                        .columns = columns,
                        .count = count,
                        .batch = batch,
                        .rows = {.d = d, .batch = batch}};
    bool open = false;
    enum ps_status status = dst_sqlite_connect(d, false, &open, err);
    if (status == PS_OK && !open) {
        status = dst_sqlite_not_visible(d, "there is no such file", err);
    }
    if (status == PS_OK) {
        status = dst_sqlite_turn(d, err);
    }
    if (status != PS_OK) {
        return status;
    }
    dst_sqlite_phase(d, "load");
    bool constraint = false;
    if (batch->replays != NULL) {
        status = dst_sqlite_update_rejects(d, err);
    }
    if (status == PS_OK) {
        status = attempt(&load, &constraint, err);
    }
    if (constraint) {
        /* A deferred foreign key: find the guilty rows. */
        load.rows.one_by_one = true;
        status = attempt(&load, &constraint, err);
    }
    dst_sqlite_end(d);
    dst_sqlite_rows_fini(&load.rows);
    if (status != PS_OK) {
        dest_result_fini(&load.result);
        return ps_wrap(err, status, "load into %s", d->table);
    }
    *out = load.result;
    return PS_OK;
}
