/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/sched/states.h"

enum { START_MS = 1000000, WALL_AHEAD_MS = 1700000000, LEASE_MS = 15000, SETTLE_MS = 90000 };

/* ---- broken promises */
void
sim_broken(struct sim *sim, const char *what, const char *file, int line)
{
    fprintf(stderr,
            "\nsimulation broken: seed=%llu at %lld ms: %s (%s:%d)\n"
            "pipeline: %s (%s); run it again with PENSTOCK_SIM_SEED=%llu\n",
            (unsigned long long)sim->plan.seed, (long long)(sim->now_ms - START_MS), what, file,
            line, sim->state, sim->reason, (unsigned long long)sim->plan.seed);
    abort();
}

void
sim_note(struct sim *sim, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sim->hash = (sim->hash ^ (uint64_t)sim->now_ms) * 0x100000001b3U;
    for (int i = 0; i < len && i < (int)sizeof text - 1; i++) {
        sim->hash = (sim->hash ^ (uint8_t)text[i]) * 0x100000001b3U; /* FNV-1a */
    }
    if (getenv("PENSTOCK_SIM_LOG") != NULL) {
        fprintf(stderr, "%8lld %s\n", (long long)(sim->now_ms - START_MS), text);
    }
}

/* ---- randomness and time */
uint64_t
sim_below(struct sim *sim, uint64_t bound)
{
    return ps_rand_below(&sim->rand, bound);
}

bool
sim_has_faults(const struct sim *sim)
{
    return sim->now_ms - START_MS < sim->plan.faults_until_ms;
}

bool
sim_percent(struct sim *sim, uint32_t percent)
{
    return sim_below(sim, 100) < percent;
}

struct event {
    struct ps_heap_node node;
    sim_fn fn;
    uint64_t a;
    uint64_t b;
    void *own;
};

void
sim_at(struct sim *sim, int64_t in_ms, sim_fn fn, uint64_t a, uint64_t b, void *own)
{
    struct event *event = ps_xcalloc(1, sizeof *event);
    ps_heap_node_init(&event->node);
    event->fn = fn;
    event->a = a;
    event->b = b;
    event->own = own;
    ps_heap_put(&sim->events, &event->node, sim->now_ms + in_ms);
}

static int64_t
mono_ms(void *ctx)
{
    return ((struct sim *)ctx)->now_ms;
}

static int64_t
wall_ms(void *ctx)
{
    return ((struct sim *)ctx)->now_ms + WALL_AHEAD_MS;
}

static void
random_bytes(void *ctx, void *out, size_t bytes)
{
    ps_rand_bytes(&((struct sim *)ctx)->rand, out, bytes);
}

/* ---- the engine */
static void
start_engine(struct sim *sim)
{
    struct engine_env env = {.ctx = sim,
                             .mono_ms = mono_ms,
                             .wall_ms = wall_ms,
                             .random = random_bytes,
                             .catalog = sim->catalog};
    struct engine_config config = {
        .heartbeat_ms = 3000, .lease_ms = LEASE_MS, .self_stop_ms = 10000, .leaf_silence_ms = 5000};
    struct ps_error err = {0};
    if (engine_new(&env, &config, &sim->engine, &err) != PS_OK) {
        fprintf(stderr, "%s\n", err.text);
        SIM_CHECK(sim, !"engine_new");
    }
    sim->turn_wanted = true;
    sim->turn_at_ms = sim->now_ms;
}

/* The catalog stays: its connection is what a new process would open. */
static void
bring_up(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)a;
    (void)b;
    (void)own;
    struct ps_error err = {0};
    struct cat_stamp stamp = catalog_stamp(sim->catalog);
    stamp.cluster_epoch++;
    SIM_CHECK(sim, catalog_raise_stamp(sim->catalog, stamp, &err) == PS_OK &&
                       catalog_commit(sim->catalog, &err) == PS_OK);
    start_engine(sim);
    sim_note(sim, "coordinator up");
}

