/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf processes: spawned, listened to, killed when silent, spawned again. */
#include <inttypes.h>

#include "agent/control/control_state.h"
#include "common/assert.h"

bool
control_leaf_takes_work(const struct control_core *core, uint32_t leaf)
{
    const struct control_leaf *it = &core->leaves[leaf];
    /* The first process of a leaf is trusted to come up, so that starting it and asking for its
     * work go on side by side; a later one must have said that it is ready. */
    return !core->draining && !it->killed &&
           (it->state == LEAF_UP || (it->state == LEAF_STARTING && it->restarts == 0));
}

uint32_t
control_leaf_takes(const struct control_core *core, uint32_t leaf)
{
    const Penstock__LeafProgress *progress = core->leaves[leaf].progress;
    uint32_t most = control_batches_most(core->config.leaves);
    uint32_t takes = progress == NULL ? CONTROL_LEAF_BATCHES : progress->takes;
    takes = takes > most ? most : takes;
    return takes < CONTROL_LEAF_BATCHES ? CONTROL_LEAF_BATCHES : takes;
}

bool
control_leaf_all_gone(const struct control_core *core)
{
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        if (core->leaves[i].state != LEAF_GONE) {
            return false;
        }
    }
    return true;
}

const char *
control_leaf_state_name(const struct control_core *core, uint32_t leaf)
{
    const struct control_leaf *it = &core->leaves[leaf];
    switch (it->state) {
    case LEAF_DOWN:
    case LEAF_GONE:
        return "dead";
    case LEAF_STARTING:
        return "starting";
    case LEAF_UP:
        break;
    }
    if (core->draining) {
        return "draining";
    }
    const char *own = it->progress == NULL ? NULL : it->progress->status->state;
    return own == NULL ? "idle" : own;
}

static void
forget_progress(struct control_leaf *it)
{
    msg_free((ProtobufCMessage *)it->progress);
    it->progress = NULL;
}

static void
plan_respawn(struct control_core *core, struct control_leaf *it, int64_t now)
{
    it->state = LEAF_DOWN;
    int64_t wait = 0;
    if (it->deaths_in_a_row > 1) {
        unsigned doublings = it->deaths_in_a_row - 2 > 6 ? 6 : it->deaths_in_a_row - 2;
        wait = INT64_C(100) << doublings;
    }
    it->respawn_at_ms = now + (wait > CONTROL_RESPAWN_MOST_MS ? CONTROL_RESPAWN_MOST_MS : wait);
    if (core->draining || core->end != CONTROL_RUNNING) {
        it->state = LEAF_GONE;
    }
}

static void
spawn(struct control_core *core, uint32_t leaf, int64_t now)
{
    struct control_leaf *it = &core->leaves[leaf];
    struct ps_error err;
    it->life++;
    it->restarts = it->life - 1;
    it->killed = false;
    it->pid = 0;
    it->spawned_ms = now;
    it->heard_ms = now;
    control_doc_forget_leaf(core, leaf);
    if (core->env.spawn_leaf(core->env.ctx, leaf, &err) == PS_OK) {
        it->state = LEAF_STARTING;
        return;
    }
    control_log(core, LOG_ERROR, "leaf.unspawned", "leaf=%" PRIu32 " text=\"%s\"", leaf, err.text);
    it->deaths_in_a_row += 2;
    plan_respawn(core, it, now);
}

static void
kill_leaf(struct control_core *core, uint32_t leaf)
{
    struct control_leaf *it = &core->leaves[leaf];
    if (!it->killed && (it->state == LEAF_STARTING || it->state == LEAF_UP)) {
        it->killed = true;
        core->env.kill_leaf(core->env.ctx, leaf);
    }
}

static int64_t
silence_ends_ms(const struct control_core *core, const struct control_leaf *it)
{
    return it->heard_ms +
           (it->state == LEAF_STARTING ? CONTROL_LEAF_START_MS : (int64_t)core->leaf_silence_ms);
}

void
control_leaf_turn(struct control_core *core, int64_t now, bool stalled)
{
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        struct control_leaf *it = &core->leaves[i];
        if (stalled) {
            it->heard_ms = now;
        }
        if (it->state == LEAF_DOWN && now >= it->respawn_at_ms) {
            if (core->draining) {
                it->state = LEAF_GONE;
            } else {
                spawn(core, i, now);
            }
        } else if ((it->state == LEAF_STARTING || it->state == LEAF_UP) && !it->killed &&
                   now > silence_ends_ms(core, it)) {
            control_log(core, LOG_WARN, "leaf.silenced", "leaf=%" PRIu32 " silent_ms=%" PRId64, i,
                        now - it->heard_ms);
            kill_leaf(core, i);
        }
    }
}

