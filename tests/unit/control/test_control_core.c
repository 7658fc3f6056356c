/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's decisions, with nothing around them but paper. */
#include "tests/unit/control/control_fake.h"

static uint32_t
want_of(const Penstock__Sync *sync, uint32_t leaf)
{
    for (size_t i = 0; i < sync->n_wants; i++) {
        if (sync->wants[i]->leaf == leaf) {
            return sync->wants[i]->batches;
        }
    }
    return 0;
}

static void
grant(struct fake *fake, uint8_t batch, uint64_t epoch, uint32_t leaf)
{
    fake_sync_reply(fake, &(struct fake_reply){.grant = batch, .epoch = epoch, .leaf = leaf});
}

Test(control, starts_leaves_and_says_hello_at_once)
{
    struct fake *fake = fake_new(2);
    fake_turn(fake);
    cr_assert_eq(fake->spawns[0], 1);
    cr_assert_eq(fake->spawns[1], 1);
    cr_assert(!control_core_is_greeted(fake->core));
    fake_hello_ok(fake);
    cr_assert(control_core_is_greeted(fake->core));
    const Penstock__Sync *sync = fake_last_sync(fake);
    cr_assert_eq(want_of(sync, 0), 2, "a leaf that is starting for the first time is trusted");
    cr_assert_eq(want_of(sync, 1), 2);
    cr_assert_eq(sync->want_tasks, 2);
    cr_assert_eq(sync->origin->seen->cluster_epoch, fake_epoch);
    fake_free(fake);
}

Test(control, a_grant_reaches_the_leaf_after_its_document_and_once)
{
    struct fake *fake = fake_started(2);
    grant(fake, 1, 10, 1);
    struct fake_sent *spec = fake_expect(fake, MSG_LEAF_SPEC);
    struct fake_sent *given = fake_expect(fake, MSG_LEAF_GRANT);
    cr_assert(spec < given);
    cr_assert_eq(given->where, 1);
    cr_assert_eq(((Penstock__LeafGrant *)given->message)->stamp->cluster_epoch, fake_epoch);
    const Penstock__Sync *sync = fake_last_sync(fake);
    cr_assert_eq(sync->n_held, 1);
    cr_assert_eq(sync->n_known, 1);
    cr_assert_eq(want_of(sync, 1), 1);
    grant(fake, 1, 10, 1);
    cr_assert_null(fake_find(fake, MSG_LEAF_GRANT), "a repeat is nothing new");
    grant(fake, 2, 11, 1);
    cr_assert_not_null(fake_find(fake, MSG_LEAF_GRANT));
    cr_assert_null(fake_find(fake, MSG_LEAF_SPEC), "the document is sent once a process");
    fake_free(fake);
}

Test(control, a_third_batch_waits_in_the_agent)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    grant(fake, 2, 11, 0);
    grant(fake, 3, 12, 0);
    cr_assert_not_null(fake_find(fake, MSG_LEAF_GRANT));
    cr_assert_not_null(fake_find(fake, MSG_LEAF_GRANT));
    cr_assert_null(fake_find(fake, MSG_LEAF_GRANT));
    cr_assert_eq(want_of(fake_last_sync(fake), 0), 0);
    cr_assert_eq(fake_last_sync(fake)->n_held, 3);
    fake_leaf_done(fake, 0, 1, 10);
    cr_assert_not_null(fake_find(fake, MSG_LEAF_GRANT));
    fake_free(fake);
}

Test(control, room_for_more_overtakes_a_parked_sync)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    grant(fake, 2, 11, 0);
    fake_skip(fake);
    uint64_t parked = fake_last_sync(fake)->origin->seq;
    fake_leaf_done(fake, 0, 1, 10);
    const Penstock__Sync *sync = fake_last_sync(fake);
    cr_assert_gt(sync->origin->seq, parked);
    cr_assert_eq(want_of(sync, 0), 1);
    cr_assert_eq(sync->n_held, 2, "a report without an answer is still held");
    fake_leaf_done(fake, 0, 2, 11);
    cr_assert_eq(fake_last_sync(fake), sync, "two are outstanding: no third");
    fake_free(fake);
}

