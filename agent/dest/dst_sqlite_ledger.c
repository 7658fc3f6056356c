/* SPDX-License-Identifier: Apache-2.0 */
/* Fence and ledger: what makes a second life of a batch impossible (design §3.2). */
#include "agent/dest/dst_sqlite.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

static bool
no_such_table(struct dst_sqlite *d)
{
    return strncmp(sqlite3_errmsg(d->db), "no such table", 13) == 0;
}

enum ps_status
dst_sqlite_not_visible(struct dst_sqlite *d, const char *why, struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "not_visible",
                        "sqlite %s: %s: this is not the file that pipeline %s was prepared in",
                        d->path, why, d->name);
}

enum ps_status
dst_sqlite_check_fence(struct dst_sqlite *d, const struct dest_batch *batch, bool *out_match,
                       struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_FENCE_READ, err);
    if (stmt == NULL) {
        return no_such_table(d) ? dst_sqlite_not_visible(d, "it has no ledger", err)
                                : dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, d->name, -1, SQLITE_STATIC);
    bool row = false;
    enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
    if (status != PS_OK) {
        return status;
    }
    if (!row) {
        (void)sqlite3_reset(stmt);
        return dst_sqlite_not_visible(d, "it has no fence of this name", err);
    }
    struct ps_id uuid = {{0}};
    bool whole = dst_sqlite_column_id(stmt, 0, &uuid);
    uint64_t generation = (uint64_t)sqlite3_column_int64(stmt, 1);
    static const uint8_t unknown[16];
    uint8_t here[16];
    struct ps_id there = {{0}};
    dst_sqlite_host(here);
    bool same_host = !dst_sqlite_column_id(stmt, 2, &there) || memcmp(here, unknown, 16) == 0 ||
                     memcmp(there.b, unknown, 16) == 0 || memcmp(there.b, here, 16) == 0;
    (void)sqlite3_reset(stmt);
    if (!same_host) {
        return dst_sqlite_not_visible(d, "it was prepared on another host", err);
    }
    *out_match = whole && ps_id_eq(uuid, batch->pipeline.id) && generation == batch->generation;
#ifdef PS_MUTANT_NO_FENCE
    *out_match = true;
#endif
    return PS_OK;
}

