/* SPDX-License-Identifier: Apache-2.0 */
/* The engine by hand: single messages and commands, virtual time, a catalog in memory. What follows
 * from many of them is in tests/sim. */
#include "coordinator/engine/engine.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/ids.h"
#include "common/log.h"
#include "coordinator/catalog/catalog.h"

static int64_t now_ms;
static struct catalog *catalog;
static struct engine *engine;
static struct ps_error err;
static uint8_t counter;
static const char *ready_text;

/* The latest answers. */
static struct {
    size_t count;
    enum ps_status status;
    char code[40];
    char text[400];
    char state[40];
    char reason[400];
    uint64_t revision;
    uint64_t generation;
    uint64_t objects;
    uint64_t objects_quarantined;
    bool created;
    size_t errors;
    size_t agents;
} answer;
static struct {
    size_t count;
    enum msg_type type;
    ProtobufCMessage *message;
} reply;

static int64_t
clock_ms(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static void
random_bytes(void *ctx, void *out, size_t bytes)
{
    (void)ctx;
    memset(out, ++counter, bytes);
}

static void
say_ready(void *ctx, const char *why_not)
{
    (void)ctx;
    ready_text = why_not;
}

static void
open_engine(void)
{
    struct engine_env env = {.mono_ms = clock_ms,
                             .wall_ms = clock_ms,
                             .random = random_bytes,
                             .say_ready = say_ready,
                             .catalog = catalog};
    struct engine_config config = {
        .heartbeat_ms = 3000, .lease_ms = 15000, .self_stop_ms = 10000, .leaf_silence_ms = 5000};
    cr_assert_eq(engine_new(&env, &config, &engine, &err), PS_OK, "%s", err.text);
}

static void
begin(void)
{
    log_setup("test", LOG_OFF, LOG_TEXT);
    now_ms = 1000000;
    cr_assert_eq(catalog_open(":memory:", &catalog, &err), PS_OK, "%s", err.text);
    open_engine();
}

static void
finish(void)
{
    engine_free(engine);
    catalog_close(catalog);
    msg_free(reply.message);
}

TestSuite(engine, .init = begin, .fini = finish);

static int64_t
turn(void)
{
    int64_t next_ms = 0;
    cr_assert_eq(engine_turn(engine, &next_ms, &err), PS_OK, "%s", err.text);
    return next_ms;
}

/* ---- people */
static void
take_answer(void *ctx, const struct command_result *result)
{
    (void)ctx;
    size_t count = answer.count + 1;
    memset(&answer, 0, sizeof answer);
    answer.count = count;
    answer.status = result->status;
    answer.created = result->created;
    answer.errors = result->error_count;
    answer.agents = result->agent_count;
    snprintf(answer.code, sizeof answer.code, "%s", result->code == NULL ? "" : result->code);
    snprintf(answer.text, sizeof answer.text, "%s", result->text == NULL ? "" : result->text);
    if (result->pipeline != NULL) {
        const char *reason = result->pipeline->reason;
        snprintf(answer.state, sizeof answer.state, "%s", result->pipeline->state);
        snprintf(answer.reason, sizeof answer.reason, "%s", reason == NULL ? "" : reason);
        answer.revision = result->pipeline->revision;
        answer.generation = result->pipeline->generation;
        answer.objects = result->pipeline->totals->objects;
        answer.objects_quarantined = result->pipeline->totals->objects_quarantined;
    }
}

static void
submit(enum command_kind kind, const char *spec_json, uint64_t revision, uint32_t wait_ms)
{
    struct engine_command command = {.kind = kind,
                                     .name = ps_xstrdup("p"),
                                     .spec_json = ps_xstrdup(spec_json),
                                     .revision = revision,
                                     .wait_ms = wait_ms,
                                     .reply = take_answer};
    engine_submit_command(engine, &command);
    (void)turn();
}

static const char good[] = "{\"name\":\"p\",\"source\":{\"url\":\"file:/d/*.csv\"},"
                           "\"destination\":{\"url\":\"sqlite:/d/x.db\",\"table\":\"t\"}}";

static void
look(void)
{
    submit(COMMAND_WATCH, NULL, 0, 0);
}

Test(engine, put_makes_and_replaces)
{
    submit(COMMAND_PUT, good, 0, 0);
    cr_assert(answer.created);
    cr_assert_str_eq(answer.state, "created");
    uint64_t revision = answer.revision;
    submit(COMMAND_PUT, good, 0, 0);
    cr_assert(!answer.created && answer.revision == revision, "the same again changes nothing");
    submit(COMMAND_PUT, good, revision + 1, 0);
    cr_assert_str_eq(answer.code, "revision_mismatch");
}

Test(engine, put_of_a_wrong_spec_names_all_errors)
{
    submit(COMMAND_PUT, "{\"name\":\"p\",\"sauce\":{},\"destination\":{\"url\":\"ftp:x\"}}", 0, 0);
    cr_assert_str_eq(answer.code, "invalid_spec");
    cr_assert_gt(answer.errors, 1);
    submit(COMMAND_PUT, "{", 0, 0);
    cr_assert_str_eq(answer.code, "invalid_spec");
    submit(COMMAND_PUT, NULL, 0, 0);
    cr_assert_str_eq(answer.code, "invalid_spec");
}

Test(engine, nothing_is_known_of_an_unknown_pipeline)
{
    const enum command_kind kinds[] = {COMMAND_START, COMMAND_STOP,   COMMAND_DELETE,
                                       COMMAND_WATCH, COMMAND_SAMPLE, COMMAND_REJECTS};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        submit(kinds[i], NULL, 0, 0);
        cr_assert_str_eq(answer.code, "not_found");
    }
}