/* The coordinator repeats a grant that a Sync does not list, as the answer to the Sync before that
 * carried it and may be lost. Where it is only late the batch can be over before the repeat comes.
 */
Test(control, a_grant_that_an_answer_under_way_repeats_is_not_begun_again)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    cr_assert_not_null(fake_find(fake, MSG_LEAF_GRANT));
    const Penstock__Sync *parked = fake_last_sync(fake);
    fake_leaf_done(fake, 0, 1, 10);
    cr_assert_neq(fake_last_sync(fake), parked, "two are outstanding");
    fake_report_reply(fake, fake_expect(fake, MSG_DONE)->where, PENSTOCK__ANSWER__ANSWER_OK);
    struct fake_reply again = {.grant = 1, .epoch = 10};
    for (unsigned slot = 0; slot < CONTROL_SYNC_SLOTS; slot++) {
        fake_sync_reply_on(fake, slot, &again);
        cr_assert_null(fake_find(fake, MSG_LEAF_GRANT), "slot %u", slot);
    }
    fake_pass(fake, 1000);
    cr_assert_eq(fake_last_sync(fake)->n_held, 0);
    grant(fake, 1, 10, 0);
    cr_assert_not_null(fake_find(fake, MSG_LEAF_GRANT), "asked afterwards: it has lost its memory");
    fake_free(fake);
}

Test(control, a_report_is_repeated_until_it_is_answered)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    fake_leaf_done(fake, 0, 1, 10);
    uint64_t seq = 0;
    for (int i = 0; i < 40; i++) { /* the coordinator is away for longer than self-stop */
        struct fake_sent *done = fake_expect(fake, MSG_DONE);
        cr_assert_gt(((Penstock__Done *)done->message)->origin->seq, seq);
        seq = ((Penstock__Done *)done->message)->origin->seq;
        control_core_lost(fake->core, done->where);
        fake_progress(fake, 0);
        fake_pass(fake, 1000);
    }
    cr_assert_eq(control_core_reports_kept(fake->core), 1);
    fake_report_reply(fake, fake_expect(fake, MSG_DONE)->where, PENSTOCK__ANSWER__ANSWER_OK);
    cr_assert_eq(control_core_reports_kept(fake->core), 0);
    fake_sync_again(fake);
    cr_assert_eq(fake_last_sync(fake)->n_held, 0);
    fake_free(fake);
}

Test(control, a_stale_answer_drops_the_report)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    fake_leaf_done(fake, 0, 1, 10);
    fake_report_reply(fake, fake_expect(fake, MSG_DONE)->where, PENSTOCK__ANSWER__ANSWER_STALE);
    cr_assert_eq(control_core_reports_kept(fake->core), 0);
    fake_pass(fake, 5000);
    cr_assert_null(fake_find(fake, MSG_DONE));
    fake_free(fake);
}

Test(control, unknown_is_answered_by_a_hello_and_a_repeat)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    fake_leaf_done(fake, 0, 1, 10);
    fake_skip(fake);
    for (size_t i = 0; i < fake->count; i++) {
        if (fake->sent[i].type == MSG_DONE) {
            fake_report_reply(fake, fake->sent[i].where, PENSTOCK__ANSWER__ANSWER_UNKNOWN);
            break;
        }
    }
    cr_assert_null(fake_find(fake, MSG_DONE), "nothing is reported to a stranger");
    control_core_lost(fake->core, 0);
    control_core_lost(fake->core, 1);
    fake_pass(fake, 100);
    fake_hello_ok(fake);
    fake_pass(fake, 100);
    struct fake_sent *done = fake_expect(fake, MSG_DONE);
    fake_report_reply(fake, done->where, PENSTOCK__ANSWER__ANSWER_UNKNOWN);
    cr_assert_eq(control_core_reports_kept(fake->core), 0, "twice unknown: dropped");
    fake_free(fake);
}

