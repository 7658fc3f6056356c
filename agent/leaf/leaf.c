/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/leaf/leaf_core.h"
#include "agent/leaf/leaf_cut.h"
#include "agent/leaf/leaf_extract.h"
#include "agent/leaf/leaf_load.h"
#include "agent/leaf/leaf_task.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    PROGRESS_MS = 500,
    STAGED_MOST = 4096, /* told at once: a frame's worth */
    LEAVES_MOST = 256,
};

static void
refuse_grant(struct leaf_core *core, const Penstock__Grant *grant, const struct ps_error *err)
{
    struct ps_error send_err;
    Penstock__LeafFailed failed;
    penstock__leaf_failed__init(&failed);
    failed.batch_id = grant->batch->batch_id;
    failed.epoch = grant->epoch;
    failed.class_ = PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT;
    failed.code = "leaf_refused";
    failed.text = (char *)(uintptr_t)err->text;
    log_error("grant.refused", "leaf=%u error=\"%s\"", core->config->leaf, err->text);
    if (leaf_link_send(core->link, MSG_LEAF_FAILED, &failed, &send_err) != PS_OK) {
        atomic_store(&core->stop, true);
    }
}

static void
on_grant(struct leaf_core *core, ProtobufCMessage **own_message)
{
    Penstock__LeafGrant *message = (Penstock__LeafGrant *)*own_message;
    const Penstock__Grant *grant = message->grant;
    const Penstock__Batch *batch = grant->batch;
    struct ps_error err = {0};
    struct leaf_job *job = NULL;
    if (leaf_core_holds(core, ps_span(batch->batch_id.data, batch->batch_id.len), grant->epoch)) {
        return; /* a repeat of what we are already doing */
    }
    struct leaf_doc *doc = leaf_docs_find(
        core->docs, ps_span(batch->pipeline_uuid.data, batch->pipeline_uuid.len), batch->spec_rev);
    if (doc == NULL) {
        ps_fail(&err, PS_BUG, "the grant came before its pipeline's document");
        refuse_grant(core, grant, &err);
        return;
    }
    *own_message = NULL;
    if (leaf_job_new(&message, core->docs, doc, &job, &err) != PS_OK) {
        log_error("grant.malformed", "leaf=%u error=\"%s\"", core->config->leaf, err.text);
        atomic_store(&core->stop, true); /* our agent speaks another language: start over */
        return;
    }
    if (!leaf_core_hold(core, job)) {
        ps_fail(&err, PS_FULL, "leaf %u already holds %d batches", core->config->leaf,
                LEAF_HELD_MAX);
        refuse_grant(core, job->message->grant, &err);
        leaf_job_free(core->docs, job);
        return;
    }
    if (ps_queue_put(core->to_extract, job, 0) != PS_OK) {
        ps_fail(&err, PS_CANCELED, "the leaf is draining");
        leaf_core_failed(core, &job, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, &err, NULL);
    }
}

static void
on_task(struct leaf_core *core, ProtobufCMessage **own_message)
{
    Penstock__LeafTask *message = (Penstock__LeafTask *)*own_message;
    bool same = false;
    pthread_mutex_lock(&core->lock);
    if (core->task_busy && message->task->task_id.len == PS_ID_BYTES) {
        same = message->task->epoch <= core->task_epoch &&
               memcmp(core->task_now, message->task->task_id.data, PS_ID_BYTES) == 0;
    }
    if (core->task == NULL && !same) {
        core->task = message;
        *own_message = NULL;
        pthread_cond_broadcast(&core->changed);
    }
    pthread_mutex_unlock(&core->lock);
}

static void
on_ack(struct leaf_core *core, const Penstock__LeafAck *ack)
{
    pthread_mutex_lock(&core->lock);
    if (core->task_busy && ack->task_id.len == PS_ID_BYTES &&
        memcmp(core->task_now, ack->task_id.data, PS_ID_BYTES) == 0) {
        core->task_acked = true;
        core->task_answer = ack->answer;
        pthread_cond_broadcast(&core->changed);
    }
    pthread_mutex_unlock(&core->lock);
}

static void
on_cancel_task(struct leaf_core *core, const Penstock__LeafCancelTask *cancel)
{
    pthread_mutex_lock(&core->lock);
    if (core->task_busy && cancel->task_id.len == PS_ID_BYTES &&
        memcmp(core->task_now, cancel->task_id.data, PS_ID_BYTES) == 0) {
        atomic_store(&core->task_cancel, true);
        pthread_cond_broadcast(&core->changed);
    }
    pthread_mutex_unlock(&core->lock);
}

static void
on_spec(struct leaf_core *core, const Penstock__LeafSpec *message)
{
    struct ps_error err = {0};
    if (leaf_docs_put(core->docs, message->doc, &err) != PS_OK) {
        log_error("spec.refused", "leaf=%u error=\"%s\"", core->config->leaf, err.text);
    }
}

