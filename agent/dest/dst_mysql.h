/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_mysql.h: what the files of the driver for MySQL's family share; nobody else
 * includes it.
 * In: a connection URL, a table.  Out: one connection, kept open over batches.
 * Invariant: outside of a call no transaction is open. The ledger stands in the table's database.
 *            The server reads from this process nothing but the rows of the load that runs.
 * Threads: as struct dest; one thread of the connection's own ends a call that waits when the leaf
 *          is asked to stop. */
#ifndef AGENT_DEST_DST_MYSQL_H
#define AGENT_DEST_DST_MYSQL_H

#include <mysql.h>
#include <mysqld_error.h>

#include "agent/dest/dest_ledger.h"
#include "agent/dest/dest_names.h"

enum { DST_MYSQL_FORMAT = 1 };

enum dst_mysql_conflict {
    MY_CONFLICT_ERROR,
    MY_CONFLICT_SKIP,
    MY_CONFLICT_REPLACE,
    MY_CONFLICT_UPDATE
};

/* What a value of the column is checked against; the text that goes out is the same for all. */
enum dst_mysql_type {
    MY_INT,      /* low to high */
    MY_UNSIGNED, /* 0 to high */
    MY_BOOL,     /* tinyint(1): words too */
    MY_DECIMAL,
    MY_FLOAT,
    MY_DOUBLE,
    MY_CHARS,  /* char, varchar: length in characters */
    MY_TEXT,   /* length in bytes */
    MY_BINARY, /* length in bytes */
    MY_DATE,
    MY_TIME,
    MY_DATETIME,
    MY_TIMESTAMP,
    MY_YEAR,
    MY_BIT,
    MY_ENUM,
    MY_SET,
    MY_JSON,
    MY_UUID,
    MY_INET4,
    MY_INET6,
    MY_BY_SERVER, /* text that only the server understands */
};

/* One column of the load. */
struct dst_mysql_column {
    char *name;
    char *type_name; /* "decimal(12,2) unsigned" */
    enum dst_mysql_type type;
    uint32_t cell; /* which cell of a row */
    bool not_null;
    bool is_unsigned;   /* decimal, float, double: nothing below zero */
    int64_t low;        /* MY_INT */
    uint64_t high;      /* MY_INT, MY_UNSIGNED; MY_BIT: the largest value */
    uint64_t most;      /* length; bytes of a bit field */
    uint32_t precision; /* decimal: digits; time: of a second */
    uint32_t scale;
    bool utf8mb3;   /* four-byte characters do not fit */
    bool as_text;   /* a charset that is no UTF-8: the server converts */
    char **members; /* enum, set */
    size_t member_count;
    int64_t zone_us; /* timestamp: what a text without a zone means; INT64_MIN: nothing */
    int64_t last_us; /* timestamp: the last instant it holds */
};

/* What SingleStore does otherwise; docs/MYSQL.md lists the same. */
struct dst_mysql_dialect {
    const char *scheme;
    const char *table_kind; /* between CREATE and TABLE for our own */
    const char *table_tail; /* behind a table that is made */
    bool is_sharded;
    bool has_shared_lock; /* LOCK IN SHARE MODE; else FOR UPDATE */
    bool has_locks;       /* GET_LOCK, by which a successor finds a session */
    bool has_row_number;  /* GET DIAGNOSTICS … ROW_NUMBER, where the server knows it */
    bool has_engines;     /* InnoDB among others, and its settings */
    bool has_savepoints;
    bool numbers_rise; /* AUTO_INCREMENT: a statement's rows follow all that stand there */
};
extern const char *const dst_mysql_own_tables[]; /* NULL at the end */
extern const struct dst_mysql_dialect dst_mysql_dialect;
extern const struct dst_mysql_dialect dst_singlestore_dialect;

/* Ends a call that waits once the leaf is asked to stop. Opaque: dst_mysql_watch.c. */
struct dst_mysql_watch;

/* From where the server is sent what it asks for in LOAD DATA LOCAL. */
struct dst_mysql_feed {
    /* Gives up to len bytes; 0 = the end, less: a failure that the feed's owner keeps. */
    int (*read)(void *ctx, char *out, unsigned len);
    void *ctx;
    char name[64]; /* what LOAD DATA calls it */
};

struct dst_mysql {
    struct dest_env env;
    const struct dst_mysql_dialect *dialect;
    char *name;  /* pipeline */
    char *shown; /* the URL without a password, for errors */
    /* Of the URL. */
    char *host;
    char *user;
    char *database;
    char *socket; /* NULL: TCP */
    unsigned port;
    struct ps_buf password;
    char *ssl_mode; /* NULL: as the server wants */
    char *ssl_ca, *ssl_cert, *ssl_key;
    int64_t zone_us; /* INT64_MIN: a timestamp needs a zone */

