/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_reconcile.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_people.h"
#include "coordinator/engine/eng_report.h"
#include "coordinator/engine/eng_task.h"

enum { SCAN_PAGE = 5000 };

/* The codes of ApiReconcile.state. */
#define WANTED "wanted"
#define READING "reading"
#define DONE "done"
#define FAILED "failed"

/* ---- the report */
static bool
is_in(const struct eng_pipeline *p, const char *state)
{
    return p->report != NULL && strcmp(p->report->state, state) == 0;
}

static bool
is_under_way(const struct eng_pipeline *p)
{
    return is_in(p, WANTED) || is_in(p, READING);
}

bool
eng_reconcile_is_wanted(const struct eng_pipeline *p)
{
    return p->report != NULL && !is_in(p, DONE);
}

bool
eng_reconcile_is_asked(const struct eng_pipeline *p)
{
    return is_under_way(p) && p->report->asked;
}

static void
set_text(char **slot, const char *text)
{
    ps_free(*slot);
    *slot = eng_out_text(text);
}

static void
set_now(struct engine *engine, char **slot)
{
    char text[PS_CLOCK_TEXT_BYTES];
    set_text(slot, ps_clock_text(engine->wall_ms, text));
}

static void
set_counts(Penstock__Counts **slot, const struct cat_counts *counts)
{
    Penstock__Counts *out = *slot;
    if (out == NULL) {
        out = *slot = ENG_NEW(Penstock__Counts, PENSTOCK__COUNTS__INIT);
    }
    out->has_decoded = out->has_rejected = out->has_inserted = out->has_updated = true;
    out->decoded = counts->decoded;
    out->rejected = counts->rejected + counts->rejected_at_load;
    out->inserted = counts->inserted;
    out->updated = counts->updated;
}

/* Each reading counts from nothing. */
static void
clear(Penstock__ApiReconcile *report)
{
    report->ranges = report->batches = report->ranges_unknown = report->objects_unknown = 0;
    report->objects_behind = report->objects_ahead = report->batches_settled = 0;
    for (size_t i = 0; i < report->n_ahead; i++) {
        msg_free(&report->ahead[i]->base);
    }
    ps_free(report->ahead);
    report->ahead = NULL;
    report->n_ahead = 0;
}

void
eng_reconcile_save(struct eng_pipeline *p)
{
    Penstock__ApiReconcile *r = p->report;
    r->has_asked = r->has_dry_run = r->has_trust_ledger = r->has_ranges = r->has_batches = true;
    r->has_readings = r->has_ranges_unknown = r->has_objects_unknown = true;
    r->has_objects_behind = r->has_objects_ahead = r->has_objects_reopened = true;
    r->has_batches_settled = true;
    size_t len = penstock__api_reconcile__get_packed_size(r);
    uint8_t *packed = ps_xalloc(len + 1);
    penstock__api_reconcile__pack(r, packed);
    eng_set_span(&p->row.reconcile, ps_span(packed, len));
    ps_free(packed);
    p->dirty = true;
}

static void
new_report(struct engine *engine, struct eng_pipeline *p)
{
    if (p->report != NULL) {
        msg_free(&p->report->base);
    }
    p->report = ENG_NEW(Penstock__ApiReconcile, PENSTOCK__API_RECONCILE__INIT);
    set_now(engine, &p->report->begun_at);
}

void
eng_reconcile_load(struct eng_pipeline *p)
{
    if (p->row.reconcile.len > 0) {
        p->report =
            penstock__api_reconcile__unpack(NULL, p->row.reconcile.len, p->row.reconcile.ptr);
    }
    if (is_in(p, READING)) { /* what it had read is gone with the process */
        set_text(&p->report->state, WANTED);
    }
}

void
eng_reconcile_free(struct eng_pipeline *p)
{
    eng_reconcile_forget(p);
    if (p->report != NULL) {
        msg_free(&p->report->base);
        p->report = NULL;
    }
}

