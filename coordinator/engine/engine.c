/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/engine.h"

#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include "common/alloc.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "coordinator/engine/eng.h"
#include "coordinator/engine/eng_command.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_people.h"
#include "coordinator/engine/eng_pipeline.h"
#include "coordinator/engine/eng_recover.h"
#include "coordinator/engine/eng_report.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_sync.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/engine/eng_timer.h"
#include "coordinator/engine/eng_wait.h"

/* Between looks whether the catalog can be written again; the first once more after a while. */
enum { RETRY_FIRST_MS = 50, RETRY_MOST_MS = 2000, HEALTHY_MS = 10000 };

struct inbox_item {
    struct ps_list link;
    bool is_command;
    struct engine_request request;
    struct engine_command command;
};

/* Why nobody gets an answer; static texts. */
struct refusal {
    const char *code;
    const char *text;
};
static const struct refusal ending = {"shutting_down", "the coordinator is shutting down"};
static const struct refusal disk_full = {
    "not_ready", "the catalog cannot be written: the disk below the coordinator's state is full"};
static const struct refusal disk_error = {
    "not_ready", "the catalog cannot be written: see the coordinator's log"};

/* ---- small things that all files use */
bool
eng_try(struct engine *engine, enum ps_status status)
{
    if (status != PS_OK && engine->fault_status == PS_OK) {
        engine->fault_status = status;
    }
    return status == PS_OK;
}

void
eng_set_text(const char **slot, const char *text)
{
    char *copy = ps_xstrdup(text); /* first: text may be *slot */
    ps_free((void *)(uintptr_t)*slot);
    *slot = copy;
}

void
eng_set_span(struct ps_span *slot, struct ps_span bytes)
{
    uint8_t *copy = NULL;
    if (bytes.len > 0) {
        copy = ps_xalloc(bytes.len);
        memcpy(copy, bytes.ptr, bytes.len);
    }
    ps_free((void *)(uintptr_t)slot->ptr);
    *slot = ps_span(copy, bytes.len);
}

struct ps_id
eng_new_id(struct engine *engine)
{
    uint8_t random[PS_ID_BYTES];
    engine->env.random(engine->env.ctx, random, sizeof random);
    return ps_id_make(engine->wall_ms, random);
}

uint64_t
eng_random(struct engine *engine)
{
    uint64_t random = 0;
    engine->env.random(engine->env.ctx, &random, sizeof random);
    return random;
}

