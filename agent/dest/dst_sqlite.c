/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite: one file, one writer at a time. This file: connection, turns, transactions. */
#include "agent/dest/dst_sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/assert.h"

enum {
    /* How long SQLite itself waits for a lock before it lets us look at the cancel flag. */
    WAIT_MS = 100,
    CACHE_MOST_KIB = 4096,
    CACHE_LEAST_KIB = 512,
};

extern const struct dest_ops dst_sqlite_ops;

static const char *const sql_texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SCHEMA_VERSION] = "PRAGMA schema_version",
    [SQL_FENCE_READ] = "SELECT f.pipeline_uuid, f.generation, m.host FROM _penstock_fence f,"
                       " _penstock_file m WHERE f.pipeline_name = ?1",
    [SQL_LEDGER_INSERT] =
        "INSERT INTO _penstock_ledger(batch_id, pipeline_uuid, generation, state, epoch,"
        " cluster_epoch, commit_seq, agent, leaf, spec_rev, decoded, rejected, filtered, inserted,"
        " updated, skipped, rejected_at_load, raw_bytes, unwrapped_bytes, reason, at_ms)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, 0, 0, 0, ?14, ?15,"
        " ?16, ?17)",
    [SQL_LEDGER_COUNTS] = "UPDATE _penstock_ledger SET inserted = ?2, updated = ?3, skipped = ?4,"
                          " rejected_at_load = ?5 WHERE batch_id = ?1",
    [SQL_LEDGER_READ] =
        "SELECT state, decoded, rejected, filtered, inserted, updated, skipped, rejected_at_load,"
        " raw_bytes, unwrapped_bytes FROM _penstock_ledger WHERE batch_id = ?1",
    [SQL_RANGE_INSERT] =
        "INSERT INTO _penstock_ledger_range(pipeline_uuid, generation, bp_hash, from_offset,"
        " batch_id, key, version, end_offset, eof, resume, records)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_RANGE_OWNER] = "SELECT batch_id FROM _penstock_ledger_range WHERE pipeline_uuid = ?1"
                        " AND generation = ?2 AND bp_hash = ?3 AND from_offset = ?4",
    [SQL_RANGE_BEFORE] = "SELECT batch_id, from_offset, end_offset FROM _penstock_ledger_range"
                         " WHERE pipeline_uuid = ?1 AND generation = ?2 AND bp_hash = ?3"
                         " AND from_offset < ?4 AND end_offset > from_offset"
                         " ORDER BY from_offset DESC LIMIT 1",
    [SQL_RANGES_READ] = "SELECT bp_hash, from_offset, key, version, end_offset, eof, resume,"
                        " records FROM _penstock_ledger_range WHERE batch_id = ?1"
                        " ORDER BY bp_hash, from_offset",
    [SQL_ROW_SAVE] = "SAVEPOINT _penstock_row",
    [SQL_ROW_BACK] = "ROLLBACK TO _penstock_row",
    [SQL_ROW_RELEASE] = "RELEASE _penstock_row",
};

/* ---- errors */

/* What the system said; 0 where it said nothing. */
static int
errno_of(struct dst_sqlite *d, int rc)
{
    int primary = rc & 0xff;
    int errnum = 0;
    if (d->db == NULL) {
        return 0;
    }
    if (primary == SQLITE_CORRUPT) {
        /* A read that fails with EIO is "malformed" to SQLite; the descriptor remembers. */
        (void)sqlite3_file_control(d->db, "main", SQLITE_FCNTL_LAST_ERRNO, &errnum);
        return errnum == EIO ? EIO : 0;
    }
    return primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN ? sqlite3_system_errno(d->db) : 0;
}

static enum ps_status
status_of(int rc, int errnum)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_SCHEMA:
    case SQLITE_PROTOCOL:
        return PS_AGAIN;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
        return PS_FULL;
    case SQLITE_IOERR:
        return errnum == ENOSPC || errnum == EDQUOT ? PS_FULL : PS_AGAIN;
    case SQLITE_CANTOPEN:
        if (errnum == ENOENT) {
            /* Of the journal, whose second, reading open hides why the first one failed. */
            return PS_AGAIN;
        }
        return errnum == 0 ? PS_REFUSED : ps_status_from_errno(errnum);
    case SQLITE_CORRUPT:
        return errnum == 0 ? PS_REFUSED : ps_status_from_errno(errnum);
    case SQLITE_INTERRUPT:
        return PS_CANCELED;
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
        return PS_BUG;
    default:
        return PS_REFUSED;
    }
}

