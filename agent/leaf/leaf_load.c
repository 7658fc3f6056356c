/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_load.h"

#include "agent/leaf/leaf_away.h"
#include "agent/leaf/leaf_core.h"
#include "agent/leaf/leaf_decide.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/rand.h"

struct load {
    struct leaf_core *core;
    struct dest_env env;
    struct leaf_doc *doc; /* of dest */
    const struct dest_ops *ops;
    struct dest *dest;
    struct leaf_job *job; /* the one being loaded */
    bool have_turn;
    bool is_away; /* the last try did not get as far as a connection */
    /* Taken off the queue while the destination is away, to be put on disk: before the queue's. */
    struct leaf_job **line;
    size_t line_at, line_count;
};

static enum ps_status
turn_take(void *ctx, const char *identity, struct ps_error *err)
{
    struct load *load = ctx;
    leaf_core_note(load->core, "waits for the writer turn");
    enum ps_status status = leaf_core_turn_take(load->core, 0, identity, err);
    load->have_turn = status == PS_OK;
    leaf_core_note(load->core, "%s", "");
    return status;
}

static void
turn_release(void *ctx, const char *identity)
{
    struct load *load = ctx;
    (void)identity;
    if (load->have_turn) {
        load->have_turn = false;
        leaf_core_turn_release(load->core, 0);
    }
}

static void
phase(void *ctx, const char *name)
{
    struct load *load = ctx;
    leaf_core_phase(load->core, load->job,
                    strcmp(name, "commit") == 0 ? PENSTOCK__PHASE__PHASE_COMMIT
                                                : PENSTOCK__PHASE__PHASE_LOAD);
}

static void
drop_dest(struct load *load)
{
    if (load->dest != NULL) {
        load->ops->close(load->dest);
        load->dest = NULL;
    }
    leaf_doc_unref(load->core->docs, load->doc);
    load->doc = NULL;
}

static enum ps_status
need_dest(struct load *load, struct ps_error *err)
{
    if (load->dest != NULL && load->doc == load->job->doc) {
        return PS_OK;
    }
    drop_dest(load);
    load->ops = dest_find(spec_str(load->job->doc->spec, "destination.url"), err);
    if (load->ops == NULL) {
        return err->status;
    }
    enum ps_status status = load->ops->open(load->job->doc->spec, &load->env, &load->dest, err);
    load->is_away = status == PS_AGAIN;
    if (status == PS_OK) {
        load->doc = leaf_doc_ref(load->core->docs, load->job->doc);
        leaf_away_back(load->core);
    }
    return status;
}

static struct dest_batch
batch_of(const struct load *load)
{
    const struct leaf_job *job = load->job;
    const Penstock__Batch *batch = job->message->grant->batch;
    return (struct dest_batch){
        .id = job->id,
        .pipeline = job->doc->uuid,
        .generation = batch->generation,
        .epoch = job->epoch,
        .cluster_epoch = job->message->stamp->cluster_epoch,
        .commit_seq = job->message->stamp->commit_seq,
        .spec_rev = batch->spec_rev,
        .agent = load->core->config->agent_name,
        .leaf = load->core->config->leaf,
        .ranges = job->ranges,
        .range_count = job->range_count,
        .counts = job->counts,
        .rows = job->rows,
    };
}

static enum ps_status
load_once(struct load *load, struct dest_result *result, struct ps_error *err)
{
    struct leaf_job *job = load->job;
    enum ps_status status = need_dest(load, err);
    if (status != PS_OK) {
        return status;
    }
    struct dest_batch batch = batch_of(load);
    if (job->message->grant->tombstone) {
        const char *reason = job->message->grant->tombstone_reason;
        return load->ops->tombstone(load->dest, &batch, reason == NULL ? "cancelled" : reason,
                                    result, err);
    }
    stage_batch_rewind(job->rows);
    return load->ops->load(load->dest, job->doc->columns, job->doc->column_count, &batch, result,
                           err);
}

/* What is sealed must not be lost with this process, and not fill its memory. */
static void
store_all(struct load *load)
{
    void *item = NULL;
    leaf_away_store(load->core, load->job);
    while (ps_queue_take(load->core->to_load, 0, &item) == PS_OK) {
        load->line = ps_xrealloc(load->line, (load->line_count + 1) * sizeof(struct leaf_job *));
        load->line[load->line_count++] = item;
        leaf_away_store(load->core, item);
    }
}

/* False: asked to stop. */
static bool
wait_a_while(struct load *load, int64_t wait_ms)
{
    struct leaf_core *core = load->core;
    pthread_mutex_lock(&core->lock);
    bool stop = atomic_load(&core->stop) || atomic_load(&load->job->cancel) ||
                (load->is_away && atomic_load(&core->drain));
    if (!stop) {
        leaf_core_wait_locked(core, wait_ms);
    }
    pthread_mutex_unlock(&core->lock);
    return !stop;
}

/* A destination that cannot be reached is waited for without end: the batch lies on disk, and that
 * is no attempt of its. Negative: it has been tried often enough. */
static int64_t
next_wait_ms(struct load *load, unsigned *attempt, const struct ps_error *err)
{
    uint64_t random;
    ps_rand_system(&random, sizeof random);
    if (!load->is_away) {
        return leaf_decide_retry_ms((*attempt)++, random);
    }
    leaf_away_lost(load->core, err);
    store_all(load);
    return leaf_decide_away_ms(load->core->away_tries++, random);
}

