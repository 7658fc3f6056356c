/* SPDX-License-Identifier: Apache-2.0 */
/* agent/control/control_state.h: the core's inside, shared by control_*.c only. */
#ifndef AGENT_CONTROL_CONTROL_STATE_H
#define AGENT_CONTROL_CONTROL_STATE_H

#include "agent/control/control_core.h"
#include "common/alloc.h"
#include "common/list.h"

enum {
    CONTROL_WAIT_MS = 3000,         /* longest a Sync is parked */
    CONTROL_WAIT_WORKING_MS = 1000, /* while something is held: progress for people */
    CONTROL_ANSWER_MS = 5000,       /* an answer that takes longer is lost */
    CONTROL_RETRY_LEAST_MS = 20,
    CONTROL_RETRY_MOST_MS = 1000,
    CONTROL_LEAF_START_MS = 10000, /* silence allowed before LeafReady */
    CONTROL_RESPAWN_MOST_MS = 5000,
    CONTROL_LEAF_PROVEN_MS = 30000,  /* a leaf that lived so long is respawned at once */
    CONTROL_LAST_REPORTS_MS = 10000, /* drained: how long undelivered reports keep us */
    CONTROL_REPORTS_MAX = 256,       /* no new work beyond */
    CONTROL_DOCS_MAX = 32,           /* documents kept beside those in use */
    CONTROL_KEPT_MS = 5000,          /* leaves that keep something are waited for at the start */
    CONTROL_STAGED_AGAIN_MS = 60000, /* what is kept is listed again, for what was settled since */
};

enum control_place {
    PLACE_QUEUED, /* granted, not yet given to the leaf */
    PLACE_LEAF,   /* a leaf has it */
    PLACE_REPORT, /* its last report waits for an answer */
};

struct control_doc {
    struct ps_list link;
    Penstock__SpecDoc *doc; /* owned */
    bool *sent;             /* a leaf number each: this process of it has the document */
};

struct control_batch {
    struct ps_list link;
    Penstock__Grant *grant; /* owned */
    enum control_place place;
    bool cancel_sent;
    Penstock__Phase phase;
    uint64_t bytes, rows;
    struct ps_buf object;
    uint64_t start, end; /* of a cut, as the leaf decoded it; 0 = unknown */
    bool proven;
    bool stored;          /* decoded whole, and on the leaf's disk */
    uint64_t proof;       /* the coordinator's last word on its start; 0 = none */
    uint64_t settled_seq; /* of the last Sync that was sent before its report was answered */
};

struct control_task {
    struct ps_list link;
    Penstock__Task *task; /* owned */
    enum control_place place;
    uint32_t leaf;
    uint32_t leaf_life;
    uint32_t next_chunk;
    bool cancel_sent;
    bool leaf_waits; /* for the answer to its last report */
};

struct control_report {
    struct ps_list link;
    enum msg_type type;        /* LEAF_DONE LEAF_FAILED LEAF_DISCOVERED LEAF_TASK_RESULT */
    ProtobufCMessage *message; /* owned: as the leaf sent it */
    uint32_t leaf;
    uint32_t life; /* of the leaf: an ack must not reach its successor */
    int slot;      /* -1: waiting */
    int64_t not_before_ms;
    uint32_t retry_ms;
    uint64_t unknown_hello; /* hellos answered when it was first UNKNOWN; 0 = never was */
};

enum leaf_state { LEAF_DOWN, LEAF_STARTING, LEAF_UP, LEAF_GONE };

struct control_leaf {
    enum leaf_state state;
    bool killed;
    uint32_t life; /* rises with every spawn */
    uint32_t restarts;
    uint32_t deaths_in_a_row;
    int64_t spawned_ms, heard_ms, respawn_at_ms;
    uint32_t pid;
    Penstock__LeafProgress *progress; /* the last one; owned; may be NULL */
    Penstock__LeafStaged *staged;     /* what its folder keeps; owned; NULL: not heard yet */
};

struct turn_waiter {
    struct ps_list link;
    uint32_t leaf;
    uint64_t turn;
    int64_t since_ms; /* the front one: since it holds the turn */
};

struct turn_line {
    struct ps_list link;
    char *dest;
    struct ps_list waiters; /* the front one has the turn */
};

