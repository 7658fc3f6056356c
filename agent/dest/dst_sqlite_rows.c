/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dst_sqlite_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"

enum {
    /* One piece of a batch: small enough to stay in the processor's cache. */
    IMAGE_LEAST_BYTES = 1024 * 1024,
    /* So many blocks that no image takes, and this batch tries no more. */
    MISFITS_MAX = 4,
};

/* The table said no to one row, and will again; anything else is about the file. */
static bool
is_row_error(int rc)
{
    int primary = rc & 0xff;
    return primary == SQLITE_CONSTRAINT || primary == SQLITE_MISMATCH || primary == SQLITE_TOOBIG;
}

static enum ps_status
insert_failed(struct dst_sqlite *d, int rc, struct ps_error *err)
{
    if (d->feed.err.status != PS_OK) {
        if (err != NULL) {
            *err = d->feed.err;
        }
        return d->feed.err.status;
    }
    if (is_row_error(rc) && sqlite3_get_autocommit(d->db)) {
        return ps_fail_code(err, PS_REFUSED, "table_rolls_back",
                            "sqlite %s: table \"%s\" rolls the whole transaction back on a "
                            "conflict: %s",
                            d->path, d->table, sqlite3_errmsg(d->db));
    }
    return dst_sqlite_fail(d, rc, "insert", err);
}

/* ---- what the table refused */

/* The name after the last dot of "NOT NULL constraint failed: t.a"; nothing where there are
 * several. */
static struct ps_span
column_of(const char *reason)
{
    const char *dot = strrchr(reason, '.');
    if (dot == NULL || strchr(reason, ',') != NULL ||
        strstr(reason, "constraint failed: ") == NULL) {
        return ps_span(NULL, 0);
    }
    return ps_span_str(dot + 1);
}

/* The column in whose NULL the table's NOT NULL failed; NULL: it was something else. */
static const struct dst_sqlite_column *
null_column(const struct dst_sqlite *d, int rc, const char *reason)
{
    static const char words[] = "NOT NULL constraint failed: ";
    size_t table_len = strlen(d->table);
    const char *at = reason + sizeof words - 1;
    if (rc != SQLITE_CONSTRAINT_NOTNULL || strncmp(reason, words, sizeof words - 1) != 0 ||
        sqlite3_strnicmp(at, d->table, (int)table_len) != 0 || at[table_len] != '.') {
        return NULL;
    }
    for (uint32_t i = 0; i < d->ncols; i++) {
        const struct dst_sqlite_column *column = &d->columns[i];
        if (d->feed.cells[column->cell].tag == CELL_NULL &&
            strcmp(column->name, at + table_len + 1) == 0) {
            return column;
        }
    }
    return NULL;
}

static enum ps_status
reject_row(struct dst_sqlite_rows *rows, const char *code, struct ps_span column,
           const char *reason, struct ps_error *err)
{
    const struct dest_late_row row = {
        .meta = &rows->d->feed.meta, .cells = rows->d->feed.cells, .ncols = rows->d->ncols};
    enum ps_status status = dest_late_add(&rows->late, &row, code, column, reason, err);
    rows->counts.rejected_at_load = rows->late.count;
    return status;
}

/* ---- one row */

static int
bind_cells(struct dst_sqlite *d)
{
    int rc = SQLITE_OK;
    for (uint32_t i = 0; i < d->ncols && rc == SQLITE_OK; i++) {
        const struct cell *cell = &d->feed.cells[d->columns[i].cell];
        int at = (int)i + 1;
        switch (cell->tag) {
        case CELL_NULL:
            rc = sqlite3_bind_null(d->insert_row, at);
            break;
        case CELL_INT:
            rc = sqlite3_bind_int64(d->insert_row, at, cell->integer);
            break;
        case CELL_REAL:
            rc = sqlite3_bind_double(d->insert_row, at, cell->real);
            break;
        case CELL_TEXT:
        case CELL_SHORT_TEXT:
            rc = sqlite3_bind_text64(d->insert_row, at, (const char *)cell->ptr, cell->len,
                                     SQLITE_STATIC, SQLITE_UTF8);
            break;
        case CELL_BLOB:
            rc = sqlite3_bind_blob64(d->insert_row, at, cell->ptr, cell->len, SQLITE_STATIC);
            break;
        }
    }
    return rc;
}

