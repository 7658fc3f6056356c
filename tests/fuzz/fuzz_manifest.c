/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_manifest.c: any bytes as the manifest of a kept segment; the first chooses the
 * grant: ranges from their begin, or a cut. What is refused leaves the job as it was granted; what
 * is taken is within the grant, and comes back when it is written again. */
#include "agent/leaf/leaf_manifest.h"
#include "tests/support/manifest_job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_untouched(const struct leaf_job *job)
{
    PS_ASSERT(job->counts.decoded == 0 && job->splittable_range == SIZE_MAX && job->drift == NULL);
    PS_ASSERT(!job->cut.whole && atomic_load(&job->cut.truth) == 0);
    for (size_t i = 0; i < job->range_count; i++) {
        PS_ASSERT(job->resume[i].len == 0 && job->ranges[i].end == job->ranges[i].from);
    }
}

static void
check_taken(const struct leaf_job *job)
{
    for (size_t i = 0; i < job->range_count; i++) {
        const struct dest_range *range = &job->ranges[i];
        PS_ASSERT(range->from <= range->end);
        PS_ASSERT(range->from >= job->message->grant->batch->ranges[i]->from);
    }
    if (job->cut.is) {
        PS_ASSERT(job->cut.whole && job->cut.at <= job->cut.read_start &&
                  job->cut.read_start <= job->cut.read_end);
        PS_ASSERT(job->cut.guess == (atomic_load(&job->cut.truth) == 0));
    }
}

static void
check_again(struct leaf_docs *docs, const struct manifest_of *of, const struct leaf_job *job)
{
    struct ps_error err = {0};
    struct ps_buf first = PS_BUF_INIT, second = PS_BUF_INIT;
    struct leaf_job *other = manifest_job(docs, of);
    leaf_manifest_write(job, &first);
    PS_ASSERT(leaf_manifest_apply(other, ps_buf_span(&first), 2, &err) == PS_OK);
    leaf_manifest_write(other, &second);
    PS_ASSERT(ps_span_eq(ps_buf_span(&first), ps_buf_span(&second)));
    ps_buf_fini(&first);
    ps_buf_fini(&second);
    leaf_job_free(docs, other);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ps_error err = {0};
    if (size == 0) {
        return 0;
    }
    uint64_t before = ps_alloc_bytes_now();
    const struct manifest_of *of = data[0] & 1 ? &manifest_cut : &manifest_plain;
    struct leaf_docs *docs = leaf_docs_new();
    struct leaf_job *job = manifest_job(docs, of);
    enum ps_status status = leaf_manifest_apply(job, ps_span(data + 1, size - 1), 2, &err);
    if (status == PS_OK) {
        check_taken(job);
        check_again(docs, of, job);
    } else {
        PS_ASSERT((status == PS_BADDATA || status == PS_REFUSED) && err.text[0] != '\0');
        check_untouched(job);
    }
    leaf_job_free(docs, job);
    leaf_docs_free(docs);
    PS_ASSERT(ps_alloc_bytes_now() == before);
    return 0;
}
