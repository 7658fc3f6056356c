/* SPDX-License-Identifier: Apache-2.0 */
/* Hello and Sync: a long poll that is overtaken by a newer one as soon as we can take more. */
#include <inttypes.h>
#include <stdio.h>

#include "agent/control/control_state.h"

enum { HELLO_AGAIN_MS = 200, EMPTY_FAST_MS = 10, NOTE_BYTES = 96 };

bool
control_sync_see(struct control_core *core, const Penstock__Stamp *stamp)
{
    if (stamp->cluster_epoch < core->seen.cluster_epoch) {
        control_log(core, LOG_ERROR, "coordinator.outdated",
                    "its_epoch=%" PRIu64 " seen_epoch=%" PRIu64, stamp->cluster_epoch,
                    core->seen.cluster_epoch);
        return false;
    }
    /* A coordinator that has begun anew has not heard what is kept. */
    core->staged_news |= stamp->cluster_epoch > core->seen.cluster_epoch;
    if (stamp->cluster_epoch > core->seen.cluster_epoch ||
        stamp->commit_seq > core->seen.commit_seq) {
        core->seen.cluster_epoch = stamp->cluster_epoch;
        core->seen.commit_seq = stamp->commit_seq;
    }
    core->answered_ms = control_now(core);
    return true;
}

/* ---------------------------------------------------------------- asking */

static void
send_hello(struct control_core *core, unsigned slot, int64_t now)
{
    struct control_origin who;
    Penstock__Hello hello = PENSTOCK__HELLO__INIT;
    hello.origin = control_origin(core, 0, &who);
    hello.protocol_min = 1;
    hello.protocol_max = 1;
    hello.version = PENSTOCK_VERSION;
    hello.leaves = core->config.leaves;
    hello.host_token = proto_bytes(core->config.host_token.b, PS_ID_BYTES);
    hello.schemes = (char **)(uintptr_t)core->config.schemes;
    hello.n_schemes = core->config.scheme_count;
    hello.has_pid = 1;
    hello.pid = core->config.pid;
    core->sync_busy[slot] = true;
    core->sync_is_hello[slot] = true;
    core->sync_sent_ms[slot] = now;
    core->sync_seq[slot] = core->seq[0];
    core->env.send_coordinator(core->env.ctx, slot, CONTROL_ANSWER_MS, MSG_HELLO, &hello.base);
}

/* The pieces of one Sync; all pointers lead into the core or into this. */
struct sync_parts {
    Penstock__Held *held;
    Penstock__Held **held_list;
    Penstock__HeldTask *tasks;
    Penstock__HeldTask **task_list;
    Penstock__Want *wants;
    Penstock__Want **want_list;
    Penstock__LeafStatus *leaves;
    Penstock__LeafStatus **leaf_list;
    char (*notes)[NOTE_BYTES];
    Penstock__KnownSpec *known;
    Penstock__KnownSpec **known_list;
    Penstock__Staged **staged_list;
};

static size_t
list_len(const struct ps_list *head)
{
    size_t count = 0;
    PS_LIST_FOR (at, head) {
        count++;
    }
    return count;
}

static void
put_held(const struct control_core *core, struct sync_parts *parts, Penstock__Sync *sync)
{
    size_t count = list_len(&core->batches);
    parts->held = ps_xcalloc(count, sizeof *parts->held);
    parts->held_list = ps_xcalloc(count, sizeof(Penstock__Held *));
    PS_LIST_FOR (at, &core->batches) {
        const struct control_batch *batch = PS_CONTAINER(at, struct control_batch, link);
        Penstock__Held *held = &parts->held[sync->n_held];
        penstock__held__init(held);
        held->batch_id = batch->grant->batch->batch_id;
        held->epoch = batch->grant->epoch;
        held->leaf = batch->grant->leaf;
        held->phase = batch->phase;
        held->has_bytes = 1;
        held->bytes = batch->bytes;
        held->has_rows = 1;
        held->rows = batch->rows;
        held->has_start = held->has_end = held->has_proven = batch->end != 0;
        held->start = batch->start;
        held->end = batch->end;
        held->proven = batch->proven;
        held->has_stored = held->stored = batch->stored;
        held->has_object = batch->object.len > 0;
        held->object = proto_bytes(batch->object.ptr, batch->object.len);
        parts->held_list[sync->n_held++] = held;
    }
    sync->held = parts->held_list;
}

