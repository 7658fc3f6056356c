/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that a discovery found. */
#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_part.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/plan/cut.h"

void
eng_discover_advance(struct engine *engine, struct eng_pipeline *p, struct eng_object *object)
{
    uint64_t batch_bytes = p->limits.batch_bytes;
    bool moved = false;
    bool is_split = object->row.cut_offset > 0;
    bool has_more = is_split;
    while (object->state == OBJECT_PENDING && !is_split) {
        struct cat_known_range known = {
            .pipeline_id = p->row.id, .hash = object->row.hash, .from = object->row.offset};
        bool found = false;
        if (!ENG_TRY(engine, cat_object_next_known, &known, &found) || !found) {
            break;
        }
        if (known.from != object->row.offset || (known.end <= known.from && !known.eof)) {
            has_more = !object->row.compressed;
            break;
        }
        object->row.offset = known.end;
        object->row.records += known.records;
        object->row.has_batch = true;
        object->row.batch = known.batch;
        eng_set_span(&object->row.resume, known.eof ? ps_span(NULL, 0) : known.resume);
        eng_store_set_rest(p, object,
                           known.eof
                               ? 0
                               : cut_rest_bytes(object->row.size_bytes, object->row.compressed,
                                                object->row.offset, batch_bytes));
        (void)eng_store_move_object(engine, p, object,
                                    known.eof ? OBJECT_ON_END_LOADED : OBJECT_ON_PART_LOADED);
        moved = true;
    }
    if (moved) {
        eng_store_save_object(engine, object);
    }
    if (has_more && object->state != OBJECT_DONE) {
        eng_part_absorb(engine, p, object);
    }
}

/* ---- versions of one key */
struct versions {
    struct ps_span wanted;
    bool known;       /* this very version is there */
    bool any;         /* another one is */
    bool replaceable; /* another one, of which nothing was ever loaded, and which no batch holds */
    uint64_t id;      /* that one */
    struct engine *engine;
};

static bool
look_at_version(void *ctx, const struct cat_object *row)
{
    struct versions *versions = ctx;
    if (ps_span_eq(row->version, versions->wanted)) {
        versions->known = true;
        return false;
    }
    versions->any = true;
    bool held =
        row->has_batch &&
        eng_store_find_batch(versions->engine, ps_span(row->batch.id.b, PS_ID_BYTES)) != NULL;
    bool idle = strcmp(row->state, "pending") == 0 || strcmp(row->state, "quarantined") == 0;
    if (idle && !held && row->offset == 0 && row->cut_offset == 0) {
        versions->replaceable = true;
        versions->id = row->id;
    }
    return true;
}

static void
set_version(struct eng_pipeline *p, struct eng_object *object, const Penstock__ObjectRef *ref)
{
    p->row.bytes += ref->size_bytes - object->row.size_bytes;
    eng_set_span(&object->row.version, eng_span(ref->version));
    object->row.hash = ps_bp_hash(object->row.key, object->row.version);
    object->row.size_bytes = ref->size_bytes;
    object->row.compressed = ref->compressed;
    object->row.weak = ref->weak;
    object->row.mtime_ms = ref->mtime_ms;
    eng_store_set_rest(p, object, cut_estimate_bytes(ref->size_bytes, ref->compressed));
}

static void
replace(struct engine *engine, struct eng_pipeline *p, uint64_t id, const Penstock__ObjectRef *ref)
{
    struct eng_object object;
    if (!eng_store_get_object(engine, p, id, &object)) {
        return;
    }
    set_version(p, &object, ref);
    ENG_TRY(engine, cat_object_set_version, &object.row);
    if (object.state == OBJECT_QUARANTINED) {
        (void)eng_store_move_object(engine, p, &object, OBJECT_ON_RESET);
    }
    eng_store_save_object(engine, &object);
    eng_discover_advance(engine, p, &object);
    eng_store_end_object(&object);
}

