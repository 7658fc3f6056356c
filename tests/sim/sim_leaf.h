/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/sim_leaf.h: a leaf process as PROTOCOL.md describes it, and all that may befall it.
 * Its mail and its agent's take a millisecond each way and keep their order. */
#ifndef TESTS_SIM_SIM_LEAF_H
#define TESTS_SIM_SIM_LEAF_H

#include "agent/control/control_core.h"
#include "tests/sim/sim.h"

enum { SIM_LEAVES_MOST = 64, SIM_MAIL_MS = 1, SIM_STORED_MOST = 32 };

struct sim_stored { /* a sealed segment */
    uint8_t id[PS_ID_BYTES];
    uint64_t epoch;
};

struct sim_leaf {
    uint32_t number;
    uint32_t life; /* rises with every process */
    bool up;
    bool draining;
    bool stuck;           /* SIGSTOP: silent until it is killed */
    bool has_turn;        /* of the destination's writer */
    int64_t free_at_ms;   /* all that it has will be extracted then */
    uint32_t batches;     /* that it works on */
    struct ps_list inbox; /* struct sim_mail */
    struct ps_list outbox;
    struct ps_list work;
    struct sim_stored stored[SIM_STORED_MOST]; /* outlives the process and its agent */
    size_t stored_count;
};

struct sim_agent {
    uint32_t index;
    uint64_t life;
    bool up;
    int64_t paused_until_ms;
    struct control_core *core; /* NULL while down */
    struct control_env env;
    struct sim *sim;
    uint64_t ticks; /* only the newest tick counts */
    uint64_t calls_made;
    uint64_t serials;
    struct ps_list calls;
    struct ps_list zombies; /* what leaves that are dead will still have committed */
    struct sim_leaf leaves[SIM_LEAVES_MOST];
    char name[16];
};

/* ---- sim_agent.c, for sim_leaf.c */
/* a of an event that belongs to one life of an agent. */
uint64_t sim_agent_who(const struct sim_agent *agent);
struct sim_agent *sim_agent_alive(struct sim *sim, uint64_t a); /* NULL: that life is over */
/* True: the processes stand still; the event comes again when they go on. */
bool sim_agent_is_paused(struct sim *sim, struct sim_agent *agent, sim_fn fn, uint64_t a,
                         uint64_t b);
void sim_agent_turn(struct sim *sim, struct sim_agent *agent);
/* A copy over the wire's own encoding. */
ProtobufCMessage *sim_copy(struct sim *sim, enum msg_type type, const ProtobufCMessage *message);

/* ---- sim_leaf.c */
void sim_leaf_init(struct sim_leaf *leaf, uint32_t number);
void sim_leaf_spawn(struct sim *sim, struct sim_agent *agent, uint32_t number);
void sim_leaf_send(struct sim *sim, struct sim_agent *agent, uint32_t number, enum msg_type type,
                   const ProtobufCMessage *message);
/* SIGKILL: its agent hears of it after its last words. */
void sim_leaf_kill(struct sim *sim, struct sim_agent *agent, uint32_t number);
/* Its agent is gone, and so is it; what it was doing may still be committed a while later. */
void sim_leaf_orphan(struct sim *sim, struct sim_agent *agent, uint32_t number);
void sim_leaf_fini(struct sim_leaf *leaf);
void sim_leaf_free_zombies(struct sim_agent *agent);

#endif
