/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_sqlite.h: what the files of the SQLite driver share; nobody else includes it.
 * In: a path, a table.  Out: one connection, kept open over batches with its statements.
 * Invariant: outside of a call no transaction is open and no writer's turn is held.
 * Threads: as struct dest. */
#ifndef AGENT_DEST_DST_SQLITE_H
#define AGENT_DEST_DST_SQLITE_H

#include <sqlite3.h>
#include <sys/types.h>

#include "agent/dest/dest.h"
#include "agent/dest/dest_names.h"
#include "agent/dest/dst_sqlite_image.h"

enum { DST_SQLITE_FORMAT = 1, DST_SQLITE_PAGE_BYTES = 16384 };

enum dst_sqlite_conflict { CONFLICT_ERROR, CONFLICT_SKIP, CONFLICT_REPLACE, CONFLICT_UPDATE };

/* Statements that are the same for every load; prepared when first used, kept. */
enum dst_sqlite_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SCHEMA_VERSION,
    SQL_FENCE_READ,
    SQL_LEDGER_INSERT,
    SQL_LEDGER_COUNTS,
    SQL_LEDGER_READ,
    SQL_RANGE_INSERT,
    SQL_RANGE_OWNER,
    SQL_RANGE_BEFORE,
    SQL_RANGES_READ,
    SQL_ROW_SAVE,
    SQL_ROW_BACK,
    SQL_ROW_RELEASE,
    SQL_COUNT,
};

/* What must be looked at in a cell before the column may have it. */
enum dst_sqlite_check {
    CHECK_NOTHING,
    CHECK_NUMERIC, /* text that the column's affinity would turn into another value */
    CHECK_REAL,    /* the same, and integers that a double cannot hold */
    CHECK_NO_REAL, /* a real would become text */
};

/* One column of the load, in the order of the table. */
struct dst_sqlite_column {
    uint32_t cell; /* which cell of a row */
    enum dst_sqlite_check check;
    bool image_takes; /* an image can hold it, as store says */
    enum image_store store;
    char *name;
};

/* The feed of the private virtual table: the block that is being inserted. */
struct dst_sqlite_feed {
    const struct block *block;
    struct cell *cells; /* of the current row */
    uint32_t ncols;
    struct row_meta meta;
    struct ps_error err; /* why reading stopped, where SQLite says only "error" */
};

struct dst_sqlite {
    struct dest_env env;
    char *name;     /* pipeline */
    char *path;     /* absolute */
    char *identity; /* names the file for the writer's turn */
    char *table;
    char *rejects_table;
    bool may_create;
    enum dst_sqlite_conflict on_conflict;
    struct dest_names keys;
    struct dest_names updates; /* with on_conflict: update: only these columns; none = all */
    char *order_by;            /* NULL: the last commit wins */
    struct spec_tolerance tolerance;

    sqlite3 *db; /* NULL while the file does not exist */
    dev_t dev;
    ino_t ino;
    sqlite3_stmt *sql[SQL_COUNT];

    /* The load's own statements, for columns in the table's order; gone when the schema changes. */
    int64_t schema_version;
    uint32_t ncols;          /* cells of a row; 0 = nothing prepared */
    struct ps_buf signature; /* of the columns that the plan was made for */
    struct dst_sqlite_column *columns;
    bool any_check;
    bool has_triggers;
    sqlite3_stmt *insert_block;
    sqlite3_stmt *insert_row;
    sqlite3_stmt *insert_reject;
    bool covers_table; /* every column of the table is loaded */
    /* Of the connection: attached once, NULL where it cannot be. */
    struct dst_sqlite_image *image;
    bool image_on;    /* for the present plan */
    bool image_asked; /* whether SQLite has been asked about it */
    sqlite3_stmt *insert_image[IMAGE_TABLES];
    struct dst_sqlite_feed feed;
    uint64_t upserts; /* rows that updated another, counted by the statement itself */
};

/* ---- dst_sqlite.c: connection, turns, transactions, statements */

/* SQLite's last error as ours: what the caller does next, the file, and SQLite's text. */
enum ps_status dst_sqlite_fail(struct dst_sqlite *d, int rc, const char *what,
                               struct ps_error *err);
/* A kept statement, reset and without values; NULL: err says why. */
sqlite3_stmt *dst_sqlite_stmt(struct dst_sqlite *d, enum dst_sqlite_sql which,
                              struct ps_error *err);
