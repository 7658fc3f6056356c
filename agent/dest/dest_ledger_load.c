/* SPDX-License-Identifier: Apache-2.0 */
/* One sealed batch, one transaction (design §3.2): fence, ledger, ranges, rows, rejects, counts,
 * COMMIT; and the tombstone, which is the same key with another word. */
#include "agent/dest/dest_ledger.h"

enum {
    TWIN_ROUNDS = 30, /* lock waits of 2 s each, before the leaf is told to try later */
    PEER_ROUNDS = 20, /* transactions that lost against another, before the same */
};

struct load {
    const struct dest_ledger *ledger;
    const struct dest_batch *batch;
    const struct dest_rows *rows;
    struct dest_way way;
    struct dest_result result;
};

static void
phase(const struct dest_ledger *ledger, const char *name)
{
    if (ledger->env->phase != NULL) {
        ledger->env->phase(ledger->env->ctx, name);
    }
}

static enum ps_status
begin(const struct load *load, struct ps_error *err)
{
    return load->ledger->ops->begin(load->ledger->driver, load->batch->id.id, err);
}

/* Fence and ledger row. *out_settled: result says how, nothing to load. */
static enum ps_status
enter(struct load *load, const char *tombstone, bool *out_settled, struct ps_error *err)
{
    bool match = false;
    *out_settled = true;
    enum ps_status status = dest_ledger_check_fence(load->ledger, load->batch, &match, err);
    if (status != PS_OK) {
        return status;
    }
    if (!match) {
        load->result.outcome = DEST_FENCE_MISMATCH;
        return PS_OK;
    }
    status = dest_reach(DEST_AFTER_FENCE, err);
    return status == PS_OK ? dest_ledger_enter(load->ledger, load->batch, tombstone, out_settled,
                                               &load->result, err)
                           : status;
}

