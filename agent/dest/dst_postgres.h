/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_postgres.h: what the files of the PostgreSQL driver share; nobody else includes
 * it.
 * In: a connection URL, a table.  Out: one connection, kept open over batches.
 * Invariant: outside of a call no transaction is open. The ledger stands in the table's schema.
 * Threads: as struct dest. */
#ifndef AGENT_DEST_DST_POSTGRES_H
#define AGENT_DEST_DST_POSTGRES_H

#include <libpq-fe.h>

#include "agent/dest/dest_ledger.h"
#include "agent/dest/dest_names.h"

enum { DST_POSTGRES_FORMAT = 1, PG_PARAMS_MAX = 24 };

enum dst_postgres_conflict {
    PG_CONFLICT_ERROR,
    PG_CONFLICT_SKIP,
    PG_CONFLICT_REPLACE,
    PG_CONFLICT_UPDATE
};

/* How a cell becomes the column's binary form (PostgreSQL's own *send functions). */
enum dst_postgres_type {
    PG_TEXT, /* text varchar bpchar xml: the characters themselves */
    PG_JSON,
    PG_JSONB,
    PG_BYTEA,
    PG_BOOL,
    PG_INT2,
    PG_INT4,
    PG_INT8,
    PG_OID,
    PG_FLOAT4,
    PG_FLOAT8,
    PG_NUMERIC,
    PG_DATE,
    PG_TIMESTAMP,
    PG_TIMESTAMPTZ,
    PG_TIME,
    PG_TIMETZ,
    PG_INTERVAL,
    PG_UUID,
    PG_INET,
    PG_CIDR,
    PG_MACADDR,
    PG_MACADDR8,
    PG_ENUM,
    PG_ARRAY,
    PG_BY_SERVER, /* no binary form that we know: the whole COPY goes as text */
};

/* One column of the load. */
struct dst_postgres_column {
    char *name;
    char *type_name; /* as format_type says it: "numeric(12,2)" */
    enum dst_postgres_type type;
    uint32_t cell;      /* which cell of a row */
    int32_t most_chars; /* of varchar(n) and char(n); -1 = any */
    bool not_null;
    char **labels; /* of an enum, sorted by their bytes */
    size_t label_count;
    struct dst_postgres_column *element; /* of an array: its elements' type alone */
    Oid element_oid;
};

struct dst_postgres {
    struct dest_env env;
    char *name; /* pipeline */
    char *url;
    char *shown;                /* the URL without a password, for errors */
    struct ps_buf password;     /* what a reference in the URL stands for; empty: none */
    struct ps_buf key_password; /* sslpassword: of the client's key */
    char *schema;
    char *table;         /* without schema */
    char *quoted;        /* "schema"."table" */
    char *rejects;       /* quoted */
    char *quoted_schema; /* "schema"; for our own tables */
    bool may_create;
    enum dst_postgres_conflict on_conflict;
    struct dest_names keys;
    struct dest_names updates; /* with on_conflict: update: only these columns; none = all */
    char *order_by;            /* NULL: the last commit wins */
    struct spec_tolerance tolerance;

    /* Lent to the core; made when first used. */
    struct dest_ledger ledger;
    char *ledger_prefix;
    char *ledger_place;

    PGconn *conn; /* NULL or broken: connected when next used */

    /* The plan of the present columns; gone with the connection and when the table changes. */
    struct dst_postgres_column *columns;
    uint32_t column_count;
    uint32_t ncols;          /* cells of a row; 0 = no plan */
    struct ps_buf signature; /* of the columns that the plan was made for */
    struct ps_id table_form; /* of the table then: its columns, their types and order */
    char *copy_sql;          /* COPY … FROM STDIN */
    /* Staged rows into the table (dst_postgres_merge_text); NULL: rows go in directly. */
    char *merge_sql;
    char *merge_rest;
    char *merge_count; /* NULL: rows of one key are not collapsed */
    char *merge_tail;
    bool by_server;       /* COPY as text */
    bool nulls_are_equal; /* in a key, and there may be one */
    bool nulls_are_apart; /* the same, and each is like no other */
    bool own_parents;     /* a row may need another one of the table */
};

