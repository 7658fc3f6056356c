/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_cut.h"

#include "common/alloc.h"
#include "coordinator/engine/eng_hot.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_part.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/plan/cut.h"

enum { CANDIDATES = 2 * CUT_MAX_OBJECTS, LOOK_ON = 200, WINDOW_FIRST = 4, WINDOW_MOST = 64 };

struct choice {
    struct engine *engine;
    struct eng_pipeline *pipeline;
    const struct eng_agent *agent;
    uint32_t leaf;
    struct cut cut;
    struct eng_object *objects;
    size_t count;
    size_t skipped; /* in a row: what follows is smaller still, but the list may be long */
};

/* A chain whose stream another leaf has open waits for that leaf for a moment. */
static bool
is_hot_elsewhere(const struct choice *choice, uint64_t bp_id)
{
    const struct eng_hot *hot = eng_hot_find(choice->pipeline, bp_id);
    return hot != NULL && (hot->agent != choice->agent || hot->leaf != choice->leaf);
}

static bool
offer(void *ctx, const struct cat_object *row)
{
    struct choice *choice = ctx;
    bool is_split = row->cut_offset > 0;
    if (!is_split && is_hot_elsewhere(choice, row->id)) {
        return true;
    }
    if (is_split && !eng_part_may_have(choice->agent)) {
        return true;
    }
    bool alone = row->offset > 0 || is_split;
    size_t names = row->key.len + row->version.len + row->resume.len + 64;
    switch (cut_offer(&choice->cut, row->rest_bytes, names, alone)) {
    case CUT_TAKE: {
        struct eng_object object;
        eng_store_copy_object(&object, row);
        ENG_PUSH(choice->objects, choice->count, object);
        choice->skipped = 0;
        /* A chain or a part is alone, and so is what fills the batch by itself. */
        return !alone && choice->cut.bytes < choice->cut.target_bytes;
    }
    case CUT_SKIP:
        return ++choice->skipped < LOOK_ON;
    case CUT_ENOUGH:
        return false;
    }
    return false;
}

/* The chain that this leaf has open, if it is still to be had. */
static void
offer_hot(struct choice *choice)
{
    struct eng_pipeline *p = choice->pipeline;
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&choice->agent->hot) {
        const struct eng_hot *hot = PS_CONTAINER(at, struct eng_hot, agent_link);
        struct eng_object object;
        if (choice->count > 0) {
            return;
        }
        if (hot->pipeline != p || hot->leaf != choice->leaf ||
            !eng_store_get_object(choice->engine, p, hot->bp_id, &object)) {
            continue;
        }
        if (object.state == OBJECT_PENDING && object.row.generation == p->row.generation) {
            (void)offer(choice, &object.row);
        }
        eng_store_end_object(&object);
    }
}

static struct cat_range
cut_range(struct choice *choice, struct eng_object *object, struct batch_id batch)
{
    struct engine *engine = choice->engine;
    struct eng_pipeline *p = choice->pipeline;
    eng_hot_forget(p, object->row.id);
    if (object->row.cut_offset > 0) {
        return eng_part_cut(engine, p, object, choice->cut.target_bytes, batch);
    }
    (void)eng_store_move_object(engine, p, object, OBJECT_ON_CUT);
    return (struct cat_range){.bp_id = object->row.id,
                              .from = object->row.offset,
                              .target_bytes = choice->cut.batch_bytes};
}

static struct eng_batch *
freeze(struct choice *choice)
{
    struct engine *engine = choice->engine;
    struct eng_pipeline *p = choice->pipeline;
    struct cat_batch row = {.pipeline_id = p->row.id,
                            .id = {eng_new_id(engine)},
                            .generation = p->row.generation,
                            .spec_rev = p->row.spec_rev,
                            .state = states_batch_name(BATCH_PENDING),
                            .ranges = (uint32_t)choice->count,
                            .bytes = choice->cut.bytes,
                            .first_object = choice->objects[0].row.key,
                            .created_ms = engine->wall_ms};
    struct cat_range *ranges = ps_xcalloc(choice->count, sizeof *ranges);
    for (size_t i = 0; i < choice->count; i++) {
        struct eng_object *object = &choice->objects[i];
        ranges[i] = cut_range(choice, object, row.id);
        row.bytes = ranges[i].part ? ranges[i].target_bytes : row.bytes;
        object->row.has_batch = true;
        object->row.batch = row.id;
        eng_store_save_object(engine, object);
    }
    struct eng_batch *batch = eng_store_add_batch(engine, p, &row, ranges);
    eng_store_insert_batch(engine, batch);
    p->row.batches_open++;
    p->pending++;
    p->row.next_batch_number++;
    p->dirty = true;
    ps_free(ranges);
    return batch;
}

