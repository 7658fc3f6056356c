/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/failpoint.h"
#include "coordinator/catalog/catalog_internal.h"

static const char *const query_texts[QUERY_COUNT] = {
#define QUERY(name, sql) [QUERY_##name] = sql,
#define READ(name, sql)
#include "coordinator/catalog/queries.def"
#undef QUERY
#undef READ
};

/* The lock is beside the file, so that it can be taken before SQLite touches the file. */
static enum ps_status
take_lock(const char *path, int *out_fd, struct ps_error *err)
{
    char *lock_path = ps_xasprintf("%s.lock", path);
    enum ps_status status = PS_OK;
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        status = ps_fail_errno(err, errno, "open %s", lock_path);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK
                     ? ps_fail_code(err, PS_REFUSED, "catalog_locked",
                                    "another coordinator has the catalog %s (its lock %s is held)",
                                    path, lock_path)
                     : ps_fail_errno(err, errno, "lock %s", lock_path);
        close(fd);
    } else {
        *out_fd = fd;
    }
    ps_free(lock_path);
    return status;
}

static enum ps_status
open_file(struct catalog *catalog, const char *path, struct ps_error *err)
{
    bool in_memory = strcmp(path, ":memory:") == 0;
    enum ps_status status = PS_OK;
    if (!in_memory && (status = take_lock(path, &catalog->lock_fd, err)) != PS_OK) {
        return status;
    }
    mode_t old = umask(0077);
    status = sql_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &catalog->db, err);
    if (status == PS_OK) {
        status = sql_exec(catalog->db,
                          "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                          "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;",
                          err);
    }
    umask(old);
    if (status == PS_OK) {
        /* Readers checkpoint nothing, but may hold the log for a moment. */
        sqlite3_busy_timeout(catalog->db, 5000);
        status = catalog_migrate(catalog->db, in_memory ? NULL : path, err);
    }
    return status;
}

/* cluster_epoch rises durably before anything else happens in this life. */
static enum ps_status
raise_cluster_epoch(struct catalog *catalog, struct ps_error *err)
{
    int64_t cluster_epoch = 0;
    int64_t commit_seq = 0;
    enum ps_status status = sql_exec(
        catalog->db,
        "UPDATE meta SET cluster_epoch = cluster_epoch + 1, commit_seq = commit_seq + 1", err);
    if (status == PS_OK) {
        status =
            sql_query_int(catalog->db, "SELECT cluster_epoch FROM meta", 0, &cluster_epoch, err);
    }
    if (status == PS_OK) {
        status = sql_query_int(catalog->db, "SELECT commit_seq FROM meta", 0, &commit_seq, err);
    }
    if (status == PS_OK) {
        catalog->stamp = (struct cat_stamp){.cluster_epoch = (uint64_t)cluster_epoch,
                                            .commit_seq = (uint64_t)commit_seq};
        catalog->next = catalog->stamp;
    }
    return status;
}

enum ps_status
catalog_open(const char *path, struct catalog **out, struct ps_error *err)
{
    struct catalog *catalog = ps_xcalloc(1, sizeof *catalog);
    catalog->lock_fd = -1;
    enum ps_status status = open_file(catalog, path, err);
    if (status == PS_OK) {
        status = raise_cluster_epoch(catalog, err);
    }
    for (size_t i = 0; status == PS_OK && i < QUERY_COUNT; i++) {
        status = sql_prepare(catalog->db, query_texts[i], &catalog->queries[i], err);
    }
    if (status != PS_OK) {
        catalog_close(catalog);
        return ps_wrap(err, status, "open catalog %s", path);
    }
    *out = catalog;
    return PS_OK;
}

void
catalog_close(struct catalog *catalog)
{
    if (catalog == NULL) {
        return;
    }
    for (size_t i = 0; i < QUERY_COUNT; i++) {
        sql_finalize(catalog->queries[i]);
    }
    ps_buf_fini(&catalog->event_texts);
    ps_free(catalog->events);
    if (catalog->db != NULL) {
        sql_rollback(catalog->db);
        sql_close(catalog->db);
    }
    if (catalog->lock_fd >= 0) {
        close(catalog->lock_fd);
    }
    ps_free(catalog);
}

