/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_exit.h: what the shell is told. Scripts depend on these numbers: they never change. */
#ifndef CLI_CLI_EXIT_H
#define CLI_CLI_EXIT_H

enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILED = 1,
    CLI_EXIT_USAGE = 2,
    CLI_EXIT_REJECTS = 3, /* finished, but some records were rejected */
    CLI_EXIT_UNAUTHORISED = 4,
    CLI_EXIT_SPEC = 5,
    CLI_EXIT_SOURCE = 6,
    CLI_EXIT_DESTINATION = 7,
    CLI_EXIT_TIMEOUT = 8,
    CLI_EXIT_STALLED = 9,      /* something is quarantined */
    CLI_EXIT_INTERRUPTED = 10, /* stopped cleanly; the same command goes on from there */
    CLI_EXIT_KILLED = 130,     /* a second Ctrl-C */
};

#endif
