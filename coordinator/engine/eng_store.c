/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_store.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"
#include "coordinator/engine/eng_drift.h"
#include "coordinator/engine/eng_hot.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_prove.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_staged.h"
#include "coordinator/engine/eng_task.h"

/* ---- pipelines */
struct eng_pipeline *
eng_store_add_pipeline(struct engine *engine, const struct cat_pipeline *row, struct spec *own_spec)
{
    struct eng_pipeline *p = ps_xcalloc(1, sizeof *p);
    ps_list_init(&p->link);
    ps_list_init(&p->batches);
    ps_list_init(&p->idle);
    ps_list_init(&p->hot);
    p->hot_by_bp = ps_map_new();
    p->row = *row;
    p->row.name = ps_xstrdup(row->name);
    p->row.reason = ps_xstrdup(row->reason);
    p->row.failure_class = ps_xstrdup(row->failure_class);
    p->row.spec_json = ps_xstrdup(row->spec_json);
    p->row.table = ps_xstrdup(row->table);
    p->row.format_note = ps_xstrdup(row->format_note);
    p->row.columns = p->row.discover_cursor = p->row.slowest_object = ps_span(NULL, 0);
    p->row.reconcile = p->row.unknown = ps_span(NULL, 0);
    eng_set_span(&p->row.unknown, row->unknown);
    eng_set_span(&p->row.columns, row->columns);
    eng_set_span(&p->row.discover_cursor, row->discover_cursor);
    eng_set_span(&p->row.slowest_object, row->slowest_object);
    eng_set_span(&p->row.reconcile, row->reconcile);
    eng_reconcile_load(p);
    int state = PIPELINE_FAILED;
    if (!states_parse(&states_pipeline, row->state, &state)) {
        log_error("pipeline.damaged", "name=%s state=%s", row->name, row->state);
    }
    p->state = (enum pipeline_state)state;
    p->row.state = states_pipeline_name(p->state);
    eng_store_set_spec(p, own_spec);
    ps_list_push_back(&engine->pipelines, &p->link);
    return p;
}

void
eng_store_set_spec(struct eng_pipeline *p, struct spec *own_spec)
{
    char scheme[32];
    spec_unref(p->spec);
    p->spec = own_spec;
    p->limits = (struct eng_limits){
        .batch_bytes = spec_bytes(own_spec, "limits.batch_bytes"),
        .max_leaves = (uint32_t)spec_int(own_spec, "limits.max_leaves"),
        .max_retries = (uint32_t)spec_int(own_spec, "errors.max_retries"),
        .interval_ms = spec_duration_ms(own_spec, "source.discover.interval"),
        .is_continuous = spec_is(own_spec, "source.discover.mode", "continuous"),
        .stops_on_failure = spec_is(own_spec, "errors.on_failure", "stop"),
        .fails_on_change = spec_is(own_spec, "source.on_change", "fail"),
        .keeps_ledger =
            strcmp(spec_scheme(spec_str(own_spec, "destination.url"), scheme), "null") != 0,
        .tolerance = spec_tolerance(own_spec),
    };
}

/* ---- where a batch that nobody has waits for its grant */
static void
leave_place(struct eng_batch *batch)
{
    ps_list_remove(&batch->idle_link);
    /* In one of the two at most. */
    bool is_tomb = batch->due_is_tomb;
    ps_heap_remove(is_tomb ? &batch->pipeline->tombs : &batch->pipeline->retries, &batch->due);
}

static void
take_place(struct eng_batch *batch)
{
    struct eng_pipeline *p = batch->pipeline;
    leave_place(batch);
    if (batch->holder != NULL) {
        return;
    }
    int64_t until_ms = 0;
    if (eng_staged_reserves(batch, &until_ms)) {
        batch->due_is_tomb = false;
        ps_heap_put(&p->retries, &batch->due,
                    until_ms > batch->retry_mono_ms ? until_ms : batch->retry_mono_ms);
    } else if (batch->state == BATCH_PENDING) {
        ps_list_push_back(&p->idle, &batch->idle_link);
    } else if (batch->state == BATCH_WAITING || batch->state == BATCH_CANCELLING) {
        batch->due_is_tomb = batch->state == BATCH_CANCELLING;
        ps_heap_put(batch->due_is_tomb ? &p->tombs : &p->retries, &batch->due,
                    batch->retry_mono_ms);
    }
}

void
eng_store_set_retry(struct eng_batch *batch, int64_t retry_mono_ms)
{
    batch->retry_mono_ms = retry_mono_ms;
    take_place(batch);
}