enum ps_status
dst_sqlite_set_fence(struct dst_sqlite *d, struct pipeline_uuid uuid, uint64_t generation,
                     struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d,
        "INSERT INTO _penstock_fence(pipeline_name, pipeline_uuid, generation) VALUES(?1, ?2, ?3)"
        " ON CONFLICT DO UPDATE SET generation = max(generation, excluded.generation)"
        " RETURNING pipeline_uuid, generation",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, d->name, -1, SQLITE_STATIC);
    dst_sqlite_bind_id(stmt, 2, &uuid.id);
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)generation);
    bool row = false;
    enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
    struct ps_id stands = {{0}};
    if (status == PS_OK &&
        (!row || !dst_sqlite_column_id(stmt, 0, &stands) || !ps_id_eq(stands, uuid.id))) {
        char text[PS_ID_TEXT_BYTES];
        status = ps_fail_code(err, PS_REFUSED, "fence_conflict",
                              "sqlite %s: pipeline %s is known here as %s", d->path, d->name,
                              ps_id_text(stands, text));
    }
    if (status == PS_OK && (uint64_t)sqlite3_column_int64(stmt, 1) > generation) {
        status = ps_fail_code(err, PS_REFUSED, "fence_conflict",
                              "sqlite %s: pipeline %s stands at generation %lld here, later than "
                              "%llu",
                              d->path, d->name, (long long)sqlite3_column_int64(stmt, 1),
                              (unsigned long long)generation);
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

/* ---- ledger rows */

static struct ps_span
copy_span(sqlite3_stmt *stmt, int at)
{
    int len = sqlite3_column_bytes(stmt, at);
    const void *bytes = sqlite3_column_blob(stmt, at);
    if (len <= 0 || bytes == NULL) {
        return ps_span(NULL, 0);
    }
    uint8_t *copy = ps_xalloc((size_t)len);
    memcpy(copy, bytes, (size_t)len);
    return ps_span(copy, (size_t)len);
}

static enum ps_status
read_ranges(struct dst_sqlite *d, struct batch_id id, struct dest_result *out, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_RANGES_READ, err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    dst_sqlite_bind_id(stmt, 1, &id.id);
    for (bool row = true;;) {
        enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
        if (status != PS_OK || !row) {
            (void)sqlite3_reset(stmt);
            return status;
        }
        out->ranges = ps_xrealloc(out->ranges, (out->range_count + 1) * sizeof *out->ranges);
        struct dest_range *range = &out->ranges[out->range_count++];
        *range = (struct dest_range){.from = (uint64_t)sqlite3_column_int64(stmt, 1),
                                     .key = copy_span(stmt, 2),
                                     .version = copy_span(stmt, 3),
                                     .end = (uint64_t)sqlite3_column_int64(stmt, 4),
                                     .eof = sqlite3_column_int(stmt, 5) != 0,
                                     .resume = copy_span(stmt, 6),
                                     .records = (uint64_t)sqlite3_column_int64(stmt, 7)};
        if (!dst_sqlite_column_id(stmt, 0, &range->bp.id)) {
            (void)sqlite3_reset(stmt);
            return ps_fail(err, PS_BUG, "sqlite %s: a ledger range without its hash", d->path);
        }
    }
}

/* How a batch that is in the ledger stands there. *out_found false: it is not. */
static enum ps_status
read_entry(struct dst_sqlite *d, struct batch_id id, bool *out_found, struct dest_result *out,
           struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_LEDGER_READ, err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    dst_sqlite_bind_id(stmt, 1, &id.id);
    enum ps_status status = dst_sqlite_step(d, stmt, out_found, err);
    if (status != PS_OK || !*out_found) {
        (void)sqlite3_reset(stmt);
        return status;
    }
    const unsigned char *state = sqlite3_column_text(stmt, 0);
    bool loaded = state != NULL && state[0] == 'L';
    uint64_t numbers[9];
    for (int i = 0; i < 9; i++) {
        numbers[i] = (uint64_t)sqlite3_column_int64(stmt, i + 1);
    }
    (void)sqlite3_reset(stmt);
    *out = (struct dest_result){.outcome = loaded ? DEST_ALREADY : DEST_CANCELLED,
                                .counts = {.decoded = numbers[0],
                                           .rejected = numbers[1],
                                           .filtered = numbers[2],
                                           .inserted = numbers[3],
                                           .updated = numbers[4],
                                           .skipped = numbers[5],
                                           .rejected_at_load = numbers[6],
                                           .raw_bytes = numbers[7],
                                           .unwrapped_bytes = numbers[8]}};
    return loaded ? read_ranges(d, id, out, err) : PS_OK;
}

enum ps_status
dst_sqlite_enter(struct dst_sqlite *d, const struct dest_batch *batch, const char *tombstone,
                 bool *out_done, struct dest_result *out, struct ps_error *err)
{
    *out_done = false;
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_LEDGER_INSERT, err);
    if (stmt == NULL) {
        return no_such_table(d) ? dst_sqlite_not_visible(d, "it has no ledger", err)
                                : dst_sqlite_failed(err);
    }
    int at = 1;
    dst_sqlite_bind_id(stmt, at++, &batch->id.id);
    dst_sqlite_bind_id(stmt, at++, &batch->pipeline.id);
    (void)sqlite3_bind_int64(stmt, at++, (int64_t)batch->generation);
    (void)sqlite3_bind_text(stmt, at++, tombstone == NULL ? "L" : "T", 1, SQLITE_STATIC);
    const struct dest_counts *counts = &batch->counts;
    const uint64_t numbers[] = {batch->epoch, batch->cluster_epoch, batch->commit_seq};
    for (size_t i = 0; i < 3; i++) {
        (void)sqlite3_bind_int64(stmt, at++, (int64_t)numbers[i]);
    }
    (void)sqlite3_bind_text(stmt, at++, batch->agent == NULL ? "" : batch->agent, -1,
                            SQLITE_STATIC);
    const uint64_t more[] = {
        batch->leaf,      batch->spec_rev,   counts->decoded,        counts->rejected,
        counts->filtered, counts->raw_bytes, counts->unwrapped_bytes};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        (void)sqlite3_bind_int64(stmt, at++, (int64_t)more[i]);
    }
    if (tombstone != NULL || batch->replays != NULL) {
        (void)sqlite3_bind_text(stmt, at, tombstone != NULL ? tombstone : DEST_REPLAY_REASON, -1,
                                SQLITE_STATIC);
    }
    (void)sqlite3_bind_int64(stmt, at + 1, ps_clock_wall_ms());
