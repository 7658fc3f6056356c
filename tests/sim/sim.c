/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/sched/states.h"

enum { START_MS = 1000000, LEASE_MS = 15000, SETTLE_MS = 45000 };
#define WALL_AHEAD_MS 1700000000000

/* ---- broken promises */
void
sim_broken(struct sim *sim, const char *what, const char *file, int line)
{
    fprintf(stderr,
            "\nsimulation broken: seed=%llu at %lld ms: %s (%s:%d)\npipeline: %s (%s)\n"
            "once more, with all that happens: PENSTOCK_SIM_SEED=%llu PENSTOCK_SIM_LOG=1 "
            "build/dev/tests/test_sim_engine --filter 'sim_engine/%s'\n",
            (unsigned long long)sim->plan.seed, (long long)(sim->now_ms - START_MS), what, file,
            line, sim->state, sim->reason, (unsigned long long)sim->plan.seed,
            sim->plan.is_large ? "*" : "seeds");
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

void
sim_disturb(struct sim *sim, int64_t for_ms)
{
    if (sim->now_ms + for_ms > sim->calm_ms) {
        sim->calm_ms = sim->now_ms + for_ms;
    }
}

bool
sim_forgets(const struct sim *sim)
{
    return sim->plan.state_deleted || sim->plan.catalog_restored;
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
    return ((struct sim *)ctx)->now_ms + WALL_AHEAD_MS + ((struct sim *)ctx)->wall_jump_ms;
}

static void
random_bytes(void *ctx, void *out, size_t bytes)
{
    ps_rand_bytes(&((struct sim *)ctx)->rand, out, bytes);
}

/* ---- the engine */
void
sim_engine_up(struct sim *sim)
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

void
sim_engine_down(struct sim *sim)
{
    engine_free(sim->engine);
    sim->engine = NULL;
    sim->turn_wanted = false;
    SIM_CHECK(sim, sim->calls_out == 0);
}

void
sim_want_turn(struct sim *sim)
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
    bool is_ahead; /* it has seen what the catalog does not know */
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
    if (sim->plan.is_large) {
        return 1;
    }
    if (!sim_has_faults(sim) || !sim_percent(sim, 3)) {
        return (int64_t)sim_below(sim, 5);
    }
    int64_t late_ms = (int64_t)sim_below(sim, 20000);
    sim_disturb(sim, late_ms);
    return late_ms;
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
        struct sim_lease *lease = ps_map_find(sim->epochs, id);
        if (lease == NULL) {
            lease = ps_xcalloc(1, sizeof *lease);
            (void)ps_map_put(sim->epochs, id, lease);
        }
        bool again = grant->epoch == lease->epoch && call->agent == lease->agent &&
                     call->life == lease->life;
        SIM_CHECK(sim, again || grant->epoch > lease->epoch);
        sim->is_behind = sim->is_behind && !sim_check_is_reconciled(sim);
        SIM_CHECK(sim, again || grant->tombstone || !sim->is_behind);
        *lease = (struct sim_lease){.epoch = grant->epoch,
                                    .agent = call->agent,
                                    .life = call->life,
                                    .generation = grant->batch->generation};
        sim->grants++;
        sim_busy_granted(sim);
    }
}