static void
take_down(struct sim *sim)
{
    engine_free(sim->engine);
    sim->engine = NULL;
    sim->turn_wanted = false;
    SIM_CHECK(sim, sim->calls_out == 0);
}

static void
want_turn(struct sim *sim)
{
    int64_t at = sim->now_ms + (int64_t)sim_below(sim, 3);
    if (!sim->turn_wanted || at < sim->turn_at_ms) {
        sim->turn_at_ms = at;
        sim->turn_wanted = true;
    }
}

/* ---- messages */
struct call {
    struct sim *sim;
    uint32_t agent;
    uint64_t life;
    uint64_t call;
};
struct lease {
    uint64_t epoch;
    uint32_t agent;
    uint64_t life;
};
struct parcel {
    uint64_t era; /* no connection outlives the state that it led to */
    uint32_t agent;
    uint64_t life;
    uint64_t call;
    struct ps_buf frame;
};

static int64_t
travel_ms(struct sim *sim)
{
    bool late = sim_has_faults(sim) && sim_percent(sim, 3);
    return (int64_t)(late ? sim_below(sim, 20000) : sim_below(sim, 5));
}

static ProtobufCMessage *
unwrap(struct sim *sim, struct parcel *parcel, enum msg_type *out_type)
{
    ProtobufCMessage *message = NULL;
    struct ps_error err = {0};
    SIM_CHECK(sim, frame_unpack(ps_buf_span(&parcel->frame), out_type, &message, &err) == PS_OK);
    ps_buf_fini(&parcel->frame);
    ps_free(parcel);
    return message;
}

static struct parcel *
wrap(struct sim *sim, uint32_t agent, uint64_t life, uint64_t call, enum msg_type type,
     const ProtobufCMessage *message)
{
    struct parcel *parcel = ps_xcalloc(1, sizeof *parcel);
    struct ps_error err = {0};
    parcel->era = sim->era;
    parcel->agent = agent;
    parcel->life = life;
    parcel->call = call;
    SIM_CHECK(sim, frame_append(&parcel->frame, type, message, &err) == PS_OK);
    return parcel;
}

static void
deliver_answer(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)a;
    (void)b;
    struct parcel *parcel = own;
    uint32_t agent = parcel->agent;
    if (sim_agent_paused_ms(sim, agent) > 0) {
        sim_at(sim, sim_agent_paused_ms(sim, agent), deliver_answer, 0, 0, parcel);
        return;
    }
    uint64_t life = parcel->life;
    uint64_t call = parcel->call;
    enum msg_type type = MSG_SYNC_REPLY;
    ProtobufCMessage *message = unwrap(sim, parcel, &type);
    sim_agent_answer(sim, agent, life, call, type, message);
}

/* An epoch is higher than all before, or it is the same lease once more. */
static void
check_grants(struct sim *sim, const struct call *call, const Penstock__SyncReply *reply)
{
    for (size_t i = 0; i < reply->n_grants; i++) {
        const Penstock__Grant *grant = reply->grants[i];
        struct ps_span id = ps_span(grant->batch->batch_id.data, grant->batch->batch_id.len);
        struct lease *lease = ps_map_find(sim->epochs, id);
        if (lease == NULL) {
            lease = ps_xcalloc(1, sizeof *lease);
            (void)ps_map_put(sim->epochs, id, lease);
        }
        bool again = grant->epoch == lease->epoch && call->agent == lease->agent &&
                     call->life == lease->life;
        SIM_CHECK(sim, again || grant->epoch > lease->epoch);
        *lease = (struct lease){.epoch = grant->epoch, .agent = call->agent, .life = call->life};
        sim->grants++;
    }
}

