/* SPDX-License-Identifier: Apache-2.0 */
/* MySQL's side of the ledger's protocol (agent/dest/dest_ledger.h): its wording, and one
 * connection's transactions and statements. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/dest/dst_mysql_rows.h"
#include "common/alloc.h"

enum { TWIN_SECONDS = 2, TURN_SECONDS = 60, ROW_VALUES = 16 };

/* ---- statements */

static void
put_value(const struct dest_value *value, struct ps_buf *sql)
{
    switch (value->kind) {
    case VALUE_NULL:
        ps_buf_xprintf(sql, "NULL");
        return;
    case VALUE_INT:
        ps_buf_xprintf(sql, "%lld", (long long)value->integer);
        return;
    case VALUE_TEXT:
    case VALUE_BYTES:
        dst_mysql_literal(sql, value->bytes, false);
        return;
    }
}

static enum ps_status
each_row(MYSQL_RES *result, const struct dest_call *call, struct ps_error *err)
{
    const MYSQL_FIELD *fields = mysql_fetch_fields(result);
    unsigned columns = mysql_num_fields(result);
    enum ps_status status = PS_OK;
    columns = columns < ROW_VALUES ? columns : ROW_VALUES;
    for (MYSQL_ROW texts; status == PS_OK && (texts = mysql_fetch_row(result)) != NULL;) {
        struct dest_value row[ROW_VALUES] = {0};
        const unsigned long *lengths = mysql_fetch_lengths(result);
        for (unsigned i = 0; i < columns; i++) {
            row[i].bytes = ps_span(texts[i], texts[i] == NULL ? 0 : lengths[i]);
            row[i].kind = texts[i] == NULL ? VALUE_NULL : VALUE_BYTES;
            if (texts[i] != NULL && IS_NUM(fields[i].type)) {
                row[i].kind = VALUE_INT;
                row[i].integer = strtoll(texts[i], NULL, 10);
            }
        }
        status = call->each(call->ctx, row, err);
    }
    return status;
}

static enum ps_status
op_run(void *driver, struct dest_call *call, struct ps_error *err)
{
    struct dst_mysql *d = driver;
    struct ps_buf sql = PS_BUF_INIT;
    size_t n = 0;
    for (const char *at = call->sql; *at != '\0';) {
        size_t len = strcspn(at, "?");
        ps_buf_xappend(&sql, at, len);
        at += len;
        if (*at == '?') {
            put_value(&call->values[n++], &sql);
            at++;
        }
    }
    MYSQL_RES *result = NULL;
    enum ps_status status = dst_mysql_query(d, ps_buf_str(&sql), sql.len, &result, err);
    ps_buf_fini(&sql);
    if (status == PS_OK) {
        my_ulonglong changed = result == NULL ? mysql_affected_rows(d->conn) : 0;
        call->changed = changed;
        status = call->each == NULL || result == NULL ? PS_OK : each_row(result, call, err);
    } else if (call->if_absent && d->conn != NULL && mysql_errno(d->conn) == ER_DUP_ENTRY) {
        call->changed = 0;
        status = PS_OK;
    }
    mysql_free_result(result);
    return status;
}

/* ---- transactions */

static void
lock_name(struct ps_id name, char out[64])
{
    char id[PS_ID_TEXT_BYTES];
    snprintf(out, 64, "penstock %s", ps_id_text(name, id));
}

/* The lock is the session's name: a successor learns from it which session has it, also while that
 * session waits for rows of a client that is stopped. */
static enum ps_status
take_name(struct dst_mysql *d, struct ps_id name, struct ps_error *err)
{
    char lock[64];
    char sql[160];
    bool found = false;
    int64_t taken = 0;
    lock_name(name, lock);
    snprintf(sql, sizeof sql, "SELECT GET_LOCK('%s', %d)", lock, TWIN_SECONDS);
    enum ps_status status = dst_mysql_number(d, sql, &found, &taken, err);
    if (status == PS_OK && taken != 1) {
        return ps_fail_code(err, PS_AGAIN, "lock_timeout", "%s: another session is at work on %s",
                            d->shown, lock);
    }
    d->has_lock = status == PS_OK;
    return status;
}

enum ps_status
dst_mysql_begin(struct dst_mysql *d, struct ps_id name, struct ps_error *err)
{
    lock_name(name, d->feed.name);
    enum ps_status status = d->dialect->has_locks ? take_name(d, name, err) : PS_OK;
    if (status == PS_OK) {
        status = dst_mysql_exec(d, "START TRANSACTION", err);
        d->in_transaction = status == PS_OK;
    }
    return status;
}

