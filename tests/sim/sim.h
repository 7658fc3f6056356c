/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/sim.h: a cluster in one process: the real engine, agents and a destination that are
 * models of the real ones, virtual time, and faults from a seed.
 * Invariant: nothing here reads a clock or a random source of the system: the same seed gives the
 *            same sequence of everything, and so the same hash.
 * A broken promise ends the run at once: SIM_CHECK prints the seed and what was broken. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "common/heap.h"
#include "common/list.h"
#include "common/map.h"
#include "common/rand.h"
#include "coordinator/catalog/catalog.h"
#include "coordinator/engine/engine.h"

struct sim;

struct sim_lease { /* the newest of a batch */
    uint64_t epoch;
    uint32_t agent;
    uint64_t life;
    uint64_t generation;
};

/* How often segments were used again and given up, over all runs that share it. */
struct sim_stage_seen {
    uint64_t adopted;
    uint64_t unstaged;
};

struct sim_plan { /* what happens in a run */
    uint64_t seed;
    uint32_t agents;
    uint32_t leaves; /* an agent */
    uint32_t objects;
    uint64_t batch_bytes;
    uint64_t most_bytes;     /* of one object */
    int64_t faults_until_ms; /* 0: no faults */
    uint32_t drop_percent;   /* of messages, each way */
    uint32_t twice_percent;  /* of requests */
    uint32_t fail_percent;   /* of batches: transient */
    bool coordinator_restarts;
    bool agent_restarts;
    bool pauses;
    bool leaf_deaths;
    bool stops;            /* people stop and start the pipeline */
    bool bad_objects;      /* some are refused for good */
    bool state_deleted;    /* the catalog is lost in the middle */
    bool splits;           /* large objects are taken as ranges in parallel */
    bool catalog_fails;    /* its disk is full, or broken, for a while; or it dies after a commit */
    bool catalog_restored; /* a copy from before comes back */
    bool dest_fails;       /* so do the destination's and the stages' disks */
    bool clock_jumps;      /* the wall's, by up to a year */
    bool raises;           /* a person changes the spec: a new generation */
    bool unseen;           /* every second agent does not see the source */
    bool is_large;         /* no look at everything in between; messages take 1 ms */
    bool many_writers;     /* the destination takes commits side by side */
    uint64_t object_bytes; /* of every object; 0: any up to most_bytes */
    uint32_t work_least_ms;
    uint32_t work_most_ms; /* a batch's, also without faults; 0: as it comes */
    int64_t most_ms;       /* the whole run, where work_most_ms is given */
    uint32_t max_retries;
    const char *on_failure;            /* "skip" "stop" */
    struct sim_stage_seen *stage_seen; /* NULL: not counted */
};

/* ---- sim_dest.c: source and destination */
struct sim_object {
    char key[32];
    uint64_t size;
    uint64_t record_bytes;
    bool compressed;
    uint64_t loaded_to; /* in the destination, without a gap */
    bool whole;
    bool bad;          /* batches with it fail, naming it: */
    uint64_t bad_from; /* those with ranges from here on */
    bool splittable;
    bool exact;            /* splittable, and a cut's start is never a guess */
    struct ps_list ranges; /* struct sim_loaded: what the destination has of it */
};
struct sim_loaded {
    struct ps_list link;
    struct ps_list object_link;
    uint32_t object;
    uint64_t from;
    uint64_t end;
    bool eof;
    struct batch_id batch;
};
struct sim_dest {
    bool has_fence;
    struct pipeline_uuid uuid;
    uint64_t generation;
    struct ps_map *ledger;  /* batch id → struct sim_entry */
    struct ps_list loaded;  /* struct sim_loaded, in the order of the commits */
    uint64_t refused_twins; /* a batch that was there already */
    uint64_t conflicts;
    uint64_t commits;
};
struct sim_entry {
    bool tombstone;
    uint64_t generation;
    Penstock__RangeEnd **ends;
    size_t end_count;
    Penstock__Counts *counts;
};
void sim_dest_init(struct sim *sim);
void sim_dest_fini(struct sim *sim);
/* One transaction. Returns what the leaf reports; fills ends and counts from the ledger. */
enum sim_outcome { SIM_LOADED, SIM_ALREADY, SIM_CANCELLED, SIM_FENCED, SIM_CONFLICT };
/* cut_start: of a range that begins at a cut, where its first record begins. */
enum sim_outcome sim_dest_commit(struct sim *sim, const Penstock__Grant *grant, uint64_t cut_start,
                                 struct sim_entry **out);
/* The first record boundary at or after a place, or the object's end. */
uint64_t sim_dest_boundary(const struct sim_object *object, uint64_t at);
uint32_t sim_dest_object(const struct sim *sim, ProtobufCBinaryData key);
/* Of the fence's generation. */
struct sim_total {
    uint64_t batches;
    uint64_t records;
};
struct sim_total sim_dest_total(const struct sim *sim);
/* PREPARE of that generation: what was loaded by older ones is not known to it. */
void sim_dest_raise(struct sim *sim, uint64_t generation);
/* Everything that is not bad is loaded, once, without gaps. */
void sim_dest_check_whole(struct sim *sim);

