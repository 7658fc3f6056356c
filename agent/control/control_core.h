/* SPDX-License-Identifier: Apache-2.0 */
/* agent/control/control_core.h: what an agent decides, apart from how it talks and spawns.
 * In: answers of the coordinator, messages and deaths of leaf processes, time.
 * Out: requests to the coordinator, orders to leaves, through one struct control_env; so that the
 *      real core runs under a simulator with virtual time.
 * Invariant: a batch is in Sync.held from its grant until its report has been answered; a report is
 *            repeated until then, whatever happens to the coordinator or to the leaf; nothing is
 *            given to a leaf while the coordinator has been silent for longer than self_stop_ms.
 * Threads: one owner. env functions are called from within control_core_turn and the event
 *          functions, never call back into the core, and must not block. */
#ifndef AGENT_CONTROL_CONTROL_CORE_H
#define AGENT_CONTROL_CONTROL_CORE_H

#include "common/error.h"
#include "common/ids.h"
#include "common/log.h"
#include "proto/frame.h"

/* Requests to the coordinator that may be outstanding at once; one a slot. */
enum { CONTROL_SYNC_SLOTS = 2, CONTROL_REPORT_SLOTS = 4 };
enum { CONTROL_SLOTS = CONTROL_SYNC_SLOTS + CONTROL_REPORT_SLOTS };
/* Unreported batches a leaf is given: one being extracted, one being loaded; and how many in all
 * while its destination is away, so that all of an agent's fit one Sync. */
enum { CONTROL_LEAF_BATCHES = 2, CONTROL_AWAY_BATCHES = 1024, CONTROL_HELD_MOST = 4096 };
static inline uint32_t
control_batches_most(uint32_t leaves)
{
    uint32_t most = CONTROL_HELD_MOST / (leaves == 0 ? 1 : leaves);
    most = most > CONTROL_AWAY_BATCHES ? CONTROL_AWAY_BATCHES : most;
    return most < CONTROL_LEAF_BATCHES ? CONTROL_LEAF_BATCHES : most;
}

struct control_env {
    void *ctx;
    int64_t (*mono_ms)(void *ctx);
    void (*random)(void *ctx, void *out, size_t bytes);
    /* The message is borrowed for the call. Each send is followed by exactly one
     * control_core_answer or control_core_lost of that slot, later. */
    void (*send_coordinator)(void *ctx, unsigned slot, uint32_t timeout_ms, enum msg_type type,
                             const ProtobufCMessage *message);
    /* In order; lost without a word when the leaf is dying. */
    void (*send_leaf)(void *ctx, uint32_t leaf, enum msg_type type,
                      const ProtobufCMessage *message);
    /* PS_OK: control_core_leaf_gone follows when it ends. */
    enum ps_status (*spawn_leaf)(void *ctx, uint32_t leaf, struct ps_error *err);
    void (*kill_leaf)(void *ctx, uint32_t leaf); /* SIGKILL; leaf_gone follows */
    void (*log)(void *ctx, enum log_level level, const char *event, const char *text);
};

struct control_config {
    const char *agent_name; /* copied */
    uint32_t leaves;
    uint32_t pid;
    struct ps_id host_token;
    const char *const *schemes; /* borrowed for the core's life */
    size_t scheme_count;
    bool has_kept; /* an earlier life left segments: its leaves say so before they ask for work */
};

enum control_state {
    CONTROL_RUNNING,
    CONTROL_DRAINED,    /* asked to end, and all is given back: end with success */
    CONTROL_REFUSED,    /* the coordinator does not take this agent: control_core_reason */
    CONTROL_SUPERSEDED, /* another process has this agent's name: end, touch nothing */
};

struct control_core; /* opaque */

struct control_core *control_core_new(const struct control_env *env,
                                      const struct control_config *config);
void control_core_free(struct control_core *core); /* NULL is fine; kills nothing */

/* Does everything that is due. Call it after any event and when the time returned has come (mono
 * milliseconds; INT64_MAX: only events matter). */
int64_t control_core_turn(struct control_core *core);

/* ---- events; each is followed by a turn */
/* The answer to what was sent on the slot; *own_message is taken and nulled. */
void control_core_answer(struct control_core *core, unsigned slot, enum msg_type type,
                         ProtobufCMessage **own_message);
/* No answer will come: timed out, or the connection broke. */
void control_core_lost(struct control_core *core, unsigned slot);
void control_core_leaf_message(struct control_core *core, uint32_t leaf, enum msg_type type,
                               ProtobufCMessage **own_message);
/* The process has ended and everything it had sent was delivered. clean: exit status 0. how is for
 * people: "killed by signal 9". */
void control_core_leaf_gone(struct control_core *core, uint32_t leaf, bool clean, const char *how);
void control_core_drain(struct control_core *core); /* again: nothing */

/* ---- questions */
enum control_state control_core_state(const struct control_core *core);
const char *control_core_reason(const struct control_core *core); /* "" unless REFUSED */
bool control_core_is_greeted(const struct control_core *core);    /* a hello was answered OK */
size_t control_core_reports_kept(const struct control_core *core);

#endif
