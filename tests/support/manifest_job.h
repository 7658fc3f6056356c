/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/manifest_job.h: grants of a pipeline with two columns, as a leaf holds them,
 * decoded or not: what a manifest is written from and applied to. */
#ifndef TESTS_SUPPORT_MANIFEST_JOB_H
#define TESTS_SUPPORT_MANIFEST_JOB_H

#include "agent/leaf/leaf_job.h"
#include "common/alloc.h"
#include "common/assert.h"

enum { MANIFEST_RANGES = 2, MANIFEST_CUT_AT = 1000, MANIFEST_CUT_BYTES = 500 };

struct manifest_of {
    uint32_t spec_rev;
    uint64_t generation;
    const char *second_column;
    uint8_t batch;    /* tells ids of batches apart */
    uint8_t pipeline; /* and of pipelines */
    uint8_t object;   /* and hashes of what the last range reads */
    size_t ranges;
    bool is_cut; /* then ranges is 1 */
};

static const struct manifest_of manifest_plain = {
    .spec_rev = 3, .generation = 2, .second_column = "b", .ranges = MANIFEST_RANGES};
static const struct manifest_of manifest_cut = {
    .spec_rev = 3, .generation = 2, .second_column = "b", .ranges = 1, .is_cut = true};

static inline struct ps_id
manifest_id(uint8_t kind, uint8_t number)
{
    return (struct ps_id){.b = {kind, number, 3, 4, 5, 6, 0x77, 8, 0x89}};
}

static inline struct leaf_doc *
manifest_doc(struct leaf_docs *docs, const struct manifest_of *of)
{
    struct ps_error err = {0};
    struct ps_id uuid = manifest_id('p', of->pipeline);
    Penstock__Column columns[2];
    Penstock__Column *columns_at[2] = {&columns[0], &columns[1]};
    Penstock__SpecDoc message = PENSTOCK__SPEC_DOC__INIT;
    for (size_t i = 0; i < 2; i++) {
        penstock__column__init(&columns[i]);
        columns[i].name = columns[i].from = i == 0 ? "a" : (char *)(uintptr_t)of->second_column;
        columns[i].type = "text";
    }
    message.pipeline_uuid = proto_bytes(uuid.b, PS_ID_BYTES);
    message.pipeline_name = "t";
    message.generation = of->generation;
    message.spec_rev = of->spec_rev;
    message.spec_json = "{\"name\":\"t\",\"source\":{\"url\":\"/in.csv\"},"
                        "\"destination\":{\"url\":\"sqlite:x.db\",\"table\":\"t\"}}";
    message.n_columns = 2;
    message.columns = columns_at;
    PS_ASSERT(leaf_docs_put(docs, &message, &err) == PS_OK);
    struct leaf_doc *doc = leaf_docs_find(docs, ps_span(uuid.b, PS_ID_BYTES), of->spec_rev);
    PS_ASSERT(doc != NULL);
    return doc;
}

/* As it was granted. */
static inline struct leaf_job *
manifest_job(struct leaf_docs *docs, const struct manifest_of *of)
{
    struct leaf_doc *doc = manifest_doc(docs, of);
    struct ps_id id = manifest_id('b', of->batch), hash[MANIFEST_RANGES];
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    Penstock__Range ranges[MANIFEST_RANGES];
    Penstock__Range *ranges_at[MANIFEST_RANGES];
    Penstock__Batch batch = PENSTOCK__BATCH__INIT;
    Penstock__Grant grant = PENSTOCK__GRANT__INIT;
    Penstock__LeafGrant message = PENSTOCK__LEAF_GRANT__INIT;
    for (size_t i = 0; i < of->ranges; i++) {
        hash[i] = manifest_id('r', (uint8_t)(i + 1 == of->ranges ? of->object : 100 + i));
        penstock__range__init(ranges_at[i] = &ranges[i]);
        ranges[i].bp_id = i + 1;
        ranges[i].bp_hash = proto_bytes(hash[i].b, PS_ID_BYTES);
        ranges[i].key = proto_bytes("in.csv", 6);
        ranges[i].version = proto_bytes("v", 1);
        ranges[i].from = of->is_cut ? MANIFEST_CUT_AT : 10 * i;
        ranges[i].target_bytes = MANIFEST_CUT_BYTES;
        ranges[i].has_cut = ranges[i].has_anchor = ranges[i].cut = of->is_cut;
        ranges[i].anchor = MANIFEST_CUT_AT / 2;
    }
    batch.batch_id = proto_bytes(id.b, PS_ID_BYTES);
    batch.pipeline_uuid = proto_bytes(doc->uuid.id.b, PS_ID_BYTES);
    batch.generation = of->generation;
    batch.spec_rev = of->spec_rev;
    batch.n_ranges = of->ranges;
    batch.ranges = ranges_at;
    grant.batch = &batch;
    grant.epoch = 1;
    message.grant = &grant;
    message.stamp = &stamp;
    struct ps_buf frame = PS_BUF_INIT;
    struct ps_error err = {0};
    enum msg_type type = 0;
    ProtobufCMessage *copy = NULL;
    struct leaf_job *job = NULL;
    PS_ASSERT(frame_append(&frame, MSG_LEAF_GRANT, &message.base, &err) == PS_OK);
    PS_ASSERT(frame_unpack(ps_buf_span(&frame), &type, &copy, &err) == PS_OK);
    ps_buf_fini(&frame);
    Penstock__LeafGrant *own = (Penstock__LeafGrant *)copy;
    PS_ASSERT(leaf_job_new(&own, docs, doc, &job, &err) == PS_OK);
    return job;
}

/* As if it had been decoded whole. */
static inline void
manifest_decoded(struct leaf_job *job)
{
    job->counts = (struct dest_counts){
        .decoded = 70, .rejected = 2, .filtered = 5, .raw_bytes = 900, .unwrapped_bytes = 1800};
    job->splittable_range = job->range_count - 1;
    for (size_t i = 0; i < job->range_count; i++) {
        struct dest_range *range = &job->ranges[i];
        ps_buf_xappend(&job->resume[i], "token", 5);
        range->from += job->cut.is ? 7 : 0;
        range->end = range->from + 400 + i;
        range->eof = i == 0;
        range->records = 30 + i;
        range->resume = ps_buf_span(&job->resume[i]);
    }
    if (job->cut.is) {
        job->cut.read_start = job->ranges[0].from;
        job->cut.read_end = job->ranges[0].end;
        job->cut.eof = job->ranges[0].eof;
        job->cut.guess = true;
        job->cut.whole = true;
    }
}

#endif
