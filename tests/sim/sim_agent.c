/* SPDX-License-Identifier: Apache-2.0 */
/* An agent with its leaves, as PROTOCOL.md describes them, and all that may befall it. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "tests/sim/sim.h"

enum {
    REPORT_TIME_MS = 1000,
    SYNC_TIME_MS = 4500,
    PAGE_OBJECTS = 7,
    CHUNK_RANGES = 5,
    LEAF_DEPTH = 2,
    WORK_MOST_MS = 3000,
    WORK_QUIET_MS = 20, /* once the faults are over: no run is long for its work alone */
};

enum call_kind { CALL_HELLO, CALL_SYNC, CALL_REPORT };
struct call_out {
    struct ps_list link;
    uint64_t id;
    enum call_kind kind;
    uint64_t serial; /* CALL_REPORT: of the work */
};

struct work { /* a batch or a task */
    struct ps_list link;
    uint64_t serial;
    Penstock__Grant *grant; /* or */
    Penstock__Task *task;
    bool reporting;
    bool committed;
    Penstock__Outcome outcome;
    struct sim_entry *entry; /* the ledger's */
    bool failed;
    Penstock__FailClass class;
    const char *code;
    uint64_t fault_bp;
    uint32_t page; /* task: which page or chunk comes next */
    bool last;
};

struct sim_agent {
    uint32_t index;
    uint64_t life;
    bool up;
    int64_t paused_until_ms;
    struct incarnation incarnation;
    uint64_t seq;
    uint64_t serials;
    uint64_t calls_made;
    uint32_t syncs_out;
    bool hello_out;
    struct ps_list calls;
    struct ps_list work;
    struct ps_list zombies;
    uint64_t seen_epoch;
    uint64_t seen_seq;
    char name[16];
};

/* a of an event: who; b: what. */
static uint64_t
who(const struct sim_agent *agent)
{
    return agent->index | agent->life << 16;
}

/* NULL: that life is over. */
static struct sim_agent *
alive(struct sim *sim, uint64_t a)
{
    struct sim_agent *agent = sim->agents[a & 0xffff];
    return agent->up && agent->life == a >> 16 ? agent : NULL;
}

/* True: the process stands still, the event comes again when it goes on. */
static bool
is_paused(struct sim *sim, struct sim_agent *agent, sim_fn fn, uint64_t a, uint64_t b)
{
    if (sim->now_ms < agent->paused_until_ms) {
        sim_at(sim, agent->paused_until_ms - sim->now_ms, fn, a, b, NULL);
        return true;
    }
    return false;
}

int64_t
sim_agent_paused_ms(const struct sim *sim, uint32_t index)
{
    int64_t left_ms = sim->agents[index]->paused_until_ms - sim->now_ms;
    return left_ms > 0 ? left_ms : 0;
}

/* ---- work */
static void
free_work(struct work *work)
{
    ps_list_remove(&work->link);
    if (work->grant != NULL) {
        msg_free(&work->grant->base);
    }
    if (work->task != NULL) {
        msg_free(&work->task->base);
    }
    ps_free(work);
}

static struct work *
find_work(struct ps_list *list, uint64_t serial)
{
    PS_LIST_FOR (at, list) {
        struct work *work = PS_CONTAINER(at, struct work, link);
        if (work->serial == serial) {
            return work;
        }
    }
    return NULL;
}

/* Copies over the wire's own encoding. */
static ProtobufCMessage *
copy(struct sim *sim, enum msg_type frame_type, const ProtobufCMessage *message)
{
    struct ps_buf frame = PS_BUF_INIT;
    ProtobufCMessage *out = NULL;
    struct ps_error err = {0};
    SIM_CHECK(sim, frame_append(&frame, frame_type, message, &err) == PS_OK &&
                       frame_unpack(ps_buf_span(&frame), &frame_type, &out, &err) == PS_OK);
    ps_buf_fini(&frame);
    return out;
}

