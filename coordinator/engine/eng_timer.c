/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_timer.h"

#include "common/log.h"
#include "coordinator/engine/eng_grant.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_hot.h"
#include "coordinator/engine/eng_pipeline.h"
#include "coordinator/engine/eng_report.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_sync.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/engine/eng_wait.h"

enum { TURN_MOST_MS = 60000 };

/* Overslept by a fifth of a lease: stopped, swapped out, or a disk that hung. */
void
eng_timer_notice_stall(struct engine *engine)
{
    if (engine->now_ms - engine->expected_ms < (int64_t)engine->config.lease_ms / 5) {
        return;
    }
    log_warn("engine.stalled", "ms=%lld: all leases begin anew",
             (long long)(engine->now_ms - engine->expected_ms));
    PS_LIST_FOR (at, &engine->seen) {
        PS_CONTAINER(at, struct eng_agent, seen_link)->seen_mono_ms = engine->now_ms;
    }
    PS_LIST_FOR (at, &engine->leases) {
        PS_CONTAINER(at, struct eng_batch, until_link)->lease_until_ms =
            engine->now_ms + engine->config.lease_ms;
    }
}

static void
expire_lease(struct engine *engine, struct eng_batch *b)
{
    struct eng_failure failure = {.class = SCHED_EXPIRED,
                                  .code = "lease_expired",
                                  .text = "its agent has been silent for too long"};
    eng_report_fail(engine, b, &failure);
}

static void
lose_agent(struct engine *engine, struct eng_agent *agent)
{
    eng_hello_set_state(engine, agent, ENG_AGENT_GONE, agent->leaves);
    eng_hello_save(engine, agent);
    eng_task_take_back(engine, agent);
    eng_grant_forget(engine, agent);
    eng_event(engine, NULL, "agent.gone", agent->name, "silent for %u ms", engine->config.lease_ms);
    log_warn("agent.gone", "name=%s", agent->name);
}

/* Both lists have the earliest first. */
void
eng_timer_expire(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->leases) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, until_link);
        if (b->lease_until_ms > engine->now_ms) {
            break;
        }
        expire_lease(engine, b);
    }
    PS_LIST_FOR (at, &engine->seen) {
        struct eng_agent *agent = PS_CONTAINER(at, struct eng_agent, seen_link);
        if (engine->now_ms - agent->seen_mono_ms < (int64_t)engine->config.lease_ms) {
            break;
        }
        lose_agent(engine, agent);
    }
    eng_hot_expire(engine);
}

static void
earlier(int64_t *next, int64_t at)
{
    if (at < *next) {
        *next = at;
    }
}

static void
look_at_agents(const struct engine *engine, int64_t *next)
{
    const struct ps_heap_node *parked = ps_heap_first(&engine->parked);
    if (parked != NULL) {
        earlier(next, parked->key);
    }
    if (!ps_list_empty(&engine->seen)) {
        const struct eng_agent *agent =
            PS_CONTAINER(engine->seen.next, struct eng_agent, seen_link);
        earlier(next, agent->seen_mono_ms + engine->config.lease_ms);
    }
    if (!ps_list_empty(&engine->leases)) {
        earlier(next,
                PS_CONTAINER(engine->leases.next, struct eng_batch, until_link)->lease_until_ms);
    }
}

/* What is due by now waits for an agent, not for time. */
static void
look_at_due(const struct engine *engine, const struct ps_heap *heap, int64_t *next)
{
    const struct ps_heap_node *first = ps_heap_first(heap);
    if (first != NULL && first->key > engine->now_ms) {
        earlier(next, first->key);
    }
}

static void
look_at_pipeline(struct engine *engine, struct eng_pipeline *p, int64_t *next)
{
    earlier(next, eng_pipeline_next_ms(engine, p));
    look_at_due(engine, &p->retries, next);
    look_at_due(engine, &p->tombs, next);
    if (!ps_list_empty(&p->hot)) {
        earlier(next, PS_CONTAINER(p->hot.next, struct eng_hot, link)->until_ms);
    }
    for (size_t i = 0; i < p->unseen_count; i++) {
        if (p->unseen[i].until_ms > engine->now_ms) {
            earlier(next, p->unseen[i].until_ms);
        }
    }
}

int64_t
eng_timer_next_ms(struct engine *engine)
{
    int64_t next = engine->now_ms + TURN_MOST_MS;
    look_at_agents(engine, &next);
    PS_LIST_FOR (at, &engine->pipelines) {
        look_at_pipeline(engine, PS_CONTAINER(at, struct eng_pipeline, link), &next);
    }
    PS_LIST_FOR (at, &engine->tasks) {
        const struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (task->not_before_ms > engine->now_ms) {
            earlier(&next, task->not_before_ms);
        }
    }
    earlier(&next, eng_wait_next_ms(engine));
    return next;
}