/* Rows of the staging table. */
struct dst_postgres_staged {
    const char *before;   /* statements to run first, with their semicolon */
    uint64_t first, last; /* numbers */
    uint64_t given;       /* how many these are */
};

/* ---- dst_postgres_merge.c */

/* The statement that merges them, for the present plan. Its one row says how many were inserted and
 * how many took an old row's place; and, of those that were collapsed, how many had taken the place
 * of one before. The caller frees it. */
char *dst_postgres_merge_text(const struct dst_postgres *d,
                              const struct dst_postgres_staged *staged);

/* ---- dst_postgres.c: connection, statements */

struct pg_params {
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int formats[PG_PARAMS_MAX];
    Oid types[PG_PARAMS_MAX];
    uint64_t numbers[PG_PARAMS_MAX]; /* big-endian, pointed to by values */
    int count;
};
void pg_param_int(struct pg_params *params, int64_t value);
void pg_param_text(struct pg_params *params, const char *text);     /* NULL = NULL; borrowed */
void pg_param_id(struct pg_params *params, const struct ps_id *id); /* borrowed */

/* Values of a result in binary form. */
int64_t pg_value_int(const PGresult *result, int row, int column); /* int8; 0 for NULL */
struct ps_span pg_value_span(const PGresult *result, int row, int column);
bool pg_value_id(const PGresult *result, int row, int column, struct ps_id *out);

/* Connects where that is needed. */
PS_MUSTCHECK enum ps_status dst_postgres_connect(struct dst_postgres *d, struct ps_error *err);
void dst_postgres_disconnect(struct dst_postgres *d);
/* One statement, its result in binary form; NULL: err says why. Looks at env.cancel. */
PGresult *dst_postgres_query(struct dst_postgres *d, const char *sql,
                             const struct pg_params *params, struct ps_error *err);
/* One without a result. */
PS_MUSTCHECK enum ps_status dst_postgres_exec(struct dst_postgres *d, const char *sql,
                                              const struct pg_params *params, struct ps_error *err);
/* The server's last word on the running command; *out_result is cleared by the caller. PS_OK for
 * any answer that is no error. */
PS_MUSTCHECK enum ps_status dst_postgres_answer(struct dst_postgres *d, PGresult **out_result,
                                                struct ps_error *err);
/* Waits until all that was put is sent, reading meanwhile. */
PS_MUSTCHECK enum ps_status dst_postgres_flush(struct dst_postgres *d, struct ps_error *err);
/* What the server said as ours. result NULL: the connection's own last error. */
enum ps_status dst_postgres_fail(struct dst_postgres *d, const PGresult *result, const char *what,
                                 struct ps_error *err);
/* The five characters of the last error, "" for none or a lost connection; copied into out. */
void dst_postgres_state_of(const PGresult *result, char out[6]);
/* ROLLBACK where a transaction is open; a broken connection is closed. */
void dst_postgres_roll_back(struct dst_postgres *d);
bool dst_postgres_canceled(const struct dst_postgres *d);
void dst_postgres_phase(struct dst_postgres *d, const char *phase);
/* Appends name as an identifier. */
void dst_postgres_quote(struct ps_buf *sql, const char *name);

/* ---- dst_postgres_ddl.c: tables */
/* struct dest_ledger_ops's. */
PS_MUSTCHECK enum ps_status dst_postgres_replayable(struct dst_postgres *d, bool add, bool *out,
                                                    struct ps_error *err);

