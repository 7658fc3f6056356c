/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_hello.h"

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_hot.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_staged.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_sync.h"
#include "coordinator/engine/eng_task.h"

enum { PROTOCOL = 1, NAME_MOST_BYTES = 200, LEAVES_MOST = 1024, HOST_TOKEN_MOST_BYTES = 256 };

struct eng_agent *
eng_hello_find(struct engine *engine, const char *name)
{
    return ps_map_find(engine->agents_by_name, ps_span_str(name));
}

struct eng_agent *
eng_hello_add(struct engine *engine, const char *name)
{
    struct eng_agent *agent = ps_xcalloc(1, sizeof *agent);
    agent->engine = engine;
    agent->state = ENG_AGENT_GONE;
    ps_list_init(&agent->leases);
    ps_list_init(&agent->hot);
    ps_list_init(&agent->staged);
    ps_list_init(&agent->seen_link);
    ps_list_init(&agent->stir_link);
    ps_list_init(&agent->hungry_link);
    ps_heap_node_init(&agent->wake);
    agent->name = ps_xstrdup(name);
    agent->version = ps_xstrdup("");
    agent->seen_mono_ms = engine->now_ms;
    ps_list_push_back(&engine->agents, &agent->link);
    (void)ps_map_put(engine->agents_by_name, ps_span_str(agent->name), agent);
    return agent;
}

void
eng_hello_set_state(struct engine *engine, struct eng_agent *agent, enum eng_agent_state state,
                    uint32_t leaves)
{
    engine->online_leaves -= agent->state == ENG_AGENT_ONLINE ? agent->leaves : 0;
    agent->state = state;
    agent->leaves = leaves;
    engine->online_leaves += agent->state == ENG_AGENT_ONLINE ? agent->leaves : 0;
    ps_list_remove(&agent->seen_link);
    if (state == ENG_AGENT_ONLINE) {
        agent->seen_mono_ms = engine->now_ms;
        ps_list_push_back(&engine->seen, &agent->seen_link);
    }
}

void
eng_hello_free(struct eng_agent *agent)
{
    ps_list_remove(&agent->link);
    ps_list_remove(&agent->seen_link);
    if (agent->sync != NULL) {
        msg_free(&agent->sync->base);
    }
    if (agent->answer != NULL) {
        msg_free(&agent->answer->base);
    }
    eng_set_span(&agent->host_token, ps_span(NULL, 0));
    eng_hot_forget_agent(agent);
    eng_staged_forget_agent(agent);
    ps_free(agent->places);
    ps_free(agent->cancels);
    ps_free(agent->wants);
    ps_free(agent->version);
    ps_free(agent->name);
    ps_free(agent);
}

void
eng_hello_save(struct engine *engine, struct eng_agent *agent)
{
    struct cat_agent row = {.name = agent->name,
                            .incarnation = agent->incarnation,
                            .state = agent->state == ENG_AGENT_ONLINE ? "online" : "gone",
                            .version = agent->version,
                            .leaves = agent->leaves,
                            .pid = agent->pid,
                            .host_token = agent->host_token,
                            .hello_ms = agent->hello_ms};
    ENG_TRY(engine, cat_agent_save, &row);
}

void
eng_hello_end_life(struct engine *engine, struct eng_agent *agent)
{
    PS_LIST_FOR (at, &agent->leases) {
        struct eng_batch *batch = PS_CONTAINER(at, struct eng_batch, lease_link);
        if (!eng_store_move_batch(engine, &batch, BATCH_ON_GIVEN_BACK)) {
            /* A tombstone under way: its batch stays to be settled. */
            eng_store_unlease(batch);
            eng_store_save_batch(engine, batch);
        }
    }
    eng_task_take_back(engine, agent);
}

static bool
was_here(const struct eng_agent *agent, struct incarnation incarnation)
{
    for (size_t i = 0; i < ENG_OLD_INCARNATIONS; i++) {
        if (ps_id_eq(agent->old[i].id, incarnation.id)) {
            return true;
        }
    }
    return false;
}

