/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/sched/states.h"

#include <string.h>

/* ---- batch */
static const struct fsm_edge batch_edges[] = {
#define EDGE(from, event, to, why) {BATCH_##from, BATCH_ON_##event, BATCH_##to, why},
#include "coordinator/sched/batch_fsm.def"
#undef EDGE
};
static const char *const batch_states[] = {
#define STATE(name, text, final, meaning) text,
#include "coordinator/sched/batch_fsm.def"
#undef STATE
};
static const char *const batch_events[] = {
#define EVENT(name, meaning) #name,
#include "coordinator/sched/batch_fsm.def"
#undef EVENT
};
static const bool batch_finals[] = {
#define STATE(name, text, final, meaning) final,
#include "coordinator/sched/batch_fsm.def"
#undef STATE
};

static const char *
batch_state_name(int state)
{
    return state >= 0 && state < BATCH_STATE_COUNT ? batch_states[state] : NULL;
}

static const char *
batch_event_name(int event)
{
    return event >= 0 && event < BATCH_EVENT_COUNT ? batch_events[event] : NULL;
}

static bool
batch_is_final(int state)
{
    return batch_finals[state];
}

const struct fsm states_batch = {
    .name = "batch",
    .edges = batch_edges,
    .edge_count = sizeof batch_edges / sizeof batch_edges[0],
    .state_count = BATCH_STATE_COUNT,
    .event_count = BATCH_EVENT_COUNT,
    .first = 0,
    .state_name = batch_state_name,
    .event_name = batch_event_name,
    .is_final = batch_is_final,
};

const char *
states_batch_name(enum batch_state state)
{
    return batch_states[state];
}

/* ---- object */
static const struct fsm_edge object_edges[] = {
#define EDGE(from, event, to, why) {OBJECT_##from, OBJECT_ON_##event, OBJECT_##to, why},
#include "coordinator/sched/object_fsm.def"
#undef EDGE
};
static const char *const object_states[] = {
#define STATE(name, text, final, meaning) text,
#include "coordinator/sched/object_fsm.def"
#undef STATE
};
static const char *const object_events[] = {
#define EVENT(name, meaning) #name,
#include "coordinator/sched/object_fsm.def"
#undef EVENT
};
static const char *
object_state_name(int state)
{
    return state >= 0 && state < OBJECT_STATE_COUNT ? object_states[state] : NULL;
}

static const char *
object_event_name(int event)
{
    return event >= 0 && event < OBJECT_EVENT_COUNT ? object_events[event] : NULL;
}

const struct fsm states_object = {
    .name = "object",
    .edges = object_edges,
    .edge_count = sizeof object_edges / sizeof object_edges[0],
    .state_count = OBJECT_STATE_COUNT,
    .event_count = OBJECT_EVENT_COUNT,
    .first = 0,
    .state_name = object_state_name,
    .event_name = object_event_name,
    .is_final = NULL,
};

const char *
states_object_name(enum object_state state)
{
    return object_states[state];
}

/* ---- pipeline */
static const struct fsm_edge pipeline_edges[] = {
#define EDGE(from, event, to, why) {PIPELINE_##from, PIPELINE_ON_##event, PIPELINE_##to, why},
#include "coordinator/sched/pipeline_fsm.def"
#undef EDGE
};
static const char *const pipeline_states[] = {
#define STATE(name, text, final, meaning) text,
#include "coordinator/sched/pipeline_fsm.def"
#undef STATE
};
static const char *const pipeline_events[] = {
#define EVENT(name, meaning) #name,
#include "coordinator/sched/pipeline_fsm.def"
#undef EVENT
};
static const char *
pipeline_state_name(int state)
{
    return state >= 0 && state < PIPELINE_STATE_COUNT ? pipeline_states[state] : NULL;
}

static const char *
pipeline_event_name(int event)
{
    return event >= 0 && event < PIPELINE_EVENT_COUNT ? pipeline_events[event] : NULL;
}

const struct fsm states_pipeline = {
    .name = "pipeline",
    .edges = pipeline_edges,
    .edge_count = sizeof pipeline_edges / sizeof pipeline_edges[0],
    .state_count = PIPELINE_STATE_COUNT,
    .event_count = PIPELINE_EVENT_COUNT,
    .first = 0,
    .state_name = pipeline_state_name,
    .event_name = pipeline_event_name,
    .is_final = NULL,
};

const char *
states_pipeline_name(enum pipeline_state state)
{
    return pipeline_states[state];
}

bool
states_parse(const struct fsm *fsm, const char *text, int *out_state)
{
    for (int state = 0; text != NULL && state < fsm->state_count; state++) {
        if (strcmp(fsm->state_name(state), text) == 0) {
            *out_state = state;
            return true;
        }
    }
    return false;
}
