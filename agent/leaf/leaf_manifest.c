/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_manifest.h"

#include "agent/leaf/leaf_core.h"
#include "common/alloc.h"

static struct ps_span
span_of(ProtobufCBinaryData bytes)
{
    return ps_span(bytes.data, bytes.len);
}

static void
fill_end(const struct leaf_job *job, size_t index, Penstock__RangeEnd *end)
{
    const struct dest_range *range = &job->ranges[index];
    penstock__range_end__init(end);
    end->bp_id = job->message->grant->batch->ranges[index]->bp_id;
    end->bp_hash = proto_bytes(range->bp.id.b, PS_ID_BYTES);
    end->from = range->from;
    end->end = range->end;
    end->eof = range->eof;
    /* Of a cut in which nothing begins the token stands at read_end, and the range has none. */
    end->has_resume = job->resume[index].len > 0;
    end->resume = proto_bytes(job->resume[index].ptr, job->resume[index].len);
    end->has_records = true;
    end->records = range->records;
    end->has_splittable = true;
    end->splittable = job->splittable_range == index;
    end->n_unknown = leaf_drift_names(job->drift, index, &end->unknown);
}

void
leaf_manifest_write(const struct leaf_job *job, struct ps_buf *out)
{
    const Penstock__Batch *batch = job->message->grant->batch;
    Penstock__RangeEnd *ends = ps_xcalloc(job->range_count, sizeof *ends);
    Penstock__RangeEnd **ends_at = ps_xcalloc(job->range_count, sizeof *ends_at);
    Penstock__Counts counts;
    Penstock__Manifest manifest = PENSTOCK__MANIFEST__INIT;
    for (size_t i = 0; i < job->range_count; i++) {
        fill_end(job, i, &ends[i]);
        ends_at[i] = &ends[i];
    }
    leaf_core_counts_to_proto(&job->counts, &counts);
    manifest.batch_id = proto_bytes(job->id.id.b, PS_ID_BYTES);
    manifest.pipeline_uuid = proto_bytes(job->doc->uuid.id.b, PS_ID_BYTES);
    manifest.generation = batch->generation;
    manifest.spec_rev = batch->spec_rev;
    manifest.doc_digest = proto_bytes(job->doc->digest.id.b, PS_ID_BYTES);
    manifest.ncols = (uint32_t)job->doc->column_count;
    manifest.counts = &counts;
    manifest.n_ends = job->range_count;
    manifest.ends = ends_at;
    if (job->cut.is) {
        manifest.has_cut_start = manifest.has_cut_end = true;
        manifest.has_cut_eof = manifest.has_cut_proven = true;
        manifest.cut_start = job->cut.read_start;
        manifest.cut_end = job->cut.read_end;
        manifest.cut_eof = job->cut.eof;
        manifest.cut_proven = !job->cut.guess;
    }
    size_t len = penstock__manifest__get_packed_size(&manifest);
    uint8_t *bytes = ps_xalloc(len);
    penstock__manifest__pack(&manifest, bytes);
    ps_buf_xappend(out, bytes, len);
    ps_free(bytes);
    for (size_t i = 0; i < job->range_count; i++) {
        ps_free(ends[i].unknown);
    }
    ps_free(ends_at);
    ps_free(ends);
}

static enum ps_status
unfit(struct ps_error *err, const char *what)
{
    return ps_fail_code(err, PS_REFUSED, "segment_unfit", "the segment is of another %s", what);
}

static bool
is_id(ProtobufCBinaryData bytes, const struct ps_id *id)
{
    return ps_span_eq(span_of(bytes), ps_span(id->b, PS_ID_BYTES));
}

static enum ps_status
check_range(const struct leaf_job *job, size_t index, const Penstock__RangeEnd *end,
            struct ps_error *err)
{
    const struct dest_range *range = &job->ranges[index];
    uint64_t from = job->message->grant->batch->ranges[index]->from;
    if (!is_id(end->bp_hash, &range->bp.id) || (!job->cut.is && end->from != from) ||
        (job->cut.is && end->from < from)) {
        return unfit(err, "range");
    }
    return end->end < end->from ? unfit(err, "range: it ends before it begins") : PS_OK;
}

