/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_extract.h"

#include "agent/leaf/leaf_core.h"
#include "agent/leaf/leaf_decide.h"
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

/* *out_failed_range: which range was being read when it failed. */
static enum ps_status
extract_job(struct extract *extract, struct leaf_job *job, size_t *out_failed_range,
            struct ps_error *err)
{
    struct leaf_core *core = extract->core;
    enum ps_status status = stage_batch_new(core->stage, job->id, job->epoch,
                                            (uint32_t)job->doc->column_count, &job->rows, err);
    if (status != PS_OK) {
        return status;
    }
    status = need_source(extract, job, err);
    for (size_t i = 0; status == PS_OK && i < job->range_count; i++) {
        *out_failed_range = i;
        status = read_range(extract, job, i, err);
        if (status != PS_OK) {
            char name[256];
            return ps_wrap(err, status, "%s at offset %llu",
                           log_quote(job->ranges[i].key, name, sizeof name),
                           (unsigned long long)job->ranges[i].from);
        }
        *out_failed_range = job->range_count;
    }
    if (status == PS_OK && PS_FAILPOINT("leaf.after_fetch")) {
        status = ps_fail(err, PS_AGAIN, "failpoint leaf.after_fetch");
    }
    return status;
}

static enum ps_status
seal_job(struct extract *extract, struct leaf_job *job, struct ps_error *err)
{
    leaf_core_phase(extract->core, job, PENSTOCK__PHASE__PHASE_STAGE);
    enum ps_status status = stage_batch_seal(job->rows, err);
    if (status == PS_OK && PS_FAILPOINT("leaf.after_seal")) {
        status = ps_fail(err, PS_AGAIN, "failpoint leaf.after_seal");
    }
    return status;
}

static void
take_one(struct extract *extract, struct leaf_job *job)
{
    struct leaf_core *core = extract->core;
    struct ps_error err = {0};
    enum ps_status status = PS_OK;
    size_t failed_range = job->range_count;
    int64_t began = ps_clock_mono_ms();
    if (atomic_load(&core->drain) || atomic_load(&job->cancel)) {
        status = ps_fail(&err, PS_CANCELED, "given back before it was begun");
    } else if (!job->message->grant->tombstone) {
        leaf_core_phase(core, job, PENSTOCK__PHASE__PHASE_FETCH);
        status = extract_job(extract, job, &failed_range, &err);
        job->fetch_ms = ps_clock_mono_ms() - began;
        if (status == PS_OK) {
            status = seal_job(extract, job, &err);
            job->stage_ms = ps_clock_mono_ms() - began - job->fetch_ms;
        }
    }
    if (status == PS_OK) {
        job->sealed_at_ms = ps_clock_mono_ms();
        /* The queue is as long as all that a leaf may hold: a put never waits. */
        if (ps_queue_put(core->to_load, job, PS_WAIT_FOREVER) == PS_OK) {
            return;
        }
        ps_fail(&err, PS_CANCELED, "the leaf is stopping");
    }
    Penstock__FailClass class = leaf_decide_extract_failure(&err);
    if (class != PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL) {
        log_warn("batch.extract_failed", "batch=%s epoch=%llu code=%s error=\"%s\"", job->id_text,
                 (unsigned long long)job->epoch, err.code, err.text);
    }
    const Penstock__Batch *batch = job->message->grant->batch;
    uint64_t bp_id = failed_range < job->range_count ? batch->ranges[failed_range]->bp_id : 0;
    leaf_core_failed(core, &job, class, &err, failed_range < job->range_count ? &bp_id : NULL);
}

void *
leaf_extract_thread(void *ctx)
{
    struct extract extract = {.core = ctx};
    void *item = NULL;
    leaf_core_name_thread("extract");
    while (ps_queue_take(extract.core->to_extract, PS_WAIT_FOREVER, &item) == PS_OK) {
        take_one(&extract, item);
        leaf_core_name_thread("extract");
    }
    drop_source(&extract);
    ps_queue_close(extract.core->to_load);
    return NULL;
}
