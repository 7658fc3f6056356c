/* SPDX-License-Identifier: Apache-2.0 */
/* Replays by hand: one pipeline, one agent, what it is given and what is counted. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/catalog/catalog.h"
#include "coordinator/engine/engine.h"

static int64_t now_ms;
static struct catalog *catalog;
static struct engine *engine;
static struct ps_error err;
static uint8_t counter;
static uint8_t life[PS_ID_BYTES] = {1};
static uint64_t seq;
static Penstock__Stamp seen = PENSTOCK__STAMP__INIT;
static struct {
    size_t count;
    enum ps_status status;
    char code[40], text[200], batch[40];
    uint64_t loaded, refused, open, replayed, inserted, decoded;
    bool already;
} answer;
static ProtobufCMessage *reply;

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
turn(void)
{
    int64_t next_ms = 0;
    cr_assert_eq(engine_turn(engine, &next_ms, &err), PS_OK, "%s", err.text);
}

static void
take_answer(void *ctx, const struct command_result *result)
{
    (void)ctx;
    answer.count++;
    answer.status = result->status;
    snprintf(answer.code, sizeof answer.code, "%s", result->code == NULL ? "" : result->code);
    snprintf(answer.text, sizeof answer.text, "%s", result->text == NULL ? "" : result->text);
    if (result->replay != NULL) {
        snprintf(answer.batch, sizeof answer.batch, "%s", result->replay->batch);
        answer.loaded = result->replay->loaded;
        answer.refused = result->replay->refused;
        answer.already = result->replay->already;
    }
    if (result->pipeline != NULL) {
        answer.open = result->pipeline->totals->rejects_open;
        answer.replayed = result->pipeline->totals->replayed;
        answer.inserted = result->pipeline->totals->counts->inserted;
        answer.decoded = result->pipeline->totals->counts->decoded;
    }
}

static void
submit(enum command_kind kind, const char *spec_json)
{
    struct engine_command command = {.kind = kind,
                                     .name = ps_xstrdup("p"),
                                     .spec_json = ps_xstrdup(spec_json),
                                     .reply = take_answer};
    engine_submit_command(engine, &command);
    turn();
}

static void
replay(const char *key, size_t bytes)
{
    struct engine_command command = {.kind = COMMAND_REPLAY,
                                     .name = ps_xstrdup("p"),
                                     .key = ps_xstrdup(key),
                                     .body = ps_xcalloc(bytes, 1),
                                     .body_len = bytes,
                                     .reply = take_answer};
    memset(command.body, 'x', bytes);
    engine_submit_command(engine, &command);
    turn();
}

static void
take_reply(void *ctx, enum msg_type type, const ProtobufCMessage *message)
{
    (void)ctx;
    struct ps_buf frame = PS_BUF_INIT;
    enum msg_type again;
    msg_free(reply);
    cr_assert_eq(frame_append(&frame, type, message, &err), PS_OK, "%s", err.text);
    cr_assert_eq(frame_unpack(ps_buf_span(&frame), &again, &reply, &err), PS_OK);
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
    turn();
}

static void
hello(void)
{
    Penstock__Hello message = PENSTOCK__HELLO__INIT;
    message.origin = origin();
    message.protocol_min = message.protocol_max = 1;
    message.version = (char *)(uintptr_t) "test";
    message.leaves = 1;
    message.host_token = proto_bytes("h", 1);
    send(MSG_HELLO, &message.base);
}

/* A task as it was given. */
struct order {
    uint8_t task[PS_ID_BYTES], batch[PS_ID_BYTES];
    uint64_t epoch;
    size_t rows;
};

/* Asks for up to `most` tasks; returns how many came. */
static size_t
take_tasks(uint32_t most, struct order *out)
{
    Penstock__Sync message = PENSTOCK__SYNC__INIT;
    message.origin = origin();
    message.has_want_tasks = true;
    message.want_tasks = most;
    send(MSG_SYNC, &message.base);
    const Penstock__SyncReply *orders = (const Penstock__SyncReply *)(void *)reply;
    for (size_t i = 0; i < orders->n_tasks; i++) {
        const Penstock__Task *task = orders->tasks[i];
        cr_assert_eq(task->kind, PENSTOCK__TASK_KIND__TASK_REPLAY);
        cr_assert(task->stamp != NULL && task->replay != NULL);
        memcpy(out[i].task, task->task_id.data, PS_ID_BYTES);
        memcpy(out[i].batch, task->replay->batch_id.data, PS_ID_BYTES);
        out[i].epoch = task->epoch;
        out[i].rows = task->replay->rows.len;
    }
    return orders->n_tasks;
}