static void
put_tasks(const struct control_core *core, struct sync_parts *parts, Penstock__Sync *sync)
{
    size_t count = list_len(&core->tasks);
    parts->tasks = ps_xcalloc(count, sizeof *parts->tasks);
    parts->task_list = ps_xcalloc(count, sizeof(Penstock__HeldTask *));
    PS_LIST_FOR (at, &core->tasks) {
        const struct control_task *task = PS_CONTAINER(at, struct control_task, link);
        Penstock__HeldTask *held = &parts->tasks[sync->n_tasks];
        penstock__held_task__init(held);
        held->task_id = task->task->task_id;
        held->epoch = task->task->epoch;
        parts->task_list[sync->n_tasks++] = held;
    }
    sync->tasks = parts->task_list;
}

static void
put_known(const struct control_core *core, struct sync_parts *parts, Penstock__Sync *sync)
{
    size_t count = list_len(&core->docs);
    parts->known = ps_xcalloc(count, sizeof *parts->known);
    parts->known_list = ps_xcalloc(count, sizeof(Penstock__KnownSpec *));
    PS_LIST_FOR (at, &core->docs) {
        const struct control_doc *doc = PS_CONTAINER(at, struct control_doc, link);
        Penstock__KnownSpec *known = &parts->known[sync->n_known];
        penstock__known_spec__init(known);
        known->pipeline_uuid = doc->doc->pipeline_uuid;
        known->spec_rev = doc->doc->spec_rev;
        parts->known_list[sync->n_known++] = known;
    }
    sync->known = parts->known_list;
}

static void
put_leaf(const struct control_core *core, uint32_t leaf, char note[NOTE_BYTES],
         Penstock__LeafStatus *out)
{
    const struct control_leaf *it = &core->leaves[leaf];
    penstock__leaf_status__init(out);
    if (it->progress != NULL) {
        *out = *it->progress->status;
    }
    out->leaf = leaf;
    out->has_pid = it->pid != 0;
    out->pid = it->pid;
    out->state = (char *)(uintptr_t)control_leaf_state_name(core, leaf);
    out->has_restarts = 1;
    out->restarts = it->restarts;
    if (control_turn_note(core, leaf, note, NOTE_BYTES)) {
        out->note = note;
    }
}

static void
put_leaves(struct control_core *core, struct sync_parts *parts, Penstock__Sync *sync)
{
    uint32_t count = core->config.leaves;
    parts->wants = ps_xcalloc(count, sizeof *parts->wants);
    parts->want_list = ps_xcalloc(count, sizeof(Penstock__Want *));
    parts->leaves = ps_xcalloc(count, sizeof *parts->leaves);
    parts->leaf_list = ps_xcalloc(count, sizeof(Penstock__LeafStatus *));
    parts->notes = ps_xcalloc(count, sizeof *parts->notes);
    for (uint32_t i = 0; i < count; i++) {
        core->asked[i] = control_batch_want(core, i);
        if (core->asked[i] > 0) {
            Penstock__Want *want = &parts->wants[sync->n_wants];
            penstock__want__init(want);
            want->leaf = i;
            want->batches = core->asked[i];
            parts->want_list[sync->n_wants++] = want;
        }
        put_leaf(core, i, parts->notes[i], &parts->leaves[i]);
        parts->leaf_list[i] = &parts->leaves[i];
    }
    sync->wants = parts->want_list;
    sync->leaves = parts->leaf_list;
    sync->n_leaves = count;
}

static uint32_t
wait_ms(const struct control_core *core)
{
    bool working = !ps_list_empty(&core->batches) || !ps_list_empty(&core->tasks);
    uint32_t wait = working ? CONTROL_WAIT_WORKING_MS : CONTROL_WAIT_MS;
    return wait > core->heartbeat_ms ? core->heartbeat_ms : wait;
}