sqlite3_stmt *dst_sqlite_prepare_text(struct dst_sqlite *d, const char *sql, struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_sqlite_exec(struct dst_sqlite *d, const char *sql,
                                            struct ps_error *err);
/* Steps a statement that reads, waiting while another process has the file; *out_row says whether
 * there is a row. */
PS_MUSTCHECK enum ps_status dst_sqlite_step(struct dst_sqlite *d, sqlite3_stmt *stmt, bool *out_row,
                                            struct ps_error *err);
/* Opens the file if it is there and is still the one that was open; *out_open false: no file. */
PS_MUSTCHECK enum ps_status dst_sqlite_connect(struct dst_sqlite *d, bool create, bool *out_open,
                                               struct ps_error *err);
/* Waits for the writer's turn; dst_sqlite_end gives it back. */
PS_MUSTCHECK enum ps_status dst_sqlite_turn(struct dst_sqlite *d, struct ps_error *err);
/* BEGIN IMMEDIATE; BUSY is waited for. */
PS_MUSTCHECK enum ps_status dst_sqlite_begin(struct dst_sqlite *d, struct ps_error *err);
/* COMMIT, waiting for readers; on failure everything has been rolled back. *out_constraint: a
 * deferred constraint said no (status PS_REFUSED). Does not give the turn back. */
PS_MUSTCHECK enum ps_status dst_sqlite_commit(struct dst_sqlite *d, bool *out_constraint,
                                              struct ps_error *err);
/* Where a transaction is open; else nothing. */
void dst_sqlite_roll_back(struct dst_sqlite *d);
/* ROLLBACK where a transaction is open, and gives the turn back. */
void dst_sqlite_end(struct dst_sqlite *d);
void dst_sqlite_phase(struct dst_sqlite *d, const char *phase);
bool dst_sqlite_canceled(const struct dst_sqlite *d);
/* Appends name as an SQL identifier. */
void dst_sqlite_quote(struct ps_buf *sql, const char *name);
void dst_sqlite_bind_id(sqlite3_stmt *stmt, int at, const struct ps_id *id);
void dst_sqlite_bind_span(sqlite3_stmt *stmt, int at, struct ps_span bytes); /* as a blob */
/* As a text where it is one, else as a blob. */
void dst_sqlite_bind_text(sqlite3_stmt *stmt, int at, struct ps_span text);
bool dst_sqlite_column_id(sqlite3_stmt *stmt, int at, struct ps_id *out);

/* ---- dst_sqlite_ddl.c: tables */

/* In a transaction. */
PS_MUSTCHECK enum ps_status
dst_sqlite_make_tables(struct dst_sqlite *d, const struct dest_table *table, struct ps_error *err);
/* Matches columns with the table by name and fills d->columns; one error lists all that is wrong.
 */
PS_MUSTCHECK enum ps_status dst_sqlite_match(struct dst_sqlite *d,
                                             const struct spec_column *columns, size_t count,
                                             struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_sqlite_table_exists(struct dst_sqlite *d, const char *table,
                                                    bool *out, struct ps_error *err);
/* Columns of the table that may be given a value, in its order. */
PS_MUSTCHECK enum ps_status dst_sqlite_read_columns(struct dst_sqlite *d, struct dest_names *out,
                                                    struct ps_error *err);
/* SQL NULL-safe host identity of this machine: 16 bytes, zero where the system has none. */
void dst_sqlite_host(uint8_t out[16]);

/* ---- dst_sqlite_ledger.c */

/* Within the transaction. *out_match false: the fence names another uuid or generation. */
PS_MUSTCHECK enum ps_status dst_sqlite_check_fence(struct dst_sqlite *d,
                                                   const struct dest_batch *batch, bool *out_match,
                                                   struct ps_error *err);
/* PS_REFUSED, code "not_visible". */
enum ps_status dst_sqlite_not_visible(struct dst_sqlite *d, const char *why, struct ps_error *err);
/* Inserts the ledger row: loaded where tombstone is NULL, else cancelled for that reason.
 * *out_done: the batch stands in the ledger already and *out says how; nothing was changed. */
PS_MUSTCHECK enum ps_status dst_sqlite_enter(struct dst_sqlite *d, const struct dest_batch *batch,
                                             const char *tombstone, bool *out_done,
                                             struct dest_result *out, struct ps_error *err);
/* Range rows. *out_conflict: one is owned by another batch; err names both. */
PS_MUSTCHECK enum ps_status dst_sqlite_enter_ranges(struct dst_sqlite *d,
                                                    const struct dest_batch *batch,
                                                    bool *out_conflict, struct ps_error *err);
/* The fence row of this pipeline name: made, or raised to a newer generation. */
PS_MUSTCHECK enum ps_status dst_sqlite_set_fence(struct dst_sqlite *d, struct pipeline_uuid uuid,
                                                 uint64_t generation, struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_sqlite_enter_counts(struct dst_sqlite *d, struct batch_id id,
                                                    const struct dest_counts *counts,
                                                    struct ps_error *err);
enum ps_status dst_sqlite_state(struct dest *dest, const char *pipeline_name,
                                struct dest_state *out_state, struct ps_error *err);
enum ps_status dst_sqlite_tombstone(struct dest *dest, const struct dest_batch *batch,
                                    const char *reason, struct dest_result *out,
                                    struct ps_error *err);

/* ---- dst_sqlite_page.c: what people and the coordinator read, in pages */
enum ps_status dst_sqlite_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each,
                                 void *ctx, struct ps_error *err);
enum ps_status dst_sqlite_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each,
                                  void *ctx, struct ps_error *err);

enum ps_status dst_sqlite_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each,
                                 void *ctx, struct ps_error *err);