/* ---- requests */
static void lost(struct sim *sim, uint64_t a, uint64_t b, void *own);
static void send_hello(struct sim *sim, uint64_t a, uint64_t b, void *own);
static void send_sync(struct sim *sim, uint64_t a, uint64_t b, void *own);
static void send_report(struct sim *sim, uint64_t a, uint64_t b, void *own);

struct origin {
    Penstock__Origin message;
    Penstock__Stamp seen;
};

static Penstock__Origin *
origin_of(struct sim_agent *agent, struct origin *out, uint32_t lane)
{
    out->message = (Penstock__Origin)PENSTOCK__ORIGIN__INIT;
    out->seen = (Penstock__Stamp)PENSTOCK__STAMP__INIT;
    out->seen.cluster_epoch = agent->seen_epoch;
    out->seen.commit_seq = agent->seen_seq;
    out->message.agent = agent->name;
    out->message.incarnation = proto_bytes(agent->incarnation.id.b, PS_ID_BYTES);
    out->message.lane = lane;
    out->message.seq = ++agent->seq;
    out->message.seen = &out->seen;
    return &out->message;
}

static void
call(struct sim *sim, struct sim_agent *agent, enum call_kind kind, uint64_t serial,
     enum msg_type type, const ProtobufCMessage *message)
{
    struct call_out *out = ps_xcalloc(1, sizeof *out);
    out->id = ++agent->calls_made;
    out->kind = kind;
    out->serial = serial;
    ps_list_push_back(&agent->calls, &out->link);
    sim_send(sim, agent->index, agent->life, out->id, type, message);
    sim_at(sim, kind == CALL_SYNC ? SYNC_TIME_MS : REPORT_TIME_MS, lost, who(agent), out->id, NULL);
}

static struct call_out *
take_call(struct sim_agent *agent, uint64_t id)
{
    PS_LIST_FOR (at, &agent->calls) {
        struct call_out *out = PS_CONTAINER(at, struct call_out, link);
        if (out->id == id) {
            ps_list_remove(&out->link);
            return out;
        }
    }
    return NULL;
}

static void
send_hello(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)b;
    (void)own;
    struct sim_agent *agent = alive(sim, a);
    if (agent == NULL || agent->hello_out || is_paused(sim, agent, send_hello, a, 0)) {
        return;
    }
    struct origin origin;
    Penstock__Hello hello = PENSTOCK__HELLO__INIT;
    hello.origin = origin_of(agent, &origin, 0);
    hello.protocol_min = hello.protocol_max = 1;
    hello.version = (char *)(uintptr_t) "sim";
    hello.leaves = sim->plan.leaves;
    hello.host_token = proto_bytes("host", 4);
    agent->hello_out = true;
    call(sim, agent, CALL_HELLO, 0, MSG_HELLO, &hello.base);
}

static void
fill_sync(struct sim *sim, struct sim_agent *agent, Penstock__Sync *sync, Penstock__Held *held,
          Penstock__HeldTask *tasks, Penstock__Want *wants)
{
    for (uint32_t leaf = 0; leaf < sim->plan.leaves; leaf++) {
        wants[leaf] = (Penstock__Want)PENSTOCK__WANT__INIT;
        wants[leaf].leaf = leaf;
        wants[leaf].batches = LEAF_DEPTH;
        sync->wants[sync->n_wants++] = &wants[leaf];
    }
    PS_LIST_FOR (at, &agent->work) {
        struct work *work = PS_CONTAINER(at, struct work, link);
        if (work->grant == NULL) {
            tasks[sync->n_tasks] = (Penstock__HeldTask)PENSTOCK__HELD_TASK__INIT;
            tasks[sync->n_tasks].task_id = work->task->task_id;
            tasks[sync->n_tasks].epoch = work->task->epoch;
            sync->tasks[sync->n_tasks] = &tasks[sync->n_tasks];
            sync->n_tasks++;
            continue;
        }
        Penstock__Held *one = &held[sync->n_held];
        *one = (Penstock__Held)PENSTOCK__HELD__INIT;
        one->batch_id = work->grant->batch->batch_id;
        one->epoch = work->grant->epoch;
        one->leaf = work->grant->leaf;
        one->phase = work->reporting ? PENSTOCK__PHASE__PHASE_REPORT : PENSTOCK__PHASE__PHASE_FETCH;
        sync->held[sync->n_held++] = one;
        uint32_t *want = &wants[work->grant->leaf].batches;
        *want -= !work->reporting && *want > 0 ? 1 : 0;
    }
    sync->has_want_tasks = true;
    sync->want_tasks = sync->n_tasks == 0 ? 1 : 0;
}