static void
free_batch(struct engine *engine, struct eng_batch *batch)
{
    (void)ps_map_take(engine->batches, ps_span(batch->row.id.id.b, PS_ID_BYTES));
    eng_store_unlease(batch);
    eng_staged_forget(batch);
    ps_list_remove(&batch->link);
    ps_list_remove(&batch->unsaved_link);
    leave_place(batch);
    eng_set_text(&batch->row.agent, NULL);
    eng_set_text(&batch->row.killers, NULL);
    eng_set_text(&batch->row.code, NULL);
    eng_set_text(&batch->row.reason, NULL);
    eng_set_span(&batch->row.first_object, ps_span(NULL, 0));
    ps_free(batch->ranges);
    ps_free(batch);
}

void
eng_store_drop_pipeline(struct engine *engine, struct eng_pipeline *p)
{
    eng_task_end_all(engine, p);
    PS_LIST_FOR (at, &p->batches) {
        free_batch(engine, PS_CONTAINER(at, struct eng_batch, link));
    }
    ps_list_remove(&p->link);
    eng_set_text(&p->row.name, NULL);
    eng_set_text(&p->row.reason, NULL);
    eng_set_text(&p->row.failure_class, NULL);
    eng_set_text(&p->row.spec_json, NULL);
    eng_set_text(&p->row.table, NULL);
    eng_set_text(&p->row.format_note, NULL);
    eng_set_span(&p->row.columns, ps_span(NULL, 0));
    eng_set_span(&p->row.discover_cursor, ps_span(NULL, 0));
    eng_set_span(&p->row.slowest_object, ps_span(NULL, 0));
    eng_reconcile_free(p);
    eng_drift_forget(p);
    eng_set_span(&p->row.unknown, ps_span(NULL, 0));
    eng_set_span(&p->row.reconcile, ps_span(NULL, 0));
    spec_unref(p->spec);
    ps_free(p->unseen);
    ps_free(p->to_prove);
    eng_hot_forget_all(p);
    ps_map_free(p->hot_by_bp);
    ps_heap_fini(&p->retries);
    ps_heap_fini(&p->tombs);
    ps_free(p);
}