#ifdef PS_MUTANT_NO_LEDGER
    if (tombstone == NULL) {
        return PS_OK;
    }
#endif
    int rc = sqlite3_step(stmt);
    enum ps_status status = PS_OK;
    if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE) {
        (void)sqlite3_reset(stmt);
        status = read_entry(d, batch->id, out_done, out, err);
        if (status == PS_OK && !*out_done) {
            status = ps_fail(err, PS_BUG, "sqlite %s: a ledger row that cannot be read", d->path);
        }
        return status;
    }
    if (rc != SQLITE_DONE) {
        status = dst_sqlite_fail(d, rc, "ledger row", err);
    }
    (void)sqlite3_reset(stmt);
    return status;
}

/* Steps the statement for ranges of the range's object; up_to bounds where they begin. */
static enum ps_status
range_find(struct dst_sqlite *d, sqlite3_stmt *stmt, const struct dest_batch *batch,
           const struct dest_range *range, uint64_t up_to, struct ps_error *err)
{
    bool row = false;
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    dst_sqlite_bind_id(stmt, 1, &batch->pipeline.id);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)batch->generation);
    dst_sqlite_bind_id(stmt, 3, &range->bp.id);
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)up_to);
    return dst_sqlite_step(d, stmt, &row, err);
}

static void
range_conflict(struct dst_sqlite *d, const struct dest_batch *batch, const struct dest_range *range,
               const struct ps_id *owner, struct ps_error *err)
{
    char ours[PS_ID_TEXT_BYTES];
    char theirs[PS_ID_TEXT_BYTES];
    char key[256];
    (void)ps_fail_code(err, PS_REFUSED, "range_conflict",
                       "sqlite %s: batch %s: the range of %s from %llu is owned by batch %s",
                       d->path, ps_id_text(batch->id.id, ours),
                       log_quote(range->key, key, sizeof key), (unsigned long long)range->from,
                       owner != NULL ? ps_id_text(*owner, theirs) : "?");
}

static enum ps_status
range_owned(struct dst_sqlite *d, const struct dest_batch *batch, const struct dest_range *range,
            struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_RANGE_OWNER, err);
    enum ps_status status = range_find(d, stmt, batch, range, range->from, err);
    struct ps_id owner = {{0}};
    bool known = status == PS_OK && dst_sqlite_column_id(stmt, 0, &owner);
    (void)sqlite3_reset(stmt);
    if (status == PS_OK) {
        range_conflict(d, batch, range, known ? &owner : NULL, err);
    }
    return status;
}

/* The key alone sees ranges that begin at the same byte; here any byte in common counts. Ranges do
 * not overlap, so only the last one that begins before our end can reach into ours. A whole object
 * begins where all of its ranges would have to. */
static enum ps_status
range_overlap(struct dst_sqlite *d, const struct dest_batch *batch, const struct dest_range *range,
              bool *out_conflict, struct ps_error *err)
{
    if (range->from == range->end || (range->from == 0 && range->eof)) {
        return PS_OK;
    }
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_RANGE_BEFORE, err);
    enum ps_status status = range_find(d, stmt, batch, range, range->end, err);
    struct ps_id owner = {{0}};
    *out_conflict = status == PS_OK && dst_sqlite_column_id(stmt, 0, &owner) &&
                    (uint64_t)sqlite3_column_int64(stmt, 2) > range->from;
    (void)sqlite3_reset(stmt);
    if (*out_conflict) {
        range_conflict(d, batch, range, &owner, err);
    }
    return status;
}