static void
send_sync(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)b;
    (void)own;
    enum { MOST = 1024 };
    struct sim_agent *agent = alive(sim, a);
    if (agent == NULL || agent->hello_out || agent->syncs_out >= 2 ||
        is_paused(sim, agent, send_sync, a, 0)) {
        return;
    }
    struct origin origin;
    Penstock__Sync sync = PENSTOCK__SYNC__INIT;
    Penstock__Held *held = ps_xcalloc(MOST, sizeof *held);
    Penstock__HeldTask tasks[8];
    Penstock__Want wants[64];
    Penstock__Held **held_at = ps_xcalloc(MOST, sizeof(Penstock__Held *));
    Penstock__HeldTask *tasks_at[8];
    Penstock__Want *wants_at[64];
    sync.origin = origin_of(agent, &origin, 0);
    sync.held = held_at;
    sync.tasks = tasks_at;
    sync.wants = wants_at;
    fill_sync(sim, agent, &sync, held, tasks, wants);
    sync.has_wait_ms = true;
    sync.wait_ms = 3000;
    agent->syncs_out++;
    call(sim, agent, CALL_SYNC, 0, MSG_SYNC, &sync.base);
    ps_free(held);
    ps_free(held_at);
}

/* ---- reports */
static void
report_done(struct sim *sim, struct sim_agent *agent, struct work *work)
{
    struct origin origin;
    Penstock__Counts none = PENSTOCK__COUNTS__INIT;
    Penstock__Done done = PENSTOCK__DONE__INIT;
    done.origin = origin_of(agent, &origin, 1);
    done.batch_id = work->grant->batch->batch_id;
    done.epoch = work->grant->epoch;
    done.outcome = work->outcome;
    done.counts = work->entry->counts == NULL ? &none : work->entry->counts;
    done.ends = work->entry->ends;
    done.n_ends = work->entry->end_count;
    call(sim, agent, CALL_REPORT, work->serial, MSG_DONE, &done.base);
}

static void
report_failed(struct sim *sim, struct sim_agent *agent, struct work *work)
{
    struct origin origin;
    Penstock__Failed failed = PENSTOCK__FAILED__INIT;
    failed.origin = origin_of(agent, &origin, 1);
    failed.batch_id = work->grant->batch->batch_id;
    failed.epoch = work->grant->epoch;
    failed.class_ = work->class;
    failed.code = (char *)(uintptr_t)work->code;
    failed.text = (char *)(uintptr_t) "it is a simulation";
    failed.has_bp_id = work->fault_bp != 0;
    failed.bp_id = work->fault_bp;
    call(sim, agent, CALL_REPORT, work->serial, MSG_FAILED, &failed.base);
}

