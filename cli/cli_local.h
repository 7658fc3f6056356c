/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_local.h: a private coordinator and agent on this host, for run and load.
 * In: a state folder.  Out: an address to talk to.
 * The two programs stand beside this one, listen on sockets in a short private folder, write their
 * logs to STATE/logs, have process groups of their own and die with this process. One that ends by
 * itself is started again a few times: what it held is safe.
 * Invariant: one process at a time uses a state folder (STATE/lock says who).
 * Threads: main only; cli_signal_open must have been called. */
#ifndef CLI_CLI_LOCAL_H
#define CLI_CLI_LOCAL_H

#include "cli/cli_http.h"
#include "common/error.h"

struct cli_local; /* opaque */

struct cli_local_options {
    const char *state;     /* made where it is missing */
    unsigned leaves;       /* 0: no agent, so nothing can be loaded */
    const char *base_dir;  /* where relative paths start */
    const char *log_level; /* NULL: info */
    bool throw_away;       /* the state folder is removed at the end */
};

/* Returns once the coordinator answers; the agent comes up meanwhile. PS_REFUSED, code "in_use":
 * another process uses the folder. PS_CANCELED: a person asked for an end. */
PS_MUSTCHECK enum ps_status cli_local_start(const struct cli_local_options *options,
                                            struct cli_local **out, struct ps_error *err);
/* Starts the agent as well, where options had no leaves. */
PS_MUSTCHECK enum ps_status cli_local_start_agent(struct cli_local *local, unsigned leaves,
                                                  struct ps_error *err);
/* Until the agent is known to the coordinator. */
PS_MUSTCHECK enum ps_status cli_local_wait_agent(struct cli_local *local, struct ps_error *err);
struct cli_http *cli_local_http(struct cli_local *local); /* borrowed */
const char *cli_local_state(const struct cli_local *local);

/* To be called when a child has ended. PS_REFUSED: one of them cannot be kept running; err has the
 * last lines of its log. */
PS_MUSTCHECK enum ps_status cli_local_check(struct cli_local *local, struct ps_error *err);

/* Asks both to end, waits a bounded time (or until another interrupt), then kills. Frees. */
void cli_local_stop(struct cli_local *local); /* NULL is fine */
/* Kills both at once. Frees. */
void cli_local_kill(struct cli_local *local);

#endif