static void
send_sync(struct control_core *core, unsigned slot, int64_t now)
{
    struct control_origin who;
    struct sync_parts parts = {0};
    Penstock__Sync sync = PENSTOCK__SYNC__INIT;
    sync.origin = control_origin(core, 0, &who);
    put_held(core, &parts, &sync);
    put_tasks(core, &parts, &sync);
    put_known(core, &parts, &sync);
    control_staged_put(core, &parts.staged_list, &sync, now);
    put_leaves(core, &parts, &sync);
    core->asked_tasks = control_task_want(core);
    core->asked_draining = core->draining;
    core->held_news = false;
    sync.has_want_tasks = 1;
    sync.want_tasks = core->asked_tasks;
    sync.has_wait_ms = 1;
    sync.wait_ms = wait_ms(core);
    sync.has_cuts = sync.cuts = 1;
    sync.has_draining = 1;
    sync.draining = core->draining;
    core->sync_busy[slot] = true;
    core->sync_is_hello[slot] = false;
    core->sync_sent_ms[slot] = now;
    core->sync_seq[slot] = core->seq[0];
    core->env.send_coordinator(core->env.ctx, slot, sync.wait_ms + CONTROL_ANSWER_MS, MSG_SYNC,
                               &sync.base);
    ps_free(parts.held);
    ps_free(parts.held_list);
    ps_free(parts.tasks);
    ps_free(parts.task_list);
    ps_free(parts.wants);
    ps_free(parts.want_list);
    ps_free(parts.leaves);
    ps_free(parts.leaf_list);
    ps_free(parts.notes);
    ps_free(parts.known);
    ps_free(parts.known_list);
    ps_free(parts.staged_list);
}

/* We could take more than the last Sync said, or have something to say that somebody waits for. */
static bool
has_news(const struct control_core *core)
{
    if (core->draining != core->asked_draining || core->held_news || control_staged_is_due(core) ||
        control_task_want(core) > core->asked_tasks) {
        return true;
    }
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        if (control_batch_want(core, i) > core->asked[i]) {
            return true;
        }
    }
    return false;
}

static int
free_slot(const struct control_core *core, int *out_busy)
{
    int slot = -1;
    *out_busy = 0;
    for (int i = 0; i < CONTROL_SYNC_SLOTS; i++) {
        if (core->sync_busy[i]) {
            (*out_busy)++;
        } else {
            slot = i;
        }
    }
    return slot;
}

void
control_sync_turn(struct control_core *core, int64_t now)
{
    int busy = 0;
    int slot = free_slot(core, &busy);
    if (slot < 0) {
        return;
    }
    if (!core->greeted) {
        if (busy == 0 && now >= core->next_sync_ms) {
            send_hello(core, (unsigned)slot, now);
        }
    } else if (busy > 0 ? has_news(core) : now >= core->next_sync_ms) {
        send_sync(core, (unsigned)slot, now);
    }
}

int64_t
control_sync_next_ms(const struct control_core *core)
{
    int busy = 0;
    free_slot(core, &busy);
    return busy == 0 ? core->next_sync_ms : INT64_MAX;
}

/* ---------------------------------------------------------------- answers */

static void
ask_later(struct control_core *core)
{
    core->next_sync_ms = control_now(core) + core->sync_retry_ms;
    core->sync_retry_ms *= 2;
    if (core->sync_retry_ms > CONTROL_RETRY_MOST_MS) {
        core->sync_retry_ms = CONTROL_RETRY_MOST_MS;
    }
}

static void
end(struct control_core *core, enum control_state state, const char *text)
{
    core->end = state;
    snprintf(core->reason, sizeof core->reason, "%s", text == NULL ? "" : text);
    control_leaf_kill_all(core);
}

static void
take_hello_reply(struct control_core *core, const Penstock__HelloReply *reply)
{
    if (!control_sync_see(core, reply->stamp)) {
        ask_later(core);
        return;
    }
    switch (reply->answer) {
    case PENSTOCK__ANSWER__ANSWER_OK:
        core->greeted = true;
        core->ever_greeted = true;
        core->staged_news = true; /* it may be another coordinator than the one that was told */
        core->hellos++;
        core->next_sync_ms = 0;
        core->sync_retry_ms = CONTROL_RETRY_LEAST_MS;
        core->heartbeat_ms = reply->has_heartbeat_ms ? reply->heartbeat_ms : core->heartbeat_ms;
        core->self_stop_ms = reply->has_self_stop_ms ? reply->self_stop_ms : core->self_stop_ms;
        core->leaf_silence_ms =
            reply->has_leaf_silence_ms ? reply->leaf_silence_ms : core->leaf_silence_ms;
        return;
    case PENSTOCK__ANSWER__ANSWER_NOT_READY:
    case PENSTOCK__ANSWER__ANSWER_UNKNOWN:
        core->next_sync_ms = control_now(core) + HELLO_AGAIN_MS;
        return;
    case PENSTOCK__ANSWER__ANSWER_STALE:
        end(core, CONTROL_SUPERSEDED, reply->text);
        return;
    case PENSTOCK__ANSWER__ANSWER_REFUSED:
    case _PENSTOCK__ANSWER_IS_INT_SIZE:
        break;
    }
    if (!core->ever_greeted) {
        end(core, CONTROL_REFUSED, reply->text);
        return;
    }
    control_log(core, LOG_ERROR, "hello.refused", "text=\"%s\"",
                reply->text == NULL ? "" : reply->text);
    core->next_sync_ms = control_now(core) + CONTROL_RETRY_MOST_MS;
}

