/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dest_ledger.h: design §3.2 for servers that speak SQL, written once: fence, ledger
 * row first, ranges with their overlap check, rows, rejects, counts, tolerance, COMMIT; tombstones;
 * what stands in the ledger. A driver gives its wording and a few calls. In: batches, and a
 * driver's connection.  Out: outcomes, with the ledger's own counts. Invariant: a transaction that
 * any of these calls begins has ended when it returns. Threads: as struct dest. */
#ifndef AGENT_DEST_DEST_LEDGER_H
#define AGENT_DEST_DEST_LEDGER_H

#include "agent/dest/dest.h"
#include "agent/dest/dest_late.h"

/* A parameter of a statement, or a value of a row. */
enum dest_value_kind { VALUE_NULL, VALUE_INT, VALUE_TEXT, VALUE_BYTES };
struct dest_value {
    enum dest_value_kind kind;
    int64_t integer;
    struct ps_span bytes; /* borrowed for the call */
};

typedef enum ps_status (*dest_row_fn)(void *ctx, const struct dest_value *row,
                                      struct ps_error *err);

/* One statement. */
struct dest_call {
    const char *sql; /* "?" stands for each value, in order */
    const struct dest_value *values;
    size_t count;
    bool if_absent;   /* an INSERT whose key may be there: that is no error, and changes nothing */
    dest_row_fn each; /* NULL: no row is wanted; a failure ends the reading, and is the call's */
    void *ctx;
    uint64_t changed; /* out: rows inserted or updated */
};

struct dest_ledger_ops {
    /* ---- wording */
    const char *quote;      /* around a name */
    const char *integer;    /* what CAST(… AS …) calls 64 bits */
    const char *share_lock; /* behind a SELECT: the row stays as it is until the transaction ends */
    const char *if_absent;  /* behind an INSERT, where that is wording */
    const char *no_table;   /* stands in the text of an error that a missing table is */
    const char *number;     /* the column of a rejects table that rises with its rows */

    /* ---- calls. All block; driver is struct dest_ledger's. */
    /* Connects where that is needed. */
    enum ps_status (*connect)(void *driver, struct ps_error *err);
    /* Gives up the connection: the next call connects again. */
    void (*disconnect)(void *driver);
    enum ps_status (*exists)(void *driver, const char *quoted_table, bool *out,
                             struct ps_error *err);
    /* Has the rejects table what replays write: replayed_by (as batch_id), replayed_ms (64 bits)
     * and edited (a text), NULL in each new row? add: outside of a transaction, adds what a table
     * of an older version has not. */
    enum ps_status (*replayable)(void *driver, bool add, bool *out, struct ps_error *err);
    enum ps_status (*run)(void *driver, struct dest_call *call, struct ps_error *err);
    /* A transaction that a successor of the same name can find. Until hold, locks are waited for
     * for seconds: PS_AGAIN, code "lock_timeout". */
    enum ps_status (*begin)(void *driver, struct ps_id name, struct ps_error *err);
    /* Ends the other sessions of this name, whose transactions the server then rolls back. */
    enum ps_status (*end_twins)(void *driver, struct ps_id name, struct ps_error *err);
    /* A lost answer is PS_AGAIN. *out_constraint: a deferred constraint said no. */
    enum ps_status (*commit)(void *driver, bool *out_constraint, struct ps_error *err);
    /* Where a transaction is open; else nothing. */
    void (*roll_back)(void *driver);
    /* Outside of a transaction: what a load into these columns needs. */
    enum ps_status (*plan)(void *driver, const struct spec_column *columns, size_t count,
                           struct ps_error *err);
    /* Within it: the table keeps the form that the plan knows until the end. */
    enum ps_status (*hold)(void *driver, struct ps_error *err);
    /* Within it: waits until no other transaction that called this for the pipeline is open, and
     * sees what they committed. NULL: the fence's lock lets one in at a time as it is. */
    enum ps_status (*take_turn)(void *driver, struct ps_id pipeline, struct ps_error *err);
};

/* What a driver lends; strings are borrowed for the call. */
struct dest_ledger {
    const struct dest_ledger_ops *ops;
    void *driver;
    const struct dest_env *env;
    const char *shown;   /* the server, for errors */
    const char *place;   /* "schema public", for errors */
    const char *prefix;  /* before the names of our tables */
    const char *table;   /* quoted */
    const char *rejects; /* quoted */
    const char *name;    /* pipeline */
    struct spec_tolerance tolerance;
};

/* How rows are put in: more and more carefully, as the server refuses some. */
struct dest_way {
    bool careful; /* only the guilty rows are to be refused */
    bool at_once; /* deferred constraints are to speak as the rows come */
};

/* The rows of one batch, the driver's half. */
struct dest_rows {
    const struct spec_column *columns;
    size_t column_count;
    const struct dest_batch *batch;
    void *ctx;
    /* All rows; may be called again after a rollback. *out_refused: the server refused a row (only
     * where !way.careful): come again with more care. */
    enum ps_status (*insert)(void *ctx, struct dest_way way, bool *out_refused,
                             struct ps_error *err);
    /* The batch's own rejects and those that insert found. */
    enum ps_status (*reject)(void *ctx, struct ps_error *err);
    const struct dest_counts *counts; /* what insert counted */
    const struct dest_late *late;     /* what insert refused; for replays */
};

