/* SPDX-License-Identifier: Apache-2.0 */
/* agent/supervisor/supervisor.h: leaf processes and the sockets to them.
 * In: what to say to which leaf.  Out: what each says, and when it has ended.
 * Invariant: a leaf's end is told once, after everything it had sent was delivered; nothing here
 *            blocks, and a leaf that does not read or speaks nonsense is killed, not waited for.
 * Threads: all calls from one thread. The on_ functions may call send and kill, and spawn. */
#ifndef AGENT_SUPERVISOR_SUPERVISOR_H
#define AGENT_SUPERVISOR_SUPERVISOR_H

#include "common/error.h"
#include "proto/frame.h"

struct supervisor; /* opaque */

/* Where a leaf finds the socket to its agent. */
enum { SUPERVISOR_LEAF_FD = 3 };

struct supervisor_config {
    uint32_t leaves;
    const char *program; /* what to spawn; borrowed, as is argv */
    /* NULL-terminated; the text "%LEAF%" is replaced by the leaf's number. */
    const char *const *argv;
    void *ctx;
    /* *own_message is freed after the call unless it was taken and nulled. */
    void (*on_message)(void *ctx, uint32_t leaf, enum msg_type type,
                       ProtobufCMessage **own_message);
    void (*on_gone)(void *ctx, uint32_t leaf, bool clean, const char *how);
};

PS_MUSTCHECK enum ps_status supervisor_new(const struct supervisor_config *config,
                                           struct supervisor **out, struct ps_error *err);
/* Kills and reaps what still runs, without a word. NULL is fine. */
void supervisor_free(struct supervisor *supervisor);

/* Readable when supervisor_turn has something to do. */
int supervisor_fd(const struct supervisor *supervisor);
void supervisor_turn(struct supervisor *supervisor);

PS_MUSTCHECK enum ps_status supervisor_spawn(struct supervisor *supervisor, uint32_t leaf,
                                             struct ps_error *err);
/* Dropped when the leaf is not running. */
void supervisor_send(struct supervisor *supervisor, uint32_t leaf, enum msg_type type,
                     const ProtobufCMessage *message);
void supervisor_kill(struct supervisor *supervisor, uint32_t leaf);

#endif