static void
take_reply(void *ctx, enum msg_type type, const ProtobufCMessage *message)
{
    struct call *call = ctx;
    struct sim *sim = call->sim;
    sim->calls_out--;
    if (type == MSG_SYNC_REPLY) {
        check_grants(sim, call, (const Penstock__SyncReply *)(const void *)message);
    }
    if (sim_has_faults(sim) && sim_percent(sim, sim->plan.drop_percent)) {
        sim->dropped++;
    } else {
        sim_at(sim, travel_ms(sim), deliver_answer, 0, 0,
               wrap(sim, call->agent, call->life, call->call, type, message));
    }
    ps_free(call);
}

static void
deliver_request(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)a;
    (void)b;
    struct parcel *parcel = own;
    struct call *call = ps_xcalloc(1, sizeof *call);
    *call = (struct call){
        .sim = sim, .agent = parcel->agent, .life = parcel->life, .call = parcel->call};
    struct engine_request request = {.ctx = call, .reply = take_reply};
    bool is_old = parcel->era != sim->era;
    request.message = unwrap(sim, parcel, &request.type);
    if (sim->engine == NULL || is_old) {
        msg_free(request.message);
        ps_free(call);
        return;
    }
    sim->calls_out++;
    engine_submit_request(sim->engine, &request);
    want_turn(sim);
}

void
sim_send(struct sim *sim, uint32_t agent, uint64_t life, uint64_t call, enum msg_type type,
         const ProtobufCMessage *message)
{
    if (sim_has_faults(sim) && sim_percent(sim, sim->plan.drop_percent)) {
        sim->dropped++;
        return;
    }
    sim_at(sim, travel_ms(sim), deliver_request, 0, 0, wrap(sim, agent, life, call, type, message));
    if (sim_has_faults(sim) && sim_percent(sim, sim->plan.twice_percent)) {
        sim_at(sim, (int64_t)sim_below(sim, 10000), deliver_request, 0, 0,
               wrap(sim, agent, life, call, type, message));
    }
}

/* ---- people */
static void
take_pipeline(void *ctx, const struct command_result *result)
{
    struct sim *sim = ctx;
    if (result->pipeline == NULL) {
        return;
    }
    const char *reason = result->pipeline->reason == NULL ? "" : result->pipeline->reason;
    if (strcmp(sim->state, result->pipeline->state) != 0) {
        sim_note(sim, "pipeline %s: %s", result->pipeline->state, reason);
    }
    snprintf(sim->state, sizeof sim->state, "%s", result->pipeline->state);
    snprintf(sim->reason, sizeof sim->reason, "%s", reason);
}

static void
command(struct sim *sim, enum command_kind kind, const char *spec_json)
{
    struct engine_command command = {.kind = kind,
                                     .name = ps_xstrdup("sim"),
                                     .spec_json = ps_xstrdup(spec_json),
                                     .ctx = sim,
                                     .reply = take_pipeline};
    engine_submit_command(sim->engine, &command);
    want_turn(sim);
}

static void
put_and_start(struct sim *sim)
{
    char *spec = ps_xasprintf("{\"name\":\"sim\",\"source\":{\"url\":\"file:data/*.csv\"},"
                              "\"destination\":{\"url\":\"sqlite:sim.db\",\"table\":\"t\"},"
                              "\"errors\":{\"max_retries\":%u,\"on_failure\":\"%s\"},"
                              "\"limits\":{\"batch_bytes\":%llu}}",
                              sim->plan.max_retries, sim->plan.on_failure,
                              (unsigned long long)sim->plan.batch_bytes);
    command(sim, COMMAND_PUT, spec);
    command(sim, COMMAND_START, NULL);
    ps_free(spec);
}

