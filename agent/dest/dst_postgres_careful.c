/* SPDX-License-Identifier: Apache-2.0 */
/* The careful way: the rows in slices, each behind a savepoint, so that a refused row costs its
 * slice and not its batch. The server names the row where it was sending it (CHECK, UNIQUE, NOT
 * NULL, a trigger before the row); what it checks at a statement's end (foreign keys, triggers
 * behind the row), or in a merge, is found by halving. */
#include <math.h>
#include <stdio.h>

#include "agent/dest/dst_postgres_rows.h"
#include "common/alloc.h"
#include "common/assert.h"

enum {
    SLICE_LEAST_ROWS = 16,
    ROUNDS_MAX = 64,
    STACK_MAX = 40, /* halves of 2^32 rows, and more */
};

/* A refused slice costs some round trips, and its rows once more: with one refused row in n the sum
 * is least near this many times the root of n (150 us against 2 us a row). */
static const double slice_factor = 12;

/* Of picked. */
struct slice {
    uint32_t from, to;
    bool guilty; /* one of its rows is known to be refused: not tried whole */
    bool left;   /* the half behind it on the stack is its other one */
};

static uint32_t
size_of(struct slice slice)
{
    return slice.to - slice.from;
}

/* ---- savepoints */

/* Statements without a result that is wanted, in one round trip. */
static enum ps_status
run(struct dst_postgres *d, const char *sql, struct ps_error *err)
{
    PGresult *result = NULL;
    if (PQsendQuery(d->conn, sql) == 0) {
        return dst_postgres_fail(d, NULL, "send", err);
    }
    enum ps_status status = dst_postgres_answer(d, &result, err);
    if (status == PS_OK && PQresultStatus(result) == PGRES_FATAL_ERROR) {
        status = dst_postgres_fail(d, result, sql, err);
    }
    PQclear(result);
    return status;
}

/* What brings the savepoint to where the next rows are to be tried. */
static const char *
renew(const struct dst_postgres_careful *way)
{
    return !way->savepoint ? "SAVEPOINT _penstock_rows"
           : way->failed   ? "ROLLBACK TO SAVEPOINT _penstock_rows"
                           : "RELEASE SAVEPOINT _penstock_rows; SAVEPOINT _penstock_rows";
}

static void
renewed(struct dst_postgres_careful *way, const struct dst_postgres_refusal *refusal)
{
    way->savepoint = true;
    way->failed = refusal->text[0] != '\0';
}

static enum ps_status
release(struct dst_postgres_rows *rows, struct ps_error *err)
{
    struct dst_postgres_careful *way = &rows->way;
    if (!way->savepoint) {
        return PS_OK;
    }
    way->savepoint = false;
    return run(rows->d,
               way->failed ? "ROLLBACK TO SAVEPOINT _penstock_rows;"
                             " RELEASE SAVEPOINT _penstock_rows"
                           : "RELEASE SAVEPOINT _penstock_rows",
               err);
}

/* ---- one slice */

/* The picked rows as COPY wants them: neighbours go as one. */
static enum ps_status
put_picked(struct dst_postgres_rows *rows, struct slice slice, struct ps_error *err)
{
    const uint32_t *picked = rows->way.picked;
    enum ps_status status = PS_OK;
    for (uint32_t at = slice.from; status == PS_OK && at < slice.to;) {
        uint32_t end = at + 1;
        while (end < slice.to && picked[end] == picked[end - 1] + 1) {
            end++;
        }
        size_t first = rows->starts[picked[at]];
        status = dst_postgres_copy_put(rows->d, rows->bytes.ptr + first,
                                       rows->starts[picked[end - 1] + 1] - first, err);
        at = end;
    }
    return status;
}

