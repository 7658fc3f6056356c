/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold (design 3.7), as far as catalog and destination show it. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/catalog/catalog_internal.h"
#include "tests/sim/sim.h"

/* ---- what must hold at any moment */
static bool
look_at_object(void *ctx, const struct cat_object *row)
{
    struct sim *sim = ctx;
    ProtobufCBinaryData key = {.len = row->key.len, .data = (uint8_t *)(uintptr_t)row->key.ptr};
    uint32_t index = sim_dest_object(sim, key);
    uint64_t *seen = ps_map_find(sim->offsets, row->key);
    if (seen == NULL) {
        seen = ps_xcalloc(1, sizeof *seen);
        (void)ps_map_put(sim->offsets, row->key, seen);
    }
    SIM_CHECK(sim, row->offset >= *seen || sim->plan.state_deleted); /* never back */
    *seen = row->offset;
    /* The offset moves only with its rows; an old copy may not know yet which those are. */
    SIM_CHECK(sim, row->offset <= sim->objects[index].loaded_to ||
                       row->generation != sim->dest.generation);
    return true;
}

/* ---- the parts of an object leave no gap */
struct cover {
    struct sim *sim;
    const struct sim_object *object;
    uint64_t to;
    bool after_open; /* where an open part ends may be known from the ledger */
};

static bool
look_at_part(void *ctx, const struct cat_part *row)
{
    struct cover *cover = ctx;
    uint64_t to = row->from + row->target_bytes;
    bool is_open = strcmp(row->state, "open") == 0;
    /* Between a loaded part and a range of the ledger lies nothing where a record begins. */
    SIM_CHECK(cover->sim, row->from <= cover->to || cover->after_open ||
                              sim_dest_boundary(cover->object, cover->to) >= row->from);
    SIM_CHECK(cover->sim, is_open == (row->has_batch && row->end == 0));
    to = row->end > to ? row->end : to;
    cover->to = to > cover->to ? to : cover->to;
    cover->after_open = is_open;
    return true;
}

static bool
look_at_parts(void *ctx, const struct cat_object *row)
{
    ProtobufCBinaryData key = {.len = row->key.len, .data = (uint8_t *)(uintptr_t)row->key.ptr};
    struct sim *sim = ctx;
    struct cover cover = {
        .sim = sim, .object = &sim->objects[sim_dest_object(sim, key)], .to = row->offset};
    struct ps_error err = {0};
    SIM_CHECK(cover.sim, cat_part_all(cover.sim->catalog, row->pipeline_id, row->id, look_at_part,
                                      &cover, &err) == PS_OK);
    SIM_CHECK(cover.sim, row->cut_offset <= cover.to || cover.after_open);
    return true;
}

struct recount {
    uint64_t objects, done, pending, quarantined, bytes_pending;
};

static bool
count_object(void *ctx, const struct cat_object *row)
{
    struct recount *count = ctx;
    count->objects++;
    count->done += strcmp(row->state, "done") == 0;
    count->pending += strcmp(row->state, "pending") == 0;
    count->bytes_pending += strcmp(row->state, "pending") == 0 ? row->rest_bytes : 0;
    count->quarantined += strcmp(row->state, "quarantined") == 0;
    return true;
}

static bool
check_counters(void *ctx, const struct cat_pipeline *row)
{
    struct sim *sim = ctx;
    struct recount count = {0};
    if (row->generation != sim->offsets_of) {
        sim_fault_forget_seen(sim->offsets);
        sim->offsets_of = row->generation;
    }
    struct cat_object_page all = {
        .pipeline_id = row->id, .generation = row->generation, .limit = UINT32_MAX};
    struct ps_error err = {0};
    SIM_CHECK(sim, cat_object_first(sim->catalog, &all, count_object, &count, &err) == PS_OK);
    SIM_CHECK(sim, count.objects == row->objects);
    SIM_CHECK(sim, count.done == row->objects_done);
    SIM_CHECK(sim, count.pending == row->objects_pending);
    SIM_CHECK(sim, count.quarantined == row->objects_quarantined);
    SIM_CHECK(sim, count.bytes_pending == row->bytes_pending);
    SIM_CHECK(sim, cat_object_first(sim->catalog, &all, look_at_object, sim, &err) == PS_OK);
    if (sim->plan.splits) {
        SIM_CHECK(sim, cat_object_first(sim->catalog, &all, look_at_parts, sim, &err) == PS_OK);
    }
    return true;
}

