/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that a leaf has on its disk, by hand: who is given them, for how long they wait for it,
 * and when it is told to give them up. Agents a and b, objects that are a batch each. */
#include "tests/unit/engine/engine_hand.h"

enum { SIZE = 1000, OBJECTS_MOST = 4, STEP_MS = 1000 };

struct lease {
    uint8_t batch[PS_ID_BYTES];
    uint64_t epoch;
    uint32_t leaf;
    uint64_t bp_id;
    uint64_t from;
};

/* What a Sync says. */
struct say {
    uint32_t want;
    uint32_t wait_ms;
    const struct lease *held; /* one, or none */
    bool stored;
    uint64_t away_ms;
    const struct lease *kept; /* one, or none: that is all there is */
    bool tasks;
};

static struct hand_agent a = {.name = "a", .life = {1}, .leaves = 1};
static struct hand_agent b = {.name = "b", .life = {2}, .leaves = 1};

TestSuite(engine_staged, .init = begin, .fini = finish);

/* NULL: it is parked. */
static const Penstock__SyncReply *
sync(struct hand_agent *agent, const struct say *say)
{
    Penstock__Sync message = PENSTOCK__SYNC__INIT;
    Penstock__Want want = PENSTOCK__WANT__INIT;
    Penstock__Held held = PENSTOCK__HELD__INIT;
    Penstock__Staged staged = PENSTOCK__STAGED__INIT;
    Penstock__LeafStatus status = PENSTOCK__LEAF_STATUS__INIT;
    size_t before = reply.count;
    want.batches = say->want;
    if (say->held != NULL) {
        held.batch_id = proto_bytes(say->held->batch, PS_ID_BYTES);
        held.epoch = say->held->epoch;
        held.phase = say->stored ? PENSTOCK__PHASE__PHASE_STAGE : PENSTOCK__PHASE__PHASE_FETCH;
        held.has_stored = true;
        held.stored = say->stored;
    }
    if (say->kept != NULL) {
        staged.batch_id = proto_bytes(say->kept->batch, PS_ID_BYTES);
        staged.epoch = say->kept->epoch;
        staged.bytes = SIZE;
    }
    status.has_away_ms = say->away_ms > 0;
    status.away_ms = say->away_ms;
    message.origin = origin_of(agent);
    message.wants = (Penstock__Want *[]){&want};
    message.n_wants = say->want > 0 ? 1 : 0;
    message.held = (Penstock__Held *[]){&held};
    message.n_held = say->held != NULL ? 1 : 0;
    message.staged = (Penstock__Staged *[]){&staged};
    message.n_staged = say->kept != NULL ? 1 : 0;
    message.leaves = (Penstock__LeafStatus *[]){&status};
    message.n_leaves = 1;
    message.has_staged_all = message.staged_all = true;
    message.has_want_tasks = message.has_wait_ms = true;
    message.want_tasks = say->tasks ? 1 : 0;
    message.wait_ms = say->wait_ms;
    send(MSG_SYNC, &message.base);
    return reply.count == before ? NULL : (const Penstock__SyncReply *)(const void *)reply.message;
}

static bool
take_grant(const Penstock__SyncReply *orders, struct lease *out)
{
    if (orders->n_grants == 0) {
        return false;
    }
    const Penstock__Grant *grant = orders->grants[0];
    *out = (struct lease){.epoch = grant->epoch,
                          .leaf = grant->leaf,
                          .bp_id = grant->batch->ranges[0]->bp_id,
                          .from = grant->batch->ranges[0]->from};
    memcpy(out->batch, grant->batch->batch_id.data, PS_ID_BYTES);
    return true;
}

static struct lease
granted(struct hand_agent *agent)
{
    struct lease lease = {0};
    cr_assert(take_grant(sync(agent, &(struct say){.want = 1}), &lease));
    return lease;
}

static bool
is_same(const struct lease *one, const struct lease *other)
{
    return memcmp(one->batch, other->batch, PS_ID_BYTES) == 0;
}

static bool
is_unstaged(const Penstock__SyncReply *orders, const struct lease *lease)
{
    bool found = false;
    for (size_t i = 0; orders != NULL && i < orders->n_unstage; i++) {
        found = found || memcmp(orders->unstage[i].data, lease->batch, PS_ID_BYTES) == 0;
    }
    return found;
}

/* ---- until batches are granted */
static void
answer_discover(Penstock__Discovered *page, size_t objects)
{
    static const char *const keys[OBJECTS_MOST] = {"1.csv", "2.csv", "3.csv", "4.csv"};
    Penstock__ObjectRef refs[OBJECTS_MOST];
    Penstock__ObjectRef *refs_at[OBJECTS_MOST];
    for (size_t i = 0; i < objects; i++) {
        penstock__object_ref__init(&refs[i]);
        refs[i].key = proto_bytes(keys[i], strlen(keys[i]));
        refs[i].version = proto_bytes("v1", 2);
        refs[i].has_size_bytes = true;
        refs[i].size_bytes = SIZE;
        refs_at[i] = &refs[i];
    }
    page->cursor = proto_bytes("", 0);
    page->last = true;
    page->objects = refs_at;
    page->n_objects = objects;
    send(MSG_DISCOVERED, &page->base);
}

