/* SPDX-License-Identifier: Apache-2.0 */
/* agent/agent.h: the agent process: one thread, one loop.
 * In: signals, answers of the coordinator, words and deaths of leaves, time: each becomes an event
 * of control_core, and what the core wants done goes to control_link and supervisor. Invariant:
 * nothing in the loop blocks; the state folder is locked for as long as the agent runs. Threads:
 * agent_run is the main thread; call it once. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "common/error.h"

struct agent_config { /* borrowed for the call */
    const char *name;
    const char *coordinator; /* URL */
    const char *state_dir;
    uint32_t leaves;
    const char *const *leaf_argv; /* NULL-terminated; "%LEAF%" stands for the number */
    int ready_fd;                 /* -1: none */
};

/* Returns the exit status: 0 drained, 1 not. Threads of nng still run then: end with _exit. */
int agent_run(const struct agent_config *config);

#endif
