/* SPDX-License-Identifier: Apache-2.0 */
/* A task from the order until its last report is answered. */
#include "agent/control/control_state.h"

static struct control_task *
task_at(struct ps_list *link)
{
    return PS_CONTAINER(link, struct control_task, link);
}

void
control_task_free(struct control_task *task)
{
    ps_list_remove(&task->link);
    msg_free((ProtobufCMessage *)task->task);
    ps_free(task);
}

static bool
is_same(const struct control_task *task, ProtobufCBinaryData task_id)
{
    return ps_span_eq(control_span(task->task->task_id), control_span(task_id));
}

struct control_task *
control_task_find(struct control_core *core, ProtobufCBinaryData task_id, uint64_t epoch)
{
    PS_LIST_FOR (at, &core->tasks) {
        if (task_at(at)->task->epoch == epoch && is_same(task_at(at), task_id)) {
            return task_at(at);
        }
    }
    return NULL;
}

static void
give_back(struct control_core *core, struct control_task *task, const char *code)
{
    control_report_task_failed(core, task, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, code,
                               "given back before it was begun");
    task->place = PLACE_REPORT;
}

static void
send_cancel(struct control_core *core, struct control_task *task)
{
    if (task->cancel_sent) {
        return;
    }
    Penstock__LeafCancelTask cancel = PENSTOCK__LEAF_CANCEL_TASK__INIT;
    cancel.task_id = task->task->task_id;
    core->env.send_leaf(core->env.ctx, task->leaf, MSG_LEAF_CANCEL_TASK, &cancel.base);
    task->cancel_sent = true;
}

void
control_task_take(struct control_core *core, Penstock__Task **own_task)
{
    Penstock__Task *order = *own_task;
    *own_task = NULL;
    PS_LIST_FOR (at, &core->tasks) {
        struct control_task *held = task_at(at);
        if (!is_same(held, order->task_id)) {
            continue;
        }
        if (held->task->epoch >= order->epoch) {
            msg_free(&order->base);
            return;
        }
        if (held->place == PLACE_QUEUED) {
            control_task_free(held);
        } else if (held->place == PLACE_LEAF) {
            send_cancel(core, held);
        }
    }
    struct control_task *task = ps_xcalloc(1, sizeof *task);
    task->task = order;
    ps_list_push_back(&core->tasks, &task->link);
    if (core->draining) {
        give_back(core, task, "drained");
    } else if (control_doc_find(core, order->pipeline_uuid, order->spec_rev) == NULL) {
        give_back(core, task, "spec_unknown");
    }
}

void
control_task_cancel(struct control_core *core, ProtobufCBinaryData task_id)
{
    PS_LIST_FOR (at, &core->tasks) {
        struct control_task *task = task_at(at);
        if (!is_same(task, task_id)) {
            continue;
        }
        if (task->place == PLACE_QUEUED) {
            give_back(core, task, "cancelled");
        } else if (task->place == PLACE_LEAF) {
            send_cancel(core, task);
        }
    }
}

static bool
leaf_has_task(const struct control_core *core, uint32_t leaf)
{
    PS_LIST_FOR (at, &core->tasks) {
        if (task_at(at)->place == PLACE_LEAF && task_at(at)->leaf == leaf) {
            return true;
        }
    }
    return false;
}

/* It waits for the answer to its last word about this task, of an older epoch: acks name no epoch,
 * so that answer must not meet the newer one there. */
static bool
leaf_waits(const struct control_core *core, uint32_t leaf, const struct control_task *task)
{
    PS_LIST_FOR (at, &core->tasks) {
        const struct control_task *other = task_at(at);
        if (other->place == PLACE_REPORT && other->leaf_waits && other->leaf == leaf &&
            other->leaf_life == core->leaves[leaf].life && is_same(other, task->task->task_id)) {
            return true;
        }
    }
    return false;
}

/* The leaf without a task that has the fewest batches; core->config.leaves when there is none. */
static uint32_t
leaf_for_task(const struct control_core *core, const struct control_task *task)
{
    uint32_t best = core->config.leaves;
    uint32_t best_want = 0;
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        if (!control_leaf_takes_work(core, i) || leaf_has_task(core, i) ||
            leaf_waits(core, i, task)) {
            continue;
        }
        uint32_t want = control_batch_want(core, i);
        if (best == core->config.leaves || want > best_want) {
            best = i;
            best_want = want;
        }
    }
    return best;
}

