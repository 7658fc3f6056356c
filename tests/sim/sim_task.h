/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/sim_task.h: what a leaf works on, and its answers to tasks: pages of a discovery, the
 * ledger in chunks, a table prepared. */
#ifndef TESTS_SIM_SIM_TASK_H
#define TESTS_SIM_SIM_TASK_H

#include "tests/sim/sim_leaf.h"

struct sim_work { /* a batch or a task */
    struct ps_list link;
    uint64_t serial;            /* also the number of its turn */
    Penstock__LeafGrant *grant; /* or */
    Penstock__LeafTask *task;
    struct sim *busy_in; /* counted as a leaf's work; NULL: not */
    uint32_t *busy_count;
    bool cancelled;
    bool committing;
    bool stored; /* in the leaf's folder: sim_stage.h */
    uint64_t fault_bp;
    /* A range that begins at a cut: sim_cut.h. */
    uint64_t start;
    uint64_t end;
    uint64_t proof; /* the coordinator's; 0: none */
    bool decoded;
    bool proven;
    bool parked;
    uint32_t page;        /* task: which object or chunk comes next */
    struct bp_hash after; /* reconcile: the last range of the chunk before, and of this one */
    uint64_t after_from;
    struct bp_hash next;
    uint64_t next_from;
    bool last;
    bool waits_for_ack;
};

void sim_leaf_say(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                  enum msg_type type, const ProtobufCMessage *message);

void sim_task_begin(struct sim_work *work);
/* Sends the page or chunk that is next; sets work->last. */
void sim_task_report(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                     struct sim_work *work);
void sim_task_next(const struct sim *sim, struct sim_work *work);
void sim_task_give_up(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                      struct sim_work *work);

#endif
