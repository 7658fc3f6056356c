/* SPDX-License-Identifier: Apache-2.0 */
#include "common/fsm.h"

enum { MAX_STATES = 64 };

const struct fsm_edge *
fsm_find(const struct fsm *fsm, int state, int event)
{
    for (size_t i = 0; i < fsm->edge_count; i++) {
        if (fsm->edges[i].from == state && fsm->edges[i].event == event) {
            return &fsm->edges[i];
        }
    }
    return NULL;
}

enum ps_status
fsm_move(const struct fsm *fsm, int *state, int event, const char **out_why, struct ps_error *err)
{
    const struct fsm_edge *edge = fsm_find(fsm, *state, event);
    if (edge == NULL) {
        return ps_fail(err, PS_BUG, "%s: nothing leaves %s for %s", fsm->name,
                       fsm->state_name(*state), fsm->event_name(event));
    }
    *state = edge->to;
    if (out_why != NULL) {
        *out_why = edge->why;
    }
    return PS_OK;
}

static bool
final(const struct fsm *fsm, int state)
{
    return fsm->is_final != NULL && fsm->is_final(state);
}

static enum ps_status
check_edge(const struct fsm *fsm, size_t i, struct ps_error *err)
{
    const struct fsm_edge *edge = &fsm->edges[i];
    if (edge->from < 0 || edge->from >= fsm->state_count || edge->to < 0 ||
        edge->to >= fsm->state_count || edge->event < 0 || edge->event >= fsm->event_count) {
        return ps_fail(err, PS_BUG, "%s: edge %zu has a number out of range", fsm->name, i);
    }
    if (edge->why == NULL || edge->why[0] == '\0') {
        return ps_fail(err, PS_BUG, "%s: edge %zu has no reason", fsm->name, i);
    }
    if (final(fsm, edge->from)) {
        return ps_fail(err, PS_BUG, "%s: %s leaves the final state %s", fsm->name,
                       fsm->event_name(edge->event), fsm->state_name(edge->from));
    }
    if (fsm_find(fsm, edge->from, edge->event) != edge) {
        return ps_fail(err, PS_BUG, "%s: two edges leave %s for %s", fsm->name,
                       fsm->state_name(edge->from), fsm->event_name(edge->event));
    }
    return PS_OK;
}

/* Grows seen along the edges (or against them) until nothing is added. */
static uint64_t
closure(const struct fsm *fsm, uint64_t seen, bool backwards)
{
    for (uint64_t before = 0; before != seen;) {
        before = seen;
        for (size_t i = 0; i < fsm->edge_count; i++) {
            int from = backwards ? fsm->edges[i].to : fsm->edges[i].from;
            int to = backwards ? fsm->edges[i].from : fsm->edges[i].to;
            if ((seen >> from & 1) != 0) {
                seen |= (uint64_t)1 << to;
            }
        }
    }
    return seen;
}

static enum ps_status
check_states(const struct fsm *fsm, struct ps_error *err)
{
    uint64_t finals = 0;
    for (int state = 0; state < fsm->state_count; state++) {
        finals |= final(fsm, state) ? (uint64_t)1 << state : 0;
    }
    uint64_t reached = closure(fsm, (uint64_t)1 << fsm->first, false);
    uint64_t ends = finals == 0 ? UINT64_MAX : closure(fsm, finals, true);
    for (int state = 0; state < fsm->state_count; state++) {
        if (fsm->state_name(state) == NULL) {
            return ps_fail(err, PS_BUG, "%s: state %d has no name", fsm->name, state);
        }
        if ((reached >> state & 1) == 0) {
            return ps_fail(err, PS_BUG, "%s: nothing leads to %s", fsm->name,
                           fsm->state_name(state));
        }
        if ((ends >> state & 1) == 0) {
            return ps_fail(err, PS_BUG, "%s: %s has no way to an end", fsm->name,
                           fsm->state_name(state));
        }
    }
    return PS_OK;
}

enum ps_status
fsm_check(const struct fsm *fsm, struct ps_error *err)
{
    if (fsm->state_count > MAX_STATES) {
        return ps_fail(err, PS_BUG, "%s: more than %d states", fsm->name, MAX_STATES);
    }
    for (size_t i = 0; i < fsm->edge_count; i++) {
        enum ps_status status = check_edge(fsm, i, err);
        if (status != PS_OK) {
            return status;
        }
    }
    for (int event = 0; event < fsm->event_count; event++) {
        bool used = false;
        for (size_t i = 0; i < fsm->edge_count; i++) {
            used = used || fsm->edges[i].event == event;
        }
        if (!used || fsm->event_name(event) == NULL) {
            return ps_fail(err, PS_BUG, "%s: event %d is not used or has no name", fsm->name,
                           event);
        }
    }
    return check_states(fsm, err);
}
