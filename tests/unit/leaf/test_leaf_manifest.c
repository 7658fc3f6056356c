/* SPDX-License-Identifier: Apache-2.0 */
/* What a job says of itself in a manifest comes back in another job of the same grant, and in no
 * job of another; a manifest that is cut short or has a wrong byte never makes a job that is out of
 * its grant (the segment's checksum keeps such bytes away from here). */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/leaf/leaf_manifest.h"
#include "tests/support/manifest_job.h"

static struct leaf_docs *docs;
static struct ps_error err;

static void
set_up(void)
{
    docs = leaf_docs_new();
}

static void
tear_down(void)
{
    leaf_docs_free(docs);
}

TestSuite(leaf_manifest, .init = set_up, .fini = tear_down);

static struct ps_buf
written(const struct manifest_of *of, bool proven)
{
    struct ps_buf bytes = PS_BUF_INIT;
    struct leaf_job *job = manifest_job(docs, of);
    manifest_decoded(job);
    job->cut.guess = job->cut.is && !proven;
    leaf_drift_name_again(&job->drift, job->range_count - 1, ps_span_str("more"));
    leaf_manifest_write(job, &bytes);
    leaf_job_free(docs, job);
    return bytes;
}

static void
is_untouched(const struct leaf_job *job, size_t at)
{
    cr_assert(job->counts.decoded == 0 && job->splittable_range == SIZE_MAX, "%zu", at);
    cr_assert(!job->cut.whole && atomic_load(&job->cut.truth) == 0 && job->drift == NULL);
    for (size_t i = 0; i < job->range_count; i++) {
        cr_assert(job->ranges[i].end == job->ranges[i].from && job->resume[i].len == 0, "%zu", at);
    }
}

/* Whether a job of the grant takes the manifest; what it may not be then is said here. */
static bool
takes(const struct manifest_of *of, struct ps_span bytes, size_t at)
{
    struct leaf_job *job = manifest_job(docs, of);
    enum ps_status status = leaf_manifest_apply(job, bytes, 2, &err);
    if (status != PS_OK) {
        cr_assert(status == PS_BADDATA || status == PS_REFUSED, "%zu: %s", at, err.text);
        cr_assert_str_eq(err.code, status == PS_BADDATA ? "stage_corrupt" : "segment_unfit");
        is_untouched(job, at);
    }
    for (size_t i = 0; status == PS_OK && i < job->range_count; i++) {
        const struct dest_range *range = &job->ranges[i];
        cr_assert(range->from <= range->end, "%zu", at);
        cr_assert(job->cut.is ? range->from >= MANIFEST_CUT_AT : range->from == 10 * i, "%zu", at);
    }
    leaf_job_free(docs, job);
    return status == PS_OK;
}

static void
unfit_for(const struct manifest_of *of, const char *part)
{
    struct ps_buf bytes = written(&manifest_plain, true);
    leaf_docs_free(docs); /* which would give the first document of a revision */
    docs = leaf_docs_new();
    cr_assert_not(takes(of, ps_buf_span(&bytes), 0));
    cr_assert_str_eq(err.code, "segment_unfit");
    cr_assert_not_null(strstr(err.text, part), "%s", err.text);
    ps_buf_fini(&bytes);
}

Test(leaf_manifest, what_was_decoded_comes_back)
{
    struct ps_buf bytes = written(&manifest_plain, true);
    struct leaf_job *job = manifest_job(docs, &manifest_plain);
    cr_assert_eq(leaf_manifest_apply(job, ps_buf_span(&bytes), 2, &err), PS_OK, "%s", err.text);
    struct leaf_job *want = manifest_job(docs, &manifest_plain);
    manifest_decoded(want);
    cr_assert(memcmp(&job->counts, &want->counts, sizeof job->counts) == 0);
    cr_assert_eq(job->splittable_range, want->splittable_range);
    for (size_t i = 0; i < MANIFEST_RANGES; i++) {
        const struct dest_range *got = &job->ranges[i], *as = &want->ranges[i];
        cr_assert(got->from == as->from && got->end == as->end && got->eof == as->eof);
        cr_assert_eq(got->records, as->records);
        cr_assert(ps_span_eq(got->resume, ps_span_str("token")));
    }
    ProtobufCBinaryData *names = NULL;
    cr_assert_eq(leaf_drift_names(job->drift, 0, &names), 0);
    cr_assert_eq(leaf_drift_names(job->drift, 1, &names), 1, "a field that is no column is told");
    cr_assert(ps_span_eq(ps_span(names[0].data, names[0].len), ps_span_str("more")));
    ps_free(names);
    leaf_job_free(docs, want);
    leaf_job_free(docs, job);
    ps_buf_fini(&bytes);
}

Test(leaf_manifest, a_cut_is_proven_only_where_it_was)
{
    for (int proven = 0; proven < 2; proven++) {
        struct ps_buf bytes = written(&manifest_cut, proven);
        struct leaf_job *job = manifest_job(docs, &manifest_cut);
        cr_assert_eq(leaf_manifest_apply(job, ps_buf_span(&bytes), 2, &err), PS_OK, "%s", err.text);
        cr_assert(job->cut.whole && job->cut.eof);
        cr_assert_eq(job->cut.guess, !proven);
        cr_assert_eq(atomic_load(&job->cut.truth), proven ? MANIFEST_CUT_AT + 7 : 0);
        cr_assert_eq(job->cut.read_start, MANIFEST_CUT_AT + 7);
        cr_assert_eq(job->cut.read_end, MANIFEST_CUT_AT + 7 + 400);
        leaf_job_free(docs, job);
        ps_buf_fini(&bytes);
    }
}

