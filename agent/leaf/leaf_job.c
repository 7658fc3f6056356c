/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_job.h"

#include "common/alloc.h"

static struct ps_span
span_of(ProtobufCBinaryData bytes)
{
    return ps_span(bytes.data, bytes.len);
}

static enum ps_status
fill_ranges(struct leaf_job *job, struct ps_error *err)
{
    const Penstock__Batch *batch = job->message->grant->batch;
    for (size_t i = 0; i < batch->n_ranges; i++) {
        const Penstock__Range *range = batch->ranges[i];
        struct dest_range *out = &job->ranges[i];
        if (!ps_id_from_span(span_of(range->bp_hash), &out->bp.id)) {
            return ps_fail(err, PS_BADDATA, "range %zu has a batch partition hash of %zu bytes", i,
                           range->bp_hash.len);
        }
        out->key = span_of(range->key);
        out->version = span_of(range->version);
        out->from = range->from;
        out->end = range->from;
    }
    const Penstock__Range *first = batch->n_ranges == 0 ? NULL : batch->ranges[0];
    if (first != NULL && first->cut) {
        if (batch->n_ranges != 1 || first->from == 0 || !first->has_anchor ||
            first->anchor > first->from || first->target_bytes == 0) {
            return ps_fail(err, PS_BADDATA, "a cut at %llu with anchor %llu among %zu ranges",
                           (unsigned long long)first->from, (unsigned long long)first->anchor,
                           batch->n_ranges);
        }
        job->cut.is = true;
        job->cut.at = first->from;
        job->cut.stop_at = first->target_bytes > UINT64_MAX - first->from
                               ? UINT64_MAX
                               : first->from + first->target_bytes;
    }
    return PS_OK;
}

enum ps_status
leaf_job_new(Penstock__LeafGrant **own_message, struct leaf_docs *docs, struct leaf_doc *doc,
             struct leaf_job **out, struct ps_error *err)
{
    struct leaf_job *job = ps_xcalloc(1, sizeof *job);
    job->message = *own_message;
    *own_message = NULL;
    job->doc = doc;
    const Penstock__Batch *batch = job->message->grant->batch;
    job->epoch = job->message->grant->epoch;
    job->range_count = batch->n_ranges;
    job->ranges = ps_xcalloc(batch->n_ranges, sizeof *job->ranges);
    job->splittable_range = SIZE_MAX;
    job->resume = ps_xcalloc(batch->n_ranges, sizeof *job->resume);
    enum ps_status status = PS_OK;
    if (!ps_id_from_span(span_of(batch->batch_id), &job->id.id)) {
        status = ps_fail(err, PS_BADDATA, "a batch id has %zu bytes", batch->batch_id.len);
    } else {
        ps_id_text(job->id.id, job->id_text);
        status = fill_ranges(job, err);
    }
    if (status != PS_OK) {
        leaf_job_free(docs, job);
        return status;
    }
    *out = job;
    return PS_OK;
}

void
leaf_job_free(struct leaf_docs *docs, struct leaf_job *job)
{
    if (job == NULL) {
        return;
    }
    stage_batch_free(job->rows);
    leaf_drift_free(job->drift);
    for (size_t i = 0; i < job->range_count; i++) {
        ps_buf_fini(&job->resume[i]);
    }
    ps_free(job->resume);
    ps_free(job->ranges);
    leaf_doc_unref(docs, job->doc);
    msg_free(&job->message->base);
    ps_free(job);
}
