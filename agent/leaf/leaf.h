/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf.h: the leaf process: one batch from lease to report.
 * In: grants and tasks of its agent, as frames on one socket.  Out: sealed batches in the
 *     destination, and reports.
 * Invariant: a report of LOADED is sent only after the destination's COMMIT returned; a leaf that
 *            loses its agent stops at once, and whatever it was doing is either committed or as if
 * it had never begun. Threads: four. link (main) reads orders and sends progress; extract turns
 * grants into sealed batches; load commits them, in that order; task discovers and prepares. */
#ifndef AGENT_LEAF_LEAF_H
#define AGENT_LEAF_LEAF_H

#include <stddef.h>
#include <stdint.h>

#include "agent/source/source.h"

struct leaf_config { /* borrowed for the life of the process */
    uint32_t leaf;   /* 0-based number in its agent */
    uint32_t leaves; /* how many the agent has: it takes over the folders of those it had */
    const char *agent_name;
    const char *state_dir;    /* the agent's; staging is state_dir/leaf-N/stage */
    const char *base_dir;     /* what relative URLs are relative to; NULL = the working folder */
    const char *const *roots; /* folders that file: may read below; none = any */
    size_t root_count;
    struct source_allow allow; /* where URL sources may go */
    uint64_t budget_bytes;     /* rows and windows in memory */
    uint64_t stage_quota;      /* bytes of segments on disk: this leaf's share */
    uint32_t batches_most;     /* held at once while the destination is away */
    int link_fd;               /* socket pair to the agent */
};

/* Runs until the agent says drain or its end of the socket closes. Returns the exit status. */
int leaf_main(const struct leaf_config *config);

#endif
