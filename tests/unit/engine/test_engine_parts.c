/* SPDX-License-Identifier: Apache-2.0 */
/* One object taken in parallel, by hand: one agent with four leaves, single messages, virtual time.
 * The object has 10,000 bytes and a batch takes 1,000. */
#include "common/ids.h"
#include "tests/unit/engine/engine_hand.h"

enum { SIZE = 10000, BATCH = 1000, MOST = 64 };

static struct hand_agent agent = {.name = "a", .life = {1}, .leaves = 4};

/* Grants that were not reported yet, as held. */
static struct lease {
    uint8_t batch[PS_ID_BYTES];
    uint64_t epoch;
    uint32_t leaf;
    uint64_t bp_id;
    uint64_t from;
    uint64_t target;
    uint64_t anchor;
    bool cut;
    bool tombstone;
    uint64_t start; /* as told */
    uint64_t end;
    bool proven;
    uint64_t proof; /* as heard */
} leases[MOST];
static size_t lease_count;
static bool takes_no_cuts;

/* ---- the agent */
static struct lease *
find_lease(ProtobufCBinaryData batch)
{
    for (size_t i = 0; i < lease_count; i++) {
        if (memcmp(leases[i].batch, batch.data, PS_ID_BYTES) == 0) {
            return &leases[i];
        }
    }
    return NULL;
}

static void
take_grants(const Penstock__SyncReply *orders)
{
    for (size_t i = 0; i < orders->n_grants; i++) {
        const Penstock__Grant *grant = orders->grants[i];
        const Penstock__Range *range = grant->batch->ranges[0];
        struct lease *lease = find_lease(grant->batch->batch_id);
        if (lease == NULL) {
            cr_assert_lt(lease_count, MOST);
            lease = &leases[lease_count++];
        }
        *lease = (struct lease){.epoch = grant->epoch,
                                .leaf = grant->leaf,
                                .bp_id = range->bp_id,
                                .from = range->from,
                                .target = range->target_bytes,
                                .anchor = range->anchor,
                                .cut = range->cut,
                                .tombstone = grant->tombstone};
        memcpy(lease->batch, grant->batch->batch_id.data, PS_ID_BYTES);
    }
    for (size_t i = 0; i < orders->n_proofs; i++) {
        struct lease *lease = find_lease(orders->proofs[i]->batch_id);
        cr_assert(lease != NULL && lease->epoch == orders->proofs[i]->epoch);
        lease->proof = orders->proofs[i]->start;
    }
}

/* Says all that is held; want: how many more each leaf may have. NULL: it is parked. */
static const Penstock__SyncReply *
sync(uint32_t want, uint32_t want_tasks, uint32_t wait_ms)
{
    Penstock__Sync message = PENSTOCK__SYNC__INIT;
    Penstock__Want wants[4];
    Penstock__Want *wants_at[4];
    Penstock__Held held[MOST];
    Penstock__Held *held_at[MOST];
    for (uint32_t i = 0; i < 4; i++) {
        wants[i] = (Penstock__Want)PENSTOCK__WANT__INIT;
        wants[i].leaf = i;
        wants[i].batches = want;
        wants_at[i] = &wants[i];
    }
    for (size_t i = 0; i < lease_count; i++) {
        held[i] = (Penstock__Held)PENSTOCK__HELD__INIT;
        held[i].batch_id = proto_bytes(leases[i].batch, PS_ID_BYTES);
        held[i].epoch = leases[i].epoch;
        held[i].leaf = leases[i].leaf;
        held[i].has_start = held[i].has_end = held[i].has_proven = true;
        held[i].start = leases[i].start;
        held[i].end = leases[i].end;
        held[i].proven = leases[i].proven;
        held_at[i] = &held[i];
    }
    message.origin = origin_of(&agent);
    message.wants = wants_at;
    message.n_wants = want > 0 ? 4 : 0;
    message.held = held_at;
    message.n_held = lease_count;
    message.has_want_tasks = message.has_wait_ms = true;
    message.want_tasks = want_tasks;
    message.has_cuts = true;
    message.cuts = !takes_no_cuts;
    message.wait_ms = wait_ms;
    size_t before = reply.count;
    send(MSG_SYNC, &message.base);
    if (reply.count == before) {
        return NULL;
    }
    const Penstock__SyncReply *orders = (const Penstock__SyncReply *)(void *)reply.message;
    take_grants(orders);
    return orders;
}