/* ---- a reading */
static void
free_found(struct eng_found *found, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        eng_set_span(&found[i].resume, ps_span(NULL, 0));
    }
    ps_free(found);
}

void
eng_reconcile_forget(struct eng_pipeline *p)
{
    struct eng_reading *reading = p->reading;
    if (reading == NULL) {
        return;
    }
    if (reading->has_object) {
        eng_store_end_object(&reading->object);
    }
    free_found(reading->found, reading->found_count);
    ps_free(reading->cover);
    ps_free(reading->covered);
    ps_free(reading);
    p->reading = NULL;
}

void
eng_reconcile_restart(struct engine *engine, struct eng_pipeline *p)
{
    eng_task_end_all(engine, p);
    eng_reconcile_forget(p);
    if (is_under_way(p)) {
        set_text(&p->report->state, WANTED);
        eng_reconcile_save(p);
    }
}

void
eng_reconcile_want(struct engine *engine, struct eng_pipeline *p)
{
    if (!is_under_way(p)) {
        new_report(engine, p);
    } else if (p->report->dry_run) {
        p->report->trust_ledger = false;
    }
    p->report->dry_run = false;
    eng_reconcile_forget(p);
    set_text(&p->report->state, WANTED);
    p->row.reconciled = false;
    eng_reconcile_save(p);
}

void
eng_reconcile_command(struct engine *engine, struct engine_command *command, struct eng_pipeline *p)
{
    bool dry_run = command->dry_run;
    bool trusts = command->trust_ledger;
    bool same =
        is_under_way(p) && p->report->dry_run == dry_run && p->report->trust_ledger == trusts;
    if (!p->limits.keeps_ledger) {
        eng_people_fail(engine, command, PS_REFUSED, "no_ledger",
                        "the pipeline's destination keeps no ledger: there is nothing to reconcile "
                        "with");
        return;
    }
    if (is_under_way(p) && !same && (dry_run || !trusts)) {
        eng_people_fail(engine, command, PS_REFUSED, "reconcile_active",
                        "a reconcile of another kind is under way: wait until it has ended");
        return;
    }
    if (!same) {
        new_report(engine, p);
        p->report->dry_run = dry_run;
        p->report->trust_ledger = trusts;
        eng_reconcile_forget(p);
        set_text(&p->report->state, WANTED);
        p->row.reconciled = false;
        if (trusts && !dry_run) {
            eng_report_cancel_all(engine, p, "the pipeline is set back to its ledger");
        }
        eng_task_end_all(engine, p);
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_RECONCILE, NULL);
        eng_event(engine, p, "pipeline.reconcile", p->row.name, "asked%s%s",
                  dry_run ? ", as a dry run" : "", trusts ? ", the ledger is trusted" : "");
    }
    p->report->asked = true;
    eng_reconcile_save(p);
    eng_people_answer(engine, command)->show_pipeline = true;
}

bool
eng_reconcile_may_read(struct engine *engine, struct eng_pipeline *p)
{
    (void)engine;
    if (!is_under_way(p)) {
        return true;
    }
    bool waits =
        p->report->trust_ledger && !p->report->dry_run ? !ps_list_empty(&p->batches) : false;
    waits = waits || (p->report->readings > 0 && p->leased > 0);
    if (waits) {
        eng_store_say(p, "waits to read the ledger: batches are being settled");
    }
    return !waits;
}

static void
begin_reading(struct engine *engine, const struct eng_task *task, const Penstock__DestState *dest)
{
    struct eng_pipeline *p = task->pipeline;
    struct pipeline_uuid uuid = {{{0}}};
    bool has = dest->has_pipeline_uuid && ps_id_from_span(eng_span(dest->pipeline_uuid), &uuid.id);
    if (!is_under_way(p)) {
        eng_reconcile_want(engine, p);
    }
    p->reading = ps_xcalloc(1, sizeof *p->reading);
    /* Another uuid is left only by a dry run, of a pipeline that would take it over. */
    p->reading->is_ours =
        has && (dest->generation == p->row.generation || !ps_id_eq(uuid.id, p->row.uuid.id));
    p->reading->loads = task->loads;
    p->reading->batches = dest->has_batches ? dest->batches : 0;
    clear(p->report);
    set_text(&p->report->state, READING);
    set_counts(&p->report->before, &p->row.counts);
    if (!p->report->dry_run) {
        ENG_TRY(engine, cat_object_drop_known, p->row.id);
    }
}

