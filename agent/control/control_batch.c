/* SPDX-License-Identifier: Apache-2.0 */
/* A batch from its grant until its report is answered. */
#include "agent/control/control_state.h"

static struct control_batch *
batch_at(struct ps_list *link)
{
    return PS_CONTAINER(link, struct control_batch, link);
}

void
control_batch_free(struct control_batch *batch)
{
    ps_list_remove(&batch->link);
    msg_free((ProtobufCMessage *)batch->grant);
    ps_buf_fini(&batch->object);
    ps_free(batch);
}

void
control_batch_settle(struct control_core *core, struct control_batch *batch)
{
    batch->settled_seq = core->seq[0];
    ps_list_remove(&batch->link);
    ps_list_push_back(&core->settled, &batch->link);
    control_batch_forget_settled(core);
}

void
control_batch_forget_settled(struct control_core *core)
{
    PS_LIST_FOR (at, &core->settled) {
        bool awaited = false;
        for (int i = 0; i < CONTROL_SYNC_SLOTS; i++) {
            awaited |= core->sync_busy[i] && core->sync_seq[i] <= batch_at(at)->settled_seq;
        }
        if (!awaited) {
            control_batch_free(batch_at(at));
        }
    }
}

static bool
is_same(const struct control_batch *batch, ProtobufCBinaryData batch_id)
{
    return ps_span_eq(control_span(batch->grant->batch->batch_id), control_span(batch_id));
}

struct control_batch *
control_batch_find(struct control_core *core, ProtobufCBinaryData batch_id, uint64_t epoch)
{
    PS_LIST_FOR (at, &core->batches) {
        if (batch_at(at)->grant->epoch == epoch && is_same(batch_at(at), batch_id)) {
            return batch_at(at);
        }
    }
    return NULL;
}

static void
send_cancel(struct control_core *core, struct control_batch *batch)
{
    if (batch->cancel_sent) {
        return;
    }
    Penstock__LeafCancel cancel = PENSTOCK__LEAF_CANCEL__INIT;
    cancel.batch_id = batch->grant->batch->batch_id;
    cancel.epoch = batch->grant->epoch;
    core->env.send_leaf(core->env.ctx, batch->grant->leaf, MSG_LEAF_CANCEL, &cancel.base);
    batch->cancel_sent = true;
}

static void
give_back(struct control_core *core, struct control_batch *batch, const char *code)
{
    control_report_failed(core, batch, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, code,
                          "given back before it was begun");
    batch->place = PLACE_REPORT;
}

/* A repeat, or late. An older epoch of the same batch was given away and has come back to us: its
 * holder stops. */
static bool
is_older_than_held(struct control_core *core, const Penstock__Grant *grant)
{
    PS_LIST_FOR (at, &core->settled) {
        if (batch_at(at)->grant->epoch >= grant->epoch &&
            is_same(batch_at(at), grant->batch->batch_id)) {
            return true;
        }
    }
    PS_LIST_FOR (at, &core->batches) {
        struct control_batch *batch = batch_at(at);
        if (!is_same(batch, grant->batch->batch_id)) {
            continue;
        }
        if (batch->grant->epoch >= grant->epoch) {
            return true;
        }
        if (batch->place == PLACE_QUEUED) {
            control_batch_free(batch);
        } else if (batch->place == PLACE_LEAF) {
            send_cancel(core, batch);
        }
    }
    return false;
}

void
control_batch_take(struct control_core *core, Penstock__Grant **own_grant)
{
    Penstock__Grant *grant = *own_grant;
    *own_grant = NULL;
    if (is_older_than_held(core, grant)) {
        msg_free(&grant->base); /* a repeat, or late */
        return;
    }
    struct control_batch *batch = ps_xcalloc(1, sizeof *batch);
    batch->grant = grant;
    batch->place = PLACE_QUEUED;
    ps_list_push_back(&core->batches, &batch->link);
    if (grant->leaf >= core->config.leaves) {
        give_back(core, batch, "no_such_leaf");
    } else if (core->draining) {
        give_back(core, batch, "drained");
    } else if (control_doc_find(core, grant->batch->pipeline_uuid, grant->batch->spec_rev) ==
               NULL) {
        give_back(core, batch, "spec_unknown");
    }
}