enum ps_status
dst_sqlite_enter_ranges(struct dst_sqlite *d, const struct dest_batch *batch, bool *out_conflict,
                        struct ps_error *err)
{
    *out_conflict = false;
#ifdef PS_MUTANT_NO_LEDGER
    return PS_OK;
#endif
    for (size_t i = 0; i < batch->range_count; i++) {
        const struct dest_range *range = &batch->ranges[i];
        enum ps_status status = range_overlap(d, batch, range, out_conflict, err);
        if (status != PS_OK || *out_conflict) {
            return status;
        }
        sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_RANGE_INSERT, err);
        if (stmt == NULL) {
            return dst_sqlite_failed(err);
        }
        dst_sqlite_bind_id(stmt, 1, &batch->pipeline.id);
        (void)sqlite3_bind_int64(stmt, 2, (int64_t)batch->generation);
        dst_sqlite_bind_id(stmt, 3, &range->bp.id);
        (void)sqlite3_bind_int64(stmt, 4, (int64_t)range->from);
        dst_sqlite_bind_id(stmt, 5, &batch->id.id);
        dst_sqlite_bind_span(stmt, 6, range->key);
        dst_sqlite_bind_span(stmt, 7, range->version);
        (void)sqlite3_bind_int64(stmt, 8, (int64_t)range->end);
        (void)sqlite3_bind_int(stmt, 9, range->eof);
        if (range->resume.len > 0) {
            dst_sqlite_bind_span(stmt, 10, range->resume);
        }
        (void)sqlite3_bind_int64(stmt, 11, (int64_t)range->records);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE) {
            (void)sqlite3_reset(stmt);
            *out_conflict = true;
            return range_owned(d, batch, range, err);
        }
        status = rc == SQLITE_DONE ? PS_OK : dst_sqlite_fail(d, rc, "ledger range", err);
        (void)sqlite3_reset(stmt);
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}

enum ps_status
dst_sqlite_enter_counts(struct dst_sqlite *d, struct batch_id id, const struct dest_counts *counts,
                        struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, SQL_LEDGER_COUNTS, err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    dst_sqlite_bind_id(stmt, 1, &id.id);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)counts->inserted);
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)counts->updated);
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)counts->skipped);
    (void)sqlite3_bind_int64(stmt, 5, (int64_t)counts->rejected_at_load);
    int rc = sqlite3_step(stmt);
    enum ps_status status =
        rc == SQLITE_DONE ? PS_OK : dst_sqlite_fail(d, rc, "ledger counts", err);
    (void)sqlite3_reset(stmt);
    return status;
}

enum ps_status
dst_sqlite_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each, void *ctx,
                  struct ps_error *err)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    struct dest_result result = {0};
    bool open = false;
    enum ps_status status = dst_sqlite_connect(d, false, &open, err);
    if (status == PS_OK && open) {
        status = read_ranges(d, batch, &result, err);
    }
    for (size_t i = 0; i < result.range_count && status == PS_OK; i++) {
        status = each(ctx, &result.ranges[i], batch, err);
    }
    dest_result_fini(&result);
    return status;
}

/* ---- tombstone */

static enum ps_status
bury(struct dst_sqlite *d, const struct dest_batch *batch, const char *reason,
     struct dest_result *out, struct ps_error *err)
{
    bool done = false;
    enum ps_status status = dst_sqlite_enter(d, batch, reason, &done, out, err);
    if (status != PS_OK || done) {
        return status;
    }
    *out = (struct dest_result){.outcome = DEST_CANCELLED, .counts = batch->counts};
    bool constraint = false;
    return dst_sqlite_commit(d, &constraint, err);
}