Test(engine, a_started_pipeline_waits_for_an_agent_and_can_be_stopped)
{
    submit(COMMAND_PUT, good, 0, 0);
    submit(COMMAND_START, NULL, 0, 0);
    cr_assert_str_eq(answer.state, "preparing");
    look();
    cr_assert_str_eq(answer.reason, "waits for an agent");
    submit(COMMAND_DELETE, NULL, 0, 0);
    cr_assert_str_eq(answer.code, "pipeline_active");
    submit(COMMAND_STOP, NULL, 0, 0);
    look();
    cr_assert_str_eq(answer.state, "stopped");
    submit(COMMAND_DELETE, NULL, 0, 0);
    cr_assert_eq(answer.status, PS_OK);
    look();
    cr_assert_str_eq(answer.code, "not_found");
}

Test(engine, a_watch_waits_for_a_change)
{
    submit(COMMAND_PUT, good, 0, 0);
    uint64_t revision = answer.revision;
    size_t count = answer.count;
    submit(COMMAND_WATCH, NULL, revision, 5000);
    cr_assert_eq(answer.count, count, "nothing has changed");
    submit(COMMAND_START, NULL, 0, 0);
    cr_assert_eq(answer.count, count + 2);
    cr_assert_gt(answer.revision, revision);
    revision = answer.revision;
    count = answer.count;
    submit(COMMAND_WATCH, NULL, revision + 1000, 5000);
    now_ms += 5000;
    (void)turn();
    cr_assert_eq(answer.count, count + 1, "its time is up");
}

Test(engine, a_sample_without_an_agent_is_refused_in_time)
{
    submit(COMMAND_PUT, good, 0, 0);
    size_t count = answer.count;
    submit(COMMAND_SAMPLE, NULL, 0, 0);
    cr_assert_eq(answer.count, count);
    now_ms += 5000;
    (void)turn();
    cr_assert_eq(answer.count, count + 1);
    cr_assert_str_eq(answer.code, "no_agent");
}

