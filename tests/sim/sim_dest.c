/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "tests/sim/sim.h"

void
sim_dest_init(struct sim *sim)
{
    const struct sim_plan *plan = &sim->plan;
    sim->objects = ps_xcalloc(plan->objects, sizeof *sim->objects);
    for (uint32_t i = 0; i < plan->objects; i++) {
        struct sim_object *object = &sim->objects[i];
        snprintf(object->key, sizeof object->key, "data/%06u.csv", i);
        object->record_bytes = 1 + sim_below(sim, 100);
        object->size = sim_percent(sim, 10) ? 0 : sim_below(sim, plan->most_bytes);
        if (plan->object_bytes > 0) {
            object->size = plan->object_bytes;
        }
        object->compressed = sim_percent(sim, 30);
        object->bad = plan->bad_objects && sim_percent(sim, 10);
        ps_list_init(&object->ranges);
        if (plan->splits) {
            object->splittable = !object->compressed && sim_percent(sim, 80);
            object->exact = sim_percent(sim, 20);
            object->record_bytes =
                sim_percent(sim, 20) ? 1 + sim_below(sim, 3000) : object->record_bytes;
            object->bad_from = sim_percent(sim, 50) ? sim_below(sim, object->size + 1) : 0;
        }
    }
    sim->dest.ledger = ps_map_new();
    ps_list_init(&sim->dest.loaded);
}

static void
free_entry(struct sim_entry *entry)
{
    for (size_t i = 0; i < entry->end_count; i++) {
        msg_free(&entry->ends[i]->base);
    }
    ps_free(entry->ends);
    ps_free(entry->counts);
    ps_free(entry);
}

void
sim_dest_fini(struct sim *sim)
{
    size_t cursor = 0;
    struct ps_span key;
    void *value = NULL;
    while (ps_map_next(sim->dest.ledger, &cursor, &key, &value)) {
        free_entry(value);
    }
    ps_map_free(sim->dest.ledger);
    PS_LIST_FOR (at, &sim->dest.loaded) {
        ps_free(PS_CONTAINER(at, struct sim_loaded, link));
    }
    ps_free(sim->objects);
}

uint32_t
sim_dest_object(const struct sim *sim, ProtobufCBinaryData key)
{
    char text[32];
    unsigned index = 0;
    snprintf(text, sizeof text, "%.*s", (int)key.len, (const char *)key.data);
    if (sscanf(text, "data/%6u.csv", &index) != 1 || index >= sim->plan.objects) {
        fprintf(stderr, "no such object: %s\n", text);
        abort();
    }
    return index;
}

uint64_t
sim_dest_boundary(const struct sim_object *object, uint64_t at)
{
    uint64_t records = (at + object->record_bytes - 1) / object->record_bytes;
    uint64_t end = records * object->record_bytes;
    return end >= object->size ? object->size : end;
}

/* What the range's row in the ledger will be: [from, end); of a cut in which no record begins,
 * nothing at the cut. */
static void
row_of(const struct sim_object *object, const Penstock__Range *range, uint64_t cut_start,
       struct sim_loaded *out)
{
    uint64_t to = range->from + range->target_bytes;
    out->from = range->cut ? cut_start : range->from;
    out->end = sim_dest_boundary(object, to);
    out->eof = out->end == object->size;
    if (range->cut && (cut_start >= to || cut_start == object->size)) {
        out->from = out->end = range->from;
        out->eof = out->eof && to >= object->size;
    }
}

static bool
lies_over(const struct sim_loaded *a, const struct sim_loaded *b)
{
    bool any = a->end > a->from && b->end > b->from;
    return any && a->from < b->end && b->from < a->end;
}

/* No two rows begin at one place, and none lies over another. */
static bool
conflicts(const struct sim_object *object, const struct sim_loaded *row)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&object->ranges) {
        const struct sim_loaded *other = PS_CONTAINER(at, struct sim_loaded, object_link);
        if (other->from == row->from || lies_over(row, other)) {
            return true;
        }
    }
    return false;
}