PS_MUSTCHECK enum ps_status dest_ledger_load(const struct dest_ledger *ledger,
                                             const struct dest_rows *rows, struct dest_result *out,
                                             struct ps_error *err);
PS_MUSTCHECK enum ps_status dest_ledger_tombstone(const struct dest_ledger *ledger,
                                                  const struct dest_batch *batch,
                                                  const char *reason, struct dest_result *out,
                                                  struct ps_error *err);
/* In a transaction: the fence row, made or raised to this generation. */
PS_MUSTCHECK enum ps_status dest_ledger_set_fence(const struct dest_ledger *ledger,
                                                  struct pipeline_uuid uuid, uint64_t generation,
                                                  struct ps_error *err);
/* PS_REFUSED, code "newer_format": the ledger was made by a later version. */
PS_MUSTCHECK enum ps_status dest_ledger_check_format(const struct dest_ledger *ledger,
                                                     int64_t newest, struct ps_error *err);

/* ---- dest_ledger_page.c */
PS_MUSTCHECK enum ps_status dest_ledger_state(const struct dest_ledger *ledger, const char *name,
                                              struct dest_state *out, struct ps_error *err);
PS_MUSTCHECK enum ps_status dest_ledger_ranges(const struct dest_ledger *ledger,
                                               struct dest_page *page, dest_range_fn each,
                                               void *ctx, struct ps_error *err);
PS_MUSTCHECK enum ps_status dest_ledger_rejects(const struct dest_ledger *ledger,
                                                struct dest_page *page, dest_reject_fn each,
                                                void *ctx, struct ps_error *err);

PS_MUSTCHECK enum ps_status dest_ledger_batch_ranges(const struct dest_ledger *ledger,
                                                     struct batch_id batch, dest_range_fn each,
                                                     void *ctx, struct ps_error *err);

/* ---- dest_ledger_replay.c */
/* Marks all of the batch's rejects. *out_open false: some were not open, err names them, and the
 * transaction must be rolled back. */
PS_MUSTCHECK enum ps_status dest_ledger_take_up(const struct dest_ledger *ledger,
                                                const struct dest_batch *batch, bool *out_open,
                                                struct ps_error *err);
/* Those that were refused again are open again, with the new reason. */
PS_MUSTCHECK enum ps_status dest_ledger_put_back(const struct dest_ledger *ledger,
                                                 const struct dest_rows *rows,
                                                 struct ps_error *err);

/* ---- dest_ledger_row.c, for the files of the core */

struct dest_values {
    struct dest_value *at;
    size_t count, cap;
};
void dest_values_int(struct dest_values *values, uint64_t value);
void dest_values_text(struct dest_values *values, const char *text);    /* NULL = NULL */
void dest_values_span(struct dest_values *values, struct ps_span text); /* a text */
void dest_values_bytes(struct dest_values *values, struct ps_span bytes, bool null_when_empty);
void dest_values_id(struct dest_values *values, const struct ps_id *id);
void dest_values_fini(struct dest_values *values);

bool dest_value_id(const struct dest_value *value, struct ps_id *out);

/* Runs the statement after words are put in: $S before our tables' names, $R the rejects table,
 * $N its number, $Q a name's quote, $I an integer's type, $L the shared lock, $A if-absent. Takes
 * own_values. call: each, ctx and if_absent are read, changed is set; NULL: nothing of it. */
PS_MUSTCHECK enum ps_status dest_ledger_run(const struct dest_ledger *ledger, const char *sql,
                                            struct dest_values *own_values, struct dest_call *call,
                                            struct ps_error *err);

/* Within the transaction. *out_match false: the fence names another uuid or generation. */
PS_MUSTCHECK enum ps_status dest_ledger_check_fence(const struct dest_ledger *ledger,
                                                    const struct dest_batch *batch, bool *out_match,
                                                    struct ps_error *err);
/* Inserts the ledger row: loaded where tombstone is NULL, else cancelled for that reason.
 * *out_done: the batch stands in the ledger already and *out says how; nothing was changed. */
PS_MUSTCHECK enum ps_status dest_ledger_enter(const struct dest_ledger *ledger,
                                              const struct dest_batch *batch, const char *tombstone,
                                              bool *out_done, struct dest_result *out,
                                              struct ps_error *err);
/* The ranges of a batch, added to *out. */
PS_MUSTCHECK enum ps_status dest_ledger_read_ranges(const struct dest_ledger *ledger,
                                                    struct batch_id id, struct dest_result *out,
                                                    struct ps_error *err);
/* Range rows. *out_conflict: one is owned by another batch; err names both. */
PS_MUSTCHECK enum ps_status dest_ledger_enter_ranges(const struct dest_ledger *ledger,
                                                     const struct dest_batch *batch,
                                                     bool *out_conflict, struct ps_error *err);
/* Behind the rows, before COMMIT: the overlap check again, with nobody else between it and COMMIT.
 * Two transactions that overlap without a common key do not see each other as they enter. */
PS_MUSTCHECK enum ps_status dest_ledger_check_ranges(const struct dest_ledger *ledger,
                                                     const struct dest_batch *batch,
                                                     bool *out_conflict, struct ps_error *err);
PS_MUSTCHECK enum ps_status dest_ledger_enter_counts(const struct dest_ledger *ledger,
                                                     struct batch_id id,
                                                     const struct dest_counts *counts,
                                                     struct ps_error *err);

#endif