int64_t
control_leaf_next_ms(const struct control_core *core)
{
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        const struct control_leaf *it = &core->leaves[i];
        int64_t own = INT64_MAX;
        if (it->state == LEAF_DOWN) {
            own = it->respawn_at_ms;
        } else if ((it->state == LEAF_STARTING || it->state == LEAF_UP) && !it->killed) {
            own = silence_ends_ms(core, it) + 1;
        }
        next = own < next ? own : next;
    }
    return next;
}

void
control_leaf_drain(struct control_core *core)
{
    Penstock__LeafDrain drain = PENSTOCK__LEAF_DRAIN__INIT;
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        struct control_leaf *it = &core->leaves[i];
        if (it->state == LEAF_STARTING || it->state == LEAF_UP) {
            core->env.send_leaf(core->env.ctx, i, MSG_LEAF_DRAIN, &drain.base);
        } else {
            it->state = LEAF_GONE;
        }
    }
}

void
control_leaf_kill_all(struct control_core *core)
{
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        kill_leaf(core, i);
    }
}

void
control_core_leaf_gone(struct control_core *core, uint32_t leaf, bool clean, const char *how)
{
    PS_ASSERT(leaf < core->config.leaves);
    struct control_leaf *it = &core->leaves[leaf];
    int64_t now = control_now(core);
    bool was_up = it->state == LEAF_UP;
    bool expected = core->draining && clean;
    control_log(core, expected ? LOG_DEBUG : LOG_WARN, "leaf.ended",
                "leaf=%" PRIu32 " pid=%" PRIu32 " how=\"%s\"", leaf, it->pid, how);
    if (now - it->spawned_ms >= CONTROL_LEAF_PROVEN_MS) {
        it->deaths_in_a_row = 0;
    }
    it->deaths_in_a_row++;
    forget_progress(it);
    control_staged_forget(it);
    /* A process that never came up, or that went as it was told to, proves nothing against what
     * it was given. */
    Penstock__FailClass class = was_up && !expected ? PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED
                                                    : PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL;
    plan_respawn(core, it, now);
    control_turn_leaf_gone(core, leaf);
    control_batch_leaf_gone(core, leaf, class, how);
    control_task_leaf_gone(core, leaf, class, how);
}

static void
take_progress(struct control_core *core, uint32_t leaf, ProtobufCMessage **own_message)
{
    struct control_leaf *it = &core->leaves[leaf];
    forget_progress(it);
    it->progress = (Penstock__LeafProgress *)*own_message;
    *own_message = NULL;
    control_batch_progress(core, leaf, it->progress);
}

void
control_core_leaf_message(struct control_core *core, uint32_t leaf, enum msg_type type,
                          ProtobufCMessage **own_message)
{
    PS_ASSERT(leaf < core->config.leaves);
    struct control_leaf *it = &core->leaves[leaf];
    it->heard_ms = control_now(core);
    if (type == MSG_LEAF_READY) {
        it->pid = ((const Penstock__LeafReady *)*own_message)->pid;
        it->state = LEAF_UP;
    } else if (type == MSG_LEAF_PROGRESS) {
        take_progress(core, leaf, own_message);
    } else if (type == MSG_LEAF_STAGED) {
        control_staged_take(core, leaf, own_message);
    } else if (type == MSG_LEAF_DONE || type == MSG_LEAF_FAILED) {
        control_batch_report(core, leaf, type, own_message);
    } else if (type == MSG_LEAF_DISCOVERED || type == MSG_LEAF_TASK_RESULT) {
        control_task_report(core, leaf, type, own_message);
    } else if (type == MSG_TURN_ASK) {
        control_turn_ask(core, leaf, (const Penstock__TurnAsk *)*own_message);
    } else if (type == MSG_TURN_RELEASE) {
        control_turn_release(core, leaf, (const Penstock__TurnRelease *)*own_message);
    } else {
        control_log(core, LOG_ERROR, "leaf.misspoke", "leaf=%" PRIu32 " type=%s", leaf,
                    msg_type_name(type));
        kill_leaf(core, leaf);
    }
    msg_free(*own_message);
    *own_message = NULL;
}
