/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/engine.h: the one thread that changes the truth.
 * In: requests of agents (rpc) and commands of people (api), by engine_submit from any thread.
 * Out: replies, sent only after the transaction that they speak of is committed.
 * Invariant: everything in the inbox is applied in one SQLite transaction (group commit), then all
 *            replies go out; a crash in between repeats nothing and loses nothing, because agents
 *            repeat requests and answers are a function of the catalog.
 * Threads: engine_submit from any thread; replies are called on the engine's thread and must not
 *          block. */
#ifndef COORDINATOR_ENGINE_ENGINE_H
#define COORDINATOR_ENGINE_ENGINE_H

#include "common/error.h"
#include "common/span.h"
#include "coordinator/engine/env.h"
#include "proto/frame.h"

struct engine;

/* ---- from agents */
struct engine_request {
    enum msg_type type;
    ProtobufCMessage *message; /* owned by the engine after submit */
    void *ctx;
    /* Exactly once a request. message is borrowed for the call. */
    void (*reply)(void *ctx, enum msg_type type, const ProtobufCMessage *message);
};

/* ---- from people */
enum command_kind {
    COMMAND_PUT, /* create or replace: name, spec_json */
    COMMAND_START,
    COMMAND_STOP,
    COMMAND_DELETE,
    COMMAND_SAMPLE,    /* dry run: infer on an agent; answers with ApiSample */
    COMMAND_RECONCILE, /* dry_run, trust_ledger; answers at once: WATCH tells how it goes on */
    COMMAND_REJECTS,   /* relayed from an agent; limit, cursor, rejects */
    COMMAND_REPLAY,    /* rows of body are loaded by an agent; key; answers with ApiReplay */
    COMMAND_WATCH,  /* answers with the ApiPipeline once revision > `revision` or wait_ms is over */
    COMMAND_AGENTS, /* all agents with their leaves, as last heard */
};
struct command_result {
    enum ps_status status; /* PS_OK, or why not */
    const char *code;      /* stable: "not_found" "invalid_spec" "revision_mismatch" "no_agent"
                              "shutting_down" …; engine_free answers all that still waits with
                              the last one */
    const char *text;
    bool created;                          /* PUT made a new one */
    const Penstock__ApiPipeline *pipeline; /* PUT START STOP WATCH */
    const Penstock__ApiSample *sample;
    const Penstock__ApiReject *const *rejects;
    size_t reject_count;
    const Penstock__ApiReplay *replay;
    const Penstock__ApiAgent *const *agents;
    size_t agent_count;
    struct ps_span next_cursor;
    const Penstock__ApiFieldError *const *errors; /* invalid_spec: all of them */
    size_t error_count;
};
struct engine_command {
    enum command_kind kind;
    char *name; /* owned by the engine after submit, as the other texts */
    char *spec_json;
    uint32_t limit;
    uint8_t *cursor;
    size_t cursor_len;
    Penstock__RejectFilter *rejects; /* REJECTS: which; NULL: all. Owned, as are the next two */
    char *key;                       /* REPLAY: names the request; NULL: it cannot be repeated */
    uint8_t *body;
    size_t body_len;
    uint64_t revision; /* WATCH: what the asker has seen. PUT: If-Match, 0 = any */
    uint32_t wait_ms;
    bool dry_run;      /* RECONCILE: change nothing */
    bool trust_ledger; /* RECONCILE: what the ledger does not have is loaded again */
    void *ctx;
    void (*reply)(void *ctx, const struct command_result *result); /* exactly once */
};

/* Frees what the command owns: name, spec_json, cursor, rejects, key and body; clears it all. For
 * a command that is not submitted; the engine does it for the others. */
void engine_command_fini(struct engine_command *command);

struct engine_config {
    uint32_t heartbeat_ms;    /* 3000 */
    uint32_t lease_ms;        /* 15000 */
    uint32_t self_stop_ms;    /* 10000 */
    uint32_t leaf_silence_ms; /* 5000 */
};

PS_MUSTCHECK enum ps_status engine_new(const struct engine_env *env,
                                       const struct engine_config *config, struct engine **out,
                                       struct ps_error *err);
void engine_free(struct engine *engine);

/* Copies the structs, takes what they own. */
void engine_submit_request(struct engine *engine, const struct engine_request *request);
void engine_submit_command(struct engine *engine, const struct engine_command *command);

/* One turn of the thread: everything in the inbox and every timer that is due, one transaction,
 * then the replies. Returns the mono_ms of the next timer. The simulator calls this directly. */
PS_MUSTCHECK enum ps_status engine_turn(struct engine *engine, int64_t *out_next_mono_ms,
                                        struct ps_error *err);
/* Turns until engine_stop; waits on the inbox in between. The daemon's engine thread. A full disk
 * or a disk error is waited out: everybody is told "not_ready", then all is read anew. Returns
 * what cannot pass: a corrupt catalog, a bug. */
PS_MUSTCHECK enum ps_status engine_run(struct engine *engine, struct ps_error *err);
void engine_stop(struct engine *engine); /* from any thread */

#endif
