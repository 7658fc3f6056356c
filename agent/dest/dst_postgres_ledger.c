/* SPDX-License-Identifier: Apache-2.0 */
/* Fence and ledger: what makes a second life of a batch impossible (design §3.2). */
#include <stdio.h>

#include "agent/dest/dst_postgres.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

enum { LOCK_WAIT_MS = 2000 }; /* for a twin, before it is ended */

/* sql with every "$S" replaced by the schema of our tables; freed by the caller. */
static char *
in_schema(const struct dst_postgres *d, const char *sql)
{
    struct ps_buf text = PS_BUF_INIT;
    for (const char *at = sql; *at != '\0';) {
        const char *mark = strstr(at, "$S");
        size_t len = mark == NULL ? strlen(at) : (size_t)(mark - at);
        ps_buf_xappend(&text, at, len);
        at += len;
        if (mark != NULL) {
            ps_buf_xprintf(&text, "%s", d->quoted_schema);
            at += 2;
        }
    }
    char *out = ps_xstrdup(ps_buf_str(&text));
    ps_buf_fini(&text);
    return out;
}

static PGresult *
query(struct dst_postgres *d, const char *sql, const struct pg_params *params, struct ps_error *err)
{
    char *text = in_schema(d, sql);
    PGresult *result = dst_postgres_query(d, text, params, err);
    ps_free(text);
    return result;
}

/* ---- transactions */

enum ps_status
dst_postgres_begin(struct dst_postgres *d, struct ps_id name, struct ps_error *err)
{
    char id[PS_ID_TEXT_BYTES];
    char sql[200];
    /* The name is what a successor finds this session by; set outside of the transaction, it
     * stands also while a COPY hangs. */
    snprintf(sql, sizeof sql, "SET application_name = '%s penstock'", ps_id_text(name, id));
    enum ps_status status = dst_postgres_exec(d, sql, NULL, err);
    if (status == PS_OK) {
        status = dst_postgres_exec(d, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL, err);
    }
    if (status == PS_OK) {
        snprintf(sql, sizeof sql, "SET LOCAL lock_timeout = %d", LOCK_WAIT_MS);
        status = dst_postgres_exec(d, sql, NULL, err);
    }
    return status;
}

enum ps_status
dst_postgres_end_twins(struct dst_postgres *d, struct ps_id name, struct ps_error *err)
{
    struct pg_params params = {0};
    char id[PS_ID_TEXT_BYTES];
    pg_param_text(&params, ps_id_text(name, id));
    return dst_postgres_exec(d,
                             "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                             " WHERE starts_with(application_name, $1)"
                             " AND pid <> pg_backend_pid()",
                             &params, err);
}

enum ps_status
dst_postgres_commit(struct dst_postgres *d, bool *out_constraint, struct ps_error *err)
{
    *out_constraint = false;
    PGresult *result = NULL;
    if (PQsendQuery(d->conn, "COMMIT") == 0) {
        return dst_postgres_fail(d, NULL, "commit", err);
    }
    enum ps_status status = dst_postgres_answer(d, &result, err);
    if (status == PS_OK && PQresultStatus(result) == PGRES_COMMAND_OK) {
        /* An aborted transaction answers COMMIT with ROLLBACK, and no error. */
        if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
            status = ps_fail(err, PS_BUG, "%s: commit was answered by %s", d->shown,
                             PQcmdStatus(result));
        }
    } else if (status == PS_OK) {
        char state[6];
        dst_postgres_state_of(result, state);
        status = dst_postgres_fail(d, result, "commit", err);
        *out_constraint = strncmp(state, "23", 2) == 0;
        if (!*out_constraint && status != PS_FULL) {
            status = err->status = PS_AGAIN;
        }
    }
    PQclear(result);
    return status;
}

/* ---- fence */

static enum ps_status
not_visible(struct dst_postgres *d, const char *why, struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "not_visible",
                        "%s: %s in schema %s: this is not the database that pipeline %s was "
                        "prepared in",
                        d->shown, why, d->schema, d->name);
}

/* No table of ours: a database that nobody prepared. */
static enum ps_status
failed_read(struct dst_postgres *d, struct ps_error *err)
{
    bool missing = strstr(err->text, "(42P01)") != NULL;
    return missing ? not_visible(d, "there is no ledger", err) : err->status;
}