struct control_core {
    struct control_env env;
    struct control_config config;
    char *name;
    struct ps_id incarnation;
    Penstock__Stamp seen;
    uint64_t seq[1 + CONTROL_REPORT_SLOTS]; /* a lane each */
    uint32_t heartbeat_ms, self_stop_ms, leaf_silence_ms;

    bool greeted; /* this coordinator knows us */
    bool ever_greeted;
    uint64_t hellos; /* answered OK */
    int64_t answered_ms, turned_ms;
    bool draining;
    int64_t all_gone_ms; /* 0 while a leaf is left */
    enum control_state end;
    char reason[256];

    /* hello and sync */
    bool sync_busy[CONTROL_SYNC_SLOTS];
    bool sync_is_hello[CONTROL_SYNC_SLOTS];
    int64_t sync_sent_ms[CONTROL_SYNC_SLOTS];
    uint64_t sync_seq[CONTROL_SYNC_SLOTS];
    int64_t next_sync_ms;
    uint32_t sync_retry_ms;
    uint32_t *asked; /* wants of the last sync, a leaf each */
    uint32_t asked_tasks;
    bool asked_draining;
    bool held_news;      /* a cut was decoded or proven since the last Sync */
    int64_t ask_from_ms; /* no batch is asked for before: what leaves keep would go to others */
    bool staged_news;    /* what leaves keep on disk is not what an answered Sync said */
    int64_t staged_said_ms;

    struct control_leaf *leaves;
    struct ps_list docs, batches, tasks, reports, turns;
    struct ps_list settled; /* batches whose grant may still be repeated by an answer under way */
    size_t report_count;
};

void control_log(struct control_core *core, enum log_level level, const char *event,
                 const char *fmt, ...) PS_PRINTF(4, 5);
static inline int64_t
control_now(const struct control_core *core)
{
    return core->env.mono_ms(core->env.ctx);
}
static inline struct ps_span
control_span(ProtobufCBinaryData bytes)
{
    return ps_span(bytes.data, bytes.len);
}
const char *control_id_text(ProtobufCBinaryData bytes, char out[PS_ID_TEXT_BYTES]);
/* A coordinator that has been silent too long may have given our work away: begin nothing. */
bool control_is_self_stopped(const struct control_core *core);

/* control_origin.c: who asks. Keep the struct while the message is in use. */
struct control_origin {
    Penstock__Origin origin;
    Penstock__Stamp seen;
};
Penstock__Origin *control_origin(struct control_core *core, uint32_t lane,
                                 struct control_origin *out);

/* control_doc.c */
void control_doc_put(struct control_core *core, Penstock__SpecDoc **own_doc);
struct control_doc *control_doc_find(struct control_core *core, ProtobufCBinaryData uuid,
                                     uint32_t rev);
/* Gives the leaf the document unless it has it. False: we do not have it either. */
bool control_doc_send(struct control_core *core, uint32_t leaf, ProtobufCBinaryData uuid,
                      uint32_t rev);
void control_doc_forget_leaf(struct control_core *core, uint32_t leaf);
void control_doc_free(struct control_core *core, struct control_doc *doc);

/* control_batch.c */
void control_batch_take(struct control_core *core, Penstock__Grant **own_grant);
void control_batch_cancel(struct control_core *core, const Penstock__CancelOrder *order);
/* True when it says something new. */
bool control_batch_proof(struct control_core *core, const Penstock__Proof *proof);
void control_batch_distribute(struct control_core *core);
void control_batch_give_back_queued(struct control_core *core, uint32_t leaf, const char *code);
void control_batch_leaf_gone(struct control_core *core, uint32_t leaf, Penstock__FailClass class,
                             const char *how);
void control_batch_progress(struct control_core *core, uint32_t leaf,
                            const Penstock__LeafProgress *progress);
/* A report of the leaf: LEAF_DONE or LEAF_FAILED. */
void control_batch_report(struct control_core *core, uint32_t leaf, enum msg_type type,
                          ProtobufCMessage **own_message);
struct control_batch *control_batch_find(struct control_core *core, ProtobufCBinaryData batch_id,
                                         uint64_t epoch);
void control_batch_free(struct control_batch *batch);
/* Its report is answered. A Sync that was sent before then may still be answered with a grant that
 * it did not list yet: that one is a repeat. */
