/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_core.h: what the leaf's threads share.
 * Invariant: every job that was granted is in `held` until its report has been written to the link;
 *            so a progress message lists exactly what this leaf still answers for.
 * Threads: the functions here are safe from any thread. */
#ifndef AGENT_LEAF_LEAF_CORE_H
#define AGENT_LEAF_LEAF_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/leaf/leaf.h"
#include "agent/leaf/leaf_doc.h"
#include "agent/leaf/leaf_job.h"
#include "agent/leaf/leaf_link.h"
#include "agent/source/source.h"
#include "agent/stage/stage.h"
#include "common/queue.h"

enum {
    LEAF_HELD_MAX = 1032, /* the agent gives what leaf_away.h says; room for a late repeat */
    /* Of the budget, what is not rows: the program, windows, inference, SQLite's cache. */
    LEAF_RESERVE_BYTES = 16 * 1024 * 1024,
};

/* Proven of an object: the first record boundary at or after stop_at is `end`. end 0: no entry. */
enum { LEAF_BOUNDARIES = 64 };
struct leaf_boundary {
    struct pipeline_uuid pipeline;
    uint32_t rev;
    struct bp_hash bp;
    uint64_t stop_at, end;
};

/* One waiting for the writer's turn. */
struct leaf_turn {
    uint64_t number; /* 0 = free */
    bool granted;
    char dest[128];
};

struct leaf_core {
    const struct leaf_config *config;
    struct leaf_link *link;
    struct leaf_docs *docs;
    struct stage *stage;
    struct ps_queue *to_extract; /* of leaf_job */
    struct ps_queue *to_load;
    struct source_env source_env;
    _Atomic bool stop;  /* the agent is gone: everything ends now */
    _Atomic bool drain; /* finish what is sealed, give back the rest */
    _Atomic uint64_t bytes_total, rows_total;

    pthread_mutex_t lock; /* held, parked, known, turns, note, acks */
    pthread_cond_t changed;
    struct leaf_job *held[LEAF_HELD_MAX];
    size_t held_count;
    struct leaf_job *parked[LEAF_HELD_MAX]; /* leaf_cut.h */
    size_t parked_count;
    struct leaf_boundary known[LEAF_BOUNDARIES]; /* a ring */
    size_t next_known;
    struct leaf_turn turns[2]; /* load thread, task thread */
    uint64_t next_turn;
    char note[160];
    /* leaf_away.h */
    int64_t away_ms; /* mono: since then the destination could not be reached; 0: it could */
    int64_t away_wall_ms;
    char away_why[192];
    unsigned away_tries;     /* the load thread's */
    int64_t load_began_ms;   /* mono: the load thread's batch; 0: it has none */
    bool quota_waits;        /* the extract thread waits for room in the quota */
    bool stage_full;         /* the quota stops extraction, as the last status said */
    uint64_t discarded_said; /* kept segments that were discarded, as far as it was logged */
    _Atomic bool kept_news;  /* the agent has not heard of the kept segments as they are */

    Penstock__LeafTask *task; /* waiting for the task thread; NULL = none */
    uint8_t task_now[PS_ID_BYTES];
    uint64_t task_epoch;
    bool task_busy;
    bool task_acked;
    Penstock__Answer task_answer;
    _Atomic bool task_cancel;
};

/* ---- held */
PS_MUSTCHECK bool leaf_core_hold(struct leaf_core *core, struct leaf_job *job);
/* A job of this id and epoch is held: cancel it where its commit has not begun. */
void leaf_core_cancel(struct leaf_core *core, struct ps_span batch_id, uint64_t epoch);
struct leaf_job *leaf_core_find_locked(struct leaf_core *core, struct ps_span batch_id,
                                       uint64_t epoch); /* NULL: not held */
bool leaf_core_holds(struct leaf_core *core, struct ps_span batch_id, uint64_t epoch);
/* Sets the job's phase, names the calling thread after it and tells the agent. */
void leaf_core_phase(struct leaf_core *core, struct leaf_job *job, Penstock__Phase phase);
/* What `top -H` shows of this thread: its phase, or "extract" and "loader" while they wait. */
void leaf_core_name_thread(const char *name);
void leaf_core_note(struct leaf_core *core, const char *fmt, ...) PS_PRINTF(2, 3);
/* Sends LEAF_PROGRESS: also the heartbeat. What waits on disk is listed by the second only. */
void leaf_core_progress(struct leaf_core *core);
void leaf_core_progress_all(struct leaf_core *core);

/* ---- reports: send, then let go of the job and free it. */
void leaf_core_send_done(struct leaf_core *core, const struct leaf_job *job,
                         Penstock__Outcome outcome, const struct dest_result *result);
void leaf_core_done(struct leaf_core *core, struct leaf_job **own_job, Penstock__Outcome outcome,
                    const struct dest_result *result);
/* What the job has on disk is kept for another life of its batch, but for a failure of its own. */
void leaf_core_failed(struct leaf_core *core, struct leaf_job **own_job, Penstock__FailClass class,
                      const struct ps_error *err, const uint64_t *bp_id);

void leaf_core_counts_to_proto(const struct dest_counts *in, Penstock__Counts *out);

/* ---- the writer's turn; slot 0 is the load thread's, 1 the task thread's. */
PS_MUSTCHECK enum ps_status leaf_core_turn_take(struct leaf_core *core, int slot, const char *dest,
                                                struct ps_error *err);
void leaf_core_turn_release(struct leaf_core *core, int slot);
void leaf_core_turn_granted(struct leaf_core *core, uint64_t number);

/* The disk below `whose` is full: says so in the note, and waits a while. False: the leaf stops, or
 * the job (NULL: a task) was cancelled. */
PS_MUSTCHECK bool leaf_core_wait_for_room(struct leaf_core *core, const struct leaf_job *job,
                                          const char *whose, unsigned attempt,
                                          const struct ps_error *err);

/* What a destination may keep in memory: a share of what is not for rows. */
uint64_t leaf_core_dest_bytes(const struct leaf_core *core);

/* Waits on core->changed at most wait_ms, for something another thread sets. Holding core->lock. */
void leaf_core_wait_locked(struct leaf_core *core, int64_t wait_ms);
/* From the link thread: everything waiting looks again. */
void leaf_core_wake(struct leaf_core *core);

#endif