/* True when a proof in it was new. */
static bool
obey(struct control_core *core, Penstock__SyncReply *reply)
{
    bool proven = false;
    for (size_t i = 0; i < reply->n_cancels; i++) {
        control_batch_cancel(core, reply->cancels[i]);
    }
    for (size_t i = 0; i < reply->n_cancel_tasks; i++) {
        control_task_cancel(core, reply->cancel_tasks[i]);
    }
    /* What is taken leaves a NULL behind, which freeing the reply passes over. */
    for (size_t i = 0; i < reply->n_specs; i++) {
        control_doc_put(core, &reply->specs[i]);
    }
    for (size_t i = 0; i < reply->n_grants; i++) {
        control_batch_take(core, &reply->grants[i]);
    }
    for (size_t i = 0; i < reply->n_proofs; i++) {
        proven |= control_batch_proof(core, reply->proofs[i]);
    }
    for (size_t i = 0; i < reply->n_tasks; i++) {
        control_task_take(core, &reply->tasks[i]);
    }
    control_staged_drop(core, reply);
    return proven;
}

/* A coordinator that does not park must not make us spin. */
static void
plan_next(struct control_core *core, const Penstock__SyncReply *reply, bool proven,
          int64_t asked_ms)
{
    bool empty =
        !proven && reply->n_grants + reply->n_tasks + reply->n_cancels + reply->n_cancel_tasks == 0;
    int busy = 0;
    free_slot(core, &busy);
    if (empty && busy == 0 && control_now(core) - asked_ms < EMPTY_FAST_MS) {
        ask_later(core);
        return;
    }
    core->next_sync_ms = 0;
    core->sync_retry_ms = CONTROL_RETRY_LEAST_MS;
}

static void
take_sync_reply(struct control_core *core, Penstock__SyncReply *reply, int64_t asked_ms)
{
    if (!control_sync_see(core, reply->stamp)) {
        ask_later(core);
        return;
    }
    switch (reply->answer) {
    case PENSTOCK__ANSWER__ANSWER_OK:
        plan_next(core, reply, obey(core, reply), asked_ms);
        return;
    case PENSTOCK__ANSWER__ANSWER_UNKNOWN:
        core->greeted = false;
        core->next_sync_ms = 0;
        return;
    case PENSTOCK__ANSWER__ANSWER_STALE:
        end(core, CONTROL_SUPERSEDED, reply->text);
        return;
    case PENSTOCK__ANSWER__ANSWER_NOT_READY:
        core->staged_news = true; /* it was not listened to */
        ask_later(core);
        return;
    case PENSTOCK__ANSWER__ANSWER_REFUSED:
    case _PENSTOCK__ANSWER_IS_INT_SIZE:
        break;
    }
    control_log(core, LOG_ERROR, "sync.refused", "text=\"%s\"",
                reply->text == NULL ? "" : reply->text);
    ask_later(core);
}

void
control_sync_answer(struct control_core *core, unsigned slot, enum msg_type type,
                    ProtobufCMessage *message)
{
    core->sync_busy[slot] = false;
    if (type == MSG_HELLO_REPLY && core->sync_is_hello[slot]) {
        take_hello_reply(core, (const Penstock__HelloReply *)message);
    } else if (type == MSG_SYNC_REPLY && !core->sync_is_hello[slot]) {
        take_sync_reply(core, (Penstock__SyncReply *)message, core->sync_sent_ms[slot]);
    } else {
        control_log(core, LOG_ERROR, "answer.refused", "slot=%u type=%s", slot,
                    msg_type_name(type));
        ask_later(core);
    }
    control_batch_forget_settled(core);
}

void
control_sync_lost(struct control_core *core, unsigned slot)
{
    core->sync_busy[slot] = false;
    core->staged_news = true; /* what it said may not have arrived */
    ask_later(core);
    control_batch_forget_settled(core);
}