void control_batch_settle(struct control_core *core, struct control_batch *batch);
/* A Sync was answered or is lost. */
void control_batch_forget_settled(struct control_core *core);
/* How many more batches the leaf can take. */
uint32_t control_batch_want(const struct control_core *core, uint32_t leaf);

/* control_task.c */
void control_task_take(struct control_core *core, Penstock__Task **own_task);
void control_task_cancel(struct control_core *core, ProtobufCBinaryData task_id);
void control_task_distribute(struct control_core *core);
/* Gives back what waits, stops what runs. */
void control_task_drain(struct control_core *core);
void control_task_leaf_gone(struct control_core *core, uint32_t leaf, Penstock__FailClass class,
                            const char *how);
/* LEAF_DISCOVERED or LEAF_TASK_RESULT. */
void control_task_report(struct control_core *core, uint32_t leaf, enum msg_type type,
                         ProtobufCMessage **own_message);
struct control_task *control_task_find(struct control_core *core, ProtobufCBinaryData task_id,
                                       uint64_t epoch);
void control_task_free(struct control_task *task);
uint32_t control_task_want(const struct control_core *core);

/* control_report.c */
/* False: a leaf's frame that is too large to be passed on, which can only be a fault. */
bool control_report_fits(const ProtobufCMessage *message);
void control_report_add(struct control_core *core, uint32_t leaf, enum msg_type type,
                        ProtobufCMessage **own_message);
void control_report_failed(struct control_core *core, const struct control_batch *batch,
                           Penstock__FailClass class, const char *code, const char *text);
void control_report_task_failed(struct control_core *core, const struct control_task *task,
                                Penstock__FailClass class, const char *code, const char *text);
void control_report_send(struct control_core *core);
void control_report_answer(struct control_core *core, unsigned slot,
                           const Penstock__ReportReply *reply);
void control_report_lost(struct control_core *core, unsigned slot);
void control_report_free(struct control_report *report);
int64_t control_report_next_ms(const struct control_core *core);

/* control_turn.c: writer turns, FIFO a destination */
void control_turn_ask(struct control_core *core, uint32_t leaf, const Penstock__TurnAsk *ask);
void control_turn_release(struct control_core *core, uint32_t leaf,
                          const Penstock__TurnRelease *release);
void control_turn_leaf_gone(struct control_core *core, uint32_t leaf);
/* Writes why the leaf waits, or leaves out alone and returns false. */
bool control_turn_note(const struct control_core *core, uint32_t leaf, char *out, size_t bytes);
void control_turn_free(struct control_core *core);

/* control_leaf.c: leaf processes */
void control_leaf_turn(struct control_core *core, int64_t now, bool stalled);
void control_leaf_drain(struct control_core *core);
void control_leaf_kill_all(struct control_core *core);
bool control_leaf_takes_work(const struct control_core *core, uint32_t leaf);
/* How many batches it holds in all: more than two while its destination is away. */
uint32_t control_leaf_takes(const struct control_core *core, uint32_t leaf);
bool control_leaf_all_gone(const struct control_core *core);
int64_t control_leaf_next_ms(const struct control_core *core);
const char *control_leaf_state_name(const struct control_core *core, uint32_t leaf);

/* control_staged.c: what leaves keep on disk of batches that they do not hold */
void control_staged_take(struct control_core *core, uint32_t leaf, ProtobufCMessage **own_message);
void control_staged_forget(struct control_leaf *it);
/* A Sync would say something new of it. */
bool control_staged_is_due(const struct control_core *core);
/* Fills sync->staged in where there is news; *out_list is freed after the send. */
void control_staged_put(struct control_core *core, Penstock__Staged ***out_list,
                        Penstock__Sync *sync, int64_t now);
/* The coordinator's word: those are of no use to anybody. */
void control_staged_drop(struct control_core *core, const Penstock__SyncReply *reply);

/* control_sync.c: hello and sync */
void control_sync_turn(struct control_core *core, int64_t now);
void control_sync_answer(struct control_core *core, unsigned slot, enum msg_type type,
                         ProtobufCMessage *message);
void control_sync_lost(struct control_core *core, unsigned slot);
int64_t control_sync_next_ms(const struct control_core *core);
/* False: the stamp is older than one we have seen: do not obey. */
bool control_sync_see(struct control_core *core, const Penstock__Stamp *stamp);

#endif
