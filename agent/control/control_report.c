/* SPDX-License-Identifier: Apache-2.0 */
/* Reports on their way to the coordinator: kept until answered, repeated for ever. */
#include <inttypes.h>

#include "agent/control/control_state.h"
#include "common/assert.h"
#include "common/failpoint.h"

/* Room for the Origin that ours carries and the leaf's does not. */
enum { ORIGIN_ROOM_BYTES = 4096 };

bool
control_report_fits(const ProtobufCMessage *message)
{
    return protobuf_c_message_get_packed_size(message) <= FRAME_MAX_BYTES - ORIGIN_ROOM_BYTES;
}

static struct control_report *
report_at(struct ps_list *link)
{
    return PS_CONTAINER(link, struct control_report, link);
}

void
control_report_free(struct control_report *report)
{
    ps_list_remove(&report->link);
    msg_free(report->message);
    ps_free(report);
}

void
control_report_add(struct control_core *core, uint32_t leaf, enum msg_type type,
                   ProtobufCMessage **own_message)
{
    struct control_report *report = ps_xcalloc(1, sizeof *report);
    report->type = type;
    report->message = *own_message;
    *own_message = NULL;
    report->leaf = leaf;
    report->life = leaf < core->config.leaves ? core->leaves[leaf].life : 0;
    report->slot = -1;
    report->retry_ms = CONTROL_RETRY_LEAST_MS;
    ps_list_push_back(&core->reports, &report->link);
    core->report_count++;
}

/* A heap copy of a message built on the stack. */
static ProtobufCMessage *
copied(enum msg_type type, const ProtobufCMessage *message)
{
    struct ps_buf frame = PS_BUF_INIT;
    struct ps_error err;
    ProtobufCMessage *copy = NULL;
    enum ps_status status = frame_append(&frame, type, message, &err);
    if (status == PS_OK) {
        status = frame_unpack(ps_buf_span(&frame), &type, &copy, &err);
    }
    PS_ASSERT(status == PS_OK); /* small, and made here */
    ps_buf_fini(&frame);
    return copy;
}

void
control_report_failed(struct control_core *core, const struct control_batch *batch,
                      Penstock__FailClass class, const char *code, const char *text)
{
    Penstock__LeafFailed failed = PENSTOCK__LEAF_FAILED__INIT;
    failed.batch_id = batch->grant->batch->batch_id;
    failed.epoch = batch->grant->epoch;
    failed.class_ = class;
    failed.code = (char *)(uintptr_t)code;
    failed.text = (char *)(uintptr_t)text;
    ProtobufCMessage *message = copied(MSG_LEAF_FAILED, &failed.base);
    control_report_add(core, batch->grant->leaf, MSG_LEAF_FAILED, &message);
}

void
control_report_task_failed(struct control_core *core, const struct control_task *task,
                           Penstock__FailClass class, const char *code, const char *text)
{
    struct control_origin nobody;
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    result.origin = control_origin(core, 0, &nobody); /* replaced when it is sent */
    result.task_id = task->task->task_id;
    result.epoch = task->task->epoch;
    result.chunk = task->next_chunk;
    result.last = 1;
    result.code = (char *)(uintptr_t)code;
    result.text = (char *)(uintptr_t)text;
    result.has_fail_class = 1;
    result.fail_class = class;
    Penstock__LeafTaskResult leaf_result = PENSTOCK__LEAF_TASK_RESULT__INIT;
    leaf_result.result = &result;
    ProtobufCMessage *message = copied(MSG_LEAF_TASK_RESULT, &leaf_result.base);
    control_report_add(core, task->place == PLACE_LEAF ? task->leaf : core->config.leaves,
                       MSG_LEAF_TASK_RESULT, &message);
}

/* ---------------------------------------------------------------- sending */

static void
send_message(struct control_core *core, unsigned slot, enum msg_type type,
             const ProtobufCMessage *message)
{
    core->env.send_coordinator(core->env.ctx, slot, CONTROL_ANSWER_MS, type, message);
}

static void
send_done(struct control_core *core, unsigned slot, Penstock__Origin *origin,
          const struct control_report *report)
{
    const Penstock__LeafDone *leaf_done = (const Penstock__LeafDone *)report->message;
    Penstock__Done done = PENSTOCK__DONE__INIT;
    done.origin = origin;
    done.batch_id = leaf_done->batch_id;
    done.epoch = leaf_done->epoch;
    done.outcome = leaf_done->outcome;
    done.counts = leaf_done->counts;
    done.ends = leaf_done->ends;
    done.n_ends = leaf_done->n_ends;
    done.has_leaf = 1;
    done.leaf = report->leaf;
    done.has_fetch_ms = leaf_done->has_fetch_ms;
    done.fetch_ms = leaf_done->fetch_ms;
    done.has_stage_ms = leaf_done->has_stage_ms;
    done.stage_ms = leaf_done->stage_ms;
    done.has_load_ms = leaf_done->has_load_ms;
    done.load_ms = leaf_done->load_ms;
    if (PS_FAILPOINT("control.before_report")) {
        return control_report_lost(core, slot);
    }
    send_message(core, slot, MSG_DONE, &done.base);
}

