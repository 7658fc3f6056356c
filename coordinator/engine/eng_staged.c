/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_staged.h"

#include "common/alloc.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_sync.h"

void
eng_staged_forget(struct eng_batch *batch)
{
    ps_list_remove(&batch->staged_link);
    batch->staged_agent = NULL;
    batch->staged_until_ms = 0;
}

/* Of what it lists as kept: what a leaf holds is not touched by it. */
static void
unstage(struct eng_agent *agent, struct ps_span id)
{
    struct ps_span own = ps_span(NULL, 0);
    eng_set_span(&own, id);
    ENG_PUSH(agent->unstage, agent->unstage_count, own);
}

void
eng_staged_note(struct eng_batch *batch, struct eng_agent *agent, uint32_t leaf, bool sure)
{
    bool same = batch->staged_agent == agent && batch->staged_leaf == leaf;
    if (same && batch->staged_sure == sure) {
        return;
    }
    /* One copy is enough. One that an agent lists at another of its leaves has been moved. */
    bool is_copy = !same && (batch->staged_agent != agent || batch->holder == agent);
    if (is_copy && batch->staged_agent != NULL && batch->staged_sure) {
        unstage(batch->staged_agent, ps_span(batch->row.id.id.b, PS_ID_BYTES));
    }
    ps_list_remove(&batch->staged_link);
    ps_list_push_back(&agent->staged, &batch->staged_link);
    batch->staged_agent = agent;
    batch->staged_leaf = leaf;
    batch->staged_sure = sure;
    batch->staged_until_ms = 0; /* the wait begins anew */
}

void
eng_staged_forget_agent(struct eng_agent *agent)
{
    PS_LIST_FOR (at, &agent->staged) {
        eng_staged_forget(PS_CONTAINER(at, struct eng_batch, staged_link));
    }
    for (size_t i = 0; i < agent->unstage_count; i++) {
        eng_set_span(&agent->unstage[i], ps_span(NULL, 0));
    }
    ps_free(agent->unstage);
    agent->unstage = NULL;
    agent->unstage_count = 0;
}

/* ---- who can reach the destination */

static bool
is_away(const struct eng_agent *agent, uint32_t leaf, uint64_t least_ms)
{
    for (size_t i = 0; agent->sync != NULL && i < agent->sync->n_leaves; i++) {
        const Penstock__LeafStatus *status = agent->sync->leaves[i];
        if (status->leaf == leaf) {
            return status->has_away_ms && status->away_ms >= least_ms;
        }
    }
    return false;
}

static bool
others_can(const struct engine *engine, const struct eng_pipeline *p)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&engine->seen) {
        const struct eng_agent *agent = PS_CONTAINER(at, struct eng_agent, seen_link);
        for (size_t i = 0; i < agent->place_count; i++) {
            const struct eng_place *place = &agent->places[i];
            if (place->pipeline == p && !is_away(agent, place->leaf, 0)) {
                return true;
            }
        }
    }
    return false;
}

bool
eng_staged_is_cut_off(const struct engine *engine, const struct eng_pipeline *p,
                      const struct eng_agent *agent, uint32_t leaf)
{
    return is_away(agent, leaf, 0) && others_can(engine, p);
}

/* ---- what a Sync says */

bool
eng_staged_held(struct eng_batch *batch, struct eng_agent *agent, const Penstock__Held *held)
{
    if (held->stored) {
        eng_staged_note(batch, agent, held->leaf, true);
    } else if (held->phase == PENSTOCK__PHASE__PHASE_FETCH && batch->staged_agent == agent &&
               batch->staged_leaf == held->leaf) {
        eng_staged_forget(batch); /* it could not be used */
    }
    return held->stored && held->phase <= PENSTOCK__PHASE__PHASE_STAGE &&
           is_away(agent, held->leaf, ENG_STAGED_AWAY_MS) &&
           others_can(agent->engine, batch->pipeline);
}

/* A catalog that has yet to read a ledger may not know what it will know. */
static bool
is_whole(const struct engine *engine)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&engine->pipelines) {
        const struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        if (p->is_distrusted || (!p->row.reconciled && p->state != PIPELINE_CREATED)) {
            return false;
        }
    }
    return true;
}

