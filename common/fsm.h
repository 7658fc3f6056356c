/* SPDX-License-Identifier: Apache-2.0 */
/* common/fsm.h: state machines as tables. A .def file has one line an edge that a reader
 * understands without C: EDGE(PENDING, GRANTED, LEASED, "a free leaf took it") and is expanded by
 * its owner: static const struct fsm_edge edges[] = { #define EDGE(from, event, to, why)
 * {BATCH_##from, BATCH_EVENT_##event, BATCH_##to, why}, #include "coordinator/sched/batch_fsm.def"
 *     };
 * Invariant: at most one edge leaves a state for an event; fsm_check proves it and more, in a test.
 * Threads: pure. */
#ifndef COMMON_FSM_H
#define COMMON_FSM_H

#include "common/error.h"

struct fsm_edge {
    int from;
    int event;
    int to;
    const char *why; /* a sentence's end, for logs, events and docs */
};

/* States and events are 0 … count-1. */
struct fsm {
    const char *name;
    const struct fsm_edge *edges;
    size_t edge_count;
    int state_count;
    int event_count;
    int first; /* the state things are born in */
    const char *(*state_name)(int state);
    const char *(*event_name)(int event);
    bool (*is_final)(int state); /* nothing leaves it; NULL = no such state */
};

/* NULL: the event means nothing in this state (the caller decides: ignore or PS_BUG). */
const struct fsm_edge *fsm_find(const struct fsm *fsm, int state, int event);
/* Moves *state along the edge; PS_BUG with names where there is none. *out_why may be NULL. */
PS_MUSTCHECK enum ps_status fsm_move(const struct fsm *fsm, int *state, int event,
                                     const char **out_why, struct ps_error *err);

/* For tests: every number in range and named, no two edges of one state and event, every state
 * reachable from first, every event used, every non-final state has a way to a final one, nothing
 * leaves a final state, each edge has a reason. PS_BUG names the first fault. */
PS_MUSTCHECK enum ps_status fsm_check(const struct fsm *fsm, struct ps_error *err);

#endif