/* ---- what must hold at any moment */
static bool
look_at_object(void *ctx, const struct cat_object *row)
{
    struct sim *sim = ctx;
    ProtobufCBinaryData key = {.len = row->key.len, .data = (uint8_t *)(uintptr_t)row->key.ptr};
    uint32_t index = sim_dest_object(sim, key);
    uint64_t *seen = ps_map_find(sim->offsets, row->key);
    if (seen == NULL) {
        seen = ps_xcalloc(1, sizeof *seen);
        (void)ps_map_put(sim->offsets, row->key, seen);
    }
    SIM_CHECK(sim, row->offset >= *seen || sim->plan.state_deleted);
    *seen = row->offset;
    /* The offset moves only with its rows. */
    SIM_CHECK(sim, row->offset <= sim->objects[index].loaded_to);
    return true;
}

/* ---- the parts of an object leave no gap */
struct cover {
    struct sim *sim;
    uint64_t to;
    bool after_open; /* where an open part ends may be known from the ledger */
};

static bool
look_at_part(void *ctx, const struct cat_part *row)
{
    struct cover *cover = ctx;
    uint64_t to = row->from + row->target_bytes;
    bool is_open = strcmp(row->state, "open") == 0;
    SIM_CHECK(cover->sim, row->from <= cover->to || cover->after_open);
    SIM_CHECK(cover->sim, is_open == (row->has_batch && row->end == 0));
    to = row->end > to ? row->end : to;
    cover->to = to > cover->to ? to : cover->to;
    cover->after_open = is_open;
    return true;
}

static bool
look_at_parts(void *ctx, const struct cat_object *row)
{
    struct cover cover = {.sim = ctx, .to = row->offset};
    struct ps_error err = {0};
    SIM_CHECK(cover.sim, cat_part_all(cover.sim->catalog, row->pipeline_id, row->id, look_at_part,
                                      &cover, &err) == PS_OK);
    SIM_CHECK(cover.sim, row->cut_offset <= cover.to || cover.after_open);
    return true;
}

struct recount {
    uint64_t objects, done, pending, quarantined, bytes_pending;
};

static bool
count_object(void *ctx, const struct cat_object *row)
{
    struct recount *count = ctx;
    count->objects++;
    count->done += strcmp(row->state, "done") == 0;
    count->pending += strcmp(row->state, "pending") == 0;
    count->bytes_pending += strcmp(row->state, "pending") == 0 ? row->rest_bytes : 0;
    count->quarantined += strcmp(row->state, "quarantined") == 0;
    return true;
}

static bool
check_counters(void *ctx, const struct cat_pipeline *row)
{
    struct sim *sim = ctx;
    struct recount count = {0};
    struct cat_object_page all = {
        .pipeline_id = row->id, .generation = row->generation, .limit = UINT32_MAX};
    struct ps_error err = {0};
    SIM_CHECK(sim, cat_object_first(sim->catalog, &all, count_object, &count, &err) == PS_OK);
    SIM_CHECK(sim, count.objects == row->objects);
    SIM_CHECK(sim, count.done == row->objects_done);
    SIM_CHECK(sim, count.pending == row->objects_pending);
    SIM_CHECK(sim, count.quarantined == row->objects_quarantined);
    SIM_CHECK(sim, count.bytes_pending == row->bytes_pending);
    SIM_CHECK(sim, cat_object_first(sim->catalog, &all, look_at_object, sim, &err) == PS_OK);
    if (sim->plan.splits) {
        SIM_CHECK(sim, cat_object_first(sim->catalog, &all, look_at_parts, sim, &err) == PS_OK);
    }
    return true;
}

static void
check_now(struct sim *sim)
{
    struct ps_error err = {0};
    SIM_CHECK(sim, cat_pipeline_all(sim->catalog, check_counters, sim, &err) == PS_OK);
}

/* ---- faults */
static void
open_catalog(struct sim *sim)
{
    struct ps_error err = {0};
    if (catalog_open(":memory:", &sim->catalog, &err) != PS_OK) {
        fprintf(stderr, "%s\n", err.text);
        SIM_CHECK(sim, !"catalog_open");
    }
}

