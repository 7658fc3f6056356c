/* SPDX-License-Identifier: Apache-2.0 */
/* The engine by hand: single messages and commands, virtual time, a catalog in memory. What follows
 * from many of them is in tests/sim. */
#include "tests/unit/engine/engine_hand.h"

#include "common/ids.h"

static struct hand_agent agent = {.name = "a", .life = {1}, .leaves = 1};

TestSuite(engine, .init = begin, .fini = finish);

/* ---- people */
static const char good[] = "{\"name\":\"p\",\"source\":{\"url\":\"file:/d/*.csv\"},"
                           "\"destination\":{\"url\":\"sqlite:/d/x.db\",\"table\":\"t\"}}";

static void
watch(uint64_t revision, uint32_t wait_ms)
{
    submit_command(
        (struct engine_command){.kind = COMMAND_WATCH, .revision = revision, .wait_ms = wait_ms});
}

static void
look(void)
{
    watch(0, 0);
}

Test(engine, put_makes_and_replaces)
{
    submit(COMMAND_PUT, good);
    cr_assert(answer.created);
    cr_assert_str_eq(answer.state, "created");
    uint64_t revision = answer.revision;
    submit(COMMAND_PUT, good);
    cr_assert(!answer.created && answer.revision == revision, "the same again changes nothing");
    submit_command((struct engine_command){
        .kind = COMMAND_PUT, .spec_json = ps_xstrdup(good), .revision = revision + 1});
    cr_assert_str_eq(answer.code, "revision_mismatch");
}

Test(engine, put_of_a_wrong_spec_names_all_errors)
{
    submit(COMMAND_PUT, "{\"name\":\"p\",\"sauce\":{},\"destination\":{\"url\":\"ftp:x\"}}");
    cr_assert_str_eq(answer.code, "invalid_spec");
    cr_assert_gt(answer.errors, 1);
    submit(COMMAND_PUT, "{");
    cr_assert_str_eq(answer.code, "invalid_spec");
    submit(COMMAND_PUT, NULL);
    cr_assert_str_eq(answer.code, "invalid_spec");
}

Test(engine, nothing_is_known_of_an_unknown_pipeline)
{
    const enum command_kind kinds[] = {COMMAND_START, COMMAND_STOP,   COMMAND_DELETE,
                                       COMMAND_WATCH, COMMAND_SAMPLE, COMMAND_REJECTS};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        submit(kinds[i], NULL);
        cr_assert_str_eq(answer.code, "not_found");
    }
}

Test(engine, a_started_pipeline_waits_for_an_agent_and_can_be_stopped)
{
    submit(COMMAND_PUT, good);
    submit(COMMAND_START, NULL);
    cr_assert_str_eq(answer.state, "preparing");
    look();
    cr_assert_str_eq(answer.reason, "waits for an agent");
    submit(COMMAND_DELETE, NULL);
    cr_assert_str_eq(answer.code, "pipeline_active");
    submit(COMMAND_STOP, NULL);
    look();
    cr_assert_str_eq(answer.state, "stopped");
    submit(COMMAND_DELETE, NULL);
    cr_assert_eq(answer.status, PS_OK);
    look();
    cr_assert_str_eq(answer.code, "not_found");
}

Test(engine, a_watch_waits_for_a_change)
{
    submit(COMMAND_PUT, good);
    uint64_t revision = answer.revision;
    size_t count = answer.count;
    watch(revision, 5000);
    cr_assert_eq(answer.count, count, "nothing has changed");
    submit(COMMAND_START, NULL);
    cr_assert_eq(answer.count, count + 2);
    cr_assert_gt(answer.revision, revision);
    revision = answer.revision;
    count = answer.count;
    watch(revision + 1000, 5000);
    now_ms += 5000;
    turn();
    cr_assert_eq(answer.count, count + 1, "its time is up");
}

Test(engine, a_sample_without_an_agent_is_refused_in_time)
{
    submit(COMMAND_PUT, good);
    size_t count = answer.count;
    submit(COMMAND_SAMPLE, NULL);
    cr_assert_eq(answer.count, count);
    now_ms += 5000;
    turn();
    cr_assert_eq(answer.count, count + 1);
    cr_assert_str_eq(answer.code, "no_agent");
}

Test(engine, whoever_waits_is_answered_at_the_end)
{
    submit(COMMAND_PUT, good);
    size_t count = answer.count;
    watch(1000, 60000);
    engine_free(engine);
    engine = NULL;
    cr_assert_eq(answer.count, count + 1);
    cr_assert_str_eq(answer.code, "shutting_down");
}

Test(engine, pipelines_come_back_after_a_restart)
{
    submit(COMMAND_PUT, good);
    submit(COMMAND_START, NULL);
    engine_free(engine);
    open_engine();
    look();
    cr_assert_str_eq(answer.state, "preparing");
}

/* ---- an agent */
static Penstock__Answer
hello_answer(void)
{
    hello(&agent);
    return ((const Penstock__HelloReply *)(void *)reply.message)->answer;
}