/* The coordinator will never grant them again. */
static void
on_unstage(struct leaf_core *core, const Penstock__LeafUnstage *unstage)
{
    for (size_t i = 0; i < unstage->n_batch_ids; i++) {
        struct batch_id id;
        ProtobufCBinaryData bytes = unstage->batch_ids[i];
        if (ps_id_from_span(ps_span(bytes.data, bytes.len), &id.id) &&
            stage_kept_remove(core->stage, id)) {
            char text[PS_ID_TEXT_BYTES];
            log_info("segment.dropped", "leaf=%u batch=%s why=settled", core->config->leaf,
                     ps_id_text(id.id, text));
            atomic_store(&core->kept_news, true);
        }
    }
    leaf_core_wake(core);
}

static void
start_drain(struct leaf_core *core)
{
    atomic_store(&core->drain, true);
    ps_queue_close(core->to_extract);
    leaf_core_wake(core);
}

static void
on_message(struct leaf_core *core, enum msg_type type, ProtobufCMessage **own_message)
{
    if (type == MSG_LEAF_GRANT) {
        on_grant(core, own_message);
    } else if (type == MSG_LEAF_SPEC) {
        on_spec(core, (const Penstock__LeafSpec *)*own_message);
    } else if (type == MSG_LEAF_TASK) {
        on_task(core, own_message);
    } else if (type == MSG_LEAF_ACK) {
        on_ack(core, (const Penstock__LeafAck *)*own_message);
    } else if (type == MSG_TURN_GRANT) {
        leaf_core_turn_granted(core, ((const Penstock__TurnGrant *)*own_message)->turn);
    } else if (type == MSG_LEAF_CANCEL) {
        const Penstock__LeafCancel *cancel = (const Penstock__LeafCancel *)*own_message;
        leaf_core_cancel(core, ps_span(cancel->batch_id.data, cancel->batch_id.len), cancel->epoch);
    } else if (type == MSG_LEAF_PROOF) {
        leaf_cut_proof(core, ((const Penstock__LeafProof *)*own_message)->proof);
    } else if (type == MSG_LEAF_CANCEL_TASK) {
        on_cancel_task(core, (const Penstock__LeafCancelTask *)*own_message);
    } else if (type == MSG_LEAF_UNSTAGE) {
        on_unstage(core, (const Penstock__LeafUnstage *)*own_message);
    } else if (type == MSG_LEAF_DRAIN) {
        start_drain(core);
    } else {
        log_warn("message.unexpected", "leaf=%u type=%s", core->config->leaf, msg_type_name(type));
    }
}

static void
tell_kept(struct leaf_core *core)
{
    struct stage_kept *kept = ps_xcalloc(STAGED_MOST, sizeof *kept);
    size_t count = stage_kept_list(core->stage, kept, STAGED_MOST);
    Penstock__Staged *staged = ps_xcalloc(count + 1, sizeof *staged);
    Penstock__Staged **staged_at = ps_xcalloc(count + 1, sizeof(Penstock__Staged *));
    Penstock__LeafStaged message = PENSTOCK__LEAF_STAGED__INIT;
    for (size_t i = 0; i < count; i++) {
        penstock__staged__init(&staged[i]);
        staged[i].batch_id = proto_bytes(kept[i].id.id.b, PS_ID_BYTES);
        staged[i].epoch = kept[i].epoch;
        staged[i].leaf = core->config->leaf;
        staged[i].bytes = kept[i].bytes;
        staged_at[i] = &staged[i];
    }
    message.n_staged = count;
    message.staged = staged_at;
    struct ps_error err;
    if (leaf_link_send(core->link, MSG_LEAF_STAGED, &message, &err) != PS_OK) {
        atomic_store(&core->stop, true);
    }
    ps_free(staged_at);
    ps_free(staged);
    ps_free(kept);
    uint64_t discarded = stage_disk_now(core->stage).discarded;
    if (discarded > core->discarded_said) {
        log_warn("segments.discarded",
                 "leaf=%u count=%llu why=\"damaged, of another version, or to make room\"",
                 core->config->leaf, (unsigned long long)(discarded - core->discarded_said));
        core->discarded_said = discarded;
    }
}

static bool
drained(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    bool done = atomic_load(&core->drain) && core->held_count == 0 && !core->task_busy;
    pthread_mutex_unlock(&core->lock);
    return done;
}

static void
link_loop(struct leaf_core *core)
{
    struct ps_error err = {0};
    int64_t told_ms = ps_clock_mono_ms();
    leaf_core_progress(core);
    while (!atomic_load(&core->stop) && !drained(core)) {
        enum msg_type type = 0;
        ProtobufCMessage *message = NULL;
        int wait_ms = atomic_load(&core->drain) ? 20 : PROGRESS_MS;
        enum ps_status status = leaf_link_receive(core->link, wait_ms, &type, &message, &err);
        if (status != PS_OK) {
            if (status != PS_CANCELED) {
                log_error("link.failed", "leaf=%u error=\"%s\"", core->config->leaf, err.text);
            }
            atomic_store(&core->stop, true);
        } else if (message != NULL) {
            on_message(core, type, &message);
            msg_free(message);
        }
        if (ps_clock_mono_ms() - told_ms >= PROGRESS_MS) {
            told_ms = ps_clock_mono_ms();
            leaf_core_progress_all(core);
        }
        if (atomic_exchange(&core->kept_news, false)) {
            tell_kept(core);
        }
    }
}