/* What is told of a cut and what is loaded of it are the same, or nothing begins in it. */
static bool
is_sound_cut(const struct leaf_job *job, const Penstock__Manifest *manifest)
{
    const Penstock__RangeEnd *end = manifest->ends[0];
    if (!manifest->has_cut_end || manifest->cut_start < job->cut.at ||
        manifest->cut_end < manifest->cut_start) {
        return false;
    }
    return manifest->cut_start == manifest->cut_end
               ? end->from == job->cut.at && end->end == end->from && !end->eof
               : end->from == manifest->cut_start && end->end == manifest->cut_end &&
                     end->eof == manifest->cut_eof;
}

static enum ps_status
check(const struct leaf_job *job, const Penstock__Manifest *manifest, uint32_t ncols,
      struct ps_error *err)
{
    const Penstock__Batch *batch = job->message->grant->batch;
    if (!is_id(manifest->batch_id, &job->id.id)) {
        return unfit(err, "batch");
    }
    if (!is_id(manifest->pipeline_uuid, &job->doc->uuid.id) ||
        manifest->generation != batch->generation) {
        return unfit(err, "pipeline or generation");
    }
    if (manifest->spec_rev != batch->spec_rev ||
        !is_id(manifest->doc_digest, &job->doc->digest.id) || manifest->ncols != ncols ||
        ncols != job->doc->column_count) {
        return unfit(err, "revision of the spec or of its columns");
    }
    if (manifest->n_ends != job->range_count || job->cut.is != (bool)manifest->has_cut_start) {
        return unfit(err, "list of ranges");
    }
    enum ps_status status = PS_OK;
    for (size_t i = 0; status == PS_OK && i < job->range_count; i++) {
        status = check_range(job, i, manifest->ends[i], err);
    }
    return status != PS_OK || !job->cut.is || is_sound_cut(job, manifest)
               ? status
               : unfit(err, "cut than its range says");
}

static void
take_range(struct leaf_job *job, size_t index, const Penstock__RangeEnd *end)
{
    struct dest_range *range = &job->ranges[index];
    ps_buf_clear(&job->resume[index]);
    ps_buf_xappend(&job->resume[index], end->resume.data, end->resume.len);
    range->from = end->from;
    range->end = end->end;
    range->eof = end->eof;
    range->resume = ps_buf_span(&job->resume[index]);
    range->records = end->records;
    if (end->splittable) {
        job->splittable_range = index;
    }
    for (size_t i = 0; i < end->n_unknown; i++) {
        leaf_drift_name_again(&job->drift, index, span_of(end->unknown[i]));
    }
}

static void
take_cut(struct leaf_job *job, const Penstock__Manifest *manifest)
{
    job->cut.read_start = manifest->cut_start;
    job->cut.read_end = manifest->cut_end;
    job->cut.eof = manifest->cut_eof;
    job->cut.whole = true;
    job->cut.guess = !manifest->cut_proven;
    if (manifest->cut_proven) {
        atomic_store(&job->cut.truth, manifest->cut_start);
    }
    if (manifest->cut_start == manifest->cut_end) {
        job->ranges[0].resume = ps_span(NULL, 0);
    }
}

enum ps_status
leaf_manifest_apply(struct leaf_job *job, struct ps_span manifest, uint32_t ncols,
                    struct ps_error *err)
{
    Penstock__Manifest *read = penstock__manifest__unpack(NULL, manifest.len, manifest.ptr);
    if (read == NULL) {
        return ps_fail_code(err, PS_BADDATA, "stage_corrupt", "the segment has no manifest");
    }
    enum ps_status status = check(job, read, ncols, err);
    if (status == PS_OK) {
        job->counts = (struct dest_counts){.decoded = read->counts->decoded,
                                           .rejected = read->counts->rejected,
                                           .filtered = read->counts->filtered,
                                           .raw_bytes = read->counts->raw_bytes,
                                           .unwrapped_bytes = read->counts->unwrapped_bytes};
        job->splittable_range = SIZE_MAX;
        for (size_t i = 0; i < job->range_count; i++) {
            take_range(job, i, read->ends[i]);
        }
        if (job->cut.is) {
            take_cut(job, read);
        }
    }
    penstock__manifest__free_unpacked(read, NULL);
    return status;
}
