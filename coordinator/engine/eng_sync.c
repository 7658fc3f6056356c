/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_sync.h"

#include "common/alloc.h"
#include "coordinator/engine/eng_grant.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_prove.h"
#include "coordinator/engine/eng_staged.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_task.h"

static void
answer(struct engine *engine, const struct engine_request *request, Penstock__Answer value,
       const char *text)
{
    Penstock__SyncReply *reply = ENG_NEW(Penstock__SyncReply, PENSTOCK__SYNC_REPLY__INIT);
    reply->answer = value;
    reply->text = eng_out_text(text);
    eng_out_reply(engine, request, MSG_SYNC_REPLY, &reply->base);
}

void
eng_sync_unpark(struct engine *engine, struct eng_agent *agent, Penstock__Answer value)
{
    if (agent->parked) {
        eng_sync_leave(agent);
        answer(engine, &agent->parked_request, value, NULL);
    }
}

void
eng_sync_leave(struct eng_agent *agent)
{
    agent->parked = false;
    ps_heap_remove(&agent->engine->parked, &agent->wake);
    ps_list_remove(&agent->stir_link);
    ps_list_remove(&agent->hungry_link);
}

void
eng_sync_stir(struct eng_agent *agent)
{
    if (agent->parked && ps_list_empty(&agent->stir_link)) {
        ps_heap_remove(&agent->engine->parked, &agent->wake);
        ps_list_push_back(&agent->engine->stirred, &agent->stir_link);
    }
}

/* Remembers that the agent lists what it should not have; keeps when it was told. */
static void
list_cancel(struct eng_agent *agent, const struct eng_cancel *before, size_t before_count,
            struct batch_id batch, uint64_t epoch)
{
    struct eng_cancel cancel = {.batch = batch, .epoch = epoch};
    for (size_t i = 0; i < before_count; i++) {
        if (before[i].epoch == epoch && ps_id_eq(before[i].batch.id, batch.id)) {
            cancel.told_ms = before[i].told_ms;
        }
    }
    ENG_PUSH(agent->cancels, agent->cancel_count, cancel);
}

/* True when the agent may go on with what it lists. */
static bool
judge_held(struct engine *engine, struct eng_agent *agent, const Penstock__Held *held)
{
    struct eng_batch *batch = eng_store_find_batch(engine, eng_span(held->batch_id));
    if (batch == NULL) {
        /* Settled by this very epoch: the answer to its report is under way. */
        uint64_t epoch = 0;
        return eng_store_find_settled(engine, eng_span(held->batch_id), &epoch) &&
               epoch == held->epoch;
    }
    bool own = batch->row.epoch == held->epoch && batch->row.agent != NULL &&
               strcmp(batch->row.agent, agent->name) == 0 &&
               ps_id_eq(batch->row.incarnation.id, agent->incarnation.id);
    if (!own) {
        return false;
    }
    if (batch->holder == NULL && (batch->state == BATCH_PENDING || batch->state == BATCH_WAITING)) {
        uint32_t leaf = batch->row.leaf;
        (void)eng_store_move_batch(engine, &batch, BATCH_ON_HELD);
        eng_store_lease(engine, batch, agent, leaf);
        eng_store_save_batch(engine, batch);
    }
    if (batch->holder != agent) {
        return false;
    }
    eng_store_renew(engine, batch);
    batch->listed_seq = agent->sync_seq;
    batch->resend = false;
    eng_prove_held(batch, held);
    return !eng_staged_held(batch, agent, held);
}

static void
take_held(struct engine *engine, struct eng_agent *agent)
{
    const Penstock__Sync *sync = agent->sync;
    struct eng_cancel *before = agent->cancels;
    size_t before_count = agent->cancel_count;
    agent->cancels = NULL;
    agent->cancel_count = 0;
    for (size_t i = 0; i < sync->n_held; i++) {
        struct batch_id id;
        if (ps_id_from_span(eng_span(sync->held[i]->batch_id), &id.id) &&
            !judge_held(engine, agent, sync->held[i])) {
            list_cancel(agent, before, before_count, id, sync->held[i]->epoch);
        }
    }
    ps_free(before);
    /* What was granted and is not listed: the answer that carried it was lost. It takes the place
     * of something new. */
    PS_LIST_FOR (at, &agent->leases) {
        struct eng_batch *batch = PS_CONTAINER(at, struct eng_batch, lease_link);
        if (batch->listed_seq == agent->sync_seq) {
            continue;
        }
        /* Nothing new is begun by a pipeline that stops, or whose ledger has to be read first. */
        if ((batch->pipeline->state == PIPELINE_STOPPING || !batch->pipeline->row.reconciled) &&
            eng_store_move_batch(engine, &batch, BATCH_ON_GIVEN_BACK)) {
            continue;
        }
        batch->resend = true;
        eng_grant_take_want(agent, batch->row.leaf);
    }
}

static void
take_wants(struct eng_agent *agent)
{
    const Penstock__Sync *sync = agent->sync;
    agent->wants = ps_xrealloc(agent->wants, (sync->n_wants + 1) * sizeof *agent->wants);
    for (size_t i = 0; i < sync->n_wants; i++) {
        agent->wants[i] = sync->wants[i]->batches;
    }
    agent->want_tasks = sync->want_tasks;
    agent->draining = sync->draining;
}

void
eng_sync(struct engine *engine, const struct engine_request *request, Penstock__Sync *own_sync)
{
    struct eng_agent *agent = NULL;
    enum eng_who who = eng_hello_who(engine, own_sync->origin, &agent);
    if (who != ENG_WHO_OK) {
        answer(engine, request,
               who == ENG_WHO_STALE ? PENSTOCK__ANSWER__ANSWER_STALE
                                    : PENSTOCK__ANSWER__ANSWER_UNKNOWN,
               NULL);
        msg_free(&own_sync->base);
        return;
    }
    if (own_sync->origin->seq <= agent->sync_seq) {
        answer(engine, request, PENSTOCK__ANSWER__ANSWER_OK, NULL);
        msg_free(&own_sync->base);
        return;
    }
    eng_sync_unpark(engine, agent, PENSTOCK__ANSWER__ANSWER_OK);
    if (agent->sync != NULL) {
        msg_free(&agent->sync->base);
    }
    agent->sync = own_sync;
    agent->sync_seq = own_sync->origin->seq;
    take_wants(agent);
    take_held(engine, agent);
    eng_staged_take(engine, agent);
    eng_task_take_held(agent, own_sync, &engine->tasks);
    uint32_t wait_ms = own_sync->wait_ms > ENG_WAIT_MOST_MS ? ENG_WAIT_MOST_MS : own_sync->wait_ms;
    agent->parked = true;
    agent->parked_request = *request;
    agent->parked_until_ms = engine->now_ms + wait_ms;
    eng_sync_stir(agent);
    if (!agent->draining && own_sync->n_wants > 0) {
        ps_list_push_back(&engine->hungry, &agent->hungry_link);
    }
}