static void
report_page(struct sim *sim, struct sim_agent *agent, struct work *work)
{
    struct origin origin;
    Penstock__ObjectRef refs[PAGE_OBJECTS];
    Penstock__ObjectRef *refs_at[PAGE_OBJECTS];
    Penstock__Discovered page = PENSTOCK__DISCOVERED__INIT;
    char cursor[16];
    uint32_t first = work->page;
    for (; page.n_objects < PAGE_OBJECTS && first + page.n_objects < sim->plan.objects;
         page.n_objects++) {
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
    page.origin = origin_of(agent, &origin, 1);
    page.task_id = work->task->task_id;
    page.epoch = work->task->epoch;
    snprintf(cursor, sizeof cursor, "%u", first + (unsigned)page.n_objects);
    page.cursor = proto_bytes(cursor, strlen(cursor));
    page.last = work->last = first + page.n_objects >= sim->plan.objects;
    call(sim, agent, CALL_REPORT, work->serial, MSG_DISCOVERED, &page.base);
}

/* Ranges of the ledger, a chunk at a time. */
static void
fill_ranges(struct sim *sim, struct work *work, Penstock__TaskResult *result,
            Penstock__LedgerRange *ranges)
{
    uint32_t n = 0;
    PS_LIST_FOR (at, &sim->dest.loaded) {
        const struct sim_loaded *loaded = PS_CONTAINER(at, struct sim_loaded, link);
        uint32_t mine = n++;
        if (mine < work->page * CHUNK_RANGES || result->n_ranges == CHUNK_RANGES) {
            continue;
        }
        const struct sim_object *object = &sim->objects[loaded->object];
        struct bp_hash hash = ps_bp_hash(ps_span_str(object->key), ps_span_str("v1"));
        Penstock__LedgerRange *range = &ranges[result->n_ranges];
        *range = (Penstock__LedgerRange)PENSTOCK__LEDGER_RANGE__INIT;
        range->bp_hash.len = PS_ID_BYTES;
        range->bp_hash.data = ps_xalloc(PS_ID_BYTES);
        memcpy(range->bp_hash.data, hash.id.b, PS_ID_BYTES);
        range->key = proto_bytes(object->key, strlen(object->key));
        range->from = loaded->from;
        range->end = loaded->end;
        range->eof = loaded->eof;
        range->batch_id = proto_bytes(loaded->batch.id.b, PS_ID_BYTES);
        result->ranges[result->n_ranges++] = range;
    }
    result->last = work->last = n <= (work->page + 1) * CHUNK_RANGES;
}

static void
report_reconcile(struct sim *sim, struct sim_agent *agent, struct work *work)
{
    struct origin origin;
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    Penstock__DestState dest = PENSTOCK__DEST_STATE__INIT;
    Penstock__LedgerRange ranges[CHUNK_RANGES];
    Penstock__LedgerRange *ranges_at[CHUNK_RANGES];
    Penstock__Counts totals = PENSTOCK__COUNTS__INIT;
    result.origin = origin_of(agent, &origin, 1);
    result.task_id = work->task->task_id;
    result.epoch = work->task->epoch;
    result.chunk = work->page;
    result.ok = true;
    result.ranges = ranges_at;
    fill_ranges(sim, work, &result, ranges);
    if (work->page == 0) {
        result.dest = &dest;
        dest.has_pipeline_uuid = sim->dest.has_fence;
        dest.pipeline_uuid = proto_bytes(sim->dest.uuid.id.b, PS_ID_BYTES);
        dest.has_generation = sim->dest.has_fence;
        dest.generation = sim->dest.generation;
        dest.has_batches = true;
        dest.batches = ps_map_len(sim->dest.ledger);
        dest.totals = &totals;
    }
    call(sim, agent, CALL_REPORT, work->serial, MSG_TASK_RESULT, &result.base);
    for (size_t i = 0; i < result.n_ranges; i++) {
        ps_free(ranges[i].bp_hash.data);
    }
}

static void
report_prepare(struct sim *sim, struct sim_agent *agent, struct work *work)
{
    struct origin origin;
    Penstock__Column column = PENSTOCK__COLUMN__INIT;
    Penstock__Column *columns[] = {&column};
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    SIM_CHECK(sim, work->task->n_objects > 0);
    if (!sim->dest.has_fence) {
        sim->dest.has_fence = true;
        memcpy(sim->dest.uuid.id.b, work->task->pipeline_uuid.data, PS_ID_BYTES);
        sim->dest.generation = work->task->generation;
    }
    bool own = memcmp(sim->dest.uuid.id.b, work->task->pipeline_uuid.data, PS_ID_BYTES) == 0;
    column.name = (char *)(uintptr_t) "a";
    column.type = (char *)(uintptr_t) "text";
    result.origin = origin_of(agent, &origin, 1);
    result.task_id = work->task->task_id;
    result.epoch = work->task->epoch;
    result.last = work->last = true;
    result.ok = own;
    result.code = own ? NULL : (char *)(uintptr_t) "dest_fence";
    result.n_columns = own ? 1 : 0;
    result.columns = columns;
    result.table = (char *)(uintptr_t) "t";
    call(sim, agent, CALL_REPORT, work->serial, MSG_TASK_RESULT, &result.base);
}

static void
send_report(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = alive(sim, a);
    struct work *work = agent == NULL ? NULL : find_work(&agent->work, b);
    if (work == NULL || is_paused(sim, agent, send_report, a, b)) {
        return;
    }
    work->reporting = true;
    if (work->grant != NULL && work->failed) {
        report_failed(sim, agent, work);
    } else if (work->grant != NULL) {
        report_done(sim, agent, work);
    } else if (work->task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
        report_page(sim, agent, work);
    } else if (work->task->kind == PENSTOCK__TASK_KIND__TASK_RECONCILE) {
        report_reconcile(sim, agent, work);
    } else {
        report_prepare(sim, agent, work);
    }
    send_sync(sim, a, 0, NULL); /* its leaf can take more */
}

/* ---- the leaf */
static void
fail_work(struct work *work, Penstock__FailClass class, const char *code)
{
    work->failed = true;
    work->class = class;
    work->code = code;
}

static bool
meets_bad_object(struct sim *sim, struct work *work)
{
    const Penstock__Batch *batch = work->grant->batch;
    for (size_t i = 0; !work->grant->tombstone && i < batch->n_ranges; i++) {
        if (sim->objects[sim_dest_object(sim, batch->ranges[i]->key)].bad) {
            work->fault_bp = batch->ranges[i]->bp_id;
            return true;
        }
    }
    return false;
}

static void
load(struct sim *sim, struct work *work)
{
    switch (sim_dest_commit(sim, work->grant, &work->entry)) {
    case SIM_LOADED:
        work->outcome = PENSTOCK__OUTCOME__OUTCOME_LOADED;
        break;
    case SIM_ALREADY:
        work->outcome = PENSTOCK__OUTCOME__OUTCOME_ALREADY;
        break;
    case SIM_CANCELLED:
        work->outcome = PENSTOCK__OUTCOME__OUTCOME_CANCELLED;
        break;
    case SIM_FENCED:
        fail_work(work, PENSTOCK__FAIL_CLASS__FAIL_FENCED, "fenced");
        break;
    case SIM_CONFLICT:
        fail_work(work, PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT, "range_conflict");
        break;
    }
}

static void
finish_batch(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = alive(sim, a);
    struct work *work = agent == NULL ? NULL : find_work(&agent->work, b);
    if (work == NULL || work->reporting || is_paused(sim, agent, finish_batch, a, b)) {
        return;
    }
    bool faults = sim_has_faults(sim);
    if (faults && sim->plan.leaf_deaths && sim_percent(sim, 3)) {
        fail_work(work, PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED, "leaf_died");
    } else if (faults && sim_percent(sim, sim->plan.fail_percent)) {
        fail_work(work, PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT, "dest_away");
    } else if (meets_bad_object(sim, work)) {
        fail_work(work, PENSTOCK__FAIL_CLASS__FAIL_PERMANENT, "decode_bad");
    } else {
        load(sim, work);
        if (faults && sim->plan.agent_restarts && sim_percent(sim, 2)) {
            sim_agent_crash(sim, agent->index); /* after the commit, before the report */
            return;
        }
    }
    send_report(sim, a, b, NULL);
}

/* A leaf that outlived its agent by a moment, or was stopped inside its transaction. */
static void
commit_zombie(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct work *work = find_work(&sim->agents[a & 0xffff]->zombies, b);
    if (work != NULL) {
        if (!meets_bad_object(sim, work)) {
            load(sim, work);
        }
        free_work(work);
    }
}

/* ---- orders */
static struct work *
find_batch(struct sim_agent *agent, ProtobufCBinaryData id)
{
    PS_LIST_FOR (at, &agent->work) {
        struct work *work = PS_CONTAINER(at, struct work, link);
        if (work->grant != NULL &&
            memcmp(work->grant->batch->batch_id.data, id.data, PS_ID_BYTES) == 0) {
            return work;
        }
    }
    return NULL;
}

static void
take_grant(struct sim *sim, struct sim_agent *agent, Penstock__Grant **slot)
{
    Penstock__Grant *grant = *slot;
    SIM_CHECK(sim, grant->leaf < sim->plan.leaves);
    struct work *old = find_batch(agent, grant->batch->batch_id);
    if (old != NULL && old->grant->epoch >= grant->epoch) {
        return;
    }
    if (old != NULL) {
        free_work(old);
    }
    Penstock__LeafGrant whole = PENSTOCK__LEAF_GRANT__INIT;
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    whole.grant = grant;
    whole.stamp = &stamp;
    Penstock__LeafGrant *own =
        (Penstock__LeafGrant *)(void *)copy(sim, MSG_LEAF_GRANT, &whole.base);
    struct work *work = ps_xcalloc(1, sizeof *work);
    work->serial = ++agent->serials;
    work->grant = own->grant;
    own->grant = NULL;
    msg_free(&own->base);
    ps_list_push_back(&agent->work, &work->link);
    uint64_t most_ms = sim_has_faults(sim) ? WORK_MOST_MS : WORK_QUIET_MS;
    sim_at(sim, 1 + (int64_t)sim_below(sim, most_ms), finish_batch, who(agent), work->serial, NULL);
}

static void
take_task(struct sim *sim, struct sim_agent *agent, Penstock__Task *task)
{
    PS_LIST_FOR (at, &agent->work) {
        struct work *work = PS_CONTAINER(at, struct work, link);
        if (work->task != NULL &&
            memcmp(work->task->task_id.data, task->task_id.data, PS_ID_BYTES) == 0) {
            return;
        }
    }
    Penstock__LeafTask whole = PENSTOCK__LEAF_TASK__INIT;
    whole.task = task;
    Penstock__LeafTask *own = (Penstock__LeafTask *)(void *)copy(sim, MSG_LEAF_TASK, &whole.base);
    struct work *work = ps_xcalloc(1, sizeof *work);
    work->serial = ++agent->serials;
    work->task = own->task;
    own->task = NULL;
    msg_free(&own->base);
    if (work->task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER && work->task->has_cursor) {
        char text[16];
        snprintf(text, sizeof text, "%.*s", (int)work->task->cursor.len,
                 (const char *)work->task->cursor.data);
        work->page = (uint32_t)strtoul(text, NULL, 10);
    }
    ps_list_push_back(&agent->work, &work->link);
    sim_at(sim, (int64_t)sim_below(sim, 200), send_report, who(agent), work->serial, NULL);
}

static void
take_orders(struct sim *sim, struct sim_agent *agent, Penstock__SyncReply *reply)
{
    for (size_t i = 0; i < reply->n_grants; i++) {
        take_grant(sim, agent, &reply->grants[i]);
    }
    for (size_t i = 0; i < reply->n_tasks; i++) {
        take_task(sim, agent, reply->tasks[i]);
    }
    for (size_t i = 0; i < reply->n_cancels; i++) {
        struct work *work = find_batch(agent, reply->cancels[i]->batch_id);
        if (work != NULL && work->grant->epoch == reply->cancels[i]->epoch && !work->reporting) {
            fail_work(work, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "cancelled");
            send_report(sim, who(agent), work->serial, NULL);
        }
    }
    for (size_t i = 0; i < reply->n_cancel_tasks; i++) {
        PS_LIST_FOR (at, &agent->work) {
            struct work *work = PS_CONTAINER(at, struct work, link);
            if (work->task != NULL &&
                memcmp(work->task->task_id.data, reply->cancel_tasks[i].data, PS_ID_BYTES) == 0) {
                free_work(work);
            }
        }
    }
}

/* ---- answers */
static void
after_hello(struct sim *sim, struct sim_agent *agent, Penstock__Answer answer)
{
    if (answer == PENSTOCK__ANSWER__ANSWER_OK) {
        send_sync(sim, who(agent), 0, NULL);
    } else {
        SIM_CHECK(sim, answer == PENSTOCK__ANSWER__ANSWER_NOT_READY);
        sim_at(sim, 200, send_hello, who(agent), 0, NULL);
    }
}

static void
after_sync(struct sim *sim, struct sim_agent *agent, Penstock__SyncReply *reply)
{
    switch ((int)reply->answer) {
    case PENSTOCK__ANSWER__ANSWER_OK:
        take_orders(sim, agent, reply);
        sim_at(sim, (int64_t)sim_below(sim, 5), send_sync, who(agent), 0, NULL);
        break;
    case PENSTOCK__ANSWER__ANSWER_UNKNOWN:
        send_hello(sim, who(agent), 0, NULL);
        break;
    case PENSTOCK__ANSWER__ANSWER_NOT_READY:
        sim_at(sim, 300, send_sync, who(agent), 0, NULL);
        break;
    default:
        SIM_CHECK(sim, !"a sync of a living agent is neither stale nor refused");
    }
}

static void
after_report(struct sim *sim, struct sim_agent *agent, uint64_t serial, Penstock__Answer answer)
{
    struct work *work = find_work(&agent->work, serial);
    if (work == NULL) {
        return;
    }
    SIM_CHECK(sim, answer != PENSTOCK__ANSWER__ANSWER_REFUSED);
    if (answer == PENSTOCK__ANSWER__ANSWER_NOT_READY ||
        answer == PENSTOCK__ANSWER__ANSWER_UNKNOWN) {
        if (answer == PENSTOCK__ANSWER__ANSWER_UNKNOWN) {
            send_hello(sim, who(agent), 0, NULL);
        }
        sim_at(sim, 300, send_report, who(agent), serial, NULL);
        return;
    }
    bool more = work->task != NULL && !work->last && answer == PENSTOCK__ANSWER__ANSWER_OK;
    if (more) {
        work->page += work->task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER ? PAGE_OBJECTS : 1;
        sim_at(sim, (int64_t)sim_below(sim, 300), send_report, who(agent), serial, NULL);
    } else {
        free_work(work);
        send_sync(sim, who(agent), 0, NULL);
    }
}

static void
note_stamp(struct sim *sim, struct sim_agent *agent, const Penstock__Stamp *stamp)
{
    SIM_CHECK(sim, stamp != NULL);
    agent->seen_epoch =
        stamp->cluster_epoch > agent->seen_epoch ? stamp->cluster_epoch : agent->seen_epoch;
    agent->seen_seq = stamp->commit_seq > agent->seen_seq ? stamp->commit_seq : agent->seen_seq;
}

static void
give_up(struct sim *sim, struct sim_agent *agent, const struct call_out *out)
{
    switch (out->kind) {
    case CALL_HELLO:
        agent->hello_out = false;
        send_hello(sim, who(agent), 0, NULL);
        break;
    case CALL_SYNC:
        agent->syncs_out--;
        send_sync(sim, who(agent), 0, NULL);
        break;
    case CALL_REPORT:
        send_report(sim, who(agent), out->serial, NULL);
        break;
    }
}

static void
lost(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = alive(sim, a);
    if (agent == NULL || is_paused(sim, agent, lost, a, b)) {
        return;
    }
    struct call_out *out = take_call(agent, b);
    if (out != NULL) {
        give_up(sim, agent, out);
        ps_free(out);
    }
}

void
sim_agent_answer(struct sim *sim, uint32_t index, uint64_t life, uint64_t id, enum msg_type type,
                 ProtobufCMessage *message)
{
    struct sim_agent *agent = alive(sim, index | life << 16);
    struct call_out *out = agent == NULL ? NULL : take_call(agent, id);
    if (out != NULL && type == MSG_HELLO_REPLY) {
        const Penstock__HelloReply *reply = (const Penstock__HelloReply *)(void *)message;
        note_stamp(sim, agent, reply->stamp);
        agent->hello_out = false;
        after_hello(sim, agent, reply->answer);
    } else if (out != NULL && type == MSG_SYNC_REPLY) {
        Penstock__SyncReply *reply = (Penstock__SyncReply *)(void *)message;
        note_stamp(sim, agent, reply->stamp);
        agent->syncs_out--;
        after_sync(sim, agent, reply);
    } else if (out != NULL) {
        const Penstock__ReportReply *reply = (const Penstock__ReportReply *)(void *)message;
        note_stamp(sim, agent, reply->stamp);
        after_report(sim, agent, out->serial, reply->answer);
    }
    ps_free(out);
    msg_free(message);
}

/* ---- life */
static void
boot(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)b;
    (void)own;
    sim_agent_boot(sim, (uint32_t)a);
}