static void
answer_task(const Penstock__Task *task, size_t objects)
{
    uint8_t id[PS_ID_BYTES];
    memcpy(id, task->task_id.data, PS_ID_BYTES);
    if (task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
        Penstock__Discovered page = PENSTOCK__DISCOVERED__INIT;
        page.epoch = task->epoch;
        page.task_id = proto_bytes(id, PS_ID_BYTES);
        page.origin = origin_of(&a);
        answer_discover(&page, objects);
        return;
    }
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    Penstock__DestState dest = PENSTOCK__DEST_STATE__INIT;
    Penstock__Column column = PENSTOCK__COLUMN__INIT;
    Penstock__Column *columns[] = {&column};
    column.name = column.type = (char *)(uintptr_t) "text";
    if (task->kind == PENSTOCK__TASK_KIND__TASK_RECONCILE) {
        result.dest = &dest;
    } else {
        result.columns = columns;
        result.n_columns = 1;
    }
    result.epoch = task->epoch;
    result.task_id = proto_bytes(id, PS_ID_BYTES);
    result.last = result.ok = true;
    result.origin = origin_of(&a);
    send(MSG_TASK_RESULT, &result.base);
}

static void
prepare(size_t objects)
{
    submit(COMMAND_PUT, "{\"name\":\"p\",\"source\":{\"url\":\"file:/d/*.csv\"},"
                        "\"destination\":{\"url\":\"sqlite:/d/x.db\",\"table\":\"t\"},"
                        "\"limits\":{\"batch_bytes\":1000}}");
    hello(&a);
    hello(&b);
    submit(COMMAND_START, NULL);
    for (int i = 0; i < 4 && strcmp(answer.state, "running") != 0; i++) {
        const Penstock__SyncReply *orders = sync(&a, &(struct say){.tasks = true});
        if (orders->n_tasks > 0) {
            answer_task(orders->tasks[0], objects);
        }
        submit(COMMAND_WATCH, NULL);
    }
    cr_assert_str_eq(answer.state, "running");
}

/* ---- reports */
static void
give_back(struct hand_agent *agent, const struct lease *lease)
{
    Penstock__Failed message = PENSTOCK__FAILED__INIT;
    message.origin = origin_of(agent);
    message.batch_id = proto_bytes(lease->batch, PS_ID_BYTES);
    message.epoch = lease->epoch;
    message.class_ = PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL;
    message.code = (char *)(uintptr_t) "drained";
    message.text = (char *)(uintptr_t) "because";
    send(MSG_FAILED, &message.base);
    cr_assert_eq(report_answer(), PENSTOCK__ANSWER__ANSWER_OK);
}

static void
done(struct hand_agent *agent, const struct lease *lease)
{
    Penstock__Done message = PENSTOCK__DONE__INIT;
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    Penstock__RangeEnd end = PENSTOCK__RANGE_END__INIT;
    end.bp_id = lease->bp_id;
    end.bp_hash = proto_bytes(lease->batch, PS_ID_BYTES);
    end.from = lease->from;
    end.end = SIZE;
    end.eof = true;
    message.origin = origin_of(agent);
    message.batch_id = proto_bytes(lease->batch, PS_ID_BYTES);
    message.epoch = lease->epoch;
    message.counts = &counts;
    message.ends = (Penstock__RangeEnd *[]){&end};
    message.n_ends = 1;
    send(MSG_DONE, &message.base);
    cr_assert_eq(report_answer(), PENSTOCK__ANSWER__ANSWER_OK);
}

/* a has decoded it, and given it back; nobody holds it. */
static struct lease
keep_one(size_t objects)
{
    prepare(objects);
    struct lease lease = granted(&a);
    give_back(&a, &lease);
    cr_assert(!is_unstaged(sync(&a, &(struct say){.kept = &lease}), &lease));
    return lease;
}

/* b asks once a second, and a goes on to say what it keeps. After how long b is given it. */
static int64_t
wait_for_grant(const struct lease *kept, uint64_t away_ms, struct lease *out)
{
    int64_t since_ms = now_ms;
    while (!take_grant(sync(&b, &(struct say){.want = 1}), out)) {
        cr_assert_lt(now_ms - since_ms, 20 * HAND_LEASE_MS, "it would wait for ever");
        now_ms += STEP_MS;
        (void)sync(&a, &(struct say){.kept = kept, .away_ms = away_ms});
    }
    return now_ms - since_ms;
}

/* ---- tests */
Test(engine_staged, who_has_it_is_given_it_before_anything_new)
{
    struct lease kept = keep_one(3);
    struct lease other = granted(&b);
    cr_assert(!is_same(&other, &kept), "a new one: that one is a's");
    struct lease again = granted(&a);
    cr_assert(is_same(&again, &kept) && again.epoch == kept.epoch + 1);
}

