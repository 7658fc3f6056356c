/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_part.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"
#include "coordinator/engine/eng_drift.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_prove.h"
#include "coordinator/plan/cut.h"

/* Parts behind one that stays open: each of them is looked at whenever something changes. */
enum { PARTS_MOST = 2048 };

/* ---- rows */
static const char *
state_name(const char *state)
{
    return strcmp(state, ENG_PART_FREE) == 0   ? ENG_PART_FREE
           : strcmp(state, ENG_PART_OPEN) == 0 ? ENG_PART_OPEN
                                               : ENG_PART_LOADED;
}

static bool
push_part(void *ctx, const struct cat_part *row)
{
    struct eng_parts *parts = ctx;
    struct cat_part part = *row;
    part.state = state_name(row->state);
    part.resume = ps_span(NULL, 0);
    eng_set_span(&part.resume, row->resume);
    ENG_PUSH(parts->items, parts->count, part);
    return true;
}

void
eng_part_read(struct engine *engine, const struct eng_object *object, struct eng_parts *out)
{
    *out = (struct eng_parts){0};
    ENG_TRY(engine, cat_part_all, object->row.pipeline_id, object->row.id, push_part, out);
}

void
eng_part_end(struct eng_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        eng_set_span(&parts->items[i].resume, ps_span(NULL, 0));
    }
    ps_free(parts->items);
    *parts = (struct eng_parts){0};
}

static void
drop(struct engine *engine, const struct cat_part *part)
{
    ENG_TRY(engine, cat_part_drop, part->pipeline_id, part->bp_id, part->from);
}

static void
put_free(struct engine *engine, const struct eng_object *object, uint64_t from, uint64_t to)
{
    struct cat_part part = {.pipeline_id = object->row.pipeline_id,
                            .bp_id = object->row.id,
                            .from = from,
                            .target_bytes = to - from,
                            .state = ENG_PART_FREE};
    if (to > from) {
        ENG_TRY(engine, cat_part_put, &part);
    }
}

static bool
is_empty(const struct cat_part *part)
{
    return part->start == part->end;
}

/* ---- the offset */
struct fold {
    struct engine *engine;
    struct eng_object *object;
    uint64_t most; /* the cut of the first open part */
    bool ended;    /* the object's end was loaded */
    bool broken;   /* ranges that do not follow each other */
};

static void
contradict(struct fold *fold, const struct cat_part *part)
{
    struct eng_object *object = fold->object;
    char name[200];
    char *reason = ps_xasprintf(
        ENG_NOT_CONTIGUOUS ": all up to %llu is loaded, but the range cut at %llu holds "
                           "[%llu, %llu): what lies between is loaded twice or not at all",
        (unsigned long long)object->row.offset, (unsigned long long)part->from,
        (unsigned long long)part->start, (unsigned long long)part->end);
    log_error("object.not_contiguous", "object=%s text=\"%s\"",
              log_quote(object->row.key, name, sizeof name), reason);
    eng_set_text(&object->row.reason, reason);
    ps_free(reason);
    fold->broken = true;
}

/* True when it was passed, and is gone. */
static bool
pass_free(struct fold *fold, const struct cat_part *part)
{
    uint64_t offset = fold->object->row.offset;
    uint64_t to = part->from + part->target_bytes;
    if (fold->ended || offset >= to) {
        drop(fold->engine, part); /* no record begins in it */
        return true;
    }
    if (offset > part->from) {
        drop(fold->engine, part);
        put_free(fold->engine, fold->object, offset, to);
    }
    return false;
}

static bool
pass_loaded(struct fold *fold, const struct cat_part *part)
{
    struct cat_object *row = &fold->object->row;
    if (is_empty(part) ? !fold->ended && row->offset < part->from + part->target_bytes
                       : fold->ended || part->start != row->offset) {
        contradict(fold, part);
        return false;
    }
    if (!is_empty(part)) {
        if (part->end > fold->most) {
            return false;
        }
        row->offset = part->end;
        eng_set_span(&row->resume, part->resume);
    }
    row->records += part->records;
    fold->ended = fold->ended || part->eof;
    drop(fold->engine, part);
    return true;
}

