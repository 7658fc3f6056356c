/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_task.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"

enum { PAGE_OBJECTS = 7, PAGE_MOST_OBJECTS = 1000, CHUNK_RANGES = 5 };

static const Penstock__Task *
task_of(const struct sim_work *work)
{
    return work->task->task;
}

static bool
is_discovery(const struct sim_work *work)
{
    return task_of(work)->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER;
}

void
sim_task_begin(struct sim_work *work)
{
    const Penstock__Task *task = task_of(work);
    if (is_discovery(work) && task->has_cursor) {
        char text[16];
        snprintf(text, sizeof text, "%.*s", (int)task->cursor.len, (const char *)task->cursor.data);
        work->page = (uint32_t)strtoul(text, NULL, 10);
    }
}

static uint32_t
page_objects(const struct sim *sim)
{
    return sim->plan.is_large ? PAGE_MOST_OBJECTS : PAGE_OBJECTS;
}

void
sim_task_next(const struct sim *sim, struct sim_work *work)
{
    work->page += is_discovery(work) ? page_objects(sim) : 1;
    work->after = work->next;
    work->after_from = work->next_from;
}

static void
report_page(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work)
{
    uint32_t most = page_objects(sim);
    Penstock__ObjectRef *refs = ps_xcalloc(most, sizeof *refs);
    Penstock__ObjectRef **refs_at = ps_xcalloc(most, sizeof(Penstock__ObjectRef *));
    Penstock__LeafDiscovered page = PENSTOCK__LEAF_DISCOVERED__INIT;
    char cursor[16];
    uint32_t first = work->page;
    for (; page.n_objects < most && first + page.n_objects < sim->plan.objects; page.n_objects++) {
        const struct sim_object *object = &sim->objects[first + page.n_objects];
        Penstock__ObjectRef *ref = refs_at[page.n_objects] = &refs[page.n_objects];
        *ref = (Penstock__ObjectRef)PENSTOCK__OBJECT_REF__INIT;
        ref->key = proto_bytes(object->key, strlen(object->key));
        ref->version = proto_bytes("v1", 2);
        ref->has_size_bytes = ref->has_compressed = true;
        ref->size_bytes = object->compressed ? object->size / 3 : object->size;
        ref->compressed = object->compressed;
    }
    page.objects = refs_at;
    page.task_id = task_of(work)->task_id;
    page.epoch = task_of(work)->epoch;
    snprintf(cursor, sizeof cursor, "%u", first + (unsigned)page.n_objects);
    page.cursor = proto_bytes(cursor, strlen(cursor));
    page.last = work->last = first + page.n_objects >= sim->plan.objects;
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_DISCOVERED, &page.base);
    ps_free(refs);
    ps_free(refs_at);
}

struct result {
    Penstock__LeafTaskResult outer;
    Penstock__TaskResult inner;
    Penstock__Origin nobody;
    Penstock__Stamp none;
};

static Penstock__TaskResult *
result_init(struct result *result, const struct sim_work *work)
{
    penstock__leaf_task_result__init(&result->outer);
    penstock__task_result__init(&result->inner);
    penstock__origin__init(&result->nobody);
    penstock__stamp__init(&result->none);
    result->outer.result = &result->inner;
    result->inner.origin = &result->nobody;
    result->nobody.agent = (char *)(uintptr_t) "";
    result->nobody.seen = &result->none;
    result->inner.task_id = task_of(work)->task_id;
    result->inner.epoch = task_of(work)->epoch;
    return &result->inner;
}

/* ---- the ledger's ranges, in the order of (batch partition, from) as a destination's key has them
 */
struct sorted {
    struct bp_hash hash;
    const struct sim_loaded *loaded;
};

static int
compare_at(const struct bp_hash *hash, uint64_t from, const struct bp_hash *other,
           uint64_t other_from)
{
    int by_hash = memcmp(hash->id.b, other->id.b, PS_ID_BYTES);
    return by_hash != 0 ? by_hash : from < other_from ? -1 : from > other_from;
}

static int
compare(const void *a, const void *b)
{
    const struct sorted *one = a;
    const struct sorted *other = b;
    return compare_at(&one->hash, one->loaded->from, &other->hash, other->loaded->from);
}

static struct sorted *
sort_ranges(const struct sim *sim, size_t *out_count)
{
    struct sorted *all = NULL;
    *out_count = 0;
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&sim->dest.loaded) {
        const struct sim_loaded *loaded = PS_CONTAINER(at, struct sim_loaded, link);
        all = ps_xrealloc(all, (*out_count + 1) * sizeof *all);
        const char *key = sim->objects[loaded->object].key;
        all[(*out_count)++] = (struct sorted){
            .hash = ps_bp_hash(ps_span_str(key), ps_span_str("v1")), .loaded = loaded};
    }
    if (*out_count > 0) {
        qsort(all, *out_count, sizeof *all, compare);
    }
    return all;
}

