/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's ranges, one after the other, against what the catalog says of the same batch
 * partition. */
#include "common/alloc.h"
#include "common/log.h"
#include "common/percent.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_part.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/plan/cut.h"

/* ---- the batch partition that a hash names */
struct by_hash {
    struct bp_hash hash;
    struct eng_object *out;
    bool found;
};

static bool
match_hash(void *ctx, const struct cat_object *row)
{
    struct by_hash *match = ctx;
    if (ps_id_eq(row->hash.id, match->hash.id)) {
        eng_store_copy_object(match->out, row);
        match->found = true;
    }
    return !match->found;
}

static void
begin_object(struct engine *engine, struct eng_pipeline *p, struct bp_hash hash, struct ps_span key)
{
    struct eng_reading *reading = p->reading;
    struct by_hash match = {.hash = hash, .out = &reading->object};
    struct cat_object_page page = eng_page(p, 0);
    reading->hash = hash;
    reading->has_hash = true;
    ENG_TRY(engine, cat_object_by_key, &page, key, match_hash, &match);
    reading->has_object = match.found;
    reading->has_news = false;
    reading->cover_count = 0;
    p->report->objects_unknown += match.found ? 0 : 1;
}

/* Between two chunks batches are settled, and cut ones loaded: what is saved in the end must begin
 * from what the catalog says now. */
void
eng_reconcile_look_again(struct engine *engine, struct eng_pipeline *p)
{
    struct eng_reading *reading = p->reading;
    if (reading->has_hash && reading->has_object) {
        uint64_t id = reading->object.row.id;
        eng_store_end_object(&reading->object);
        reading->has_object = eng_store_get_object(engine, p, id, &reading->object);
    }
}

/* ---- what the ledger has of it */
static void
add_cover(struct eng_reading *reading, uint64_t from, uint64_t to)
{
    struct eng_cover *last =
        reading->cover_count == 0 ? NULL : &reading->cover[reading->cover_count - 1];
    if (from == to) {
        return;
    }
    if (last != NULL && from <= last->to) { /* they come in the order of from */
        last->to = to > last->to ? to : last->to;
        return;
    }
    ENG_PUSH(reading->cover, reading->cover_count, ((struct eng_cover){from, to}));
}

static bool
is_covered(const struct eng_reading *reading, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < reading->cover_count; i++) {
        if (reading->cover[i].from <= from && to <= reading->cover[i].to) {
            return true;
        }
    }
    return from >= to;
}

static uint64_t
covered_from_start(const struct eng_reading *reading)
{
    return reading->cover_count > 0 && reading->cover[0].from == 0 ? reading->cover[0].to : 0;
}

/* ---- the catalog says more */
static bool
are_parts_covered(struct engine *engine, const struct eng_reading *reading)
{
    struct eng_parts parts = {0};
    bool good = true;
    if (reading->object.row.cut_offset == 0) {
        return true;
    }
    eng_part_read(engine, &reading->object, &parts);
    for (size_t i = 0; good && i < parts.count; i++) {
        const struct cat_part *part = &parts.items[i];
        good = !eng_part_is(part, ENG_PART_LOADED) || is_covered(reading, part->start, part->end);
    }
    eng_part_end(&parts);
    return good;
}

/* Set back to its start: what the ledger has of it is known, and is passed again. */
static void
reopen(struct engine *engine, struct eng_pipeline *p, struct eng_object *object)
{
    struct eng_parts parts = {0};
    eng_part_read(engine, object, &parts);
    for (size_t i = 0; i < parts.count; i++) {
        ENG_TRY(engine, cat_part_drop, p->row.id, object->row.id, parts.items[i].from);
    }
    eng_part_end(&parts);
    object->row.cut_offset = object->row.offset = object->row.records = 0;
    eng_set_span(&object->row.resume, ps_span(NULL, 0));
    (void)eng_store_move_object(engine, p, object, OBJECT_ON_LOST);
    eng_store_set_rest(p, object,
                       cut_estimate_bytes(object->row.size_bytes, object->row.compressed));
    eng_store_save_object(engine, object);
    p->report->objects_reopened++;
}

void
eng_reconcile_ahead(struct engine *engine, struct eng_pipeline *p, struct eng_object *object,
                    uint64_t ledger_offset)
{
    Penstock__ApiReconcile *report = p->report;
    report->objects_ahead++;
    if (report->n_ahead < ENG_RECONCILE_NAMED) {
        Penstock__ApiReconcileObject *named =
            ENG_NEW(Penstock__ApiReconcileObject, PENSTOCK__API_RECONCILE_OBJECT__INIT);
        struct ps_buf name = PS_BUF_INIT;
        ps_percent_name(object->row.key, &name);
        named->name = eng_out_text(ps_buf_str(&name));
        named->offset = object->row.offset;
        named->ledger_offset = ledger_offset;
        ps_buf_fini(&name);
        ENG_PUSH(report->ahead, report->n_ahead, named);
    }
    if (report->trust_ledger && !report->dry_run) {
        reopen(engine, p, object);
    }
}

