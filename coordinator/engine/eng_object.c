/* SPDX-License-Identifier: Apache-2.0 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"
#include "coordinator/engine/eng_store.h"

void
eng_store_copy_object(struct eng_object *out, const struct cat_object *row)
{
    *out = (struct eng_object){.row = *row};
    out->row.key = out->row.version = out->row.resume = ps_span(NULL, 0);
    eng_set_span(&out->row.key, row->key);
    eng_set_span(&out->row.version, row->version);
    eng_set_span(&out->row.resume, row->resume);
    out->row.reason = ps_xstrdup(row->reason);
    int state = OBJECT_QUARANTINED;
    if (!states_parse(&states_object, row->state, &state)) {
        log_error("object.damaged", "state=%s", row->state);
    }
    out->state = (enum object_state)state;
    out->row.state = states_object_name(out->state);
}

struct copy {
    struct eng_object *out;
    bool found;
};

static bool
copy_one(void *ctx, const struct cat_object *row)
{
    struct copy *copy = ctx;
    eng_store_copy_object(copy->out, row);
    copy->found = true;
    return false;
}

bool
eng_store_get_object(struct engine *engine, struct eng_pipeline *p, uint64_t id,
                     struct eng_object *out)
{
    struct copy copy = {.out = out};
    ENG_TRY(engine, cat_object_get, p->row.id, id, copy_one, &copy);
    return copy.found;
}

void
eng_store_end_object(struct eng_object *object)
{
    eng_set_span(&object->row.key, ps_span(NULL, 0));
    eng_set_span(&object->row.version, ps_span(NULL, 0));
    eng_set_span(&object->row.resume, ps_span(NULL, 0));
    eng_set_text(&object->row.reason, NULL);
}

/* The counters that follow from a batch partition's state. */
static void
count(struct eng_pipeline *p, const struct eng_object *object, int by)
{
    uint64_t step = (uint64_t)(int64_t)by;
    switch (object->state) {
    case OBJECT_PENDING:
        p->row.objects_pending += step;
        p->row.bytes_pending += step * object->row.rest_bytes;
        break;
    case OBJECT_OPEN:
        break;
    case OBJECT_DONE:
        p->row.objects_done += step;
        p->row.bytes_done += step * object->row.size_bytes;
        break;
    case OBJECT_QUARANTINED:
        p->row.objects_quarantined += step;
        break;
    case OBJECT_STATE_COUNT:
        break;
    }
    p->dirty = true;
}

bool
eng_store_move_object(struct engine *engine, struct eng_pipeline *p, struct eng_object *object,
                      enum object_event event)
{
    const struct fsm_edge *edge = fsm_find(&states_object, (int)object->state, (int)event);
    if (edge == NULL) {
        return false;
    }
    enum object_state before = object->state;
    count(p, object, -1);
    object->state = (enum object_state)edge->to;
    object->row.state = states_object_name(object->state);
    count(p, object, 1);
    if (object->state != OBJECT_QUARANTINED) {
        eng_set_text(&object->row.reason, NULL);
    }
    if (object->state != before) {
        char kind[64];
        char name[200];
        snprintf(kind, sizeof kind, "batch_partition.%s", object->row.state);
        eng_event(engine, p, kind, log_quote(object->row.key, name, sizeof name),
                  "%s: offset %llu%s%s", edge->why, (unsigned long long)object->row.offset,
                  object->row.reason == NULL ? "" : ": ",
                  object->row.reason == NULL ? "" : object->row.reason);
    }
    return true;
}

void
eng_store_set_rest(struct eng_pipeline *p, struct eng_object *object, uint64_t rest_bytes)
{
    count(p, object, -1);
    object->row.rest_bytes = rest_bytes;
    count(p, object, 1);
}

void
eng_store_save_object(struct engine *engine, struct eng_object *object)
{
    ENG_TRY(engine, cat_object_save, &object->row);
}

void
eng_store_note_slowest(struct eng_pipeline *p, const struct eng_object *object)
{
    if (object->row.spent_ms >= p->row.slowest_ms) {
        p->row.slowest_ms = object->row.spent_ms;
        eng_set_span(&p->row.slowest_object, object->row.key);
    }
}