static void
send_failed(struct control_core *core, unsigned slot, Penstock__Origin *origin,
            const struct control_report *report)
{
    const Penstock__LeafFailed *leaf_failed = (const Penstock__LeafFailed *)report->message;
    Penstock__Failed failed = PENSTOCK__FAILED__INIT;
    failed.origin = origin;
    failed.batch_id = leaf_failed->batch_id;
    failed.epoch = leaf_failed->epoch;
    failed.class_ = leaf_failed->class_;
    failed.code = leaf_failed->code;
    failed.text = leaf_failed->text;
    failed.has_leaf = 1;
    failed.leaf = report->leaf;
    failed.has_bp_id = leaf_failed->has_bp_id;
    failed.bp_id = leaf_failed->bp_id;
    failed.n_columns = leaf_failed->n_columns;
    failed.columns = leaf_failed->columns;
    send_message(core, slot, MSG_FAILED, &failed.base);
}

static void
send_discovered(struct control_core *core, unsigned slot, Penstock__Origin *origin,
                const struct control_report *report)
{
    const Penstock__LeafDiscovered *page = (const Penstock__LeafDiscovered *)report->message;
    Penstock__Discovered discovered = PENSTOCK__DISCOVERED__INIT;
    discovered.origin = origin;
    discovered.task_id = page->task_id;
    discovered.epoch = page->epoch;
    discovered.cursor = page->cursor;
    discovered.last = page->last;
    discovered.objects = page->objects;
    discovered.n_objects = page->n_objects;
    discovered.has_unsettled = page->has_unsettled;
    discovered.unsettled = page->unsettled;
    send_message(core, slot, MSG_DISCOVERED, &discovered.base);
}

static void
send_task_result(struct control_core *core, unsigned slot, Penstock__Origin *origin,
                 const struct control_report *report)
{
    Penstock__TaskResult result = *((Penstock__LeafTaskResult *)report->message)->result;
    result.origin = origin;
    send_message(core, slot, MSG_TASK_RESULT, &result.base);
}

static void
send_report(struct control_core *core, unsigned slot, struct control_report *report)
{
    struct control_origin who;
    Penstock__Origin *origin = control_origin(core, 1 + slot - CONTROL_SYNC_SLOTS, &who);
    report->slot = (int)slot;
    if (report->type == MSG_LEAF_DONE) {
        send_done(core, slot, origin, report);
    } else if (report->type == MSG_LEAF_FAILED) {
        send_failed(core, slot, origin, report);
    } else if (report->type == MSG_LEAF_DISCOVERED) {
        send_discovered(core, slot, origin, report);
    } else {
        send_task_result(core, slot, origin, report);
    }
}

static struct control_report *
report_of_slot(const struct control_core *core, unsigned slot)
{
    PS_LIST_FOR (at, &core->reports) {
        if (report_at(at)->slot == (int)slot) {
            return report_at(at);
        }
    }
    return NULL;
}

void
control_report_send(struct control_core *core)
{
    int64_t now = control_now(core);
    unsigned slot = CONTROL_SYNC_SLOTS;
    PS_LIST_FOR (at, &core->reports) {
        struct control_report *report = report_at(at);
        if (report->slot >= 0 || report->not_before_ms > now) {
            continue;
        }
        while (slot < CONTROL_SLOTS && report_of_slot(core, slot) != NULL) {
            slot++;
        }
        if (slot == CONTROL_SLOTS) {
            return;
        }
        send_report(core, slot, report);
    }
}

int64_t
control_report_next_ms(const struct control_core *core)
{
    int64_t next = INT64_MAX;
    size_t busy = 0;
    PS_LIST_FOR (at, &core->reports) {
        const struct control_report *report = report_at(at);
        if (report->slot >= 0) {
            busy++;
        } else if (report->not_before_ms < next) {
            next = report->not_before_ms;
        }
    }
    return busy >= CONTROL_REPORT_SLOTS ? INT64_MAX : next;
}

/* ---------------------------------------------------------------- answers */