/* ---- tasks, until batches are granted */
struct known {
    uint64_t from, end;
    bool eof;
    const uint8_t *batch; /* NULL: one that the catalog does not know */
};

static const char *key = "big.csv";
static bool looks_again; /* every second */
static uint8_t ledger_uuid[PS_ID_BYTES] = {77};

static void
fill_known(Penstock__TaskResult *result, const struct known *known, size_t count)
{
    static Penstock__DestState dest;
    static Penstock__Counts totals;
    static Penstock__LedgerRange ranges[8];
    static Penstock__LedgerRange *ranges_at[8];
    static struct bp_hash hash;
    static uint8_t batches[8][PS_ID_BYTES];
    dest = (Penstock__DestState)PENSTOCK__DEST_STATE__INIT;
    totals = (Penstock__Counts)PENSTOCK__COUNTS__INIT;
    hash = ps_bp_hash(ps_span_str(key), ps_span_str("v1"));
    result->dest = &dest;
    dest.has_pipeline_uuid = dest.has_generation = dest.has_batches = count > 0;
    dest.pipeline_uuid = proto_bytes(ledger_uuid, sizeof ledger_uuid);
    dest.generation = 1;
    dest.batches = count;
    dest.totals = &totals;
    result->ranges = ranges_at;
    result->n_ranges = count;
    for (size_t i = 0; i < count; i++) {
        ranges[i] = (Penstock__LedgerRange)PENSTOCK__LEDGER_RANGE__INIT;
        batches[i][0] = (uint8_t)(200 + i);
        ranges[i].bp_hash = proto_bytes(hash.id.b, PS_ID_BYTES);
        ranges[i].key = proto_bytes(key, strlen(key));
        memcpy(batches[i], known[i].batch == NULL ? batches[i] : known[i].batch, PS_ID_BYTES);
        ranges[i].batch_id = proto_bytes(batches[i], PS_ID_BYTES);
        ranges[i].from = known[i].from;
        ranges[i].end = known[i].end;
        ranges[i].eof = known[i].eof;
        ranges_at[i] = &ranges[i];
    }
}

static void
answer_task(const Penstock__Task *task, const struct known *known, size_t count)
{
    uint8_t id[PS_ID_BYTES];
    memcpy(id, task->task_id.data, PS_ID_BYTES);
    Penstock__TaskKind kind = task->kind;
    uint64_t epoch = task->epoch;
    if (kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
        Penstock__Discovered page = PENSTOCK__DISCOVERED__INIT;
        Penstock__ObjectRef ref = PENSTOCK__OBJECT_REF__INIT;
        Penstock__ObjectRef *refs[] = {&ref};
        ref.key = proto_bytes(key, strlen(key));
        ref.version = proto_bytes("v1", 2);
        ref.has_size_bytes = true;
        ref.size_bytes = SIZE;
        page.origin = origin_of(&agent);
        page.task_id = proto_bytes(id, PS_ID_BYTES);
        page.epoch = epoch;
        page.cursor = proto_bytes("", 0);
        page.last = true;
        page.objects = refs;
        page.n_objects = 1;
        send(MSG_DISCOVERED, &page.base);
        return;
    }
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    Penstock__Column column = PENSTOCK__COLUMN__INIT;
    Penstock__Column *columns[] = {&column};
    column.name = column.type = (char *)(uintptr_t) "text";
    result.origin = origin_of(&agent);
    result.task_id = proto_bytes(id, PS_ID_BYTES);
    result.epoch = epoch;
    result.last = result.ok = true;
    if (kind == PENSTOCK__TASK_KIND__TASK_RECONCILE) {
        fill_known(&result, known, count);
    } else {
        result.columns = columns;
        result.n_columns = 1;
    }
    send(MSG_TASK_RESULT, &result.base);
}