/* ---- batches that are open here and loaded there */
static const struct eng_found *
find_range(const struct eng_found *found, size_t count, const struct eng_batch *b,
           struct bp_hash hash)
{
    for (size_t i = 0; i < count; i++) {
        if (ps_id_eq(found[i].batch.id, b->row.id.id) && ps_id_eq(found[i].hash.id, hash.id)) {
            return &found[i];
        }
    }
    return NULL;
}

/* What the ledger has of these objects behind ends may be reached by them now. */
static void
pass_known(struct engine *engine, struct eng_pipeline *p, const Penstock__Done *done)
{
    for (size_t i = 0; i < done->n_ends; i++) {
        struct eng_object object;
        if (eng_store_get_object(engine, p, done->ends[i]->bp_id, &object)) {
            eng_discover_advance(engine, p, &object);
            eng_store_end_object(&object);
        }
    }
}

/* As if its leaf had said ALREADY. */
static bool
settle(struct engine *engine, struct eng_batch *b, const struct eng_found *found, size_t count)
{
    Penstock__Done done = PENSTOCK__DONE__INIT;
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    Penstock__RangeEnd *ends = ps_xcalloc(b->row.ranges + 1, sizeof *ends);
    Penstock__RangeEnd **ends_at = ps_xcalloc(b->row.ranges + 1, sizeof *ends_at);
    bool whole = true;
    for (uint32_t i = 0; whole && i < b->row.ranges; i++) {
        struct eng_object object;
        whole = eng_store_get_object(engine, b->pipeline, b->ranges[i].bp_id, &object);
        if (!whole) {
            break;
        }
        const struct eng_found *range = find_range(found, count, b, object.row.hash);
        eng_store_end_object(&object);
        whole = range != NULL && range->end >= b->ranges[i].from;
        if (whole) {
            penstock__range_end__init(&ends[i]);
            ends[i].bp_id = b->ranges[i].bp_id;
            ends[i].from = b->ranges[i].from;
            ends[i].has_start = b->ranges[i].part && range->start >= b->ranges[i].from;
            ends[i].start = range->start;
            ends[i].end = range->end;
            ends[i].eof = range->eof;
            ends[i].records = range->records;
            ends[i].has_resume = range->resume.len > 0;
            ends[i].resume = (ProtobufCBinaryData){.len = range->resume.len,
                                                   .data = (uint8_t *)(uintptr_t)range->resume.ptr};
            ends_at[i] = &ends[i];
            counts.decoded += range->records;
        }
    }
    done.counts = &counts; /* all that the ranges say; the totals are the ledger's own */
    done.n_ends = b->row.ranges;
    done.ends = ends_at;
    if (whole) {
        struct eng_pipeline *p = b->pipeline;
        eng_report_settle_loaded(engine, b, &done);
        pass_known(engine, p, &done);
    }
    ps_free(ends_at);
    ps_free(ends);
    return whole;
}

static void
settle_found(struct engine *engine, struct eng_pipeline *p, const struct eng_found *found,
             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct eng_batch *b =
            eng_store_find_batch(engine, ps_span(found[i].batch.id.b, PS_ID_BYTES));
        if (b != NULL && settle(engine, b, found, count)) {
            p->report->batches_settled++;
        }
    }
}

/* ---- the end */
static void
end_report(struct engine *engine, struct eng_pipeline *p, const char *state)
{
    set_text(&p->report->state, state);
    set_now(engine, &p->report->ended_at);
    eng_reconcile_save(p);
}

