/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/control/control_fake.h"

static void
task(struct fake *fake, uint8_t id)
{
    fake_sync_reply(fake, &(struct fake_reply){.task = id});
}

static void
page(struct fake *fake, uint32_t leaf, uint8_t id, bool last)
{
    uint8_t task_id[16] = {id};
    Penstock__LeafDiscovered message = PENSTOCK__LEAF_DISCOVERED__INIT;
    message.task_id = proto_bytes(task_id, 16);
    message.epoch = 1;
    message.cursor = proto_bytes("c", 1);
    message.last = last;
    fake_leaf_says(fake, leaf, MSG_LEAF_DISCOVERED, &message.base);
}

Test(control_task, one_a_leaf_and_the_rest_wait)
{
    struct fake *fake = fake_started(2);
    task(fake, 1);
    task(fake, 2);
    task(fake, 3);
    struct fake_sent *first = fake_expect(fake, MSG_LEAF_TASK);
    struct fake_sent *second = fake_expect(fake, MSG_LEAF_TASK);
    cr_assert_neq(first->where, second->where);
    cr_assert_null(fake_find(fake, MSG_LEAF_TASK));
    cr_assert_eq(fake_last_sync(fake)->n_tasks, 3);
    cr_assert_eq(fake_last_sync(fake)->want_tasks, 0);
    page(fake, first->where, 1, true);
    cr_assert_eq(fake_expect(fake, MSG_LEAF_TASK)->where, first->where);
    fake_free(fake);
}

Test(control_task, the_leaf_with_the_fewest_batches_gets_it)
{
    struct fake *fake = fake_started(2);
    fake_sync_reply(fake, &(struct fake_reply){.grant = 1, .epoch = 1, .leaf = 0});
    task(fake, 1);
    cr_assert_eq(fake_expect(fake, MSG_LEAF_TASK)->where, 1);
    fake_free(fake);
}

Test(control_task, a_page_is_acknowledged_by_the_coordinators_answer)
{
    struct fake *fake = fake_started(1);
    task(fake, 1);
    page(fake, 0, 1, false);
    cr_assert_null(fake_find(fake, MSG_LEAF_ACK));
    struct fake_sent *sent = fake_expect(fake, MSG_DISCOVERED);
    control_core_lost(fake->core, sent->where);
    fake_pass(fake, 50);
    sent = fake_expect(fake, MSG_DISCOVERED);
    cr_assert_null(fake_find(fake, MSG_LEAF_ACK));
    fake_report_reply(fake, sent->where, PENSTOCK__ANSWER__ANSWER_OK);
    Penstock__LeafAck *ack = (Penstock__LeafAck *)fake_expect(fake, MSG_LEAF_ACK)->message;
    cr_assert_eq(ack->answer, PENSTOCK__ANSWER__ANSWER_OK);
    page(fake, 0, 1, true);
    fake_report_reply(fake, fake_expect(fake, MSG_DISCOVERED)->where, PENSTOCK__ANSWER__ANSWER_OK);
    fake_sync_again(fake);
    cr_assert_eq(fake_last_sync(fake)->n_tasks, 0);
    cr_assert_eq(fake_last_sync(fake)->want_tasks, 1);
    fake_free(fake);
}

Test(control_task, stale_ends_the_task_and_tells_the_leaf)
{
    struct fake *fake = fake_started(1);
    task(fake, 1);
    page(fake, 0, 1, false);
    fake_report_reply(fake, fake_expect(fake, MSG_DISCOVERED)->where,
                      PENSTOCK__ANSWER__ANSWER_STALE);
    Penstock__LeafAck *ack = (Penstock__LeafAck *)fake_expect(fake, MSG_LEAF_ACK)->message;
    cr_assert_eq(ack->answer, PENSTOCK__ANSWER__ANSWER_STALE);
    page(fake, 0, 1, false);
    cr_assert_null(fake_find(fake, MSG_DISCOVERED));
    ack = (Penstock__LeafAck *)fake_expect(fake, MSG_LEAF_ACK)->message;
    cr_assert_eq(ack->answer, PENSTOCK__ANSWER__ANSWER_STALE);
    fake_free(fake);
}

/* The answer to what a leaf said of an old epoch names the task alone: it would end the new one. */
Test(control_task, a_new_epoch_waits_for_the_answer_to_the_old_one)
{
    struct fake *fake = fake_started(1);
    task(fake, 1);
    (void)fake_expect(fake, MSG_LEAF_TASK);
    page(fake, 0, 1, true);
    uint32_t slot = fake_expect(fake, MSG_DISCOVERED)->where;
    fake_sync_reply(fake, &(struct fake_reply){.task = 1, .task_epoch = 2});
    cr_assert_null(fake_find(fake, MSG_LEAF_TASK));
    fake_report_reply(fake, slot, PENSTOCK__ANSWER__ANSWER_STALE);
    struct fake_sent *ack = fake_expect(fake, MSG_LEAF_ACK);
    struct fake_sent *again = fake_expect(fake, MSG_LEAF_TASK);
    cr_assert_lt(ack, again, "in that order");
    fake_free(fake);
}

Test(control_task, a_dead_leafs_task_is_reported_and_its_last_page_still_counts)
{
    struct fake *fake = fake_started(1);
    task(fake, 1);
    page(fake, 0, 1, false);
    struct fake_sent *sent = fake_expect(fake, MSG_DISCOVERED);
    control_core_leaf_gone(fake->core, 0, false, "killed by signal 11");
    fake_turn(fake);
    Penstock__TaskResult *result =
        (Penstock__TaskResult *)fake_expect(fake, MSG_TASK_RESULT)->message;
    cr_assert(!result->ok && result->last);
    cr_assert_eq(result->fail_class, PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED);
    cr_assert_eq(control_core_reports_kept(fake->core), 2);
    fake_leaf_ready(fake, 0);
    fake_skip(fake);
    fake_report_reply(fake, sent->where, PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_null(fake_find(fake, MSG_LEAF_ACK), "not to its successor");
    fake_free(fake);
}

Test(control_task, drain_stops_tasks_without_waiting_for_answers)
{
    struct fake *fake = fake_started(1);
    task(fake, 1);
    task(fake, 2);
    fake_skip(fake);
    control_core_drain(fake->core);
    fake_turn(fake);
    cr_assert_not_null(fake_find(fake, MSG_LEAF_CANCEL_TASK));
    cr_assert_not_null(fake_find(fake, MSG_LEAF_ACK));
    Penstock__TaskResult *result =
        (Penstock__TaskResult *)fake_expect(fake, MSG_TASK_RESULT)->message;
    cr_assert_eq(result->fail_class, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL);
    cr_assert_eq(result->task_id.data[0], 2);
    fake_free(fake);
}