/* COPY behind a renewed savepoint and what else is to be done before. */
static enum ps_status
copy_slice(struct dst_postgres_rows *rows, const char *before, struct slice slice, uint64_t *out_in,
           struct dst_postgres_refusal *refusal, struct ps_error *err)
{
    struct dst_postgres *d = rows->d;
    *refusal = (struct dst_postgres_refusal){.row = 0};
    *out_in = 0;
    char *sql = ps_xasprintf("%s; %s%s", renew(&rows->way), before, d->copy_sql);
    enum ps_status status = dst_postgres_copy_begin(d, sql, !d->by_server, err);
    ps_free(sql);
    if (status == PS_OK) {
        status = put_picked(rows, slice, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_copy_end(d, !d->by_server, out_in, refusal, err);
    }
    renewed(&rows->way, refusal);
    return status;
}

static enum ps_status
try_slice(struct dst_postgres_rows *rows, struct slice slice, struct dst_postgres_refusal *refusal,
          struct ps_error *err)
{
    struct dst_postgres_careful *way = &rows->way;
    enum ps_status status = PS_OK;
    if (rows->d->merge_sql == NULL) {
        uint64_t in = 0;
        status = copy_slice(rows, "", slice, &in, refusal, err);
        if (status == PS_OK && !way->failed) {
            rows->counts.inserted += in;
            rows->counts.skipped += size_of(slice) - in;
        }
    } else {
        char before[120];
        snprintf(before, sizeof before, "%s; ", renew(way));
        *refusal = (struct dst_postgres_refusal){.row = 0};
        const struct dst_postgres_staged staged = {
            .before = before, .first = slice.from + 1, .last = slice.to, .given = size_of(slice)};
        status = dst_postgres_rows_merge(rows, &staged, refusal, err);
        renewed(way, refusal);
    }
    way->accepted += status == PS_OK && !way->failed ? size_of(slice) : 0;
    return status;
}

/* ---- who is guilty */

static void
add_place(struct dst_postgres_places *places, uint64_t place)
{
    if (places->count == places->cap) {
        places->cap = places->cap == 0 ? 256 : places->cap * 2;
        places->at = ps_xrealloc(places->at, places->cap * sizeof *places->at);
    }
    places->at[places->count++] = place;
}

static bool
may_be_made_good(const struct dst_postgres_rows *rows)
{
    return rows->at_once || rows->d->own_parents;
}

/* The slice is tried again when the others are in. */
static void
doubt(struct dst_postgres_rows *rows, struct slice slice)
{
    for (uint32_t at = slice.from; at < slice.to; at++) {
        add_place(&rows->way.doubtful, rows->place + rows->way.picked[at]);
    }
}

/* certain: not for what other rows may bring. */
static enum ps_status
refuse(struct dst_postgres_rows *rows, uint32_t at, bool certain,
       const struct dst_postgres_refusal *refusal, struct ps_error *err)
{
    struct dst_postgres_careful *way = &rows->way;
    bool doubtful = !certain && may_be_made_good(rows);
    if (doubtful) {
        doubt(rows, (struct slice){.from = at, .to = at + 1});
    }
    way->refused++;
    return dst_postgres_rows_refuse(rows, way->picked[at], refusal,
                                    doubtful ? &way->late : &rows->late, err);
}

/* The row that the server named, of those sent from `from` on, leaves the picked ones. */
static enum ps_status
refuse_named(struct dst_postgres_rows *rows, uint32_t from,
             const struct dst_postgres_refusal *refusal, struct ps_error *err)
{
    struct dst_postgres_careful *way = &rows->way;
    uint32_t at = from + (uint32_t)refusal->row - 1;
    enum ps_status status = refuse(rows, at, true, refusal, err);
    memmove(way->picked + at, way->picked + at + 1,
            (way->picked_count - at - 1) * sizeof *way->picked);
    way->picked_count--;
    return status;
}

static bool
is_named(struct slice slice, const struct dst_postgres_refusal *refusal)
{
    return refusal->row >= 1 && refusal->row <= size_of(slice);
}

/* The picked rows from `from` on, but no more than a slice. seen: rows of it that are known of. */
static struct slice
next_slice(const struct dst_postgres_careful *way, uint32_t from, uint64_t seen)
{
    struct slice slice = {.from = from, .to = way->picked_count};
    if (way->refused > 0) {
        double most = slice_factor * sqrt((double)(way->tried + seen) / (double)way->refused);
        most = most < SLICE_LEAST_ROWS ? SLICE_LEAST_ROWS : most;
        slice.to = most < (double)size_of(slice) ? from + (uint32_t)most : slice.to;
    }
    return slice;
}

/* A slice of several rows that was refused: halves, until the guilty rows stand alone. */
static enum ps_status
halve(struct dst_postgres_rows *rows, struct slice whole, struct ps_error *err)
{
    struct dst_postgres_refusal refusal;
    struct slice stack[STACK_MAX] = {whole};
    size_t depth = 1;
    enum ps_status status = PS_OK;
    stack[0].guilty = true;
    while (status == PS_OK && depth > 0) {
        struct slice slice = stack[--depth];
        bool single = size_of(slice) == 1;
        if (single || !slice.guilty) {
            status = try_slice(rows, slice, &refusal, err);
            if (status != PS_OK) {
                break;
            }
            if (!rows->way.failed) {
                /* It was good: so the other half is not. */
                stack[depth > 0 ? depth - 1 : 0].guilty |= slice.left;
                continue;
            }
        }
        if (single) {
            status = refuse(rows, slice.from, false, &refusal, err);
            continue;
        }
        uint32_t middle = slice.from + size_of(slice) / 2;
        PS_ASSERT(depth + 2 <= STACK_MAX);
        stack[depth++] = (struct slice){.from = middle, .to = slice.to};
        stack[depth++] = (struct slice){.from = slice.from, .to = middle, .left = true};
    }
    return status;
}

/* All picked rows of the block, which stand in the staging table where there is one. */
static enum ps_status
try_picked(struct dst_postgres_rows *rows, struct ps_error *err)
{
    struct dst_postgres_careful *way = &rows->way;
    enum ps_status status = PS_OK;
    uint64_t seen = 0;
    for (uint32_t from = 0; status == PS_OK && from < way->picked_count;) {
        struct slice slice = next_slice(way, from, seen);
        struct dst_postgres_refusal refusal;
        seen = 0;
        status = try_slice(rows, slice, &refusal, err);
        if (status == PS_OK && way->failed && rows->d->merge_sql == NULL &&
            is_named(slice, &refusal)) {
            /* What stood before it goes again, with what follows. */
            seen = refusal.row;
            status = refuse_named(rows, from, &refusal, err);
            continue;
        }
        if (status == PS_OK && way->failed && !way->halving) {
            doubt(rows, slice);
        } else if (status == PS_OK && way->failed) {
            status = size_of(slice) == 1 ? refuse(rows, from, false, &refusal, err)
                                         : halve(rows, slice, err);
        }
        way->tried += size_of(slice);
        from = slice.to;
    }
    return status;
}

/* The picked rows into the staging table, numbered from 1. It has no constraint, but values that
 * only the server reads and domains' CHECK are judged on the way in: what comes before the row that
 * is named is good then. */
static enum ps_status
stage_picked(struct dst_postgres_rows *rows, struct ps_error *err)
{
    struct dst_postgres_careful *way = &rows->way;
    enum ps_status status = run(rows->d, "TRUNCATE pg_temp._penstock_stage", err);
    uint32_t end = way->picked_count; /* of what is tried next */
    for (uint32_t from = 0; status == PS_OK && from < way->picked_count;) {
        struct dst_postgres_refusal refusal;
        struct slice slice = {.from = from, .to = end};
        uint64_t in = 0;
        char before[160];
        snprintf(before, sizeof before,
                 "SELECT setval(pg_get_serial_sequence('pg_temp._penstock_stage', '_penstock_n'),"
                 " %u, false); ",
                 from + 1);
        status = copy_slice(rows, before, slice, &in, &refusal, err);
        if (status != PS_OK) {
            break;
        }
        if (!way->failed) {
            from = end;
            end = way->picked_count;
        } else if (is_named(slice, &refusal)) {
            status = refuse_named(rows, from, &refusal, err);
            end = from + (uint32_t)refusal.row - 1;
            end = end > from ? end : way->picked_count;
        } else {
            status = ps_fail(err, PS_REFUSED, "%s: the staging table refused rows: %s",
                             rows->d->shown, refusal.text);
        }
    }
    return status == PS_OK ? release(rows, err) : status;
}

/* Those that are to be tried in this round. */
static void
pick(struct dst_postgres_rows *rows)
{
    struct dst_postgres_careful *way = &rows->way;
    if (way->picked_cap < rows->row_count) {
        way->picked_cap = rows->row_count;
        way->picked = ps_xrealloc(way->picked, way->picked_cap * sizeof *way->picked);
    }
    way->picked_count = 0;
    for (uint32_t i = 0; i < rows->row_count && way->rounds == 0; i++) {
        way->picked[way->picked_count++] = i;
    }
    while (way->next_again < way->again.count &&
           way->again.at[way->next_again] < rows->place + rows->row_count) {
        way->picked[way->picked_count++] =
            (uint32_t)(way->again.at[way->next_again++] - rows->place);
    }
}

enum ps_status
dst_postgres_careful_block(struct dst_postgres_rows *rows, struct ps_error *err)
{
    pick(rows);
    if (rows->way.picked_count == 0) {
        return PS_OK;
    }
    enum ps_status status = rows->d->merge_sql == NULL ? PS_OK : stage_picked(rows, err);
    if (status == PS_OK) {
        status = try_picked(rows, err);
    }
    return status == PS_OK ? release(rows, err) : status;
}

/* ---- rounds */

void
dst_postgres_careful_begin(struct dst_postgres_rows *rows)
{
    struct dst_postgres_careful *way = &rows->way;
    way->tried = way->refused = way->accepted = 0;
    way->savepoint = way->failed = false;
    way->rounds = 0;
    way->halving = !may_be_made_good(rows);
    way->doubtful.count = way->again.count = way->next_again = 0;
    dest_late_clear(&way->late);
}

void
dst_postgres_careful_round(struct dst_postgres_rows *rows, bool *out_again)
{
    struct dst_postgres_careful *way = &rows->way;
    bool progress = way->accepted > 0 && way->rounds < ROUNDS_MAX;
    *out_again = way->doubtful.count > 0 && (progress || !way->halving);
    way->halving = way->halving || !progress;
    if (!*out_again) {
        ps_buf_xappend(&rows->late.rejects, way->late.rejects.ptr, way->late.rejects.len);
        rows->late.count += way->late.count;
        dest_late_clear(&way->late);
        return;
    }
    struct dst_postgres_places places = way->again;
    way->again = way->doubtful;
    way->doubtful = places;
    way->doubtful.count = way->next_again = 0;
    way->rounds++;
    way->tried = way->refused = way->accepted = 0;
    dest_late_clear(&way->late);
}

void
dst_postgres_careful_fini(struct dst_postgres_careful *way)
{
    dest_late_fini(&way->late);
    ps_free(way->doubtful.at);
    ps_free(way->again.at);
    ps_free(way->picked);
    *way = (struct dst_postgres_careful){.tried = 0};
}