Test(engine, whoever_waits_is_answered_at_the_end)
{
    submit(COMMAND_PUT, good, 0, 0);
    size_t count = answer.count;
    submit(COMMAND_WATCH, NULL, 1000, 60000);
    engine_free(engine);
    engine = NULL;
    cr_assert_eq(answer.count, count + 1);
    cr_assert_str_eq(answer.code, "shutting_down");
}

Test(engine, pipelines_come_back_after_a_restart)
{
    submit(COMMAND_PUT, good, 0, 0);
    submit(COMMAND_START, NULL, 0, 0);
    engine_free(engine);
    open_engine();
    look();
    cr_assert_str_eq(answer.state, "preparing");
}

/* ---- an agent */
static uint8_t life[PS_ID_BYTES] = {1};
static uint64_t seq;
static Penstock__Stamp seen = PENSTOCK__STAMP__INIT;

static void
take_reply(void *ctx, enum msg_type type, const ProtobufCMessage *message)
{
    (void)ctx;
    struct ps_buf frame = PS_BUF_INIT;
    msg_free(reply.message);
    reply.count++;
    cr_assert_eq(frame_append(&frame, type, message, &err), PS_OK, "%s", err.text);
    cr_assert_eq(frame_unpack(ps_buf_span(&frame), &reply.type, &reply.message, &err), PS_OK);
    ps_buf_fini(&frame);
}

static Penstock__Origin *
origin(void)
{
    static Penstock__Origin out;
    out = (Penstock__Origin)PENSTOCK__ORIGIN__INIT;
    out.agent = (char *)(uintptr_t) "a";
    out.incarnation = proto_bytes(life, sizeof life);
    out.seq = ++seq;
    out.seen = &seen;
    return &out;
}

static void
send(enum msg_type type, const ProtobufCMessage *message)
{
    struct ps_buf frame = PS_BUF_INIT;
    struct engine_request request = {.reply = take_reply};
    cr_assert_eq(frame_append(&frame, type, message, &err), PS_OK, "%s", err.text);
    cr_assert_eq(frame_unpack(ps_buf_span(&frame), &request.type, &request.message, &err), PS_OK);
    ps_buf_fini(&frame);
    engine_submit_request(engine, &request);
    (void)turn();
}

static Penstock__Answer
hello(void)
{
    Penstock__Hello message = PENSTOCK__HELLO__INIT;
    message.origin = origin();
    message.protocol_min = message.protocol_max = 1;
    message.version = (char *)(uintptr_t) "test";
    message.leaves = 1;
    message.host_token = proto_bytes("h", 1);
    send(MSG_HELLO, &message.base);
    return ((Penstock__HelloReply *)(void *)reply.message)->answer;
}

/* NULL: it is parked. */
static Penstock__SyncReply *
sync(uint32_t wait_ms, uint32_t want, uint32_t want_tasks)
{
    Penstock__Sync message = PENSTOCK__SYNC__INIT;
    Penstock__Want wants = PENSTOCK__WANT__INIT;
    Penstock__Want *wants_at[] = {&wants};
    size_t count = reply.count;
    wants.batches = want;
    message.origin = origin();
    message.wants = wants_at;
    message.n_wants = 1;
    message.has_want_tasks = message.has_wait_ms = true;
    message.want_tasks = want_tasks;
    message.wait_ms = wait_ms;
    send(MSG_SYNC, &message.base);
    return reply.count == count ? NULL : (Penstock__SyncReply *)(void *)reply.message;
}

Test(engine, an_agent_says_hello_first)
{
    Penstock__SyncReply *answer_to_sync = sync(0, 0, 0);
    cr_assert_eq(answer_to_sync->answer, PENSTOCK__ANSWER__ANSWER_UNKNOWN);
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK, "again is fine");
    cr_assert_eq(sync(0, 0, 0)->answer, PENSTOCK__ANSWER__ANSWER_OK);
    submit(COMMAND_AGENTS, NULL, 0, 0);
    cr_assert_eq(answer.agents, 1);
}