void
control_batch_cancel(struct control_core *core, const Penstock__CancelOrder *order)
{
    struct control_batch *batch = control_batch_find(core, order->batch_id, order->epoch);
    if (batch == NULL) {
        return; /* the next sync does not list it */
    }
    switch (batch->place) {
    case PLACE_QUEUED:
        give_back(core, batch, "cancelled");
        return;
    case PLACE_LEAF:
        send_cancel(core, batch);
        return;
    case PLACE_REPORT:
        return;
    }
}

static uint32_t
count_at_leaf(const struct control_core *core, uint32_t leaf, bool with_queued)
{
    uint32_t count = 0;
    PS_LIST_FOR (at, &core->batches) {
        const struct control_batch *batch = batch_at(at);
        if (batch->grant->leaf == leaf &&
            (batch->place == PLACE_LEAF || (with_queued && batch->place == PLACE_QUEUED))) {
            count++;
        }
    }
    return count;
}

uint32_t
control_batch_want(const struct control_core *core, uint32_t leaf)
{
    if (core->draining || core->report_count >= CONTROL_REPORTS_MAX ||
        core->turned_ms < core->ask_from_ms || !control_leaf_takes_work(core, leaf)) {
        return 0;
    }
    uint32_t taken = count_at_leaf(core, leaf, true);
    uint32_t takes = control_leaf_takes(core, leaf);
    return taken >= takes ? 0 : takes - taken;
}

/* One process works on a batch at a time, whatever its epochs. */
static bool
is_at_some_leaf(struct control_core *core, const struct control_batch *asked)
{
    PS_LIST_FOR (at, &core->batches) {
        const struct control_batch *batch = batch_at(at);
        if (batch != asked && batch->place == PLACE_LEAF &&
            is_same(batch, asked->grant->batch->batch_id)) {
            return true;
        }
    }
    return false;
}

static void
send_proof(struct control_core *core, const struct control_batch *batch)
{
    Penstock__Proof proof = PENSTOCK__PROOF__INIT;
    Penstock__LeafProof message = PENSTOCK__LEAF_PROOF__INIT;
    proof.batch_id = batch->grant->batch->batch_id;
    proof.epoch = batch->grant->epoch;
    proof.start = batch->proof;
    message.proof = &proof;
    core->env.send_leaf(core->env.ctx, batch->grant->leaf, MSG_LEAF_PROOF, &message.base);
}

bool
control_batch_proof(struct control_core *core, const Penstock__Proof *proof)
{
    struct control_batch *batch = control_batch_find(core, proof->batch_id, proof->epoch);
    if (batch == NULL || batch->proof == proof->start) {
        return false;
    }
    batch->proof = proof->start;
    if (batch->place == PLACE_LEAF) {
        send_proof(core, batch);
    }
    return true;
}

static void
give_leaf(struct control_core *core, struct control_batch *batch)
{
    const Penstock__Batch *frozen = batch->grant->batch;
    if (!control_doc_send(core, batch->grant->leaf, frozen->pipeline_uuid, frozen->spec_rev)) {
        give_back(core, batch, "spec_unknown");
        return;
    }
    Penstock__LeafGrant message = PENSTOCK__LEAF_GRANT__INIT;
    message.grant = batch->grant;
    message.stamp = &core->seen;
    core->env.send_leaf(core->env.ctx, batch->grant->leaf, MSG_LEAF_GRANT, &message.base);
    batch->place = PLACE_LEAF;
    if (batch->proof != 0) {
        send_proof(core, batch);
    }
}