/* ---- dst_sqlite_replay.c: the rejects table and replays */

/* In a transaction: the table as this version knows it, made or brought up to date. */
PS_MUSTCHECK enum ps_status dst_sqlite_make_rejects(struct dst_sqlite *d, struct ps_error *err);
/* The same for a table that a replay finds, in a transaction of its own. In a writer's turn. */
PS_MUSTCHECK enum ps_status dst_sqlite_update_rejects(struct dst_sqlite *d, struct ps_error *err);
/* False: a table of an older version, whose numbers are its rowids. */
PS_MUSTCHECK enum ps_status dst_sqlite_rejects_numbered(struct dst_sqlite *d, bool *out,
                                                        struct ps_error *err);
/* Marks all of the batch's rejects. *out_open false: some were not open, err names them, and the
 * transaction must be rolled back. */
PS_MUSTCHECK enum ps_status dst_sqlite_take_up(struct dst_sqlite *d, const struct dest_batch *batch,
                                               bool *out_open, struct ps_error *err);
/* One that was refused again is open again, with the new reason. */
struct stage_reject;
PS_MUSTCHECK enum ps_status dst_sqlite_put_back(struct dst_sqlite *d,
                                                const struct dest_batch *batch,
                                                const struct stage_reject *reject,
                                                struct ps_error *err);

/* ---- dst_sqlite_vtab.c: rows of d->feed.block as a table */

/* Registers the table for rows of ncols cells and appends its name to sql. */
PS_MUSTCHECK enum ps_status dst_sqlite_vtab_register(struct dst_sqlite *d, uint32_t ncols,
                                                     struct ps_buf *sql, struct ps_error *err);

/* ---- dst_sqlite_insert.c: the statements that put rows in */

/* Prepares for these columns, or does nothing where that is done and the schema is the same. */
PS_MUSTCHECK enum ps_status dst_sqlite_plan(struct dst_sqlite *d, const struct spec_column *columns,
                                            size_t count, struct ps_error *err);
void dst_sqlite_plan_drop(struct dst_sqlite *d);

/* ---- dst_sqlite_bulk.c: whole blocks at once, through an image */

/* Sets d->image_on where SQLite would transfer whole records from an image into the table. */
void dst_sqlite_bulk_plan(struct dst_sqlite *d);
/* In the transaction after the one of _plan: does what that could not do yet. */
void dst_sqlite_bulk_ask(struct dst_sqlite *d);
/* The statement that reads the image's table. */
sqlite3_stmt *dst_sqlite_bulk_stmt(struct dst_sqlite *d, uint32_t table, struct ps_error *err);

/* ---- dst_sqlite_value.c: would a column change this value? */

/* NULL when the cell reads back equal, else why not (a static text). */
const char *dst_sqlite_value_check(enum dst_sqlite_check check, const struct cell *cell);

/* ---- dst_sqlite_load.c */
enum ps_status dst_sqlite_load(struct dest *dest, const struct spec_column *columns, size_t count,
                               const struct dest_batch *batch, struct dest_result *out,
                               struct ps_error *err);

/* The status of a failure that a NULL told of. */
static inline enum ps_status
dst_sqlite_failed(const struct ps_error *err)
{
    return err == NULL ? PS_REFUSED : err->status;
}

static inline struct dst_sqlite *
dst_sqlite_of(struct dest *dest)
{
    return (struct dst_sqlite *)(void *)dest;
}

#endif
