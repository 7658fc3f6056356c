/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_view.h"

#include "common/clock.h"
#include "common/percent.h"
#include "coordinator/engine/eng_out.h"

static char *
time_text(int64_t wall_ms)
{
    char text[PS_CLOCK_TEXT_BYTES];
    return wall_ms == 0 ? NULL : eng_out_text(ps_clock_text(wall_ms, text));
}

#define SET(message, field, what)                                                                  \
    do {                                                                                           \
        (message)->has_##field = true;                                                             \
        (message)->field = (what);                                                                 \
    } while (0)

/* ---- agents */
static const char *
phase_name(Penstock__Phase phase)
{
    switch (phase) {
    case PENSTOCK__PHASE__PHASE_WAIT:
        return "wait";
    case PENSTOCK__PHASE__PHASE_FETCH:
        return "fetch";
    case PENSTOCK__PHASE__PHASE_STAGE:
        return "stage";
    case PENSTOCK__PHASE__PHASE_LOAD:
        return "load";
    case PENSTOCK__PHASE__PHASE_COMMIT:
        return "commit";
    case PENSTOCK__PHASE__PHASE_REPORT:
        return "report";
    case _PENSTOCK__PHASE_IS_INT_SIZE:
        break;
    }
    return "wait";
}

static Penstock__ApiLeaf *
leaf_view(const Penstock__LeafStatus *status)
{
    Penstock__ApiLeaf *out = ENG_NEW(Penstock__ApiLeaf, PENSTOCK__API_LEAF__INIT);
    out->leaf = status->leaf;
    out->state = eng_out_text(status->state);
    out->phase = status->has_phase ? eng_out_text(phase_name(status->phase)) : NULL;
    if (status->has_object && status->object.len > 0) {
        struct ps_buf name = PS_BUF_INIT;
        ps_percent_name(eng_span(status->object), &name);
        out->object = eng_out_text(ps_buf_str(&name));
        ps_buf_fini(&name);
    }
    SET(out, bytes_total, status->bytes_total);
    SET(out, rows_total, status->rows_total);
    SET(out, restarts, status->restarts);
    out->note = eng_out_text(status->note);
    out->has_pid = status->has_pid;
    out->pid = status->pid;
    out->has_away_ms = status->has_away_ms;
    out->away_ms = status->away_ms;
    out->has_staged_batches = status->has_staged_batches;
    out->staged_batches = status->staged_batches;
    out->has_staged_bytes = status->has_staged_bytes;
    out->staged_bytes = status->staged_bytes;
    out->has_stage_quota = status->has_stage_quota;
    out->stage_quota = status->stage_quota;
    return out;
}

/* A decoded part whose start nobody could prove yet. */
static bool
waits_for_proof(const struct eng_agent *agent, uint32_t leaf)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&agent->leases) {
        const struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, lease_link);
        if (b->row.leaf == leaf && b->held_end != 0 && !b->held_proven && b->proof == 0) {
            return true;
        }
    }
    return false;
}

Penstock__ApiAgent *
eng_view_agent(const struct engine *engine, const struct eng_agent *agent)
{
    Penstock__ApiAgent *out = ENG_NEW(Penstock__ApiAgent, PENSTOCK__API_AGENT__INIT);
    int64_t silent_ms = engine->now_ms - agent->seen_mono_ms;
    const char *state = agent->state == ENG_AGENT_GONE ? "gone"
                        : silent_ms > 2 * (int64_t)engine->config.heartbeat_ms + ENG_WAIT_MOST_MS
                            ? "silent"
                        : agent->draining ? "draining"
                                          : "online";
    out->name = eng_out_text(agent->name);
    out->state = eng_out_text(state);
    out->version = eng_out_text(agent->version);
    SET(out, leaves, agent->leaves);
    out->last_seen_at = time_text(agent->seen_wall_ms);
    for (size_t i = 0; agent->sync != NULL && i < agent->sync->n_leaves; i++) {
        Penstock__ApiLeaf *leaf = leaf_view(agent->sync->leaves[i]);
        if (leaf->note == NULL && waits_for_proof(agent, leaf->leaf)) {
            leaf->note = eng_out_text("waits for the end of the range before it, to know where "
                                      "its own begins");
        }
        ENG_PUSH(out->leaf, out->n_leaf, leaf);
    }
    return out;
}