Test(control, nothing_new_begins_once_the_coordinator_is_silent)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    grant(fake, 2, 11, 0);
    grant(fake, 3, 12, 0);
    fake_skip(fake);
    for (int i = 0; i < 11; i++) {
        fake_progress(fake, 0);
        fake_pass(fake, 1000);
    }
    fake_leaf_done(fake, 0, 1, 10);
    cr_assert_null(fake_find(fake, MSG_LEAF_GRANT), "self-stopped");
    cr_assert_eq(fake->kills[0], 0, "what is held goes on");
    fake_sync_reply(fake, &(struct fake_reply){0});
    cr_assert_not_null(fake_find(fake, MSG_LEAF_GRANT));
    fake_free(fake);
}

Test(control, a_silent_leaf_is_killed_reported_and_replaced)
{
    struct fake *fake = fake_started(2);
    grant(fake, 1, 10, 0);
    grant(fake, 2, 11, 1);
    fake_skip(fake);
    for (int i = 0; i < 6; i++) {
        fake_progress(fake, 1);
        fake_pass(fake, 1000);
    }
    cr_assert_eq(fake->kills[0], 1);
    cr_assert_eq(fake->kills[1], 0);
    cr_assert_null(fake_find(fake, MSG_FAILED), "not before its end is certain");
    control_core_leaf_gone(fake->core, 0, false, "killed by signal 9");
    fake_turn(fake);
    cr_assert_eq(fake->spawns[0], 2, "the first time at once");
    const Penstock__Failed *failed =
        (const Penstock__Failed *)fake_expect(fake, MSG_FAILED)->message;
    cr_assert_eq(failed->class_, PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED);
    cr_assert_eq(failed->leaf, 0);
    cr_assert_str_eq(failed->text, "killed by signal 9");
    cr_assert_null(fake_find(fake, MSG_FAILED));
    control_core_leaf_gone(fake->core, 0, false, "ended with status 1");
    fake_turn(fake);
    cr_assert_eq(fake->spawns[0], 2, "a second death in a row waits");
    fake_pass(fake, 200);
    cr_assert_eq(fake->spawns[0], 3);
    fake_free(fake);
}

Test(control, our_own_stall_kills_nobody)
{
    struct fake *fake = fake_started(1);
    fake->now += 60000; /* SIGSTOP, SIGCONT */
    fake_turn(fake);
    cr_assert_eq(fake->kills[0], 0);
    fake_pass(fake, 5500);
    cr_assert_eq(fake->kills[0], 1, "but silence since then counts");
    fake_free(fake);
}

Test(control, a_leaf_that_cannot_be_spawned_is_tried_again)
{
    struct fake *fake = fake_new(1);
    fake->refuse_spawn = true;
    fake_turn(fake);
    fake_pass(fake, 30000);
    cr_assert(fake->spawns[0] > 5 && fake->spawns[0] < 40, "%u", fake->spawns[0]);
    fake->refuse_spawn = false;
    fake_pass(fake, 6000);
    fake_leaf_ready(fake, 0);
    fake_free(fake);
}

Test(control, an_older_epoch_is_cancelled_before_the_newer_begins)
{
    struct fake *fake = fake_started(2);
    grant(fake, 1, 10, 0);
    fake_skip(fake);
    grant(fake, 1, 12, 1);
    struct fake_sent *cancel = fake_expect(fake, MSG_LEAF_CANCEL);
    cr_assert_eq(cancel->where, 0);
    cr_assert_eq(((Penstock__LeafCancel *)cancel->message)->epoch, 10);
    cr_assert_null(fake_find(fake, MSG_LEAF_GRANT), "one process on a batch at a time");
    grant(fake, 1, 11, 1);
    cr_assert_null(fake_find(fake, MSG_LEAF_GRANT), "an epoch never goes back");
    fake_leaf_done(fake, 0, 1, 10);
    cr_assert_eq(fake_expect(fake, MSG_LEAF_GRANT)->where, 1);
    fake_free(fake);
}