static void
lose_state(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (sim->engine == NULL) {
        sim_at(sim, 5000, lose_state, a, b, own);
        return;
    }
    take_down(sim);
    catalog_close(sim->catalog);
    open_catalog(sim);
    sim->era++;
    sim_note(sim, "state lost");
    /* With the state of a local run go its agents. */
    for (uint32_t i = 0; i < sim->plan.agents; i++) {
        sim_agent_crash(sim, i);
    }
    start_engine(sim);
    put_and_start(sim);
}

static void
start_again(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (sim->engine == NULL) {
        sim_at(sim, 1000, start_again, a, b, own);
        return;
    }
    sim_note(sim, "start");
    command(sim, COMMAND_START, NULL);
}

static void
fault(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (!sim_has_faults(sim)) {
        return;
    }
    uint32_t agent = (uint32_t)sim_below(sim, sim->plan.agents);
    switch (sim_below(sim, 4)) {
    case 3:
        if (sim->plan.stops && sim->engine != NULL) {
            sim_note(sim, "stop");
            command(sim, COMMAND_STOP, NULL);
            sim_at(sim, (int64_t)sim_below(sim, 6000), start_again, 0, 0, NULL);
        }
        break;
    case 0:
        if (sim->plan.coordinator_restarts && sim->engine != NULL) {
            sim_note(sim, "coordinator down");
            sim->restarts++;
            take_down(sim);
            sim_at(sim, (int64_t)sim_below(sim, 20000), bring_up, 0, 0, NULL);
        }
        break;
    case 1:
        if (sim->plan.agent_restarts && sim_percent(sim, 30)) {
            sim_agent_drain(sim, agent);
        } else if (sim->plan.agent_restarts) {
            sim_agent_crash(sim, agent);
        }
        break;
    default:
        if (sim->plan.pauses) {
            sim_agent_pause(sim, agent, (int64_t)sim_below(sim, 30000));
        }
        break;
    }
    sim_at(sim, (int64_t)sim_below(sim, 4000), fault, a, b, own);
}

/* ---- a run */
static void
turn(struct sim *sim)
{
    struct ps_error err = {0};
    int64_t next_ms = 0;
    sim->turn_wanted = false;
    sim->turns++;
    if (engine_turn(sim->engine, &next_ms, &err) != PS_OK) {
        fprintf(stderr, "%s\n", err.text);
        SIM_CHECK(sim, !"engine_turn");
    }
    sim->turn_at_ms = next_ms > sim->now_ms ? next_ms : sim->now_ms + 1;
    sim->turn_wanted = true;
    if (sim->turns % (64 + sim->plan.objects) == 0) {
        check_now(sim);
    }
}

static bool
has_bad(const struct sim *sim)
{
    bool bad = false;
    for (uint32_t i = 0; i < sim->plan.objects; i++) {
        bad = bad || sim->objects[i].bad;
    }
    return bad;
}

static bool
is_over(struct sim *sim)
{
    command(sim, COMMAND_WATCH, NULL);
    turn(sim);
    if (strcmp(sim->state, "stalled") == 0 && !has_bad(sim) && sim->restarts_by_hand < 10) {
        sim->restarts_by_hand++;
        sim_note(sim, "start what three leaves died of");
        command(sim, COMMAND_START, NULL);
        return false;
    }
    return strcmp(sim->state, "completed") == 0 || strcmp(sim->state, "stalled") == 0 ||
           strcmp(sim->state, "failed") == 0;
}

static void
step(struct sim *sim)
{
    struct ps_heap_node *first = ps_heap_first(&sim->events);
    bool engine_first =
        sim->engine != NULL && sim->turn_wanted && (first == NULL || sim->turn_at_ms <= first->key);
    SIM_CHECK(sim, engine_first || first != NULL);
    if (engine_first) {
        sim->now_ms = sim->turn_at_ms > sim->now_ms ? sim->turn_at_ms : sim->now_ms;
        turn(sim);
        return;
    }
    struct event *event = PS_CONTAINER(ps_heap_take(&sim->events), struct event, node);
    sim->now_ms = event->node.key > sim->now_ms ? event->node.key : sim->now_ms;
    event->fn(sim, event->a, event->b, event->own);
    ps_free(event);
}