Test(engine_staged, it_waits_for_its_leaf_for_two_leases)
{
    struct lease kept = keep_one(1);
    struct lease got;
    int64_t waited_ms = wait_for_grant(&kept, 0, &got);
    cr_assert(is_same(&got, &kept));
    cr_assert_geq(waited_ms, 2 * HAND_LEASE_MS);
    cr_assert_leq(waited_ms, 2 * HAND_LEASE_MS + 2 * STEP_MS);
}

Test(engine_staged, what_is_no_longer_listed_is_anybodys)
{
    struct lease kept = keep_one(1);
    cr_assert_eq(sync(&b, &(struct say){.want = 1})->n_grants, 0);
    (void)sync(&a, &(struct say){0}); /* damaged, say */
    struct lease got = granted(&b);
    cr_assert(is_same(&got, &kept));
}

Test(engine_staged, what_another_has_loaded_is_given_up)
{
    struct lease kept = keep_one(1);
    struct lease got;
    (void)wait_for_grant(&kept, 0, &got);
    cr_assert(!is_unstaged(sync(&a, &(struct say){.kept = &kept}), &kept), "b may yet fail");
    cr_assert_null(sync(&a, &(struct say){.kept = &kept, .wait_ms = 3000}));
    size_t before = reply.count;
    done(&b, &got);
    cr_assert_eq(reply.count, before + 2, "the report's answer, and the parked one's");
    cr_assert(is_unstaged(sync(&a, &(struct say){.kept = &kept}), &kept), "and again while listed");
}

Test(engine_staged, what_it_has_loaded_itself_it_gives_up_itself)
{
    struct lease kept = keep_one(1);
    struct lease again = granted(&a);
    cr_assert(is_same(&again, &kept));
    cr_assert_null(sync(&a, &(struct say){.held = &again, .stored = true, .wait_ms = 3000}));
    size_t before = reply.count;
    done(&a, &again);
    cr_assert_eq(reply.count, before + 1, "nothing is said to it but that the report has come");
}

Test(engine_staged, one_copy_is_enough)
{
    struct lease kept = keep_one(1);
    struct lease got;
    (void)wait_for_grant(&kept, 0, &got);
    (void)sync(&b, &(struct say){.held = &got, .stored = true});
    cr_assert(is_unstaged(sync(&a, &(struct say){0}), &kept), "b has decoded it, too");
}

/* A catalog that has yet to read its ledgers may not know what it will know. */
Test(engine_staged, what_nobody_knows_is_given_up_by_a_whole_catalog_only)
{
    struct lease stranger = {.batch = {99}, .epoch = 3};
    prepare(1);
    cr_assert(is_unstaged(sync(&a, &(struct say){.kept = &stranger}), &stranger));
    seen.cluster_epoch = 50;
    seen.commit_seq = 9000;
    hello(&a);
    hello(&b);
    cr_assert(!is_unstaged(sync(&a, &(struct say){.kept = &stranger}), &stranger));
}

/* a cannot reach the destination. */
Test(engine_staged, who_is_cut_off_gives_back_what_others_can_load)
{
    struct say away = {.stored = true, .away_ms = 100000};
    prepare(2);
    struct lease lease = granted(&a);
    away.held = &lease;
    cr_assert_eq(sync(&a, &away)->n_cancels, 0, "nobody else works for the pipeline");
    struct lease other = granted(&b);
    away.away_ms = 59999;
    cr_assert_eq(sync(&a, &away)->n_cancels, 0, "it may come back");
    away.away_ms = 60000;
    const Penstock__SyncReply *orders = sync(&a, &away);
    cr_assert_eq(orders->n_cancels, 1);
    give_back(&a, &lease);
    away = (struct say){.kept = &lease, .away_ms = 61000, .want = 1};
    cr_assert_eq(sync(&a, &away)->n_grants, 0, "nothing more is given to it");
    struct lease got = {0};
    cr_assert(take_grant(sync(&b, &(struct say){.held = &other, .want = 1}), &got));
    cr_assert(is_same(&got, &lease), "at once: its leaf cannot load it");
}

Test(engine_staged, a_restart_of_the_coordinator_waits_for_who_had_it)
{
    prepare(1);
    struct lease lease = granted(&a);
    give_back(&a, &lease);
    engine_free(engine);
    open_engine();
    hello(&b);
    cr_assert_eq(sync(&b, &(struct say){.want = 1})->n_grants, 0,
                 "a may have it, and has a moment");
    now_ms += 4000;
    hello(&a);
    cr_assert(!is_unstaged(sync(&a, &(struct say){.kept = &lease}), &lease));
    now_ms += 2000;
    cr_assert_eq(sync(&b, &(struct say){.want = 1})->n_grants, 0, "it has it");
    struct lease again = granted(&a);
    cr_assert(is_same(&again, &lease));
}
