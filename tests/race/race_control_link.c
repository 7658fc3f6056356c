/* SPDX-License-Identifier: Apache-2.0 */
/* Every slot of the line to the coordinator busy at once, against a server that answers, is silent
 * or goes away: each request ends in one answer or one loss. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/control/control_link.h"
#include "common/rand.h"

enum { SLOTS = 6, REQUESTS = 3000 };

static char url[64];
static _Atomic bool stop;

static void *
serve(void *ctx)
{
    struct ps_rand rand;
    ps_rand_seed(&rand, 7);
    (void)ctx;
    while (!atomic_load(&stop)) {
        nng_socket server;
        if (nng_rep0_open(&server) != 0) {
            return (void *)1;
        }
        nng_socket_set_ms(server, NNG_OPT_RECVTIMEO, 20);
        nng_listen(server, url, NULL, 0);
        for (uint64_t left = 50 + ps_rand_below(&rand, 200); left > 0 && !atomic_load(&stop);
             left--) {
            nng_msg *msg = NULL;
            if (nng_recvmsg(server, &msg, 0) != 0) {
                continue;
            }
            if (ps_rand_below(&rand, 20) == 0 || nng_sendmsg(server, msg, 0) != 0) {
                nng_msg_free(msg); /* never answered */
            }
        }
        nng_close(server);
    }
    return NULL;
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
    pthread_t thread;
    snprintf(url, sizeof url, "ipc:///tmp/ps-race-%d", (int)getpid());
    if (pthread_create(&thread, NULL, serve, NULL) != 0 ||
        control_link_open(url, SLOTS, &link, &err) != PS_OK) {
        return 1;
    }
    uint64_t sent[SLOTS];
    unsigned answered = 0, lost = 0, wrong = 0;
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
    control_link_close(link); /* with all slots busy */
    atomic_store(&stop, true);
    void *result = NULL;
    pthread_join(thread, &result);
    printf("control_link: %u answered, %u lost, %u wrong\n", answered, lost, wrong);
    return wrong == 0 && answered > 0 && result == NULL ? 0 : 1;
}
