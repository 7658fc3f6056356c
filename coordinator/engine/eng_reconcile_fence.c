/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's fence against the catalog: whose is the table, and how far is it? */
#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_report.h"
#include "coordinator/engine/eng_task.h"

static bool
has_history(const struct eng_pipeline *p)
{
    return p->row.batches_loaded > 0;
}

bool
eng_reconcile_refuse(struct engine *engine, struct eng_pipeline *p, const char *code,
                     const char *text)
{
    bool was_asked = eng_reconcile_failed(engine, p, code, text);
    eng_set_text(&p->row.failure_class, "destination");
    char *reason = ps_xasprintf("%s: %s", code, text);
    if (!eng_store_move_pipeline(engine, p, PIPELINE_ON_FAIL, reason) && !was_asked) {
        log_error("reconcile.refused", "pipeline=%s why=\"%s\"", p->row.name, reason);
    }
    eng_task_end_all(engine, p);
    ps_free(reason);
    return false;
}

/* The ledger is the truth: its uuid, generation and offsets are taken over before anything is cut.
 */
static void
adopt(struct engine *engine, struct eng_pipeline *p, struct pipeline_uuid uuid,
      const Penstock__DestState *dest)
{
    p->row.uuid = uuid;
    p->row.generation = dest->has_generation ? dest->generation : 1;
    ENG_TRY(engine, cat_object_drop_all, p->row.id);
    ENG_TRY(engine, cat_part_drop_all, p->row.id);
    p->row.objects = p->row.objects_done = p->row.objects_pending = 0;
    p->row.objects_quarantined = p->row.bytes = p->row.bytes_done = p->row.bytes_pending = 0;
    p->row.discovery_complete = false;
    eng_set_span(&p->row.discover_cursor, ps_span(NULL, 0));
    p->row.batches_loaded = dest->has_batches ? dest->batches : 0;
    p->row.counts = dest->totals == NULL ? (struct cat_counts){0} : eng_counts(dest->totals);
    p->dirty = true;
    eng_event(engine, p, "pipeline.adopted", p->row.name, "generation %llu, %llu loaded batches",
              (unsigned long long)ps_generation_count(p->row.generation),
              (unsigned long long)(dest->has_batches ? dest->batches : 0));
    log_info("pipeline.adopted", "name=%s generation=%llu", p->row.name,
             (unsigned long long)ps_generation_count(p->row.generation));
}

static bool
is_ahead(const struct engine *engine, const Penstock__Stamp *seen)
{
    struct cat_stamp ours = catalog_stamp(engine->env.catalog);
    return seen != NULL &&
           (seen->cluster_epoch > ours.cluster_epoch || seen->commit_seq > ours.commit_seq);
}

static void
raise_stamp(struct engine *engine, const Penstock__Stamp *seen)
{
    if (is_ahead(engine, seen)) {
        ENG_TRY(engine, catalog_raise_stamp,
                (struct cat_stamp){.cluster_epoch = seen->cluster_epoch + 1,
                                   .commit_seq = seen->commit_seq});
    }
}

/* A destination that knows nothing of the pipeline. */
static bool
judge_nothing(struct engine *engine, struct eng_pipeline *p, bool *out_read_all)
{
    bool trusts = eng_reconcile_is_wanted(p) && p->report->trust_ledger;
    if (!p->limits.keeps_ledger) {
        return eng_reconcile_is_asked(p)
                   ? eng_reconcile_refuse(engine, p, "no_ledger",
                                          "this destination keeps no ledger: there is nothing to "
                                          "reconcile with")
                   : true;
    }
    if (has_history(p) && !trusts) {
        return eng_reconcile_refuse(
            engine, p, "destination_lost",
            "batches were loaded into this destination, but it knows nothing of them: was it "
            "replaced? penstock reconcile --trust-ledger loads everything again");
    }
    if (!trusts || !p->report->dry_run) {
        p->row.prepared = false;
    }
    p->dirty = true;
    *out_read_all = eng_reconcile_is_wanted(p);
    return true;
}

static bool
refuse_generation(struct engine *engine, struct eng_pipeline *p, const Penstock__DestState *dest)
{
    char *text = ps_xasprintf(
        "the destination stands at generation %llu of this pipeline, which this catalog never gave "
        "it: it is an old copy of another one. Give the pipeline the spec that generation was "
        "loaded with, then penstock reconcile --trust-ledger takes over what it has loaded",
        (unsigned long long)ps_generation_count(dest->generation));
    (void)eng_reconcile_refuse(engine, p, "fence_conflict", text);
    ps_free(text);
    return false;
}

bool
eng_reconcile_judge(struct engine *engine, struct eng_pipeline *p, const Penstock__DestState *dest,
                    bool *out_read_all)
{
    struct pipeline_uuid uuid;
    *out_read_all = false;
    if (!dest->has_pipeline_uuid) {
        return judge_nothing(engine, p, out_read_all);
    }
    if (!ps_id_from_span(eng_span(dest->pipeline_uuid), &uuid.id)) {
        return eng_reconcile_refuse(engine, p, "ledger_damaged",
                                    "the fence's uuid is not 16 bytes");
    }
    bool wanted = eng_reconcile_is_wanted(p);
    bool changes = !wanted || !p->report->dry_run;
    bool same = ps_id_eq(uuid.id, p->row.uuid.id);
    bool is_virgin = !has_history(p) && p->row.next_batch_number == 0 && p->row.generation == 1;
    if (!same && !is_virgin) {
        return eng_reconcile_refuse(engine, p, "fence_conflict",
                                    "the destination belongs to another pipeline of this name");
    }
    /* Equal numbers are one raise; a larger count is ours to write over the fence; anything else is
     * of a history that this catalog does not know (tests/model/eo_raise.pml). */
    bool is_foreign =
        same && dest->generation != p->row.generation &&
        ps_generation_count(dest->generation) >= ps_generation_count(p->row.generation);
    if (is_foreign && (!wanted || !p->report->trust_ledger || p->report->dry_run)) {
        return refuse_generation(engine, p, dest);
    }
    /* The ledger's ranges are read where it knows more than we do, or less. */
    bool is_cut_short = !p->row.reconciled && p->row.objects == 0; /* adopting, and then killed */
    bool is_current = dest->generation == p->row.generation;
    *out_read_all = wanted || !same || is_foreign || is_cut_short || is_ahead(engine, dest->seen) ||
                    (is_current && dest->has_batches && dest->batches != p->row.batches_loaded) ||
                    (!is_current && has_history(p));
    if ((!same || is_foreign) && changes) {
        adopt(engine, p, uuid, dest);
    }
    if (changes) {
        raise_stamp(engine, dest->seen);
    }
    return true;
}