/* NULL: it is parked. */
static Penstock__SyncReply *
sync(uint32_t wait_ms, uint32_t want, uint32_t want_tasks)
{
    Penstock__Sync message = PENSTOCK__SYNC__INIT;
    Penstock__Want wants = PENSTOCK__WANT__INIT;
    Penstock__Want *wants_at[] = {&wants};
    size_t count = reply.count;
    wants.batches = want;
    message.origin = origin_of(&agent);
    message.wants = wants_at;
    message.n_wants = 1;
    message.has_want_tasks = message.has_wait_ms = true;
    message.want_tasks = want_tasks;
    message.wait_ms = wait_ms;
    send(MSG_SYNC, &message.base);
    return reply.count == count ? NULL : (Penstock__SyncReply *)(void *)reply.message;
}

Test(engine, an_agent_says_hello_first)
{
    Penstock__SyncReply *answer_to_sync = sync(0, 0, 0);
    cr_assert_eq(answer_to_sync->answer, PENSTOCK__ANSWER__ANSWER_UNKNOWN);
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK, "again is fine");
    cr_assert_eq(sync(0, 0, 0)->answer, PENSTOCK__ANSWER__ANSWER_OK);
    submit(COMMAND_AGENTS, NULL);
    cr_assert_eq(answer.agents, 1);
}

Test(engine, an_older_life_is_stale)
{
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    agent.life[0] = 2;
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    agent.life[0] = 1;
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_STALE);
    cr_assert_eq(sync(0, 0, 0)->answer, PENSTOCK__ANSWER__ANSWER_STALE);
    agent.life[0] = 2;
    cr_assert_eq(sync(0, 0, 0)->answer, PENSTOCK__ANSWER__ANSWER_OK);
}

Test(engine, a_parked_sync_is_answered_by_work_by_time_and_by_a_newer_one)
{
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_null(sync(3000, 1, 1));
    size_t count = reply.count;
    (void)sync(3000, 1, 1);
    cr_assert_eq(reply.count, count + 1, "the older one, and only that");
    now_ms += 3000;
    turn();
    cr_assert_eq(reply.count, count + 2);
    submit(COMMAND_PUT, good);
    count = reply.count;
    (void)sync(3000, 1, 1);
    cr_assert_eq(reply.count, count);
    submit(COMMAND_START, NULL);
    cr_assert_eq(reply.count, count + 1, "in the turn that made the work");
    Penstock__SyncReply *orders = (Penstock__SyncReply *)(void *)reply.message;
    cr_assert_eq(orders->n_tasks, 1);
    cr_assert_eq(orders->tasks[0]->kind, PENSTOCK__TASK_KIND__TASK_RECONCILE);
    cr_assert_eq(orders->n_specs, 1);
}

/* A heartbeat makes no transaction, and so no fsync. */
Test(engine, syncs_write_nothing)
{
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    uint64_t before = catalog_stamp(catalog).commit_seq;
    for (int i = 0; i < 100; i++) {
        now_ms += 100;
        (void)sync(0, 1, 1);
    }
    cr_assert_eq(catalog_stamp(catalog).commit_seq, before);
}

Test(engine, an_old_catalog_reads_its_ledgers_again)
{
    submit(COMMAND_PUT, good);
    submit(COMMAND_START, NULL);
    seen.cluster_epoch = 50;
    seen.commit_seq = 9000;
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    const Penstock__HelloReply *to_hello = (const Penstock__HelloReply *)(void *)reply.message;
    cr_assert_gt(to_hello->stamp->cluster_epoch, 50);
    cr_assert_gt(to_hello->stamp->commit_seq, 9000);
    cr_assert_not_null(ready_text);
    Penstock__SyncReply *orders = sync(0, 1, 1);
    cr_assert_eq(orders->n_tasks, 1);
    cr_assert_eq(orders->tasks[0]->kind, PENSTOCK__TASK_KIND__TASK_RECONCILE);
}

Test(engine, reports_of_what_nobody_knows_are_stale)
{
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    Penstock__Done done = PENSTOCK__DONE__INIT;
    Penstock__Counts counts = PENSTOCK__COUNTS__INIT;
    uint8_t id[PS_ID_BYTES] = {9};
    done.origin = origin_of(&agent);
    done.batch_id = proto_bytes(id, sizeof id);
    done.counts = &counts;
    send(MSG_DONE, &done.base);
    cr_assert_eq(report_answer(), PENSTOCK__ANSWER__ANSWER_STALE);
    done.batch_id = proto_bytes(id, 3); /* no id at all */
    done.origin = origin_of(&agent);
    send(MSG_DONE, &done.base);
    cr_assert_eq(report_answer(), PENSTOCK__ANSWER__ANSWER_STALE);
}

Test(engine, a_silent_agent_is_gone)
{
    cr_assert_eq(hello_answer(), PENSTOCK__ANSWER__ANSWER_OK);
    submit(COMMAND_PUT, good);
    submit(COMMAND_START, NULL);
    look();
    cr_assert_str_eq(answer.reason, "");
    for (int i = 0; i < 20; i++) { /* in small steps: a large one would be our own stall */
        now_ms += 1000;
        turn();
    }
    look();
    cr_assert_str_eq(answer.reason, "waits for an agent");
}