/* A catalog from before (an old copy, or a new one beside a destination that is not new) does not
 * know what was loaded since: each pipeline reads its destination's ledger again before it grants.
 */
static void
distrust(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        p->is_distrusted = true;
        eng_task_end_all(engine, p);
        if (p->limits.keeps_ledger) {
            eng_reconcile_want(engine, p);
        }
        p->row.reconciled = false;
        p->dirty = true;
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_RECONCILE, ENG_BEHIND);
    }
}

/* Neither number ever starts again, so either being higher means a catalog from before. Ours is
 * raised above it, so that agents obey and ledgers stay in order. */
static void
look_at_seen(struct engine *engine, const Penstock__Origin *origin)
{
    struct cat_stamp ours = catalog_stamp(engine->env.catalog);
    const Penstock__Stamp *seen = origin->seen;
    bool higher = seen->cluster_epoch > ours.cluster_epoch || seen->commit_seq > ours.commit_seq;
    bool is_absurd = seen->cluster_epoch > INT64_MAX / 2 || seen->commit_seq > INT64_MAX / 2;
    /* Raised already in this turn? */
    bool is_new = seen->cluster_epoch > engine->behind.cluster_epoch ||
                  seen->commit_seq > engine->behind.commit_seq;
    if (!higher || is_absurd || !is_new) {
        return;
    }
    log_error("catalog.behind",
              "agent=%s has seen cluster_epoch=%llu commit_seq=%llu, the catalog has %llu %llu: "
              "every ledger is read again",
              origin->agent, (unsigned long long)seen->cluster_epoch,
              (unsigned long long)seen->commit_seq, (unsigned long long)ours.cluster_epoch,
              (unsigned long long)ours.commit_seq);
    engine->behind =
        (struct cat_stamp){.cluster_epoch = seen->cluster_epoch, .commit_seq = seen->commit_seq};
    ENG_TRY(engine, catalog_raise_stamp,
            (struct cat_stamp){.cluster_epoch = seen->cluster_epoch + 1,
                               .commit_seq = seen->commit_seq + 1});
    eng_event(engine, NULL, "catalog.behind", origin->agent, "cluster epoch %llu, commit %llu",
              (unsigned long long)seen->cluster_epoch, (unsigned long long)seen->commit_seq);
    distrust(engine);
}

enum eng_who
eng_hello_who(struct engine *engine, const Penstock__Origin *origin, struct eng_agent **out)
{
    *out = NULL;
    struct incarnation incarnation;
    struct eng_agent *agent = eng_hello_find(engine, origin->agent);
    /* Of strangers too: who has seen more obeys no answer, not even UNKNOWN, until we know it. */
    look_at_seen(engine, origin);
    if (agent == NULL || !ps_id_from_span(eng_span(origin->incarnation), &incarnation.id)) {
        return ENG_WHO_UNKNOWN;
    }
    if (!ps_id_eq(agent->incarnation.id, incarnation.id)) {
        return was_here(agent, incarnation) ? ENG_WHO_STALE : ENG_WHO_UNKNOWN;
    }
    agent->seen_wall_ms = engine->wall_ms;
    bool was_gone = agent->state == ENG_AGENT_GONE;
    eng_hello_set_state(engine, agent, ENG_AGENT_ONLINE, agent->leaves);
    if (was_gone) {
        eng_hello_save(engine, agent);
        eng_event(engine, NULL, "agent.online", agent->name, "heard of again");
    }
    *out = agent;
    return ENG_WHO_OK;
}

