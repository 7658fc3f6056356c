/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/rpc_bench.c: agents as the coordinator sees them: real connections, frames and
 * messages; what they load is made up. The pipeline must have been started.
 * usage: rpc_bench load URL AGENTS OBJECTS          a Sync wants one batch, each batch one object
 *        rpc_bench claim URL AGENTS OBJECTS         a Sync wants 16; claims and reports take turns
 *        rpc_bench idle URL AGENTS SECONDS [FIRST]  agents that hold and want nothing
 * load and claim report all OBJECTS as discovered, then run until all are loaded. One line of
 * name=value; idle prints "ready" when all agents wait. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench_messages.h"
#include "tests/bench/bench_times.h"

enum {
    LEAVES = 8,
    CLAIM = 16,
    CLAIMS_A_ROUND = 4,
    HELD_MOST = CLAIM * CLAIMS_A_ROUND,
    DEPTH = 2, /* load: batches that are granted and not yet reported */
    REPORTS = 4,
};

/* One request at a time. */
struct line {
    struct agent *agent;
    nng_ctx ctx;
    nng_aio *aio;
    uint32_t lane;
    bool sent;
    bool busy;
    double began_s;
    size_t held; /* its place; reports */
    struct bench_times times;
};

enum held_state { HELD_NONE, HELD_LOADED, HELD_REPORTING };
struct held {
    enum held_state state;
    struct bench_batch batch;
};

struct agent {
    pthread_mutex_t mutex;
    struct bench_speaker speaker;
    nng_socket socket;
    struct line sync;
    struct line reports[REPORTS];
    struct held held[HELD_MOST];
    size_t held_count;
    uint32_t claims;       /* in this round */
    struct ps_id pipeline; /* of the document that it knows */
    uint32_t spec_rev;     /* 0: none yet */
};

static struct agent *agents;
static size_t agent_count;
static bool claiming; /* the program's mode */
static bool idle;
static uint64_t objects;
static atomic_uint_least64_t loaded;
/* claim: what everybody does now */
static atomic_bool reporting;
static atomic_size_t at_end; /* agents that are through with their part of the round */
static pthread_mutex_t round_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t round_wake = PTHREAD_COND_INITIALIZER;

static void
check_nng(const char *what, int code)
{
    if (code != 0) {
        fprintf(stderr, "rpc_bench: %s: %s\n", what, nng_strerror(code));
        exit(1);
    }
}

static void
must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "rpc_bench: expected %s\n", what);
        exit(1);
    }
}

/* ---- frames */
static nng_msg *
to_msg(enum msg_type type, const ProtobufCMessage *message)
{
    struct ps_error err = {0};
    struct ps_buf frame = PS_BUF_INIT;
    nng_msg *msg = NULL;
    must(frame_append(&frame, type, message, &err) == PS_OK, err.text);
    check_nng("message", nng_msg_alloc(&msg, 0));
    check_nng("message", nng_msg_append(msg, frame.ptr, frame.len));
    ps_buf_fini(&frame);
    return msg;
}

static ProtobufCMessage *
from_msg(nng_msg *own_msg, enum msg_type wanted)
{
    struct ps_error err = {0};
    enum msg_type type = MSG_HELLO;
    ProtobufCMessage *message = NULL;
    must(frame_unpack(ps_span(nng_msg_body(own_msg), nng_msg_len(own_msg)), &type, &message,
                      &err) == PS_OK,
         err.text);
    must(type == wanted, msg_type_name(wanted));
    nng_msg_free(own_msg);
    return message;
}

/* ---- before the clock runs: one after the other */
static ProtobufCMessage *
call(struct agent *agent, enum msg_type type, const ProtobufCMessage *message, enum msg_type answer)
{
    nng_msg *msg = to_msg(type, message);
    check_nng("send", nng_sendmsg(agent->socket, msg, 0));
    check_nng("receive", nng_recvmsg(agent->socket, &msg, 0));
    return from_msg(msg, answer);
}

static void
report(struct agent *agent, enum msg_type type, const ProtobufCMessage *message)
{
    Penstock__ReportReply *reply =
        (Penstock__ReportReply *)(void *)call(agent, type, message, MSG_REPORT_REPLY);
    must(reply->answer == PENSTOCK__ANSWER__ANSWER_OK, "OK to a report");
    bench_take_stamp(&agent->speaker, reply->stamp);
    msg_free(&reply->base);
}

