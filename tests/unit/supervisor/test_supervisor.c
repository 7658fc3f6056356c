/* SPDX-License-Identifier: Apache-2.0 */
/* Real processes, but shells: `cat` on the socket sends every frame back. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/supervisor/supervisor.h"
#include "common/clock.h"

struct heard {
    size_t messages;
    uint64_t last_turn;
    size_t gone;
    bool clean;
    char how[64];
    uint32_t leaf;
};

static void
on_message(void *ctx, uint32_t leaf, enum msg_type type, ProtobufCMessage **own_message)
{
    struct heard *heard = ctx;
    cr_assert_eq(type, MSG_TURN_ASK);
    heard->messages++;
    heard->leaf = leaf;
    heard->last_turn = ((Penstock__TurnAsk *)*own_message)->turn;
}

static void
on_gone(void *ctx, uint32_t leaf, bool clean, const char *how)
{
    struct heard *heard = ctx;
    heard->gone++;
    heard->leaf = leaf;
    heard->clean = clean;
    snprintf(heard->how, sizeof heard->how, "%s", how);
}

static struct supervisor *
new_supervisor(struct heard *heard, const char *const *argv)
{
    const struct supervisor_config config = {.leaves = 2,
                                             .program = "/bin/sh",
                                             .argv = argv,
                                             .ctx = heard,
                                             .on_message = on_message,
                                             .on_gone = on_gone};
    struct supervisor *supervisor = NULL;
    struct ps_error err;
    cr_assert_eq(supervisor_new(&config, &supervisor, &err), PS_OK);
    return supervisor;
}

static void
turns_until(struct supervisor *supervisor, const size_t *count, size_t least)
{
    int64_t end = ps_clock_mono_ms() + 20000;
    while (*count < least && ps_clock_mono_ms() < end) {
        struct pollfd fd = {.fd = supervisor_fd(supervisor), .events = POLLIN};
        poll(&fd, 1, 1000);
        supervisor_turn(supervisor);
    }
    cr_assert_geq(*count, least);
}

static void
say(struct supervisor *supervisor, uint32_t leaf, uint64_t turn, char *dest)
{
    Penstock__TurnAsk ask = PENSTOCK__TURN_ASK__INIT;
    ask.dest = dest;
    ask.turn = turn;
    supervisor_send(supervisor, leaf, MSG_TURN_ASK, &ask.base);
}

Test(supervisor, frames_go_there_and_back_even_when_the_socket_is_full)
{
    static const char *const argv[] = {"sh", "-c", "exec cat <&3 >&3", NULL};
    static char large[200000];
    memset(large, 'x', sizeof large - 1);
    struct heard heard = {0};
    struct ps_error err;
    struct supervisor *supervisor = new_supervisor(&heard, argv);
    cr_assert_eq(supervisor_spawn(supervisor, 1, &err), PS_OK);
    for (uint64_t i = 1; i <= 20; i++) {
        say(supervisor, 1, i, large);
    }
    say(supervisor, 0, 99, "to nobody");
    turns_until(supervisor, &heard.messages, 20);
    cr_assert_eq(heard.last_turn, 20);
    cr_assert_eq(heard.leaf, 1);
    supervisor_kill(supervisor, 1);
    turns_until(supervisor, &heard.gone, 1);
    cr_assert(!heard.clean);
    cr_assert_str_eq(heard.how, "killed by signal 9");
    supervisor_free(supervisor);
}

Test(supervisor, last_words_come_before_the_end_and_a_leaf_starts_again)
{
    static const char *const argv[] = {"sh",     "-c", "head -c $1 <&3 >&3; exit $0",
                                       "%LEAF%", "31", NULL};
    struct heard heard = {0};
    struct ps_error err;
    struct supervisor *supervisor = new_supervisor(&heard, argv);
    for (size_t life = 1; life <= 3; life++) {
        cr_assert_eq(supervisor_spawn(supervisor, 0, &err), PS_OK);
        say(supervisor, 0, life, "8:12345"); /* 31 bytes: 20 + 2 + 7 + 2 */
        turns_until(supervisor, &heard.gone, life);
        cr_assert_eq(heard.messages, life);
    }
    supervisor_free(supervisor);
}

Test(supervisor, nonsense_is_killed)
{
    static const char *const argv[] = {"sh", "-c", "echo hello >&3; exec sleep 60", NULL};
    struct heard heard = {0};
    struct ps_error err;
    struct supervisor *supervisor = new_supervisor(&heard, argv);
    cr_assert_eq(supervisor_spawn(supervisor, 0, &err), PS_OK);
    turns_until(supervisor, &heard.gone, 1);
    cr_assert_str_eq(heard.how, "killed by signal 9");
    cr_assert_eq(heard.messages, 0);
    supervisor_free(supervisor);
}

Test(supervisor, freeing_leaves_no_process_behind)
{
    static const char *const argv[] = {"sh", "-c", "exec sleep 60", NULL};
    struct heard heard = {0};
    struct ps_error err;
    struct supervisor *supervisor = new_supervisor(&heard, argv);
    cr_assert_eq(supervisor_spawn(supervisor, 0, &err), PS_OK);
    cr_assert_eq(supervisor_spawn(supervisor, 1, &err), PS_OK);
    supervisor_free(supervisor);
    cr_assert_eq(heard.gone, 0);
}

Test(supervisor, a_leaf_has_no_descriptor_but_its_own)
{
    static const char *const argv[] = {
        "sh", "-c",
        "for f in /proc/self/fd/*; do n=${f##*/}; [ $n -gt 3 ] && [ $n -lt 10 ] && "
        "[ -e $f ] && exit 1; done; exit 0",
        NULL};
    struct heard heard = {0};
    struct ps_error err;
    struct supervisor *supervisor = new_supervisor(&heard, argv);
    int leak = dup(1);
    cr_assert_geq(leak, 0);
    cr_assert_eq(supervisor_spawn(supervisor, 0, &err), PS_OK);
    turns_until(supervisor, &heard.gone, 1);
    cr_assert(heard.clean, "%s", heard.how);
    close(leak);
    supervisor_free(supervisor);
}
