/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL's side of the ledger's protocol (agent/dest/dest_ledger.h): its wording, and one
 * connection's transactions and statements. */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/dest/dst_postgres_rows.h"
#include "common/alloc.h"

enum { LOCK_WAIT_MS = 2000 }; /* for a twin, before it is ended */

/* ---- statements */

struct arguments {
    Oid *types;
    const char **values;
    int *lengths;
    int *formats;
    uint64_t *numbers; /* big-endian, pointed to by values */
};

static void
arguments_init(struct arguments *a, const struct dest_call *call)
{
    enum { OID_BYTEA = 17, OID_INT8 = 20, OID_TEXT = 25 }; /* pg_type.dat */
    size_t count = call->count + 1;
    *a = (struct arguments){.types = ps_xcalloc(count, sizeof *a->types),
                            .values = ps_xcalloc(count, sizeof *a->values),
                            .lengths = ps_xcalloc(count, sizeof *a->lengths),
                            .formats = ps_xcalloc(count, sizeof *a->formats),
                            .numbers = ps_xcalloc(count, sizeof *a->numbers)};
    for (size_t i = 0; i < call->count; i++) {
        const struct dest_value *value = &call->values[i];
        a->formats[i] = 1;
        a->lengths[i] = (int)value->bytes.len;
        a->values[i] = value->bytes.len == 0 ? "" : (const char *)value->bytes.ptr;
        a->types[i] = value->kind == VALUE_BYTES ? OID_BYTEA : OID_TEXT;
        if (value->kind == VALUE_INT) {
            a->numbers[i] = htobe64((uint64_t)value->integer);
            a->values[i] = (const char *)&a->numbers[i];
            a->lengths[i] = sizeof a->numbers[i];
            a->types[i] = OID_INT8;
        } else if (value->kind == VALUE_NULL) {
            a->values[i] = NULL;
            a->types[i] = 0; /* as the column has it */
        }
    }
}

static void
arguments_fini(struct arguments *a)
{
    ps_free(a->types);
    ps_free((void *)a->values);
    ps_free(a->lengths);
    ps_free(a->formats);
    ps_free(a->numbers);
}

/* "?" as "$1", "$2", … */
static void
number_arguments(const char *sql, struct ps_buf *out)
{
    int n = 0;
    for (const char *at = sql; *at != '\0';) {
        size_t len = strcspn(at, "?");
        ps_buf_xappend(out, at, len);
        at += len;
        if (*at == '?') {
            ps_buf_xprintf(out, "$%d", ++n);
            at++;
        }
    }
}

enum { ROW_VALUES = 16 };

static enum ps_status
each_row(const PGresult *result, const struct dest_call *call, struct ps_error *err)
{
    int columns = PQnfields(result) < ROW_VALUES ? PQnfields(result) : ROW_VALUES;
    enum ps_status status = PS_OK;
    for (int i = 0; status == PS_OK && i < PQntuples(result); i++) {
        struct dest_value row[ROW_VALUES] = {0};
        for (int k = 0; k < columns; k++) {
            bool null = PQgetisnull(result, i, k) != 0;
            row[k] = (struct dest_value){.kind = null ? VALUE_NULL : VALUE_BYTES,
                                         .integer = pg_value_int(result, i, k),
                                         .bytes = pg_value_span(result, i, k)};
        }
        status = call->each(call->ctx, row, err);
    }
    return status;
}

static enum ps_status
run(void *driver, struct dest_call *call, struct ps_error *err)
{
    struct dst_postgres *d = driver;
    struct ps_buf sql = PS_BUF_INIT;
    struct arguments a;
    PGresult *result = NULL;
    number_arguments(call->sql, &sql);
    arguments_init(&a, call);
    int sent = PQsendQueryParams(d->conn, ps_buf_str(&sql), (int)call->count, a.types, a.values,
                                 a.lengths, a.formats, 1);
    arguments_fini(&a);
    ps_buf_fini(&sql);
    enum ps_status status =
        sent == 0 ? dst_postgres_fail(d, NULL, "send", err) : dst_postgres_answer(d, &result, err);
    if (status == PS_OK) {
        ExecStatusType said = PQresultStatus(result);
        if (said != PGRES_TUPLES_OK && said != PGRES_COMMAND_OK) {
            char what[80];
            snprintf(what, sizeof what, "%.60s", call->sql);
            status = dst_postgres_fail(d, result, what, err);
        }
    }
    if (status == PS_OK) {
        call->changed = strtoull(PQcmdTuples(result), NULL, 10);
        status = call->each == NULL ? PS_OK : each_row(result, call, err);
    }
    PQclear(result);
    return status;
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
        *out_constraint = dst_postgres_copy_is_row_error(state);
        if (!*out_constraint && status != PS_FULL) {
            status = err->status = PS_AGAIN;
        }
    }
    PQclear(result);
    return status;
}

/* ---- the core's calls */

static enum ps_status
op_connect(void *driver, struct ps_error *err)
{
    return dst_postgres_connect(driver, err);
}

static void
op_disconnect(void *driver)
{
    dst_postgres_disconnect(driver);
}

static enum ps_status
op_exists(void *driver, const char *quoted, bool *out, struct ps_error *err)
{
    return dst_postgres_exists(driver, quoted, out, err);
}

static enum ps_status
op_replayable(void *driver, bool add, bool *out, struct ps_error *err)
{
    return dst_postgres_replayable(driver, add, out, err);
}

