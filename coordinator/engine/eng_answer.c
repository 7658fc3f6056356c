/* SPDX-License-Identifier: Apache-2.0 */
/* Building the answer to a Sync. */
#include "common/alloc.h"
#include "coordinator/engine/eng_cut.h"
#include "coordinator/engine/eng_grant.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_prove.h"
#include "coordinator/engine/eng_replay.h"
#include "coordinator/engine/eng_staged.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_sync.h"
#include "coordinator/engine/eng_task.h"

Penstock__SyncReply *
eng_sync_reply(struct eng_agent *agent)
{
    if (agent->answer == NULL) {
        agent->answer = ENG_NEW(Penstock__SyncReply, PENSTOCK__SYNC_REPLY__INIT);
        agent->answer->answer = PENSTOCK__ANSWER__ANSWER_OK;
        agent->answer_bytes = 0;
        eng_sync_stir(agent);
    }
    return agent->answer;
}

bool
eng_sync_has_room(const struct eng_agent *agent)
{
    return agent->answer == NULL || agent->answer_bytes < ENG_REPLY_BYTES;
}

/* ---- documents */
static bool
knows_spec(const struct eng_agent *agent, const struct eng_pipeline *p, uint32_t spec_rev)
{
    struct ps_span uuid = ps_span(p->row.uuid.id.b, PS_ID_BYTES);
    for (size_t i = 0; i < agent->sync->n_known; i++) {
        const Penstock__KnownSpec *known = agent->sync->known[i];
        if (known->spec_rev == spec_rev && ps_span_eq(eng_span(known->pipeline_uuid), uuid)) {
            return true;
        }
    }
    for (size_t i = 0; agent->answer != NULL && i < agent->answer->n_specs; i++) {
        const Penstock__SpecDoc *doc = agent->answer->specs[i];
        if (doc->spec_rev == spec_rev && ps_span_eq(eng_span(doc->pipeline_uuid), uuid)) {
            return true;
        }
    }
    return false;
}

static bool
take_document(void *ctx, const struct cat_pipeline *row)
{
    Penstock__SpecDoc *doc = ctx;
    doc->spec_json = eng_out_text(row->spec_json);
    if (row->columns.len > 0) {
        Penstock__SpecDoc *stored =
            penstock__spec_doc__unpack(NULL, row->columns.len, row->columns.ptr);
        for (size_t i = 0; stored != NULL && i < stored->n_columns; i++) {
            ENG_PUSH(doc->columns, doc->n_columns, eng_out_column(stored->columns[i]));
        }
        if (stored != NULL) {
            penstock__spec_doc__free_unpacked(stored, NULL);
        }
    }
    return false;
}

static void
add_spec(struct engine *engine, struct eng_agent *agent, struct eng_pipeline *p, uint32_t spec_rev)
{
    if (knows_spec(agent, p, spec_rev)) {
        return;
    }
    Penstock__SpecDoc *doc = ENG_NEW(Penstock__SpecDoc, PENSTOCK__SPEC_DOC__INIT);
    doc->pipeline_uuid = eng_out_id(&p->row.uuid.id);
    doc->pipeline_name = eng_out_text(p->row.name);
    doc->generation = p->row.generation;
    doc->spec_rev = spec_rev;
    ENG_TRY(engine, cat_pipeline_get_spec, p->row.id, spec_rev, take_document, doc);
    if (doc->spec_json == NULL) {
        doc->spec_json = eng_out_text(p->row.spec_json);
    }
    Penstock__SyncReply *reply = eng_sync_reply(agent);
    agent->answer_bytes += strlen(doc->spec_json) + doc->n_columns * 64;
    ENG_PUSH(reply->specs, reply->n_specs, doc);
}

/* ---- grants */
static Penstock__Range *
new_range(struct engine *engine, struct eng_pipeline *p, const struct eng_batch *b, uint32_t i)
{
    const struct cat_range *range = &b->ranges[i];
    const struct eng_object *object = eng_cut_latest(engine, p, i, range->bp_id);
    struct eng_object read;
    Penstock__Range *out = ENG_NEW(Penstock__Range, PENSTOCK__RANGE__INIT);
    out->bp_id = range->bp_id;
    out->from = range->from;
    out->target_bytes = range->target_bytes;
    if (object == NULL && !eng_store_get_object(engine, p, range->bp_id, &read)) {
        return out;
    }
    const struct cat_object *row = object == NULL ? &read.row : &object->row;
    out->key = eng_out_bytes(row->key);
    out->version = eng_out_bytes(row->version);
    out->bp_hash = eng_out_id(&row->hash.id);
    out->has_resume = row->resume.len > 0;
    out->resume = eng_out_bytes(row->resume);
    out->has_size_bytes = true;
    out->size_bytes = row->size_bytes;
    if (range->part) {
        out->has_cut = out->cut = true;
        out->has_anchor = true;
        out->anchor = row->offset;
    }
    if (object == NULL) {
        eng_store_end_object(&read);
    }
    return out;
}