enum ps_status
dst_sqlite_fail(struct dst_sqlite *d, int rc, const char *what, struct ps_error *err)
{
    int primary = rc & 0xff;
    if (primary == SQLITE_BUSY && dst_sqlite_canceled(d)) {
        return ps_fail(err, PS_CANCELED, "sqlite %s: asked to stop", d->path);
    }
    int errnum = errno_of(d, rc);
    enum ps_status status = status_of(rc, errnum);
    const char *text = d->db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(d->db);
    if (primary == SQLITE_FULL) {
        return ps_fail_code(err, PS_FULL, PS_ERROR_DISK_FULL,
                            "sqlite %s: %s: no room left on the disk (or max_page_count)", d->path,
                            what);
    }
    if (primary == SQLITE_IOERR || (errnum != 0 && status != PS_REFUSED)) {
        bool full = errnum == ENOSPC || errnum == EDQUOT;
        return ps_fail_code(err, status, full ? PS_ERROR_DISK_FULL : "disk_error",
                            "sqlite %s: %s: %s (%d): %s", d->path, what, text, rc,
                            errnum == 0 ? "no errno" : strerror(errnum));
    }
    if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT) {
        return ps_fail_code(err, PS_REFUSED, "not_a_database", "sqlite %s: %s: %s", d->path, what,
                            text);
    }
    return ps_fail(err, status, "sqlite %s: %s: %s", d->path, what, text);
}

/* ---- statements */

sqlite3_stmt *
dst_sqlite_prepare_text(struct dst_sqlite *d, const char *sql, struct ps_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_BUSY;
    while ((rc & 0xff) == SQLITE_BUSY && !dst_sqlite_canceled(d)) {
        rc = sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    }
    if (rc != SQLITE_OK) {
        (void)dst_sqlite_fail(d, rc, "prepare", err);
        return NULL;
    }
    return stmt;
}

sqlite3_stmt *
dst_sqlite_stmt(struct dst_sqlite *d, enum dst_sqlite_sql which, struct ps_error *err)
{
    if (d->sql[which] == NULL) {
        d->sql[which] = dst_sqlite_prepare_text(d, sql_texts[which], err);
    } else {
        (void)sqlite3_reset(d->sql[which]);
        (void)sqlite3_clear_bindings(d->sql[which]);
    }
    return d->sql[which];
}

bool
dst_sqlite_canceled(const struct dst_sqlite *d)
{
    return d->env.cancel != NULL && atomic_load(d->env.cancel);
}

enum ps_status
dst_sqlite_step(struct dst_sqlite *d, sqlite3_stmt *stmt, bool *out_row, struct ps_error *err)
{
    int rc = sqlite3_step(stmt);
    while ((rc & 0xff) == SQLITE_BUSY && !dst_sqlite_canceled(d)) {
        (void)sqlite3_reset(stmt);
        rc = sqlite3_step(stmt);
    }
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        *out_row = rc == SQLITE_ROW;
        return PS_OK;
    }
    enum ps_status status = (rc & 0xff) == SQLITE_BUSY
                                ? ps_fail(err, PS_CANCELED, "sqlite %s: asked to stop", d->path)
                                : dst_sqlite_fail(d, rc, "read", err);
    (void)sqlite3_reset(stmt);
    return status;
}

enum ps_status
dst_sqlite_exec(struct dst_sqlite *d, const char *sql, struct ps_error *err)
{
    int rc = SQLITE_BUSY;
    while ((rc & 0xff) == SQLITE_BUSY && !dst_sqlite_canceled(d)) {
        rc = sqlite3_exec(d->db, sql, NULL, NULL, NULL);
    }
    if ((rc & 0xff) == SQLITE_BUSY) {
        return ps_fail(err, PS_CANCELED, "sqlite %s: asked to stop", d->path);
    }
    return rc == SQLITE_OK ? PS_OK : dst_sqlite_fail(d, rc, sql, err);
}