static Penstock__Answer
tell(const struct order *order, Penstock__Outcome outcome, uint64_t inserted, uint64_t rejected)
{
    struct order copy = *order;
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    Penstock__ReplayBatch batch = PENSTOCK__REPLAY_BATCH__INIT;
    Penstock__ReplayBatch *batches[] = {&batch};
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    counts.has_decoded = counts.has_inserted = counts.has_rejected = true;
    counts.decoded = inserted + rejected;
    counts.inserted = inserted;
    counts.rejected = rejected;
    batch.batch_id = proto_bytes(copy.batch, PS_ID_BYTES);
    batch.outcome = outcome;
    batch.counts = &counts;
    result.origin = origin();
    result.task_id = proto_bytes(copy.task, PS_ID_BYTES);
    result.epoch = copy.epoch;
    result.last = result.ok = true;
    result.replays = batches;
    result.n_replays = 1;
    send(MSG_TASK_RESULT, &result.base);
    return ((const Penstock__ReportReply *)(void *)reply)->answer;
}

static void
begin(void)
{
    log_setup("test", LOG_OFF, LOG_TEXT);
    now_ms = 1000000;
    cr_assert_eq(catalog_open(":memory:", &catalog, &err), PS_OK, "%s", err.text);
    struct engine_env env = {
        .mono_ms = clock_ms, .wall_ms = clock_ms, .random = random_bytes, .catalog = catalog};
    struct engine_config config = {
        .heartbeat_ms = 3000, .lease_ms = 15000, .self_stop_ms = 10000, .leaf_silence_ms = 5000};
    cr_assert_eq(engine_new(&env, &config, &engine, &err), PS_OK, "%s", err.text);
    hello();
    submit(COMMAND_PUT, "{\"name\":\"p\",\"source\":{\"url\":\"file:/d/*.csv\"},"
                        "\"destination\":{\"url\":\"sqlite:/d/x.db\",\"table\":\"t\"}}");
}

static void
finish(void)
{
    engine_free(engine);
    catalog_close(catalog);
    msg_free(reply);
}

TestSuite(engine_replay, .init = begin, .fini = finish);

Test(engine_replay, what_is_told_twice_is_counted_once)
{
    struct order order;
    struct order again;
    replay("key", 10);
    cr_assert_eq(take_tasks(1, &order), 1);
    cr_assert_eq(order.rows, 10);
    size_t count = answer.count;
    cr_assert_eq(tell(&order, PENSTOCK__OUTCOME__OUTCOME_LOADED, 3, 1),
                 PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_eq(answer.count, count + 1);
    cr_assert(answer.loaded == 3 && answer.refused == 1 && !answer.already);

    /* The answer was lost: the same request is the same batch, and the ledger says the same. */
    replay("key", 10);
    cr_assert_eq(take_tasks(1, &again), 1);
    cr_assert_eq(memcmp(order.batch, again.batch, PS_ID_BYTES), 0);
    cr_assert_neq(memcmp(order.task, again.task, PS_ID_BYTES), 0);
    cr_assert_eq(tell(&again, PENSTOCK__OUTCOME__OUTCOME_ALREADY, 3, 1),
                 PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert(answer.loaded == 3 && answer.already);
    submit(COMMAND_WATCH, NULL);
    cr_assert(answer.inserted == 3 && answer.decoded == 4 && answer.replayed == 4,
              "inserted %d, decoded %d", (int)answer.inserted, (int)answer.decoded);
    cr_assert_eq(tell(&again, PENSTOCK__OUTCOME__OUTCOME_LOADED, 3, 1),
                 PENSTOCK__ANSWER__ANSWER_STALE, "its task is over");
}

Test(engine_replay, another_key_is_another_batch)
{
    struct order orders[2];
    replay("one", 10);
    replay("two", 10);
    cr_assert_eq(take_tasks(4, orders), 2);
    cr_assert_neq(memcmp(orders[0].batch, orders[1].batch, PS_ID_BYTES), 0);
}

Test(engine_replay, an_agents_next_life_gets_the_same_batch)
{
    struct order order;
    struct order again;
    replay("key", 10);
    cr_assert_eq(take_tasks(1, &order), 1);
    life[0]++;
    hello();
    cr_assert_eq(take_tasks(1, &again), 1);
    cr_assert_eq(memcmp(order.batch, again.batch, PS_ID_BYTES), 0);
    cr_assert_gt(again.epoch, order.epoch);
    cr_assert_eq(tell(&order, PENSTOCK__OUTCOME__OUTCOME_LOADED, 1, 0),
                 PENSTOCK__ANSWER__ANSWER_STALE);
    cr_assert_eq(tell(&again, PENSTOCK__OUTCOME__OUTCOME_ALREADY, 1, 0),
                 PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_eq(answer.loaded, 1);
}

Test(engine_replay, large_ones_do_not_share_an_answer)
{
    struct order orders[4];
    replay("one", 400 * 1024);
    replay("two", 400 * 1024);
    replay("three", 400 * 1024);
    cr_assert_eq(take_tasks(4, orders), 1, "a frame holds 1 MiB");
    replay("four", 512 * 1024 + 1);
    cr_assert_str_eq(answer.code, "body_too_large");
}