static void
finish(struct sim *sim)
{
    bool bad = has_bad(sim);
    bool completed = strcmp(sim->state, "completed") == 0;
    check_now(sim);
    SIM_CHECK(sim, completed || (bad && strcmp(sim->state, "stalled") == 0));
    if (!bad || strcmp(sim->plan.on_failure, "skip") == 0) {
        sim_dest_check_whole(sim);
    }
    SIM_CHECK(sim, sim->dest.conflicts == 0 || sim->plan.state_deleted);
}

static void
drop_event(struct event *event)
{
    if (event->fn == deliver_answer || event->fn == deliver_request) {
        struct parcel *parcel = event->own;
        ps_buf_fini(&parcel->frame);
        ps_free(parcel);
    }
    ps_free(event);
}

static void
free_values(struct ps_map *map)
{
    size_t cursor = 0;
    struct ps_span key;
    void *value = NULL;
    while (ps_map_next(map, &cursor, &key, &value)) {
        ps_free(value);
    }
    ps_map_free(map);
}

void
sim_run(const struct sim_plan *plan, uint64_t *out_hash)
{
    struct sim sim = {.plan = *plan, .now_ms = START_MS, .hash = 0xcbf29ce484222325U};
    ps_rand_seed(&sim.rand, plan->seed);
    sim.epochs = ps_map_new();
    sim.offsets = ps_map_new();
    sim.deaths = ps_map_new();
    sim_dest_init(&sim);
    sim.agents = ps_xcalloc(plan->agents, sizeof(struct sim_agent *));
    open_catalog(&sim);
    start_engine(&sim);
    put_and_start(&sim);
    for (uint32_t i = 0; i < plan->agents; i++) {
        sim_agent_boot(&sim, i);
    }
    if (plan->faults_until_ms > 0) {
        sim_at(&sim, (int64_t)sim_below(&sim, 2000), fault, 0, 0, NULL);
    }
    if (plan->state_deleted) {
        sim_at(&sim, 200 + (int64_t)sim_below(&sim, 10000), lose_state, 0, 0, NULL);
    }
    int64_t until_ms = START_MS + plan->faults_until_ms + SETTLE_MS;
    int64_t look_ms = START_MS;
    for (bool over = false; !over;) {
        step(&sim);
        SIM_CHECK(&sim, sim.now_ms < until_ms); /* all is over soon after the last fault */
        if (sim.now_ms >= look_ms && sim.engine != NULL) {
            look_ms = sim.now_ms + 500;
            over = is_over(&sim) && !sim_has_faults(&sim);
        }
    }
    if (plan->splits && getenv("PENSTOCK_SIM_LOG") != NULL) {
        fprintf(stderr, "cuts %llu proofs %llu redone %llu own scans %llu conflicts %llu\n",
                (unsigned long long)sim.cuts, (unsigned long long)sim.proofs,
                (unsigned long long)sim.redone, (unsigned long long)sim.own_scans,
                (unsigned long long)sim.dest.conflicts);
    }
    sim_note(&sim, "over: commits=%llu twins=%llu", (unsigned long long)sim.dest.commits,
             (unsigned long long)sim.dest.refused_twins);
    finish(&sim);
    take_down(&sim);
    struct ps_heap_node *node = NULL;
    while ((node = ps_heap_take(&sim.events)) != NULL) {
        drop_event(PS_CONTAINER(node, struct event, node));
    }
    ps_heap_fini(&sim.events);
    sim_agent_free_all(&sim);
    catalog_close(sim.catalog);
    free_values(sim.epochs);
    free_values(sim.offsets);
    free_values(sim.deaths);
    sim_dest_fini(&sim);
    *out_hash = sim.hash;
}