static void
check_once(struct sim *sim, const struct sim_object *object, const struct sim_loaded *row)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&object->ranges) {
        /* No record is loaded twice. */
        SIM_CHECK(sim, !lies_over(row, PS_CONTAINER(at, struct sim_loaded, object_link)));
    }
}

static void
advance(struct sim_object *object)
{
    bool moved = true;
    while (moved) {
        moved = false;
        PS_LIST_FOR (at, &object->ranges) {
            const struct sim_loaded *row = PS_CONTAINER(at, struct sim_loaded, object_link);
            if (row->from == object->loaded_to && row->end > row->from) {
                object->loaded_to = row->end;
                moved = true;
            }
        }
    }
}

static void
load(struct sim *sim, struct sim_entry *entry, const Penstock__Batch *batch, uint64_t cut_start)
{
    entry->counts = ps_xalloc(sizeof *entry->counts);
    *entry->counts = (Penstock__Counts)PENSTOCK__COUNTS__INIT;
    entry->ends = ps_xcalloc(batch->n_ranges + 1, sizeof(Penstock__RangeEnd *));
    for (size_t i = 0; i < batch->n_ranges; i++) {
        const Penstock__Range *range = batch->ranges[i];
        struct sim_loaded *loaded = ps_xcalloc(1, sizeof *loaded);
        loaded->object = sim_dest_object(sim, range->key);
        struct sim_object *object = &sim->objects[loaded->object];
        /* One open batch an object: its ranges are committed in their order. */
        SIM_CHECK(sim, object->splittable ||
                           (range->from == object->loaded_to && !object->whole && !range->cut));
        row_of(object, range, cut_start, loaded);
        /* No record is torn. */
        SIM_CHECK(sim, loaded->from == loaded->end ||
                           loaded->from == sim_dest_boundary(object, loaded->from));
        check_once(sim, object, loaded);
        ps_list_push_back(&object->ranges, &loaded->object_link);
        advance(object);
        sim_note(sim, "loaded: object %u from %llu target %llu cut %d: [%llu, %llu)",
                 loaded->object, (unsigned long long)range->from,
                 (unsigned long long)range->target_bytes, (int)range->cut,
                 (unsigned long long)loaded->from, (unsigned long long)loaded->end);
        object->whole = object->whole || loaded->eof;
        sim->cuts += range->cut ? 1 : 0;
        memcpy(loaded->batch.id.b, batch->batch_id.data, PS_ID_BYTES);
        ps_list_push_back(&sim->dest.loaded, &loaded->link);
        Penstock__RangeEnd *end = ps_xalloc(sizeof *end);
        *end = (Penstock__RangeEnd)PENSTOCK__RANGE_END__INIT;
        end->bp_id = range->bp_id;
        end->bp_hash.len = PS_ID_BYTES;
        end->bp_hash.data = ps_xalloc(PS_ID_BYTES);
        memcpy(end->bp_hash.data, range->bp_hash.data, PS_ID_BYTES);
        end->from = range->from;
        end->has_start = range->cut;
        end->start = loaded->from;
        end->has_splittable = true;
        end->splittable = object->splittable && !loaded->eof;
        end->end = loaded->end;
        end->eof = loaded->eof;
        end->has_records = true;
        end->records =
            (loaded->end - loaded->from + object->record_bytes - 1) / object->record_bytes;
        entry->ends[entry->end_count++] = end;
        entry->counts->has_decoded = entry->counts->has_inserted = true;
        entry->counts->decoded += end->records;
        entry->counts->inserted += end->records;
    }
}