/* ---- what follows from it */
static uint64_t
uncut_bytes(const struct eng_object *object)
{
    uint64_t size = object->row.size_bytes;
    return size > object->row.cut_offset ? size - object->row.cut_offset : 0;
}

struct left {
    size_t parts;
    uint64_t free_bytes;
    struct cat_part wanted; /* the first free one, or the one cut at `from`; without its token */
    uint64_t from;
    bool by_from;
    bool found;
};

static bool
look_at_part(void *ctx, const struct cat_part *row)
{
    struct left *left = ctx;
    bool is_free = eng_part_is(row, ENG_PART_FREE);
    left->parts++;
    left->free_bytes += is_free ? row->target_bytes : 0;
    if (!left->found && (left->by_from ? row->from == left->from : is_free)) {
        left->wanted = *row;
        left->wanted.state = state_name(row->state);
        left->wanted.resume = ps_span(NULL, 0);
        left->found = true;
    }
    return true;
}

static void
look(struct engine *engine, const struct eng_object *object, struct left *left)
{
    ENG_TRY(engine, cat_part_all, object->row.pipeline_id, object->row.id, look_at_part, left);
}

/* Pending while there is something to cut, open while all that is left is in batches, or so much is
 * loaded behind a part that is still open that there had better not be more. */
static void
settle_state(struct engine *engine, struct eng_pipeline *p, struct eng_object *object,
             const struct left *left)
{
    uint64_t rest = left->free_bytes + uncut_bytes(object);
    bool may_cut = rest > 0 && (left->free_bytes > 0 || left->parts < PARTS_MOST);
    if (rest == 0 && left->parts == 0) { /* its end was not seen yet: a chain again */
        may_cut = true;
        object->row.cut_offset = 0;
        rest = cut_rest_bytes(object->row.size_bytes, object->row.compressed, object->row.offset,
                              p->limits.batch_bytes);
    }
    eng_store_set_rest(p, object, rest);
    if (object->state == OBJECT_PENDING && !may_cut) {
        (void)eng_store_move_object(engine, p, object, OBJECT_ON_CUT);
    } else if (object->state == OBJECT_OPEN && may_cut) {
        (void)eng_store_move_object(engine, p, object, OBJECT_ON_CUT_AGAIN);
    }
}

static void
end_object(struct engine *engine, struct eng_pipeline *p, struct eng_object *object)
{
    object->row.cut_offset = 0;
    eng_set_span(&object->row.resume, ps_span(NULL, 0));
    eng_store_set_rest(p, object, 0);
    (void)eng_store_move_object(engine, p, object, OBJECT_ON_END_LOADED);
}

void
eng_part_settle(struct engine *engine, struct eng_pipeline *p, struct eng_object *object)
{
    if (object->row.cut_offset == 0 || object->state == OBJECT_DONE) {
        return;
    }
    struct eng_parts parts;
    struct fold fold = {.engine = engine, .object = object, .most = UINT64_MAX};
    eng_part_read(engine, object, &parts);
    for (size_t i = parts.count; i-- > 0;) {
        fold.most = eng_part_is(&parts.items[i], ENG_PART_OPEN) ? parts.items[i].from : fold.most;
    }
    size_t passed = 0;
    for (bool go_on = true; go_on && passed < parts.count; passed += go_on ? 1 : 0) {
        const struct cat_part *part = &parts.items[passed];
        go_on =
            !eng_part_is(part, ENG_PART_OPEN) &&
            (eng_part_is(part, ENG_PART_FREE) ? pass_free(&fold, part) : pass_loaded(&fold, part));
    }
    bool all = passed == parts.count;
    eng_part_end(&parts);
    if (object->row.offset > object->row.cut_offset) {
        object->row.cut_offset = object->row.offset;
    }
    if (fold.broken) {
        (void)eng_store_move_object(engine, p, object, OBJECT_ON_QUARANTINE);
    } else if (fold.ended && all) {
        end_object(engine, p, object);
        return;
    }
    struct left left = {0};
    look(engine, object, &left);
    settle_state(engine, p, object, &left);
}