static enum ps_status
finish(struct load *load, enum dest_outcome outcome, const struct dest_counts *counts,
       bool *out_constraint, struct ps_error *err)
{
    const struct dest_ledger *ledger = load->ledger;
    bool conflict = false;
    enum ps_status status = load->batch->replays != NULL
                                ? dest_ledger_put_back(ledger, load->rows, err)
                                : load->rows->reject(load->rows->ctx, err);
    if (status == PS_OK) {
        status = dest_ledger_enter_counts(ledger, load->batch->id, counts, err);
    }
    if (status == PS_OK && outcome == DEST_LOADED) {
        status = dest_ledger_check_ranges(ledger, load->batch, &conflict, err);
    }
    if (status == PS_OK && conflict) {
        load->result.outcome = DEST_RANGE_CONFLICT;
        return PS_OK;
    }
    if (status == PS_OK) {
        status = dest_reach(DEST_BEFORE_COMMIT, err);
    }
    if (status == PS_OK) {
        phase(ledger, "commit");
        status = ledger->ops->commit(ledger->driver, out_constraint, err);
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
    const struct dest_ledger *ledger = load->ledger;
    bool settled = false;
    bool constraint = false;
    ledger->ops->roll_back(ledger->driver);
    enum ps_status status = ledger->ops->connect(ledger->driver, err);
    if (status == PS_OK) {
        status = begin(load, err);
    }
    if (status == PS_OK) {
        status = enter(load, "over the tolerance for rejects", &settled, err);
    }
    if (status != PS_OK || settled) {
        return status;
    }
    struct dest_counts counts = *load->rows->counts;
    counts.inserted = 0;
    counts.updated = 0;
    counts.skipped = 0;
    return finish(load, DEST_OVER_TOLERANCE, &counts, &constraint, err);
}

/* *out_settled: result says how. */
static enum ps_status
enter_all(struct load *load, bool *out_settled, struct ps_error *err)
{
    bool conflict = false;
    enum ps_status status = begin(load, err);
    if (status == PS_OK) {
        status = enter(load, NULL, out_settled, err);
    }
    if (status != PS_OK || *out_settled) {
        return status;
    }
    status = dest_reach(DEST_AFTER_LEDGER, err);
    if (status == PS_OK) {
        status = dest_ledger_enter_ranges(load->ledger, load->batch, &conflict, err);
    }
    if (status == PS_OK && conflict) {
        load->result.outcome = DEST_RANGE_CONFLICT;
        *out_settled = true;
    }
    bool open = true;
    if (status == PS_OK && !*out_settled && load->batch->replays != NULL) {
        status = dest_ledger_take_up(load->ledger, load->batch, &open, err);
    }
    if (status == PS_OK && !open) {
        load->result.outcome = DEST_NOT_OPEN;
        *out_settled = true;
    }
    return status;
}

/* *out_again: with more care, as load->way says now. */
static enum ps_status
attempt(struct load *load, bool *out_again, struct ps_error *err)
{
    const struct dest_ledger *ledger = load->ledger;
    bool settled = false;
    bool refused = false;
    bool constraint = false;
    *out_again = false;
    enum ps_status status = enter_all(load, &settled, err);
    if (status != PS_OK || settled) {
        return status;
    }
    status = ledger->ops->hold(ledger->driver, err);
    if (status == PS_OK) {
        status = load->rows->insert(load->rows->ctx, load->way, &refused, err);
    }
    if (status != PS_OK || refused) {
        load->way.careful = load->way.careful || refused;
        *out_again = status == PS_OK;
        return status;
    }
    status = dest_reach(DEST_AFTER_ROWS, err);
    if (status != PS_OK) {
        return status;
    }
    const struct dest_counts *counts = load->rows->counts;
    /* A replay's rejects have been counted before. */
    if (load->batch->replays == NULL &&
        spec_over_tolerance(ledger->tolerance, counts->rejected + counts->rejected_at_load,
                            counts->decoded)) {
        return bury_over_tolerance(load, err);
    }
    status = finish(load, DEST_LOADED, counts, &constraint, err);
    if (constraint && !load->way.at_once) {
        load->way = (struct dest_way){.careful = true, .at_once = true};
        *out_again = true;
        return PS_OK;
    }
    return status;
}

/* Connected, with a plan: outside of the transaction, since both survive it. */
static enum ps_status
get_ready(struct load *load, struct ps_error *err)
{
    const struct dest_ledger *ledger = load->ledger;
    bool ready = true;
    enum ps_status status = ledger->ops->connect(ledger->driver, err);
    if (status == PS_OK && load->batch->replays != NULL) {
        status = ledger->ops->replayable(ledger->driver, true, &ready, err);
    }
    if (status == PS_OK && !ready) {
        return ps_fail(err, PS_BUG, "%s: %s cannot be marked", ledger->shown, ledger->rejects);
    }
    return status == PS_OK ? ledger->ops->plan(ledger->driver, load->rows->columns,
                                               load->rows->column_count, err)
                           : status;
}

static bool
waited_in_vain(enum ps_status status, const struct ps_error *err)
{
    return status == PS_AGAIN && strcmp(err->code, "lock_timeout") == 0;
}

/* A deadlock, or what the server calls not serializable: it has rolled this one back so that the
 * other may go on, and nothing is wrong with either. */
static bool
lost_to_peer(enum ps_status status, const struct ps_error *err)
{
    return status == PS_AGAIN &&
           (strcmp(err->code, "deadlock") == 0 || strcmp(err->code, "serialization") == 0);
}

enum ps_status
dest_ledger_load(const struct dest_ledger *ledger, const struct dest_rows *rows,
                 struct dest_result *out, struct ps_error *err)
{
    struct load load = {.ledger = ledger, .batch = rows->batch, .rows = rows};
    enum ps_status status = PS_OK;
    bool again = true;
    phase(ledger, "load");
    int twins = 0;
    int peers = 0;
    while (again && status == PS_OK) {
        status = get_ready(&load, err);
        if (status != PS_OK) {
            break;
        }
        status = attempt(&load, &again, err);
        ledger->ops->roll_back(ledger->driver);
        if (waited_in_vain(status, err) && twins++ < TWIN_ROUNDS) {
            /* An earlier life of this batch, stopped in the middle, would hold its key for ever. */
            status = get_ready(&load, err);
            if (status == PS_OK) {
                status = ledger->ops->end_twins(ledger->driver, rows->batch->id.id, err);
            }
            again = true;
        } else if (lost_to_peer(status, err) && peers++ < PEER_ROUNDS) {
            status = PS_OK;
            again = true;
        }
    }
    if (status != PS_OK) {
        dest_result_fini(&load.result);
        return ps_wrap(err, status, "load into %s", ledger->table);
    }
    *out = load.result;
    return PS_OK;
}

/* ---- tombstone */

static enum ps_status
bury(const struct dest_ledger *ledger, const struct dest_batch *batch, const char *reason,
     struct dest_result *out, struct ps_error *err)
{
    bool done = false;
    bool constraint = false;
    enum ps_status status = ledger->ops->begin(ledger->driver, batch->id.id, err);
    if (status == PS_OK) {
        status = dest_ledger_enter(ledger, batch, reason, &done, out, err);
    }
    if (status != PS_OK || done) {
        return status;
    }
    *out = (struct dest_result){.outcome = DEST_CANCELLED, .counts = batch->counts};
    return ledger->ops->commit(ledger->driver, &constraint, err);
}

enum ps_status
dest_ledger_tombstone(const struct dest_ledger *ledger, const struct dest_batch *batch,
                      const char *reason, struct dest_result *out, struct ps_error *err)
{
    struct dest_result result = {0};
    enum ps_status status = ledger->ops->connect(ledger->driver, err);
    if (status == PS_OK) {
        status = bury(ledger, batch, reason, &result, err);
        ledger->ops->roll_back(ledger->driver);
    }
    if (waited_in_vain(status, err)) {
        struct ps_error ignored = {0};
        if (ledger->ops->connect(ledger->driver, &ignored) != PS_OK ||
            ledger->ops->end_twins(ledger->driver, batch->id.id, &ignored) != PS_OK) {
            ledger->ops->disconnect(ledger->driver);
        }
    }
    if (status != PS_OK) {
        dest_result_fini(&result);
        return ps_wrap(err, status, "tombstone");
    }
    *out = result;
    return PS_OK;
}
