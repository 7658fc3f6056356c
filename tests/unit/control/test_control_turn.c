/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/control/control_fake.h"

static void
ask(struct fake *fake, uint32_t leaf, uint64_t turn, const char *dest)
{
    Penstock__TurnAsk message = PENSTOCK__TURN_ASK__INIT;
    message.dest = (char *)(uintptr_t)dest;
    message.turn = turn;
    fake_leaf_says(fake, leaf, MSG_TURN_ASK, &message.base);
}

static void
let_go(struct fake *fake, uint32_t leaf, uint64_t turn, const char *dest)
{
    Penstock__TurnRelease message = PENSTOCK__TURN_RELEASE__INIT;
    message.dest = (char *)(uintptr_t)dest;
    message.turn = turn;
    fake_leaf_says(fake, leaf, MSG_TURN_RELEASE, &message.base);
}

static void
expect_turn(struct fake *fake, uint32_t leaf, uint64_t turn)
{
    struct fake_sent *sent = fake_expect(fake, MSG_TURN_GRANT);
    cr_assert_eq(sent->where, leaf);
    cr_assert_eq(((Penstock__TurnGrant *)sent->message)->turn, turn);
    cr_assert_null(fake_find(fake, MSG_TURN_GRANT));
}

Test(control_turn, first_come_first_served_a_destination)
{
    struct fake *fake = fake_started(3);
    ask(fake, 2, 1, "8:1");
    expect_turn(fake, 2, 1);
    ask(fake, 0, 1, "8:1");
    ask(fake, 1, 1, "8:1");
    ask(fake, 0, 1, "8:1"); /* a repeat takes no second place */
    cr_assert_null(fake_find(fake, MSG_TURN_GRANT));
    ask(fake, 1, 2, "8:2"); /* another file is another line */
    expect_turn(fake, 1, 2);
    let_go(fake, 2, 1, "8:1");
    expect_turn(fake, 0, 1);
    let_go(fake, 2, 1, "8:1");
    cr_assert_null(fake_find(fake, MSG_TURN_GRANT));
    let_go(fake, 0, 1, "8:1");
    expect_turn(fake, 1, 1);
    let_go(fake, 1, 1, "8:1");
    ask(fake, 0, 2, "8:1");
    expect_turn(fake, 0, 2);
    fake_free(fake);
}

Test(control_turn, giving_up_while_waiting_keeps_the_order)
{
    struct fake *fake = fake_started(3);
    ask(fake, 0, 1, "f");
    expect_turn(fake, 0, 1);
    ask(fake, 1, 1, "f");
    ask(fake, 2, 1, "f");
    let_go(fake, 1, 1, "f");
    cr_assert_null(fake_find(fake, MSG_TURN_GRANT));
    let_go(fake, 0, 1, "f");
    expect_turn(fake, 2, 1);
    fake_free(fake);
}

Test(control_turn, a_dead_leaf_frees_all_its_places)
{
    struct fake *fake = fake_started(3);
    ask(fake, 0, 1, "f");
    expect_turn(fake, 0, 1);
    ask(fake, 0, 2, "f");
    ask(fake, 1, 1, "f");
    control_core_leaf_gone(fake->core, 0, false, "killed by signal 9");
    fake_turn(fake);
    expect_turn(fake, 1, 1);
    fake_free(fake);
}

Test(control_turn, who_waits_says_for_whom_and_how_long)
{
    struct fake *fake = fake_started(3);
    ask(fake, 2, 1, "f");
    ask(fake, 0, 1, "f");
    fake->now += 3400;
    fake_sync_reply(fake, &(struct fake_reply){0});
    const Penstock__Sync *sync = fake_last_sync(fake);
    cr_assert_str_eq(sync->leaves[0]->note, "waits for the writer turn held by leaf 2 for 3 s");
    cr_assert_null(sync->leaves[2]->note);
    fake_free(fake);
}
