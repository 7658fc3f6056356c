/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_timer.h"

#include "common/log.h"
#include "coordinator/engine/eng_grant.h"
#include "coordinator/engine/eng_hello.h"
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
    PS_LIST_FOR (at, &engine->agents) {
        struct eng_agent *agent = PS_CONTAINER(at, struct eng_agent, link);
        agent->seen_mono_ms = engine->now_ms;
        PS_LIST_FOR (lease, &agent->leases) {
            PS_CONTAINER(lease, struct eng_batch, lease_link)->lease_until_ms =
                engine->now_ms + engine->config.lease_ms;
        }
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
expire_agent(struct engine *engine, struct eng_agent *agent)
{
    PS_LIST_FOR (at, &agent->leases) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, lease_link);
        if (b->lease_until_ms <= engine->now_ms) {
            expire_lease(engine, b);
        }
    }
    bool silent = engine->now_ms - agent->seen_mono_ms >= (int64_t)engine->config.lease_ms;
    if (agent->state == ENG_AGENT_ONLINE && silent) {
        agent->state = ENG_AGENT_GONE;
        eng_hello_save(engine, agent);
        eng_task_take_back(engine, agent);
        eng_grant_forget(engine, agent);
        eng_event(engine, NULL, "agent.gone", agent->name, "silent for %u ms",
                  engine->config.lease_ms);
        log_warn("agent.gone", "name=%s", agent->name);
    }
}

void
eng_timer_expire(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->agents) {
        expire_agent(engine, PS_CONTAINER(at, struct eng_agent, link));
    }
}

static void
earlier(int64_t *next, int64_t at)
{
    if (at < *next) {
        *next = at;
    }
}

static void
look_at_agent(const struct engine *engine, const struct eng_agent *agent, int64_t *next)
{
    if (agent->parked) {
        earlier(next, agent->parked_until_ms);
    }
    for (size_t i = 0; agent->parked && i < agent->cancel_count; i++) {
        earlier(next, agent->cancels[i].told_ms + ENG_CANCEL_AGAIN_MS);
    }
    if (agent->state == ENG_AGENT_ONLINE) {
        earlier(next, agent->seen_mono_ms + engine->config.lease_ms);
    }
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&agent->leases) {
        earlier(next, PS_CONTAINER(at, struct eng_batch, lease_link)->lease_until_ms);
    }
}

static void
look_at_pipeline(struct engine *engine, struct eng_pipeline *p, int64_t *next)
{
    earlier(next, eng_pipeline_next_ms(engine, p));
    PS_LIST_FOR (at, &p->batches) {
        const struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, link);
        if (b->holder == NULL && b->retry_mono_ms > engine->now_ms) {
            earlier(next, b->retry_mono_ms);
        }
    }
    for (size_t i = 0; i < p->hot_count; i++) {
        if (p->hot[i].until_ms > engine->now_ms) {
            earlier(next, p->hot[i].until_ms);
        }
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
    PS_LIST_FOR (at, &engine->agents) {
        look_at_agent(engine, PS_CONTAINER(at, struct eng_agent, link), &next);
    }
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