/* ---- the window */
static void
end_objects(struct eng_object **objects, size_t *count, size_t from)
{
    for (size_t i = from; i < *count; i++) {
        eng_store_end_object(&(*objects)[i]);
    }
    ps_free(*objects);
    *objects = NULL;
    *count = 0;
}

void
eng_cut_begin(struct engine *engine, struct eng_window *window)
{
    *window = (struct eng_window){.limit = WINDOW_FIRST / 2};
    engine->window = window;
}

void
eng_cut_end(struct engine *engine)
{
    struct eng_window *window = engine->window;
    end_objects(&window->objects, &window->count, window->next);
    end_objects(&window->cut, &window->cut_count, 0);
    engine->window = NULL;
}

const struct eng_object *
eng_cut_latest(const struct engine *engine, const struct eng_pipeline *p, uint32_t i,
               uint64_t bp_id)
{
    const struct eng_window *window = engine->window;
    if (window == NULL || window->cut_from != p || i >= window->cut_count ||
        window->cut[i].row.id != bp_id) {
        return NULL;
    }
    return &window->cut[i];
}

static bool
look_in(void *ctx, const struct cat_object *row)
{
    struct eng_window *window = ctx;
    eng_store_copy_object(&window->objects[window->count++], row);
    return true;
}

static void
read_window(struct engine *engine, const struct eng_pipeline *p)
{
    struct eng_window *window = engine->window;
    end_objects(&window->objects, &window->count, window->next);
    window->pipeline = p;
    window->next = 0;
    window->limit = window->limit < WINDOW_MOST ? window->limit * 2 : WINDOW_MOST;
    window->objects = ps_xcalloc(window->limit, sizeof *window->objects);
    struct cat_object_page page = eng_page(p, (uint32_t)window->limit);
    ENG_TRY(engine, cat_object_pending, &page, look_in, window);
}

/* The common case by itself: the largest one is new and fills a batch alone. False: it is not so,
 * and all have to be looked at. */
static bool
offer_largest(struct choice *choice)
{
    struct eng_window *window = choice->engine->window;
    /* Pipelines that take turns would each time read anew what the other has left. */
    window->is_off =
        window->is_off || (window->pipeline != NULL && window->pipeline != choice->pipeline);
    if (window->is_off) {
        return false;
    }
    if (window->next == window->count) {
        read_window(choice->engine, choice->pipeline);
    }
    struct eng_object *largest =
        window->next < window->count ? &window->objects[window->next] : NULL;
    window->is_off = largest == NULL || largest->row.offset > 0 || largest->row.cut_offset > 0 ||
                     largest->row.rest_bytes < choice->cut.target_bytes ||
                     is_hot_elsewhere(choice, largest->row.id);
    if (window->is_off) {
        return false;
    }
    size_t names = largest->row.key.len + largest->row.version.len + 64;
    (void)cut_offer(&choice->cut, largest->row.rest_bytes, names, false);
    ENG_PUSH(choice->objects, choice->count, *largest);
    window->next++;
    return true;
}

struct eng_batch *
eng_cut(struct engine *engine, struct eng_pipeline *p, struct eng_agent *agent, uint32_t leaf)
{
    struct choice choice = {.engine = engine, .pipeline = p, .agent = agent, .leaf = leaf};
    cut_init(&choice.cut, p->limits.batch_bytes, p->row.bytes_pending, eng_part_leaves(engine, p));
    offer_hot(&choice);
    if (choice.count == 0 && !offer_largest(&choice)) {
        struct cat_object_page page = eng_page(p, CANDIDATES);
        ENG_TRY(engine, cat_object_pending, &page, offer, &choice);
    }
    struct eng_batch *batch = choice.count > 0 ? freeze(&choice) : NULL;
    struct eng_window *window = engine->window;
    end_objects(&window->cut, &window->cut_count, 0);
    window->cut_from = p;
    window->cut = choice.objects;
    window->cut_count = choice.count;
    return batch;
}