static enum ps_status
kill_session(struct dst_mysql *d, int64_t session, struct ps_error *err)
{
    char sql[64];
    snprintf(sql, sizeof sql, "KILL %lld", (long long)session);
    enum ps_status status = dst_mysql_exec(d, sql, err);
    bool gone = status != PS_OK && d->conn != NULL && mysql_errno(d->conn) == ER_NO_SUCH_THREAD;
    return gone ? PS_OK : status;
}

enum ps_status
dst_mysql_end_twins(struct dst_mysql *d, struct ps_id name, struct ps_error *err)
{
    char lock[64];
    char sql[300];
    bool found = false;
    int64_t session = 0;
    lock_name(name, lock);
    if (d->dialect->has_locks) {
        snprintf(sql, sizeof sql, "SELECT IS_USED_LOCK('%s')", lock);
    } else {
        snprintf(sql, sizeof sql,
                 "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
                 " AND info LIKE '%%INFILE ''%s''%%' LIMIT 1",
                 lock);
    }
    enum ps_status status = dst_mysql_number(d, sql, &found, &session, err);
    return status == PS_OK && found ? kill_session(d, session, err) : status;
}

static enum ps_status
op_commit(void *driver, bool *out_constraint, struct ps_error *err)
{
    struct dst_mysql *d = driver;
    *out_constraint = false;
    enum ps_status status = dst_mysql_exec(d, "COMMIT", err);
    d->in_transaction = status != PS_OK;
    if (status != PS_OK && status != PS_FULL && status != PS_CANCELED) {
        status = err->status = PS_AGAIN;
    }
    return status;
}

/* ---- the core's calls */

static enum ps_status
op_connect(void *driver, struct ps_error *err)
{
    return dst_mysql_connect(driver, err);
}

static void
op_disconnect(void *driver)
{
    dst_mysql_disconnect(driver);
}

static enum ps_status
op_exists(void *driver, const char *quoted, bool *out, struct ps_error *err)
{
    return dst_mysql_exists(driver, quoted, out, err);
}

static enum ps_status
take_count(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    (void)err;
    *(int64_t *)ctx = row[0].integer;
    return PS_OK;
}

static enum ps_status
op_replayable(void *driver, bool add, bool *out, struct ps_error *err)
{
    struct dst_mysql *d = driver;
    char *table = ps_xasprintf("%s_rejects", d->table);
    int64_t found = 0;
    const struct dest_value values[] = {{.kind = VALUE_TEXT, .bytes = ps_span_str(d->database)},
                                        {.kind = VALUE_TEXT, .bytes = ps_span_str(table)}};
    struct dest_call call = {
        .sql = "SELECT count(*) FROM information_schema.columns WHERE table_schema = ?"
               " AND table_name = ? AND column_name IN ('replayed_by', 'replayed_ms', 'edited')",
        .values = values,
        .count = 2,
        .each = take_count,
        .ctx = &found};
    enum ps_status status = op_run(driver, &call, err);
    ps_free(table);
    *out = status == PS_OK && found == 3;
    if (status != PS_OK || *out || !add) {
        return status;
    }
    char *sql = ps_xasprintf("ALTER TABLE %s ADD COLUMN replayed_by VARBINARY(16),"
                             " ADD COLUMN replayed_ms BIGINT, ADD COLUMN edited VARCHAR(16)",
                             d->rejects);
    status = dst_mysql_exec(d, sql, err);
    ps_free(sql);
    *out = status == PS_OK;
    return status;
}

static enum ps_status
op_begin(void *driver, struct ps_id name, struct ps_error *err)
{
    return dst_mysql_begin(driver, name, err);
}

static enum ps_status
op_end_twins(void *driver, struct ps_id name, struct ps_error *err)
{
    return dst_mysql_end_twins(driver, name, err);
}

static void
op_roll_back(void *driver)
{
    dst_mysql_roll_back(driver);
}

static enum ps_status
op_plan(void *driver, const struct spec_column *columns, size_t count, struct ps_error *err)
{
    return dst_mysql_plan(driver, columns, count, err);
}

static enum ps_status
op_hold(void *driver, struct ps_error *err)
{
    return dst_mysql_hold(driver, err);
}