void
eng_sync_add_grant(struct engine *engine, struct eng_agent *agent, struct eng_batch *b)
{
    struct eng_pipeline *p = b->pipeline;
    add_spec(engine, agent, p, b->row.spec_rev);
    Penstock__SyncReply *reply = eng_sync_reply(agent);
    Penstock__Batch *batch = ENG_NEW(Penstock__Batch, PENSTOCK__BATCH__INIT);
    batch->batch_id = eng_out_id(&b->row.id.id);
    batch->pipeline_uuid = eng_out_id(&p->row.uuid.id);
    batch->generation = b->row.generation;
    batch->spec_rev = b->row.spec_rev;
    for (uint32_t i = 0; i < b->row.ranges; i++) {
        Penstock__Range *range = new_range(engine, p, b, i);
        agent->answer_bytes += range->key.len + range->version.len + range->resume.len + 64;
        ENG_PUSH(batch->ranges, batch->n_ranges, range);
    }
    Penstock__Grant *grant = ENG_NEW(Penstock__Grant, PENSTOCK__GRANT__INIT);
    grant->batch = batch;
    grant->epoch = b->row.epoch;
    grant->leaf = b->row.leaf;
    grant->has_attempt = true;
    grant->attempt = b->row.attempts;
    if (b->state == BATCH_CANCELLING) {
        grant->has_tombstone = grant->tombstone = true;
        grant->tombstone_reason = eng_out_text(b->row.reason);
    }
    b->resend = false;
    ENG_PUSH(reply->grants, reply->n_grants, grant);
}

void
eng_sync_add_task(struct engine *engine, struct eng_agent *agent, struct eng_task *task)
{
    add_spec(engine, agent, task->pipeline, task->pipeline->row.spec_rev);
    Penstock__SyncReply *reply = eng_sync_reply(agent);
    ENG_PUSH(reply->tasks, reply->n_tasks, eng_task_message(engine, task));
    agent->answer_bytes += 1024 + eng_replay_bytes(task);
    task->resend = false;
}

/* ---- cancels */
static void
add_cancel(struct eng_agent *agent, const struct batch_id *batch, uint64_t epoch)
{
    Penstock__SyncReply *reply = eng_sync_reply(agent);
    Penstock__CancelOrder *order = ENG_NEW(Penstock__CancelOrder, PENSTOCK__CANCEL_ORDER__INIT);
    order->batch_id = eng_out_id(&batch->id);
    order->epoch = epoch;
    ENG_PUSH(reply->cancels, reply->n_cancels, order);
}

/* A cancel stands in each answer; alone it is a reason to answer only now and then, because a batch
 * whose commit has begun goes on. */
static void
add_cancels(struct engine *engine, struct eng_agent *agent)
{
    bool due = agent->answer != NULL;
    for (size_t i = 0; i < agent->cancel_count; i++) {
        due = due || agent->cancels[i].told_ms == 0 ||
              engine->now_ms - agent->cancels[i].told_ms >= ENG_CANCEL_AGAIN_MS;
    }
    for (size_t i = 0; due && i < agent->cancel_count; i++) {
        add_cancel(agent, &agent->cancels[i].batch, agent->cancels[i].epoch);
        agent->cancels[i].told_ms = engine->now_ms;
    }
    PS_LIST_FOR (at, &agent->leases) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, lease_link);
        bool stop =
            (b->pipeline->state == PIPELINE_STOPPING || b->pipeline->state == PIPELINE_STOPPED) &&
            b->state == BATCH_LEASED;
        if (stop && (b->cancel_epoch != b->row.epoch || agent->answer != NULL)) {
            b->cancel_epoch = b->row.epoch;
            add_cancel(agent, &b->row.id, b->row.epoch);
        }
    }
}

static void
add_resends(struct engine *engine, struct eng_agent *agent)
{
    PS_LIST_FOR (at, &agent->leases) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, lease_link);
        if (b->resend && eng_sync_has_room(agent)) {
            eng_sync_add_grant(engine, agent, b);
        }
    }
}

/* Who may have something to hear: those that have just come, those whose time is up, and all when
 * there is a task that nobody has or a pipeline has just been stopped. */
static void
stir(struct engine *engine)
{
    struct ps_heap_node *first = NULL;
    while ((first = ps_heap_first(&engine->parked)) != NULL && first->key <= engine->now_ms) {
        eng_sync_stir(PS_CONTAINER(first, struct eng_agent, wake));
    }
    if (!engine->tell_all && !eng_task_any_free(engine)) {
        return;
    }
    engine->tell_all = false;
    PS_LIST_FOR (at, &engine->agents) {
        struct eng_agent *agent = PS_CONTAINER(at, struct eng_agent, link);
        if (agent->parked && ps_heap_has(&agent->wake)) {
            eng_sync_stir(agent);
        }
    }
}

/* Answers, or goes back to sleep. */
static void
settle(struct engine *engine, struct eng_agent *agent)
{
    if (engine->now_ms >= agent->parked_until_ms) {
        (void)eng_sync_reply(agent);
    }
    eng_prove_answer(agent);
    eng_staged_answer(agent);
    add_cancels(engine, agent);
    if (agent->answer != NULL) {
        eng_sync_leave(agent);
        eng_out_reply(engine, &agent->parked_request, MSG_SYNC_REPLY, &agent->answer->base);
        agent->answer = NULL;
        return;
    }
    int64_t wake_ms = agent->parked_until_ms;
    for (size_t i = 0; i < agent->cancel_count; i++) {
        int64_t again_ms = agent->cancels[i].told_ms + ENG_CANCEL_AGAIN_MS;
        wake_ms = again_ms < wake_ms ? again_ms : wake_ms;
    }
    ps_list_remove(&agent->stir_link);
    ps_heap_put(&engine->parked, &agent->wake, wake_ms);
}

void
eng_sync_answer_all(struct engine *engine)
{
    stir(engine);
    PS_LIST_FOR (at, &engine->stirred) {
        struct eng_agent *agent = PS_CONTAINER(at, struct eng_agent, stir_link);
        add_resends(engine, agent);
        eng_task_add_orders(engine, agent);
    }
    eng_grant_all(engine);
    eng_prove_all(engine);
    /* One more look at an agent may come of it, never another agent. */
    for (struct ps_list *at = NULL; !ps_list_empty(&engine->stirred);) {
        at = engine->stirred.next;
        settle(engine, PS_CONTAINER(at, struct eng_agent, stir_link));
    }
}