struct eng_pipeline *
eng_store_find_pipeline(struct engine *engine, const char *name)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        if (strcmp(p->row.name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

void
eng_store_say(struct eng_pipeline *p, const char *reason)
{
    bool same = p->row.reason == NULL ? reason == NULL
                                      : reason != NULL && strcmp(p->row.reason, reason) == 0;
    if (!same) {
        eng_set_text(&p->row.reason, reason);
        p->dirty = true;
    }
}

static bool
is_over(enum pipeline_state state)
{
    return state == PIPELINE_STOPPED || state == PIPELINE_COMPLETED || state == PIPELINE_STALLED ||
           state == PIPELINE_FAILED;
}

bool
eng_store_move_pipeline(struct engine *engine, struct eng_pipeline *p, enum pipeline_event event,
                        const char *reason)
{
    const struct fsm_edge *edge = fsm_find(&states_pipeline, (int)p->state, (int)event);
    if (edge == NULL) {
        return false;
    }
    p->state = (enum pipeline_state)edge->to;
    p->row.state = states_pipeline_name(p->state);
    eng_set_text(&p->row.reason, reason);
    p->row.ended_ms = is_over(p->state) ? engine->wall_ms : 0;
    p->dirty = true;
    if (is_over(p->state) || p->state == PIPELINE_STOPPING) {
        eng_task_end_all(engine, p);
        engine->tell_all = true; /* leases may be to give up */
    }
    char kind[64];
    snprintf(kind, sizeof kind, "pipeline.%s", p->row.state);
    eng_event(engine, p, kind, p->row.name, "%s", reason == NULL ? edge->why : reason);
    log_info(kind, "name=%s why=\"%s\"", p->row.name, reason == NULL ? edge->why : reason);
    return true;
}

void
eng_store_save_pipelines(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        if (p->dirty) {
            p->dirty = false;
            p->row.revision++;
            ENG_TRY(engine, cat_pipeline_save, &p->row);
        }
    }
}

/* ---- batches */
struct eng_batch *
eng_store_find_batch(struct engine *engine, struct ps_span id)
{
    return ps_map_find(engine->batches, id);
}

static bool
is_open(enum batch_state state)
{
    return state == BATCH_PENDING || state == BATCH_LEASED || state == BATCH_WAITING ||
           state == BATCH_CANCELLING;
}

/* The counters that follow from a batch's state. */
static void
count_batch(const struct eng_batch *batch, enum batch_state state, int by)
{
    struct eng_pipeline *p = batch->pipeline;
    uint64_t step = (uint64_t)(int64_t)by;
    p->row.batches_open += is_open(state) ? step : 0;
    p->row.batches_quarantined += state == BATCH_QUARANTINED ? step : 0;
    /* One of an older generation is settled, and does not count as history of this one. */
    bool is_current = batch->row.generation == p->row.generation;
    p->row.batches_loaded += state == BATCH_LOADED && is_current ? step : 0;
    p->pending += state == BATCH_PENDING ? (uint32_t)by : 0;
    p->waiting += state == BATCH_WAITING ? (uint32_t)by : 0;
    p->cancelling += state == BATCH_CANCELLING ? (uint32_t)by : 0;
    p->dirty = true;
}

struct eng_batch *
eng_store_add_batch(struct engine *engine, struct eng_pipeline *p, const struct cat_batch *row,
                    const struct cat_range *ranges)
{
    struct eng_batch *batch = ps_xcalloc(1, sizeof *batch);
    ps_list_init(&batch->link);
    ps_list_init(&batch->lease_link);
    ps_list_init(&batch->until_link);
    ps_list_init(&batch->idle_link);
    ps_list_init(&batch->unsaved_link);
    ps_list_init(&batch->staged_link);
    ps_heap_node_init(&batch->due);
    batch->pipeline = p;
    batch->row = *row;
    batch->row.agent = ps_xstrdup(row->agent);
    batch->row.killers = ps_xstrdup(row->killers);
    batch->row.code = ps_xstrdup(row->code);
    batch->row.reason = ps_xstrdup(row->reason);
    batch->row.first_object = ps_span(NULL, 0);
    eng_set_span(&batch->row.first_object, row->first_object);
    batch->ranges = ps_xcalloc(row->ranges == 0 ? 1 : row->ranges, sizeof *batch->ranges);
    memcpy(batch->ranges, ranges, row->ranges * sizeof *ranges);
    int state = BATCH_QUARANTINED;
    if (!states_parse(&states_batch, row->state, &state)) {
        log_error("batch.damaged", "state=%s", row->state);
    }
    batch->state = (enum batch_state)state;
    batch->row.state = states_batch_name(batch->state);
    ps_list_push_back(&p->batches, &batch->link);
    (void)ps_map_put(engine->batches, ps_span(batch->row.id.id.b, PS_ID_BYTES), batch);
    take_place(batch);
    return batch;
}

void
eng_store_save_batch(struct engine *engine, struct eng_batch *batch)
{
    if (ps_list_empty(&batch->unsaved_link)) {
        ps_list_push_back(&engine->unsaved, &batch->unsaved_link);
    }
}

void
eng_store_insert_batch(struct engine *engine, struct eng_batch *batch)
{
    batch->is_new = true;
    eng_store_save_batch(engine, batch);
}

static void
write_batch(struct engine *engine, struct eng_batch *batch)
{
    ps_list_remove(&batch->unsaved_link);
    if (batch->is_new) {
        batch->is_new = false;
        ENG_TRY(engine, cat_batch_insert, &batch->row, batch->ranges);
    } else {
        ENG_TRY(engine, cat_batch_save, &batch->row);
    }
}

void
eng_store_save_batches(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->unsaved) {
        write_batch(engine, PS_CONTAINER(at, struct eng_batch, unsaved_link));
    }
}

static void
remember_settled(struct engine *engine, const struct eng_batch *batch)
{
    struct eng_settled *slot = &engine->settled[engine->settled_next++ % ENG_SETTLED_KEPT];
    struct ps_span old = ps_span(slot->batch.id.b, PS_ID_BYTES);
    if (ps_map_find(engine->settled_by_id, old) == slot) {
        (void)ps_map_take(engine->settled_by_id, old);
    }
    *slot = (struct eng_settled){.batch = batch->row.id, .epoch = batch->row.epoch};
    (void)ps_map_put(engine->settled_by_id, ps_span(slot->batch.id.b, PS_ID_BYTES), slot);
}