Test(engine, an_older_life_is_stale)
{
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    life[0] = 2;
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    life[0] = 1;
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_STALE);
    cr_assert_eq(sync(0, 0, 0)->answer, PENSTOCK__ANSWER__ANSWER_STALE);
    life[0] = 2;
    cr_assert_eq(sync(0, 0, 0)->answer, PENSTOCK__ANSWER__ANSWER_OK);
}

Test(engine, a_parked_sync_is_answered_by_work_by_time_and_by_a_newer_one)
{
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_null(sync(3000, 1, 1));
    size_t count = reply.count;
    (void)sync(3000, 1, 1);
    cr_assert_eq(reply.count, count + 1, "the older one, and only that");
    now_ms += 3000;
    (void)turn();
    cr_assert_eq(reply.count, count + 2);
    submit(COMMAND_PUT, good, 0, 0);
    count = reply.count;
    (void)sync(3000, 1, 1);
    cr_assert_eq(reply.count, count);
    submit(COMMAND_START, NULL, 0, 0);
    cr_assert_eq(reply.count, count + 1, "in the turn that made the work");
    Penstock__SyncReply *orders = (Penstock__SyncReply *)(void *)reply.message;
    cr_assert_eq(orders->n_tasks, 1);
    cr_assert_eq(orders->tasks[0]->kind, PENSTOCK__TASK_KIND__TASK_RECONCILE);
    cr_assert_eq(orders->n_specs, 1);
}

/* A heartbeat makes no transaction, and so no fsync. */
Test(engine, syncs_write_nothing)
{
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    uint64_t before = catalog_stamp(catalog).commit_seq;
    for (int i = 0; i < 100; i++) {
        now_ms += 100;
        (void)sync(0, 1, 1);
    }
    cr_assert_eq(catalog_stamp(catalog).commit_seq, before);
}

Test(engine, an_old_catalog_reads_its_ledgers_again)
{
    submit(COMMAND_PUT, good, 0, 0);
    submit(COMMAND_START, NULL, 0, 0);
    seen.cluster_epoch = 50;
    seen.commit_seq = 9000;
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    const Penstock__HelloReply *to_hello = (const Penstock__HelloReply *)(void *)reply.message;
    cr_assert_gt(to_hello->stamp->cluster_epoch, 50);
    cr_assert_gt(to_hello->stamp->commit_seq, 9000);
    cr_assert_not_null(ready_text);
    Penstock__SyncReply *orders = sync(0, 1, 1);
    cr_assert_eq(orders->n_tasks, 1);
    cr_assert_eq(orders->tasks[0]->kind, PENSTOCK__TASK_KIND__TASK_RECONCILE);
}

Test(engine, reports_of_what_nobody_knows_are_stale)
{
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    Penstock__Done done = PENSTOCK__DONE__INIT;
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    uint8_t id[PS_ID_BYTES] = {9};
    done.origin = origin();
    done.batch_id = proto_bytes(id, sizeof id);
    done.counts = &counts;
    send(MSG_DONE, &done.base);
    cr_assert_eq(((Penstock__ReportReply *)(void *)reply.message)->answer,
                 PENSTOCK__ANSWER__ANSWER_STALE);
    done.batch_id = proto_bytes(id, 3); /* no id at all */
    done.origin = origin();
    send(MSG_DONE, &done.base);
    cr_assert_eq(((Penstock__ReportReply *)(void *)reply.message)->answer,
                 PENSTOCK__ANSWER__ANSWER_STALE);
}

Test(engine, a_silent_agent_is_gone)
{
    cr_assert_eq(hello(), PENSTOCK__ANSWER__ANSWER_OK);
    submit(COMMAND_PUT, good, 0, 0);
    submit(COMMAND_START, NULL, 0, 0);
    look();
    cr_assert_str_eq(answer.reason, "");
    for (int i = 0; i < 20; i++) { /* in small steps: a large one would be our own stall */
        now_ms += 1000;
        (void)turn();
    }
    look();
    cr_assert_str_eq(answer.reason, "waits for an agent");
}
