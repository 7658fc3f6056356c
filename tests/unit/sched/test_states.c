/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/sched/states.h"

#include <criterion/criterion.h>

static void
walk(const struct fsm *fsm)
{
    struct ps_error err = {0};
    cr_assert_eq(fsm_check(fsm, &err), PS_OK, "%s", err.text);
    for (int state = 0; state < fsm->state_count; state++) {
        int found = -1;
        cr_assert(states_parse(fsm, fsm->state_name(state), &found));
        cr_assert_eq(found, state);
    }
}

Test(states, tables_are_whole)
{
    walk(&states_batch);
    walk(&states_object);
    walk(&states_pipeline);
}

Test(states, unknown_texts)
{
    int state = 0;
    cr_assert_not(states_parse(&states_batch, "held", &state));
    cr_assert_not(states_parse(&states_batch, NULL, &state));
}

/* What the ledger says is a fact: it settles a batch wherever it stands. */
Test(states, the_ledger_settles_every_open_batch)
{
    for (int state = 0; state < BATCH_STATE_COUNT; state++) {
        bool final = states_batch.is_final(state);
        const struct fsm_edge *done = fsm_find(&states_batch, state, BATCH_ON_DONE);
        const struct fsm_edge *tombstoned = fsm_find(&states_batch, state, BATCH_ON_TOMBSTONED);
        cr_assert_eq(done == NULL, final, "%s", states_batch_name(state));
        cr_assert_eq(tombstoned == NULL, final, "%s", states_batch_name(state));
        if (!final) {
            cr_assert_eq(done->to, BATCH_LOADED);
            cr_assert_eq(tombstoned->to, BATCH_CANCELLED);
        }
    }
}

/* Nothing is cut again but from what is settled. */
Test(states, cancelling_ends_only_by_the_ledger)
{
    for (int event = 0; event < BATCH_EVENT_COUNT; event++) {
        const struct fsm_edge *edge = fsm_find(&states_batch, BATCH_CANCELLING, event);
        cr_assert(edge == NULL || event == BATCH_ON_DONE || event == BATCH_ON_TOMBSTONED);
    }
}

Test(states, every_pipeline_can_be_started_unless_it_runs)
{
    for (int state = 0; state < PIPELINE_STATE_COUNT; state++) {
        bool active = state == PIPELINE_PREPARING || state == PIPELINE_RUNNING;
        cr_assert_eq(fsm_find(&states_pipeline, state, PIPELINE_ON_START) == NULL, active, "%s",
                     states_pipeline_name(state));
    }
}