enum ps_status
catalog_restart(struct catalog *catalog, struct ps_error *err)
{
    for (size_t i = 0; i < QUERY_COUNT; i++) {
        sql_reset(catalog->queries[i]);
    }
    sql_rollback(catalog->db);
    catalog->writing = false;
    /* Gives back the log's room on a full disk; where that fails, the write below says so. */
    (void)sqlite3_wal_checkpoint_v2(catalog->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    cat_event_forget(catalog);
    enum ps_status status = raise_cluster_epoch(catalog, err);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "catalog");
}

struct cat_stamp
catalog_stamp(const struct catalog *catalog)
{
    return catalog->stamp;
}

bool
catalog_has_writes(const struct catalog *catalog)
{
    return catalog->writing;
}

enum ps_status
catalog_write(struct catalog *catalog, enum query_name name, sqlite3_stmt **out,
              struct ps_error *err)
{
    if (!catalog->writing) {
        enum ps_status status = sql_run(catalog->queries[QUERY_BEGIN], NULL, 0, err);
        if (status != PS_OK) {
            return ps_wrap(err, status, "catalog");
        }
        catalog->writing = true;
    } else if (sqlite3_get_autocommit(catalog->db) != 0) {
        /* A full disk or an I/O error has rolled the transaction back by itself: a write from here
         * on would be one of its own, and stand without those before it. */
        return ps_fail_code(err, PS_AGAIN, "catalog_rolled_back",
                            "catalog: the transaction is gone");
    }
    *out = catalog->queries[name];
    return PS_OK;
}

enum ps_status
catalog_run(struct catalog *catalog, enum query_name name, const struct sql_value *values,
            size_t count, struct ps_error *err)
{
    sqlite3_stmt *stmt = NULL;
    enum ps_status status = catalog_write(catalog, name, &stmt, err);
    if (status == PS_OK) {
        status = sql_run(stmt, values, count, err);
    }
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "catalog");
}

enum ps_status
catalog_raise_stamp(struct catalog *catalog, struct cat_stamp least, struct ps_error *err)
{
    enum ps_status status = CATALOG_RUN(catalog, QUERY_RAISE_STAMP, err,
                                        sql_u64(least.cluster_epoch), sql_u64(least.commit_seq));
    if (status != PS_OK) {
        return status;
    }
    if (least.cluster_epoch > catalog->next.cluster_epoch) {
        catalog->next.cluster_epoch = least.cluster_epoch;
    }
    if (least.commit_seq > catalog->next.commit_seq) {
        catalog->next.commit_seq = least.commit_seq;
    }
    return PS_OK;
}

enum ps_status
catalog_commit(struct catalog *catalog, struct ps_error *err)
{
    if (!catalog->writing) {
        return PS_OK;
    }
    /* The one query that lends its row beyond the call: no snapshot outlives its turn. */
    sql_reset(catalog->queries[QUERY_KNOWN_NEXT]);
    sqlite3_stmt *raise = NULL;
    enum ps_status status = cat_event_flush(catalog, err);
    if (status == PS_OK) {
        status = catalog_write(catalog, QUERY_COMMIT_SEQ, &raise, err);
    }
    if (status == PS_OK) {
        status = sql_run(raise, NULL, 0, err);
    }
    if (status == PS_OK && PS_FAILPOINT("catalog.before_commit")) {
        status = ps_fail(err, PS_AGAIN, "failpoint catalog.before_commit");
    }
    if (status == PS_OK) {
        status = sql_run(catalog->queries[QUERY_COMMIT], NULL, 0, err);
    }
    if (status != PS_OK) {
        return ps_wrap(err, status, "commit catalog");
    }
    catalog->writing = false;
    catalog->next.commit_seq++;
    catalog->stamp = catalog->next;
    return PS_OK;
}