/* The same transaction again, with growing waits, while the destination may come back. */
static enum ps_status
load_with_retries(struct load *load, struct dest_result *result, struct ps_error *err)
{
    unsigned attempt = 0, room_attempt = 0;
    for (;;) {
        load->is_away = false;
        enum ps_status status = load_once(load, result, err);
        if (status != PS_AGAIN && status != PS_FULL) {
            return status;
        }
        drop_dest(load); /* a connection that failed is not trusted again */
        leaf_core_phase(load->core, load->job, PENSTOCK__PHASE__PHASE_STAGE);
        if (leaf_decide_waits_for_room(err) && !atomic_load(&load->core->drain)) {
            if (!leaf_core_wait_for_room(load->core, load->job, "destination's", room_attempt++,
                                         err)) {
                return ps_fail(err, PS_CANCELED, "asked to stop while the destination was full");
            }
            leaf_core_note(load->core, "%s", "");
            continue;
        }
        int64_t wait_ms = next_wait_ms(load, &attempt, err);
        if (wait_ms < 0) {
            return status;
        }
        leaf_core_note(load->core, "destination: %s", err->text);
        leaf_core_progress(load->core);
        if (!wait_a_while(load, wait_ms)) {
            return ps_fail(err, PS_CANCELED, "asked to stop while the destination was away");
        }
        leaf_core_note(load->core, "%s", "");
    }
}

static void
report(struct load *load, enum ps_status status, struct dest_result *result, struct ps_error *err)
{
    struct leaf_job *job = load->job;
    Penstock__Outcome outcome = PENSTOCK__OUTCOME__OUTCOME_LOADED;
    Penstock__FailClass class = PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT;
    const char *code = "";
    if (status == PS_OK &&
        leaf_decide_outcome(result->outcome, &outcome, &class, &code) == LEAF_REPORT_DONE) {
        leaf_core_phase(load->core, job, PENSTOCK__PHASE__PHASE_REPORT);
        if (outcome == PENSTOCK__OUTCOME__OUTCOME_ALREADY) {
            log_info("batch.already_loaded", "batch=%s epoch=%llu", job->id_text,
                     (unsigned long long)job->epoch);
        }
        (void)PS_FAILPOINT("leaf.before_done");
        leaf_core_done(load->core, &load->job, outcome, result);
        return;
    }
    if (status == PS_OK) {
        char *why = ps_xstrdup(err->text[0] != '\0' ? err->text : code);
        ps_fail_code(err, PS_REFUSED, code, "%s", why);
        ps_free(why);
    } else {
        class = leaf_decide_load_failure(err);
    }
    if (leaf_decide_is_segment_bad(err)) {
        log_warn("segment.unused", "leaf=%u batch=%s code=%s error=\"%s\"",
                 load->core->config->leaf, job->id_text, err->code, err->text);
    } else if (class != PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL) {
        log_warn("batch.load_failed", "batch=%s epoch=%llu code=%s error=\"%s\"", job->id_text,
                 (unsigned long long)job->epoch, err->code, err->text);
    }
    leaf_core_failed(load->core, &load->job, class, err, NULL);
}

static void
take_one(struct load *load, struct leaf_job *job)
{
    struct dest_result result = {0};
    struct ps_error err = {0};
    enum ps_status status = PS_OK;
    load->job = job;
    if (atomic_load(&job->cancel) && !job->message->grant->tombstone) {
        status = ps_fail(&err, PS_CANCELED, "cancelled before its transaction began");
    } else if (atomic_load(&load->core->drain) && leaf_away_is_lost(load->core)) {
        leaf_away_store(load->core, job);
        status = ps_fail(&err, PS_CANCELED, "asked to stop while the destination was away");
    } else {
#ifdef PS_MUTANT_ACK_EARLY
        /* Deliberately wrong, for the kill harness: reports before COMMIT. */
        result.counts = job->counts;
        leaf_core_send_done(load->core, job, PENSTOCK__OUTCOME__OUTCOME_LOADED, &result);
#endif
        int64_t began = ps_clock_mono_ms();
        leaf_away_begin_load(load->core);
        status = load_with_retries(load, &result, &err);
        leaf_away_end_load(load->core);
        job->load_ms = ps_clock_mono_ms() - began;
    }
    report(load, status, &result, &err);
    dest_result_fini(&result);
}

/* Oldest first: what was taken off the queue before. */
static struct leaf_job *
next_job(struct load *load)
{
    void *item = NULL;
    if (load->line_at < load->line_count) {
        return load->line[load->line_at++];
    }
    load->line_at = load->line_count = 0;
    return ps_queue_take(load->core->to_load, PS_WAIT_FOREVER, &item) == PS_OK ? item : NULL;
}

void *
leaf_load_thread(void *ctx)
{
    struct load load = {.core = ctx};
    load.env = (struct dest_env){
        .memory_bytes = leaf_core_dest_bytes(load.core),
        .ctx = &load,
        .turn_take = turn_take,
        .turn_release = turn_release,
        .phase = phase,
        .base_dir = load.core->config->base_dir,
        .cancel = &load.core->stop,
    };
    leaf_core_name_thread("loader");
    for (struct leaf_job *job; (job = next_job(&load)) != NULL;) {
        leaf_core_name_thread("stage"); /* sealed, until the writer turn is its own */
        take_one(&load, job);
        leaf_core_name_thread("loader");
    }
    ps_free(load.line);
    drop_dest(&load);
    return NULL;
}
