/* SPDX-License-Identifier: Apache-2.0 */
/* The rejects table: made and brought up to date, and what a replay does to its rows. */
#include <inttypes.h>

#include "agent/dest/dest_replay.h"
#include "agent/dest/dst_sqlite.h"
#include "common/clock.h"

#define REJECT_COLUMNS                                                                             \
    "batch_id BLOB NOT NULL, object, \"offset\" INTEGER NOT NULL,"                                 \
    " length INTEGER, line INTEGER, \"column\" TEXT, code TEXT NOT NULL,"                          \
    " reason TEXT NOT NULL, raw BLOB, at_ms INTEGER NOT NULL"
#define REJECT_NAMES                                                                               \
    "batch_id, object, \"offset\", length, line, \"column\", code, reason, raw, at_ms"

enum ps_status
dst_sqlite_rejects_numbered(struct dst_sqlite *d, bool *out, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d, "SELECT 1 FROM pragma_table_info(?1, 'main') WHERE name = 'edited'", err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, d->rejects_table, -1, SQLITE_STATIC);
    enum ps_status status = dst_sqlite_step(d, stmt, out, err);
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum ps_status
create_rejects(struct dst_sqlite *d, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "CREATE TABLE IF NOT EXISTS main.");
    dst_sqlite_quote(&sql, d->rejects_table);
    ps_buf_xprintf(&sql, "(n INTEGER PRIMARY KEY, " REJECT_COLUMNS
                         ", replayed_by BLOB, replayed_ms INTEGER, edited TEXT)");
    enum ps_status status = dst_sqlite_exec(d, ps_buf_str(&sql), err);
    ps_buf_fini(&sql);
    return status;
}

/* A table of an older version has no numbers of its own, and the ones that SQLite gives its rows
 * may change with a VACUUM: it is made anew with the numbers they have now. */
static enum ps_status
number_rejects(struct dst_sqlite *d, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "ALTER TABLE main.");
    dst_sqlite_quote(&sql, d->rejects_table);
    ps_buf_xprintf(&sql, " RENAME TO _penstock_rejects_before");
    enum ps_status status = dst_sqlite_exec(d, ps_buf_str(&sql), err);
    if (status == PS_OK) {
        status = create_rejects(d, err);
    }
    if (status == PS_OK) {
        ps_buf_clear(&sql);
        ps_buf_xprintf(&sql, "INSERT INTO main.");
        dst_sqlite_quote(&sql, d->rejects_table);
        ps_buf_xprintf(&sql, "(n, " REJECT_NAMES ") SELECT rowid, " REJECT_NAMES
                             " FROM main._penstock_rejects_before ORDER BY rowid");
        status = dst_sqlite_exec(d, ps_buf_str(&sql), err);
    }
    ps_buf_fini(&sql);
    return status == PS_OK ? dst_sqlite_exec(d, "DROP TABLE main._penstock_rejects_before", err)
                           : status;
}

enum ps_status
dst_sqlite_make_rejects(struct dst_sqlite *d, struct ps_error *err)
{
    bool exists = false;
    bool numbered = false;
    enum ps_status status = dst_sqlite_table_exists(d, d->rejects_table, &exists, err);
    if (status == PS_OK && !exists) {
        return create_rejects(d, err);
    }
    if (status == PS_OK) {
        status = dst_sqlite_rejects_numbered(d, &numbered, err);
    }
    return status == PS_OK && !numbered ? number_rejects(d, err) : status;
}

enum ps_status
dst_sqlite_update_rejects(struct dst_sqlite *d, struct ps_error *err)
{
    bool numbered = false;
    bool constraint = false;
    enum ps_status status = dst_sqlite_rejects_numbered(d, &numbered, err);
    if (status != PS_OK || numbered) {
        return status;
    }
    status = dst_sqlite_begin(d, err);
    if (status == PS_OK) {
        status = dst_sqlite_make_rejects(d, err);
    }
    if (status == PS_OK) {
        status = dst_sqlite_commit(d, &constraint, err);
    }
    dst_sqlite_roll_back(d);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "table %s", d->rejects_table);
}

/* ---- taking rejects up */

