/* SPDX-License-Identifier: Apache-2.0 */
/* Replays by hand: one pipeline, one agent, what it is given and what is counted. */
#include "tests/unit/engine/engine_hand.h"

static struct hand_agent agent = {.name = "a", .life = {1}, .leaves = 1};

static void
replay(const char *key, size_t bytes)
{
    struct engine_command command = {.kind = COMMAND_REPLAY,
                                     .key = ps_xstrdup(key),
                                     .body = ps_xcalloc(bytes, 1),
                                     .body_len = bytes};
    memset(command.body, 'x', bytes);
    submit_command(command);
}

/* A task as it was given. */
struct order {
    uint8_t task[PS_ID_BYTES], batch[PS_ID_BYTES];
    uint64_t epoch;
    size_t rows;
};

/* Asks for up to `most` tasks; returns how many came. */
static size_t
take_tasks(uint32_t most, struct order *out)
{
    Penstock__Sync message = PENSTOCK__SYNC__INIT;
    message.origin = origin_of(&agent);
    message.has_want_tasks = true;
    message.want_tasks = most;
    send(MSG_SYNC, &message.base);
    const Penstock__SyncReply *orders = (const Penstock__SyncReply *)(void *)reply.message;
    for (size_t i = 0; i < orders->n_tasks; i++) {
        const Penstock__Task *task = orders->tasks[i];
        cr_assert_eq(task->kind, PENSTOCK__TASK_KIND__TASK_REPLAY);
        cr_assert(task->stamp != NULL && task->replay != NULL);
        memcpy(out[i].task, task->task_id.data, PS_ID_BYTES);
        memcpy(out[i].batch, task->replay->batch_id.data, PS_ID_BYTES);
        out[i].epoch = task->epoch;
        out[i].rows = task->replay->rows.len;
    }
    return orders->n_tasks;
}

static Penstock__Answer
tell(const struct order *order, Penstock__Outcome outcome, uint64_t inserted, uint64_t rejected)
{
    struct order copy = *order;
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    Penstock__ReplayBatch batch = PENSTOCK__REPLAY_BATCH__INIT;
    Penstock__ReplayBatch *batches[] = {&batch};
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    counts.has_decoded = counts.has_inserted = counts.has_rejected = true;
    counts.decoded = inserted + rejected;
    counts.inserted = inserted;
    counts.rejected = rejected;
    batch.batch_id = proto_bytes(copy.batch, PS_ID_BYTES);
    batch.outcome = outcome;
    batch.counts = &counts;
    result.origin = origin_of(&agent);
    result.task_id = proto_bytes(copy.task, PS_ID_BYTES);
    result.epoch = copy.epoch;
    result.last = result.ok = true;
    result.replays = batches;
    result.n_replays = 1;
    send(MSG_TASK_RESULT, &result.base);
    return report_answer();
}

static void
begin_with_pipeline(void)
{
    begin();
    hello(&agent);
    submit(COMMAND_PUT, "{\"name\":\"p\",\"source\":{\"url\":\"file:/d/*.csv\"},"
                        "\"destination\":{\"url\":\"sqlite:/d/x.db\",\"table\":\"t\"}}");
}

TestSuite(engine_replay, .init = begin_with_pipeline, .fini = finish);

Test(engine_replay, what_is_told_twice_is_counted_once)
{
    struct order order;
    struct order again;
    replay("key", 10);
    cr_assert_eq(take_tasks(1, &order), 1);
    cr_assert_eq(order.rows, 10);
    size_t count = answer.count;
    cr_assert_eq(tell(&order, PENSTOCK__OUTCOME__OUTCOME_LOADED, 3, 1),
                 PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_eq(answer.count, count + 1);
    cr_assert(answer.loaded == 3 && answer.refused == 1 && !answer.already);

    /* The answer was lost: the same request is the same batch, and the ledger says the same. */
    replay("key", 10);
    cr_assert_eq(take_tasks(1, &again), 1);
    cr_assert_eq(memcmp(order.batch, again.batch, PS_ID_BYTES), 0);
    cr_assert_neq(memcmp(order.task, again.task, PS_ID_BYTES), 0);
    cr_assert_eq(tell(&again, PENSTOCK__OUTCOME__OUTCOME_ALREADY, 3, 1),
                 PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert(answer.loaded == 3 && answer.already);
    submit(COMMAND_WATCH, NULL);
    cr_assert(answer.inserted == 3 && answer.decoded == 4 && answer.replayed == 4,
              "inserted %d, decoded %d", (int)answer.inserted, (int)answer.decoded);
    cr_assert_eq(tell(&again, PENSTOCK__OUTCOME__OUTCOME_LOADED, 3, 1),
                 PENSTOCK__ANSWER__ANSWER_STALE, "its task is over");
}

Test(engine_replay, another_key_is_another_batch)
{
    struct order orders[2];
    replay("one", 10);
    replay("two", 10);
    cr_assert_eq(take_tasks(4, orders), 2);
    cr_assert_neq(memcmp(orders[0].batch, orders[1].batch, PS_ID_BYTES), 0);
}

Test(engine_replay, an_agents_next_life_gets_the_same_batch)
{
    struct order order;
    struct order again;
    replay("key", 10);
    cr_assert_eq(take_tasks(1, &order), 1);
    agent.life[0]++;
    hello(&agent);
    cr_assert_eq(take_tasks(1, &again), 1);
    cr_assert_eq(memcmp(order.batch, again.batch, PS_ID_BYTES), 0);
    cr_assert_gt(again.epoch, order.epoch);
    cr_assert_eq(tell(&order, PENSTOCK__OUTCOME__OUTCOME_LOADED, 1, 0),
                 PENSTOCK__ANSWER__ANSWER_STALE);
    cr_assert_eq(tell(&again, PENSTOCK__OUTCOME__OUTCOME_ALREADY, 1, 0),
                 PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_eq(answer.loaded, 1);
}

Test(engine_replay, large_ones_do_not_share_an_answer)
{
    struct order orders[4];
    replay("one", 400 * 1024);
    replay("two", 400 * 1024);
    replay("three", 400 * 1024);
    cr_assert_eq(take_tasks(4, orders), 1, "a frame holds 1 MiB");
    replay("four", 512 * 1024 + 1);
    cr_assert_str_eq(answer.code, "body_too_large");
}
