/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves keep on disk: told once all have been heard, dropped on the coordinator's word alone;
 * a leaf whose destination is away is given more than two batches. */
#include "tests/unit/control/control_fake.h"

TestSuite(control_staged);

static void
leaf_staged(struct fake *fake, uint32_t leaf, const uint8_t *ids, size_t count)
{
    static uint8_t bytes[8][PS_ID_BYTES];
    Penstock__Staged staged[8];
    Penstock__Staged *staged_at[8];
    Penstock__LeafStaged message = PENSTOCK__LEAF_STAGED__INIT;
    for (size_t i = 0; i < count; i++) {
        penstock__staged__init(&staged[i]);
        bytes[i][0] = ids[i];
        staged[i].batch_id = proto_bytes(bytes[i], PS_ID_BYTES);
        staged[i].epoch = 3;
        staged[i].leaf = leaf;
        staged[i].bytes = 1000;
        staged_at[i] = &staged[i];
    }
    message.n_staged = count;
    message.staged = staged_at;
    fake_leaf_says(fake, leaf, MSG_LEAF_STAGED, &message.base);
}

static const Penstock__Sync *
last_sync(struct fake *fake, unsigned *out_slot)
{
    const Penstock__Sync *sync = NULL;
    for (size_t i = 0; i < fake->count; i++) {
        if (fake->sent[i].type == MSG_SYNC) {
            sync = (const Penstock__Sync *)fake->sent[i].message;
            *out_slot = fake->sent[i].where;
        }
    }
    cr_assert_not_null(sync);
    return sync;
}

static void
reply(struct fake *fake, unsigned slot, Penstock__Answer answer, uint8_t unstage)
{
    static uint8_t id[PS_ID_BYTES];
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    Penstock__SyncReply message = PENSTOCK__SYNC_REPLY__INIT;
    stamp.cluster_epoch = fake_epoch;
    stamp.commit_seq = fake_commit_seq++;
    message.stamp = &stamp;
    message.answer = answer;
    id[0] = unstage;
    ProtobufCBinaryData ids[] = {proto_bytes(id, PS_ID_BYTES)};
    message.unstage = ids;
    message.n_unstage = unstage == 0 ? 0 : 1;
    fake_answer(fake, slot, MSG_SYNC_REPLY, &message.base);
}

/* Else the first leaf that is up is given what another one has on its disk. */
Test(control_staged, nothing_is_asked_for_before_what_is_kept_is_told)
{
    fake_has_kept = true;
    struct fake *fake = fake_started(2);
    unsigned slot = 0;
    leaf_staged(fake, 0, (const uint8_t[]){1}, 1);
    cr_assert_eq(last_sync(fake, &slot)->n_wants, 0);
    leaf_staged(fake, 1, NULL, 0);
    cr_assert(last_sync(fake, &slot)->staged_all);
    cr_assert_eq(last_sync(fake, &slot)->n_wants, 2);
    fake_free(fake);
}

Test(control_staged, a_leaf_that_does_not_come_up_is_not_waited_for_without_end)
{
    fake_has_kept = true;
    struct fake *fake = fake_started(2);
    unsigned slot = 0;
    leaf_staged(fake, 0, (const uint8_t[]){1}, 1);
    (void)last_sync(fake, &slot);
    reply(fake, slot, PENSTOCK__ANSWER__ANSWER_OK, 0);
    cr_assert_eq(last_sync(fake, &slot)->n_wants, 0);
    fake_pass(fake, 5000);
    cr_assert_not(last_sync(fake, &slot)->staged_all);
    reply(fake, slot, PENSTOCK__ANSWER__ANSWER_OK, 0);
    cr_assert_gt(last_sync(fake, &slot)->n_wants, 0);
    fake_free(fake);
}