/* ---- cuts */
uint32_t
eng_part_leaves(const struct engine *engine, const struct eng_pipeline *p)
{
    uint32_t most = p->limits.max_leaves;
    return most > 0 && engine->online_leaves > most ? most : engine->online_leaves;
}

void
eng_part_begin(struct engine *engine, struct eng_pipeline *p, struct eng_object *object)
{
    uint64_t rest = object->row.rest_bytes;
    uint64_t pending = p->row.bytes_pending;
    if (object->state == OBJECT_PENDING && !object->row.compressed && object->row.offset > 0 &&
        object->row.size_bytes > object->row.offset &&
        cut_wants_split(rest, pending > rest ? pending - rest : 0, p->limits.batch_bytes,
                        eng_part_leaves(engine, p))) {
        object->row.cut_offset = object->row.offset;
    }
}

struct cat_range
eng_part_cut(struct engine *engine, struct eng_pipeline *p, struct eng_object *object,
             uint64_t target_bytes, struct batch_id batch)
{
    struct left left = {0};
    look(engine, object, &left);
    struct cat_part part = {.pipeline_id = p->row.id,
                            .bp_id = object->row.id,
                            .from = left.found ? left.wanted.from : object->row.cut_offset,
                            .state = ENG_PART_OPEN,
                            .has_batch = true,
                            .batch = batch};
    uint64_t most = left.found ? left.wanted.target_bytes : uncut_bytes(object);
    PS_ASSERT(most > 0);
    part.target_bytes = cut_part_bytes(most, target_bytes);
    if (left.found) {
        put_free(engine, object, part.from + part.target_bytes, part.from + most);
        left.free_bytes -= part.target_bytes;
    } else {
        object->row.cut_offset += part.target_bytes;
    }
    left.parts++;
    ENG_TRY(engine, cat_part_put, &part);
    settle_state(engine, p, object, &left);
    return (struct cat_range){.bp_id = object->row.id,
                              .from = part.from,
                              .target_bytes = part.target_bytes,
                              .part = true};
}

/* ---- ends */
/* *out is the open part that was cut at from, without its token; false: there is none. */
static bool
find_open(struct engine *engine, const struct eng_object *object, uint64_t from,
          struct cat_part *out)
{
    struct left left = {.by_from = true, .from = from};
    look(engine, object, &left);
    *out = left.wanted;
    return left.found && eng_part_is(out, ENG_PART_OPEN);
}

/* Another batch of this object is quarantined, too. */
static bool
has_other_quarantined(const struct eng_batch *b)
{
    PS_LIST_FOR (at, &b->pipeline->batches) {
        const struct eng_batch *other = PS_CONTAINER(at, struct eng_batch, link);
        if (other != b && other->state == BATCH_QUARANTINED && other->row.ranges == 1 &&
            other->ranges[0].bp_id == b->ranges[0].bp_id) {
            return true;
        }
    }
    return false;
}

void
eng_part_loaded(struct engine *engine, struct eng_batch *b, const Penstock__RangeEnd *end,
                uint64_t spent_ms)
{
    struct eng_pipeline *p = b->pipeline;
    struct eng_object object;
    struct cat_part part;
    if (!eng_store_get_object(engine, p, b->ranges[0].bp_id, &object)) {
        return;
    }
    if (find_open(engine, &object, b->ranges[0].from, &part)) {
        part.state = ENG_PART_LOADED;
        part.start = end->has_start ? end->start : end->from;
        part.end = end->end;
        part.eof = end->eof;
        part.records = end->records;
        part.resume = end->has_resume ? eng_span(end->resume) : ps_span(NULL, 0);
        ENG_TRY(engine, cat_part_put, &part);
        object.row.spent_ms += spent_ms;
        eng_drift_seen(engine, p, object.row.key, end);
        if (b->state == BATCH_QUARANTINED && !has_other_quarantined(b)) {
            (void)eng_store_move_object(engine, p, &object, OBJECT_ON_PART_LOADED);
        }
        eng_part_settle(engine, p, &object);
        eng_store_note_slowest(p, &object);
        eng_store_save_object(engine, &object);
        eng_prove_want(p, object.row.id);
    }
    eng_store_end_object(&object);
}

