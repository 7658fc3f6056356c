/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng.h: what the engine keeps in memory, for the files of this room.
 * Invariant: what is here and also in the catalog was read from it or is written to it in this turn
 *            (open batches, pipelines, agents). Only leases' times, parked answers, tasks and what
 *            agents say of their leaves are here alone: a restart makes them anew.
 * Failure: a catalog call that fails is kept by eng_try in engine.fault; the turn then ends without
 *          commit and without replies: memory is ahead of the file. It is forgotten, and read anew
 *          once the catalog can be written; what will not pass (a corrupt file) ends the process.
 * Threads: the engine's thread, but for the inbox. */
#ifndef COORDINATOR_ENGINE_ENG_H
#define COORDINATOR_ENGINE_ENG_H

#include <pthread.h>

#include "common/heap.h"
#include "common/ids.h"
#include "common/list.h"
#include "common/map.h"
#include "coordinator/catalog/catalog.h"
#include "coordinator/engine/engine.h"
#include "coordinator/sched/states.h"
#include "spec/spec.h"

enum {
    ENG_PREPARE_OBJECTS = 20,     /* looked at to infer the columns */
    ENG_WAIT_MOST_MS = 3000,      /* a Sync's long poll */
    ENG_UNSEEN_MS = 5000,         /* an agent that does not see a source is not asked before */
    ENG_HOT_MS = 2000,            /* a chain waits so long for the leaf that has its stream open */
    ENG_CANCEL_AGAIN_MS = 1000,   /* a cancel that was not followed is a reason to answer again */
    ENG_REPLY_BYTES = 512 * 1024, /* a SyncReply with more than this takes no more grants */
    ENG_OLD_INCARNATIONS = 16,
    ENG_TASK_LIMIT = 1000,      /* objects a page of discovery */
    ENG_STAGED_HINT_MS = 5000,  /* for whom may have it on disk a batch waits so long */
    ENG_STAGED_AWAY_MS = 60000, /* who cannot load for so long, while others can, gives back */
};

/* The code of a batch partition whose key was loaded before in another version. */
#define ENG_OBJECT_CHANGED "object_changed"

/* The code of one whose batch ended where it began: cut again, it would meet its own range. */
#define ENG_NO_PROGRESS "no_progress"

#define ENG_BEHIND                                                                                 \
    "the catalog is older than what agents have seen (an old copy?): nothing is granted before "   \
    "the destination's ledger has been read again"

struct eng_agent;
struct eng_pipeline;
struct eng_reading;

struct eng_batch {
    struct ps_list link;       /* of the pipeline's batches */
    struct ps_list lease_link; /* of the holder's leases */
    struct ps_list until_link; /* of the engine's leases, the earliest end first */
    struct ps_list idle_link;  /* of the pipeline's: PENDING, nobody has it */
    struct ps_heap_node due;   /* of the pipeline's: WAITING or CANCELLING, nobody has it */
    bool due_is_tomb;          /* in which of the two heaps */
    struct eng_pipeline *pipeline;
    struct cat_batch row; /* its texts are owned */
    enum batch_state state;
    struct cat_range *ranges;
    struct eng_agent *holder; /* NULL: not leased */
    int64_t lease_until_ms;   /* mono; eng_store_renew */
    int64_t retry_mono_ms;    /* WAITING, CANCELLING: not before; eng_store_set_retry */
    uint64_t listed_seq;      /* the holder's latest Sync that lists it */
    uint64_t cancel_epoch;    /* the epoch whose holder was told to stop */
    bool resend;              /* granted in an answer that was lost */
    /* Of a part, while it is leased: eng_prove.h. */
    uint64_t held_start; /* as its leaf decoded it; 0: not yet */
    uint64_t held_end;
    uint64_t proof; /* where it truly begins; 0: unknown */
    bool held_proven;
    bool proof_told;
    /* Which leaf has it decoded on disk, eng_staged.h; NULL: none. */
    struct eng_agent *staged_agent;
    struct ps_list staged_link;
    uint32_t staged_leaf;
    bool staged_sure;            /* the agent has said so; else it held it last */
    bool staged_listed;          /* in the list that is being read */
    int64_t staged_until_ms;     /* mono: nobody else gets it before; 0: it is leased */
    struct ps_list unsaved_link; /* of the engine's: its row is written before this turn ends */
    bool is_new;                 /* it has no row yet */
};