/* Given back with the session's name, behind COMMIT. */
static enum ps_status
op_take_turn(void *driver, struct ps_id pipeline, struct ps_error *err)
{
    struct dst_mysql *d = driver;
    char id[PS_ID_TEXT_BYTES];
    char sql[160];
    bool found = false;
    int64_t taken = 0;
    snprintf(sql, sizeof sql, "SELECT GET_LOCK('penstock turn %s', %d)", ps_id_text(pipeline, id),
             TURN_SECONDS);
    enum ps_status status = dst_mysql_number(d, sql, &found, &taken, err);
    return status != PS_OK || taken == 1
               ? status
               : ps_fail_code(err, PS_AGAIN, "turn_timeout",
                              "%s: another session is in its COMMIT since %d s", d->shown,
                              TURN_SECONDS);
}

#define OPS(lock, turn)                                                                            \
    {                                                                                              \
        .quote = "`", .integer = "SIGNED", .share_lock = (lock), .if_absent = "",                  \
        .no_table = "(1146)", .number = "n", .connect = op_connect, .disconnect = op_disconnect,   \
        .exists = op_exists, .replayable = op_replayable, .run = op_run, .begin = op_begin,        \
        .end_twins = op_end_twins, .commit = op_commit, .roll_back = op_roll_back,                 \
        .plan = op_plan, .hold = op_hold, .take_turn = (turn),                                     \
    }

const struct dest_ledger *
dst_mysql_ledger_of(struct dst_mysql *d)
{
    static const struct dest_ledger_ops shared = OPS(" LOCK IN SHARE MODE", op_take_turn);
    static const struct dest_ledger_ops exclusive = OPS(" FOR UPDATE", NULL);
    d->ledger = (struct dest_ledger){.ops = d->dialect->has_shared_lock ? &shared : &exclusive,
                                     .driver = d,
                                     .env = &d->env,
                                     .shown = d->shown,
                                     .place = d->place,
                                     .prefix = d->prefix,
                                     .table = d->quoted,
                                     .rejects = d->rejects,
                                     .name = d->name,
                                     .tolerance = d->tolerance};
    return &d->ledger;
}

/* ---- the driver's operations */

static enum ps_status
insert_rows(void *ctx, struct dest_way way, bool *out_refused, struct ps_error *err)
{
    struct dst_mysql_rows *rows = ctx;
    rows->careful = way.careful;
    return dst_mysql_rows_insert(rows, out_refused, err);
}

static enum ps_status
reject_rows(void *ctx, struct ps_error *err)
{
    return dst_mysql_rows_reject(ctx, err);
}

enum ps_status
dst_mysql_load(struct dest *dest, const struct spec_column *columns, size_t count,
               const struct dest_batch *batch, struct dest_result *out, struct ps_error *err)
{
    struct dst_mysql *d = dst_mysql_of(dest);
    struct dst_mysql_rows rows = {.d = d, .batch = batch};
    const struct dest_rows half = {.columns = columns,
                                   .column_count = count,
                                   .batch = batch,
                                   .ctx = &rows,
                                   .insert = insert_rows,
                                   .reject = reject_rows,
                                   .counts = &rows.counts,
                                   .late = &rows.late};
    enum ps_status status = dest_ledger_load(dst_mysql_ledger_of(d), &half, out, err);
    dst_mysql_rows_fini(&rows);
    return status;
}

enum ps_status
dst_mysql_tombstone(struct dest *dest, const struct dest_batch *batch, const char *reason,
                    struct dest_result *out, struct ps_error *err)
{
    return dest_ledger_tombstone(dst_mysql_ledger_of(dst_mysql_of(dest)), batch, reason, out, err);
}

enum ps_status
dst_mysql_state(struct dest *dest, const char *pipeline_name, struct dest_state *out_state,
                struct ps_error *err)
{
    return dest_ledger_state(dst_mysql_ledger_of(dst_mysql_of(dest)), pipeline_name, out_state,
                             err);
}

enum ps_status
dst_mysql_ledger(struct dest *dest, struct dest_page *page, dest_range_fn each, void *ctx,
                 struct ps_error *err)
{
    return dest_ledger_ranges(dst_mysql_ledger_of(dst_mysql_of(dest)), page, each, ctx, err);
}

enum ps_status
dst_mysql_rejects(struct dest *dest, struct dest_page *page, dest_reject_fn each, void *ctx,
                  struct ps_error *err)
{
    return dest_ledger_rejects(dst_mysql_ledger_of(dst_mysql_of(dest)), page, each, ctx, err);
}

enum ps_status
dst_mysql_ranges(struct dest *dest, struct batch_id batch, dest_range_fn each, void *ctx,
                 struct ps_error *err)
{
    return dest_ledger_batch_ranges(dst_mysql_ledger_of(dst_mysql_of(dest)), batch, each, ctx, err);
}