static enum ps_status
step_once(struct dst_sqlite *d, enum dst_sqlite_sql which, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_stmt(d, which, err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    bool row = false;
    enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
    (void)sqlite3_reset(stmt);
    return status;
}

/* The insert itself, with a savepoint where only that can take back what a deferred constraint
 * will refuse. *out_rc: SQLITE_DONE, or why the table said no. */
static enum ps_status
try_row(struct dst_sqlite_rows *rows, int *out_rc, char *reason, size_t reason_bytes,
        struct ps_error *err)
{
    struct dst_sqlite *d = rows->d;
    enum ps_status status = rows->one_by_one ? step_once(d, SQL_ROW_SAVE, err) : PS_OK;
    if (status != PS_OK) {
        return status;
    }
    int rc = bind_cells(d);
    rc = rc == SQLITE_OK ? sqlite3_step(d->insert_row) : rc;
    snprintf(reason, reason_bytes, "%s", rc == SQLITE_DONE ? "" : sqlite3_errmsg(d->db));
    if (rc != SQLITE_DONE && (!is_row_error(rc) || sqlite3_get_autocommit(d->db))) {
        status = insert_failed(d, rc, err);
        (void)sqlite3_reset(d->insert_row);
        return status;
    }
    (void)sqlite3_reset(d->insert_row);
    int orphan = 0;
    int highest = 0;
    if (rows->one_by_one && rc == SQLITE_DONE &&
        sqlite3_db_status(d->db, SQLITE_DBSTATUS_DEFERRED_FKS, &orphan, &highest, 0) == SQLITE_OK &&
        orphan != 0) {
        rc = SQLITE_CONSTRAINT_FOREIGNKEY;
        snprintf(reason, reason_bytes, "FOREIGN KEY constraint failed");
        status = step_once(d, SQL_ROW_BACK, err);
    }
    if (status == PS_OK && rows->one_by_one) {
        status = step_once(d, SQL_ROW_RELEASE, err);
    }
    *out_rc = rc;
    return status;
}

/* What the last statement did with so many rows; those that updated counted themselves. */
static void
account(struct dst_sqlite_rows *rows, uint64_t given, uint64_t upserts_before)
{
    uint64_t changed = (uint64_t)sqlite3_changes64(rows->d->db);
    uint64_t updated = rows->d->upserts - upserts_before;
    PS_ASSERT(changed <= given && updated <= changed);
    rows->counts.updated += updated;
    rows->counts.inserted += changed - updated;
    rows->counts.skipped += given - changed;
}

static enum ps_status
keep_orphan(struct dst_sqlite_rows *rows, uint64_t place, struct ps_error *err)
{
    if (rows->orphan_count == rows->orphan_cap) {
        size_t cap = rows->orphan_cap == 0 ? 64 : rows->orphan_cap * 2;
        uint64_t *orphans = ps_realloc(rows->orphans, cap * sizeof *orphans);
        if (orphans == NULL) {
            return ps_fail(err, PS_FULL, "sqlite: out of memory");
        }
        rows->orphans = orphans;
        rows->orphan_cap = cap;
    }
    rows->orphans[rows->orphan_count++] = place;
    return PS_OK;
}

/* d->feed.cells is the row. A missing parent may come later in the batch, so such a row is kept as
 * an orphan until the last chance. */
static enum ps_status
insert_row(struct dst_sqlite_rows *rows, uint64_t place, bool last_chance, struct ps_error *err)
{
    struct dst_sqlite *d = rows->d;
    for (uint32_t i = 0; d->any_check && i < d->ncols; i++) {
        const struct dst_sqlite_column *column = &d->columns[i];
        const char *why = dst_sqlite_value_check(column->check, &d->feed.cells[column->cell]);
        if (why != NULL) {
            return reject_row(rows, "affinity", ps_span_str(column->name), why, err);
        }
    }
    uint64_t upserts = d->upserts;
    int rc = SQLITE_OK;
    char reason[400];
    enum ps_status status = try_row(rows, &rc, reason, sizeof reason, err);
    if (status != PS_OK) {
        return status;
    }
    if (rc == SQLITE_DONE) {
        account(rows, 1, upserts);
        return PS_OK;
    }
    d->upserts = upserts;
    if (rc == SQLITE_CONSTRAINT_FOREIGNKEY && !last_chance) {
        return keep_orphan(rows, place, err);
    }
    const struct dst_sqlite_column *null = null_column(d, rc, reason);
    return null != NULL ? reject_row(rows, "type", ps_span_str(null->name), dest_late_null, err)
                        : reject_row(rows, "constraint", column_of(reason), reason, err);
}

/* ---- one block */

static enum ps_status
insert_singly(struct dst_sqlite_rows *rows, const struct block *block, uint64_t place,
              struct ps_error *err)
{
    struct dst_sqlite_feed *feed = &rows->d->feed;
    struct block_cursor cursor;
    block_cursor_init(&cursor, block);
    for (bool more = true;; place++) {
        enum ps_status status = block_cursor_next(&cursor, &feed->meta, feed->cells, &more, err);
        if (status != PS_OK || !more) {
            return status;
        }
        status = insert_row(rows, place, false, err);
        if (status != PS_OK) {
            return status;
        }
    }
}

static enum ps_status
needs_single_rows(struct dst_sqlite *d, const struct block *block, bool *out, struct ps_error *err)
{
    *out = false;
    if (!d->any_check) {
        return PS_OK;
    }
    struct block_cursor cursor;
    block_cursor_init(&cursor, block);
    for (bool more = true; !*out;) {
        enum ps_status status =
            block_cursor_next(&cursor, &d->feed.meta, d->feed.cells, &more, err);
        if (status != PS_OK || !more) {
            return status;
        }
        for (uint32_t i = 0; i < d->ncols && !*out; i++) {
            const struct dst_sqlite_column *column = &d->columns[i];
            *out = dst_sqlite_value_check(column->check, &d->feed.cells[column->cell]) != NULL;
        }
    }
    return PS_OK;
}

/* The whole block in one statement; what the table refuses takes only this block back, which then
 * goes in row by row so that only the guilty rows are rejected. */
static enum ps_status
insert_block(struct dst_sqlite_rows *rows, const struct block *block, uint64_t place,
             struct ps_error *err)
{
    struct dst_sqlite *d = rows->d;
    bool singly = rows->one_by_one;
    enum ps_status status = singly ? PS_OK : needs_single_rows(d, block, &singly, err);
    if (status != PS_OK) {
        return status;
    }
    if (!singly) {
        uint64_t upserts = d->upserts;
        d->feed.block = block;
        d->feed.err.status = PS_OK;
        int rc = sqlite3_step(d->insert_block);
        d->feed.block = NULL;
        if (rc == SQLITE_DONE) {
            (void)sqlite3_reset(d->insert_block);
            account(rows, block->rows, upserts);
            return PS_OK;
        }
        if (!is_row_error(rc) || sqlite3_get_autocommit(d->db)) {
            status = insert_failed(d, rc, err);
            (void)sqlite3_reset(d->insert_block);
            return status;
        }
        (void)sqlite3_reset(d->insert_block);
        d->upserts = upserts;
    }
    d->feed.err.status = PS_OK;
    return insert_singly(rows, block, place, err);
}

/* ---- whole blocks through the image */

/* What the image holds goes into the table. */
static enum ps_status
flush_image(struct dst_sqlite_rows *rows, struct ps_error *err)
{
    struct dst_sqlite *d = rows->d;
    uint64_t given = rows->in_image;
    if (given == 0) {
        return PS_OK;
    }
    rows->in_image = 0;
    uint32_t table = dst_sqlite_image_finish(d->image);
    sqlite3_stmt *stmt = dst_sqlite_bulk_stmt(d, table, err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    int rc = sqlite3_step(stmt);
    enum ps_status status = PS_OK;
    if (rc != SQLITE_DONE) {
        d->image_on = false; /* run again, it goes without */
        status = dst_sqlite_fail(d, rc, "insert", err);
        status = is_row_error(rc) ? (err == NULL ? PS_AGAIN : (err->status = PS_AGAIN)) : status;
    }
    (void)sqlite3_reset(stmt);
    dst_sqlite_image_next(d->image);
    if (status == PS_OK && (uint64_t)sqlite3_changes64(d->db) != given) {
        d->image_on = false;
        return ps_fail(err, PS_BUG, "sqlite %s: %lld of %" PRIu64 " rows were transferred", d->path,
                       (long long)sqlite3_changes64(d->db), given);
    }
    rows->counts.inserted += status == PS_OK ? given : 0;
    return status;
}

/* *out_taken: the block is in the image. Order is kept: before a block that goes another way, the
 * image is flushed. */
static enum ps_status
try_image(struct dst_sqlite_rows *rows, const struct block *block, bool *out_taken,
          struct ps_error *err)
{
    struct dst_sqlite *d = rows->d;
    *out_taken = false;
    enum ps_status status = PS_OK;
    if (d->image_on && !rows->one_by_one && rows->misfits < MISFITS_MAX && block->rows > 0 &&
        dst_sqlite_image_has_room(d->image)) {
        status = dst_sqlite_image_add(d->image, block, d->feed.cells, out_taken, err);
        rows->misfits += status == PS_OK && !*out_taken;
    }
    if (*out_taken) {
        rows->in_image += block->rows;
    }
    if (status == PS_OK &&
        (!*out_taken || dst_sqlite_image_bytes(d->image) >= rows->image_target)) {
        status = flush_image(rows, err);
    }
    return status;
}

/* ---- the batch */

/* The orphans of the pass before, once more in their order. */
static enum ps_status
adopt_orphans(struct dst_sqlite_rows *rows, bool last_chance, struct ps_error *err)
{
    struct dst_sqlite_feed *feed = &rows->d->feed;
    uint64_t *waiting = rows->orphans;
    size_t count = rows->orphan_count;
    rows->orphans = NULL;
    rows->orphan_count = 0;
    rows->orphan_cap = 0;
    stage_batch_rewind(rows->batch->rows);
    enum ps_status status = PS_OK;
    uint64_t place = 0;
    size_t next = 0;
    while (status == PS_OK && next < count) {
        const struct block *block = NULL;
        status = stage_batch_next(rows->batch->rows, &block, err);
        if (status != PS_OK || block == NULL) {
            break;
        }
        if (waiting[next] >= place + block->rows) {
            place += block->rows;
            continue;
        }
        struct block_cursor cursor;
        block_cursor_init(&cursor, block);
        for (bool more = true; status == PS_OK && next < count; place++) {
            status = block_cursor_next(&cursor, &feed->meta, feed->cells, &more, err);
            if (status != PS_OK || !more) {
                break;
            }
            if (waiting[next] == place) {
                next++;
                status = insert_row(rows, place, last_chance, err);
            }
        }
        if (next == count) {
            break;
        }
    }
    ps_free(waiting);
    return status;
}

enum ps_status
dst_sqlite_rows_insert(struct dst_sqlite_rows *rows, struct ps_error *err)
{
    rows->counts = rows->batch->counts;
    rows->counts.inserted = 0;
    rows->counts.updated = 0;
    rows->counts.skipped = 0;
    rows->counts.rejected_at_load = 0;
    dest_late_clear(&rows->late);
    rows->orphan_count = 0;
    rows->in_image = 0;
    rows->misfits = 0;
    if (rows->d->image_on) {
        uint64_t share = stage_batch_bytes(rows->batch->rows) / (IMAGE_TABLES - 2);
        rows->image_target = share > IMAGE_LEAST_BYTES ? share : IMAGE_LEAST_BYTES;
    }
    stage_batch_rewind(rows->batch->rows);
    uint64_t place = 0;
    for (;;) {
        const struct block *block = NULL;
        enum ps_status status = stage_batch_next(rows->batch->rows, &block, err);
        if (status == PS_OK && block != NULL && block->ncols != rows->d->ncols) {
            status = ps_fail(err, PS_BUG, "sqlite: rows of %u cells for %u columns", block->ncols,
                             rows->d->ncols);
        }
        if (status == PS_OK && dst_sqlite_canceled(rows->d)) {
            status = ps_fail(err, PS_CANCELED, "sqlite %s: asked to stop", rows->d->path);
        }
        bool taken = false;
        if (status == PS_OK && block != NULL) {
            status = try_image(rows, block, &taken, err);
        }
        if (status == PS_OK && block != NULL && !taken) {
            status = insert_block(rows, block, place, err);
        }
        if (status != PS_OK) {
            return status;
        }
        if (block == NULL) {
            break;
        }
        place += block->rows;
    }
    enum ps_status flushed = flush_image(rows, err);
    if (flushed != PS_OK) {
        return flushed;
    }
    for (size_t before = SIZE_MAX; rows->orphan_count > 0;) {
        bool last_chance = rows->orphan_count == before;
        before = rows->orphan_count;
        enum ps_status status = adopt_orphans(rows, last_chance, err);
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}

/* ---- rejects */

static bool
is_utf8(struct ps_span text)
{
    for (size_t i = 0; i < text.len;) {
        uint8_t byte = text.ptr[i++];
        size_t more = byte < 0x80 ? 0 : (byte & 0xe0) == 0xc0 ? 1 : (byte & 0xf0) == 0xe0 ? 2 : 3;
        if (byte == 0 || (byte >= 0x80 && byte < 0xc2) || byte > 0xf4 || more > text.len - i) {
            return false;
        }
        for (; more > 0; more--) {
            if ((text.ptr[i++] & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

void
dst_sqlite_bind_text(sqlite3_stmt *stmt, int at, struct ps_span text)
{
    if (text.len == 0) {
        (void)sqlite3_bind_text(stmt, at, "", 0, SQLITE_STATIC);
    } else if (is_utf8(text)) {
        (void)sqlite3_bind_text64(stmt, at, (const char *)text.ptr, text.len, SQLITE_STATIC,
                                  SQLITE_UTF8);
    } else {
        dst_sqlite_bind_span(stmt, at, text); /* a name that is no text stays bytes */
    }
}

static enum ps_status
put_reject(void *ctx, const struct stage_reject *reject, struct ps_error *err)
{
    struct dst_sqlite_rows *rows = ctx;
    const struct dest_batch *batch = rows->batch;
    sqlite3_stmt *stmt = rows->d->insert_reject;
    if (batch->replays != NULL) {
        return dst_sqlite_put_back(rows->d, batch, reject, err);
    }
    (void)sqlite3_clear_bindings(stmt);
    dst_sqlite_bind_id(stmt, 1, &batch->id.id);
    if (reject->range_index < batch->range_count) {
        dst_sqlite_bind_text(stmt, 2, batch->ranges[reject->range_index].key);
    }
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)reject->offset);
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)reject->length);
    if (reject->line != 0) {
        (void)sqlite3_bind_int64(stmt, 5, (int64_t)reject->line);
    }
    if (reject->column.len > 0) {
        dst_sqlite_bind_text(stmt, 6, reject->column);
    }
    dst_sqlite_bind_text(stmt, 7, reject->code);
    dst_sqlite_bind_text(stmt, 8, reject->reason);
    if (reject->raw.len > 0) {
        dst_sqlite_bind_span(stmt, 9, reject->raw);
    }
    (void)sqlite3_bind_int64(stmt, 10, ps_clock_wall_ms());
    int rc = sqlite3_step(stmt);
    enum ps_status status =
        rc == SQLITE_DONE ? PS_OK : dst_sqlite_fail(rows->d, rc, "insert reject", err);
    (void)sqlite3_reset(stmt);
    return status;
}

enum ps_status
dst_sqlite_rows_reject(struct dst_sqlite_rows *rows, struct ps_error *err)
{
    return dest_late_each(&rows->late, rows->batch->rows, put_reject, rows, err);
}

void
dst_sqlite_rows_fini(struct dst_sqlite_rows *rows)
{
    dest_late_fini(&rows->late);
    ps_free(rows->orphans);
    rows->orphans = NULL;
    rows->orphan_count = 0;
    rows->orphan_cap = 0;
}
