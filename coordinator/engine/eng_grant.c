/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_grant.h"

#include "common/alloc.h"
#include "coordinator/engine/eng_cut.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_sync.h"
#include "coordinator/sched/sched.h"

enum { PIPELINES_A_TURN = 64 }; /* looked at for one free place */

bool
eng_grant_take_want(struct eng_agent *agent, uint32_t leaf)
{
    for (size_t i = 0; agent->sync != NULL && i < agent->sync->n_wants; i++) {
        if (agent->sync->wants[i]->leaf == leaf && agent->wants[i] > 0) {
            agent->wants[i]--;
            return true;
        }
    }
    return false;
}

/* ---- who sees what */
void
eng_grant_unseen(struct engine *engine, struct eng_pipeline *p, struct eng_agent *agent,
                 const char *text)
{
    struct eng_unseen *slot = NULL;
    for (size_t i = 0; i < p->unseen_count; i++) {
        if (p->unseen[i].agent == agent) {
            slot = &p->unseen[i];
        }
    }
    if (slot == NULL) {
        ENG_PUSH(p->unseen, p->unseen_count, ((struct eng_unseen){.agent = agent}));
        slot = &p->unseen[p->unseen_count - 1];
    }
    slot->until_ms = engine->now_ms + ENG_UNSEEN_MS;
    PS_LIST_FOR (at, &engine->agents) {
        struct eng_agent *other = PS_CONTAINER(at, struct eng_agent, link);
        if (other->state == ENG_AGENT_ONLINE && eng_grant_sees(engine, p, other)) {
            return;
        }
    }
    char *reason =
        ps_xasprintf("waits: no agent sees its source and destination (%s: %s)", agent->name, text);
    eng_store_say(p, reason);
    ps_free(reason);
}

bool
eng_grant_sees(struct engine *engine, struct eng_pipeline *p, const struct eng_agent *agent)
{
    for (size_t i = 0; i < p->unseen_count; i++) {
        if (p->unseen[i].agent == agent) {
            return p->unseen[i].until_ms <= engine->now_ms;
        }
    }
    return true;
}

/* ---- chains and their leaves */
void
eng_grant_note_hot(struct engine *engine, struct eng_pipeline *p, uint64_t bp_id,
                   struct eng_agent *agent, uint32_t leaf)
{
    struct eng_hot hot = {
        .bp_id = bp_id, .agent = agent, .leaf = leaf, .until_ms = engine->now_ms + ENG_HOT_MS};
    for (size_t i = 0; i < p->hot_count; i++) {
        if (p->hot[i].bp_id == bp_id || p->hot[i].until_ms <= engine->now_ms) {
            p->hot[i--] = p->hot[--p->hot_count];
        }
    }
    ENG_PUSH(p->hot, p->hot_count, hot);
}

void
eng_grant_forget(struct engine *engine, const struct eng_agent *agent)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        for (size_t i = 0; i < p->hot_count; i++) {
            if (p->hot[i].agent == agent) {
                p->hot[i--] = p->hot[--p->hot_count];
            }
        }
        for (size_t i = 0; i < p->unseen_count; i++) {
            if (p->unseen[i].agent == agent) {
                p->unseen[i--] = p->unseen[--p->unseen_count];
            }
        }
    }
}

void
eng_grant_forget_hot(struct eng_pipeline *p, uint64_t bp_id)
{
    for (size_t i = 0; i < p->hot_count; i++) {
        if (p->hot[i].bp_id == bp_id) {
            p->hot[i--] = p->hot[--p->hot_count];
        }
    }
}

/* Chains that this leaf has open, and those that others have: all of them pending. */
static size_t
count_hot(const struct engine *engine, const struct eng_pipeline *p, const struct eng_agent *agent,
          uint32_t leaf, size_t *out_elsewhere)
{
    size_t here = 0;
    *out_elsewhere = 0;
    for (size_t i = 0; i < p->hot_count; i++) {
        bool own = p->hot[i].agent == agent && p->hot[i].leaf == leaf;
        bool fresh = p->hot[i].until_ms > engine->now_ms;
        here += own && fresh ? 1 : 0;
        *out_elsewhere += !own && fresh ? 1 : 0;
    }
    return here;
}

/* ---- may it be granted at all? */
bool
eng_grant_over_tolerance(const struct eng_pipeline *p)
{
    const struct cat_counts *counts = &p->row.counts;
    return spec_over_tolerance(p->limits.tolerance, counts->rejected + counts->rejected_at_load,
                               counts->decoded);
}

bool
eng_grant_held_back(const struct eng_pipeline *p)
{
    bool failed = p->row.batches_quarantined > 0 || p->row.objects_quarantined > 0;
    return failed && p->limits.stops_on_failure;
}

/* ---- one place */
static bool
leaf_has(const struct eng_agent *agent, uint32_t leaf, const struct eng_pipeline *p)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&agent->leases) {
        const struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, lease_link);
        if (b->pipeline == p && b->row.leaf == leaf) {
            return true;
        }
    }
    return false;
}