static void
say_hello(struct agent *agent)
{
    Penstock__Origin origin = bench_origin(&agent->speaker, 0);
    Penstock__Hello hello = bench_hello(&origin, LEAVES);
    Penstock__HelloReply *reply =
        (Penstock__HelloReply *)(void *)call(agent, MSG_HELLO, &hello.base, MSG_HELLO_REPLY);
    must(reply->answer == PENSTOCK__ANSWER__ANSWER_OK, "OK to a hello");
    bench_take_stamp(&agent->speaker, reply->stamp);
    msg_free(&reply->base);
}

static void
discover(struct agent *agent, const Penstock__Task *task)
{
    static struct bench_page page;
    for (uint64_t first = 0; first < objects; first += BENCH_PAGE) {
        Penstock__Origin origin = bench_origin(&agent->speaker, 1);
        Penstock__Discovered found = bench_discovered(&page, &origin, task, first, objects);
        report(agent, MSG_DISCOVERED, &found.base);
    }
}

static void
answer_task(struct agent *agent, const Penstock__Task *task)
{
    struct bench_result own;
    Penstock__Origin origin = bench_origin(&agent->speaker, 1);
    Penstock__TaskResult result = bench_result(&own, &origin, task);
    report(agent, MSG_TASK_RESULT, &result.base);
}

/* Does the first agent's tasks until the pipeline's columns are known. Seconds of the discovery. */
static double
set_up(struct agent *agent)
{
    double took_s = 0;
    for (bool prepared = false; !prepared;) {
        Penstock__Origin origin = bench_origin(&agent->speaker, 0);
        Penstock__Sync sync = PENSTOCK__SYNC__INIT;
        sync.origin = &origin;
        sync.has_want_tasks = sync.has_wait_ms = true;
        sync.want_tasks = 1;
        sync.wait_ms = 1000;
        Penstock__SyncReply *reply =
            (Penstock__SyncReply *)(void *)call(agent, MSG_SYNC, &sync.base, MSG_SYNC_REPLY);
        bench_take_stamp(&agent->speaker, reply->stamp);
        for (size_t i = 0; i < reply->n_tasks; i++) {
            const Penstock__Task *task = reply->tasks[i];
            double began_s = bench_now_s();
            if (task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
                discover(agent, task);
                took_s = bench_now_s() - began_s;
            } else {
                answer_task(agent, task);
            }
            prepared = prepared || task->kind == PENSTOCK__TASK_KIND__TASK_PREPARE;
        }
        msg_free(&reply->base);
    }
    return took_s;
}

/* ---- while the clock runs: on nng's threads, under the agent's mutex */
static void
ask(struct line *line, enum msg_type type, const ProtobufCMessage *message)
{
    line->busy = true;
    line->sent = false;
    line->began_s = bench_now_s();
    nng_aio_set_msg(line->aio, to_msg(type, message));
    nng_ctx_send(line->ctx, line->aio);
}

static void
send_sync(struct agent *agent)
{
    Penstock__Origin origin = bench_origin(&agent->speaker, 0);
    Penstock__Sync sync = PENSTOCK__SYNC__INIT;
    Penstock__Held held[HELD_MOST];
    Penstock__Held *helds[HELD_MOST];
    Penstock__Want want[LEAVES];
    Penstock__Want *wants[LEAVES];
    sync.origin = &origin;
    sync.has_wait_ms = true;
    sync.wait_ms = 3000;
    sync.held = helds;
    Penstock__KnownSpec known = PENSTOCK__KNOWN_SPEC__INIT;
    Penstock__KnownSpec *knowns[] = {&known};
    known.pipeline_uuid = proto_bytes(agent->pipeline.b, PS_ID_BYTES);
    known.spec_rev = agent->spec_rev;
    sync.n_known = agent->spec_rev > 0 ? 1 : 0;
    sync.known = knowns;
    for (size_t i = 0; i < HELD_MOST; i++) {
        const struct held *own = &agent->held[i];
        if (own->state != HELD_NONE) {
            penstock__held__init(&held[i]);
            held[i].batch_id = proto_bytes(own->batch.id.b, PS_ID_BYTES);
            held[i].epoch = own->batch.epoch;
            held[i].leaf = own->batch.leaf;
            held[i].phase = PENSTOCK__PHASE__PHASE_LOAD;
            helds[sync.n_held++] = &held[i];
        }
    }
    sync.wants = wants;
    for (uint32_t leaf = 0; !idle && leaf < (claiming ? LEAVES : 1); leaf++) {
        penstock__want__init(&want[leaf]);
        want[leaf].leaf = leaf;
        want[leaf].batches = claiming ? CLAIM / LEAVES : 1;
        wants[sync.n_wants++] = &want[leaf];
    }
    ask(&agent->sync, MSG_SYNC, &sync.base);
}

