/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_signal.h: signals as a readable descriptor, so that they take their turn in poll loops.
 * SIGINT, SIGTERM and SIGHUP ask for an end; SIGCHLD tells of the local cluster; SIGWINCH of the
 * window. Programs started meanwhile must get cli_signal_original() as their mask.
 * Threads: main only. */
#ifndef CLI_CLI_SIGNAL_H
#define CLI_CLI_SIGNAL_H

#include <signal.h>
#include <stdbool.h>

struct cli_signals {
    unsigned interrupts; /* how often an end was asked for */
    bool child;          /* a child has ended since this was cleared */
    bool resized;
};

/* Blocks the signals and opens the descriptor; once a process. */
void cli_signal_open(void);
/* -1 before cli_signal_open. */
int cli_signal_fd(void);
const sigset_t *cli_signal_original(void);
/* Reads what has come, without waiting; never clears anything. */
const struct cli_signals *cli_signal_read(void);
void cli_signal_clear_child(void);
void cli_signal_clear_resized(void);

#endif