    char *table;   /* without database */
    char *quoted;  /* `database`.`table` */
    char *rejects; /* quoted */
    char *prefix;  /* `database`. */
    char *place;   /* "database air" */
    struct spec_tolerance tolerance;
    bool may_create;
    enum dst_mysql_conflict on_conflict;
    struct dest_names keys;
    struct dest_names updates; /* with on_conflict: update: only these columns; none = all */
    char *order_by;            /* NULL: the last commit wins */
    struct dest_ledger ledger;

    MYSQL *conn; /* NULL: connected when next used */
    bool lost;   /* the connection is no more: it is closed when next used */
    struct dst_mysql_watch *watch;
    struct dst_mysql_feed feed; /* read NULL: no load runs */
    bool in_transaction;
    bool has_lock;
    uint64_t max_packet;
    bool is_mariadb;
    unsigned long version;

    /* The plan of the present columns; gone with the connection and when the table changes. */
    struct dst_mysql_column *columns;
    uint32_t column_count;
    uint32_t ncols;          /* cells of a row; 0 = no plan */
    struct ps_buf signature; /* of the columns that the plan was made for */
    struct ps_buf form;      /* of the table then: its columns, their types and order */
    char *target;            /* rows go here first: the table, or the staging table */
    char *names;             /* (`a`, `b`) */
    char *load_tail;         /* of LOAD DATA LOCAL INFILE 'name': INTO TABLE … */
    bool stage_used;         /* rows of an earlier transaction may stand in the staging table */
    /* Staging table into the table, in this order; NULL: not needed. */
    char *merge_update_sql;
    char *merge_insert_sql;
    char *merge_new_sql;     /* the numbers of the staged rows that it inserts, in its order */
    char *merge_repeats_sql; /* counts rows of the staging table that share another's key */
    char *merge_updates_sql; /* with order_by: those of them that update a row */
    bool hex;                /* binary values go as hexadecimal digits */
};

/* ---- dst_mysql_conn.c: connection, statements */

PS_MUSTCHECK enum ps_status dst_mysql_connect(struct dst_mysql *d, struct ps_error *err);
void dst_mysql_disconnect(struct dst_mysql *d);
/* One statement and its rows, which the caller frees; *out NULL: it has none. out NULL: none is
 * wanted. */