static void
send_done(struct agent *agent, struct line *line, size_t i)
{
    struct bench_done own;
    Penstock__Origin origin = bench_origin(&agent->speaker, line->lane);
    Penstock__Done done = bench_done(&own, &origin, &agent->held[i].batch);
    agent->held[i].state = HELD_REPORTING;
    line->held = i;
    ask(line, MSG_DONE, &done.base);
}

static void
end_part(struct agent *agent)
{
    (void)agent;
    if (atomic_fetch_add(&at_end, 1) + 1 == agent_count) {
        pthread_mutex_lock(&round_mutex);
        pthread_cond_signal(&round_wake);
        pthread_mutex_unlock(&round_mutex);
    }
}

/* Whatever can be asked now. */
static void
go_on(struct agent *agent)
{
    bool may_report = !claiming || atomic_load(&reporting);
    size_t next = 0;
    for (size_t line = 0; may_report && line < REPORTS; line++) {
        while (next < HELD_MOST && agent->held[next].state != HELD_LOADED) {
            next++;
        }
        if (next < HELD_MOST && !agent->reports[line].busy) {
            send_done(agent, &agent->reports[line], next);
        }
    }
    if (!claiming && !agent->sync.busy && (idle || agent->held_count < DEPTH)) {
        send_sync(agent);
    }
}

static void
take_grants(struct agent *agent, const Penstock__SyncReply *reply)
{
    size_t at = 0;
    for (size_t i = 0; i < reply->n_specs; i++) {
        memcpy(agent->pipeline.b, reply->specs[i]->pipeline_uuid.data, PS_ID_BYTES);
        agent->spec_rev = reply->specs[i]->spec_rev;
    }
    for (size_t i = 0; i < reply->n_grants; i++) {
        const Penstock__Grant *grant = reply->grants[i];
        while (at < HELD_MOST && agent->held[at].state != HELD_NONE) {
            at++;
        }
        must(at < HELD_MOST && grant->batch->n_ranges == 1, "one object a batch, as many as asked");
        agent->held[at] = (struct held){.state = HELD_LOADED, .batch = bench_batch(grant)};
        agent->held_count++;
    }
}

static void
take_sync(struct agent *agent, nng_msg *msg)
{
    Penstock__SyncReply *reply = (Penstock__SyncReply *)(void *)from_msg(msg, MSG_SYNC_REPLY);
    must(reply->answer == PENSTOCK__ANSWER__ANSWER_OK, "OK to a sync");
    bench_take_stamp(&agent->speaker, reply->stamp);
    take_grants(agent, reply);
    msg_free(&reply->base);
    if (!claiming) {
        return;
    }
    if (++agent->claims < CLAIMS_A_ROUND &&
        atomic_load(&loaded) + HELD_MOST * agent_count <= objects) {
        send_sync(agent);
    } else {
        end_part(agent);
    }
}

static void
take_report(struct agent *agent, struct line *line, nng_msg *msg)
{
    Penstock__ReportReply *reply = (Penstock__ReportReply *)(void *)from_msg(msg, MSG_REPORT_REPLY);
    must(reply->answer == PENSTOCK__ANSWER__ANSWER_OK, "OK to a done");
    bench_take_stamp(&agent->speaker, reply->stamp);
    msg_free(&reply->base);
    agent->held[line->held].state = HELD_NONE;
    agent->held_count--;
    bool last = atomic_fetch_add(&loaded, 1) + 1 == objects;
    if (claiming && agent->held_count == 0) {
        end_part(agent);
    } else if (!claiming && last) {
        pthread_mutex_lock(&round_mutex);
        pthread_cond_signal(&round_wake);
        pthread_mutex_unlock(&round_mutex);
    }
}

static void
answered(void *arg)
{
    struct line *line = arg;
    struct agent *agent = line->agent;
    check_nng(line->sent ? "receive" : "send", nng_aio_result(line->aio));
    if (!line->sent) {
        line->sent = true;
        nng_ctx_recv(line->ctx, line->aio);
        return;
    }
    nng_msg *msg = nng_aio_get_msg(line->aio);
    pthread_mutex_lock(&agent->mutex);
    bench_times_add(&line->times, bench_now_s() - line->began_s);
    line->busy = false;
    if (line == &agent->sync) {
        take_sync(agent, msg);
    } else {
        take_report(agent, line, msg);
    }
    go_on(agent);
    pthread_mutex_unlock(&agent->mutex);
}

/* ---- the whole */
static void
open_line(struct agent *agent, struct line *line, uint32_t lane)
{
    line->agent = agent;
    line->lane = lane;
    check_nng("context", nng_ctx_open(&line->ctx, agent->socket));
    check_nng("aio", nng_aio_alloc(&line->aio, answered, line));
    check_nng("resend", nng_ctx_set_ms(line->ctx, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE));
}