/* ---- sim_agent.c */
struct sim_agent;
void sim_agent_boot(struct sim *sim, uint32_t index);
void sim_agent_crash(struct sim *sim, uint32_t index);
void sim_agent_drain(struct sim *sim, uint32_t index); /* SIGTERM */
void sim_agent_pause(struct sim *sim, uint32_t index, int64_t ms);
void sim_agent_free_all(struct sim *sim);
/* How long it still stands still. */
int64_t sim_agent_paused_ms(const struct sim *sim, uint32_t index);
/* The answer to a request of that life; owned. NULL: nothing came, the time is up. */
void sim_agent_answer(struct sim *sim, uint32_t index, uint64_t life, uint64_t call,
                      enum msg_type type, ProtobufCMessage *own_message);

/* ---- sim_fault.c: people, disks, clocks, crashes */
void sim_fault_open_catalog(struct sim *sim);
void sim_fault_begin(struct sim *sim);
void sim_fault_end(struct sim *sim);
void sim_fault_before_turn(struct sim *sim);
/* False: the coordinator is down. */
bool sim_fault_after_turn(struct sim *sim, enum ps_status status, const struct ps_error *err);
/* What was seen of it is no measure any more. */
/* True: it failed as an old copy, and a person has done about it what the error says. */
bool sim_fault_adopts(struct sim *sim);
void sim_fault_forget_seen(struct ps_map *map);
bool sim_fault_is_unseen(const struct sim *sim, uint32_t agent);
void sim_command(struct sim *sim, enum command_kind kind, const char *spec_json);
void sim_put_and_start(struct sim *sim);

/* ---- sim_check.c */
void sim_check_now(struct sim *sim);
void sim_check_end(struct sim *sim);
bool sim_check_is_reconciled(struct sim *sim); /* as committed; true without a pipeline */
bool sim_check_has_bad(const struct sim *sim);

/* ---- sim_busy.c: leaf-milliseconds with a batch to work on, from the first grant to the last */
struct sim_busy {
    int64_t first_grant_ms; /* -1: none yet */
    int64_t last_grant_ms;
    uint64_t grants;
    uint64_t leaf_ms; /* until the last grant */
    uint64_t at_work; /* leaves, now */
    uint64_t leaf_ms_now;
    int64_t changed_ms;
};
void sim_busy_change(struct sim *sim, int by);
void sim_busy_granted(struct sim *sim);

/* ---- sim.c: time, messages, the engine */
struct sim {
    struct sim_plan plan;
    struct ps_rand rand;
    struct ps_heap events;
    int64_t now_ms;
    int64_t turn_at_ms;
    bool turn_wanted;
    struct catalog *catalog;
    struct engine *engine; /* NULL: down */
    uint64_t calls_out;    /* requests that the engine has not answered */
    uint64_t hash;
    int64_t calm_ms; /* what the faults did is over */
    int64_t wall_jump_ms;
    int64_t disk_bad_until_ms;
    bool disk_is_full; /* else it fails at the commit */
    bool is_mute;      /* no answer leaves this turn */
    bool raise_pending;
    uint32_t starts_pending; /* of restored copies */
    bool is_behind; /* the engine has heard that its catalog is old, and has not read the ledger */
    uint32_t raised;
    struct sqlite3 *copy; /* of the catalog, from before; NULL: none */
    struct sim_busy busy;
    uint64_t era; /* rises when the state is lost */
    struct sim_object *objects;
    struct sim_dest dest;
    struct sim_agent **agents;
    uint64_t turns;
    uint64_t restarts;
    uint64_t restarts_by_hand;
    uint64_t adoptions; /* of a generation that an old copy did not know */
    uint64_t dropped;
    uint64_t grants;
    uint64_t cuts;
    uint64_t proofs;
    uint64_t redone;
    uint64_t own_scans;
    struct ps_map *epochs;  /* batch id → struct sim_lease */
    struct ps_map *deaths;  /* batch id → how often its leaf died with it */
    struct ps_map *offsets; /* object key → the highest offset that was seen */
    uint64_t offsets_of;    /* the generation */
    char state[32];         /* the pipeline's, as last watched */
    char reason[256];
};

typedef void (*sim_fn)(struct sim *sim, uint64_t a, uint64_t b, void *own);
void sim_at(struct sim *sim, int64_t in_ms, sim_fn fn, uint64_t a, uint64_t b, void *own);
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_percent(struct sim *sim, uint32_t percent);
bool sim_has_faults(const struct sim *sim);
/* What is done now has an effect for so long. */
void sim_disturb(struct sim *sim, int64_t for_ms);
/* The catalog may know less than the destination. */
bool sim_forgets(const struct sim *sim);
void sim_engine_up(struct sim *sim);
void sim_engine_down(struct sim *sim);
void sim_want_turn(struct sim *sim);
void sim_note(struct sim *sim, const char *fmt, ...) PS_PRINTF(2, 3); /* into the hash */
/* A request on its way: it may be lost, come twice or late. */
void sim_send(struct sim *sim, uint32_t agent, uint64_t life, uint64_t call, enum msg_type type,
              const ProtobufCMessage *message);
/* Runs until the pipeline is over, then checks everything. out_busy: NULL is fine. */
void sim_run(const struct sim_plan *plan, uint64_t *out_hash, struct sim_busy *out_busy);

__attribute__((noreturn)) void sim_broken(struct sim *sim, const char *what, const char *file,
                                          int line);
#define SIM_CHECK(sim, cond) ((cond) ? (void)0 : sim_broken((sim), #cond, __FILE__, __LINE__))

#endif
