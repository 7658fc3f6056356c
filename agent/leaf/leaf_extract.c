/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_extract.h"

#include "agent/leaf/leaf_away.h"
#include "agent/leaf/leaf_core.h"
#include "agent/leaf/leaf_cut.h"
#include "agent/leaf/leaf_decide.h"
#include "agent/leaf/leaf_manifest.h"
#include "agent/leaf/leaf_stream.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"

struct extract {
    struct leaf_core *core;
    struct leaf_doc *doc; /* of source and stream */
    struct leaf_source source;
    struct leaf_stream *stream; /* where the last chain stands; NULL = none */
};

static void
drop_source(struct extract *extract)
{
    leaf_stream_close(extract->stream);
    extract->stream = NULL;
    if (extract->source.source != NULL) {
        extract->source.ops->close(extract->source.source);
        extract->source.source = NULL;
    }
    leaf_doc_unref(extract->core->docs, extract->doc);
    extract->doc = NULL;
}

static enum ps_status
need_source(struct extract *extract, struct leaf_job *job, struct ps_error *err)
{
    if (extract->doc == job->doc) {
        return PS_OK;
    }
    drop_source(extract);
    extract->source.ops = source_find(spec_str(job->doc->spec, "source.url"), err);
    if (extract->source.ops == NULL) {
        return err->status;
    }
    enum ps_status status = extract->source.ops->open(job->doc->spec, &extract->core->source_env,
                                                      &extract->source.source, err);
    if (status == PS_OK) {
        extract->doc = leaf_doc_ref(extract->core->docs, job->doc);
    }
    return status;
}

static enum ps_status
read_range(struct extract *extract, struct leaf_job *job, size_t index, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    atomic_store(&job->range_now, (uint32_t)index);
    if (extract->stream != NULL && !leaf_stream_continues(extract->stream, job, index)) {
        leaf_stream_close(extract->stream);
        extract->stream = NULL;
    }
    if (extract->stream == NULL) {
        status =
            leaf_stream_open(extract->core, &extract->source, job, index, &extract->stream, err);
    }
    if (status == PS_OK) {
        status = leaf_stream_read_range(extract->stream, job, index, err);
    }
    if (status != PS_OK || job->ranges[index].eof) {
        leaf_stream_close(extract->stream);
        extract->stream = NULL;
    }
    return status;
}

/* What was decoded from a wrong start is as if it had never been. */
static void
forget_decoded(struct leaf_core *core, struct leaf_job *job)
{
    atomic_fetch_sub(&core->rows_total, atomic_exchange(&job->rows_seen, 0));
    atomic_store(&job->bytes, 0);
    atomic_store(&job->sealed, false);
    atomic_store(&job->stored, false);
    stage_batch_free(job->rows);
    job->rows = NULL;
    leaf_drift_free(job->drift);
    job->drift = NULL;
    job->counts = (struct dest_counts){0};
    job->splittable_range = SIZE_MAX;
    for (size_t i = 0; i < job->range_count; i++) {
        job->ranges[i].records = 0;
    }
}

/* Chains and cuts go on in the middle of an object: those are opened when their turn comes. */
static void
begin_ahead(struct extract *extract, const struct leaf_job *job)
{
    const Penstock__Batch *batch = job->message->grant->batch;
    struct leaf_want *wants = ps_xcalloc(job->range_count, sizeof *wants);
    for (size_t i = 0; i < job->range_count; i++) {
        const Penstock__Range *range = batch->ranges[i];
        wants[i] = (struct leaf_want){
            .key = job->ranges[i].key,
            .version = job->ranges[i].version,
            .size_bytes = range->has_size_bytes ? range->size_bytes : UINT64_MAX,
            .from_start = range->from == 0 && !range->cut,
        };
    }
    leaf_ahead_begin(extract->source.ahead, extract->source.ops, extract->source.source, wants,
                     job->range_count);
}

