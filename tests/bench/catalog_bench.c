/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/catalog_bench.c: the real engine on a real catalog, called directly, at a size.
 * usage: catalog_bench PATH OBJECTS [TURNS]
 * Reports OBJECTS as discovered, a page a turn; then TURNS turns that grant one batch, grant 16,
 * settle one and settle 64; then pages of 100 at random places through a reader; then opens it
 * anew. One line of name=value. The catalog stays. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/rand.h"
#include "common/sql.h"
#include "coordinator/catalog/catalog.h"
#include "coordinator/engine/engine.h"
#include "tests/bench/bench_messages.h"
#include "tests/bench/bench_times.h"

enum { LEAVES = 8, HELD_MOST = 64 };

static struct ps_error err;
static struct engine *engine;
static struct bench_speaker speaker;
static struct bench_batch held[HELD_MOST];
static size_t held_count;
static ProtobufCMessage *latest; /* the latest answer, a copy */
static enum msg_type latest_type;

static void
check(enum ps_status status)
{
    if (status != PS_OK) {
        fprintf(stderr, "catalog_bench: %s\n", err.text);
        exit(1);
    }
}

static void
must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "catalog_bench: expected %s\n", what);
        exit(1);
    }
}

/* ---- the engine's outside */
static int64_t
mono_ms(void *ctx)
{
    (void)ctx;
    return ps_clock_mono_ms();
}

static int64_t
wall_ms(void *ctx)
{
    (void)ctx;
    return ps_clock_wall_ms();
}

static void
random_bytes(void *ctx, void *out, size_t bytes)
{
    (void)ctx;
    ps_rand_system(out, bytes);
}

static struct engine *
open_engine(struct catalog *catalog)
{
    struct engine_env env = {
        .mono_ms = mono_ms, .wall_ms = wall_ms, .random = random_bytes, .catalog = catalog};
    struct engine_config config = {
        .heartbeat_ms = 3000, .lease_ms = 3600000, .self_stop_ms = 10000, .leaf_silence_ms = 5000};
    struct engine *opened = NULL;
    check(engine_new(&env, &config, &opened, &err));
    return opened;
}

/* ---- messages as frames, so that both sides pay for packing as they do behind nng */
static ProtobufCMessage *
copy_of(enum msg_type type, const ProtobufCMessage *message)
{
    struct ps_buf frame = PS_BUF_INIT;
    ProtobufCMessage *copy = NULL;
    check(frame_append(&frame, type, message, &err));
    check(frame_unpack(ps_span(frame.ptr, frame.len), &type, &copy, &err));
    ps_buf_fini(&frame);
    return copy;
}

static void
keep(void *ctx, enum msg_type type, const ProtobufCMessage *message)
{
    (void)ctx;
    msg_free(latest);
    latest = copy_of(type, message);
    latest_type = type;
}

static void
submit(enum msg_type type, const ProtobufCMessage *message)
{
    struct engine_request request = {
        .type = type, .message = copy_of(type, message), .reply = keep};
    engine_submit_request(engine, &request);
}

static void
turn(void)
{
    int64_t next_ms = 0;
    check(engine_turn(engine, &next_ms, &err));
}

static void
call(enum msg_type type, const ProtobufCMessage *message, enum msg_type wanted)
{
    submit(type, message);
    turn();
    must(latest != NULL && latest_type == wanted, msg_type_name(wanted));
    msg_free(latest);
    latest = NULL;
}

/* ---- people */
static void
take_answer(void *ctx, const struct command_result *result)
{
    (void)ctx;
    must(result->status == PS_OK, "a command that is taken");
}

static void
command(enum command_kind kind, const char *spec_json)
{
    struct engine_command order = {.kind = kind,
                                   .name = ps_xstrdup("p"),
                                   .spec_json = ps_xstrdup(spec_json),
                                   .reply = take_answer};
    engine_submit_command(engine, &order);
    turn();
}

/* ---- agent */
static void
send_sync(uint32_t wants, uint32_t want_tasks)
{
    Penstock__Origin origin = bench_origin(&speaker, 0);
    Penstock__Sync sync = PENSTOCK__SYNC__INIT;
    Penstock__Held list[HELD_MOST];
    Penstock__Held *lists[HELD_MOST];
    Penstock__Want want = PENSTOCK__WANT__INIT;
    Penstock__Want *want_list[] = {&want};
    want.batches = wants;
    sync.origin = &origin;
    sync.n_wants = wants > 0 ? 1 : 0;
    sync.wants = want_list;
    sync.has_want_tasks = true;
    sync.want_tasks = want_tasks;
    sync.held = lists;
    for (size_t i = 0; i < held_count; i++) {
        lists[i] = &list[i];
        penstock__held__init(lists[i]);
        list[i].batch_id = proto_bytes(held[i].id.b, PS_ID_BYTES);
        list[i].epoch = held[i].epoch;
    }
    sync.n_held = held_count;
    submit(MSG_SYNC, &sync.base);
}

static void
discover(const Penstock__Task *task, uint64_t objects)
{
    static struct bench_page page;
    for (uint64_t first = 0; first < objects; first += BENCH_PAGE) {
        Penstock__Origin origin = bench_origin(&speaker, 1);
        Penstock__Discovered found = bench_discovered(&page, &origin, task, first, objects);
        call(MSG_DISCOVERED, &found.base, MSG_REPORT_REPLY);
    }
}