enum ps_status
dst_postgres_check_fence(struct dst_postgres *d, const struct dest_batch *batch, bool *out_match,
                         struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, d->name);
    /* The shared lock holds off a raise of the generation until this transaction has ended. */
    PGresult *result = query(d,
                             "SELECT pipeline_uuid, generation::int8 FROM $S._penstock_fence"
                             " WHERE pipeline_name = $1 FOR SHARE",
                             &params, err);
    if (result == NULL) {
        return failed_read(d, err);
    }
    enum ps_status status = PS_OK;
    struct ps_id uuid = {{0}};
    if (PQntuples(result) == 0) {
        status = not_visible(d, "there is no fence of this name", err);
    } else {
        *out_match = pg_value_id(result, 0, 0, &uuid) && ps_id_eq(uuid, batch->pipeline.id) &&
                     (uint64_t)pg_value_int(result, 0, 1) == batch->generation;
#ifdef PS_MUTANT_NO_FENCE
        *out_match = true;
#endif
    }
    PQclear(result);
    return status;
}

enum ps_status
dst_postgres_set_fence(struct dst_postgres *d, struct pipeline_uuid uuid, uint64_t generation,
                       struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, d->name);
    pg_param_id(&params, &uuid.id);
    pg_param_int(&params, (int64_t)generation);
    PGresult *result =
        query(d,
              "INSERT INTO $S._penstock_fence AS f(pipeline_name, pipeline_uuid, generation)"
              " VALUES($1, $2, $3) ON CONFLICT (pipeline_name)"
              " DO UPDATE SET generation = greatest(f.generation, excluded.generation)"
              " RETURNING pipeline_uuid, generation::int8",
              &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    struct ps_id stands = {{0}};
    enum ps_status status = PS_OK;
    if (!pg_value_id(result, 0, 0, &stands) || !ps_id_eq(stands, uuid.id)) {
        char text[PS_ID_TEXT_BYTES];
        status = ps_fail_code(err, PS_REFUSED, "fence_conflict",
                              "%s: pipeline %s is known in schema %s as %s", d->shown, d->name,
                              d->schema, ps_id_text(stands, text));
    } else if ((uint64_t)pg_value_int(result, 0, 1) > generation) {
        status = ps_fail_code(err, PS_REFUSED, "fence_conflict",
                              "%s: pipeline %s stands at generation %lld in schema %s, later than "
                              "%llu",
                              d->shown, d->name, (long long)pg_value_int(result, 0, 1), d->schema,
                              (unsigned long long)generation);
    }
    PQclear(result);
    return status;
}

/* ---- ledger rows */

