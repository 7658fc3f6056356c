/* SPDX-License-Identifier: Apache-2.0 */
/* Every slot of the line to the coordinator busy at once, against a server that answers, is silent
 * or dies: each request ends in one answer or one loss. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/control/control_link.h"
#include "common/rand.h"

enum { SLOTS = 6, REQUESTS = 3000 };

static char url[64];

/* Echoes, but for what it never answers. */
static void
serve(uint64_t seed)
{
    nng_socket server;
    struct ps_rand rand;
    ps_rand_seed(&rand, seed);
    if (nng_rep0_open(&server) != 0 || nng_listen(server, url, NULL, 0) != 0) {
        _exit(1);
    }
    for (;;) {
        nng_msg *msg = NULL;
        if (nng_recvmsg(server, &msg, 0) == 0 &&
            (ps_rand_below(&rand, 20) == 0 || nng_sendmsg(server, msg, 0) != 0)) {
            nng_msg_free(msg);
        }
    }
}

/* A process without a thread of nng's, which can fork: a server lives here for a moment, is killed,
 * and another takes its place. */
static pid_t
start_servers(void)
{
    pid_t servers = fork();
    if (servers != 0) {
        return servers;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct ps_rand rand;
    ps_rand_seed(&rand, 7);
    for (uint64_t seed = 0;; seed++) {
        pid_t server = fork();
        if (server == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(seed);
        }
        poll(NULL, 0, 50 + (int)ps_rand_below(&rand, 300));
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
}

static void
send_one(struct control_link *link, unsigned slot, uint64_t turn)
{
    Penstock__TurnAsk ask = PENSTOCK__TURN_ASK__INIT;
    ask.dest = "f";
    ask.turn = turn * SLOTS + slot;
    control_link_send(link, slot, 50, MSG_TURN_ASK, &ask.base);
}

int
main(void)
{
    struct control_link *link = NULL;
    struct ps_error err;
    snprintf(url, sizeof url, "ipc:///tmp/ps-race-%d", (int)getpid());
    pid_t servers = start_servers();
    if (servers < 0 || control_link_open(url, SLOTS, &link, &err) != PS_OK) {
        return 1;
    }
    uint64_t sent[SLOTS];
    unsigned answered = 0;
    unsigned lost = 0;
    unsigned wrong = 0;
    uint64_t next = 0;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        sent[slot] = next;
        send_one(link, slot, next++);
    }
    while (answered + lost < REQUESTS) {
        struct pollfd fd = {.fd = control_link_fd(link), .events = POLLIN};
        poll(&fd, 1, 1000);
        struct control_taken taken;
        while (control_link_take(link, &taken)) {
            if (taken.message == NULL) {
                lost++;
            } else {
                uint64_t turn = ((Penstock__TurnAsk *)taken.message)->turn;
                wrong += turn != sent[taken.slot] * SLOTS + taken.slot ? 1 : 0;
                answered++;
                msg_free(taken.message);
            }
            sent[taken.slot] = next;
            send_one(link, taken.slot, next++);
        }
    }
    printf("control_link: %u answered, %u lost, %u wrong\n", answered, lost, wrong);
    fflush(stdout);
    kill(servers, SIGKILL);
    waitpid(servers, NULL, 0);
    /* As the agent ends: nng 1.5.2's nng_close may wait for ever for a pipe whose peer was killed.
     */
    _exit(wrong == 0 && answered > 0 && lost > 0 ? 0 : 1);
}