/* Until the pipeline runs. Seconds of the discovery. */
static double
set_up(uint64_t objects)
{
    double took_s = 0;
    Penstock__Origin origin = bench_origin(&speaker, 0);
    Penstock__Hello hello = bench_hello(&origin, LEAVES);
    call(MSG_HELLO, &hello.base, MSG_HELLO_REPLY);
    command(COMMAND_PUT, "{\"name\":\"p\",\"source\":{\"url\":\"file:/nowhere/"
                         "*.csv\"},\"destination\":{\"url\":\"null:\"}}");
    command(COMMAND_START, NULL);
    for (bool prepared = false; !prepared;) {
        send_sync(0, 1);
        turn();
        must(latest != NULL && latest_type == MSG_SYNC_REPLY, "an answer to a sync");
        Penstock__SyncReply *reply = (Penstock__SyncReply *)(void *)latest;
        latest = NULL;
        for (size_t i = 0; i < reply->n_tasks; i++) {
            const Penstock__Task *task = reply->tasks[i];
            if (task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
                double began_s = bench_now_s();
                discover(task, objects);
                took_s = bench_now_s() - began_s;
            } else {
                struct bench_result own;
                Penstock__Origin again = bench_origin(&speaker, 1);
                Penstock__TaskResult result = bench_result(&own, &again, task);
                call(MSG_TASK_RESULT, &result.base, MSG_REPORT_REPLY);
            }
            prepared = prepared || task->kind == PENSTOCK__TASK_KIND__TASK_PREPARE;
        }
        msg_free(&reply->base);
    }
    return took_s;
}

/* One turn that grants so many; its seconds. */
static double
grant(uint32_t count)
{
    send_sync(count, 0);
    double began_s = bench_now_s();
    turn();
    double took_s = bench_now_s() - began_s;
    must(latest != NULL && latest_type == MSG_SYNC_REPLY, "an answer to a sync");
    const Penstock__SyncReply *reply = (const Penstock__SyncReply *)(void *)latest;
    must(reply->n_grants == count, "as many batches as were asked for");
    for (size_t i = 0; i < reply->n_grants; i++) {
        held[held_count++] = bench_batch(reply->grants[i]);
    }
    return took_s;
}

/* One turn that settles so many; its seconds. */
static double
settle(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bench_done own;
        Penstock__Origin origin = bench_origin(&speaker, 1);
        Penstock__Done done = bench_done(&own, &origin, &held[--held_count]);
        submit(MSG_DONE, &done.base);
    }
    double began_s = bench_now_s();
    turn();
    return bench_now_s() - began_s;
}

static void
measure_turns(uint32_t turns)
{
    struct bench_times one = {0};
    struct bench_times sixteen = {0};
    struct bench_times done = {0};
    struct bench_times done64 = {0};
    double cpu_s = bench_cpu_s();
    for (uint32_t i = 0; i < turns; i++) {
        bench_times_add(&one, grant(1));
        bench_times_add(&done, settle(1));
        for (int k = 0; k < 4; k++) {
            bench_times_add(&sixteen, grant(16));
        }
        bench_times_add(&done64, settle(64));
    }
    printf(" batch_cpu_us=%.1f", (bench_cpu_s() - cpu_s) * 1e6 / (65.0 * turns));
    bench_times_print("grant", &one);
    bench_times_print("grant16", &sixteen);
    bench_times_print("done", &done);
    bench_times_print("done64", &done64);
}

/* ---- readers */
static bool
count_row(void *ctx, const struct cat_object *row)
{
    *(size_t *)ctx += row->key.len > 0 ? 1 : 0;
    return true;
}

static void
measure_pages(const char *path, uint64_t objects)
{
    enum { PAGES = 1000, LIMIT = 100 };
    struct catalog_reader *reader = NULL;
    struct bench_times times = {0};
    check(catalog_reader_open(path, &reader, &err));
    for (uint64_t i = 0; i < PAGES; i++) {
        size_t rows = 0;
        struct cat_object_page page = {
            .pipeline_id = 1, .after_id = i * 7919 * 104729 % objects, .limit = LIMIT};
        double began_s = bench_now_s();
        check(catalog_reader_objects(reader, &page, count_row, &rows, &err));
        bench_times_add(&times, bench_now_s() - began_s);
        must(rows == LIMIT || page.after_id + LIMIT > objects, "whole pages");
    }
    bench_times_print("page", &times);
    catalog_reader_close(reader);
}

static uint64_t
file_bytes(const char *path)
{
    struct stat found;
    must(stat(path, &found) == 0, "the catalog's file");
    return (uint64_t)found.st_size;
}

int
main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: catalog_bench PATH OBJECTS [TURNS]\n");
        return 2;
    }
    log_setup("catalog_bench", LOG_ERROR, LOG_TEXT);
    sql_setup();
    const char *path = argv[1];
    uint64_t objects = strtoull(argv[2], NULL, 10);
    uint32_t turns = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 200;
    struct catalog *catalog = NULL;
    check(catalog_open(path, &catalog, &err));
    engine = open_engine(catalog);
    bench_speaker_init(&speaker, 0);
    double discover_s = set_up(objects);
    engine_free(engine);
    catalog_close(catalog); /* checkpoints */
    printf("objects=%llu discovered_s=%.0f row_bytes=%.1f", (unsigned long long)objects,
           (double)objects / discover_s, (double)file_bytes(path) / (double)objects);
    check(catalog_open(path, &catalog, &err));
    engine = open_engine(catalog);
    measure_turns(turns);
    measure_pages(path, objects);
    engine_free(engine);
    catalog_close(catalog);
    double began_s = bench_now_s();
    check(catalog_open(path, &catalog, &err));
    engine = open_engine(catalog);
    printf(" open_ms=%.1f\n", (bench_now_s() - began_s) * 1e3);
    engine_free(engine);
    catalog_close(catalog);
    msg_free(latest);
    return 0;
}