PS_MUSTCHECK enum ps_status dst_mysql_query(struct dst_mysql *d, const char *sql, size_t len,
                                            MYSQL_RES **out, struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_mysql_exec(struct dst_mysql *d, const char *sql,
                                           struct ps_error *err);
/* As _query, but a row that the table refuses is no failure: *out_refused. */
PS_MUSTCHECK enum ps_status dst_mysql_try(struct dst_mysql *d, const char *sql, size_t len,
                                          bool *out_refused, struct ps_error *err);
/* The first value of the first row, where there is one that is not NULL. */
PS_MUSTCHECK enum ps_status dst_mysql_number(struct dst_mysql *d, const char *sql, bool *out_found,
                                             int64_t *out, struct ps_error *err);
/* The last error as ours. */
enum ps_status dst_mysql_fail(struct dst_mysql *d, const char *what, struct ps_error *err);
void dst_mysql_roll_back(struct dst_mysql *d);
bool dst_mysql_canceled(const struct dst_mysql *d);
/* Appends name as an identifier; bytes as a literal that no byte of them can end. */
void dst_mysql_quote(struct ps_buf *sql, const char *name);
void dst_mysql_literal(struct ps_buf *sql, struct ps_span bytes, bool is_text);

/* ---- dst_mysql_watch.c */
struct dst_mysql_watch *
dst_mysql_watch_new(const _Atomic bool *cancel); /* NULL: nothing to watch */
void dst_mysql_watch_free(struct dst_mysql_watch *watch);
/* Between the two, the socket is shut down when the leaf is asked to stop. */
void dst_mysql_watch_begin(struct dst_mysql_watch *watch, int fd);
void dst_mysql_watch_end(struct dst_mysql_watch *watch);

/* ---- dst_mysql_url.c */
PS_MUSTCHECK enum ps_status dst_mysql_read_url(struct dst_mysql *d, const char *url,
                                               struct ps_error *err);

/* ---- dst_mysql_ddl.c: tables */
PS_MUSTCHECK enum ps_status
dst_mysql_make_tables(struct dst_mysql *d, const struct dest_table *table, struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_mysql_exists(struct dst_mysql *d, const char *quoted, bool *out,
                                             struct ps_error *err);

/* ---- dst_mysql_shape.c: the table as the server describes it */
struct dst_mysql_shape_column {
    char *name;
    char *data_type;   /* "decimal" */
    char *column_type; /* "decimal(12,2) unsigned" */
    char *charset;     /* NULL: none */
    char *collation;
    uint64_t most_chars;
    uint32_t precision, scale, fraction;
    bool not_null, has_default, generated, auto_increment;
    bool is_json; /* a text with MariaDB's check of it */
};
struct dst_mysql_shape {
    struct dst_mysql_shape_column *columns;
    size_t count;
};
PS_MUSTCHECK enum ps_status dst_mysql_shape_read(struct dst_mysql *d, struct dst_mysql_shape *out,
                                                 struct ps_error *err);
void dst_mysql_shape_fini(struct dst_mysql_shape *shape);
const struct dst_mysql_shape_column *dst_mysql_shape_find(const struct dst_mysql_shape *shape,
                                                          const char *name);
/* PS_REFUSED: a view, or an engine that cannot roll back. */
PS_MUSTCHECK enum ps_status dst_mysql_check_engine(struct dst_mysql *d, const char *table,
                                                   struct ps_error *err);
/* What the values of the column are checked against. */
void dst_mysql_column_init(const struct dst_mysql *d, const struct dst_mysql_shape_column *from,
                           struct dst_mysql_column *out);
void dst_mysql_column_fini(struct dst_mysql_column *column);

/* ---- dst_mysql_plan.c */
/* Makes the plan for these columns, or does nothing where it is made. One error lists all that is
 * wrong with the table. Outside of a transaction. */
PS_MUSTCHECK enum ps_status dst_mysql_plan(struct dst_mysql *d, const struct spec_column *columns,
                                           size_t count, struct ps_error *err);
void dst_mysql_plan_drop(struct dst_mysql *d);
/* Within the transaction: the table keeps its form until the end. PS_AGAIN, code "table_changed":
 * it is another one than the plan was made for, which is dropped. */
PS_MUSTCHECK enum ps_status dst_mysql_hold(struct dst_mysql *d, struct ps_error *err);

/* ---- dst_mysql_merge.c */
PS_MUSTCHECK enum ps_status dst_mysql_make_stage(struct dst_mysql *d,
                                                 const struct dst_mysql_shape *shape,
                                                 struct ps_error *err);
/* The staging table's rows into the table, from the number since on (0: all). updated: rows of it
 * that were found, changed by that or not. given: how many they are. *out_refused as
 * dst_mysql_try. */
struct dst_mysql_merged {
    uint64_t inserted, updated;
    bool insert_refused; /* with *out_refused: the INSERT was, not the UPDATE */
};
PS_MUSTCHECK enum ps_status dst_mysql_merge(struct dst_mysql *d, uint64_t since, uint64_t given,
                                            struct dst_mysql_merged *out, bool *out_refused,
                                            struct ps_error *err);
/* Behind a refused INSERT: which of the staged rows from `since` on its row `row` (from 0) is.
 * UINT32_MAX: none is found. */
PS_MUSTCHECK enum ps_status dst_mysql_merge_place(struct dst_mysql *d, uint64_t since, uint32_t row,
                                                  uint32_t *out_place, struct ps_error *err);

/* ---- dst_mysql_ledger.c: the operations of struct dest_ops but open and close */
const struct dest_ledger *dst_mysql_ledger_of(struct dst_mysql *d);
PS_MUSTCHECK enum ps_status dst_mysql_begin(struct dst_mysql *d, struct ps_id name,
                                            struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_mysql_end_twins(struct dst_mysql *d, struct ps_id name,
                                                struct ps_error *err);
enum ps_status dst_mysql_load(struct dest *dest, const struct spec_column *columns, size_t count,
                              const struct dest_batch *batch, struct dest_result *out,
                              struct ps_error *err);
enum ps_status dst_mysql_tombstone(struct dest *dest, const struct dest_batch *batch,
                                   const char *reason, struct dest_result *out,
                                   struct ps_error *err);
enum ps_status dst_mysql_state(struct dest *dest, const char *pipeline_name,
                               struct dest_state *out_state, struct ps_error *err);
enum ps_status dst_mysql_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each,
                                void *ctx, struct ps_error *err);
enum ps_status dst_mysql_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each,
                                void *ctx, struct ps_error *err);
enum ps_status dst_mysql_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each,
                                 void *ctx, struct ps_error *err);

/* ---- dst_mysql_value.c: cells as text that LOAD DATA and INSERT read alike */

/* Only bytes that are no text differ. */
enum dst_mysql_form {
    MY_FORM_LOAD,     /* as they are, escaped */
    MY_FORM_LOAD_HEX, /* 'digits', for UNHEX */
    MY_FORM_LITERAL,  /* x'digits', of an INSERT */
};
/* Appends one field. NULL when it fits, else why not (a static text). */
const char *dst_mysql_value_put(const struct dst_mysql_column *column, const struct cell *cell,
                                enum dst_mysql_form form, struct ps_buf *out);
/* Appends 'text', escaped. */
void dst_mysql_value_quote(struct ps_span text, struct ps_buf *out);

static inline struct dst_mysql *
dst_mysql_of(struct dest *dest)
{
    return (struct dst_mysql *)(void *)dest;
}

#endif