static void
open_agents(const char *url, size_t first)
{
    agents = ps_xcalloc(agent_count, sizeof *agents);
    for (size_t i = 0; i < agent_count; i++) {
        struct agent *agent = &agents[i];
        pthread_mutex_init(&agent->mutex, NULL);
        bench_speaker_init(&agent->speaker, first + i);
        check_nng("open", nng_req0_open(&agent->socket));
        check_nng("dial", nng_dial(agent->socket, url, NULL, 0));
        say_hello(agent);
        open_line(agent, &agent->sync, 0);
        for (uint32_t k = 0; !idle && k < REPORTS; k++) {
            open_line(agent, &agent->reports[k], k + 1);
        }
    }
}

static void
start_all(void)
{
    for (size_t i = 0; i < agent_count; i++) {
        pthread_mutex_lock(&agents[i].mutex);
        agents[i].claims = 0;
        if (claiming && !atomic_load(&reporting)) {
            send_sync(&agents[i]);
        } else if (claiming && agents[i].held_count == 0) {
            end_part(&agents[i]);
        } else {
            go_on(&agents[i]);
        }
        pthread_mutex_unlock(&agents[i].mutex);
    }
}

/* Seconds until all agents are through with their part. */
static double
run_part(bool reports)
{
    double began_s = bench_now_s();
    atomic_store(&at_end, 0);
    atomic_store(&reporting, reports);
    start_all();
    pthread_mutex_lock(&round_mutex);
    while (atomic_load(&at_end) < agent_count) {
        pthread_cond_wait(&round_wake, &round_mutex);
    }
    pthread_mutex_unlock(&round_mutex);
    return bench_now_s() - began_s;
}

static void
run_claims(double *out_claim_s, double *out_report_s)
{
    *out_claim_s = *out_report_s = 0;
    while (atomic_load(&loaded) + CLAIM * agent_count <= objects) {
        *out_claim_s += run_part(false);
        *out_report_s += run_part(true);
    }
}

static void
run_load(void)
{
    start_all();
    pthread_mutex_lock(&round_mutex);
    while (atomic_load(&loaded) < objects) {
        pthread_cond_wait(&round_wake, &round_mutex);
    }
    pthread_mutex_unlock(&round_mutex);
}

static void
print_times(void)
{
    struct bench_times syncs = {0};
    struct bench_times reports = {0};
    for (size_t i = 0; i < agent_count; i++) {
        for (size_t k = 0; k < agents[i].sync.times.len; k++) {
            bench_times_add(&syncs, (double)agents[i].sync.times.us[k] / 1e6);
        }
        for (size_t line = 0; line < REPORTS; line++) {
            const struct bench_times *times = &agents[i].reports[line].times;
            for (size_t k = 0; k < times->len; k++) {
                bench_times_add(&reports, (double)times->us[k] / 1e6);
            }
        }
    }
    bench_times_print("sync", &syncs);
    bench_times_print("done", &reports);
    printf("\n");
    (void)fflush(stdout);
}

static void
measure(void)
{
    double discover_s = set_up(&agents[0]);
    double cpu_s = bench_cpu_s();
    double began_s = bench_now_s();
    double claim_s = 0;
    double report_s = 0;
    if (claiming) {
        run_claims(&claim_s, &report_s);
    } else {
        run_load();
    }
    double took_s = bench_now_s() - began_s;
    cpu_s = bench_cpu_s() - cpu_s;
    double count = (double)atomic_load(&loaded);
    printf("loaded=%.0f discovered_s=%.0f", count, (double)objects / discover_s);
    if (claiming) {
        printf(" claimed_s=%.0f reported_s=%.0f", count / claim_s, count / report_s);
    } else {
        printf(" requests_s=%.0f", 2 * count / took_s);
    }
    printf(" client_us=%.1f", cpu_s * 1e6 / count);
    print_times();
}

int
main(int argc, char **argv)
{
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: rpc_bench load|claim|idle URL AGENTS OBJECTS|SECONDS [FIRST]\n");
        return 2;
    }
    claiming = strcmp(argv[1], "claim") == 0;
    idle = strcmp(argv[1], "idle") == 0;
    agent_count = strtoul(argv[3], NULL, 10);
    objects = strtoull(argv[4], NULL, 10);
    open_agents(argv[2], argc == 6 ? strtoul(argv[5], NULL, 10) : 0);
    if (idle) {
        start_all();
        printf("ready\n");
        (void)fflush(stdout);
        (void)sleep((unsigned)objects);
    } else {
        measure();
    }
    _exit(0); /* closing nng's sockets is not what is measured */
}