/* A chunk of them behind the cursor: what is committed meanwhile is in it or not, as it lies. */
static void
fill_ranges(struct sim *sim, struct sim_work *work, Penstock__TaskResult *result,
            Penstock__LedgerRange *ranges)
{
    size_t count = 0;
    struct sorted *all = sort_ranges(sim, &count);
    size_t at = 0;
    while (work->page > 0 && at < count &&
           compare_at(&all[at].hash, all[at].loaded->from, &work->after, work->after_from) <= 0) {
        at++;
    }
    for (; at < count && result->n_ranges < CHUNK_RANGES; at++) {
        const struct sim_loaded *loaded = all[at].loaded;
        const struct sim_object *object = &sim->objects[loaded->object];
        Penstock__LedgerRange *range = &ranges[result->n_ranges];
        *range = (Penstock__LedgerRange)PENSTOCK__LEDGER_RANGE__INIT;
        range->bp_hash.len = PS_ID_BYTES;
        range->bp_hash.data = ps_xalloc(PS_ID_BYTES);
        memcpy(range->bp_hash.data, all[at].hash.id.b, PS_ID_BYTES);
        range->key = proto_bytes(object->key, strlen(object->key));
        range->from = loaded->from;
        range->end = loaded->end;
        range->eof = loaded->eof;
        range->has_records = true;
        range->records =
            (loaded->end - loaded->from + object->record_bytes - 1) / object->record_bytes;
        range->batch_id = proto_bytes(loaded->batch.id.b, PS_ID_BYTES);
        result->ranges[result->n_ranges++] = range;
        work->next = all[at].hash;
        work->next_from = loaded->from;
    }
    result->last = work->last = at == count;
    ps_free(all);
}

struct dest_message {
    Penstock__DestState state;
    Penstock__Counts totals;
};

static void
fill_dest(const struct sim *sim, struct dest_message *out)
{
    struct sim_total total = sim_dest_total(sim);
    penstock__dest_state__init(&out->state);
    penstock__counts__init(&out->totals);
    out->state.has_pipeline_uuid = sim->dest.has_fence;
    out->state.pipeline_uuid = proto_bytes((uint8_t *)(uintptr_t)sim->dest.uuid.id.b, PS_ID_BYTES);
    out->state.has_generation = sim->dest.has_fence;
    out->state.generation = sim->dest.generation;
    out->state.has_batches = true;
    out->state.batches = total.batches;
    out->state.totals = &out->totals;
    out->totals.has_decoded = out->totals.has_inserted = true;
    out->totals.decoded = out->totals.inserted = total.records;
}

static void
report_reconcile(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                 struct sim_work *work)
{
    struct result whole;
    Penstock__TaskResult *result = result_init(&whole, work);
    struct dest_message begin;
    struct dest_message end;
    Penstock__LedgerRange ranges[CHUNK_RANGES];
    Penstock__LedgerRange *ranges_at[CHUNK_RANGES];
    result->chunk = work->page;
    result->ok = true;
    result->ranges = ranges_at;
    fill_ranges(sim, work, result, ranges);
    if (work->page == 0) {
        fill_dest(sim, &begin);
        result->dest = &begin.state;
    }
    if (result->last) {
        fill_dest(sim, &end);
        result->dest_end = &end.state;
    }
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_TASK_RESULT, &whole.outer.base);
    for (size_t i = 0; i < result->n_ranges; i++) {
        ps_free(ranges[i].bp_hash.data);
    }
}

static void
report_prepare(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
               struct sim_work *work)
{
    const Penstock__Task *task = task_of(work);
    struct result whole;
    Penstock__TaskResult *result = result_init(&whole, work);
    Penstock__Column column = PENSTOCK__COLUMN__INIT;
    Penstock__Column *columns[] = {&column};
    SIM_CHECK(sim, task->n_objects > 0);
    if (!sim->dest.has_fence) {
        sim->dest.has_fence = true;
        memcpy(sim->dest.uuid.id.b, task->pipeline_uuid.data, PS_ID_BYTES);
        sim->dest.generation = task->generation;
    }
    bool own = memcmp(sim->dest.uuid.id.b, task->pipeline_uuid.data, PS_ID_BYTES) == 0;
    if (own && task->generation > sim->dest.generation) {
        sim_dest_raise(sim, task->generation);
    }
    own = own && task->generation == sim->dest.generation; /* never lowered */
    column.name = (char *)(uintptr_t) "a";
    column.type = (char *)(uintptr_t) "text";
    result->last = work->last = true;
    result->ok = own;
    result->code = own ? NULL : (char *)(uintptr_t) "dest_fence";
    result->n_columns = own ? 1 : 0;
    result->columns = columns;
    result->table = (char *)(uintptr_t) "t";
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_TASK_RESULT, &whole.outer.base);
}

/* It ends without having found out anything. */
static void
end_without(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work,
            Penstock__FailClass class, const char *code)
{
    struct result whole;
    Penstock__TaskResult *result = result_init(&whole, work);
    result->chunk = is_discovery(work) ? 0 : work->page;
    result->last = work->last = true;
    result->code = (char *)(uintptr_t)code;
    result->text = (char *)(uintptr_t) "it is a simulation";
    result->has_fail_class = true;
    result->fail_class = class;
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_TASK_RESULT, &whole.outer.base);
}

void
sim_task_report(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                struct sim_work *work)
{
    if (sim_fault_is_unseen(sim, agent->index)) {
        end_without(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_NOT_VISIBLE, "not_visible");
        return;
    }
    if (sim_has_faults(sim) && sim->plan.dest_fails && sim_percent(sim, 5)) {
        end_without(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT, "disk_full");
        return;
    }
    if (is_discovery(work)) {
        report_page(sim, agent, leaf, work);
    } else if (task_of(work)->kind == PENSTOCK__TASK_KIND__TASK_RECONCILE) {
        report_reconcile(sim, agent, leaf, work);
    } else {
        report_prepare(sim, agent, leaf, work);
    }
}

void
sim_task_give_up(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                 struct sim_work *work)
{
    end_without(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "cancelled");
}