static void
repeat_later(struct control_core *core, struct control_report *report)
{
    report->slot = -1;
    report->not_before_ms = control_now(core) + report->retry_ms;
    report->retry_ms *= 2;
    if (report->retry_ms > CONTROL_RETRY_MOST_MS) {
        report->retry_ms = CONTROL_RETRY_MOST_MS;
    }
}

static void
ack_leaf(struct control_core *core, const struct control_report *report,
         ProtobufCBinaryData task_id, Penstock__Answer answer)
{
    if (report->leaf >= core->config.leaves || core->leaves[report->leaf].life != report->life) {
        return;
    }
    Penstock__LeafAck ack = PENSTOCK__LEAF_ACK__INIT;
    ack.task_id = task_id;
    ack.answer = answer;
    core->env.send_leaf(core->env.ctx, report->leaf, MSG_LEAF_ACK, &ack.base);
}

static void
settle_task(struct control_core *core, const struct control_report *report, Penstock__Answer answer)
{
    const Penstock__LeafDiscovered *page = (const Penstock__LeafDiscovered *)report->message;
    const Penstock__TaskResult *result =
        report->type == MSG_LEAF_TASK_RESULT
            ? ((const Penstock__LeafTaskResult *)report->message)->result
            : NULL;
    ProtobufCBinaryData task_id = result == NULL ? page->task_id : result->task_id;
    uint64_t epoch = result == NULL ? page->epoch : result->epoch;
    bool last = result == NULL ? page->last : result->last;
    ack_leaf(core, report, task_id, answer);
    struct control_task *task = control_task_find(core, task_id, epoch);
    if (task != NULL && (last || answer != PENSTOCK__ANSWER__ANSWER_OK)) {
        control_task_free(task);
    }
}

static void
settle_batch(struct control_core *core, const struct control_report *report)
{
    const Penstock__LeafDone *done = (const Penstock__LeafDone *)report->message;
    const Penstock__LeafFailed *failed = (const Penstock__LeafFailed *)report->message;
    struct control_batch *batch = report->type == MSG_LEAF_DONE
                                      ? control_batch_find(core, done->batch_id, done->epoch)
                                      : control_batch_find(core, failed->batch_id, failed->epoch);
    if (batch != NULL) {
        control_batch_settle(core, batch);
    }
}

/* The report is over, with whatever answer. */
static void
settle(struct control_core *core, struct control_report *report, Penstock__Answer answer)
{
    if (report->type == MSG_LEAF_DONE || report->type == MSG_LEAF_FAILED) {
        settle_batch(core, report);
    } else {
        settle_task(core, report, answer);
    }
    control_report_free(report);
    core->report_count--;
}

/* True when saying hello again has not helped. */
static bool
is_unknown_again(struct control_core *core, struct control_report *report)
{
    if (report->unknown_hello != 0 && core->hellos > report->unknown_hello) {
        return true;
    }
    report->unknown_hello = core->hellos;
    core->greeted = false;
    return false;
}

void
control_report_answer(struct control_core *core, unsigned slot, const Penstock__ReportReply *reply)
{
    struct control_report *report = report_of_slot(core, slot);
    if (report == NULL) {
        return;
    }
    if (!control_sync_see(core, reply->stamp)) {
        repeat_later(core, report);
        return;
    }
    switch (reply->answer) {
    case PENSTOCK__ANSWER__ANSWER_OK:
        break;
    case PENSTOCK__ANSWER__ANSWER_NOT_READY:
        repeat_later(core, report);
        return;
    case PENSTOCK__ANSWER__ANSWER_UNKNOWN:
        if (!is_unknown_again(core, report)) {
            repeat_later(core, report);
            return;
        }
        control_log(core, LOG_WARN, "report.dropped", "type=%s answer=unknown",
                    msg_type_name(report->type));
        break;
    case PENSTOCK__ANSWER__ANSWER_STALE:
        control_log(core, LOG_INFO, "report.dropped", "type=%s leaf=%" PRIu32 " answer=stale",
                    msg_type_name(report->type), report->leaf);
        break;
    case PENSTOCK__ANSWER__ANSWER_REFUSED:
    case _PENSTOCK__ANSWER_IS_INT_SIZE:
        control_log(core, LOG_ERROR, "report.refused", "type=%s text=\"%s\"",
                    msg_type_name(report->type), reply->text == NULL ? "" : reply->text);
        break;
    }
    settle(core, report, reply->answer);
}

void
control_report_lost(struct control_core *core, unsigned slot)
{
    struct control_report *report = report_of_slot(core, slot);
    if (report != NULL) {
        repeat_later(core, report);
    }
}
