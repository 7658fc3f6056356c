/* SPDX-License-Identifier: Apache-2.0 */
/* The schema's version is SQLite's user_version: the number of the last file of schema/ that was
 * applied. */
#include <stdio.h>

#include "common/alloc.h"
#include "common/failpoint.h"
#include "coordinator/catalog/catalog_internal.h"

#include "catalog_schema.inc"

enum { MIGRATION_COUNT = sizeof catalog_migrations / sizeof catalog_migrations[0] };

/* VACUUM INTO writes a whole, checked copy; an older copy of the same version stays. */
static enum ps_status
keep_copy(sqlite3 *db, const char *path, int64_t version, struct ps_error *err)
{
    char *copy = ps_xasprintf("%s.v%lld", path, (long long)version);
    sqlite3_stmt *stmt = NULL;
    enum ps_status status = PS_OK;
    sqlite3 *probe = NULL;
    struct ps_error ignored;
    bool exists = sql_open(copy, SQLITE_OPEN_READONLY, &probe, &ignored) == PS_OK;
    sql_close(probe);
    if (!exists) {
        status = sql_prepare(db, "VACUUM INTO ?1", &stmt, err);
        if (status == PS_OK) {
            status = SQL_RUN(stmt, err, sql_text(copy));
        }
        sql_finalize(stmt);
    }
    if (status != PS_OK) {
        status = ps_wrap(err, status, "keep a copy as %s before the migration", copy);
    }
    ps_free(copy);
    return status;
}

static enum ps_status
apply(sqlite3 *db, int64_t version, struct ps_error *err)
{
    char set_version[64];
    snprintf(set_version, sizeof set_version, "PRAGMA user_version = %lld", (long long)version + 1);
    enum ps_status status = sql_begin_immediate(db, err);
    if (status == PS_OK) {
        status = sql_exec(db, catalog_migrations[version], err);
    }
    if (status == PS_OK && PS_FAILPOINT("catalog.migrate")) {
        status = ps_fail(err, PS_AGAIN, "failpoint catalog.migrate");
    }
    if (status == PS_OK) {
        status = sql_exec(db, set_version, err);
    }
    if (status == PS_OK) {
        status = sql_commit(db, err);
    }
    if (status != PS_OK) {
        sql_rollback(db);
        return ps_wrap(err, status, "migrate to version %lld", (long long)version + 1);
    }
    return PS_OK;
}

enum ps_status
catalog_migrate(sqlite3 *db, const char *path, struct ps_error *err)
{
    int64_t version = 0;
    enum ps_status status = sql_query_int(db, "PRAGMA user_version", 0, &version, err);
    if (status != PS_OK) {
        return status;
    }
    if (version > MIGRATION_COUNT) {
        return ps_fail_code(err, PS_REFUSED, "catalog_newer",
                            "the catalog has version %lld, this program knows up to %d: use a "
                            "newer program",
                            (long long)version, (int)MIGRATION_COUNT);
    }
    if (version > 0 && version < MIGRATION_COUNT && path != NULL) {
        status = keep_copy(db, path, version, err);
    }
    for (; status == PS_OK && version < MIGRATION_COUNT; version++) {
        status = apply(db, version, err);
    }
    return status;
}
