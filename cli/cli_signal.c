/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_signal.h"

#include <sys/signalfd.h>
#include <unistd.h>

static int signal_fd = -1;
static sigset_t original;
static struct cli_signals seen;

void
cli_signal_open(void)
{
    if (signal_fd >= 0) {
        return;
    }
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        sigaddset(&set, wanted[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &original);
    signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
cli_signal_fd(void)
{
    return signal_fd;
}

const sigset_t *
cli_signal_original(void)
{
    return &original;
}

const struct cli_signals *
cli_signal_read(void)
{
    struct signalfd_siginfo info;
    while (signal_fd >= 0 && read(signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch ((int)info.ssi_signo) {
        case SIGCHLD:
            seen.child = true;
            break;
        case SIGWINCH:
            seen.resized = true;
            break;
        default:
            seen.interrupts++;
            break;
        }
    }
    return &seen;
}

void
cli_signal_clear_child(void)
{
    seen.child = false;
}

void
cli_signal_clear_resized(void)
{
    seen.resized = false;
}