static struct ps_span
copy_span(const PGresult *result, int row, int column)
{
    struct ps_span bytes = pg_value_span(result, row, column);
    if (bytes.len == 0) {
        return ps_span(NULL, 0);
    }
    uint8_t *copy = ps_xalloc(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    return ps_span(copy, bytes.len);
}

static enum ps_status
read_ranges(struct dst_postgres *d, struct batch_id id, struct dest_result *out,
            struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_id(&params, &id.id);
    PGresult *result =
        query(d,
              "SELECT bp_hash, from_offset, key, version, end_offset, eof::int::int8,"
              " resume, records FROM $S._penstock_ledger_range WHERE batch_id = $1"
              " ORDER BY bp_hash, from_offset",
              &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    enum ps_status status = PS_OK;
    out->range_count = (size_t)PQntuples(result);
    out->ranges = ps_xcalloc(out->range_count + 1, sizeof *out->ranges);
    for (int i = 0; i < PQntuples(result); i++) {
        struct dest_range *range = &out->ranges[i];
        *range = (struct dest_range){.from = (uint64_t)pg_value_int(result, i, 1),
                                     .key = copy_span(result, i, 2),
                                     .version = copy_span(result, i, 3),
                                     .end = (uint64_t)pg_value_int(result, i, 4),
                                     .eof = pg_value_int(result, i, 5) != 0,
                                     .resume = copy_span(result, i, 6),
                                     .records = (uint64_t)pg_value_int(result, i, 7)};
        if (!pg_value_id(result, i, 0, &range->bp.id)) {
            status = ps_fail(err, PS_BUG, "%s: a ledger range without its hash", d->shown);
        }
    }
    PQclear(result);
    return status;
}

static enum ps_status
read_entry(struct dst_postgres *d, struct batch_id id, struct dest_result *out,
           struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_id(&params, &id.id);
    PGresult *result =
        query(d,
              "SELECT (state = 'L')::int::int8, decoded, rejected, filtered, inserted, updated,"
              " skipped, rejected_at_load, raw_bytes, unwrapped_bytes FROM $S._penstock_ledger"
              " WHERE batch_id = $1",
              &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    if (PQntuples(result) == 0) {
        PQclear(result);
        return ps_fail(err, PS_AGAIN, "%s: a ledger row that went away", d->shown);
    }
    bool loaded = pg_value_int(result, 0, 0) != 0;
    *out = (struct dest_result){.outcome = loaded ? DEST_ALREADY : DEST_CANCELLED};
    uint64_t *const fields[] = {
        &out->counts.decoded,          &out->counts.rejected,  &out->counts.filtered,
        &out->counts.inserted,         &out->counts.updated,   &out->counts.skipped,
        &out->counts.rejected_at_load, &out->counts.raw_bytes, &out->counts.unwrapped_bytes};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i] = (uint64_t)pg_value_int(result, 0, (int)i + 1);
    }
    PQclear(result);
    return loaded ? read_ranges(d, id, out, err) : PS_OK;
}

enum ps_status
dst_postgres_enter(struct dst_postgres *d, const struct dest_batch *batch, const char *tombstone,
                   bool *out_done, struct dest_result *out, struct ps_error *err)
{
    *out_done = false;
#ifdef PS_MUTANT_NO_LEDGER
    if (tombstone == NULL) {
        return PS_OK;
    }
#endif
    const struct dest_counts *counts = &batch->counts;
    struct pg_params params = {0};
    pg_param_id(&params, &batch->id.id);
    pg_param_id(&params, &batch->pipeline.id);
    pg_param_int(&params, (int64_t)batch->generation);
    pg_param_text(&params, tombstone == NULL ? "L" : "T");
    pg_param_int(&params, (int64_t)batch->epoch);
    pg_param_int(&params, (int64_t)batch->cluster_epoch);
    pg_param_int(&params, (int64_t)batch->commit_seq);
    pg_param_text(&params, batch->agent == NULL ? "" : batch->agent);
    const uint64_t numbers[] = {
        batch->leaf,      batch->spec_rev,   counts->decoded,        counts->rejected,
        counts->filtered, counts->raw_bytes, counts->unwrapped_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        pg_param_int(&params, (int64_t)numbers[i]);
    }
    pg_param_text(&params, tombstone);
    pg_param_int(&params, ps_clock_wall_ms());
    /* A twin's row that is not committed yet is waited for here. */
    PGresult *result =
        query(d,
              "INSERT INTO $S._penstock_ledger(batch_id, pipeline_uuid, generation, state, epoch,"
              " cluster_epoch, commit_seq, agent, leaf, spec_rev, decoded, rejected, filtered,"
              " raw_bytes, unwrapped_bytes, reason, at_ms, inserted, updated, skipped,"
              " rejected_at_load) VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
              " $14, $15, $16, $17, 0, 0, 0, 0) ON CONFLICT (batch_id) DO NOTHING RETURNING 1",
              &params, err);
    if (result == NULL) {
        return failed_read(d, err);
    }
    bool fresh = PQntuples(result) == 1;
    PQclear(result);
    *out_done = !fresh;
    return fresh ? PS_OK : read_entry(d, batch->id, out, err);
}

static enum ps_status
enter_range(struct dst_postgres *d, const struct dest_batch *batch, const struct dest_range *range,
            bool *out_fresh, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_id(&params, &batch->pipeline.id);
    pg_param_int(&params, (int64_t)batch->generation);
    pg_param_id(&params, &range->bp.id);
    pg_param_int(&params, (int64_t)range->from);
    pg_param_id(&params, &batch->id.id);
    pg_param_span(&params, range->key, false);
    pg_param_span(&params, range->version, false);
    pg_param_int(&params, (int64_t)range->end);
    pg_param_int(&params, range->eof);
    pg_param_span(&params, range->resume, true);
    pg_param_int(&params, (int64_t)range->records);
    PGresult *result =
        query(d,
              "INSERT INTO $S._penstock_ledger_range(pipeline_uuid, generation, bp_hash,"
              " from_offset, batch_id, key, version, end_offset, eof, resume, records)"
              " VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9 <> 0, $10, $11)"
              " ON CONFLICT DO NOTHING RETURNING 1",
              &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    *out_fresh = PQntuples(result) == 1;
    PQclear(result);
    return PS_OK;
}

/* *out_conflict: another batch owns a byte of the range. Ranges do not overlap, so only the last
 * one that begins before our end can reach into ours; `<=`: the one with our own key. */
static enum ps_status
find_owner(struct dst_postgres *d, const struct dest_batch *batch, const struct dest_range *range,
           bool *out_conflict, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_id(&params, &batch->pipeline.id);
    pg_param_int(&params, (int64_t)batch->generation);
    pg_param_id(&params, &range->bp.id);
    pg_param_int(&params, (int64_t)range->from);
    pg_param_int(&params, (int64_t)range->end);
    PGresult *result = query(d,
                             "SELECT batch_id FROM $S._penstock_ledger_range WHERE pipeline_uuid ="
                             " $1 AND generation = $2 AND bp_hash = $3 AND (from_offset = $4 OR"
                             " (from_offset < $5 AND end_offset > $4))"
                             " ORDER BY from_offset DESC LIMIT 1",
                             &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    struct ps_id owner = {{0}};
    *out_conflict = PQntuples(result) == 1 && pg_value_id(result, 0, 0, &owner);
    PQclear(result);
    if (*out_conflict) {
        char ours[PS_ID_TEXT_BYTES];
        char theirs[PS_ID_TEXT_BYTES];
        char key[256];
        (void)ps_fail_code(err, PS_REFUSED, "range_conflict",
                           "%s: batch %s: the range of %s from %llu is owned by batch %s", d->shown,
                           ps_id_text(batch->id.id, ours), log_quote(range->key, key, sizeof key),
                           (unsigned long long)range->from, ps_id_text(owner, theirs));
    }
    return PS_OK;
}

/* A part of an object may overlap others although no key is the same; a whole one begins where all
 * of its ranges would have to. */
static bool
may_overlap(const struct dest_range *range)
{
    return range->from != range->end && !(range->from == 0 && range->eof);
}

enum ps_status
dst_postgres_enter_ranges(struct dst_postgres *d, const struct dest_batch *batch,
                          bool *out_conflict, struct ps_error *err)
{
    *out_conflict = false;
#ifdef PS_MUTANT_NO_LEDGER
    return PS_OK;
#endif
    for (size_t i = 0; i < batch->range_count; i++) {
        const struct dest_range *range = &batch->ranges[i];
        bool fresh = true;
        enum ps_status status =
            may_overlap(range) ? find_owner(d, batch, range, out_conflict, err) : PS_OK;
        if (status == PS_OK && !*out_conflict) {
            status = enter_range(d, batch, range, &fresh, err);
        }
        if (status == PS_OK && !fresh) {
            status = find_owner(d, batch, range, out_conflict, err);
        }
        if (status != PS_OK || *out_conflict) {
            return status;
        }
    }
    return PS_OK;
}

enum ps_status
dst_postgres_enter_counts(struct dst_postgres *d, struct batch_id id,
                          const struct dest_counts *counts, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_id(&params, &id.id);
    pg_param_int(&params, (int64_t)counts->inserted);
    pg_param_int(&params, (int64_t)counts->updated);
    pg_param_int(&params, (int64_t)counts->skipped);
    pg_param_int(&params, (int64_t)counts->rejected_at_load);
    PGresult *result = query(d,
                             "UPDATE $S._penstock_ledger SET inserted = $2, updated = $3,"
                             " skipped = $4, rejected_at_load = $5 WHERE batch_id = $1",
                             &params, err);
    PQclear(result);
    return result == NULL ? dst_postgres_failed(err) : PS_OK;
}

/* ---- tombstone */

static enum ps_status
bury(struct dst_postgres *d, const struct dest_batch *batch, const char *reason,
     struct dest_result *out, struct ps_error *err)
{
    bool done = false;
    bool constraint = false;
    enum ps_status status = dst_postgres_begin(d, batch->id.id, err);
    if (status == PS_OK) {
        status = dst_postgres_enter(d, batch, reason, &done, out, err);
    }
    if (status != PS_OK || done) {
        return status;
    }
    *out = (struct dest_result){.outcome = DEST_CANCELLED, .counts = batch->counts};
    return dst_postgres_commit(d, &constraint, err);
}

enum ps_status
dst_postgres_tombstone(struct dest *dest, const struct dest_batch *batch, const char *reason,
                       struct dest_result *out, struct ps_error *err)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    struct dest_result result = {0};
    enum ps_status status = dst_postgres_connect(d, err);
    if (status == PS_OK) {
        status = bury(d, batch, reason, &result, err);
        dst_postgres_roll_back(d);
    }
    if (status == PS_AGAIN && strcmp(err->code, "lock_timeout") == 0) {
        struct ps_error ignored = {0};
        if (dst_postgres_end_twins(d, batch->id.id, &ignored) != PS_OK) {
            dst_postgres_disconnect(d);
        }
    }
    if (status != PS_OK) {
        dest_result_fini(&result);
        return ps_wrap(err, status, "tombstone");
    }
    *out = result;
    return PS_OK;
}

/* ---- state */

static enum ps_status
read_fence(struct dst_postgres *d, const char *name, struct dest_state *state, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, name);
    PGresult *result = query(d,
                             "SELECT pipeline_uuid, generation::int8 FROM $S._penstock_fence"
                             " WHERE pipeline_name = $1",
                             &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    enum ps_status status = PS_OK;
    state->has_fence = PQntuples(result) == 1;
    if (state->has_fence) {
        state->generation = (uint64_t)pg_value_int(result, 0, 1);
        if (!pg_value_id(result, 0, 0, &state->uuid.id)) {
            status = ps_fail(err, PS_REFUSED, "%s: the fence of %s has no uuid", d->shown, name);
        }
    }
    PQclear(result);
    return status;
}

static enum ps_status
read_totals(struct dst_postgres *d, struct dest_state *state, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_id(&params, &state->uuid.id);
    pg_param_int(&params, (int64_t)state->generation);
    PGresult *result =
        query(d,
              "SELECT count(*), sum(decoded)::int8, sum(rejected)::int8, sum(filtered)::int8,"
              " sum(inserted)::int8, sum(updated)::int8, sum(skipped)::int8,"
              " sum(rejected_at_load)::int8, sum(raw_bytes)::int8, sum(unwrapped_bytes)::int8"
              " FROM $S._penstock_ledger WHERE pipeline_uuid = $1 AND generation = $2"
              " AND state = 'L'",
              &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    uint64_t *const fields[] = {&state->batches,          &state->totals.decoded,
                                &state->totals.rejected,  &state->totals.filtered,
                                &state->totals.inserted,  &state->totals.updated,
                                &state->totals.skipped,   &state->totals.rejected_at_load,
                                &state->totals.raw_bytes, &state->totals.unwrapped_bytes};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i] = (uint64_t)pg_value_int(result, 0, (int)i);
    }
    PQclear(result);
    return PS_OK;
}

static enum ps_status
read_stamp(struct dst_postgres *d, struct dest_state *state, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_id(&params, &state->uuid.id);
    PGresult *result = query(d,
                             "SELECT cluster_epoch, commit_seq FROM $S._penstock_ledger"
                             " WHERE pipeline_uuid = $1"
                             " ORDER BY cluster_epoch DESC, commit_seq DESC LIMIT 1",
                             &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    if (PQntuples(result) == 1) {
        state->cluster_epoch = (uint64_t)pg_value_int(result, 0, 0);
        state->commit_seq = (uint64_t)pg_value_int(result, 0, 1);
    }
    PQclear(result);
    return PS_OK;
}

enum ps_status
dst_postgres_state(struct dest *dest, const char *pipeline_name, struct dest_state *out_state,
                   struct ps_error *err)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    struct dest_state state = {0};
    bool ledger = false;
    char *own = ps_xasprintf("%s._penstock_ledger", d->quoted_schema);
    enum ps_status status = dst_postgres_connect(d, err);
    if (status == PS_OK) {
        status = dst_postgres_exists(d, d->quoted, &state.table_exists, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_exists(d, own, &ledger, err);
    }
    ps_free(own);
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