enum eng_agent_state { ENG_AGENT_ONLINE, ENG_AGENT_GONE };

struct eng_cancel {
    struct batch_id batch;
    uint64_t epoch;
    int64_t told_ms; /* mono; 0: not yet */
};

/* How many leases of a pipeline one leaf has. */
struct eng_place {
    struct eng_pipeline *pipeline;
    uint32_t leaf;
    uint32_t leases;
};

struct eng_agent {
    struct ps_list link;
    struct engine *engine;
    char *name;
    char *version;
    struct incarnation incarnation;
    struct incarnation old[ENG_OLD_INCARNATIONS];
    size_t old_next;
    enum eng_agent_state state;
    uint32_t leaves;
    uint32_t pid;
    struct ps_span host_token; /* owned */
    int64_t hello_ms;          /* wall */
    int64_t seen_mono_ms;      /* latest message */
    int64_t seen_wall_ms;
    struct ps_list seen_link; /* of the engine's online agents, the longest silent first */
    struct ps_list leases;
    struct eng_place *places; /* those with leases */
    size_t place_count;
    struct ps_list hot;      /* chains that its leaves have open */
    struct ps_list staged;   /* batches that its leaves have on disk, leased or not */
    struct ps_span *unstage; /* what it keeps for nothing: owned ids, for the next answer */
    size_t unstage_count;
    Penstock__Sync *sync; /* the latest; NULL before the first */
    uint64_t sync_seq;
    bool parked; /* sync waits for its answer */
    int64_t parked_until_ms;
    struct ps_heap_node wake;   /* parked, and in no list: when there is something to say */
    struct ps_list stir_link;   /* parked: looked at before this turn ends */
    struct ps_list hungry_link; /* parked, and wants batches */
    struct engine_request parked_request; /* its message is not used */
    Penstock__SyncReply *answer;          /* being built in this turn; NULL: nothing to say yet */
    size_t answer_bytes;
    struct eng_cancel *cancels; /* what it lists and should not */
    size_t cancel_count;
    uint32_t *wants; /* per entry of sync->wants: what is left */
    uint32_t want_tasks;
    bool draining;
};

struct eng_unseen {
    struct eng_agent *agent;
    int64_t until_ms;
};
/* What the engine asks of a spec, read once: spec_… look a path up each time. */
struct eng_limits {
    uint64_t batch_bytes;
    uint32_t max_leaves; /* 0: no limit */
    uint32_t max_retries;
    int64_t interval_ms;
    bool is_continuous;
    bool stops_on_failure;
    bool fails_on_change;
    bool keeps_ledger; /* null: remembers nothing: the catalog alone knows what was loaded */
    struct spec_tolerance tolerance;
};

struct eng_pipeline {
    struct ps_list link;
    struct cat_pipeline row; /* its texts and spans are owned */
    enum pipeline_state state;
    struct spec *spec; /* set by eng_store_set_spec */
    struct eng_limits limits;
    bool dirty;             /* row is saved, with a new revision, at the turn's end */
    struct ps_list batches; /* open and quarantined ones, by age */
    struct ps_list idle;    /* PENDING ones */
    struct ps_heap retries; /* WAITING ones, by when they may be tried again */
    struct ps_heap tombs;   /* CANCELLING ones that nobody settles, likewise */
    uint32_t leased;
    uint32_t pending; /* batches that are cut and not leased */
    uint32_t waiting;
    uint32_t at_work; /* different leaves with a lease */
    uint32_t cancelling;
    int64_t next_discover_ms;       /* mono; continuous */
    uint64_t loads;                 /* settled as loaded, since this coordinator began */
    bool is_distrusted;             /* our catalog turned out to be old: until it is reconciled */
    Penstock__ApiReconcile *report; /* row.reconcile, unpacked; NULL: none */
    Penstock__Column **adding;      /* columns.unknown: add: to be made; owned */
    size_t adding_count;
    struct eng_reading *reading; /* eng_reconcile.h; NULL: no ledger is being read */
    uint64_t *to_prove;          /* batch partitions with news of their parts */
    size_t to_prove_count;
    struct eng_unseen *unseen;
    size_t unseen_count;
    struct ps_list hot; /* chains that leaves have open, the earliest end first: eng_hot.h */
    struct ps_map *hot_by_bp;
    size_t hot_count;
};