/* A cancelled batch has no row, ever after; a loaded one has its row. */
static void
check_cancelled(struct sim *sim)
{
    sqlite3_stmt *stmt = NULL;
    struct ps_error err = {0};
    bool row = false;
    SIM_CHECK(sim, sql_prepare(sim->catalog->db,
                               "SELECT id, state, epoch FROM batch WHERE state IN "
                               "('cancelled', 'loaded')",
                               &stmt, &err) == PS_OK);
    while (sql_step(stmt, &row, &err) == PS_OK && row) {
        const struct sim_entry *entry = ps_map_find(sim->dest.ledger, sql_column_span(stmt, 0));
        bool loaded = strcmp(sql_column_text(stmt, 1), "loaded") == 0;
        bool granted = sql_column_int(stmt, 2) > 0; /* else nobody can have it */
        SIM_CHECK(sim, loaded          ? entry != NULL && !entry->tombstone
                       : entry == NULL ? !granted
                                       : entry->tombstone);
    }
    sql_finalize(stmt);
}

void
sim_check_now(struct sim *sim)
{
    struct ps_error err = {0};
    SIM_CHECK(sim, cat_pipeline_all(sim->catalog, check_counters, sim, &err) == PS_OK);
    check_cancelled(sim);
}

static bool
take_reconciled(void *ctx, const struct cat_pipeline *row)
{
    *(bool *)ctx = row->reconciled;
    return true;
}

bool
sim_check_is_reconciled(struct sim *sim)
{
    struct ps_error err = {0};
    bool reconciled = true;
    SIM_CHECK(sim, cat_pipeline_all(sim->catalog, take_reconciled, &reconciled, &err) == PS_OK);
    return reconciled;
}

/* ---- what must hold at the end */
static bool
take_known(void *ctx, const struct cat_batch *row)
{
    (void)row;
    *(bool *)ctx = true;
    return false;
}

/* A batch of a lost history in which no record begins conflicts with nobody: it may be committed
 * after the ledger was last read, and only the next reading counts it. */
static uint64_t
count_unheard(struct sim *sim, uint64_t pipeline_id)
{
    uint64_t count = 0;
    size_t cursor = 0;
    struct ps_span key;
    void *value = NULL;
    while (sim_forgets(sim) && ps_map_next(sim->dest.ledger, &cursor, &key, &value)) {
        const struct sim_entry *entry = value;
        struct ps_error err = {0};
        struct batch_id id;
        bool known = false;
        if (entry->tombstone || entry->generation != sim->dest.generation ||
            entry->counts->decoded > 0) {
            continue;
        }
        SIM_CHECK(sim, ps_id_from_span(key, &id.id));
        SIM_CHECK(sim,
                  cat_batch_get(sim->catalog, pipeline_id, id, take_known, &known, &err) == PS_OK);
        count += known ? 0 : 1;
    }
    return count;
}

static bool
check_counts(void *ctx, const struct cat_pipeline *row)
{
    struct sim *sim = ctx;
    struct sim_total total = sim_dest_total(sim);
    SIM_CHECK(sim, row->counts.decoded == total.records);
    SIM_CHECK(sim, row->counts.inserted == total.records);
    SIM_CHECK(sim, row->batches_loaded <= total.batches);
    SIM_CHECK(sim, row->batches_loaded + count_unheard(sim, row->id) >= total.batches);
    return true;
}

bool
sim_check_has_bad(const struct sim *sim)
{
    bool bad = false;
    for (uint32_t i = 0; i < sim->plan.objects; i++) {
        bad = bad || sim->objects[i].bad;
    }
    return bad;
}

void
sim_check_end(struct sim *sim)
{
    bool bad = sim_check_has_bad(sim);
    bool completed = strcmp(sim->state, "completed") == 0;
    struct ps_error err = {0};
    sim_check_now(sim);
    SIM_CHECK(sim, completed || (bad && strcmp(sim->state, "stalled") == 0));
    if (!bad || strcmp(sim->plan.on_failure, "skip") == 0) {
        sim_dest_check_whole(sim);
    }
    SIM_CHECK(sim, sim_forgets(sim) || sim->dest.conflicts == 0);
    if (completed) { /* a zombie may load what is quarantined */
        SIM_CHECK(sim, cat_pipeline_all(sim->catalog, check_counts, sim, &err) == PS_OK);
    }
}