Test(control, cancel_gives_back_what_waits_and_asks_the_leaf_otherwise)
{
    struct fake *fake = fake_started(1);
    for (uint8_t i = 1; i <= 3; i++) {
        grant(fake, i, 10, 0);
    }
    fake_skip(fake);
    fake_sync_reply(fake, &(struct fake_reply){.cancel = 3, .epoch = 10});
    const Penstock__Failed *failed =
        (const Penstock__Failed *)fake_expect(fake, MSG_FAILED)->message;
    cr_assert_eq(failed->class_, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL);
    cr_assert_null(fake_find(fake, MSG_LEAF_CANCEL));
    fake_sync_reply(fake, &(struct fake_reply){.cancel = 1, .epoch = 10});
    cr_assert_not_null(fake_find(fake, MSG_LEAF_CANCEL));
    fake_sync_reply(fake, &(struct fake_reply){.cancel = 1, .epoch = 10});
    cr_assert_null(fake_find(fake, MSG_LEAF_CANCEL), "once is enough");
    fake_sync_reply(fake, &(struct fake_reply){.cancel = 1, .epoch = 9});
    fake_sync_reply(fake, &(struct fake_reply){.cancel = 77, .epoch = 10});
    cr_assert_null(fake_find(fake, MSG_LEAF_CANCEL));
    fake_free(fake);
}

Test(control, an_outdated_coordinator_is_not_obeyed)
{
    struct fake *fake = fake_started(1);
    fake_sync_reply(fake,
                    &(struct fake_reply){.grant = 1, .epoch = 10, .cluster_epoch = fake_epoch - 1});
    cr_assert_null(fake_find(fake, MSG_LEAF_GRANT));
    fake_pass(fake, 2000);
    cr_assert_eq(fake_last_sync(fake)->n_held, 0);
    cr_assert_eq(fake_last_sync(fake)->origin->seen->cluster_epoch, fake_epoch);
    fake_free(fake);
}

Test(control, a_coordinator_that_never_parks_does_not_make_us_spin)
{
    struct fake *fake = fake_started(1);
    size_t before = fake->count;
    int64_t end = fake->now + 10000;
    while (fake->now < end) {
        struct fake_sent *sync = fake_find(fake, MSG_SYNC);
        if (sync != NULL) {
            fake_sync_reply_on(fake, sync->where, &(struct fake_reply){0});
        } else {
            fake_progress(fake, 0);
            fake->now = fake->next < end ? fake->next : end;
            fake_turn(fake);
        }
    }
    cr_assert_lt(fake->count - before, 60);
    fake_free(fake);
}

Test(control, superseded_ends_everything)
{
    struct fake *fake = fake_started(2);
    fake_sync_reply(fake, &(struct fake_reply){.answer = PENSTOCK__ANSWER__ANSWER_STALE});
    cr_assert_eq(control_core_state(fake->core), CONTROL_SUPERSEDED);
    cr_assert_eq(fake->kills[0] + fake->kills[1], 2);
    fake_free(fake);
}

Test(control, drain_gives_back_and_waits_for_the_leaves_and_the_reports)
{
    struct fake *fake = fake_started(2);
    for (uint8_t i = 1; i <= 3; i++) {
        grant(fake, i, 10, 0);
    }
    fake_skip(fake);
    control_core_drain(fake->core);
    fake_turn(fake);
    cr_assert_not_null(fake_find(fake, MSG_LEAF_DRAIN));
    cr_assert_not_null(fake_find(fake, MSG_LEAF_DRAIN));
    cr_assert(fake_last_sync(fake)->draining, "said at once, over the parked sync");
    cr_assert_eq(fake_last_sync(fake)->n_wants, 0);
    struct fake_sent *failed = fake_expect(fake, MSG_FAILED);
    fake_report_reply(fake, failed->where, PENSTOCK__ANSWER__ANSWER_OK);
    fake_leaf_done(fake, 0, 1, 10);
    control_core_leaf_gone(fake->core, 0, true, "ended with status 0");
    control_core_leaf_gone(fake->core, 1, true, "ended with status 0");
    fake_turn(fake);
    cr_assert_eq(fake->spawns[0], 1);
    cr_assert_eq(control_core_state(fake->core), CONTROL_RUNNING, "a report is on its way");
    fake_report_reply(fake, fake_expect(fake, MSG_DONE)->where, PENSTOCK__ANSWER__ANSWER_OK);
    const Penstock__Failed *left = (const Penstock__Failed *)fake_expect(fake, MSG_FAILED)->message;
    cr_assert_eq(left->class_, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "its leaf ended as told");
    fake_pass(fake, 9000);
    cr_assert_eq(control_core_state(fake->core), CONTROL_RUNNING);
    fake_pass(fake, 1500);
    cr_assert_eq(control_core_state(fake->core), CONTROL_DRAINED, "not for ever");
    fake_free(fake);
}

