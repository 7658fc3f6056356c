/* SPDX-License-Identifier: Apache-2.0 */
/* An agent: the real control core; its line, its clock and its leaves are the simulation's. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "tests/sim/sim_leaf.h"

struct call_out {
    struct ps_list link;
    uint64_t id;
    unsigned slot;
};

uint64_t
sim_agent_who(const struct sim_agent *agent)
{
    return agent->index | agent->life << 16;
}

struct sim_agent *
sim_agent_alive(struct sim *sim, uint64_t a)
{
    struct sim_agent *agent = sim->agents[a & 0xffff];
    return agent->up && agent->life == a >> 16 ? agent : NULL;
}

bool
sim_agent_is_paused(struct sim *sim, struct sim_agent *agent, sim_fn fn, uint64_t a, uint64_t b)
{
    if (sim->now_ms < agent->paused_until_ms) {
        sim_at(sim, agent->paused_until_ms - sim->now_ms, fn, a, b, NULL);
        return true;
    }
    return false;
}

int64_t
sim_agent_paused_ms(const struct sim *sim, uint32_t index)
{
    int64_t left_ms = sim->agents[index]->paused_until_ms - sim->now_ms;
    return left_ms > 0 ? left_ms : 0;
}

ProtobufCMessage *
sim_copy(struct sim *sim, enum msg_type type, const ProtobufCMessage *message)
{
    struct ps_buf frame = PS_BUF_INIT;
    ProtobufCMessage *out = NULL;
    struct ps_error err = {0};
    SIM_CHECK(sim, frame_append(&frame, type, message, &err) == PS_OK &&
                       frame_unpack(ps_buf_span(&frame), &type, &out, &err) == PS_OK);
    ps_buf_fini(&frame);
    return out;
}

/* ---- what the core asks for */
static int64_t
env_mono_ms(void *ctx)
{
    return ((struct sim_agent *)ctx)->sim->now_ms;
}

static void
env_random(void *ctx, void *out, size_t bytes)
{
    ps_rand_bytes(&((struct sim_agent *)ctx)->sim->rand, out, bytes);
}

static struct call_out *
take_call(struct sim_agent *agent, uint64_t id)
{
    PS_LIST_FOR (at, &agent->calls) {
        struct call_out *out = PS_CONTAINER(at, struct call_out, link);
        if (out->id == id) {
            ps_list_remove(&out->link);
            return out;
        }
    }
    return NULL;
}

static void
lost(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    if (agent == NULL || sim_agent_is_paused(sim, agent, lost, a, b)) {
        return;
    }
    struct call_out *out = take_call(agent, b);
    if (out != NULL) {
        control_core_lost(agent->core, out->slot);
        ps_free(out);
        sim_agent_turn(sim, agent);
    }
}

static void
env_send_coordinator(void *ctx, unsigned slot, uint32_t timeout_ms, enum msg_type type,
                     const ProtobufCMessage *message)
{
    struct sim_agent *agent = ctx;
    struct call_out *out = ps_xcalloc(1, sizeof *out);
    out->id = ++agent->calls_made;
    out->slot = slot;
    PS_LIST_FOR (at, &agent->calls) {
        SIM_CHECK(agent->sim, PS_CONTAINER(at, struct call_out, link)->slot != slot);
    }
    ps_list_push_back(&agent->calls, &out->link);
    sim_send(agent->sim, agent->index, agent->life, out->id, type, message);
    sim_at(agent->sim, timeout_ms, lost, sim_agent_who(agent), out->id, NULL);
}

static void
env_send_leaf(void *ctx, uint32_t leaf, enum msg_type type, const ProtobufCMessage *message)
{
    struct sim_agent *agent = ctx;
    sim_leaf_send(agent->sim, agent, leaf, type, message);
}

static enum ps_status
env_spawn_leaf(void *ctx, uint32_t leaf, struct ps_error *err)
{
    struct sim_agent *agent = ctx;
    if (sim_has_faults(agent->sim) && agent->sim->plan.leaf_deaths && sim_percent(agent->sim, 5)) {
        return ps_fail(err, PS_FULL, "no more processes");
    }
    sim_leaf_spawn(agent->sim, agent, leaf);
    return PS_OK;
}

static void
env_kill_leaf(void *ctx, uint32_t leaf)
{
    struct sim_agent *agent = ctx;
    sim_leaf_kill(agent->sim, agent, leaf);
}

static void
env_log(void *ctx, enum log_level level, const char *event, const char *text)
{
    struct sim_agent *agent = ctx;
    sim_note(agent->sim, "%s: %d %s %s", agent->name, (int)level, event, text);
}

/* ---- time */
static void
tick(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    if (agent != NULL && agent->ticks == b && !sim_agent_is_paused(sim, agent, tick, a, b)) {
        sim_agent_turn(sim, agent);
    }
}

static void go_down(struct sim *sim, struct sim_agent *agent, int64_t back_in_ms);