bool
eng_reconcile_failed(struct engine *engine, struct eng_pipeline *p, const char *code,
                     const char *text)
{
    bool asked = eng_reconcile_is_asked(p);
    if (is_under_way(p)) {
        set_text(&p->report->code, code);
        set_text(&p->report->text, text);
        end_report(engine, p, FAILED);
        eng_event(engine, p, "pipeline.reconcile_failed", p->row.name, "%s: %s", code, text);
    }
    eng_reconcile_forget(p);
    return asked;
}

static void
refuse_ahead(struct engine *engine, struct eng_pipeline *p)
{
    Penstock__ApiReconcile *report = p->report;
    const Penstock__ApiReconcileObject *first = report->n_ahead > 0 ? report->ahead[0] : NULL;
    char *text = ps_xasprintf(
        "%llu object%s loaded further than the destination's ledger has (the first is %s: %llu "
        "bytes, the ledger has %llu): was an older destination put back, or were ledger rows "
        "deleted? penstock reconcile --trust-ledger loads again what the ledger does not have",
        (unsigned long long)report->objects_ahead, report->objects_ahead == 1 ? " is" : "s are",
        first == NULL ? "?" : first->name, (unsigned long long)(first == NULL ? 0 : first->offset),
        (unsigned long long)(first == NULL ? 0 : first->ledger_offset));
    if (report->dry_run) {
        (void)eng_reconcile_failed(engine, p, "ledger_behind", text);
    } else {
        (void)eng_reconcile_refuse(engine, p, "ledger_behind", text);
    }
    ps_free(text);
}

static void
conclude(struct engine *engine, struct eng_pipeline *p)
{
    Penstock__ApiReconcile *report = p->report;
    struct eng_reading *reading = p->reading;
    struct cat_counts counts = reading->counts;
    uint64_t replayed = reading->replayed;
    uint64_t batches = reading->is_ours ? reading->batches : 0;
    struct eng_found *found = reading->found;
    size_t found_count = reading->found_count;
    reading->found = NULL;
    reading->found_count = 0;
    eng_reconcile_forget(p);
    report->batches = batches;
    set_counts(&report->after, &counts);
    if (!report->dry_run) {
        settle_found(engine, p, found, found_count);
        p->row.counts = counts;
        p->row.replayed = replayed;
        p->row.batches_loaded = batches;
        p->row.reconciled = true;
        p->is_distrusted = false;
    } else {
        report->batches_settled = found_count;
    }
    free_found(found, found_count);
    end_report(engine, p, DONE);
    eng_event(engine, p, "pipeline.reconciled", p->row.name,
              "%llu ranges of %llu batches read, %llu ranges were unknown, %llu objects set back",
              (unsigned long long)report->ranges, (unsigned long long)batches,
              (unsigned long long)report->ranges_unknown,
              (unsigned long long)report->objects_reopened);
    log_info("pipeline.reconciled", "name=%s ranges=%llu unknown=%llu reopened=%llu", p->row.name,
             (unsigned long long)report->ranges, (unsigned long long)report->ranges_unknown,
             (unsigned long long)report->objects_reopened);
    if (!report->dry_run && p->row.objects_pending > 0) {
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_REOPEN,
                                      "not all is loaded, its ledger says: start it");
    }
}

static void
finish(struct engine *engine, struct eng_pipeline *p)
{
    Penstock__ApiReconcile *report = p->report;
    if (p->reading->is_disturbed || p->reading->loads != p->loads) {
        eng_reconcile_forget(p);
        report->readings++;
        set_text(&report->state, WANTED);
        eng_reconcile_save(p);
    } else if (report->objects_ahead > 0 && (report->dry_run || !report->trust_ledger)) {
        refuse_ahead(engine, p);
    } else {
        conclude(engine, p);
    }
}

/* ---- what the ledger did not name */
struct scan {
    const struct eng_reading *reading;
    struct eng_object *objects;
    size_t count;
    uint64_t last_id;
    size_t seen;
};