Test(control, a_refused_hello_ends_a_new_agent)
{
    struct fake *fake = fake_new(1);
    fake_turn(fake);
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    Penstock__HelloReply reply = PENSTOCK__HELLO_REPLY__INIT;
    reply.stamp = &stamp;
    reply.answer = PENSTOCK__ANSWER__ANSWER_REFUSED;
    reply.text = "speaks another protocol";
    fake_answer(fake, fake_expect(fake, MSG_HELLO)->where, MSG_HELLO_REPLY, &reply.base);
    cr_assert_eq(control_core_state(fake->core), CONTROL_REFUSED);
    cr_assert_str_eq(control_core_reason(fake->core), "speaks another protocol");
    fake_free(fake);
}

Test(control, a_decoded_cut_overtakes_a_parked_sync_and_its_proof_reaches_the_leaf)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    const Penstock__Sync *before = fake_last_sync(fake);
    cr_assert(!before->held[0]->has_start);
    fake_progress_cut(fake, 1, 10, (uint64_t[]){70, 130}, false);
    const Penstock__Sync *sync = fake_last_sync(fake);
    cr_assert_neq(sync, before, "others wait for its end");
    cr_assert_eq(sync->held[0]->start, 70);
    cr_assert_eq(sync->held[0]->end, 130);
    cr_assert(!sync->held[0]->proven);
    fake_sync_reply(fake, &(struct fake_reply){.proof = 1, .epoch = 10, .start = 70});
    const struct fake_sent *sent = fake_expect(fake, MSG_LEAF_PROOF);
    const Penstock__LeafProof *proof = (const Penstock__LeafProof *)sent->message;
    cr_assert_eq(sent->where, 0);
    cr_assert_eq(proof->proof->start, 70);
    fake_sync_reply(fake, &(struct fake_reply){.proof = 1, .epoch = 10, .start = 70});
    fake_sync_reply(fake, &(struct fake_reply){.proof = 2, .epoch = 10, .start = 9});
    cr_assert_null(fake_find(fake, MSG_LEAF_PROOF), "a repeat, or not held: nothing new");
    before = fake_last_sync(fake);
    fake_progress_cut(fake, 1, 10, (uint64_t[]){70, 130}, true);
    cr_assert_eq(fake_last_sync(fake), before, "what it says itself is no news to it");
    fake_free(fake);
}

Test(control, a_proof_waits_with_its_batch_for_the_leaf)
{
    struct fake *fake = fake_started(1);
    grant(fake, 1, 10, 0);
    grant(fake, 2, 11, 0);
    grant(fake, 3, 12, 0);
    fake_skip(fake);
    fake_sync_reply(fake, &(struct fake_reply){.proof = 3, .epoch = 12, .start = 5});
    cr_assert_null(fake_find(fake, MSG_LEAF_PROOF));
    fake_leaf_done(fake, 0, 1, 10);
    struct fake_sent *given = fake_expect(fake, MSG_LEAF_GRANT);
    cr_assert(given < fake_expect(fake, MSG_LEAF_PROOF));
    fake_free(fake);
}
