/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/dest_fixture.h: a destination with a place of its own, and batches for it. A
 * failure of the fixture itself aborts the test. */
#ifndef TESTS_SUPPORT_DEST_FIXTURE_H
#define TESTS_SUPPORT_DEST_FIXTURE_H

#include "agent/dest/dest.h"
#include "tests/support/dest_side.h"

struct dest_fixture {
    const struct dest_side *side;
    char dir[64];
    char path[96];    /* of the SQLite file */
    char server[120]; /* its URL without a database */
    char place[40];   /* the database's name */
    char url[200];
    struct stage *stage;
    struct spec *spec;
    struct pipeline_uuid uuid;
    const struct dest_ops *ops;
    struct dest *dest;
    const struct spec_column *columns;
    size_t column_count;
    size_t added; /* of the columns, the last ones: prepare adds them to a table that is there */
    _Atomic bool cancel;
    bool cancel_at_commit;
    int batches;       /* init and not fini */
    _Atomic int turns; /* taken and not given back */
    char text[4096];
};

struct fixture_batch {
    struct dest_fixture *fixture;
    struct stage_batch *rows;
    struct block *block;
    uint32_t ncols;
    uint64_t line;
    uint32_t range_index; /* of the rows and rejects that follow */
    bool sealed;
    char key[32];
    struct dest_range ranges[1];
    struct dest_batch batch;
    struct dest_result result;
};

/* An empty SQLite file; or whatever scheme names: NULL, or why it cannot be had here. */
void dest_fixture_init(struct dest_fixture *f);
const char *dest_fixture_init_at(struct dest_fixture *f, const char *scheme);
void dest_fixture_fini(struct dest_fixture *f);
/* more: lines of YAML; those that begin with two spaces belong to destination. Table t, pipeline
 * p. */
void fixture_open(struct dest_fixture *f, const char *more);
void fixture_open_url(struct dest_fixture *f, const char *url, const char *more);
enum ps_status fixture_try_open(struct dest_fixture *f, const char *url, const char *more,
                                struct ps_error *err);
/* One more of the same, for another thread; closed by f->ops->close. */
struct dest *fixture_open_twin(struct dest_fixture *f);
void fixture_close(struct dest_fixture *f);
void fixture_reopen(struct dest_fixture *f, const char *more);
/* Generation 1. columns is borrowed for the loads that follow. */
void fixture_prepare(struct dest_fixture *f, const struct spec_column *columns, size_t count);
/* For f->columns. */
enum ps_status fixture_try_prepare(struct dest_fixture *f, struct pipeline_uuid uuid,
                                   uint64_t generation, struct dest_state *state,
                                   struct ps_error *err);
/* By the database's own library, on a connection of its own. */
void fixture_sql(struct dest_fixture *f, const char *sql);
/* All cells, joined by ',' and rows by '|'; "NULL" for NULL. Valid until the next call. */
const char *fixture_text(struct dest_fixture *f, const char *sql);

/* One range: object "object-NUMBER" from 0. */
void fixture_batch_init(struct dest_fixture *f, struct fixture_batch *b, uint32_t ncols,
                        unsigned number);
/* Another batch object with the same id, ranges and no rows yet: the batch's other life. */
void fixture_batch_init_twin(struct dest_fixture *f, struct fixture_batch *b,
                             const struct fixture_batch *of);
/* kinds: i int64_t, d double, s const char *, n no argument */
void fixture_row(struct fixture_batch *b, const char *kinds, ...);
/* The same by hand: puts on b->block between the two. */
struct block_row fixture_row_begin(struct fixture_batch *b);
void fixture_row_end(struct fixture_batch *b, struct block_row *row);
void fixture_reject(struct fixture_batch *b, uint64_t offset, const char *reason);
void fixture_batch_seal(struct fixture_batch *b);
enum ps_status fixture_load(struct dest_fixture *f, struct fixture_batch *b, struct ps_error *err);
/* The same by another destination object; the batch must be sealed. */
enum ps_status fixture_load_by(struct dest_fixture *f, struct dest *dest, struct fixture_batch *b,
                               struct ps_error *err);
void fixture_tombstone(struct dest_fixture *f, struct fixture_batch *b, enum dest_outcome expected);
void fixture_batch_fini(struct fixture_batch *b);
/* RLIMIT_FSIZE with SIGXFSZ ignored; 0 = the limit before. */
void fixture_limit_file_size(uint64_t bytes);

#endif
