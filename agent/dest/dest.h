/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dest.h: where rows go. One const ops struct a driver, listed in dests.def;
 * dst_template.c is the one to copy.
 * In: sealed batches.  Out: rows, rejects and ledger rows, committed together.
 * Invariant: design §3.2. A batch's rows are visible exactly when its ledger row says LOADED; the
 *            same batch loaded again says ALREADY with the ledger's own counts and ends.
 * Threads: a struct dest is used by one thread at a time. Calls block; none looks at a source. */
#ifndef AGENT_DEST_DEST_H
#define AGENT_DEST_DEST_H

#include <stdatomic.h>

#include "agent/stage/stage.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/ids.h"
#include "spec/spec.h"

struct dest;

/* Lent by the leaf; borrowed for the life of the dest. */
struct dest_env {
    void *ctx;
    /* Waits in FIFO order for the one writer's turn at this file; PS_CANCELED when the leaf is
     * asked to stop. NULL where the process is alone (tests, tasks that only read). */
    enum ps_status (*turn_take)(void *ctx, const char *dest_identity, struct ps_error *err);
    void (*turn_release)(void *ctx, const char *dest_identity);
    /* Says where a load is: "load", then "commit"; for progress and the kill harness. */
    void (*phase)(void *ctx, const char *phase);
    uint64_t
        memory_bytes;     /* it may keep so much of the destination in memory; 0: its own default */
    const char *base_dir; /* what a relative URL is relative to */
    const _Atomic bool *cancel;
};

/* One range as the ledger keeps it. */
struct dest_range {
    struct bp_hash bp;
    struct ps_span key;
    struct ps_span version;
    uint64_t from;
    uint64_t end;
    bool eof;
    struct ps_span resume; /* token at end */
    uint64_t records;
};

/* decoded is the sum of rejected, filtered and the four of the load, however a driver does it: rows
 * of one key inside a batch are inserted, updated or skipped as if each had come alone. */
struct dest_counts {
    uint64_t decoded, rejected, filtered;
    uint64_t inserted, updated, skipped, rejected_at_load;
    uint64_t raw_bytes, unwrapped_bytes;
};

/* A reject that a replay takes up. */
struct dest_replay {
    uint64_t n;          /* its number in the rejects table */
    const char *edited;  /* what kept holds: "raw", "fields", "cut"; NULL: leave what stands */
    struct ps_span kept; /* kept as its raw bytes where it is refused again; at most 64 KiB */
    bool discards;       /* it is settled without a row */
};

struct dest_batch {
    struct batch_id id;
    struct pipeline_uuid pipeline;
    uint64_t generation;
    uint64_t epoch;
    uint64_t cluster_epoch; /* of the stamp the grant came with */
    uint64_t commit_seq;
    uint32_t spec_rev;
    const char *agent; /* for the ledger row: who */
    uint32_t leaf;
    const struct dest_range *ranges;
    size_t range_count;
    struct dest_counts counts; /* decoded, rejected, filtered and bytes are set by the caller */
    struct stage_batch *rows;  /* sealed */
    /* A replay where it is not NULL: no ranges; a row's range_index is the place of its reject
     * here. */
    const struct dest_replay *replays;
    size_t replay_count;
};

enum dest_outcome {
    DEST_LOADED,         /* committed now */
    DEST_ALREADY,        /* the ledger had it */
    DEST_CANCELLED,      /* a tombstone stands */
    DEST_FENCE_MISMATCH, /* nothing done: settle by tombstone */
    DEST_RANGE_CONFLICT, /* nothing done: another batch id owns a range; err names it */
    DEST_OVER_TOLERANCE, /* a tombstone with its rejects was committed instead */
    DEST_NOT_OPEN,       /* nothing done: some of a replay's rejects are not open; err names them */
};

struct dest_result {
    enum dest_outcome outcome;
    struct dest_counts counts; /* ALREADY: the ledger's */
    struct dest_range *ranges; /* ALREADY: the ledger's; freed by dest_result_fini */
    size_t range_count;
};
void dest_result_fini(struct dest_result *result);

/* What a destination knows of a pipeline by name. */
struct dest_state {
    bool table_exists;
    bool has_fence;
    struct pipeline_uuid uuid;
    uint64_t generation;
    uint64_t cluster_epoch, commit_seq; /* highest in the ledger */
    struct dest_counts totals;          /* replays' own among them */
    uint64_t batches;                   /* without replays */
    uint64_t replayed;                  /* records that replays have taken up */
};

/* Where a reject stands. Void: its batch was cancelled, or is of an older generation: its data has
 * had, or will have, a second life, so the record must not be loaded from here. */
enum dest_reject_state { REJECT_ANY, REJECT_OPEN, REJECT_REPLAYED, REJECT_VOID, REJECT_DISCARDED };
#define DEST_DISCARDED "discarded" /* edited, of a discarded one */

struct dest_numbers {
    uint64_t first, last;
};