/* Batches that were settled lately: agents list them until the answer to their report is there. */
enum { ENG_SETTLED_KEPT = 4096 };
struct eng_settled {
    struct batch_id batch;
    uint64_t epoch;
};

struct eng_window; /* eng_store.h */
struct eng_wait;   /* a command that waits: eng_wait.c */

struct eng_task {
    struct ps_list link;
    struct task_id id;
    uint64_t epoch;
    Penstock__TaskKind kind;
    struct eng_pipeline *pipeline;
    struct eng_agent *holder; /* NULL: to be given out */
    uint64_t listed_seq;
    bool resend;
    int64_t not_before_ms; /* mono */
    uint32_t attempts;
    uint32_t next_chunk;
    uint64_t loads; /* the pipeline's, when it was given out */
    uint32_t limit;
    struct ps_span cursor;         /* owned */
    struct ps_span filter;         /* owned */
    Penstock__ObjectRef **objects; /* SAMPLE: owned */
    size_t object_count;
    Penstock__Column **columns; /* ALTER: owned */
    size_t column_count;
    struct eng_wait *wait; /* SAMPLE, READ_REJECTS and a discovery for a sample */
};

struct eng_reply {
    struct ps_list link;
    struct engine_request request; /* message is not used */
    enum msg_type type;
    ProtobufCMessage *message; /* owned */
};

struct engine {
    struct engine_env env;
    struct engine_config config;
    /* The inbox: under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct ps_list inbox;
    bool stopping;
    /* From here to the end: the engine's thread alone; cleared as a whole when it starts over. */
    int64_t now_ms;      /* mono, of this turn */
    int64_t wall_ms;     /* of this turn */
    int64_t expected_ms; /* when the next turn was due at the latest */
    enum ps_status fault_status;
    struct ps_error fault;
    struct ps_list agents;
    struct ps_map *agents_by_name;
    uint32_t online_leaves;
    struct ps_list seen;    /* online agents, the longest silent first */
    struct ps_list leases;  /* of all agents, the earliest end first */
    struct ps_list stirred; /* parked agents to look at before this turn ends */
    struct ps_list unsaved; /* batches whose rows are written before this turn ends */
    struct ps_list hungry;  /* parked agents that want batches */
    struct ps_heap parked;  /* the other parked ones, by when there is something to say */
    bool tell_all;          /* every parked agent is to be looked at in this turn */
    struct ps_list pipelines;
    struct ps_list tasks;
    struct ps_list waits;
    struct ps_list replies;      /* to agents: struct eng_reply */
    struct ps_list answers;      /* to people: struct eng_answer */
    struct eng_settled *settled; /* a ring */
    size_t settled_next;
    struct ps_map *settled_by_id;
    struct eng_window *window; /* while a round of grants lasts */
    struct ps_map *batches;    /* by id: open and quarantined ones */
    bool said_behind;
    struct cat_stamp behind; /* the highest that an agent had seen and we had not; 0: none */
};

/* True when status is PS_OK; else the first failure is kept. err is engine->fault. */
bool eng_try(struct engine *engine, enum ps_status status);
#define ENG_TRY(engine, call, ...)                                                                 \
    eng_try((engine), call((engine)->env.catalog, __VA_ARGS__, &(engine)->fault))

/* Owned texts and spans of a row. NULL and empty are fine. */
void eng_set_text(const char **slot, const char *text);
void eng_set_span(struct ps_span *slot, struct ps_span bytes);
struct ps_id eng_new_id(struct engine *engine);
uint64_t eng_random(struct engine *engine);
/* An event row of this turn. */
void eng_event(struct engine *engine, const struct eng_pipeline *pipeline, const char *kind,
               const char *subject, const char *fmt, ...) PS_PRINTF(5, 6);
struct cat_counts eng_counts(const Penstock__Counts *counts);
/* Batch partitions of the current generation. */
static inline struct cat_object_page
eng_page(const struct eng_pipeline *pipeline, uint32_t limit)
{
    return (struct cat_object_page){
        .pipeline_id = pipeline->row.id, .generation = pipeline->row.generation, .limit = limit};
}
static inline struct ps_span
eng_span(ProtobufCBinaryData bytes)
{
    return ps_span(bytes.data, bytes.len);
}

#endif