static void
take_one(struct engine *engine, struct eng_agent *agent, const Penstock__Staged *staged, bool whole)
{
    struct ps_span id = eng_span(staged->batch_id);
    struct eng_batch *batch = eng_store_find_batch(engine, id);
    uint64_t epoch = 0;
    if (batch != NULL) {
        eng_staged_note(batch, agent, staged->leaf, true);
        batch->staged_listed = true;
        if (batch->holder == NULL) {
            eng_store_set_retry(batch, batch->retry_mono_ms); /* where it waits may differ now */
        }
    } else if (whole || eng_store_find_settled(engine, id, &epoch)) {
        unstage(agent, id);
    }
}

void
eng_staged_take(struct engine *engine, struct eng_agent *agent)
{
    const Penstock__Sync *sync = agent->sync;
    if (!sync->staged_all) {
        return;
    }
    PS_LIST_FOR (at, &agent->staged) {
        PS_CONTAINER(at, struct eng_batch, staged_link)->staged_listed = false;
    }
    bool whole = is_whole(engine);
    for (size_t i = 0; i < sync->n_staged; i++) {
        take_one(engine, agent, sync->staged[i], whole);
    }
    PS_LIST_FOR (at, &agent->staged) {
        struct eng_batch *batch = PS_CONTAINER(at, struct eng_batch, staged_link);
        if (!batch->staged_listed && batch->holder == NULL) {
            eng_staged_forget(batch);
            eng_store_set_retry(batch, batch->retry_mono_ms);
        }
    }
}

/* ---- grants */

bool
eng_staged_reserves(struct eng_batch *batch, int64_t *out_ms)
{
    const struct eng_agent *agent = batch->staged_agent;
    if (agent == NULL || (batch->state != BATCH_PENDING && batch->state != BATCH_WAITING) ||
        (agent->leaves > 0 && batch->staged_leaf >= agent->leaves)) {
        return false;
    }
    const struct engine *engine = agent->engine;
    if (batch->staged_until_ms == 0) {
        int64_t wait =
            batch->staged_sure ? 2 * (int64_t)engine->config.lease_ms : (int64_t)ENG_STAGED_HINT_MS;
        bool cut_off = eng_staged_is_cut_off(engine, batch->pipeline, agent, batch->staged_leaf);
        batch->staged_until_ms = engine->now_ms + (cut_off ? 0 : wait);
    }
    *out_ms = batch->staged_until_ms;
    return batch->staged_until_ms > engine->now_ms;
}

void
eng_staged_leased(struct eng_batch *batch)
{
    if (!batch->staged_sure) {
        eng_staged_forget(batch); /* where it was likely has been tried, or not come back */
    }
    batch->staged_until_ms = 0;
}

void
eng_staged_settled(struct eng_batch *batch)
{
    bool by_itself = batch->staged_agent != NULL && batch->row.agent != NULL &&
                     strcmp(batch->row.agent, batch->staged_agent->name) == 0 &&
                     batch->row.leaf == batch->staged_leaf;
    if (batch->staged_agent != NULL && batch->staged_sure && !by_itself) {
        unstage(batch->staged_agent, ps_span(batch->row.id.id.b, PS_ID_BYTES));
        eng_sync_stir(batch->staged_agent);
    }
}

struct eng_batch *
eng_staged_find(const struct eng_pipeline *p, const struct eng_agent *agent, uint32_t leaf)
{
    struct eng_batch *best = NULL;
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&agent->staged) {
        struct eng_batch *batch = PS_CONTAINER(at, struct eng_batch, staged_link);
        bool due = batch->state == BATCH_PENDING ||
                   (batch->state == BATCH_WAITING && batch->retry_mono_ms <= agent->engine->now_ms);
        if (batch->pipeline != p || batch->holder != NULL || !due || batch->staged_leaf != leaf) {
            continue;
        }
        /* Ids rise with the time of the cut. */
        if (best == NULL || memcmp(batch->row.id.id.b, best->row.id.id.b, PS_ID_BYTES) < 0) {
            best = batch;
        }
    }
    return best;
}

void
eng_staged_answer(struct eng_agent *agent)
{
    for (size_t i = 0; i < agent->unstage_count; i++) {
        Penstock__SyncReply *reply = eng_sync_reply(agent);
        ENG_PUSH(reply->unstage, reply->n_unstage, eng_out_bytes(agent->unstage[i]));
        eng_set_span(&agent->unstage[i], ps_span(NULL, 0));
    }
    agent->unstage_count = 0;
}