/* The agent had more leaves once: what those have kept is shared out among the ones it has. */
static void
take_over(struct leaf_core *core)
{
    const struct leaf_config *config = core->config;
    for (uint32_t n = config->leaf + config->leaves; config->leaves > 0 && n < LEAVES_MOST;
         n += config->leaves) {
        struct ps_error err;
        size_t moved = 0;
        char *dir = ps_xasprintf("%s/leaf-%u/stage", config->state_dir, n);
        if (stage_kept_move_in(core->stage, dir, &moved, &err) != PS_OK) {
            log_warn("segments.orphaned", "leaf=%u of_leaf=%u error=\"%s\"", config->leaf, n,
                     err.text);
        } else if (moved > 0) {
            log_info("segments.taken_over", "leaf=%u of_leaf=%u count=%zu", config->leaf, n, moved);
        }
        ps_free(dir);
    }
}

static enum ps_status
open_stage(struct leaf_core *core, struct ps_error *err)
{
    const struct leaf_config *config = core->config;
    /* Small budgets are taken by the reserve alone: their rows live on disk. */
    uint64_t least = config->budget_bytes / 64;
    struct stage_limits limits = {
        .memory_bytes = config->budget_bytes > LEAF_RESERVE_BYTES + least
                            ? config->budget_bytes - LEAF_RESERVE_BYTES
                            : least,
        .quota_bytes = config->stage_quota,
    };
    char *dir = ps_xasprintf("%s/leaf-%u/stage", config->state_dir, config->leaf);
    enum ps_status status = stage_open(dir, &limits, &core->stage, err);
    ps_free(dir);
    if (status == PS_OK) {
        take_over(core);
        atomic_store(&core->kept_news, true);
    }
    return status;
}

static void
say_ready(struct leaf_core *core)
{
    struct ps_error err;
    Penstock__LeafReady ready;
    penstock__leaf_ready__init(&ready);
    ready.leaf = core->config->leaf;
    ready.pid = (uint32_t)getpid();
    if (leaf_link_send(core->link, MSG_LEAF_READY, &ready, &err) != PS_OK) {
        atomic_store(&core->stop, true);
    }
}

static void
run_threads(struct leaf_core *core)
{
    pthread_t extract, load, task;
    bool started = pthread_create(&extract, NULL, leaf_extract_thread, core) == 0 &&
                   pthread_create(&load, NULL, leaf_load_thread, core) == 0 &&
                   pthread_create(&task, NULL, leaf_task_thread, core) == 0;
    if (!started) {
        log_error("leaf.threads_refused", "leaf=%u", core->config->leaf);
        _exit(1);
    }
    link_loop(core);
    if (atomic_load(&core->stop)) {
        /* Without an agent nothing may go on: an open transaction is rolled back by our end, a
         * committed one stands in the ledger. */
        _exit(2);
    }
    leaf_core_wake(core);
    pthread_join(task, NULL);
    pthread_join(extract, NULL);
    pthread_join(load, NULL);
}

int
leaf_main(const struct leaf_config *config)
{
    struct ps_error err = {0};
    struct leaf_core *core = ps_xcalloc(1, sizeof *core);
    /* The agent decides when we stop; its end is ours, even when it cannot tell us. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    core->config = config;
    core->link = leaf_link_new(config->link_fd);
    core->docs = leaf_docs_new();
    core->to_extract = ps_queue_new(LEAF_HELD_MAX);
    core->to_load = ps_queue_new(LEAF_HELD_MAX);
    core->source_env = (struct source_env){
        .roots = config->roots,
        .root_count = config->root_count,
        .base_dir = config->base_dir,
        .cancel = &core->stop,
        .allow = config->allow,
        .ahead_bytes = (size_t)(config->budget_bytes / 16), /* of the reserve */
    };
    pthread_mutex_init(&core->lock, NULL);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&core->changed, &mono);
    pthread_condattr_destroy(&mono);
    int exit_status = 0;
    if (open_stage(core, &err) != PS_OK) {
        log_error("stage.refused", "leaf=%u error=\"%s\"", config->leaf, err.text);
        exit_status = 1;
    } else {
        say_ready(core);
        run_threads(core);
    }
    stage_close(core->stage);
    ps_queue_free(core->to_load);
    ps_queue_free(core->to_extract);
    leaf_docs_free(core->docs);
    leaf_link_free(core->link);
    pthread_cond_destroy(&core->changed);
    pthread_mutex_destroy(&core->lock);
    ps_free(core);
    return exit_status;
}