void
dst_sqlite_quote(struct ps_buf *sql, const char *name)
{
    ps_buf_xappend(sql, "\"", 1);
    for (const char *at = name; *at != '\0'; at++) {
        ps_buf_xappend(sql, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    }
    ps_buf_xappend(sql, "\"", 1);
}

void
dst_sqlite_bind_id(sqlite3_stmt *stmt, int at, const struct ps_id *id)
{
    (void)sqlite3_bind_blob(stmt, at, id->b, PS_ID_BYTES, SQLITE_STATIC);
}

void
dst_sqlite_bind_span(sqlite3_stmt *stmt, int at, struct ps_span bytes)
{
    if (bytes.len == 0) {
        (void)sqlite3_bind_zeroblob(stmt, at, 0);
    } else {
        (void)sqlite3_bind_blob64(stmt, at, bytes.ptr, bytes.len, SQLITE_STATIC);
    }
}

bool
dst_sqlite_column_id(sqlite3_stmt *stmt, int at, struct ps_id *out)
{
    const void *bytes = sqlite3_column_blob(stmt, at);
    return ps_id_from_span(ps_span(bytes, (size_t)sqlite3_column_bytes(stmt, at)), out);
}

/* ---- connection */

static enum ps_status
refuse_network(struct dst_sqlite *d, struct ps_error *err)
{
    char *dir = ps_xstrdup(d->path);
    char *slash = strrchr(dir, '/');
    slash[slash == dir] = '\0';
    struct statfs fs;
    int rc = statfs(dir, &fs);
    int errnum = errno;
    if (rc != 0) {
        enum ps_status status =
            ps_fail_code(err, PS_REFUSED, "not_visible", "sqlite %s: folder %s: %s", d->path, dir,
                         strerror(errnum));
        ps_free(dir);
        return status;
    }
    ps_free(dir);
    static const struct {
        uint32_t magic;
        const char *name;
    } network[] = {
        {0x6969, "NFS"},      {0x517b, "SMB"},       {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"},
        {0x01021997, "9p"},   {0x5346414f, "AFS"},   {0x00c36400, "Ceph"}, {0x0bd00bd0, "Lustre"},
        {0x47504653, "GPFS"}, {0x7461636f, "OCFS2"}, {0x73757245, "Coda"}, {0x564c, "NCP"},
        {0x01161970, "GFS2"},
    };
    for (size_t i = 0; i < sizeof network / sizeof network[0]; i++) {
        if ((uint32_t)fs.f_type == network[i].magic) {
            return ps_fail_code(err, PS_REFUSED, "network_filesystem",
                                "sqlite %s: lies on a network filesystem (%s), whose locks do not "
                                "protect a database; use a local disk",
                                d->path, network[i].name);
        }
    }
    return PS_OK;
}

static int
on_journal_mode(void *ctx, int count, char **values, char **names)
{
    (void)names;
    bool *wal = ctx;
    *wal = count == 1 && values[0] != NULL && strcmp(values[0], "wal") == 0;
    return 0;
}

static void
disconnect(struct dst_sqlite *d)
{
    if (d->db == NULL) {
        return;
    }
    dst_sqlite_plan_drop(d);
    for (size_t i = 0; i < SQL_COUNT; i++) {
        (void)sqlite3_finalize(d->sql[i]);
        d->sql[i] = NULL;
    }
    /* The empty journal of mode TRUNCATE goes; a failure here costs nothing. A file that somebody
     * has made WAL stays so. */
    sqlite3_busy_timeout(d->db, 0);
    bool wal = true;
    if (sqlite3_exec(d->db, "PRAGMA main.journal_mode", on_journal_mode, &wal, NULL) == SQLITE_OK &&
        !wal) {
        (void)sqlite3_exec(d->db, "PRAGMA main.journal_mode=DELETE", NULL, NULL, NULL);
    }
    (void)sqlite3_close_v2(d->db);
    d->db = NULL;
    dst_sqlite_image_free(d->image);
    d->image = NULL;
}

static unsigned
cache_kib(const struct dst_sqlite *d)
{
    uint64_t kib = d->env.memory_bytes / 1024;
    if (kib == 0 || kib > CACHE_MOST_KIB) {
        return CACHE_MOST_KIB;
    }
    return kib < CACHE_LEAST_KIB ? CACHE_LEAST_KIB : (unsigned)kib;
}

static enum ps_status
set_up(struct dst_sqlite *d, bool fresh, struct ps_error *err)
{
    sqlite3_busy_timeout(d->db, WAIT_MS);
    (void)sqlite3_extended_result_codes(d->db, 1);
    char sql[256];
    snprintf(sql, sizeof sql,
             "PRAGMA synchronous=FULL; PRAGMA cache_size=-%u; PRAGMA temp_store=MEMORY;"
             " PRAGMA mmap_size=0; PRAGMA foreign_keys=ON; PRAGMA locking_mode=NORMAL;",
             cache_kib(d));
    enum ps_status status = dst_sqlite_exec(d, sql, err);
    if (status == PS_OK && fresh) {
        snprintf(sql, sizeof sql, "PRAGMA page_size=%d", DST_SQLITE_PAGE_BYTES);
        status = dst_sqlite_exec(d, sql, err);
    }
    if (status != PS_OK) {
        return status;
    }
    /* WAL is written in the file and is the owner's choice; the rollback modes are ours alone. */
    bool wal = false;
    int rc = SQLITE_BUSY;
    while ((rc & 0xff) == SQLITE_BUSY && !dst_sqlite_canceled(d)) {
        rc = sqlite3_exec(d->db, "PRAGMA main.journal_mode", on_journal_mode, &wal, NULL);
    }
    if (rc != SQLITE_OK) {
        return dst_sqlite_fail(d, rc, "open", err);
    }
    return wal ? PS_OK : dst_sqlite_exec(d, "PRAGMA main.journal_mode=TRUNCATE", err);
}

static void
configure_library(void)
{
    /* Only one thread uses a connection; memory statistics are a lock a malloc. Both fail
     * harmlessly where somebody has used the library before. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    (void)sqlite3_initialize();
}

static void
set_identity(struct dst_sqlite *d)
{
    char *real = realpath(d->path, NULL);
    ps_free(d->identity);
    d->identity = ps_xasprintf("sqlite:%s", real == NULL ? d->path : real);
    free(real);
}

static enum ps_status
connect_new(struct dst_sqlite *d, bool create, bool fresh, struct ps_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_library);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI |
                (create ? SQLITE_OPEN_CREATE : 0);
    int rc = sqlite3_open_v2(d->path, &d->db, flags, NULL);
    if (rc != SQLITE_OK) {
        enum ps_status status = dst_sqlite_fail(d, rc, "open", err);
        (void)sqlite3_close_v2(d->db);
        d->db = NULL;
        return status;
    }
    enum ps_status status = set_up(d, fresh, err);
    struct stat st;
    if (status == PS_OK && stat(d->path, &st) != 0) {
        status = ps_fail_errno(err, errno, "sqlite %s: stat", d->path);
    }
    if (status != PS_OK) {
        disconnect(d);
        return status;
    }
    d->dev = st.st_dev;
    d->ino = st.st_ino;
    set_identity(d);
    return PS_OK;
}

enum ps_status
dst_sqlite_connect(struct dst_sqlite *d, bool create, bool *out_open, struct ps_error *err)
{
    struct stat st;
    bool exists = stat(d->path, &st) == 0;
    if (!exists && errno != ENOENT) {
        return ps_fail_code(err, PS_REFUSED, "not_visible", "sqlite %s: %s", d->path,
                            strerror(errno));
    }
    /* Rows written to a file that was deleted or replaced under us would be lost in silence. */
    if (d->db != NULL && (!exists || st.st_dev != d->dev || st.st_ino != d->ino)) {
        disconnect(d);
    }
    if (exists && !S_ISREG(st.st_mode)) {
        return ps_fail_code(err, PS_REFUSED, "not_a_database", "sqlite %s: not a regular file",
                            d->path);
    }
    if (d->db == NULL && (exists || create)) {
        enum ps_status status = refuse_network(d, err);
        if (status == PS_OK) {
            status = connect_new(d, create, !exists || st.st_size == 0, err);
        }
        if (status != PS_OK) {
            return status;
        }
    }
    *out_open = d->db != NULL;
    return PS_OK;
}

/* ---- transactions */

void
dst_sqlite_phase(struct dst_sqlite *d, const char *phase)
{
    if (d->env.phase != NULL) {
        d->env.phase(d->env.ctx, phase);
    }
}

enum ps_status
dst_sqlite_turn(struct dst_sqlite *d, struct ps_error *err)
{
    return d->env.turn_take == NULL ? PS_OK : d->env.turn_take(d->env.ctx, d->identity, err);
}

enum ps_status
dst_sqlite_begin(struct dst_sqlite *d, struct ps_error *err)
{
    sqlite3_stmt *begin = dst_sqlite_stmt(d, SQL_BEGIN, err);
    if (begin == NULL) {
        return dst_sqlite_failed(err);
    }
    if (d->image != NULL) {
        dst_sqlite_image_restart(d->image); /* before BEGIN, which looks at what has changed */
    }
    bool row = false;
    enum ps_status status = dst_sqlite_step(d, begin, &row, err);
    (void)sqlite3_reset(begin);
    if (status != PS_OK) {
        return ps_wrap(err, status, "begin");
    }
    /* Inside, a page that cannot be written because of a reader stays in memory: no waiting. */
    sqlite3_busy_timeout(d->db, 0);
    return PS_OK;
}

void
dst_sqlite_roll_back(struct dst_sqlite *d)
{
    if (d->db == NULL) {
        return;
    }
    if (!sqlite3_get_autocommit(d->db)) {
        (void)sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
    }
    PS_ASSERT(sqlite3_get_autocommit(d->db));
    sqlite3_busy_timeout(d->db, WAIT_MS);
}

enum ps_status
dst_sqlite_commit(struct dst_sqlite *d, bool *out_constraint, struct ps_error *err)
{
    *out_constraint = false;
    sqlite3_busy_timeout(d->db, WAIT_MS);
    sqlite3_stmt *commit = dst_sqlite_stmt(d, SQL_COMMIT, err);
    if (commit == NULL) {
        dst_sqlite_roll_back(d);
        return dst_sqlite_failed(err);
    }
    int rc = sqlite3_step(commit);
    while ((rc & 0xff) == SQLITE_BUSY && !dst_sqlite_canceled(d)) {
        (void)sqlite3_reset(commit);
        rc = sqlite3_step(commit);
    }
    enum ps_status status = PS_OK;
    if (rc != SQLITE_DONE) {
        *out_constraint = (rc & 0xff) == SQLITE_CONSTRAINT;
        if ((rc & 0xff) == SQLITE_BUSY) {
            status = ps_fail(err, PS_CANCELED, "sqlite %s: asked to stop", d->path);
        } else {
            status = dst_sqlite_fail(d, rc, "commit", err);
            if (status != PS_FULL && !*out_constraint) {
                /* What became of it is not known: the same transaction, run again, will say. */
                status = err == NULL ? PS_AGAIN : (err->status = PS_AGAIN);
            }
        }
    }
    (void)sqlite3_reset(commit);
    dst_sqlite_roll_back(d);
    return status;
}

void
dst_sqlite_end(struct dst_sqlite *d)
{
    dst_sqlite_roll_back(d);
    if (d->env.turn_release != NULL) {
        d->env.turn_release(d->env.ctx, d->identity);
    }
}

/* ---- open and close */

static char *
absolute_path(const char *url, const char *base_dir)
{
    const char *path = strncmp(url, "sqlite:", 7) == 0 ? url + 7 : url;
    if (strncmp(path, "//", 2) == 0) {
        path += 2; /* sqlite:///abs has an empty host */
    }
    if (path[0] == '/') {
        return ps_xstrdup(path);
    }
    if (base_dir != NULL) {
        return ps_xasprintf("%s/%s", base_dir, path);
    }
    char *cwd = getcwd(NULL, 0);
    char *joined = ps_xasprintf("%s/%s", cwd == NULL ? "" : cwd, path);
    free(cwd);
    return joined;
}

static void
sqlite_close(struct dest *dest)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    if (d == NULL) {
        return;
    }
    disconnect(d);
    dest_names_fini(&d->keys);
    dest_names_fini(&d->updates);
    ps_free(d->order_by);
    ps_free(d->name);
    ps_free(d->path);
    ps_free(d->identity);
    ps_free(d->table);
    ps_free(d->rejects_table);
    ps_free(d);
}

static enum ps_status
check_names(const struct dst_sqlite *d, struct ps_error *err)
{
    if (d->table[0] == '\0' || sqlite3_strnicmp(d->table, "sqlite_", 7) == 0 ||
        sqlite3_strnicmp(d->table, "_penstock_", 10) == 0) {
        return ps_fail_code(err, PS_REFUSED, "bad_table",
                            "sqlite %s: a table cannot be named \"%s\"", d->path, d->table);
    }
    return PS_OK;
}

static enum ps_status
sqlite_open(const struct spec *spec, const struct dest_env *env, struct dest **out,
            struct ps_error *err)
{
    struct dst_sqlite *d = ps_xcalloc(1, sizeof *d);
    d->env = *env;
    d->name = ps_xstrdup(spec_name(spec));
    d->path = absolute_path(spec_str(spec, "destination.url"), env->base_dir);
    d->table = ps_xstrdup(spec_str(spec, "destination.table"));
    d->rejects_table = ps_xasprintf("%s_rejects", d->table);
    d->may_create = spec_is(spec, "destination.create", "auto");
    d->on_conflict = spec_is(spec, "destination.on_conflict", "skip")      ? CONFLICT_SKIP
                     : spec_is(spec, "destination.on_conflict", "replace") ? CONFLICT_REPLACE
                     : spec_is(spec, "destination.on_conflict", "update")  ? CONFLICT_UPDATE
                                                                           : CONFLICT_ERROR;
    dest_names_init(&d->keys, spec, "destination.key");
    dest_names_init(&d->updates, spec, "destination.update");
    d->order_by = ps_xstrdup(spec_str(spec, "destination.order_by"));
    d->tolerance = spec_tolerance(spec);
    set_identity(d);
    bool open = false;
    enum ps_status status = check_names(d, err);
    if (status == PS_OK) {
        status = dst_sqlite_connect(d, false, &open, err);
    }
    if (status != PS_OK) {
        sqlite_close((struct dest *)d);
        return status;
    }
    *out = (struct dest *)d;
    return PS_OK;
}

/* ---- prepare */

static enum ps_status
prepare_in_transaction(struct dst_sqlite *d, const struct dest_table *table, struct ps_error *err)
{
    enum ps_status status = dst_sqlite_make_tables(d, table, err);
    if (status == PS_OK) {
        status = dst_sqlite_set_fence(d, table->uuid, table->generation, err);
    }
    if (status == PS_OK) {
        /* Preparing the load's statement finds what the matching cannot, such as a key without
         * its unique index. */
        status = dst_sqlite_plan(d, table->columns, table->count, err);
    }
    return status;
}

static enum ps_status
sqlite_prepare(struct dest *dest, const struct dest_table *table, struct dest_state *out_state,
               struct ps_error *err)
{
    struct dst_sqlite *d = dst_sqlite_of(dest);
    bool open = false;
    enum ps_status status = dst_sqlite_connect(d, d->may_create, &open, err);
    if (status != PS_OK) {
        return status;
    }
    if (!open) {
        return ps_fail_code(err, PS_REFUSED, "no_table",
                            "sqlite %s: no such file, and create is never", d->path);
    }
    status = dst_sqlite_turn(d, err);
    if (status != PS_OK) {
        return status;
    }
    status = dst_sqlite_begin(d, err);
    if (status == PS_OK) {
        status = prepare_in_transaction(d, table, err);
    }
    if (status == PS_OK) {
        bool constraint = false;
        status = dst_sqlite_commit(d, &constraint, err);
    }
    dst_sqlite_end(d);
    if (status != PS_OK) {
        dst_sqlite_plan_drop(d); /* made for a schema that has been rolled back */
        return ps_wrap(err, status, "prepare table %s", d->table);
    }
    return dst_sqlite_state(dest, table->pipeline_name, out_state, err);
}

const struct dest_ops dst_sqlite_ops = {
    .scheme = "sqlite",
    .help = "a table in a SQLite file on this host",
    .open = sqlite_open,
    .close = sqlite_close,
    .prepare = sqlite_prepare,
    .state = dst_sqlite_state,
    .load = dst_sqlite_load,
    .tombstone = dst_sqlite_tombstone,
    .ledger = dst_sqlite_ledger,
    .rejects = dst_sqlite_rejects,
    .ranges = dst_sqlite_ranges,
};