struct dest_reject_filter {
    enum dest_reject_state state;
    struct ps_span code, object; /* empty: any */
    const struct batch_id *batch;
    const struct dest_numbers *numbers;
    size_t number_count; /* 0: any */
};

struct dest_reject_row {
    uint64_t n; /* unique in its table, rising */
    enum dest_reject_state state;
    struct batch_id replayed_by;
    int64_t replayed_ms;
    struct ps_span edited; /* of struct dest_replay */
    struct batch_id batch;
    struct ps_span object;
    uint64_t offset, length, line;
    struct ps_span column, code, reason, raw;
    int64_t at_ms;
};

/* What prepare is to make. */
struct dest_table {
    const char *pipeline_name;
    struct pipeline_uuid uuid;
    uint64_t generation;
    const struct spec_column *columns;
    size_t count;
    size_t
        added; /* so many of the last columns are added to a table that is there and lacks them */
};

struct dest_page {
    struct pipeline_uuid uuid;
    struct ps_span cursor; /* where the page before ended; empty = the start */
    size_t limit;
    struct ps_buf *next;                     /* the cursor of the page after this one is appended */
    bool last;                               /* set: nothing follows */
    const struct dest_reject_filter *filter; /* rejects; NULL: all */
};
typedef enum ps_status (*dest_range_fn)(void *ctx, const struct dest_range *range,
                                        struct batch_id batch, struct ps_error *err);
typedef enum ps_status (*dest_reject_fn)(void *ctx, const struct dest_reject_row *row,
                                         struct ps_error *err);

struct dest_ops {
    const char *scheme; /* "sqlite" */
    const char *help;

    /* Connects or opens; creates nothing. PS_REFUSED with code "not_visible" when this host cannot
     * see the same file as the one the fence was made in. */
    enum ps_status (*open)(const struct spec *spec, const struct dest_env *env, struct dest **out,
                           struct ps_error *err);
    void (*close)(struct dest *dest); /* NULL is fine */

    /* Table from columns where spec says create, else checks the existing one, after it was given
     * the added columns that it lacks (nullable; never inside a load); ledger, fence and
     * rejects tables; the fence row (uuid, generation) where there is none or an older one.
     * Idempotent. In a writer turn. *out_state is what stands afterwards. */
    enum ps_status (*prepare)(struct dest *dest, const struct dest_table *table,
                              struct dest_state *out_state, struct ps_error *err);
    /* Reads only; a missing file or table is a state, not an error. */
    enum ps_status (*state)(struct dest *dest, const char *pipeline_name,
                            struct dest_state *out_state, struct ps_error *err);

    /* A replay also takes up its rejects: in the same transaction all of them were open and are
     * marked as replayed by this batch, but for those that are refused again: these stay open, with
     * the new reason. Its ledger row says decoded = all of them.
     * The whole of §3.2 for one sealed batch, with its own writer turn. PS_OK: *out says which
     * outcome. PS_AGAIN: run the same again (BUSY is waiting inside, never an error). */
    enum ps_status (*load)(struct dest *dest, const struct spec_column *columns, size_t count,
                           const struct dest_batch *batch, struct dest_result *out,
                           struct ps_error *err);
    /* Inserts the tombstone; DEST_CANCELLED, or DEST_ALREADY when the batch turned out loaded. */
    enum ps_status (*tombstone)(struct dest *dest, const struct dest_batch *batch,
                                const char *reason, struct dest_result *out, struct ps_error *err);

    /* Ledger ranges of loaded batches, or rejects, of one pipeline, a page at a time. Where each
     * fails, its status comes back and the page's next stands after the last row it took. */
    enum ps_status (*ledger)(struct dest *dest, struct dest_page *page, dest_range_fn each,
                             void *ctx, struct ps_error *err);
    enum ps_status (*rejects)(struct dest *dest, struct dest_page *page, dest_reject_fn each,
                              void *ctx, struct ps_error *err);
    /* The ledger's ranges of one loaded batch. */
    enum ps_status (*ranges)(struct dest *dest, struct batch_id batch, dest_range_fn each,
                             void *ctx, struct ps_error *err);
};

/* The places of a load where a test can make any driver fail (docs/RECOVERY.md): PS_OK, or
 * PS_AGAIN where a failpoint says so. */
enum dest_point {
    DEST_AFTER_FENCE,
    DEST_AFTER_LEDGER,
    DEST_AFTER_ROWS,
    DEST_BEFORE_COMMIT,
    DEST_AFTER_COMMIT,
};
PS_MUSTCHECK enum ps_status dest_reach(enum dest_point point, struct ps_error *err);

/* "open" …; "any" for REJECT_ANY. */
const char *dest_reject_state_name(enum dest_reject_state state);
bool dest_reject_state_parse(const char *text, enum dest_reject_state *out);
/* The ledger row's reason by which a replay is known. */
#define DEST_REPLAY_REASON "replay"

const struct dest_ops *dest_find(const char *url, struct ps_error *err);
const struct dest_ops *const *dest_all(void);

#endif