static enum ps_status
op_begin(void *driver, struct ps_id name, struct ps_error *err)
{
    return dst_postgres_begin(driver, name, err);
}

static enum ps_status
op_end_twins(void *driver, struct ps_id name, struct ps_error *err)
{
    return dst_postgres_end_twins(driver, name, err);
}

static enum ps_status
op_commit(void *driver, bool *out_constraint, struct ps_error *err)
{
    return dst_postgres_commit(driver, out_constraint, err);
}

static void
op_roll_back(void *driver)
{
    dst_postgres_roll_back(driver);
}

static enum ps_status
op_plan(void *driver, const struct spec_column *columns, size_t count, struct ps_error *err)
{
    return dst_postgres_plan(driver, columns, count, err);
}

static enum ps_status
op_hold(void *driver, struct ps_error *err)
{
    /* The rows wait for whom they must: the server finds what waits for each other. */
    enum ps_status status = dst_postgres_exec(driver, "SET LOCAL lock_timeout = 0", NULL, err);
    return status == PS_OK ? dst_postgres_hold_table(driver, err) : status;
}

/* The lock is the transaction's: it ends with COMMIT. */
static enum ps_status
op_take_turn(void *driver, struct ps_id pipeline, struct ps_error *err)
{
    struct pg_params params = {0};
    uint64_t key = 0;
    memcpy(&key, pipeline.b, sizeof key);
    pg_param_int(&params, (int64_t)key);
    return dst_postgres_exec(driver, "SELECT pg_advisory_xact_lock($1)", &params, err);
}

static const struct dest_ledger_ops ops = {
    .quote = "\"",
    .integer = "bigint",
    .share_lock = " FOR SHARE",
    .if_absent = " ON CONFLICT DO NOTHING",
    .no_table = "(42P01)",
    .number = "n",
    .connect = op_connect,
    .disconnect = op_disconnect,
    .exists = op_exists,
    .replayable = op_replayable,
    .run = run,
    .begin = op_begin,
    .end_twins = op_end_twins,
    .commit = op_commit,
    .roll_back = op_roll_back,
    .plan = op_plan,
    .hold = op_hold,
    .take_turn = op_take_turn,
};

static const struct dest_ledger *
ledger_of(struct dst_postgres *d)
{
    if (d->ledger_prefix == NULL) {
        d->ledger_prefix = ps_xasprintf("%s.", d->quoted_schema);
        d->ledger_place = ps_xasprintf("schema %s", d->schema);
        d->ledger = (struct dest_ledger){.ops = &ops,
                                         .driver = d,
                                         .env = &d->env,
                                         .shown = d->shown,
                                         .place = d->ledger_place,
                                         .prefix = d->ledger_prefix,
                                         .table = d->quoted,
                                         .rejects = d->rejects,
                                         .name = d->name,
                                         .tolerance = d->tolerance};
    }
    return &d->ledger;
}

enum ps_status
dst_postgres_set_fence(struct dst_postgres *d, struct pipeline_uuid uuid, uint64_t generation,
                       struct ps_error *err)
{
    return dest_ledger_set_fence(ledger_of(d), uuid, generation, err);
}

/* ---- the driver's operations */

static enum ps_status
insert_rows(void *ctx, struct dest_way way, bool *out_refused, struct ps_error *err)
{
    struct dst_postgres_rows *rows = ctx;
    rows->careful = way.careful;
    rows->at_once = way.at_once;
    return dst_postgres_rows_insert(rows, out_refused, err);
}

static enum ps_status
reject_rows(void *ctx, struct ps_error *err)
{
    return dst_postgres_rows_reject(ctx, err);
}

enum ps_status
dst_postgres_load(struct dest *dest, const struct spec_column *columns, size_t count,
                  const struct dest_batch *batch, struct dest_result *out, struct ps_error *err)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    struct dst_postgres_rows rows = {.d = d, .batch = batch};
    const struct dest_rows half = {.columns = columns,
                                   .column_count = count,
                                   .batch = batch,
                                   .ctx = &rows,
                                   .insert = insert_rows,
                                   .reject = reject_rows,
                                   .counts = &rows.counts,
                                   .late = &rows.late};
    enum ps_status status = dest_ledger_load(ledger_of(d), &half, out, err);
    dst_postgres_rows_fini(&rows);
    return status;
}

enum ps_status
dst_postgres_tombstone(struct dest *dest, const struct dest_batch *batch, const char *reason,
                       struct dest_result *out, struct ps_error *err)
{
    return dest_ledger_tombstone(ledger_of(dst_postgres_of(dest)), batch, reason, out, err);
}

enum ps_status
dst_postgres_state(struct dest *dest, const char *pipeline_name, struct dest_state *out_state,
                   struct ps_error *err)
{
    return dest_ledger_state(ledger_of(dst_postgres_of(dest)), pipeline_name, out_state, err);
}

enum ps_status
dst_postgres_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each, void *ctx,
                    struct ps_error *err)
{
    return dest_ledger_ranges(ledger_of(dst_postgres_of(dest)), page, each, ctx, err);
}

enum ps_status
dst_postgres_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each, void *ctx,
                     struct ps_error *err)
{
    return dest_ledger_rejects(ledger_of(dst_postgres_of(dest)), page, each, ctx, err);
}

enum ps_status
dst_postgres_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each, void *ctx,
                    struct ps_error *err)
{
    return dest_ledger_batch_ranges(ledger_of(dst_postgres_of(dest)), batch, each, ctx, err);
}