void
eng_event(struct engine *engine, const struct eng_pipeline *p, const char *kind,
          const char *subject, const char *fmt, ...)
{
    char text[PS_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct cat_event row = {.at_ms = engine->wall_ms,
                            .pipeline = p == NULL ? NULL : p->row.name,
                            .kind = kind,
                            .subject = subject,
                            .text = text};
    ENG_TRY(engine, cat_event_add, &row);
}

struct cat_counts
eng_counts(const Penstock__Counts *counts)
{
    return (struct cat_counts){.decoded = counts->decoded,
                               .rejected = counts->rejected,
                               .filtered = counts->filtered,
                               .inserted = counts->inserted,
                               .updated = counts->updated,
                               .skipped = counts->skipped,
                               .rejected_at_load = counts->rejected_at_load,
                               .raw_bytes = counts->raw_bytes,
                               .unwrapped_bytes = counts->unwrapped_bytes};
}

/* ---- life */

/* All that the engine's thread alone uses, empty. */
static void
clear_memory(struct engine *engine)
{
    size_t from = offsetof(struct engine, now_ms);
    memset((char *)engine + from, 0, sizeof *engine - from);
    ps_list_init(&engine->agents);
    engine->agents_by_name = ps_map_new();
    ps_list_init(&engine->seen);
    ps_list_init(&engine->leases);
    ps_list_init(&engine->stirred);
    ps_list_init(&engine->unsaved);
    ps_list_init(&engine->hungry);
    ps_list_init(&engine->pipelines);
    ps_list_init(&engine->tasks);
    ps_list_init(&engine->waits);
    ps_list_init(&engine->replies);
    ps_list_init(&engine->answers);
    engine->batches = ps_map_new();
    engine->settled = ps_xcalloc(ENG_SETTLED_KEPT, sizeof *engine->settled);
    engine->settled_by_id = ps_map_new();
}

static enum ps_status
read_catalog(struct engine *engine, struct ps_error *err)
{
    engine->now_ms = engine->expected_ms = engine->env.mono_ms(engine->env.ctx);
    engine->wall_ms = engine->env.wall_ms(engine->env.ctx);
    return eng_recover(engine, err);
}

enum ps_status
engine_new(const struct engine_env *env, const struct engine_config *config, struct engine **out,
           struct ps_error *err)
{
    struct engine *engine = ps_xcalloc(1, sizeof *engine);
    engine->env = *env;
    engine->config = *config;
    pthread_mutex_init(&engine->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->wake, &attr);
    pthread_condattr_destroy(&attr);
    ps_list_init(&engine->inbox);
    clear_memory(engine);
    enum ps_status status = read_catalog(engine, err);
    if (status != PS_OK) {
        engine_free(engine);
        return status;
    }
    *out = engine;
    return PS_OK;
}

/* Whoever still waits learns that there will be no answer to wait for. */
static void
refuse_request(struct engine *engine, const struct engine_request *request)
{
    if (request->type == MSG_HELLO) {
        Penstock__HelloReply *reply = ENG_NEW(Penstock__HelloReply, PENSTOCK__HELLO_REPLY__INIT);
        reply->answer = PENSTOCK__ANSWER__ANSWER_NOT_READY;
        eng_out_reply(engine, request, MSG_HELLO_REPLY, &reply->base);
    } else if (request->type == MSG_SYNC) {
        Penstock__SyncReply *reply = ENG_NEW(Penstock__SyncReply, PENSTOCK__SYNC_REPLY__INIT);
        reply->answer = PENSTOCK__ANSWER__ANSWER_NOT_READY;
        eng_out_reply(engine, request, MSG_SYNC_REPLY, &reply->base);
    } else {
        eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_NOT_READY, NULL);
    }
}

/* What was decided and not committed is told to nobody. */
static void
refuse_outbox(struct engine *engine, const struct refusal *why)
{
    struct ps_list undecided;
    ps_list_init(&undecided);
    struct ps_list *at = NULL;
    while ((at = ps_list_take_front(&engine->replies)) != NULL) {
        ps_list_push_back(&undecided, at);
    }
    while ((at = ps_list_take_front(&undecided)) != NULL) {
        struct eng_reply *reply = PS_CONTAINER(at, struct eng_reply, link);
        refuse_request(engine, &reply->request);
        msg_free(reply->message);
        ps_free(reply);
    }
    PS_LIST_FOR (answer, &engine->answers) {
        eng_people_refuse(PS_CONTAINER(answer, struct eng_answer, link), why->code, why->text);
    }
}

static struct ps_list *
take_item(struct engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    struct ps_list *at = ps_list_take_front(&engine->inbox);
    pthread_mutex_unlock(&engine->mutex);
    return at;
}

static void
refuse_inbox(struct engine *engine, const struct refusal *why)
{
    struct ps_list *at = NULL;
    while ((at = take_item(engine)) != NULL) {
        struct inbox_item *item = PS_CONTAINER(at, struct inbox_item, link);
        if (item->is_command) {
            eng_people_fail(engine, &item->command, PS_AGAIN, why->code, "%s", why->text);
        } else {
            refuse_request(engine, &item->request);
            msg_free(item->request.message);
        }
        ps_free(item);
    }
    eng_out_send_all(engine);
    eng_people_send_all(engine);
}