void
control_task_distribute(struct control_core *core)
{
    if (control_is_self_stopped(core)) {
        return;
    }
    PS_LIST_FOR (at, &core->tasks) {
        struct control_task *task = task_at(at);
        if (task->place != PLACE_QUEUED) {
            continue;
        }
        uint32_t leaf = leaf_for_task(core, task);
        if (leaf == core->config.leaves) {
            continue;
        }
        if (!control_doc_send(core, leaf, task->task->pipeline_uuid, task->task->spec_rev)) {
            give_back(core, task, "spec_unknown");
            continue;
        }
        Penstock__LeafTask message = PENSTOCK__LEAF_TASK__INIT;
        message.task = task->task;
        core->env.send_leaf(core->env.ctx, leaf, MSG_LEAF_TASK, &message.base);
        task->place = PLACE_LEAF;
        task->leaf = leaf;
        task->leaf_life = core->leaves[leaf].life;
    }
}

uint32_t
control_task_want(const struct control_core *core)
{
    if (core->draining || core->report_count >= CONTROL_REPORTS_MAX) {
        return 0;
    }
    uint32_t can = 0;
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        can += control_leaf_takes_work(core, i) && !leaf_has_task(core, i) ? 1 : 0;
    }
    PS_LIST_FOR (at, &core->tasks) {
        if (task_at(at)->place == PLACE_QUEUED && can > 0) {
            can--;
        }
    }
    return can;
}

static void
give_back_queued(struct control_core *core, const char *code)
{
    PS_LIST_FOR (at, &core->tasks) {
        if (task_at(at)->place == PLACE_QUEUED) {
            give_back(core, task_at(at), code);
        }
    }
}

void
control_task_leaf_gone(struct control_core *core, uint32_t leaf, Penstock__FailClass class,
                       const char *how)
{
    PS_LIST_FOR (at, &core->tasks) {
        struct control_task *task = task_at(at);
        if (task->place == PLACE_LEAF && task->leaf == leaf) {
            control_report_task_failed(core, task, class, "leaf_died", how);
            task->place = PLACE_REPORT;
        }
    }
}

static void
refuse(struct control_core *core, uint32_t leaf, ProtobufCBinaryData task_id)
{
    Penstock__LeafAck ack = PENSTOCK__LEAF_ACK__INIT;
    ack.task_id = task_id;
    ack.answer = PENSTOCK__ANSWER__ANSWER_STALE;
    core->env.send_leaf(core->env.ctx, leaf, MSG_LEAF_ACK, &ack.base);
}

void
control_task_report(struct control_core *core, uint32_t leaf, enum msg_type type,
                    ProtobufCMessage **own_message)
{
    const Penstock__LeafDiscovered *page = (const Penstock__LeafDiscovered *)*own_message;
    const Penstock__TaskResult *result =
        type == MSG_LEAF_TASK_RESULT ? ((const Penstock__LeafTaskResult *)*own_message)->result
                                     : NULL;
    ProtobufCBinaryData task_id = result == NULL ? page->task_id : result->task_id;
    uint64_t epoch = result == NULL ? page->epoch : result->epoch;
    struct control_task *task = control_task_find(core, task_id, epoch);
    if (task == NULL || task->place != PLACE_LEAF || task->leaf != leaf) {
        refuse(core, leaf, task_id);
        return;
    }
    if (!control_report_fits(*own_message)) {
        control_report_task_failed(core, task, PENSTOCK__FAIL_CLASS__FAIL_PERMANENT,
                                   "report_too_large", "the leaf's page does not fit a frame");
        task->place = PLACE_REPORT;
        refuse(core, leaf, task_id);
        return;
    }
    if (result == NULL ? page->last : result->last) {
        task->place = PLACE_REPORT;
        task->leaf_waits = !core->draining;
    }
    if (result != NULL) {
        task->next_chunk = result->chunk + 1;
    }
    if (core->draining) {
        refuse(core, leaf, task_id); /* what it said is reported; it must not wait for the answer */
    }
    control_report_add(core, leaf, type, own_message);
}

void
control_task_drain(struct control_core *core)
{
    give_back_queued(core, "drained");
    PS_LIST_FOR (at, &core->tasks) {
        struct control_task *task = task_at(at);
        if (task->place == PLACE_LEAF) {
            send_cancel(core, task);
            refuse(core, task->leaf, task->task->task_id);
        }
    }
}