enum ps_status
dst_sqlite_tombstone(struct dest *dest, const struct dest_batch *batch, const char *reason,
                     struct dest_result *out, struct ps_error *err)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    struct dest_result result = {0};
    bool open = false;
    enum ps_status status = dst_sqlite_connect(d, false, &open, err);
    if (status == PS_OK && !open) {
        status = dst_sqlite_not_visible(d, "there is no such file", err);
    }
    if (status == PS_OK) {
        status = dst_sqlite_turn(d, err);
    }
    if (status != PS_OK) {
        return status;
    }
    status = dst_sqlite_begin(d, err);
    if (status == PS_OK) {
        status = bury(d, batch, reason, &result, err);
    }
    dst_sqlite_end(d);
    if (status != PS_OK) {
        dest_result_fini(&result);
        return ps_wrap(err, status, "tombstone");
    }
    *out = result;
    return PS_OK;
}

/* ---- state */

static enum ps_status
read_fence(struct dst_sqlite *d, const char *name, struct dest_state *state, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d, "SELECT pipeline_uuid, generation FROM _penstock_fence WHERE pipeline_name = ?1", err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    enum ps_status status = dst_sqlite_step(d, stmt, &state->has_fence, err);
    if (status == PS_OK && state->has_fence) {
        state->generation = (uint64_t)sqlite3_column_int64(stmt, 1);
        if (!dst_sqlite_column_id(stmt, 0, &state->uuid.id)) {
            status =
                ps_fail(err, PS_REFUSED, "sqlite %s: the fence of %s has no uuid", d->path, name);
        }
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum ps_status
read_totals(struct dst_sqlite *d, struct dest_state *state, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d,
        "SELECT count(*) - count(reason), sum(decoded), sum(rejected), sum(filtered),"
        " sum(inserted), sum(updated), sum(skipped), sum(rejected_at_load), sum(raw_bytes),"
        " sum(unwrapped_bytes), total(decoded) FILTER (WHERE reason IS NOT NULL)"
        " FROM _penstock_ledger WHERE pipeline_uuid = ?1 AND generation = ?2 AND state = 'L'",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    dst_sqlite_bind_id(stmt, 1, &state->uuid.id);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)state->generation);
    bool row = false;
    enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
    if (status == PS_OK && row) {
        uint64_t *const fields[] = {&state->batches,          &state->totals.decoded,
                                    &state->totals.rejected,  &state->totals.filtered,
                                    &state->totals.inserted,  &state->totals.updated,
                                    &state->totals.skipped,   &state->totals.rejected_at_load,
                                    &state->totals.raw_bytes, &state->totals.unwrapped_bytes,
                                    &state->replayed};
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            *fields[i] = (uint64_t)sqlite3_column_int64(stmt, (int)i);
        }
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum ps_status
read_stamp(struct dst_sqlite *d, struct dest_state *state, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d,
        "SELECT cluster_epoch, commit_seq FROM _penstock_ledger WHERE pipeline_uuid = ?1"
        " ORDER BY cluster_epoch DESC, commit_seq DESC LIMIT 1",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    dst_sqlite_bind_id(stmt, 1, &state->uuid.id);
    bool row = false;
    enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
    if (status == PS_OK && row) {
        state->cluster_epoch = (uint64_t)sqlite3_column_int64(stmt, 0);
        state->commit_seq = (uint64_t)sqlite3_column_int64(stmt, 1);
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

enum ps_status
dst_sqlite_state(struct dest *dest, const char *pipeline_name, struct dest_state *out_state,
                 struct ps_error *err)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    struct dest_state state = {0};
    bool open = false;
    bool ledger = false;
    enum ps_status status = dst_sqlite_connect(d, false, &open, err);
    if (status == PS_OK && open) {
        status = dst_sqlite_table_exists(d, d->table, &state.table_exists, err);
    }
    if (status == PS_OK && open) {
        status = dst_sqlite_table_exists(d, "_penstock_ledger", &ledger, err);
    }
    if (status == PS_OK && ledger) {
        status = read_fence(d, pipeline_name, &state, err);
    }
    if (status == PS_OK && state.has_fence) {
        status = read_totals(d, &state, err);
    }
    if (status == PS_OK && state.has_fence) {
        status = read_stamp(d, &state, err);
    }
    if (status != PS_OK) {
        return ps_wrap(err, status, "state of %s", pipeline_name);
    }
    *out_state = state;
    return PS_OK;
}