/* Answers all that waits and forgets all that was read from the catalog. */
static void
forget(struct engine *engine, const struct refusal *why)
{
    refuse_outbox(engine, why);
    PS_LIST_FOR (at, &engine->agents) {
        eng_sync_unpark(engine, PS_CONTAINER(at, struct eng_agent, link),
                        PENSTOCK__ANSWER__ANSWER_NOT_READY);
    }
    eng_wait_refuse_all(engine, why->code, why->text);
    refuse_inbox(engine, why);
    PS_LIST_FOR (at, &engine->pipelines) {
        eng_store_drop_pipeline(engine, PS_CONTAINER(at, struct eng_pipeline, link));
    }
    PS_LIST_FOR (at, &engine->agents) {
        eng_hello_free(PS_CONTAINER(at, struct eng_agent, link));
    }
    ps_heap_fini(&engine->parked);
    ps_map_free(engine->agents_by_name);
    ps_map_free(engine->batches);
    ps_map_free(engine->settled_by_id);
    ps_free(engine->settled);
}

void
engine_free(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    forget(engine, &ending);
    pthread_cond_destroy(&engine->wake);
    pthread_mutex_destroy(&engine->mutex);
    ps_free(engine);
}

/* ---- inbox */
static void
submit(struct engine *engine, struct inbox_item *item)
{
    pthread_mutex_lock(&engine->mutex);
    ps_list_push_back(&engine->inbox, &item->link);
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->mutex);
}

void
engine_submit_request(struct engine *engine, const struct engine_request *request)
{
    struct inbox_item *item = ps_xcalloc(1, sizeof *item);
    item->request = *request;
    submit(engine, item);
}

void
engine_submit_command(struct engine *engine, const struct engine_command *command)
{
    struct inbox_item *item = ps_xcalloc(1, sizeof *item);
    item->is_command = true;
    item->command = *command;
    submit(engine, item);
}

static void
dispatch(struct engine *engine, struct engine_request *request)
{
    ProtobufCMessage *message = request->message;
    request->message = NULL;
    switch ((int)request->type) {
    case MSG_HELLO:
        eng_hello(engine, request, (const Penstock__Hello *)(void *)message);
        break;
    case MSG_SYNC:
        eng_sync(engine, request, (Penstock__Sync *)(void *)message);
        message = NULL; /* kept */
        break;
    case MSG_DISCOVERED:
        eng_task_discovered(engine, request, (const Penstock__Discovered *)(void *)message);
        break;
    case MSG_TASK_RESULT:
        eng_task_result(engine, request, (const Penstock__TaskResult *)(void *)message);
        break;
    case MSG_DONE:
        eng_report_done(engine, request, (const Penstock__Done *)(void *)message);
        break;
    case MSG_FAILED:
        eng_report_failed(engine, request, (const Penstock__Failed *)(void *)message);
        break;
    default:
        eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_REFUSED,
                       "no message of an agent to its coordinator");
        break;
    }
    msg_free(message);
}

static void
drain_inbox(struct engine *engine)
{
    struct ps_list taken;
    struct ps_list *at = NULL;
    ps_list_init(&taken);
    pthread_mutex_lock(&engine->mutex);
    ps_list_move(&taken, &engine->inbox);
    pthread_mutex_unlock(&engine->mutex);
    while ((at = ps_list_take_front(&taken)) != NULL) {
        struct inbox_item *item = PS_CONTAINER(at, struct inbox_item, link);
        if (engine->fault_status != PS_OK) { /* answered by engine_free */
            ps_list_push_back(&engine->inbox, &item->link);
            continue;
        }
        if (item->is_command) {
            eng_command(engine, &item->command);
        } else {
            dispatch(engine, &item->request);
        }
        ps_free(item);
    }
}

/* ---- turns */
static void
decide(struct engine *engine)
{
    eng_timer_notice_stall(engine);
    drain_inbox(engine);
    eng_timer_expire(engine);
    eng_pipeline_step_all(engine);
    eng_sync_answer_all(engine);
    eng_store_save_batches(engine);
    eng_store_save_pipelines(engine);
    eng_wait_step_all(engine);
}