static void
insert(struct engine *engine, struct eng_pipeline *p, const Penstock__ObjectRef *ref,
       const char *refused_because)
{
    struct cat_object row = {.pipeline_id = p->row.id,
                             .id = p->row.next_bp_id++,
                             .generation = p->row.generation,
                             .key = eng_span(ref->key),
                             .version = eng_span(ref->version),
                             .hash = ps_bp_hash(eng_span(ref->key), eng_span(ref->version)),
                             .size_bytes = ref->size_bytes,
                             .compressed = ref->compressed,
                             .weak = ref->weak,
                             .mtime_ms = ref->mtime_ms,
                             .state = states_object_name(OBJECT_PENDING),
                             .rest_bytes = cut_estimate_bytes(ref->size_bytes, ref->compressed)};
    ENG_TRY(engine, cat_object_insert, &row);
    p->row.objects++;
    p->row.objects_pending++;
    p->row.bytes += row.size_bytes;
    p->row.bytes_pending += row.rest_bytes;
    p->dirty = true;
    struct eng_object object;
    eng_store_copy_object(&object, &row);
    eng_discover_advance(engine, p, &object);
    if (refused_because != NULL && object.state == OBJECT_PENDING) {
        eng_set_text(&object.row.reason, refused_because);
        (void)eng_store_move_object(engine, p, &object, OBJECT_ON_QUARANTINE);
        eng_store_save_object(engine, &object);
    }
    eng_store_end_object(&object);
}

void
eng_discover_object(struct engine *engine, struct eng_pipeline *p, const Penstock__ObjectRef *ref)
{
    struct versions versions = {.wanted = eng_span(ref->version), .engine = engine};
    struct cat_object_page page = eng_page(p, 0);
    if (!ENG_TRY(engine, cat_object_by_key, &page, eng_span(ref->key), look_at_version,
                 &versions) ||
        versions.known) {
        return;
    }
    if (!versions.any) {
        insert(engine, p, ref, NULL);
    } else if (versions.replaceable) {
        replace(engine, p, versions.id, ref);
    } else if (p->limits.fails_on_change) {
        insert(engine, p, ref,
               ENG_OBJECT_CHANGED ": it was loaded, wholly or in part, in an earlier version "
                                  "(source.on_change: fail)");
    }
}

/* ---- a new start */
struct quarantined {
    struct eng_object *objects;
    size_t count;
};

static bool
collect(void *ctx, const struct cat_object *row)
{
    struct quarantined *all = ctx;
    struct eng_object object;
    eng_store_copy_object(&object, row);
    ENG_PUSH(all->objects, all->count, object);
    return true;
}

static bool
has_reason(const struct eng_object *object, const char *code)
{
    const char *reason = object->row.reason == NULL ? "" : object->row.reason;
    return strncmp(reason, code, strlen(code)) == 0;
}

/* What a new start means for a quarantined object. */
static void
start_again(struct engine *engine, struct eng_pipeline *p, struct eng_object *object)
{
    /* A batch that is still to be settled holds it: nothing of it may be cut before. */
    bool held = object->row.has_batch && object->row.cut_offset == 0 &&
                eng_store_find_batch(engine, ps_span(object->row.batch.id.b, PS_ID_BYTES)) != NULL;
    enum object_event event = OBJECT_ON_RESET;
    if (held || has_reason(object, ENG_NO_PROGRESS) || has_reason(object, ENG_NOT_CONTIGUOUS)) {
        return;
    }
    if (has_reason(object, ENG_OBJECT_CHANGED)) {
        if (p->limits.fails_on_change) {
            return;
        }
        event = OBJECT_ON_IGNORE;
    }
    (void)eng_store_move_object(engine, p, object, event);
    eng_part_settle(engine, p, object);
    eng_store_save_object(engine, object);
}

void
eng_discover_reset(struct engine *engine, struct eng_pipeline *p)
{
    enum { PAGE = 500 };
    struct cat_object_page where = eng_page(p, PAGE);
    where.state = "quarantined";
    for (bool more = true; more && engine->fault_status == PS_OK;) {
        struct quarantined page = {0};
        ENG_TRY(engine, cat_object_in_state, &where, collect, &page);
        for (size_t i = 0; i < page.count; i++) {
            struct eng_object *object = &page.objects[i];
            where.after_id = object->row.id;
            start_again(engine, p, object);
            eng_store_end_object(object);
        }
        more = page.count == PAGE;
        ps_free(page.objects);
    }
}