bool
eng_store_move_batch(struct engine *engine, struct eng_batch **slot, enum batch_event event)
{
    struct eng_batch *batch = *slot;
    const struct fsm_edge *edge = fsm_find(&states_batch, (int)batch->state, (int)event);
    if (edge == NULL) {
        return false;
    }
    struct eng_pipeline *p = batch->pipeline;
    count_batch(batch, batch->state, -1);
    batch->state = (enum batch_state)edge->to;
    batch->row.state = states_batch_name(batch->state);
    count_batch(batch, batch->state, 1);
    if (batch->state != BATCH_LEASED) {
        eng_store_unlease(batch);
    }
    take_place(batch);
    bool final = batch->state == BATCH_LOADED || batch->state == BATCH_CANCELLED;
    if (final) {
        batch->row.ended_ms = engine->wall_ms;
    }
    eng_store_save_batch(engine, batch);
    char kind[64];
    char id[PS_ID_TEXT_BYTES];
    snprintf(kind, sizeof kind, "batch.%s", batch->row.state);
    eng_event(engine, p, kind, ps_id_text(batch->row.id.id, id), "%s: epoch %llu, %s/%u%s%s",
              edge->why, (unsigned long long)batch->row.epoch,
              batch->row.agent == NULL ? "-" : batch->row.agent, batch->row.leaf,
              batch->row.reason == NULL ? "" : ": ",
              batch->row.reason == NULL ? "" : batch->row.reason);
    if (final) {
        remember_settled(engine, batch);
        eng_staged_settled(batch);
        write_batch(engine, batch); /* whoever asks for it again asks the catalog */
        free_batch(engine, batch);
        *slot = NULL;
    }
    return true;
}

/* ---- leases */
static struct eng_place *
find_place(const struct eng_agent *agent, const struct eng_pipeline *p, uint32_t leaf)
{
    for (size_t i = 0; i < agent->place_count; i++) {
        if (agent->places[i].leaf == leaf && agent->places[i].pipeline == p) {
            return &agent->places[i];
        }
    }
    return NULL;
}

bool
eng_store_leaf_has(const struct eng_agent *agent, uint32_t leaf, const struct eng_pipeline *p)
{
    return find_place(agent, p, leaf) != NULL;
}

static void
enter_leaf(struct eng_agent *agent, struct eng_pipeline *p, uint32_t leaf)
{
    struct eng_place *place = find_place(agent, p, leaf);
    if (place == NULL) {
        struct eng_place fresh = {.pipeline = p, .leaf = leaf};
        ENG_PUSH(agent->places, agent->place_count, fresh);
        place = &agent->places[agent->place_count - 1];
        p->at_work++;
    }
    place->leases++;
    p->leased++;
}

static void
leave_leaf(struct eng_agent *agent, struct eng_pipeline *p, uint32_t leaf)
{
    struct eng_place *place = find_place(agent, p, leaf);
    PS_ASSERT(place != NULL && p->leased > 0);
    p->leased--;
    if (--place->leases == 0) {
        *place = agent->places[--agent->place_count];
        p->at_work--;
    }
}

void
eng_store_renew(struct engine *engine, struct eng_batch *batch)
{
    batch->lease_until_ms = engine->now_ms + engine->config.lease_ms;
    /* All last equally long: the newest ends last. */
    ps_list_remove(&batch->until_link);
    ps_list_push_back(&engine->leases, &batch->until_link);
}

void
eng_store_lease(struct engine *engine, struct eng_batch *batch, struct eng_agent *agent,
                uint32_t leaf)
{
    eng_store_unlease(batch);
    batch->holder = agent;
    batch->row.leased = true;
    batch->row.leaf = leaf;
    batch->row.incarnation = agent->incarnation;
    eng_set_text(&batch->row.agent, agent->name);
    batch->listed_seq = agent->sync_seq;
    batch->resend = false;
    ps_list_push_back(&agent->leases, &batch->lease_link);
    eng_store_renew(engine, batch);
    enter_leaf(agent, batch->pipeline, leaf);
    eng_staged_leased(batch);
    take_place(batch);
    eng_prove_forget(batch);
}

void
eng_store_unlease(struct eng_batch *batch)
{
    if (batch->holder != NULL) {
        leave_leaf(batch->holder, batch->pipeline, batch->row.leaf);
        ps_list_remove(&batch->lease_link);
        ps_list_remove(&batch->until_link);
        batch->holder = NULL;
        take_place(batch);
    }
    batch->row.leased = false;
    batch->resend = false;
}

struct settled {
    bool found;
    uint64_t epoch;
};

static bool
take_settled(void *ctx, const struct cat_batch *row)
{
    *(struct settled *)ctx = (struct settled){.found = true, .epoch = row->epoch};
    return false;
}

bool
eng_store_find_settled(struct engine *engine, struct ps_span id, uint64_t *out_epoch)
{
    struct batch_id batch;
    if (!ps_id_from_span(id, &batch.id)) {
        return false;
    }
    const struct eng_settled *known = ps_map_find(engine->settled_by_id, id);
    if (known != NULL) {
        *out_epoch = known->epoch;
        return true;
    }
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        struct settled settled = {0};
        ENG_TRY(engine, cat_batch_get, p->row.id, batch, take_settled, &settled);
        if (settled.found) {
            *out_epoch = settled.epoch;
            return true;
        }
    }
    return false;
}