void
sim_agent_turn(struct sim *sim, struct sim_agent *agent)
{
    int64_t next_ms = control_core_turn(agent->core);
    enum control_state state = control_core_state(agent->core);
    SIM_CHECK(sim, state != CONTROL_REFUSED);
    if (state != CONTROL_RUNNING) {
        /* Superseded: by a hello of its own earlier life that was late. Something starts it again,
         * as it does after a crash. */
        sim_note(sim, "%s ended: %s", agent->name,
                 state == CONTROL_DRAINED ? "drained" : "superseded");
        go_down(sim, agent, (int64_t)sim_below(sim, 2000));
    } else {
        SIM_CHECK(sim, next_ms != INT64_MAX);
        int64_t in_ms = next_ms > sim->now_ms ? next_ms - sim->now_ms : 1;
        sim_at(sim, in_ms, tick, sim_agent_who(agent), ++agent->ticks, NULL);
    }
}

void
sim_agent_answer(struct sim *sim, uint32_t index, uint64_t life, uint64_t id, enum msg_type type,
                 ProtobufCMessage *message)
{
    struct sim_agent *agent = sim_agent_alive(sim, index | life << 16);
    struct call_out *out = agent == NULL ? NULL : take_call(agent, id);
    if (out != NULL) {
        control_core_answer(agent->core, out->slot, type, &message);
        ps_free(out);
        sim_agent_turn(sim, agent);
    }
    msg_free(message);
}

/* ---- life */
static void
boot(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)b;
    (void)own;
    sim_agent_boot(sim, (uint32_t)a);
}

static struct sim_agent *
new_agent(struct sim *sim, uint32_t index)
{
    struct sim_agent *agent = ps_xcalloc(1, sizeof *agent);
    agent->sim = sim;
    agent->index = index;
    snprintf(agent->name, sizeof agent->name, "agent-%u", index);
    ps_list_init(&agent->calls);
    ps_list_init(&agent->zombies);
    for (uint32_t i = 0; i < SIM_LEAVES_MOST; i++) {
        sim_leaf_init(&agent->leaves[i], i);
    }
    agent->env = (struct control_env){.ctx = agent,
                                      .mono_ms = env_mono_ms,
                                      .random = env_random,
                                      .send_coordinator = env_send_coordinator,
                                      .send_leaf = env_send_leaf,
                                      .spawn_leaf = env_spawn_leaf,
                                      .kill_leaf = env_kill_leaf,
                                      .log = env_log};
    return agent;
}

void
sim_agent_boot(struct sim *sim, uint32_t index)
{
    struct sim_agent *agent = sim->agents[index];
    if (agent == NULL) {
        agent = sim->agents[index] = new_agent(sim, index);
    }
    if (agent->up) {
        return;
    }
    static const char *const schemes[] = {"file", "sqlite"};
    struct control_config config = {.agent_name = agent->name,
                                    .leaves = sim->plan.leaves,
                                    .pid = index,
                                    .schemes = schemes,
                                    .scheme_count = 2};
    agent->life++;
    agent->up = true;
    agent->core = control_core_new(&agent->env, &config);
    sim_note(sim, "%s up", agent->name);
    sim_agent_turn(sim, agent);
}

static void
forget_calls(struct sim_agent *agent)
{
    PS_LIST_FOR (at, &agent->calls) {
        struct call_out *out = PS_CONTAINER(at, struct call_out, link);
        ps_list_remove(&out->link);
        ps_free(out);
    }
}

static void
go_down(struct sim *sim, struct sim_agent *agent, int64_t back_in_ms)
{
    agent->up = false;
    agent->paused_until_ms = 0;
    forget_calls(agent);
    control_core_free(agent->core);
    agent->core = NULL;
    for (uint32_t i = 0; i < sim->plan.leaves; i++) {
        sim_leaf_orphan(sim, agent, i);
    }
    sim_at(sim, back_in_ms, boot, agent->index, 0, NULL);
}

void
sim_agent_crash(struct sim *sim, uint32_t index)
{
    struct sim_agent *agent = sim->agents[index];
    if (agent == NULL || !agent->up) {
        return;
    }
    sim_note(sim, "%s down", agent->name);
    go_down(sim, agent, (int64_t)sim_below(sim, 8000));
}

void
sim_agent_drain(struct sim *sim, uint32_t index)
{
    struct sim_agent *agent = sim->agents[index];
    if (agent != NULL && agent->up && agent->paused_until_ms <= sim->now_ms) {
        sim_note(sim, "%s drains", agent->name);
        control_core_drain(agent->core);
        sim_agent_turn(sim, agent);
    }
}

void
sim_agent_pause(struct sim *sim, uint32_t index, int64_t ms)
{
    struct sim_agent *agent = sim->agents[index];
    if (agent != NULL && agent->up && agent->paused_until_ms < sim->now_ms) {
        sim_note(sim, "%s stands still for %lld ms", agent->name, (long long)ms);
        agent->paused_until_ms = sim->now_ms + ms;
    }
}

void
sim_agent_free_all(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.agents; i++) {
        struct sim_agent *agent = sim->agents[i];
        if (agent == NULL) {
            continue;
        }
        forget_calls(agent);
        control_core_free(agent->core);
        for (uint32_t leaf = 0; leaf < SIM_LEAVES_MOST; leaf++) {
            sim_leaf_fini(&agent->leaves[leaf]);
        }
        sim_leaf_free_zombies(agent);
        ps_free(agent);
    }
    ps_free(sim->agents);
}