Test(leaf_manifest, a_cut_in_which_nothing_begins)
{
    struct ps_buf bytes = PS_BUF_INIT;
    struct leaf_job *job = manifest_job(docs, &manifest_cut);
    manifest_decoded(job);
    job->cut.read_start = job->cut.read_end = MANIFEST_CUT_AT + MANIFEST_CUT_BYTES;
    job->ranges[0].from = job->ranges[0].end = MANIFEST_CUT_AT;
    job->ranges[0].eof = false;
    leaf_manifest_write(job, &bytes);
    leaf_job_free(docs, job);
    job = manifest_job(docs, &manifest_cut);
    cr_assert_eq(leaf_manifest_apply(job, ps_buf_span(&bytes), 2, &err), PS_OK, "%s", err.text);
    cr_assert_eq(job->ranges[0].resume.len, 0, "the ledger's range has no token");
    cr_assert_eq(job->resume[0].len, 5, "but the coordinator hears it");
    cr_assert_eq(job->ranges[0].end, MANIFEST_CUT_AT);
    leaf_job_free(docs, job);
    ps_buf_fini(&bytes);
}

/* A cut that says one thing to the coordinator and another to the ledger. */
Test(leaf_manifest, a_cut_that_contradicts_its_range_is_refused)
{
    for (int wrong = 0; wrong < 4; wrong++) {
        struct ps_buf bytes = PS_BUF_INIT;
        struct leaf_job *job = manifest_job(docs, &manifest_cut);
        manifest_decoded(job);
        job->cut.guess = false;
        job->cut.read_start = wrong == 0 ? 0 : wrong == 1 ? MANIFEST_CUT_AT : job->cut.read_start;
        job->cut.read_end = wrong == 2 ? job->cut.read_start - 1 : job->cut.read_end;
        job->cut.eof ^= wrong == 3;
        leaf_manifest_write(job, &bytes);
        leaf_job_free(docs, job);
        cr_assert_not(takes(&manifest_cut, ps_buf_span(&bytes), (size_t)wrong), "%d", wrong);
        cr_assert_str_eq(err.code, "segment_unfit");
        ps_buf_fini(&bytes);
    }
}

Test(leaf_manifest, of_another_grant_it_is_refused)
{
    struct manifest_of of = manifest_plain;
    of.spec_rev++;
    unfit_for(&of, "revision of the spec");
    of = manifest_plain;
    of.second_column = "c";
    unfit_for(&of, "columns");
    of = manifest_plain;
    of.generation++;
    unfit_for(&of, "generation");
    of = manifest_plain;
    of.batch++;
    unfit_for(&of, "batch");
    of = manifest_plain;
    of.pipeline++;
    unfit_for(&of, "pipeline");
    of = manifest_plain;
    of.object++;
    unfit_for(&of, "range");
    of = manifest_plain;
    of.ranges--;
    unfit_for(&of, "list of ranges");
    unfit_for(&manifest_cut, "list of ranges");
}

Test(leaf_manifest, a_segment_of_other_columns_is_refused)
{
    struct ps_buf bytes = written(&manifest_plain, true);
    struct leaf_job *job = manifest_job(docs, &manifest_plain);
    cr_assert_eq(leaf_manifest_apply(job, ps_buf_span(&bytes), 3, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "segment_unfit");
    is_untouched(job, 0);
    leaf_job_free(docs, job);
    ps_buf_fini(&bytes);
}

Test(leaf_manifest, every_truncation_and_every_wrong_bit)
{
    for (int cut = 0; cut < 2; cut++) {
        const struct manifest_of *of = cut ? &manifest_cut : &manifest_plain;
        struct ps_buf bytes = written(of, true);
        cr_assert(takes(of, ps_buf_span(&bytes), 0));
        /* The ranges are the last but for what a cut adds: without one of them it is not taken. */
        size_t refused = 0;
        for (size_t len = 0; len < bytes.len; len++) {
            refused += !takes(of, ps_span(bytes.ptr, len), len);
        }
        cr_assert_geq(refused, bytes.len - 4, "%zu of %zu", refused, bytes.len);
        for (size_t at = 0; at < bytes.len * 8; at++) {
            bytes.ptr[at / 8] ^= (uint8_t)(1 << at % 8);
            (void)takes(of, ps_buf_span(&bytes), at);
            bytes.ptr[at / 8] ^= (uint8_t)(1 << at % 8);
        }
        ps_buf_fini(&bytes);
    }
}

Test(leaf_manifest, what_is_no_manifest)
{
    cr_assert_not(takes(&manifest_plain, ps_span("", 0), 0));
    cr_assert_eq(err.status, PS_BADDATA);
    cr_assert_not(takes(&manifest_plain, ps_span_str("PSMF of another program"), 0));
    cr_assert_eq(err.status, PS_BADDATA);
}