static void
grant(struct engine *engine, struct eng_agent *agent, uint32_t leaf, struct eng_batch *b)
{
    /* The epoch is durable with this turn's commit, before the answer that carries it. */
    b->row.epoch++;
    b->retry_mono_ms = 0;
    b->row.retry_ms = 0;
    b->pipeline->at_work += leaf_has(agent, leaf, b->pipeline) ? 0 : 1;
    if (b->state == BATCH_CANCELLING) {
        eng_store_lease(engine, b, agent, leaf);
        eng_store_save_batch(engine, b);
    } else {
        eng_store_lease(engine, b, agent, leaf);
        (void)eng_store_move_batch(engine, &b, BATCH_ON_GRANTED);
    }
    (void)eng_grant_take_want(agent, leaf);
    eng_sync_add_grant(engine, agent, b);
}

/* The next one that is due: NULL when there is none. */
static struct eng_batch *
find_due(const struct engine *engine, struct eng_pipeline *p, bool tombstones)
{
    if ((tombstones ? p->cancelling : p->pending + p->waiting) == 0) {
        return NULL;
    }
    PS_LIST_FOR (at, &p->batches) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, link);
        bool kind = tombstones ? b->state == BATCH_CANCELLING
                               : b->state == BATCH_PENDING || b->state == BATCH_WAITING;
        if (kind && b->holder == NULL && b->retry_mono_ms <= engine->now_ms) {
            return b;
        }
    }
    return NULL;
}

static struct sched_pipeline
view(struct engine *engine, struct eng_pipeline *p, struct eng_agent *agent, uint32_t leaf)
{
    struct sched_pipeline out = {0};
    out.grantable = p->state == PIPELINE_RUNNING && !eng_grant_held_back(p) &&
                    !eng_grant_over_tolerance(p) && eng_grant_sees(engine, p, agent);
    if (!out.grantable) {
        return out;
    }
    size_t elsewhere = 0;
    out.hot = count_hot(engine, p, agent, leaf, &elsewhere) > 0;
    bool may_cut =
        p->row.objects_pending > elsewhere && sched_may_cut(p->waiting, engine->online_leaves);
    out.has_work = may_cut || find_due(engine, p, false) != NULL;
    out.max_leaves = p->limits.max_leaves;
    out.leaves = p->at_work;
    out.leaf_has_it = out.has_work && out.max_leaves > 0 && leaf_has(agent, leaf, p);
    out.leases = p->leased;
    return out;
}

static bool
grant_tombstone(struct engine *engine, struct eng_agent *agent, uint32_t leaf)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        struct eng_batch *b = p->cancelling > 0 && eng_grant_sees(engine, p, agent)
                                  ? find_due(engine, p, true)
                                  : NULL;
        if (b != NULL) {
            grant(engine, agent, leaf, b);
            return true;
        }
    }
    return false;
}

static bool
grant_one(struct engine *engine, struct eng_agent *agent, uint32_t leaf)
{
    if (grant_tombstone(engine, agent, leaf)) {
        return true;
    }
    struct eng_pipeline *pipelines[PIPELINES_A_TURN];
    struct sched_pipeline views[PIPELINES_A_TURN];
    size_t count = 0;
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        if (p->state == PIPELINE_RUNNING && count < PIPELINES_A_TURN) {
            views[count] = view(engine, p, agent, leaf);
            pipelines[count++] = p;
        }
    }
    for (size_t best; (best = sched_pick(views, count)) < count;) {
        struct eng_pipeline *p = pipelines[best];
        struct eng_batch *b = find_due(engine, p, false);
        if (b == NULL && sched_may_cut(p->waiting, engine->online_leaves)) {
            b = eng_cut(engine, p, agent, leaf);
        }
        if (b != NULL) {
            grant(engine, agent, leaf, b);
            return true;
        }
        views[best].has_work = false;
    }
    return false;
}

/* Counted once a turn; grant keeps it. */
static void
count_leaves(struct engine *engine)
{
    engine->online_leaves = eng_hello_online_leaves(engine);
    PS_LIST_FOR (at, &engine->pipelines) {
        PS_CONTAINER(at, struct eng_pipeline, link)->at_work = 0;
    }
    PS_LIST_FOR (at, &engine->agents) {
        struct eng_agent *agent = PS_CONTAINER(at, struct eng_agent, link);
        PS_LIST_FOR (lease, &agent->leases) {
            const struct eng_batch *b = PS_CONTAINER(lease, struct eng_batch, lease_link);
            bool first = true;
            for (struct ps_list *before = lease->prev; first && before != &agent->leases;
                 before = before->prev) {
                const struct eng_batch *other = PS_CONTAINER(before, struct eng_batch, lease_link);
                first = other->pipeline != b->pipeline || other->row.leaf != b->row.leaf;
            }
            b->pipeline->at_work += first ? 1 : 0;
        }
    }
}

void
eng_grant_all(struct engine *engine)
{
    count_leaves(engine);
    for (bool any = true; any && engine->fault_status == PS_OK;) {
        any = false;
        PS_LIST_FOR (at, &engine->agents) {
            struct eng_agent *agent = PS_CONTAINER(at, struct eng_agent, link);
            if (!agent->parked || agent->draining) {
                continue;
            }
            for (size_t i = 0; i < agent->sync->n_wants; i++) {
                if (agent->wants[i] > 0 && eng_sync_has_room(agent) &&
                    grant_one(engine, agent, agent->sync->wants[i]->leaf)) {
                    any = true;
                }
            }
        }
    }
}
