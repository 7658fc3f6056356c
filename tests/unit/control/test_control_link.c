/* SPDX-License-Identifier: Apache-2.0 */
/* The real line, to a coordinator made of one REP socket. */
#include <criterion/criterion.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/control/control_link.h"
#include "common/clock.h"

enum { DEADLINE_MS = 20000 };

static char url[64];

static void
make_url(void)
{
    snprintf(url, sizeof url, "ipc:///tmp/ps-link-%d-%d", (int)getpid(),
             (int)(ps_clock_mono_ns() % 100000));
}

static nng_socket
open_server(void)
{
    nng_socket server;
    cr_assert_eq(nng_rep0_open(&server), 0);
    cr_assert_eq(nng_socket_set_ms(server, NNG_OPT_RECVTIMEO, DEADLINE_MS), 0);
    cr_assert_eq(nng_listen(server, url, NULL, 0), 0);
    return server;
}

/* Takes one request and sends the same bytes back. */
static void
echo(nng_socket server)
{
    nng_msg *msg = NULL;
    cr_assert_eq(nng_recvmsg(server, &msg, 0), 0);
    cr_assert_eq(nng_sendmsg(server, msg, 0), 0);
}

static void
send_turn(struct control_link *link, unsigned slot, uint64_t turn, uint32_t timeout_ms)
{
    Penstock__TurnAsk ask = PENSTOCK__TURN_ASK__INIT;
    ask.dest = "f";
    ask.turn = turn;
    control_link_send(link, slot, timeout_ms, MSG_TURN_ASK, &ask.base);
}

static struct control_taken
take(struct control_link *link)
{
    struct control_taken taken = {0};
    int64_t end = ps_clock_mono_ms() + DEADLINE_MS;
    while (ps_clock_mono_ms() < end && !control_link_take(link, &taken)) {
        struct pollfd fd = {.fd = control_link_fd(link), .events = POLLIN};
        poll(&fd, 1, 1000);
    }
    return taken;
}

static void
expect_turn(struct control_link *link, unsigned slot, uint64_t turn)
{
    struct control_taken taken = take(link);
    cr_assert_not_null(taken.message, "%s", taken.why);
    cr_assert_eq(taken.slot, slot);
    cr_assert_eq(((Penstock__TurnAsk *)taken.message)->turn, turn);
    msg_free(taken.message);
}

Test(control_link, a_request_may_come_before_the_coordinator_does)
{
    make_url();
    struct control_link *link = NULL;
    struct ps_error err;
    cr_assert_eq(control_link_open(url, 2, &link, &err), PS_OK, "%s", err.text);
    send_turn(link, 1, 7, DEADLINE_MS);
    nng_socket server = open_server();
    echo(server);
    expect_turn(link, 1, 7);
    control_link_close(link);
    nng_close(server);
}

Test(control_link, a_coordinator_that_dies_loses_what_was_outstanding_and_may_come_back)
{
    make_url();
    struct control_link *link = NULL;
    struct ps_error err;
    nng_socket server = open_server();
    cr_assert_eq(control_link_open(url, 2, &link, &err), PS_OK);
    for (uint64_t round = 1; round <= 3; round++) {
        send_turn(link, 0, round, DEADLINE_MS);
        nng_msg *msg = NULL;
        cr_assert_eq(nng_recvmsg(server, &msg, 0), 0);
        nng_msg_free(msg);
        nng_close(server); /* it dies with the request in its hands */
        struct control_taken taken = take(link);
        cr_assert_null(taken.message);
        cr_assert_not_null(taken.why);
        send_turn(link, 0, 100 + round, DEADLINE_MS);
        server = open_server();
        echo(server);
        expect_turn(link, 0, 100 + round);
    }
    control_link_close(link);
    nng_close(server);
}

Test(control_link, silence_is_a_loss_and_a_late_answer_is_nobodys)
{
    make_url();
    struct control_link *link = NULL;
    struct ps_error err;
    nng_socket server = open_server();
    cr_assert_eq(control_link_open(url, 1, &link, &err), PS_OK);
    send_turn(link, 0, 1, 200);
    nng_msg *late = NULL;
    cr_assert_eq(nng_recvmsg(server, &late, 0), 0);
    cr_assert_null(take(link).message);
    send_turn(link, 0, 2, DEADLINE_MS);
    cr_assert_eq(nng_sendmsg(server, late, 0), 0);
    echo(server);
    expect_turn(link, 0, 2);
    control_link_close(link);
    nng_close(server);
}

Test(control_link, nonsense_is_a_loss)
{
    make_url();
    struct control_link *link = NULL;
    struct ps_error err;
    nng_socket server = open_server();
    cr_assert_eq(control_link_open(url, 1, &link, &err), PS_OK);
    send_turn(link, 0, 1, DEADLINE_MS);
    nng_msg *msg = NULL;
    cr_assert_eq(nng_recvmsg(server, &msg, 0), 0);
    nng_msg_chop(msg, 1);
    cr_assert_eq(nng_sendmsg(server, msg, 0), 0);
    cr_assert_null(take(link).message);
    control_link_close(link);
    nng_close(server);
}

Test(control_link, a_wrong_address_is_refused)
{
    struct control_link *link = NULL;
    struct ps_error err;
    cr_assert_eq(control_link_open("carrier-pigeon://x", 1, &link, &err), PS_REFUSED);
}

Test(control_link, closing_with_requests_outstanding_is_fine)
{
    make_url();
    struct control_link *link = NULL;
    struct ps_error err;
    cr_assert_eq(control_link_open(url, 6, &link, &err), PS_OK);
    for (unsigned slot = 0; slot < 6; slot++) {
        send_turn(link, slot, slot, DEADLINE_MS);
    }
    control_link_close(link);
}

/* What a coordinator does that ends with connections in its backlog: nng alone would give up. */
Test(control_link, a_connection_closed_before_the_handshake_is_made_again)
{
    make_url();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", url + strlen("ipc://"));
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(server, 4), 0);
    struct control_link *link = NULL;
    struct ps_error err = {0};
    cr_assert_eq(control_link_open(url, 1, &link, &err), PS_OK, "%s", err.text);
    int64_t end = ps_clock_mono_ms() + DEADLINE_MS;
    int times = 0;
    while (times < 2 && ps_clock_mono_ms() < end) {
        struct pollfd fd = {.fd = server, .events = POLLIN};
        struct control_taken taken;
        if (poll(&fd, 1, 50) == 1) {
            close(accept(server, NULL, NULL));
            times++;
        }
        (void)!control_link_take(link, &taken);
    }
    cr_assert_eq(times, 2);
    control_link_close(link);
    close(server);
    unlink(address.sun_path);
}
