/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_task.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"
#include "coordinator/engine/eng_grant.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_replay.h"
#include "coordinator/engine/eng_sync.h"
#include "coordinator/engine/eng_wait.h"
#include "coordinator/sched/sched.h"

struct eng_task *
eng_task_add(struct engine *engine, struct eng_pipeline *p, Penstock__TaskKind kind)
{
    struct eng_task *task = ps_xcalloc(1, sizeof *task);
    task->id.id = eng_new_id(engine);
    task->kind = kind;
    task->pipeline = p;
    ps_list_push_back(&engine->tasks, &task->link);
    return task;
}

struct eng_task *
eng_task_find(struct engine *engine, struct eng_pipeline *p, Penstock__TaskKind kind)
{
    PS_LIST_FOR (at, &engine->tasks) {
        struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (task->pipeline == p && task->kind == kind && task->wait == NULL) {
            return task;
        }
    }
    return NULL;
}

void
eng_task_end(struct engine *engine, struct eng_task *task)
{
    (void)engine;
    ps_list_remove(&task->link);
    eng_set_span(&task->cursor, ps_span(NULL, 0));
    eng_set_span(&task->filter, ps_span(NULL, 0));
    for (size_t i = 0; i < task->object_count; i++) {
        msg_free(&task->objects[i]->base);
    }
    ps_free(task->objects);
    for (size_t i = 0; i < task->column_count; i++) {
        msg_free(&task->columns[i]->base);
    }
    ps_free(task->columns);
    ps_free(task);
}

void
eng_task_end_all(struct engine *engine, struct eng_pipeline *p)
{
    PS_LIST_FOR (at, &engine->tasks) {
        struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (task->pipeline == p && task->wait == NULL) {
            eng_task_end(engine, task);
        }
    }
}

void
eng_task_take_back(struct engine *engine, struct eng_agent *agent)
{
    PS_LIST_FOR (at, &engine->tasks) {
        struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (task->holder == agent) {
            task->holder = NULL;
            task->resend = false;
        }
    }
}

static struct eng_task *
find_by_id(struct ps_list *tasks, struct ps_span id)
{
    PS_LIST_FOR (at, tasks) {
        struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (ps_span_eq(ps_span(task->id.id.b, PS_ID_BYTES), id)) {
            return task;
        }
    }
    return NULL;
}

void
eng_task_take_held(struct eng_agent *agent, const Penstock__Sync *sync, struct ps_list *tasks)
{
    for (size_t i = 0; i < sync->n_tasks; i++) {
        struct eng_task *task = find_by_id(tasks, eng_span(sync->tasks[i]->task_id));
        if (task != NULL && task->holder == agent && task->epoch == sync->tasks[i]->epoch) {
            task->listed_seq = agent->sync_seq;
            task->resend = false;
        }
    }
    PS_LIST_FOR (at, tasks) {
        struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (task->holder == agent && task->listed_seq != agent->sync_seq) {
            task->resend = true;
            agent->want_tasks -= agent->want_tasks > 0 ? 1 : 0;
        }
    }
}

/* Tasks that it lists and that are no longer its own. They make no answer by themselves: the next
 * page or chunk is answered STALE. */
static void
add_cancels(struct engine *engine, struct eng_agent *agent)
{
    for (size_t i = 0; agent->answer != NULL && i < agent->sync->n_tasks; i++) {
        const Penstock__HeldTask *held = agent->sync->tasks[i];
        struct eng_task *task = find_by_id(&engine->tasks, eng_span(held->task_id));
        if (task == NULL || task->holder != agent || task->epoch != held->epoch) {
            ENG_PUSH(agent->answer->cancel_tasks, agent->answer->n_cancel_tasks,
                     eng_out_bytes(eng_span(held->task_id)));
        }
    }
}

bool
eng_task_any_free(const struct engine *engine)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&engine->tasks) {
        const struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (task->holder == NULL && task->not_before_ms <= engine->now_ms) {
            return true;
        }
    }
    return false;
}

/* A replay carries its rows: another goes with the next answer. */
static bool
has_room(const struct eng_agent *agent, const struct eng_task *task)
{
    return agent->answer == NULL || agent->answer_bytes < ENG_REPLY_BYTES / 8 ||
           eng_replay_bytes(task) == 0;
}