void
sim_agent_boot(struct sim *sim, uint32_t index)
{
    struct sim_agent *agent = sim->agents[index];
    if (agent == NULL) {
        agent = sim->agents[index] = ps_xcalloc(1, sizeof *agent);
        agent->index = index;
        snprintf(agent->name, sizeof agent->name, "agent-%u", index);
        ps_list_init(&agent->calls);
        ps_list_init(&agent->work);
        ps_list_init(&agent->zombies);
    }
    if (agent->up) {
        return;
    }
    uint8_t random[PS_ID_BYTES];
    ps_rand_bytes(&sim->rand, random, sizeof random);
    agent->life++;
    agent->up = true;
    agent->incarnation.id = ps_id_make(sim->now_ms, random);
    agent->seq = 0;
    agent->syncs_out = 0;
    agent->hello_out = false;
    agent->seen_epoch = agent->seen_seq = 0;
    sim_note(sim, "%s up", agent->name);
    send_hello(sim, who(agent), 0, NULL);
}

static void
forget_calls(struct sim_agent *agent)
{
    PS_LIST_FOR (at, &agent->calls) {
        struct call_out *out = PS_CONTAINER(at, struct call_out, link);
        ps_list_remove(&out->link);
        ps_free(out);
    }
}

void
sim_agent_crash(struct sim *sim, uint32_t index)
{
    struct sim_agent *agent = sim->agents[index];
    if (agent == NULL || !agent->up) {
        return;
    }
    sim_note(sim, "%s down", agent->name);
    agent->up = false;
    agent->paused_until_ms = 0;
    forget_calls(agent);
    PS_LIST_FOR (at, &agent->work) {
        struct work *work = PS_CONTAINER(at, struct work, link);
        if (work->grant != NULL && !work->reporting && sim_percent(sim, 50)) {
            ps_list_remove(&work->link);
            ps_list_push_back(&agent->zombies, &work->link);
            sim_at(sim, (int64_t)sim_below(sim, 20000), commit_zombie, index, work->serial, NULL);
        } else {
            free_work(work);
        }
    }
    sim_at(sim, (int64_t)sim_below(sim, 8000), boot, index, 0, NULL);
}

void
sim_agent_pause(struct sim *sim, uint32_t index, int64_t ms)
{
    struct sim_agent *agent = sim->agents[index];
    if (agent != NULL && agent->up && agent->paused_until_ms < sim->now_ms) {
        sim_note(sim, "%s stands still for %lld ms", agent->name, (long long)ms);
        agent->paused_until_ms = sim->now_ms + ms;
    }
}

void
sim_agent_free_all(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan.agents; i++) {
        struct sim_agent *agent = sim->agents[i];
        if (agent == NULL) {
            continue;
        }
        forget_calls(agent);
        PS_LIST_FOR (at, &agent->work) {
            free_work(PS_CONTAINER(at, struct work, link));
        }
        PS_LIST_FOR (at, &agent->zombies) {
            free_work(PS_CONTAINER(at, struct work, link));
        }
        ps_free(agent);
    }
    ps_free(sim->agents);
}