enum sim_outcome
sim_dest_commit(struct sim *sim, const Penstock__Grant *grant, uint64_t cut_start,
                struct sim_entry **out)
{
    struct sim_dest *dest = &sim->dest;
    const Penstock__Batch *batch = grant->batch;
    struct ps_span id = ps_span(batch->batch_id.data, batch->batch_id.len);
    *out = NULL;
    SIM_CHECK(sim, ps_map_find(sim->epochs, id) != NULL); /* no phantom: it was granted */
    struct sim_entry *there = ps_map_find(dest->ledger, id);
    if (there != NULL) {
        dest->refused_twins++;
        *out = there;
        return there->tombstone ? SIM_CANCELLED : SIM_ALREADY;
    }
    if (!grant->tombstone) {
        if (!dest->has_fence || batch->generation != dest->generation ||
            memcmp(dest->uuid.id.b, batch->pipeline_uuid.data, PS_ID_BYTES) != 0) {
            return SIM_FENCED;
        }
        for (size_t i = 0; i < batch->n_ranges; i++) {
            const Penstock__Range *range = batch->ranges[i];
            const struct sim_object *object = &sim->objects[sim_dest_object(sim, range->key)];
            struct sim_loaded row = {0};
            row_of(object, range, cut_start, &row);
            if (conflicts(object, &row)) {
                sim_note(sim, "conflict: object %u from %llu target %llu cut %d: [%llu, %llu)",
                         sim_dest_object(sim, range->key), (unsigned long long)range->from,
                         (unsigned long long)range->target_bytes, (int)range->cut,
                         (unsigned long long)row.from, (unsigned long long)row.end);
                dest->conflicts++;
                return SIM_CONFLICT;
            }
        }
    }
    struct sim_entry *entry = ps_xcalloc(1, sizeof *entry);
    entry->tombstone = grant->tombstone;
    entry->generation = batch->generation;
    if (!grant->tombstone) {
        load(sim, entry, batch, cut_start);
    }
    (void)ps_map_put(dest->ledger, id, entry);
    dest->commits++;
    *out = entry;
    return grant->tombstone ? SIM_CANCELLED : SIM_LOADED;
}

struct sim_total
sim_dest_total(const struct sim *sim)
{
    struct sim_total total = {0};
    size_t cursor = 0;
    struct ps_span key;
    void *value = NULL;
    while (ps_map_next(sim->dest.ledger, &cursor, &key, &value)) {
        const struct sim_entry *entry = value;
        if (!entry->tombstone && entry->generation == sim->dest.generation) {
            total.batches++;
            total.records += entry->counts->decoded;
        }
    }
    return total;
}

/* A bump is complete only when each batch of an older generation is loaded or a tombstone. */
static void
check_older(struct sim *sim, uint64_t generation)
{
    size_t cursor = 0;
    struct ps_span key;
    void *value = NULL;
    while (ps_map_next(sim->epochs, &cursor, &key, &value)) {
        const struct sim_lease *lease = value;
        SIM_CHECK(sim,
                  lease->generation >= generation || ps_map_find(sim->dest.ledger, key) != NULL);
    }
}

void
sim_dest_raise(struct sim *sim, uint64_t generation)
{
    if (!sim_forgets(sim)) { /* what it forgot it cannot have settled: the fence keeps it out */
        check_older(sim, generation);
    }
    SIM_CHECK(sim, generation > sim->dest.generation);
    sim->dest.generation = generation;
    PS_LIST_FOR (at, &sim->dest.loaded) {
        struct sim_loaded *loaded = PS_CONTAINER(at, struct sim_loaded, link);
        ps_list_remove(&loaded->object_link);
        ps_list_remove(&loaded->link);
        ps_free(loaded);
    }
    for (uint32_t i = 0; i < sim->plan.objects; i++) {
        sim->objects[i].loaded_to = 0;
        sim->objects[i].whole = false;
    }
}

void
sim_dest_check_whole(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.objects; i++) {
        const struct sim_object *object = &sim->objects[i];
        /* Of a bad one a zombie may have loaded some. */
        SIM_CHECK(sim, object->bad || (object->loaded_to == object->size && object->whole));
    }
}