void
eng_task_add_orders(struct engine *engine, struct eng_agent *agent)
{
    PS_ASSERT(agent != NULL);
    PS_LIST_FOR (at, &engine->tasks) {
        struct eng_task *task = PS_CONTAINER(at, struct eng_task, link);
        if (task->holder == agent && task->resend && has_room(agent, task)) {
            eng_sync_add_task(engine, agent, task);
        } else if (task->holder == NULL && agent->want_tasks > 0 && !agent->draining &&
                   task->not_before_ms <= engine->now_ms && has_room(agent, task) &&
                   eng_grant_sees(engine, task->pipeline, agent)) {
            task->holder = agent;
            task->epoch++;
            task->next_chunk = 0;
            task->loads = task->pipeline->loads;
            task->listed_seq = agent->sync_seq;
            agent->want_tasks--;
            if (task->epoch > 1 && task->wait != NULL) {
                eng_wait_begin_anew(task);
            }
            eng_sync_add_task(engine, agent, task);
        }
    }
    add_cancels(engine, agent);
}

/* ---- the message */
Penstock__Task *
eng_task_message(struct engine *engine, const struct eng_task *task)
{
    struct eng_pipeline *p = task->pipeline;
    Penstock__Task *out = ENG_NEW(Penstock__Task, PENSTOCK__TASK__INIT);
    out->task_id = eng_out_id(&task->id.id);
    out->epoch = task->epoch;
    out->kind = task->kind;
    out->pipeline_uuid = eng_out_id(&p->row.uuid.id);
    out->generation = p->row.generation;
    out->spec_rev = p->row.spec_rev;
    bool discovers = task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER && task->wait == NULL;
    struct ps_span cursor = discovers ? p->row.discover_cursor : task->cursor;
    out->has_cursor = cursor.len > 0;
    out->cursor = eng_out_bytes(cursor);
    out->has_limit = task->limit > 0;
    out->limit = task->limit;
    out->has_filter = task->filter.len > 0;
    out->filter = eng_out_bytes(task->filter);
    out->replay = eng_replay_order(engine, task);
    if (out->replay != NULL) {
        struct cat_stamp stamp = catalog_stamp(engine->env.catalog);
        out->stamp = ENG_NEW(Penstock__Stamp, PENSTOCK__STAMP__INIT);
        out->stamp->cluster_epoch = stamp.cluster_epoch;
        out->stamp->commit_seq = stamp.commit_seq;
    }
    if (task->wait != NULL && task->wait->command.rejects != NULL) {
        out->rejects = eng_out_copy(&task->wait->command.rejects->base);
    }
    for (size_t i = 0; i < task->object_count; i++) {
        ENG_PUSH(out->objects, out->n_objects, eng_out_object(task->objects[i]));
    }
    for (size_t i = 0; i < task->column_count; i++) {
        ENG_PUSH(out->columns, out->n_columns, eng_out_column(task->columns[i]));
    }
    return out;
}

static bool
push_object(void *ctx, const struct cat_object *row)
{
    struct eng_task *task = ctx;
    Penstock__ObjectRef *ref = ENG_NEW(Penstock__ObjectRef, PENSTOCK__OBJECT_REF__INIT);
    ref->key = eng_out_bytes(row->key);
    ref->version = eng_out_bytes(row->version);
    ref->has_size_bytes = true;
    ref->size_bytes = row->size_bytes;
    ref->has_compressed = true;
    ref->compressed = row->compressed;
    ENG_PUSH(task->objects, task->object_count, ref);
    return true;
}

void
eng_task_set_objects(struct engine *engine, struct eng_task *task)
{
    struct cat_object_page page = eng_page(task->pipeline, ENG_PREPARE_OBJECTS);
    ENG_TRY(engine, cat_object_first, &page, push_object, task);
}

/* ---- reports */
/* NULL when it was answered: unknown agent, old epoch. */
static struct eng_task *
judge(struct engine *engine, const struct engine_request *request, const Penstock__Origin *origin,
      struct ps_span task_id, uint64_t epoch)
{
    struct eng_agent *agent = NULL;
    enum eng_who who = eng_hello_who(engine, origin, &agent);
    if (who != ENG_WHO_OK) {
        eng_out_report(engine, request,
                       who == ENG_WHO_STALE ? PENSTOCK__ANSWER__ANSWER_STALE
                                            : PENSTOCK__ANSWER__ANSWER_UNKNOWN,
                       NULL);
        return NULL;
    }
    struct eng_task *task = find_by_id(&engine->tasks, task_id);
    if (task == NULL || task->holder != agent || task->epoch != epoch) {
        eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_STALE,
                       "no such task at this epoch");
        return NULL;
    }
    return task;
}