enum ps_status
engine_turn(struct engine *engine, int64_t *out_next_mono_ms, struct ps_error *err)
{
    engine->now_ms = engine->env.mono_ms(engine->env.ctx);
    engine->wall_ms = engine->env.wall_ms(engine->env.ctx);
    decide(engine);
    if (PS_FAILPOINT("engine.before_commit")) {
        eng_try(engine, ps_fail(&engine->fault, PS_AGAIN, "failpoint engine.before_commit"));
    }
    if (engine->fault_status == PS_OK) {
        eng_try(engine, catalog_commit(engine->env.catalog, &engine->fault));
    }
    if (engine->fault_status != PS_OK) {
        *err = engine->fault;
        return ps_wrap(err, engine->fault_status, "engine");
    }
    if (PS_FAILPOINT("engine.after_commit")) {
        return ps_fail(err, PS_AGAIN, "failpoint engine.after_commit");
    }
    eng_out_send_all(engine);
    eng_people_send_all(engine);
    *out_next_mono_ms = engine->expected_ms = eng_timer_next_ms(engine);
    return PS_OK;
}

/* A failure of the catalog that may be over when it is tried again. */
static bool
is_passing(enum ps_status status)
{
    return status == PS_AGAIN || status == PS_FULL;
}

/* False: engine_stop was called. */
static bool
wait_for_work(struct engine *engine, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_mutex_lock(&engine->mutex);
    while (ps_list_empty(&engine->inbox) && !engine->stopping) {
        if (pthread_cond_timedwait(&engine->wake, &engine->mutex, &until) != 0) {
            break;
        }
    }
    bool go_on = !engine->stopping;
    pthread_mutex_unlock(&engine->mutex);
    return go_on;
}

static void
say_ready(struct engine *engine, const char *why_not)
{
    if (engine->env.say_ready != NULL) {
        engine->env.say_ready(engine->env.ctx, why_not);
    }
}

/* Memory is ahead of the file, so all of it is read anew, as a restart of the process would; but
 * people and agents are told meanwhile why they wait. *out_stopped: engine_stop came first. */
static enum ps_status
start_over(struct engine *engine, int64_t *wait_ms, bool *out_stopped, struct ps_error *err)
{
    const struct refusal *why = strcmp(err->code, "sqlite_full") == 0 ? &disk_full : &disk_error;
    enum ps_status status = PS_OK;
    say_ready(engine, why->text);
    do {
        log_error("catalog.failed", "retry_ms=%lld error=\"%s\"", (long long)*wait_ms, err->text);
        forget(engine, why);
        clear_memory(engine);
        int64_t until_ms = engine->env.mono_ms(engine->env.ctx) + *wait_ms;
        while (engine->env.mono_ms(engine->env.ctx) < until_ms) {
            if (!wait_for_work(engine, until_ms)) {
                *out_stopped = true;
                return PS_OK;
            }
            refuse_inbox(engine, why);
        }
        *wait_ms = *wait_ms * 2 < RETRY_MOST_MS ? *wait_ms * 2 : RETRY_MOST_MS;
        status = catalog_restart(engine->env.catalog, err);
        if (status == PS_OK) {
            status = read_catalog(engine, err);
        }
    } while (is_passing(status));
    if (status == PS_OK) {
        log_info("catalog.recovered", "cluster_epoch=%llu",
                 (unsigned long long)catalog_stamp(engine->env.catalog).cluster_epoch);
        say_ready(engine, NULL);
    }
    return status;
}

enum ps_status
engine_run(struct engine *engine, struct ps_error *err)
{
    int64_t next_ms = 0;
    int64_t wait_ms = RETRY_FIRST_MS;
    int64_t healthy_from_ms = 0;
    bool stopped = false;
    do {
        enum ps_status status = engine_turn(engine, &next_ms, err);
        if (is_passing(status)) {
            if (engine->now_ms - healthy_from_ms > HEALTHY_MS) {
                wait_ms = RETRY_FIRST_MS;
            }
            status = start_over(engine, &wait_ms, &stopped, err);
            next_ms = healthy_from_ms = engine->now_ms;
        }
        if (status != PS_OK || stopped) {
            return status;
        }
    } while (wait_for_work(engine, next_ms));
    return PS_OK;
}

void
engine_stop(struct engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->stopping = true;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->mutex);
}