void
eng_part_freed(struct engine *engine, struct eng_pipeline *p, struct eng_object *object,
               uint64_t from)
{
    struct cat_part part;
    if (find_open(engine, object, from, &part)) {
        part.state = ENG_PART_FREE;
        part.has_batch = false;
        ENG_TRY(engine, cat_part_put, &part);
    }
    eng_part_settle(engine, p, object);
}

/* ---- what the ledger knows */
static void
put_known(struct engine *engine, const struct eng_object *object,
          const struct cat_known_range *known)
{
    struct cat_part part = {.pipeline_id = object->row.pipeline_id,
                            .bp_id = object->row.id,
                            .from = known->from,
                            .target_bytes = known->end - known->from,
                            .state = ENG_PART_LOADED,
                            .has_batch = true,
                            .batch = known->batch,
                            .start = known->from,
                            .end = known->end,
                            .eof = known->eof,
                            .records = known->records,
                            .resume = known->resume};
    ENG_TRY(engine, cat_part_put, &part);
}

/* Takes a known range out of what is free, or not cut yet. True when there was something. */
static bool
carve(struct engine *engine, struct eng_object *object, const struct eng_parts *parts,
      const struct cat_known_range *known)
{
    bool inside = false;
    bool any = false;
    for (size_t i = 0; i < parts->count; i++) {
        const struct cat_part *part = &parts->items[i];
        uint64_t to = part->from + part->target_bytes;
        if (!eng_part_is(part, ENG_PART_FREE) || known->end <= part->from || known->from >= to) {
            continue;
        }
        drop(engine, part);
        if (known->from > part->from) {
            put_free(engine, object, part->from, known->from);
        }
        if (known->end < to) {
            put_free(engine, object, known->end, to);
        }
        inside = inside || known->from >= part->from;
        any = true;
    }
    if (known->end > object->row.cut_offset) {
        if (known->from >= object->row.cut_offset) {
            put_free(engine, object, object->row.cut_offset, known->from);
            inside = true;
        }
        object->row.cut_offset = known->end;
        any = true;
    }
    if (inside) {
        put_known(engine, object, known);
        object->row.has_batch = true;
        object->row.batch = known->batch;
    }
    return any;
}

void
eng_part_absorb(struct engine *engine, struct eng_pipeline *p, struct eng_object *object)
{
    bool was_split = object->row.cut_offset > 0;
    bool any = false;
    uint64_t from = object->row.offset;
    if (!was_split) { /* all behind the offset is to be had */
        object->row.cut_offset = object->row.offset;
    }
    for (bool found = true; found && engine->fault_status == PS_OK;) {
        struct cat_known_range known = {
            .pipeline_id = p->row.id, .hash = object->row.hash, .from = from};
        ENG_TRY(engine, cat_object_next_known, &known, &found);
        if (found && known.end > known.from) {
            struct eng_parts parts;
            eng_part_read(engine, object, &parts);
            any = carve(engine, object, &parts, &known) || any;
            eng_part_end(&parts);
        }
        from = known.from + 1;
    }
    if (!any) {
        object->row.cut_offset = was_split ? object->row.cut_offset : 0;
        return;
    }
    eng_part_settle(engine, p, object);
    eng_store_save_object(engine, object);
    eng_prove_want(p, object->row.id);
}
