/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_grant.h"

#include "common/alloc.h"
#include "coordinator/engine/eng_cut.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_hot.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_part.h"
#include "coordinator/engine/eng_staged.h"
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

/* ---- an agent is no longer */
void
eng_grant_forget(struct engine *engine, struct eng_agent *agent)
{
    eng_hot_forget_agent(agent);
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        for (size_t i = 0; i < p->unseen_count; i++) {
            if (p->unseen[i].agent == agent) {
                p->unseen[i--] = p->unseen[--p->unseen_count];
            }
        }
    }
}

/* ---- may it be granted at all? */
bool
eng_grant_over_tolerance(const struct eng_pipeline *p)
{
    /* What replays took up is decoded twice, and where it is refused again rejected twice. */
    const struct cat_counts *counts = &p->row.counts;
    uint64_t rejected = counts->rejected + counts->rejected_at_load;
    uint64_t replayed = p->row.replayed;
    return spec_over_tolerance(p->limits.tolerance, rejected > replayed ? rejected - replayed : 0,
                               counts->decoded > replayed ? counts->decoded - replayed : 0);
}

bool
eng_grant_held_back(const struct eng_pipeline *p)
{
    bool failed = p->row.batches_quarantined > 0 || p->row.objects_quarantined > 0;
    return failed && p->limits.stops_on_failure;
}

/* ---- one place */
static void
grant(struct engine *engine, struct eng_agent *agent, uint32_t leaf, struct eng_batch *b)
{
    /* The epoch is durable with this turn's commit, before the answer that carries it. */
    b->row.epoch++;
    b->retry_mono_ms = 0;
    b->row.retry_ms = 0;
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

static struct eng_batch *
first_due(const struct engine *engine, const struct ps_heap *heap)
{
    struct ps_heap_node *first = ps_heap_first(heap);
    return first == NULL || first->key > engine->now_ms
               ? NULL
               : PS_CONTAINER(first, struct eng_batch, due);
}

/* For no leaf in particular. */
static struct eng_batch *
find_free(const struct engine *engine, const struct eng_pipeline *p)
{
    struct eng_batch *b = first_due(engine, &p->retries);
    if (b == NULL && !ps_list_empty(&p->idle)) {
        b = PS_CONTAINER(p->idle.next, struct eng_batch, idle_link);
    }
    return b;
}

/* What the leaf has on disk before what failed, that before what was given back: it is older.
 * NULL: nothing is to be had but new ones. */
static struct eng_batch *
find_due(const struct engine *engine, const struct eng_pipeline *p, const struct eng_agent *agent,
         uint32_t leaf)
{
    struct eng_batch *b = eng_staged_find(p, agent, leaf);
    return b == NULL ? find_free(engine, p) : b;
}

static bool
is_grantable(const struct eng_pipeline *p)
{
    return p->state == PIPELINE_RUNNING && p->adding_count == 0 && !eng_grant_held_back(p) &&
           !eng_grant_over_tolerance(p);
}

static struct sched_pipeline
view(struct engine *engine, struct eng_pipeline *p, struct eng_agent *agent, uint32_t leaf)
{
    struct sched_pipeline out = {0};
    out.grantable = is_grantable(p) && eng_grant_sees(engine, p, agent) &&
                    !eng_staged_is_cut_off(engine, p, agent, leaf);
    if (!out.grantable) {
        return out;
    }
    size_t hot_here = eng_hot_count(p, agent, leaf);
    out.hot = hot_here > 0;
    bool may_cut = p->row.objects_pending > p->hot_count - hot_here &&
                   sched_may_cut(p->waiting, engine->online_leaves);
    out.has_work = may_cut || find_due(engine, p, agent, leaf) != NULL;
    out.max_leaves = p->limits.max_leaves;
    out.leaves = p->at_work;
    out.leaf_has_it = out.has_work && out.max_leaves > 0 && eng_store_leaf_has(agent, leaf, p);
    out.leases = p->leased;
    return out;
}

static bool
grant_tombstone(struct engine *engine, struct eng_agent *agent, uint32_t leaf)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        struct eng_batch *b = first_due(engine, &p->tombs);
        if (b != NULL && eng_grant_sees(engine, p, agent) &&
            !eng_staged_is_cut_off(engine, p, agent, leaf)) {
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
        struct eng_batch *b = find_due(engine, p, agent, leaf);
        if (b != NULL && eng_part_is_batch(b) && !eng_part_may_have(agent)) {
            b = NULL;
        }
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

/* True when any leaf that sees it could have something, and not only one that has a chain open or
 * works for the pipeline already: those come by themselves, with a Sync of their own. */
static bool
is_for_all(const struct engine *engine, const struct eng_pipeline *p)
{
    if (first_due(engine, &p->tombs) != NULL) {
        return true;
    }
    bool full = p->limits.max_leaves != 0 && p->at_work >= p->limits.max_leaves;
    if (full || !is_grantable(p)) {
        return false;
    }
    bool may_cut =
        p->row.objects_pending > p->hot_count && sched_may_cut(p->waiting, engine->online_leaves);
    return may_cut || find_free(engine, p) != NULL;
}

static bool
any_for_all(const struct engine *engine)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&engine->pipelines) {
        if (is_for_all(engine, PS_CONTAINER(at, struct eng_pipeline, link))) {
            return true;
        }
    }
    return false;
}

/* One batch for each leaf that wants one; false when none got any. */
static bool
serve(struct engine *engine, struct eng_agent *agent)
{
    bool any = false;
    for (size_t i = 0; i < agent->sync->n_wants; i++) {
        if (agent->wants[i] > 0 && eng_sync_has_room(agent) &&
            grant_one(engine, agent, agent->sync->wants[i]->leaf)) {
            any = true;
        }
    }
    return any;
}

/* In rounds: nobody gets a second batch while another waits for its first. Those that have just
 * come are always asked; the others, who were refused before, only while there is something that
 * they could have. */
void
eng_grant_all(struct engine *engine)
{
    struct eng_window window;
    eng_cut_begin(engine, &window);
    for (bool any = true; any && engine->fault_status == PS_OK;) {
        bool for_all = any_for_all(engine);
        struct ps_list *from = for_all ? &engine->hungry : &engine->stirred;
        any = false;
        PS_LIST_FOR (at, from) {
            struct eng_agent *agent = for_all ? PS_CONTAINER(at, struct eng_agent, hungry_link)
                                              : PS_CONTAINER(at, struct eng_agent, stir_link);
            if (!agent->draining && serve(engine, agent)) {
                any = true;
            }
            if (for_all && !any_for_all(engine)) {
                break;
            }
        }
    }
    eng_cut_end(engine);
}
