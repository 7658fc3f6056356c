/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/leaf/leaf_link.h"

static struct leaf_link *ours;
static int theirs;

static void
set_up(void)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ours = leaf_link_new(fds[0]);
    theirs = fds[1];
}

static void
tear_down(void)
{
    leaf_link_free(ours);
    if (theirs >= 0) {
        close(theirs);
    }
}

TestSuite(leaf_link, .init = set_up, .fini = tear_down);

static struct ps_buf
turn_grant(uint64_t turn)
{
    struct ps_buf frame = PS_BUF_INIT;
    Penstock__TurnGrant grant;
    penstock__turn_grant__init(&grant);
    grant.dest = "2049:12";
    grant.turn = turn;
    cr_assert_eq(frame_append(&frame, MSG_TURN_GRANT, &grant.base, NULL), PS_OK);
    return frame;
}

Test(leaf_link, a_frame_arrives_however_it_is_cut)
{
    struct ps_buf frame = turn_grant(7);
    ProtobufCMessage *message = NULL;
    enum msg_type type = 0;
    for (size_t i = 0; i < frame.len; i++) {
        cr_assert_null(message);
        cr_assert_eq(write(theirs, frame.ptr + i, 1), 1);
        cr_assert_eq(leaf_link_receive(ours, 1000, &type, &message, NULL), PS_OK);
    }
    cr_assert_not_null(message);
    cr_assert_eq(type, MSG_TURN_GRANT);
    cr_assert_eq(((Penstock__TurnGrant *)message)->turn, 7);
    msg_free(message);
    ps_buf_fini(&frame);
}

Test(leaf_link, two_frames_in_one_write_come_one_after_the_other)
{
    struct ps_buf frame = turn_grant(1);
    struct ps_buf second = turn_grant(2);
    enum msg_type type = 0;
    ps_buf_xappend(&frame, second.ptr, second.len);
    cr_assert_eq(write(theirs, frame.ptr, frame.len), (ssize_t)frame.len);
    for (uint64_t turn = 1; turn <= 2; turn++) {
        ProtobufCMessage *message = NULL;
        cr_assert_eq(leaf_link_receive(ours, 1000, &type, &message, NULL), PS_OK);
        cr_assert_not_null(message);
        cr_assert_eq(((Penstock__TurnGrant *)message)->turn, turn);
        msg_free(message);
    }
    ps_buf_fini(&second);
    ps_buf_fini(&frame);
}

Test(leaf_link, the_agents_end_is_noticed_at_once)
{
    ProtobufCMessage *message = NULL;
    enum msg_type type = 0;
    struct ps_error err;
    close(theirs);
    theirs = -1;
    cr_assert_eq(leaf_link_receive(ours, 60000, &type, &message, &err), PS_CANCELED);
    Penstock__LeafDrain drain;
    penstock__leaf_drain__init(&drain);
    cr_assert_eq(leaf_link_send(ours, MSG_LEAF_DRAIN, &drain, &err), PS_CANCELED);
}

Test(leaf_link, garbage_is_refused)
{
    ProtobufCMessage *message = NULL;
    enum msg_type type = 0;
    struct ps_error err;
    char garbage[64] = "GET / HTTP/1.1";
    cr_assert_eq(write(theirs, garbage, sizeof garbage), (ssize_t)sizeof garbage);
    cr_assert_eq(leaf_link_receive(ours, 1000, &type, &message, &err), PS_BADDATA);
    cr_assert_null(message);
}