/* In a transaction: the table where it is missing, ours, and the fence. */
PS_MUSTCHECK enum ps_status dst_postgres_make_tables(struct dst_postgres *d,
                                                     const struct dest_table *table,
                                                     struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_postgres_exists(struct dst_postgres *d, const char *quoted,
                                                bool *out, struct ps_error *err);

/* ---- dst_postgres_plan.c: the plan of a load */

/* destination.key and order_by as these columns spell them. */
void dst_postgres_spell(struct dst_postgres *d, const struct spec_column *columns, size_t count);

/* Makes the plan for these columns, or does nothing where it is made. One error lists all that is
 * wrong with the table. Not within a transaction that may be rolled back. */
PS_MUSTCHECK enum ps_status dst_postgres_plan(struct dst_postgres *d,
                                              const struct spec_column *columns, size_t count,
                                              struct ps_error *err);
void dst_postgres_plan_drop(struct dst_postgres *d);
/* Within the transaction: holds the table's form until its end. PS_AGAIN, code "table_changed": it
 * is another one than the plan was made for, which is dropped. Binary fields of the old types would
 * be read as other values without a word where they are equally long. */
PS_MUSTCHECK enum ps_status dst_postgres_hold_table(struct dst_postgres *d, struct ps_error *err);

/* ---- dst_postgres_type.c: which of our types a column's is */

/* Sets type, most_chars, labels and element; domains are looked through, and one that is NOT NULL
 * sets not_null. */
PS_MUSTCHECK enum ps_status dst_postgres_type_find(struct dst_postgres *d, Oid oid, int32_t typmod,
                                                   struct dst_postgres_column *out,
                                                   struct ps_error *err);
void dst_postgres_type_fini(struct dst_postgres_column *column);

/* ---- dst_postgres_ledger.c */

PS_MUSTCHECK enum ps_status dst_postgres_set_fence(struct dst_postgres *d,
                                                   struct pipeline_uuid uuid, uint64_t generation,
                                                   struct ps_error *err);
enum ps_status dst_postgres_state(struct dest *dest, const char *pipeline_name,
                                  struct dest_state *out_state, struct ps_error *err);
enum ps_status dst_postgres_tombstone(struct dest *dest, const struct dest_batch *batch,
                                      const char *reason, struct dest_result *out,
                                      struct ps_error *err);
/* BEGIN, with the session named after what it does (a batch, a prepare), so that a successor can
 * end it. Locks are waited for 2 s at most: PS_AGAIN, code "lock_timeout". */
PS_MUSTCHECK enum ps_status dst_postgres_begin(struct dst_postgres *d, struct ps_id name,
                                               struct ps_error *err);
/* After a lock_timeout: ends the sessions of this name's earlier lives. A client that is stopped in
 * the middle of a transaction holds its locks for ever otherwise. */
PS_MUSTCHECK enum ps_status dst_postgres_end_twins(struct dst_postgres *d, struct ps_id name,
                                                   struct ps_error *err);
/* COMMIT; a lost answer is PS_AGAIN. */
PS_MUSTCHECK enum ps_status dst_postgres_commit(struct dst_postgres *d, bool *out_constraint,
                                                struct ps_error *err);

enum ps_status dst_postgres_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each,
                                   void *ctx, struct ps_error *err);
enum ps_status dst_postgres_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each,
                                   void *ctx, struct ps_error *err);
enum ps_status dst_postgres_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each,
                                    void *ctx, struct ps_error *err);

/* ---- dst_postgres_value.c: cells as COPY wants them */

/* Appends one field, length included. NULL when it fits, else why not (a static text). */
const char *dst_postgres_value_put(const struct dst_postgres_column *column,
                                   const struct cell *cell, struct ps_buf *out);
/* The same for COPY as text, with the tab or line end behind it. */
void dst_postgres_value_text(const struct cell *cell, bool last, struct ps_buf *out);

enum ps_status dst_postgres_load(struct dest *dest, const struct spec_column *columns, size_t count,
                                 const struct dest_batch *batch, struct dest_result *out,
                                 struct ps_error *err);

static inline struct dst_postgres *
dst_postgres_of(struct dest *dest)
{
    return (struct dst_postgres *)(void *)dest;
}

/* The status of a failure that a NULL told of. */
static inline enum ps_status
dst_postgres_failed(const struct ps_error *err)
{
    return err->status;
}

#endif
