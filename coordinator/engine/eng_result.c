/* SPDX-License-Identifier: Apache-2.0 */
/* What a task found out. */
#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/engine/eng_wait.h"

/* ---- prepare */
static void
freeze_columns(struct engine *engine, struct eng_pipeline *p, const Penstock__TaskResult *result)
{
    Penstock__SpecDoc columns = PENSTOCK__SPEC_DOC__INIT;
    columns.pipeline_uuid = proto_bytes("", 0);
    columns.pipeline_name = (char *)(uintptr_t) "";
    columns.spec_json = (char *)(uintptr_t) "";
    columns.n_columns = result->n_columns;
    columns.columns = result->columns;
    size_t len = penstock__spec_doc__get_packed_size(&columns);
    uint8_t *packed = ps_xalloc(len + 1);
    penstock__spec_doc__pack(&columns, packed);
    p->row.spec_rev++;
    ENG_TRY(engine, cat_pipeline_put_spec, p->row.id, p->row.spec_rev, p->row.spec_json,
            ps_span(packed, len));
    eng_set_span(&p->row.columns, ps_span(packed, len));
    ps_free(packed);
}

static bool
take_prepare(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *result)
{
    struct eng_pipeline *p = task->pipeline;
    freeze_columns(engine, p, result);
    eng_set_text(&p->row.format_note, result->format_note);
    if (result->table != NULL) {
        eng_set_text(&p->row.table, result->table);
    }
    p->row.prepared = true;
    p->dirty = true;
    eng_event(engine, p, "pipeline.prepared", p->row.name, "%zu columns, %s", result->n_columns,
              result->format_note == NULL ? "" : result->format_note);
    eng_task_end(engine, task);
    return true;
}

/* ---- reconcile */
static bool
has_history(const struct eng_pipeline *p)
{
    return p->row.batches_loaded > 0;
}

static bool
fail_reconcile(struct engine *engine, struct eng_pipeline *p, const char *code, const char *text)
{
    eng_set_text(&p->row.failure_class, "destination");
    char *reason = ps_xasprintf("%s: %s", code, text);
    (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_FAIL, reason); /* ends the task */
    ps_free(reason);
    return false;
}

/* The destination knows this pipeline's name under a uuid that this catalog never used: the catalog
 * was deleted. Its uuid, generation and offsets are taken over before anything is cut. */
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
              (unsigned long long)p->row.generation,
              (unsigned long long)(dest->has_batches ? dest->batches : 0));
    log_info("pipeline.adopted", "name=%s generation=%llu", p->row.name,
             (unsigned long long)p->row.generation);
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

/* The fence: whose is the table? False: the pipeline failed by it. */
static bool
judge_fence(struct engine *engine, struct eng_pipeline *p, const Penstock__DestState *dest)
{
    struct pipeline_uuid uuid;
    if (!dest->has_pipeline_uuid && !p->limits.keeps_ledger) {
        return true;
    }
    if (!dest->has_pipeline_uuid) {
        if (has_history(p)) {
            return fail_reconcile(engine, p, "destination_lost",
                                  "batches were loaded into this destination, but it knows "
                                  "nothing of them: was it replaced? Delete the pipeline (or its "
                                  "state folder) to load everything again");
        }
        p->row.prepared = false;
        p->dirty = true;
        return true;
    }
    if (!ps_id_from_span(eng_span(dest->pipeline_uuid), &uuid.id)) {
        return fail_reconcile(engine, p, "ledger_damaged", "the fence's uuid is not 16 bytes");
    }
    bool same = ps_id_eq(uuid.id, p->row.uuid.id);
    bool is_virgin = !has_history(p) && p->row.next_batch_number == 0 && p->row.generation == 1;
    if (!same && !is_virgin) {
        return fail_reconcile(engine, p, "fence_conflict",
                              "the destination belongs to another pipeline of this name");
    }
    if (same && dest->has_generation && dest->generation > p->row.generation) {
        return fail_reconcile(engine, p, "fence_conflict",
                              "the destination has a newer generation of this pipeline: this "
                              "catalog is an old copy");
    }
    /* The ledger's ranges are read where it knows more than we do. */
    bool is_cut_short = !p->row.reconciled && p->row.objects == 0; /* adopting, and then killed */
    bool more = !same || is_cut_short || is_ahead(engine, dest->seen) ||
                (dest->has_batches && dest->batches != p->row.batches_loaded);
    if (!same) {
        adopt(engine, p, uuid, dest);
    }
    raise_stamp(engine, dest->seen);
    p->merge_ranges = (p->merge_ranges || more) && dest->generation == p->row.generation;
    return true;
}

struct by_hash {
    struct bp_hash hash;
    struct eng_object object;
    bool found;
};

static bool
match_hash(void *ctx, const struct cat_object *row)
{
    struct by_hash *match = ctx;
    if (ps_id_eq(row->hash.id, match->hash.id)) {
        eng_store_copy_object(&match->object, row);
        match->found = true;
    }
    return !match->found;
}

static void
merge_range(struct engine *engine, struct eng_pipeline *p, const Penstock__LedgerRange *range)
{
    struct cat_known_range known = {.pipeline_id = p->row.id,
                                    .from = range->from,
                                    .end = range->end,
                                    .eof = range->eof,
                                    .resume = eng_span(range->resume)};
    struct by_hash match = {0};
    if (!ps_id_from_span(eng_span(range->bp_hash), &known.hash.id) ||
        !ps_id_from_span(eng_span(range->batch_id), &known.batch.id)) {
        log_warn("ledger.damaged", "pipeline=%s: a range without a hash or batch", p->row.name);
        return;
    }
    match.hash = known.hash;
    struct cat_object_page page = eng_page(p, 0);
    ENG_TRY(engine, cat_object_by_key, &page, eng_span(range->key), match_hash, &match);
    if (!match.found || match.object.row.offset <= known.from) {
        ENG_TRY(engine, cat_object_put_known, &known);
    }
    if (match.found) {
        eng_discover_advance(engine, p, &match.object);
        eng_store_end_object(&match.object);
    }
}

static bool
take_reconcile(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *chunk)
{
    struct eng_pipeline *p = task->pipeline;
    if (chunk->dest != NULL && !judge_fence(engine, p, chunk->dest)) {
        return false;
    }
    for (size_t i = 0; p->merge_ranges && i < chunk->n_ranges; i++) {
        merge_range(engine, p, chunk->ranges[i]);
    }
    if (!chunk->last && p->merge_ranges) {
        return true;
    }
    p->row.reconciled = true;
    p->merge_ranges = p->is_distrusted = false;
    p->dirty = true;
    eng_task_end(engine, task);
    return chunk->last;
}

bool
eng_result_chunk(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *chunk)
{
    switch (task->kind) {
    case PENSTOCK__TASK_KIND__TASK_PREPARE:
        return take_prepare(engine, task, chunk);
    case PENSTOCK__TASK_KIND__TASK_RECONCILE:
        return take_reconcile(engine, task, chunk);
    case PENSTOCK__TASK_KIND__TASK_SAMPLE:
    case PENSTOCK__TASK_KIND__TASK_READ_REJECTS:
        return eng_wait_chunk(engine, task, chunk);
    case PENSTOCK__TASK_KIND__TASK_DISCOVER:
    case _PENSTOCK__TASK_KIND_IS_INT_SIZE:
        break;
    }
    eng_task_end(engine, task); /* a discovery ends with its last page, not with a result */
    return false;
}