static void
answer(struct engine *engine, const struct engine_request *request, Penstock__Answer value,
       const char *text)
{
    Penstock__HelloReply *reply = ENG_NEW(Penstock__HelloReply, PENSTOCK__HELLO_REPLY__INIT);
    reply->answer = value;
    reply->text = eng_out_text(text);
    if (value == PENSTOCK__ANSWER__ANSWER_OK) {
        reply->has_protocol = reply->has_heartbeat_ms = reply->has_lease_ms = true;
        reply->has_self_stop_ms = reply->has_leaf_silence_ms = true;
        reply->protocol = PROTOCOL;
        reply->heartbeat_ms = engine->config.heartbeat_ms;
        reply->lease_ms = engine->config.lease_ms;
        reply->self_stop_ms = engine->config.self_stop_ms;
        reply->leaf_silence_ms = engine->config.leaf_silence_ms;
    }
    eng_out_reply(engine, request, MSG_HELLO_REPLY, &reply->base);
}

/* NULL: fine. */
static const char *
what_is_wrong(const Penstock__Hello *hello)
{
    if (hello->protocol_min > PROTOCOL || hello->protocol_max < PROTOCOL) {
        return "no common protocol version: this coordinator speaks 1";
    }
    if (hello->origin->agent[0] == '\0' || strlen(hello->origin->agent) > NAME_MOST_BYTES) {
        return "an agent's name has 1 to 200 bytes";
    }
    if (hello->origin->incarnation.len != PS_ID_BYTES) {
        return "an incarnation has 16 bytes";
    }
    if (hello->leaves > LEAVES_MOST) {
        return "an agent has at most 1024 leaves";
    }
    if (hello->host_token.len > HOST_TOKEN_MOST_BYTES) {
        return "a host token has at most 256 bytes";
    }
    return NULL;
}

static void
begin_life(struct engine *engine, struct eng_agent *agent, const Penstock__Hello *hello,
           struct incarnation incarnation)
{
    if (!ps_id_is_zero(agent->incarnation.id)) {
        agent->old[agent->old_next++ % ENG_OLD_INCARNATIONS] = agent->incarnation;
    }
    eng_hello_end_life(engine, agent);
    eng_sync_unpark(engine, agent, PENSTOCK__ANSWER__ANSWER_STALE);
    if (agent->sync != NULL) {
        msg_free(&agent->sync->base);
        agent->sync = NULL;
    }
    agent->sync_seq = 0;
    agent->cancel_count = 0;
    agent->draining = false;
    agent->incarnation = incarnation;
    ps_free(agent->version);
    agent->version = ps_xstrdup(hello->version);
    agent->pid = hello->has_pid ? hello->pid : 0;
    eng_set_span(&agent->host_token, eng_span(hello->host_token));
    agent->hello_ms = engine->wall_ms;
    eng_hello_set_state(engine, agent, ENG_AGENT_ONLINE, hello->leaves);
    eng_hello_save(engine, agent);
    eng_event(engine, NULL, "agent.online", agent->name, "version %s, %u leaves", agent->version,
              agent->leaves);
    log_info("agent.online", "name=%s version=%s leaves=%u", agent->name, agent->version,
             agent->leaves);
}

void
eng_hello(struct engine *engine, const struct engine_request *request, const Penstock__Hello *hello)
{
    const char *wrong = what_is_wrong(hello);
    struct incarnation incarnation;
    if (wrong != NULL || !ps_id_from_span(eng_span(hello->origin->incarnation), &incarnation.id)) {
        answer(engine, request, PENSTOCK__ANSWER__ANSWER_REFUSED, wrong);
        return;
    }
    struct eng_agent *agent = eng_hello_find(engine, hello->origin->agent);
    if (agent != NULL && was_here(agent, incarnation)) {
        look_at_seen(engine, hello->origin);
        answer(engine, request, PENSTOCK__ANSWER__ANSWER_STALE,
               "a newer agent of this name has said hello");
        return;
    }
    if (agent == NULL) {
        agent = eng_hello_add(engine, hello->origin->agent);
    }
    if (!ps_id_eq(agent->incarnation.id, incarnation.id)) {
        begin_life(engine, agent, hello, incarnation);
    }
    (void)eng_hello_who(engine, hello->origin, &agent);
    answer(engine, request, PENSTOCK__ANSWER__ANSWER_OK, NULL);
}