void
eng_task_discovered(struct engine *engine, const struct engine_request *request,
                    const Penstock__Discovered *page)
{
    struct eng_task *task =
        judge(engine, request, page->origin, eng_span(page->task_id), page->epoch);
    if (task == NULL) {
        return;
    }
    if (task->wait != NULL) { /* for a sample: its first objects are enough */
        bool more = eng_wait_sampled(engine, task, page);
        eng_out_report(engine, request,
                       more ? PENSTOCK__ANSWER__ANSWER_OK : PENSTOCK__ANSWER__ANSWER_STALE, NULL);
        return;
    }
    struct eng_pipeline *p = task->pipeline;
    for (size_t i = 0; i < page->n_objects; i++) {
        eng_discover_object(engine, p, page->objects[i]);
    }
    task->attempts = 0;
    /* Only the first look is durable: one that comes again and finds nothing writes nothing. */
    bool first_look = !p->row.discovery_complete;
    if (first_look) {
        eng_set_span(&p->row.discover_cursor,
                     page->last ? ps_span(NULL, 0) : eng_span(page->cursor));
        p->row.discovery_complete = page->last;
        p->dirty = true;
    }
    if (page->last) {
        p->next_discover_ms = engine->now_ms + p->limits.interval_ms;
        eng_task_end(engine, task);
    }
    if (page->last && first_look) {
        eng_event(engine, p, "discovery.completed", p->row.name, "%llu objects",
                  (unsigned long long)p->row.objects);
    }
    eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_OK, NULL);
}

/* ---- failures */
static const char *
failure_class(const struct eng_task *task, const char *code)
{
    static const char *const of_source[] = {
        "source",        "object",   "unwrap", "decode",     "infer",
        "file",          "csv",      "gzip",   "zstd",       "compression",
        "outside_roots", "too_deep", "bad_",   "no_columns", "column_type",
    };
    if (strncmp(code, "spec", 4) == 0) {
        return "spec";
    }
    if (task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
        return "source";
    }
    for (size_t i = 0; i < sizeof of_source / sizeof of_source[0]; i++) {
        if (strncmp(code, of_source[i], strlen(of_source[i])) == 0) {
            return "source";
        }
    }
    return "destination";
}

static void
fail(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *result)
{
    struct eng_pipeline *p = task->pipeline;
    struct eng_agent *agent = task->holder;
    const char *code = result->code == NULL ? "failed" : result->code;
    const char *text = result->text == NULL ? "" : result->text;
    Penstock__FailClass class =
        result->has_fail_class ? result->fail_class : PENSTOCK__FAIL_CLASS__FAIL_PERMANENT;
    bool again = class == PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL;
    bool counts = class == PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT ||
                  class == PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED;
    task->holder = NULL;
    if (class == PENSTOCK__FAIL_CLASS__FAIL_NOT_VISIBLE) {
        eng_grant_unseen(engine, p, agent, text);
        again = true;
    }
    if (counts && task->attempts < p->limits.max_retries) {
        task->attempts++;
        task->not_before_ms = engine->now_ms + sched_backoff_ms(task->attempts, eng_random(engine));
        again = true;
    }
    if (again) {
        return;
    }
    log_warn("task.failed", "pipeline=%s kind=%d code=%s text=\"%s\"", p->row.name, (int)task->kind,
             code, text);
    if (task->wait != NULL) {
        eng_wait_failed(engine, task, code, text);
        return;
    }
    if (task->kind == PENSTOCK__TASK_KIND__TASK_RECONCILE) {
        (void)eng_reconcile_failed(engine, p, code, text);
    }
    eng_set_text(&p->row.failure_class, failure_class(task, code));
    char *reason = ps_xasprintf("%s: %s", code, text);
    if (!eng_store_move_pipeline(engine, p, PIPELINE_ON_FAIL, reason)) { /* it ends the task */
        eng_task_end(engine, task);
    }
    ps_free(reason);
}

void
eng_task_result(struct engine *engine, const struct engine_request *request,
                const Penstock__TaskResult *result)
{
    struct eng_task *task =
        judge(engine, request, result->origin, eng_span(result->task_id), result->epoch);
    if (task == NULL) {
        return;
    }
    if (result->chunk != task->next_chunk) {
        bool repeat = result->chunk < task->next_chunk;
        eng_out_report(engine, request,
                       repeat ? PENSTOCK__ANSWER__ANSWER_OK : PENSTOCK__ANSWER__ANSWER_REFUSED,
                       repeat ? NULL : "a chunk is missing");
        return;
    }
    if (!result->ok) {
        fail(engine, task, result);
        eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_OK, NULL);
        return;
    }
    task->next_chunk++;
    bool go_on = eng_result_chunk(engine, task, result);
    eng_out_report(engine, request,
                   go_on ? PENSTOCK__ANSWER__ANSWER_OK : PENSTOCK__ANSWER__ANSWER_STALE, NULL);
}
