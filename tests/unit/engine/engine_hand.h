/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/engine/engine_hand.h: an engine over a catalog in memory, led by hand: agents say
 * single messages, people give single commands, and time stands where the test puts it. */
#ifndef TESTS_UNIT_ENGINE_ENGINE_HAND_H
#define TESTS_UNIT_ENGINE_ENGINE_HAND_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/catalog/catalog.h"
#include "coordinator/engine/engine.h"

enum { HAND_LEASE_MS = 15000 };

struct hand_agent {
    const char *name;
    uint8_t life[PS_ID_BYTES];
    uint32_t leaves;
    uint64_t seq;
};

static int64_t now_ms;
static struct catalog *catalog;
static struct engine *engine;
static struct ps_error err;
static uint8_t counter;
static const char *ready_text; /* why the engine is not ready, as it last said; NULL: it is */
static Penstock__Stamp seen = PENSTOCK__STAMP__INIT;
static struct {
    enum msg_type type;
    ProtobufCMessage *message;
    size_t count;
} reply; /* the last one */
/* The last answer to a person; what it did not tell is 0. */
static struct {
    size_t count; /* of all until now */
    enum ps_status status;
    char code[40];
    bool created;
    size_t errors;
    size_t agents;
    char state[40];
    char reason[400];
    uint64_t revision;
    uint64_t replayed;
    uint64_t inserted;
    uint64_t decoded;
    uint64_t loaded; /* of a replay, as the next two */
    uint64_t refused;
    bool already;
} answer;

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
    struct engine_config config = {.heartbeat_ms = 3000,
                                   .lease_ms = HAND_LEASE_MS,
                                   .self_stop_ms = 10000,
                                   .leaf_silence_ms = 5000};
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

static void
turn(void)
{
    int64_t next_ms = 0;
    cr_assert_eq(engine_turn(engine, &next_ms, &err), PS_OK, "%s", err.text);
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
    if (result->pipeline != NULL) {
        const char *reason = result->pipeline->reason;
        const Penstock__ApiTotals *totals = result->pipeline->totals;
        snprintf(answer.state, sizeof answer.state, "%s", result->pipeline->state);
        snprintf(answer.reason, sizeof answer.reason, "%s", reason == NULL ? "" : reason);
        answer.revision = result->pipeline->revision;
        answer.replayed = totals->replayed;
        answer.inserted = totals->counts->inserted;
        answer.decoded = totals->counts->decoded;
    }
    if (result->replay != NULL) {
        answer.loaded = result->replay->loaded;
        answer.refused = result->replay->refused;
        answer.already = result->replay->already;
    }
}

/* Of the pipeline "p". Takes what the command owns. */
static void
submit_command(struct engine_command command)
{
    command.name = ps_xstrdup("p");
    command.reply = take_answer;
    engine_submit_command(engine, &command);
    turn();
}

static void
submit(enum command_kind kind, const char *spec_json)
{
    submit_command((struct engine_command){.kind = kind, .spec_json = ps_xstrdup(spec_json)});
}

/* ---- agents */
static void
take_reply(void *ctx, enum msg_type type, const ProtobufCMessage *message)
{
    (void)ctx;
    struct ps_buf frame = PS_BUF_INIT;
    msg_free(reply.message);
    cr_assert_eq(frame_append(&frame, type, message, &err), PS_OK, "%s", err.text);
    cr_assert_eq(frame_unpack(ps_buf_span(&frame), &reply.type, &reply.message, &err), PS_OK);
    ps_buf_fini(&frame);
    reply.count++;
}

static Penstock__Origin *
origin_of(struct hand_agent *agent)
{
    static Penstock__Origin out;
    out = (Penstock__Origin)PENSTOCK__ORIGIN__INIT;
    out.agent = (char *)(uintptr_t)agent->name;
    out.incarnation = proto_bytes(agent->life, sizeof agent->life);
    out.seq = ++agent->seq;
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
hello(struct hand_agent *agent)
{
    Penstock__Hello message = PENSTOCK__HELLO__INIT;
    message.origin = origin_of(agent);
    message.protocol_min = message.protocol_max = 1;
    message.version = (char *)(uintptr_t) "test";
    message.leaves = agent->leaves;
    message.host_token = proto_bytes("h", 1);
    send(MSG_HELLO, &message.base);
}

/* What the last reply says, which is one to a report. */
static Penstock__Answer
report_answer(void)
{
    return ((const Penstock__ReportReply *)(const void *)reply.message)->answer;
}

#endif
