/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control/control_core.h"

#include <stdarg.h>
#include <stdio.h>

#include "agent/control/control_state.h"
#include "common/assert.h"

enum { STALL_MS = 1000 };

void
control_log(struct control_core *core, enum log_level level, const char *event, const char *fmt,
            ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    core->env.log(core->env.ctx, level, event, text);
}

const char *
control_id_text(ProtobufCBinaryData bytes, char out[PS_ID_TEXT_BYTES])
{
    struct ps_id id;
    if (!ps_id_from_span(control_span(bytes), &id)) {
        snprintf(out, PS_ID_TEXT_BYTES, "?");
        return out;
    }
    return ps_id_text(id, out);
}

struct control_core *
control_core_new(const struct control_env *env, const struct control_config *config)
{
    struct control_core *core = ps_xcalloc(1, sizeof *core);
    core->env = *env;
    core->config = *config;
    core->name = ps_xstrdup(config->agent_name);
    core->config.agent_name = core->name;
    env->random(env->ctx, core->incarnation.b, sizeof core->incarnation.b);
    penstock__stamp__init(&core->seen);
    core->heartbeat_ms = 3000;
    core->self_stop_ms = 10000;
    core->leaf_silence_ms = 5000;
    core->leaves = ps_xcalloc(config->leaves, sizeof *core->leaves);
    core->asked = ps_xcalloc(config->leaves, sizeof *core->asked);
    ps_list_init(&core->docs);
    ps_list_init(&core->batches);
    ps_list_init(&core->settled);
    ps_list_init(&core->tasks);
    ps_list_init(&core->reports);
    ps_list_init(&core->turns);
    core->sync_retry_ms = CONTROL_RETRY_LEAST_MS;
    core->turned_ms = control_now(core);
    core->answered_ms = core->turned_ms;
    core->ask_from_ms = core->turned_ms + (config->has_kept ? CONTROL_KEPT_MS : 0);
    return core;
}

void
control_core_free(struct control_core *core)
{
    if (core == NULL) {
        return;
    }
    PS_LIST_FOR (at, &core->reports) {
        control_report_free(PS_CONTAINER(at, struct control_report, link));
    }
    PS_LIST_FOR (at, &core->batches) {
        control_batch_free(PS_CONTAINER(at, struct control_batch, link));
    }
    PS_LIST_FOR (at, &core->settled) {
        control_batch_free(PS_CONTAINER(at, struct control_batch, link));
    }
    PS_LIST_FOR (at, &core->tasks) {
        control_task_free(PS_CONTAINER(at, struct control_task, link));
    }
    PS_LIST_FOR (at, &core->docs) {
        control_doc_free(core, PS_CONTAINER(at, struct control_doc, link));
    }
    control_turn_free(core);
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        msg_free((ProtobufCMessage *)core->leaves[i].progress);
        control_staged_forget(&core->leaves[i]);
    }
    ps_free(core->asked);
    ps_free(core->leaves);
    ps_free(core->name);
    ps_free(core);
}

bool
control_is_self_stopped(const struct control_core *core)
{
    return control_now(core) - core->answered_ms > core->self_stop_ms;
}

/* Drained when every leaf is gone and every report is answered; a coordinator that stays away must
 * not keep us for ever, because the ledger knows what the reports say. */
static void
finish(struct control_core *core, int64_t now)
{
    if (!core->draining || core->end != CONTROL_RUNNING || !control_leaf_all_gone(core)) {
        return;
    }
    if (core->all_gone_ms == 0) {
        core->all_gone_ms = now;
    }
    if (core->report_count == 0 || now - core->all_gone_ms >= CONTROL_LAST_REPORTS_MS) {
        if (core->report_count > 0) {
            control_log(core, LOG_WARN, "reports.left", "count=%zu", core->report_count);
        }
        core->end = CONTROL_DRAINED;
    }
}

static int64_t
next_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t
control_core_turn(struct control_core *core)
{
    int64_t now = control_now(core);
    /* Somebody stopped us (SIGSTOP, a suspended host): the silence of others proves nothing. */
    bool stalled = now - core->turned_ms > core->heartbeat_ms + STALL_MS;
    core->turned_ms = now;
    if (core->end != CONTROL_RUNNING) {
        return INT64_MAX;
    }
    control_leaf_turn(core, now, stalled);
    control_task_distribute(core);
    control_batch_distribute(core);
    if (core->greeted) {
        control_report_send(core);
    }
    control_sync_turn(core, now);
    finish(core, now);
    if (core->end != CONTROL_RUNNING) {
        return INT64_MAX;
    }
    int64_t next = control_leaf_next_ms(core);
    next = next_of(next, control_sync_next_ms(core));
    next = next_of(next, core->greeted ? control_report_next_ms(core) : INT64_MAX);
    if (core->all_gone_ms != 0) {
        next = next_of(next, core->all_gone_ms + CONTROL_LAST_REPORTS_MS);
    }
    /* Also what tells a stall from an idle hour. */
    return next_of(next, now + core->heartbeat_ms);
}

void
control_core_answer(struct control_core *core, unsigned slot, enum msg_type type,
                    ProtobufCMessage **own_message)
{
    PS_ASSERT(slot < CONTROL_SLOTS);
    ProtobufCMessage *message = *own_message;
    *own_message = NULL;
    if (slot < CONTROL_SYNC_SLOTS) {
        control_sync_answer(core, slot, type, message);
    } else if (type == MSG_REPORT_REPLY) {
        control_report_answer(core, slot, (const Penstock__ReportReply *)message);
    } else {
        control_log(core, LOG_ERROR, "answer.refused", "slot=%u type=%s", slot,
                    msg_type_name(type));
        control_report_lost(core, slot);
    }
    msg_free(message);
}

void
control_core_lost(struct control_core *core, unsigned slot)
{
    PS_ASSERT(slot < CONTROL_SLOTS);
    if (slot < CONTROL_SYNC_SLOTS) {
        control_sync_lost(core, slot);
    } else {
        control_report_lost(core, slot);
    }
}

void
control_core_drain(struct control_core *core)
{
    if (core->draining) {
        return;
    }
    core->draining = true;
    control_log(core, LOG_INFO, "drain.begun", "leaves=%u", core->config.leaves);
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        control_batch_give_back_queued(core, i, "drained");
    }
    control_task_drain(core);
    control_leaf_drain(core);
}

enum control_state
control_core_state(const struct control_core *core)
{
    return core->end;
}

const char *
control_core_reason(const struct control_core *core)
{
    return core->reason;
}

bool
control_core_is_greeted(const struct control_core *core)
{
    return core->ever_greeted;
}

size_t
control_core_reports_kept(const struct control_core *core)
{
    return core->report_count;
}