static enum ps_status
read_ranges(struct extract *extract, struct leaf_job *job, size_t *out_failed_range,
            struct ps_error *err)
{
    bool adds = leaf_drift_policy(job->doc->spec) == LEAF_UNKNOWN_ADD;
    for (size_t i = 0; i < job->range_count; i++) {
        *out_failed_range = i;
        enum ps_status status = read_range(extract, job, i, err);
        if (status == PS_OK && adds) { /* the whole range was looked at: others would be in vain */
            status = leaf_drift_stop(job->drift, err);
        }
        if (status != PS_OK) {
            char name[256];
            return ps_wrap(err, status, "%s at offset %llu",
                           log_quote(job->ranges[i].key, name, sizeof name),
                           (unsigned long long)job->ranges[i].from);
        }
        *out_failed_range = job->range_count;
    }
    return PS_OK;
}

static enum ps_status
extract_ranges(struct extract *extract, struct leaf_job *job, size_t *out_failed_range,
               struct ps_error *err)
{
    begin_ahead(extract, job);
    enum ps_status status = read_ranges(extract, job, out_failed_range, err);
    leaf_ahead_end(extract->source.ahead);
    if (status == PS_OK && job->block != NULL && job->block->rows > 0) {
        status = stage_batch_append(job->rows, &job->block, err);
    }
    stage_block_give(extract->core->stage, &job->block);
    return status;
}

/* *out_failed_range: which range was being read when it failed. */
static enum ps_status
extract_job(struct extract *extract, struct leaf_job *job, size_t *out_failed_range,
            struct ps_error *err)
{
    struct leaf_core *core = extract->core;
    forget_decoded(core, job);
    enum ps_status status = stage_batch_new(core->stage, job->id, job->epoch,
                                            (uint32_t)job->doc->column_count, &job->rows, err);
    if (status != PS_OK) {
        return status;
    }
    status = need_source(extract, job, err);
    if (status == PS_OK) {
        status = extract_ranges(extract, job, out_failed_range, err);
    }
    if (status == PS_OK && PS_FAILPOINT("leaf.after_fetch")) {
        status = ps_fail(err, PS_AGAIN, "failpoint leaf.after_fetch");
    }
    return status;
}

static enum ps_status
seal_job(struct extract *extract, struct leaf_job *job, struct ps_error *err)
{
    struct ps_buf manifest = PS_BUF_INIT;
    leaf_core_phase(extract->core, job, PENSTOCK__PHASE__PHASE_STAGE);
    leaf_manifest_write(job, &manifest);
    enum ps_status status = stage_batch_describe(job->rows, ps_buf_span(&manifest), err);
    ps_buf_fini(&manifest);
    if (status == PS_OK) {
        status = stage_batch_seal(job->rows, err);
    }
    if (status == PS_OK && PS_FAILPOINT("leaf.after_seal")) {
        status = ps_fail(err, PS_AGAIN, "failpoint leaf.after_seal");
    }
    if (status == PS_OK) {
        atomic_store(&job->stored, stage_batch_is_stored(job->rows));
        atomic_store(&job->sealed, true);
    }
    if (status == PS_OK && leaf_away_is(extract->core)) {
        leaf_away_store(extract->core, job);
    }
    return status;
}

/* failed_range: the one at fault; job->range_count: none. */
static void
fail(struct leaf_core *core, struct leaf_job *job, size_t failed_range, const struct ps_error *err)
{
    Penstock__FailClass class = leaf_decide_extract_failure(err);
    if (class != PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL) {
        log_warn("batch.extract_failed", "batch=%s epoch=%llu code=%s error=\"%s\"", job->id_text,
                 (unsigned long long)job->epoch, err->code, err->text);
    }
    const Penstock__Batch *batch = job->message->grant->batch;
    uint64_t bp_id = failed_range < job->range_count ? batch->ranges[failed_range]->bp_id : 0;
    leaf_core_failed(core, &job, class, err, failed_range < job->range_count ? &bp_id : NULL);
}

static enum ps_status
extract_and_seal(struct extract *extract, struct leaf_job *job, size_t *out_failed_range,
                 struct ps_error *err)
{
    int64_t began = ps_clock_mono_ms();
    leaf_core_phase(extract->core, job, PENSTOCK__PHASE__PHASE_FETCH);
    enum ps_status status = extract_job(extract, job, out_failed_range, err);
    job->fetch_ms = ps_clock_mono_ms() - began;
    if (status == PS_OK && job->cut.is) {
        leaf_cut_tell(extract->core, job);
    }
    if (status == PS_OK) {
        status = seal_job(extract, job, err);
        job->stage_ms = ps_clock_mono_ms() - began - job->fetch_ms;
        job->sealed_at_ms = ps_clock_mono_ms();
    }
    return status;
}