Test(control_staged, half_a_list_is_not_told)
{
    struct fake *fake = fake_started(2);
    unsigned slot = 0;
    cr_assert_not(last_sync(fake, &slot)->staged_all);
    leaf_staged(fake, 0, (const uint8_t[]){1, 2}, 2);
    cr_assert_not(last_sync(fake, &slot)->staged_all, "leaf 1 has not been heard");
    leaf_staged(fake, 1, (const uint8_t[]){3}, 1);
    const Penstock__Sync *sync = last_sync(fake, &slot);
    cr_assert(sync->staged_all, "it overtakes the parked one");
    cr_assert_eq(sync->n_staged, 3);
    cr_assert_eq(sync->staged[2]->leaf, 1);
    cr_assert_eq(sync->staged[2]->batch_id.data[0], 3);
    cr_assert_eq(sync->staged[0]->epoch, 3);
    fake_free(fake);
}

Test(control_staged, only_what_the_coordinator_names_is_dropped)
{
    struct fake *fake = fake_started(1);
    unsigned slot = 0;
    leaf_staged(fake, 0, (const uint8_t[]){1, 2}, 2);
    cr_assert(last_sync(fake, &slot)->staged_all);
    reply(fake, slot, PENSTOCK__ANSWER__ANSWER_NOT_READY, 0);
    fake_pass(fake, 2000);
    cr_assert(last_sync(fake, &slot)->staged_all, "it was not listened to: said again");
    reply(fake, slot, PENSTOCK__ANSWER__ANSWER_UNKNOWN, 0);
    cr_assert_null(fake_find(fake, MSG_LEAF_UNSTAGE), "UNKNOWN is of the agent, not of a batch");
    fake_skip(fake);
    fake_pass(fake, 2000);
    fake_skip(fake);
    fake_free(fake);

    fake = fake_started(1);
    leaf_staged(fake, 0, (const uint8_t[]){1, 2}, 2);
    (void)last_sync(fake, &slot);
    reply(fake, 1 - slot, PENSTOCK__ANSWER__ANSWER_OK, 0); /* the one it overtook */
    reply(fake, slot, PENSTOCK__ANSWER__ANSWER_OK, 9);
    cr_assert_null(fake_find(fake, MSG_LEAF_UNSTAGE), "nobody keeps that one");
    fake_pass(fake, 2000);
    cr_assert_not(last_sync(fake, &slot)->staged_all, "it has been said");
    reply(fake, slot, PENSTOCK__ANSWER__ANSWER_OK, 2);
    struct fake_sent *sent = fake_expect(fake, MSG_LEAF_UNSTAGE);
    const Penstock__LeafUnstage *unstage = (const Penstock__LeafUnstage *)sent->message;
    cr_assert_eq(unstage->n_batch_ids, 1);
    cr_assert_eq(unstage->batch_ids[0].data[0], 2);
    fake_free(fake);
}

static uint32_t
want_with(uint32_t leaves, uint32_t takes)
{
    struct fake *fake = fake_started(leaves);
    unsigned slot = 0;
    Penstock__LeafStatus status = PENSTOCK__LEAF_STATUS__INIT;
    Penstock__LeafProgress progress = PENSTOCK__LEAF_PROGRESS__INIT;
    progress.status = &status;
    progress.has_takes = true;
    progress.takes = takes;
    fake_leaf_says(fake, 0, MSG_LEAF_PROGRESS, &progress.base);
    const Penstock__Sync *sync = last_sync(fake, &slot);
    cr_assert_eq(sync->wants[0]->leaf, 0);
    uint32_t want = sync->wants[0]->batches;
    fake_free(fake);
    return want;
}

Test(control_staged, a_leaf_takes_more_while_its_destination_is_away)
{
    cr_assert_eq(want_with(1, 2), 2);
    cr_assert_eq(want_with(1, 12), 12);
    cr_assert_eq(want_with(1, 0), 2, "never fewer");
    cr_assert_eq(want_with(1, 1000000), CONTROL_AWAY_BATCHES);
    cr_assert_eq(control_batches_most(256), CONTROL_HELD_MOST / 256);
    cr_assert_eq(control_batches_most(1000000), 2);
}