void
control_batch_distribute(struct control_core *core)
{
    if (control_is_self_stopped(core)) {
        return;
    }
    PS_LIST_FOR (at, &core->batches) {
        struct control_batch *batch = batch_at(at);
        if (batch->place == PLACE_QUEUED && control_leaf_takes_work(core, batch->grant->leaf) &&
            count_at_leaf(core, batch->grant->leaf, false) <
                control_leaf_takes(core, batch->grant->leaf) &&
            !is_at_some_leaf(core, batch)) {
            give_leaf(core, batch);
        }
    }
}

void
control_batch_give_back_queued(struct control_core *core, uint32_t leaf, const char *code)
{
    PS_LIST_FOR (at, &core->batches) {
        struct control_batch *batch = batch_at(at);
        if (batch->place == PLACE_QUEUED && batch->grant->leaf == leaf) {
            give_back(core, batch, code);
        }
    }
}

void
control_batch_leaf_gone(struct control_core *core, uint32_t leaf, Penstock__FailClass class,
                        const char *how)
{
    PS_LIST_FOR (at, &core->batches) {
        struct control_batch *batch = batch_at(at);
        if (batch->place == PLACE_LEAF && batch->grant->leaf == leaf) {
            /* What waited on disk had no part in it, and is still there. */
            bool waited = batch->stored && batch->phase <= PENSTOCK__PHASE__PHASE_STAGE;
            control_report_failed(core, batch, waited ? PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL : class,
                                  "leaf_died", how);
            batch->place = PLACE_REPORT;
        }
    }
    control_batch_give_back_queued(core, leaf, "leaf_restarts");
}

void
control_batch_progress(struct control_core *core, uint32_t leaf,
                       const Penstock__LeafProgress *progress)
{
    for (size_t i = 0; i < progress->n_held; i++) {
        const Penstock__Held *held = progress->held[i];
        struct control_batch *batch = control_batch_find(core, held->batch_id, held->epoch);
        if (batch == NULL || batch->grant->leaf != leaf || batch->place != PLACE_LEAF) {
            continue;
        }
        batch->phase = held->phase;
        batch->bytes = held->bytes;
        batch->rows = held->rows;
        /* A start that equals the coordinator's own word is no news to it. */
        core->held_news |= batch->start != held->start || batch->end != held->end ||
                           (batch->proven != held->proven && held->start != batch->proof);
        batch->start = held->start;
        batch->end = held->end;
        batch->proven = held->proven;
        core->held_news |= batch->stored != held->stored;
        batch->stored = held->stored;
        ps_buf_clear(&batch->object);
        ps_buf_xappend(&batch->object, held->object.data, held->object.len);
    }
}

void
control_batch_report(struct control_core *core, uint32_t leaf, enum msg_type type,
                     ProtobufCMessage **own_message)
{
    const Penstock__LeafDone *done = (const Penstock__LeafDone *)*own_message;
    const Penstock__LeafFailed *failed = (const Penstock__LeafFailed *)*own_message;
    struct control_batch *batch = type == MSG_LEAF_DONE
                                      ? control_batch_find(core, done->batch_id, done->epoch)
                                      : control_batch_find(core, failed->batch_id, failed->epoch);
    if (batch == NULL || batch->grant->leaf != leaf || batch->place != PLACE_LEAF) {
        control_log(core, LOG_ERROR, "report.unasked", "leaf=%u type=%s", leaf,
                    msg_type_name(type));
        return; /* the caller frees what is not taken */
    }
    batch->place = PLACE_REPORT;
    batch->phase = PENSTOCK__PHASE__PHASE_REPORT;
    if (!control_report_fits(*own_message)) {
        control_report_failed(core, batch, PENSTOCK__FAIL_CLASS__FAIL_PERMANENT, "report_too_large",
                              "the leaf's report does not fit a frame");
        return;
    }
    control_report_add(core, leaf, type, own_message);
}
