/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_signal.h"

#include <sys/signalfd.h>
#include <unistd.h>

/* Signals belong to the process, and so does this. */
static struct {
    int fd;
    sigset_t original;
    struct cli_signals seen;
} process = {.fd = -1};

void
cli_signal_open(void)
{
    if (process.fd >= 0) {
        return;
    }
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        sigaddset(&set, wanted[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &process.original);
    process.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
cli_signal_fd(void)
{
    return process.fd;
}

const sigset_t *
cli_signal_original(void)
{
    return &process.original;
}

const struct cli_signals *
cli_signal_read(void)
{
    struct signalfd_siginfo info;
    while (process.fd >= 0 && read(process.fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch ((int)info.ssi_signo) {
        case SIGCHLD:
            process.seen.child = true;
            break;
        case SIGWINCH:
            process.seen.resized = true;
            break;
        default:
            process.seen.interrupts++;
            break;
        }
    }
    return &process.seen;
}

void
cli_signal_clear_child(void)
{
    process.seen.child = false;
}

void
cli_signal_clear_resized(void)
{
    process.seen.resized = false;
}