/* A full disk below the stage is waited out, and everything begins anew: a segment that could not
 * be written is condemned. What waits for a proof, here or on its way there, makes room: it is this
 * range that the proof may wait for. */
static enum ps_status
make_rows(struct extract *extract, struct leaf_job *job, size_t *out_failed_range,
          struct ps_error *err)
{
    struct leaf_core *core = extract->core;
    for (unsigned attempt = 0;; attempt++) {
        enum ps_status status = extract_and_seal(extract, job, out_failed_range, err);
        if (attempt > 0) {
            leaf_core_note(core, "%s", "");
        }
        if (status == PS_OK || !leaf_decide_waits_for_room(err) || job->cut.guess) {
            return status;
        }
        forget_decoded(core, job);
        leaf_cut_make_room(core);
        /* Of a quota it is known when there is more: reading the source in vain costs it. */
        bool is_quota = strcmp(err->code, "stage_quota") == 0;
        uint64_t used = stage_disk_now(core->stage).bytes;
        bool go_on;
        leaf_away_quota_waits(core, is_quota);
        do {
            go_on = !atomic_load(&core->drain) &&
                    leaf_core_wait_for_room(core, job, "staging folder's", attempt, err);
        } while (go_on && is_quota && used > 0 && stage_disk_now(core->stage).bytes >= used);
        leaf_away_quota_waits(core, false);
        if (!go_on) {
            return ps_fail(err, PS_CANCELED, "asked to stop while the disk was full");
        }
    }
}

/* Another life of the batch has decoded it and left it on this leaf's disk. False: it has not, or
 * it cannot be used: the batch is extracted. */
static bool
adopt(struct leaf_core *core, struct leaf_job *job)
{
    struct ps_buf manifest = PS_BUF_INIT;
    struct stage_batch *rows = NULL;
    struct ps_error err = {0};
    enum ps_status status = stage_kept_take(core->stage, job->id, &rows, &manifest, &err);
    bool found = status != PS_OK || rows != NULL;
    if (rows != NULL) {
        status = leaf_manifest_apply(job, ps_buf_span(&manifest), stage_batch_columns(rows), &err);
    }
    ps_buf_fini(&manifest);
    if (found) {
        atomic_store(&core->kept_news, true);
    }
    if (status != PS_OK) {
        log_warn("segment.unused", "leaf=%u batch=%s code=%s error=\"%s\"", core->config->leaf,
                 job->id_text, err.code, err.text);
        stage_batch_free(rows);
        return false;
    }
    if (!found) {
        return false;
    }
    job->rows = rows;
    job->sealed_at_ms = ps_clock_mono_ms();
    atomic_store(&job->rows_seen, stage_batch_rows(rows));
    atomic_fetch_add(&core->rows_total, stage_batch_rows(rows));
    atomic_store(&job->bytes, job->counts.unwrapped_bytes);
    atomic_store(&job->stored, true);
    atomic_store(&job->sealed, true);
    log_info("segment.reused", "leaf=%u batch=%s epoch=%llu rows=%llu", core->config->leaf,
             job->id_text, (unsigned long long)job->epoch,
             (unsigned long long)stage_batch_rows(rows));
    leaf_core_phase(core, job, PENSTOCK__PHASE__PHASE_STAGE);
    if (job->cut.is) {
        leaf_cut_tell(core, job);
    }
    return true;
}

static enum ps_status
make_or_adopt(struct extract *extract, struct leaf_job *job, size_t *out_failed_range,
              struct ps_error *err)
{
    struct leaf_core *core = extract->core;
    /* A cut that comes back from its proof has been looked for before. */
    if (job->rows == NULL && adopt(core, job)) {
        return PS_OK;
    }
    if (!leaf_away_wait_for_quota(core, job)) {
        return ps_fail(err, PS_CANCELED, "given back before it was begun");
    }
    return make_rows(extract, job, out_failed_range, err);
}