static sqlite3_stmt *
prepare_on_rejects(struct dst_sqlite *d, const char *before, const char *after,
                   struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "%s main.", before);
    dst_sqlite_quote(&sql, d->rejects_table);
    ps_buf_xprintf(&sql, " %s", after);
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(d, ps_buf_str(&sql), err);
    ps_buf_fini(&sql);
    return stmt;
}

enum ps_status
dst_sqlite_take_up(struct dst_sqlite *d, const struct dest_batch *batch, bool *out_open,
                   struct ps_error *err)
{
    struct dest_not_open not_open = {0};
    sqlite3_stmt *stmt = prepare_on_rejects(
        d, "UPDATE",
        "AS r SET replayed_by = ?1, replayed_ms = ?2, edited = coalesce(?6, edited) WHERE n = ?3 "
        "AND replayed_by IS NULL"
        " AND EXISTS (SELECT 1 FROM _penstock_ledger l WHERE l.batch_id = r.batch_id"
        " AND l.pipeline_uuid = ?4 AND l.generation = ?5 AND l.state = 'L')",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    dst_sqlite_bind_id(stmt, 1, &batch->id.id);
    (void)sqlite3_bind_int64(stmt, 2, ps_clock_wall_ms());
    dst_sqlite_bind_id(stmt, 4, &batch->pipeline.id);
    (void)sqlite3_bind_int64(stmt, 5, (int64_t)batch->generation);
    enum ps_status status = PS_OK;
    for (size_t i = 0; i < batch->replay_count && status == PS_OK; i++) {
        (void)sqlite3_bind_int64(stmt, 3, (int64_t)batch->replays[i].n);
        (void)sqlite3_bind_text(stmt, 6, batch->replays[i].discards ? DEST_DISCARDED : NULL, -1,
                                SQLITE_STATIC);
        int rc = sqlite3_step(stmt);
        status = rc == SQLITE_DONE ? PS_OK : dst_sqlite_fail(d, rc, "mark a reject", err);
        if (status == PS_OK && sqlite3_changes(d->db) != 1) {
            dest_not_open_add(&not_open, batch->replays[i].n);
        }
        (void)sqlite3_reset(stmt);
    }
    (void)sqlite3_finalize(stmt);
    *out_open = not_open.count == 0;
    if (status == PS_OK && !*out_open) {
        (void)dest_not_open_fail(&not_open, d->rejects_table, err);
    }
    return status;
}

enum ps_status
dst_sqlite_put_back(struct dst_sqlite *d, const struct dest_batch *batch,
                    const struct stage_reject *reject, struct ps_error *err)
{
    if (reject->range_index >= batch->replay_count) {
        return ps_fail(err, PS_BUG, "sqlite %s: a refused record that nobody replays", d->path);
    }
    const struct dest_replay *replay = &batch->replays[reject->range_index];
    sqlite3_stmt *stmt = prepare_on_rejects(
        d, "UPDATE",
        "SET replayed_by = NULL, replayed_ms = NULL, \"column\" = ?3, code = ?4, reason = ?5,"
        " at_ms = ?6, raw = CASE WHEN ?7 IS NULL THEN raw ELSE ?8 END,"
        " edited = coalesce(?7, edited) WHERE n = ?1 AND replayed_by = ?2",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_int64(stmt, 1, (int64_t)replay->n);
    dst_sqlite_bind_id(stmt, 2, &batch->id.id);
    if (reject->column.len > 0) {
        dst_sqlite_bind_text(stmt, 3, reject->column);
    }
    dst_sqlite_bind_text(stmt, 4, reject->code);
    dst_sqlite_bind_text(stmt, 5, reject->reason);
    (void)sqlite3_bind_int64(stmt, 6, ps_clock_wall_ms());
    if (replay->edited != NULL) {
        (void)sqlite3_bind_text(stmt, 7, replay->edited, -1, SQLITE_STATIC);
        dst_sqlite_bind_span(stmt, 8, replay->kept);
    }
    int rc = sqlite3_step(stmt);
    enum ps_status status =
        rc == SQLITE_DONE ? PS_OK : dst_sqlite_fail(d, rc, "put a reject back", err);
    if (status == PS_OK && sqlite3_changes(d->db) != 1) {
        status = ps_fail(err, PS_BUG, "sqlite %s: reject %" PRIu64 " was refused twice", d->path,
                         replay->n);
    }
    (void)sqlite3_finalize(stmt);
    return status;
}