static void
prepare(const struct known *known, size_t count)
{
    char spec[300];
    snprintf(
        spec, sizeof spec,
        "{\"name\":\"p\",\"source\":{\"url\":\"file:/d/*.csv\",\"discover\":{\"mode\":\"%s\"%s}},"
        "\"destination\":{\"url\":\"sqlite:/d/x.db\",\"table\":\"t\"},"
        "\"errors\":{\"on_failure\":\"skip\"},\"limits\":{\"batch_bytes\":1000}}",
        looks_again ? "continuous" : "once", looks_again ? ",\"interval\":\"1s\"" : "");
    submit(COMMAND_PUT, spec);
    hello(&agent);
    submit(COMMAND_START, NULL);
    for (int i = 0; i < 4 && strcmp(answer.state, "running") != 0; i++) {
        const Penstock__SyncReply *orders = sync(0, 1, 0);
        if (orders->n_tasks > 0) {
            answer_task(orders->tasks[0], known, count);
        }
        submit(COMMAND_WATCH, NULL);
    }
    cr_assert_str_eq(answer.state, "running");
}

TestSuite(engine_parts, .init = begin, .fini = finish);

/* ---- reports */
static void
done(struct lease *lease, Penstock__Outcome outcome, uint64_t start, uint64_t end)
{
    Penstock__Done message = PENSTOCK__DONE__INIT;
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    Penstock__RangeEnd range = PENSTOCK__RANGE_END__INIT;
    Penstock__RangeEnd *ranges[] = {&range};
    range.bp_id = lease->bp_id;
    range.bp_hash = proto_bytes(agent.life, PS_ID_BYTES);
    range.from = lease->from;
    range.has_start = lease->cut;
    range.start = start;
    range.end = end;
    range.eof = end == SIZE && end > start;
    range.has_records = true;
    range.records = 1;
    range.has_resume = true;
    range.resume = proto_bytes("token", 5);
    range.has_splittable = range.splittable = true;
    message.origin = origin_of(&agent);
    message.batch_id = proto_bytes(lease->batch, PS_ID_BYTES);
    message.epoch = lease->epoch;
    message.outcome = outcome;
    message.counts = &counts;
    message.ends = ranges;
    message.n_ends = outcome == PENSTOCK__OUTCOME__OUTCOME_CANCELLED ? 0 : 1;
    send(MSG_DONE, &message.base);
    cr_assert_eq(report_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    *lease = leases[--lease_count];
}

static void
fail(struct lease *lease, Penstock__FailClass class, const char *code)
{
    Penstock__Failed message = PENSTOCK__FAILED__INIT;
    message.origin = origin_of(&agent);
    message.batch_id = proto_bytes(lease->batch, PS_ID_BYTES);
    message.epoch = lease->epoch;
    message.class_ = class;
    message.code = (char *)(uintptr_t)code;
    message.text = (char *)(uintptr_t) "because";
    send(MSG_FAILED, &message.base);
    *lease = leases[--lease_count];
}

static struct lease *
cut_at(uint64_t from)
{
    for (size_t i = 0; i < lease_count; i++) {
        if (leases[i].from == from) {
            return &leases[i];
        }
    }
    cr_assert(false, "nothing was cut at %llu", (unsigned long long)from);
    return NULL;
}

/* ---- the object's row */
static bool
take_object(void *ctx, const struct cat_object *row)
{
    struct cat_object *out = ctx;
    static char reason[300];
    *out = *row;
    snprintf(reason, sizeof reason, "%s", row->reason == NULL ? "" : row->reason);
    out->reason = reason;
    static char state[CAT_STATE_BYTES];
    snprintf(state, sizeof state, "%s", row->state);
    out->state = state;
    return true;
}

static struct cat_object
object(void)
{
    struct cat_object row = {0};
    cr_assert_eq(cat_object_get(catalog, 1, 1, take_object, &row, &err), PS_OK, "%s", err.text);
    return row;
}

/* The first range is loaded, the rest was granted to four leaves, two parts each. */
static void
split(void)
{
    prepare(NULL, 0);
    (void)sync(1, 0, 0);
    cr_assert_eq(lease_count, 1);
    cr_assert(!leases[0].cut && leases[0].from == 0 && leases[0].target == BATCH);
    done(&leases[0], PENSTOCK__OUTCOME__OUTCOME_LOADED, 0, 1005);
    cr_assert_eq(object().cut_offset, 1005);
    (void)sync(2, 0, 0);
    cr_assert_eq(lease_count, 8);
}

/* ---- tests */
Test(engine_parts, parts_are_granted_together_and_in_order)
{
    split();
    uint64_t next = 1005;
    for (size_t i = 0; i < lease_count; i++) {
        struct lease *lease = cut_at(next);
        cr_assert(lease->cut && lease->anchor == 1005 && lease->target <= BATCH);
        next += lease->target;
    }
    cr_assert_eq(object().cut_offset, next);
    cr_assert_str_eq(object().state, next < SIZE ? "pending" : "open");
    cr_assert_eq(object().rest_bytes, SIZE - next);
}

Test(engine_parts, the_offset_waits_for_the_first_open_cut)
{
    split();
    uint64_t first = cut_at(1005)->target;
    uint64_t second = 1005 + first;
    uint64_t third = second + cut_at(second)->target;
    done(cut_at(second), PENSTOCK__OUTCOME__OUTCOME_LOADED, second + 3, third + 3);
    cr_assert_eq(object().offset, 1005, "the one before is not loaded");
    done(cut_at(1005), PENSTOCK__OUTCOME__OUTCOME_LOADED, 1005, second + 3);
    cr_assert_eq(object().offset, second + 3, "what comes next was cut before its start");
    cr_assert_eq(object().records, 2);
}

Test(engine_parts, an_end_proves_the_start_behind_it)
{
    split();
    uint64_t second = 1005 + cut_at(1005)->target;
    uint64_t third = second + cut_at(second)->target;
    cr_assert_eq(cut_at(1005)->proof, 1005, "the offset is a proof");
    cr_assert_eq(cut_at(second)->proof, 0);
    cut_at(second)->start = second + 1;
    cut_at(second)->end = third + 9;
    cr_assert_null(sync(0, 0, 3000));
    cr_assert_eq(cut_at(third)->proof, 0, "the end of a guess proves nothing");
    cut_at(1005)->start = 1005;
    cut_at(1005)->end = second + 4;
    const Penstock__SyncReply *orders = sync(0, 0, 3000);
    cr_assert_eq(orders->n_proofs, 1, "the other one was told");
    cr_assert_eq(cut_at(second)->proof, second + 4);
    cr_assert_eq(cut_at(third)->proof, 0, "the guess was wrong");
    cut_at(1005)->proven = cut_at(second)->proven = true;
    cut_at(second)->start = second + 4;
    (void)sync(0, 0, 3000);
    cr_assert_eq(cut_at(third)->proof, third + 9, "a chain of proven ends");
}

/* Somebody else's end wakes who waits for it. */
Test(engine_parts, a_loaded_part_wakes_the_next)
{
    split();
    uint64_t second = 1005 + cut_at(1005)->target;
    cut_at(second)->start = second + 7;
    cut_at(second)->end = second + 500;
    cut_at(1005)->proven = true;
    struct lease first = *cut_at(1005);
    (void)sync(0, 0, 0);
    cr_assert_null(sync(0, 0, 3000));
    size_t before = reply.count;
    Penstock__Done message = PENSTOCK__DONE__INIT;
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    Penstock__RangeEnd range = PENSTOCK__RANGE_END__INIT;
    Penstock__RangeEnd *ranges[] = {&range};
    range.bp_id = first.bp_id;
    range.bp_hash = proto_bytes(agent.life, PS_ID_BYTES);
    range.from = range.start = 1005;
    range.has_start = true;
    range.end = second + 7;
    message.origin = origin_of(&agent);
    message.batch_id = proto_bytes(first.batch, PS_ID_BYTES);
    message.epoch = first.epoch;
    message.counts = &counts;
    message.ends = ranges;
    message.n_ends = 1;
    send(MSG_DONE, &message.base);
    cr_assert_eq(reply.count, before + 2, "the report's answer, and the parked one's");
}

Test(engine_parts, all_parts_make_the_object_whole)
{
    split();
    uint64_t at = 1005;
    while (lease_count > 0) {
        uint64_t from = UINT64_MAX;
        for (size_t i = 0; i < lease_count; i++) {
            from = leases[i].from < from ? leases[i].from : from;
        }
        uint64_t to = from + cut_at(from)->target;
        uint64_t end = to >= SIZE ? SIZE : to + 2;
        done(cut_at(from), PENSTOCK__OUTCOME__OUTCOME_LOADED, at, end);
        at = end;
        (void)sync(2, 0, 0);
    }
    cr_assert_str_eq(object().state, "done");
    cr_assert(object().offset == SIZE && object().cut_offset == 0);
    submit(COMMAND_WATCH, NULL);
    cr_assert_str_eq(answer.state, "completed");
}

/* A record that is longer than a part: nothing begins in the parts that it covers. */
Test(engine_parts, a_record_over_several_parts)
{
    split();
    uint64_t second = 1005 + cut_at(1005)->target;
    uint64_t third = second + cut_at(second)->target;
    uint64_t fourth = third + cut_at(third)->target;
    done(cut_at(1005), PENSTOCK__OUTCOME__OUTCOME_LOADED, 1005, third + 10);
    done(cut_at(second), PENSTOCK__OUTCOME__OUTCOME_LOADED, second, second); /* as a ledger says */
    cr_assert_eq(object().offset, 1005, "the third one needs a boundary before its cut");
    done(cut_at(third), PENSTOCK__OUTCOME__OUTCOME_LOADED, third + 10, fourth);
    cr_assert_eq(object().offset, fourth);
}

Test(engine_parts, a_gap_is_never_passed)
{
    split();
    uint64_t second = 1005 + cut_at(1005)->target;
    uint64_t third = second + cut_at(second)->target;
    done(cut_at(second), PENSTOCK__OUTCOME__OUTCOME_LOADED, second + 9, third);
    done(cut_at(1005), PENSTOCK__OUTCOME__OUTCOME_LOADED, 1005, second + 2);
    cr_assert_str_eq(object().state, "quarantined");
    cr_assert_eq(strncmp(object().reason, "not_contiguous", 14), 0, "%s", object().reason);
    cr_assert_eq(object().offset, second + 2);
    while (lease_count > 0) {
        fail(&leases[0], PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "cancelled");
    }
    (void)sync(0, 0, 0);
    submit(COMMAND_START, NULL);
    cr_assert_str_eq(object().state, "quarantined", "a new start does not forget it");
}

Test(engine_parts, parts_come_back_after_a_restart)
{
    split();
    uint64_t second = 1005 + cut_at(1005)->target;
    uint64_t third = second + cut_at(second)->target;
    done(cut_at(second), PENSTOCK__OUTCOME__OUTCOME_LOADED, second, third);
    uint64_t cut = object().cut_offset;
    engine_free(engine);
    open_engine();
    seen = (Penstock__Stamp)PENSTOCK__STAMP__INIT;
    done(cut_at(1005), PENSTOCK__OUTCOME__OUTCOME_ALREADY, 1005, second);
    cr_assert(object().offset == third && object().cut_offset == cut);
    cut_at(third)->start = third;
    cut_at(third)->end = third + 900;
    (void)sync(0, 0, 0);
    cr_assert_eq(cut_at(third)->proof, third, "proofs follow from what is stored and held");
}

Test(engine_parts, a_tombstoned_part_is_cut_again)
{
    split();
    uint64_t second = 1005 + cut_at(1005)->target;
    uint64_t size = cut_at(second)->target;
    fail(cut_at(second), PENSTOCK__FAIL_CLASS__FAIL_FENCED, "fenced");
    submit(COMMAND_WATCH, NULL);
    cr_assert_str_eq(answer.state, "failed");
    (void)sync(2, 0, 0);
    struct lease *tombstone = cut_at(second);
    cr_assert(tombstone->tombstone);
    uint64_t rest = object().rest_bytes;
    done(tombstone, PENSTOCK__OUTCOME__OUTCOME_CANCELLED, 0, 0);
    cr_assert_eq(object().rest_bytes, rest + size);
    cr_assert_str_eq(object().state, "pending");
}

Test(engine_parts, a_part_that_fails_for_good_quarantines_its_object)
{
    split();
    uint64_t second = 1005 + cut_at(1005)->target;
    fail(cut_at(second), PENSTOCK__FAIL_CLASS__FAIL_PERMANENT, "source_changed");
    (void)sync(1, 0, 0);
    done(cut_at(second), PENSTOCK__OUTCOME__OUTCOME_CANCELLED, 0, 0);
    cr_assert_str_eq(object().state, "quarantined");
    done(cut_at(1005), PENSTOCK__OUTCOME__OUTCOME_LOADED, 1005, second + 1);
    cr_assert_eq(object().offset, second + 1, "what was on its way is not lost");
    cr_assert_str_eq(object().state, "quarantined");
    size_t before = lease_count;
    (void)sync(4, 0, 0);
    cr_assert_eq(lease_count, before, "nothing more of it is granted");
}

/* The state was deleted while parts were loaded out of their order. */
Test(engine_parts, holes_of_a_ledger_are_cut_between_what_it_knows)
{
    static const struct known known[] = {{0, 1003, false, NULL},
                                         {2100, 3100, false, NULL},
                                         {4000, 4000, false, NULL},
                                         {5000, 6007, false, NULL}};
    prepare(known, 4);
    cr_assert_eq(object().offset, 1003);
    cr_assert_eq(object().cut_offset, 6007);
    cr_assert_eq(object().rest_bytes, (2100 - 1003) + (5000 - 3100) + (SIZE - 6007));
    (void)sync(1, 0, 0);
    struct lease *first = cut_at(1003);
    cr_assert(first->cut && first->anchor == 1003 && first->proof == 1003);
    uint64_t at = 1003;
    while (at < 2100) { /* smaller cuts, but never beyond what is known */
        struct lease *lease = cut_at(at);
        cr_assert_leq(at + lease->target, 2100);
        uint64_t to = at + lease->target;
        done(lease, PENSTOCK__OUTCOME__OUTCOME_LOADED, at, to);
        at = to;
        (void)sync(2, 0, 0);
    }
    cr_assert_eq(object().offset, 3100, "over what the ledger knows");
}

/* ---- the ledger is read while leaves go on */
static bool
take_pipeline(void *ctx, const struct cat_pipeline *row)
{
    *(uint64_t *)ctx = row->bytes_pending;
    memcpy(ledger_uuid, row->uuid.id.b, PS_ID_BYTES);
    return true;
}

static uint64_t
bytes_pending(void)
{
    uint64_t bytes = 0;
    cr_assert_eq(cat_pipeline_all(catalog, take_pipeline, &bytes, &err), PS_OK, "%s", err.text);
    return bytes;
}

struct reading {
    uint8_t task_id[PS_ID_BYTES];
    uint64_t epoch;
    uint32_t chunk;
};

static void
begin_reading(const Penstock__SyncReply *orders, struct reading *out)
{
    const Penstock__Task *task = orders->n_tasks > 0 ? orders->tasks[orders->n_tasks - 1] : NULL;
    cr_assert(task != NULL && task->kind == PENSTOCK__TASK_KIND__TASK_RECONCILE);
    *out = (struct reading){.epoch = task->epoch};
    memcpy(out->task_id, task->task_id.data, PS_ID_BYTES);
}

static void
send_chunk(struct reading *reading, const struct known *known, size_t count, bool last)
{
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    result.origin = origin_of(&agent);
    result.task_id = proto_bytes(reading->task_id, PS_ID_BYTES);
    result.epoch = reading->epoch;
    result.chunk = reading->chunk++;
    result.ok = true;
    result.last = last;
    fill_known(&result, known, count);
    send(MSG_TASK_RESULT, &result.base);
    cr_assert_eq(report_answer(), PENSTOCK__ANSWER__ANSWER_OK);
}

/* Leases outlive the wish to read the ledger: what they end with between two chunks stays true. */
Test(engine_parts, what_is_settled_between_two_chunks_of_a_ledger_stays)
{
    split();
    uint64_t cut = object().cut_offset;
    const struct known known[] = {{0, 1005, false, NULL}, {cut + 100, cut + 600, false, NULL}};
    cr_assert_lt(known[1].end, SIZE);
    uint64_t second = 1005 + cut_at(1005)->target;
    uint64_t size = cut_at(second)->target;
    (void)bytes_pending(); /* and the uuid that the fence has */
    fail(cut_at(second), PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT, "range_conflict");
    struct reading reading;
    begin_reading(sync(1, 1, 0), &reading);
    cr_assert(cut_at(second)->tombstone);
    send_chunk(&reading, known, 2, false);
    done(cut_at(1005), PENSTOCK__OUTCOME__OUTCOME_LOADED, 1005, second);
    done(cut_at(second), PENSTOCK__OUTCOME__OUTCOME_CANCELLED, 0, 0);
    cr_assert_eq(object().offset, second);
    send_chunk(&reading, NULL, 0, true);
    cr_assert_eq(object().offset, second, "it never goes back");
    cr_assert_eq(object().cut_offset, cut + 600, "what the ledger knew is taken over");
    cr_assert_eq(object().rest_bytes, size + 100 + (SIZE - cut - 600));
    cr_assert_eq(bytes_pending(), object().rest_bytes);
}

/* A batch that is open here and loaded there, and behind it one that the catalog does not know. */
Test(engine_parts, a_batch_that_the_ledger_settles_is_passed_by_what_stands_behind_it)
{
    prepare(NULL, 0);
    (void)sync(1, 0, 0);
    (void)bytes_pending(); /* and the uuid that the fence has */
    const struct known known[] = {{.end = 1005, .batch = leases[0].batch},
                                  {.from = 1005, .end = 2007}};
    submit(COMMAND_RECONCILE, NULL);
    struct reading reading;
    begin_reading(sync(0, 1, 0), &reading);
    send_chunk(&reading, known, 2, true);
    cr_assert_eq(object().offset, 2007, "%llu", (unsigned long long)object().offset);
    cr_assert_eq(bytes_pending(), SIZE - 2007);
}

/* What would come in between is loaded, and not in what was read of the ledger so far. */
Test(engine_parts, nothing_is_discovered_while_a_ledger_is_read)
{
    looks_again = true;
    split();
    now_ms += 1000;
    (void)bytes_pending();
    uint8_t id[PS_ID_BYTES];
    Penstock__Task look = *sync(0, 1, 0)->tasks[0];
    cr_assert_eq(look.kind, PENSTOCK__TASK_KIND__TASK_DISCOVER);
    memcpy(id, look.task_id.data, sizeof id);
    look.task_id.data = id;
    fail(cut_at(1005), PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT, "range_conflict");
    struct reading reading;
    begin_reading(sync(0, 2, 0), &reading);
    send_chunk(&reading, (const struct known[]){{0, 1005, false, NULL}}, 1, false);
    key = "another.csv";
    send_chunk(&reading, (const struct known[]){{0, 500, true, NULL}}, 1, false);
    answer_task(&look, NULL, 0);
    send_chunk(&reading, (const struct known[]){{0, 500, true, NULL}}, 1, true);
    submit(COMMAND_WATCH, NULL);
    cr_assert_str_eq(answer.state, "running", "%s", answer.reason);
}

Test(engine_parts, an_older_agent_is_given_no_cuts)
{
    prepare(NULL, 0);
    (void)sync(1, 0, 0);
    done(&leases[0], PENSTOCK__OUTCOME__OUTCOME_LOADED, 0, 1005);
    takes_no_cuts = true;
    (void)sync(2, 0, 0);
    cr_assert_eq(lease_count, 0);
    takes_no_cuts = false;
    (void)sync(1, 0, 0);
    cr_assert_eq(lease_count, 4);
    fail(&leases[0], PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "drained");
    takes_no_cuts = true;
    (void)sync(2, 0, 0);
    cr_assert_eq(lease_count, 3, "nor one that was given back");
}

/* Where there is enough for all leaves, a chain stays a chain. */
Test(engine_parts, a_lone_leaf_takes_a_chain)
{
    prepare(NULL, 0);
    (void)sync(1, 0, 0);
    done(&leases[0], PENSTOCK__OUTCOME__OUTCOME_LOADED, 0, SIZE - 500);
    cr_assert_eq(object().cut_offset, 0, "no more than a batch is left");
    (void)sync(1, 0, 0);
    cr_assert(lease_count == 1 && !leases[0].cut && leases[0].from == SIZE - 500);
}
