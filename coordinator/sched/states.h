/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/sched/states.h: the state machines of the coordinator, from *_fsm.def.
 * Invariant: a state's text is what the catalog stores and people read; it never changes.
 * Threads: pure. */
#ifndef COORDINATOR_SCHED_STATES_H
#define COORDINATOR_SCHED_STATES_H

#include "common/fsm.h"

enum batch_state {
#define STATE(name, text, final, meaning) BATCH_##name,
#include "coordinator/sched/batch_fsm.def"
#undef STATE
    BATCH_STATE_COUNT
};
enum batch_event {
#define EVENT(name, meaning) BATCH_ON_##name,
#include "coordinator/sched/batch_fsm.def"
#undef EVENT
    BATCH_EVENT_COUNT
};
enum object_state {
#define STATE(name, text, final, meaning) OBJECT_##name,
#include "coordinator/sched/object_fsm.def"
#undef STATE
    OBJECT_STATE_COUNT
};
enum object_event {
#define EVENT(name, meaning) OBJECT_ON_##name,
#include "coordinator/sched/object_fsm.def"
#undef EVENT
    OBJECT_EVENT_COUNT
};
enum pipeline_state {
#define STATE(name, text, final, meaning) PIPELINE_##name,
#include "coordinator/sched/pipeline_fsm.def"
#undef STATE
    PIPELINE_STATE_COUNT
};
enum pipeline_event {
#define EVENT(name, meaning) PIPELINE_ON_##name,
#include "coordinator/sched/pipeline_fsm.def"
#undef EVENT
    PIPELINE_EVENT_COUNT
};

extern const struct fsm states_batch;
extern const struct fsm states_object;
extern const struct fsm states_pipeline;

/* "leased". */
const char *states_batch_name(enum batch_state state);
const char *states_object_name(enum object_state state);
const char *states_pipeline_name(enum pipeline_state state);
/* False for a text that no state has. */
PS_MUSTCHECK bool states_parse(const struct fsm *fsm, const char *text, int *out_state);

#endif