/* Others of this leaf may begin where this one ended. */
static void
learn_end(struct leaf_core *core, const struct leaf_job *job)
{
    const Penstock__Range *range = job->message->grant->batch->ranges[0];
    if (job->range_count == 1 && job->splittable_range == 0 && !job->cut.is) {
        leaf_cut_learn(core, job, range->from + range->target_bytes, job->ranges[0].end);
    }
}

static void
take_one(struct extract *extract, struct leaf_job *job)
{
    struct leaf_core *core = extract->core;
    struct ps_error err = {0};
    enum ps_status status = PS_OK;
    size_t failed_range = job->range_count;
    if (atomic_load(&core->drain) || atomic_load(&job->cancel)) {
        status = ps_fail(&err, PS_CANCELED, "given back before it was begun");
    } else if (!job->message->grant->tombstone) {
        job->cut.guess = false;
        status = make_or_adopt(extract, job, &failed_range, &err);
        if (status == PS_OK && job->cut.is && PS_FAILPOINT("leaf.before_proof")) {
            status = ps_fail(&err, PS_AGAIN, "failpoint leaf.before_proof");
        }
        if (job->cut.is && (status == PS_OK || (job->cut.guess && status != PS_CANCELED))) {
            /* A failure under a guess may be the guess's: it is not worth a word before the start
             * is proven. Then the same, if it is the source's, comes again. */
            job->cut.whole = status == PS_OK;
            leaf_cut_settle(core, &job);
            return;
        }
    }
    if (status == PS_OK) {
        learn_end(core, job);
        /* The queue is as long as all that a leaf may hold: a put never waits. */
        if (ps_queue_put(core->to_load, job, PS_WAIT_FOREVER) == PS_OK) {
            return;
        }
        ps_fail(&err, PS_CANCELED, "the leaf is stopping");
    }
    fail(core, job, failed_range, &err);
}

/* Nobody has proven the job's start in time: read up to it. */
static void
prove_one(struct extract *extract, struct leaf_job *job)
{
    struct leaf_core *core = extract->core;
    struct ps_error err = {0};
    uint64_t start = 0;
    int64_t began = ps_clock_mono_ms();
    leaf_core_phase(core, job, PENSTOCK__PHASE__PHASE_FETCH);
    enum ps_status status = need_source(extract, job, &err);
    if (status == PS_OK) {
        status = leaf_stream_prove(core, &extract->source, job, &start, &err);
    }
    if (status == PS_OK) {
        atomic_store(&job->cut.truth, start);
        log_info("cut.proven", "batch=%s start=%llu ms=%lld", job->id_text,
                 (unsigned long long)start, (long long)(ps_clock_mono_ms() - began));
    }
    if (status == PS_OK || atomic_load(&job->cut.truth) != 0) {
        leaf_core_phase(core, job, PENSTOCK__PHASE__PHASE_STAGE);
        leaf_cut_settle(core, &job);
        return;
    }
    fail(core, job, 0, &err);
}

void *
leaf_extract_thread(void *ctx)
{
    struct extract extract = {.core = ctx, .source.ahead = leaf_ahead_new()};
    enum ps_status status = PS_OK;
    leaf_core_name_thread("extract");
    while (status != PS_CANCELED) {
        void *item = leaf_cut_take_due(extract.core);
        if (item != NULL) {
            prove_one(&extract, item);
        } else {
            status = ps_queue_take(extract.core->to_extract, leaf_cut_wait_ms(extract.core), &item);
            if (status == PS_OK) {
                take_one(&extract, item);
            }
        }
        leaf_core_name_thread("extract");
    }
    for (struct leaf_job *job; (job = leaf_cut_take_any(extract.core)) != NULL;) {
        struct ps_error err;
        if (job->cut.whole && leaf_away_is_lost(extract.core)) {
            leaf_away_store(extract.core, job);
        }
        ps_fail(&err, PS_CANCELED, "given back before its start was proven");
        fail(extract.core, job, job->range_count, &err);
    }
    drop_source(&extract);
    leaf_ahead_free(extract.source.ahead);
    ps_queue_close(extract.core->to_load);
    return NULL;
}