static void
set_covered(struct eng_reading *reading, uint64_t id)
{
    size_t at = (size_t)(id / 8);
    if (at >= reading->covered_bytes) {
        size_t bytes = at + 1 + at / 2;
        reading->covered = ps_xrealloc(reading->covered, bytes);
        memset(reading->covered + reading->covered_bytes, 0, bytes - reading->covered_bytes);
        reading->covered_bytes = bytes;
    }
    reading->covered[at] |= (uint8_t)(1U << (id % 8));
}

void
eng_reconcile_end_object(struct engine *engine, struct eng_pipeline *p)
{
    struct eng_reading *reading = p->reading;
    Penstock__ApiReconcile *report = p->report;
    struct eng_object *object = &reading->object;
    if (reading->has_hash && reading->has_object) {
        bool good =
            is_covered(reading, 0, object->row.offset) && are_parts_covered(engine, reading);
        uint64_t before = object->row.offset;
        set_covered(reading, object->row.id);
        report->objects_behind += reading->has_news ? 1 : 0;
        if (!good) {
            eng_reconcile_ahead(engine, p, object, covered_from_start(reading));
        }
        if (!report->dry_run && (reading->has_news || object->row.offset < before)) {
            eng_discover_advance(engine, p, object);
        }
        eng_store_end_object(object);
    }
    reading->has_hash = reading->has_object = false;
}

/* ---- one range */
/* Its batch is open here: it is settled when all is read. */
static bool
is_of_open_batch(struct engine *engine, struct eng_pipeline *p, struct batch_id batch)
{
    struct eng_batch *b = eng_store_find_batch(engine, ps_span(batch.id.b, PS_ID_BYTES));
    return b != NULL && b->pipeline == p && b->row.generation == p->row.generation;
}

static bool
is_known(struct engine *engine, const struct eng_reading *reading,
         const struct cat_known_range *range)
{
    const struct eng_object *object = &reading->object;
    if (!reading->has_object) {
        return false;
    }
    bool known = range->from < object->row.offset || object->state == OBJECT_DONE;
    struct eng_parts parts = {0};
    if (!known && object->row.cut_offset > 0) {
        eng_part_read(engine, object, &parts);
        for (size_t i = 0; !known && i < parts.count; i++) {
            known = eng_part_is(&parts.items[i], ENG_PART_LOADED) &&
                    parts.items[i].start == range->from;
        }
        eng_part_end(&parts);
    }
    return known;
}

void
eng_reconcile_range(struct engine *engine, struct eng_pipeline *p,
                    const Penstock__LedgerRange *range)
{
    struct eng_reading *reading = p->reading;
    Penstock__ApiReconcile *report = p->report;
    struct cat_known_range known = {.pipeline_id = p->row.id,
                                    .from = range->from,
                                    .end = range->end,
                                    .eof = range->eof,
                                    .records = range->records,
                                    .resume = eng_span(range->resume)};
    if (!ps_id_from_span(eng_span(range->bp_hash), &known.hash.id) ||
        !ps_id_from_span(eng_span(range->batch_id), &known.batch.id) || known.end < known.from) {
        log_warn("ledger.damaged", "pipeline=%s: a range without a hash or batch", p->row.name);
        return;
    }
    if (!reading->has_hash || !ps_id_eq(reading->hash.id, known.hash.id)) {
        eng_reconcile_end_object(engine, p);
        begin_object(engine, p, known.hash, eng_span(range->key));
    }
    report->ranges++;
    add_cover(reading, known.from, known.end);
    if (is_of_open_batch(engine, p, known.batch)) {
        struct eng_found found = {.batch = known.batch,
                                  .hash = known.hash,
                                  .start = known.from,
                                  .end = known.end,
                                  .records = known.records,
                                  .eof = known.eof};
        eng_set_span(&found.resume, known.resume);
        ENG_PUSH(reading->found, reading->found_count, found);
        return;
    }
    bool is_news = !is_known(engine, reading, &known);
    report->ranges_unknown += is_news ? 1 : 0;
    reading->has_news = reading->has_news || is_news;
    if (!report->dry_run && (is_news || report->trust_ledger)) {
        ENG_TRY(engine, cat_object_put_known, &known);
    }
}