static void
take_reply(void *ctx, enum msg_type type, const ProtobufCMessage *message)
{
    struct call *call = ctx;
    struct sim *sim = call->sim;
    sim->calls_out--;
    if (type == MSG_HELLO_REPLY && call->is_ahead) {
        const Penstock__HelloReply *reply = (const Penstock__HelloReply *)(const void *)message;
        /* A catalog from before grants nothing until the ledger has been read. */
        sim->is_behind = sim->is_behind || reply->answer == PENSTOCK__ANSWER__ANSWER_OK;
        SIM_CHECK(sim, !sim->is_behind || !sim_check_is_reconciled(sim));
    }
    if (type == MSG_SYNC_REPLY) {
        check_grants(sim, call, (const Penstock__SyncReply *)(const void *)message);
    }
    if (sim->is_mute || (sim_has_faults(sim) && sim_percent(sim, sim->plan.drop_percent))) {
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
    if (request.type == MSG_HELLO) {
        const Penstock__Hello *hello = (const Penstock__Hello *)(const void *)request.message;
        struct cat_stamp ours = catalog_stamp(sim->catalog);
        call->is_ahead = hello->origin->seen->cluster_epoch > ours.cluster_epoch ||
                         hello->origin->seen->commit_seq > ours.commit_seq;
    }
    sim->calls_out++;
    engine_submit_request(sim->engine, &request);
    sim_want_turn(sim);
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
        int64_t in_ms = (int64_t)sim_below(sim, 10000);
        sim_disturb(sim, in_ms);
        sim_at(sim, in_ms, deliver_request, 0, 0, wrap(sim, agent, life, call, type, message));
    }
}

/* ---- a run */
static void
turn(struct sim *sim)
{
    struct ps_error err = {0};
    int64_t next_ms = 0;
    sim->turn_wanted = false;
    sim->turns++;
    sim_fault_before_turn(sim);
    enum ps_status status = engine_turn(sim->engine, &next_ms, &err);
    if (!sim_fault_after_turn(sim, status, &err)) {
        return;
    }
    sim->turn_at_ms = next_ms > sim->now_ms ? next_ms : sim->now_ms + 1;
    sim->turn_wanted = true;
    bool strict = getenv("PENSTOCK_SIM_STRICT") != NULL;
    if (strict || (!sim->plan.is_large && sim->turns % (64 + sim->plan.objects) == 0)) {
        sim_check_now(sim);
    }
}

static bool
is_over(struct sim *sim)
{
    sim_command(sim, COMMAND_WATCH, NULL);
    turn(sim);
    if (sim->engine == NULL || sim->raise_pending || sim->starts_pending > 0) {
        return false;
    }
    if (strcmp(sim->state, "stalled") == 0 && !sim_check_has_bad(sim) &&
        sim->restarts_by_hand < 10) {
        sim->restarts_by_hand++;
        sim_note(sim, "start what three leaves died of");
        sim_command(sim, COMMAND_START, NULL);
        return false;
    }
    if (strcmp(sim->state, "failed") == 0 && sim_fault_adopts(sim)) {
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
sim_run(const struct sim_plan *plan, uint64_t *out_hash, struct sim_busy *out_busy)
{
    struct sim sim = {.plan = *plan, .now_ms = START_MS, .hash = 0xcbf29ce484222325U};
    ps_rand_seed(&sim.rand, plan->seed);
    sim.epochs = ps_map_new();
    sim.offsets = ps_map_new();
    sim.deaths = ps_map_new();
    sim_dest_init(&sim);
    sim.agents = ps_xcalloc(plan->agents, sizeof(struct sim_agent *));
    sim_fault_open_catalog(&sim);
    sim_engine_up(&sim);
    sim_put_and_start(&sim);
    for (uint32_t i = 0; i < plan->agents; i++) {
        sim_agent_boot(&sim, i);
    }
    sim_fault_begin(&sim);
    sim.calm_ms = START_MS + plan->faults_until_ms;
    int64_t work_ms = plan->work_most_ms == 0 ? 0 : plan->most_ms;
    int64_t look_ms = START_MS;
    for (bool over = false; !over;) {
        step(&sim);
        /* All is over soon after the last fault. */
        SIM_CHECK(&sim, sim.now_ms < sim.calm_ms + SETTLE_MS + work_ms);
        if (sim.now_ms >= look_ms && sim.engine != NULL) {
            look_ms = sim.now_ms + 500;
            over = is_over(&sim) && !sim_has_faults(&sim) && sim.engine != NULL;
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
    sim_check_end(&sim);
    sim_engine_down(&sim);
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
    sim_fault_end(&sim);
    *out_hash = sim.hash;
    if (out_busy != NULL) {
        *out_busy = sim.busy;
    }
}