static bool
look_at_claim(void *ctx, const struct cat_object *row)
{
    struct scan *scan = ctx;
    size_t at = (size_t)(row->id / 8);
    bool covered = at < scan->reading->covered_bytes &&
                   (scan->reading->covered[at] & (1U << (row->id % 8))) != 0;
    scan->last_id = row->id;
    scan->seen++;
    if (row->offset > 0 && !covered) {
        struct eng_object object;
        eng_store_copy_object(&object, row);
        ENG_PUSH(scan->objects, scan->count, object);
    }
    return true;
}

bool
eng_reconcile_scan(struct engine *engine, struct eng_pipeline *p)
{
    if (p->reading == NULL || !p->reading->is_scanning) {
        return false;
    }
    struct scan scan = {.reading = p->reading};
    struct cat_object_page page = eng_page(p, SCAN_PAGE);
    page.after_id = p->reading->after_id;
    ENG_TRY(engine, cat_object_after, &page, look_at_claim, &scan);
    for (size_t i = 0; i < scan.count; i++) {
        eng_reconcile_ahead(engine, p, &scan.objects[i], 0);
        eng_store_end_object(&scan.objects[i]);
    }
    ps_free(scan.objects);
    p->reading->after_id = scan.last_id;
    if (scan.seen == SCAN_PAGE) {
        return true;
    }
    finish(engine, p);
    return false;
}

/* ---- the task */
/* A replay whose result was lost with a coordinator is in the ledger alone: where both know the
 * same batches, the totals are the ledger's. */
static void
take_replays(struct eng_pipeline *p, const Penstock__DestState *dest)
{
    if (dest->has_pipeline_uuid && dest->has_replayed && dest->totals != NULL &&
        dest->has_batches && dest->batches == p->row.batches_loaded) {
        p->row.counts = eng_counts(dest->totals);
        p->row.replayed = dest->replayed;
    }
}

/* False: nothing of the ledger is read, or the reading was refused. */
static bool
begin(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *chunk, bool *out_on)
{
    struct eng_pipeline *p = task->pipeline;
    bool all = false;
    *out_on = false;
    eng_reconcile_forget(p);
    if (chunk->dest == NULL) {
        eng_task_end(engine, task);
        return false;
    }
    if (!eng_reconcile_judge(engine, p, chunk->dest, &all)) {
        return false; /* the task is gone */
    }
    if (!all) {
        take_replays(p, chunk->dest);
        p->row.reconciled = true;
        p->is_distrusted = false;
        p->dirty = true;
        eng_task_end(engine, task);
        return chunk->last;
    }
    begin_reading(engine, task, chunk->dest);
    *out_on = true;
    return true;
}

bool
eng_reconcile_chunk(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *chunk)
{
    struct eng_pipeline *p = task->pipeline;
    bool go_on = true;
    if (chunk->chunk == 0) {
        bool answer = begin(engine, task, chunk, &go_on);
        if (!go_on) {
            return answer;
        }
    }
    struct eng_reading *reading = p->reading;
    if (reading == NULL || reading->is_scanning) { /* a wish came in between: from the start */
        eng_task_end(engine, task);
        return false;
    }
    eng_reconcile_look_again(engine, p);
    for (size_t i = 0; reading->is_ours && i < chunk->n_ranges; i++) {
        eng_reconcile_range(engine, p, chunk->ranges[i]);
    }
    if (!chunk->last && reading->is_ours) {
        eng_reconcile_save(p);
        return true;
    }
    eng_reconcile_end_object(engine, p);
    const Penstock__DestState *end = chunk->dest_end == NULL ? chunk->dest : chunk->dest_end;
    if (end != NULL && reading->is_ours) {
        reading->is_disturbed = reading->is_disturbed || end->batches != reading->batches;
        reading->counts = end->totals == NULL ? (struct cat_counts){0} : eng_counts(end->totals);
        reading->replayed = end->replayed;
    }
    reading->is_scanning = true;
    eng_reconcile_save(p);
    eng_task_end(engine, task);
    return chunk->last;
}
