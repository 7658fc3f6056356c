/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: ours are made, the user's is made or matched by name. */
#include <stdio.h>

#include "agent/dest/dst_sqlite.h"
#include "common/alloc.h"
#include "common/rand.h"

/* Ledger rows are never changed after their transaction. Format: DST_SQLITE_FORMAT. */
static const char own_tables[] =
    "CREATE TABLE IF NOT EXISTS _penstock_file(id INTEGER PRIMARY KEY CHECK (id = 1),"
    " format INTEGER NOT NULL, token BLOB NOT NULL, host BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS _penstock_fence(pipeline_name TEXT PRIMARY KEY NOT NULL,"
    " pipeline_uuid BLOB NOT NULL, generation INTEGER NOT NULL,"
    " gc_before INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _penstock_ledger(batch_id BLOB PRIMARY KEY NOT NULL,"
    " pipeline_uuid BLOB NOT NULL, generation INTEGER NOT NULL,"
    " state TEXT NOT NULL CHECK (state IN ('L', 'T')), epoch INTEGER NOT NULL,"
    " cluster_epoch INTEGER NOT NULL, commit_seq INTEGER NOT NULL, agent TEXT NOT NULL,"
    " leaf INTEGER NOT NULL, spec_rev INTEGER NOT NULL, decoded INTEGER NOT NULL,"
    " rejected INTEGER NOT NULL, filtered INTEGER NOT NULL, inserted INTEGER NOT NULL,"
    " updated INTEGER NOT NULL, skipped INTEGER NOT NULL, rejected_at_load INTEGER NOT NULL,"
    " raw_bytes INTEGER NOT NULL, unwrapped_bytes INTEGER NOT NULL, reason TEXT,"
    " at_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _penstock_ledger_range(pipeline_uuid BLOB NOT NULL,"
    " generation INTEGER NOT NULL, bp_hash BLOB NOT NULL, from_offset INTEGER NOT NULL,"
    " batch_id BLOB NOT NULL, key BLOB NOT NULL, version BLOB NOT NULL,"
    " end_offset INTEGER NOT NULL, eof INTEGER NOT NULL, resume BLOB, records INTEGER NOT NULL,"
    " PRIMARY KEY (pipeline_uuid, generation, bp_hash, from_offset)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS _penstock_ledger_range_batch"
    " ON _penstock_ledger_range(batch_id);";

/* One column of the user's table as SQLite describes it. */
struct table_column {
    char *name;
    bool not_null;
    bool has_default;
    bool generated;
    bool rowid_alias; /* INTEGER PRIMARY KEY: may be left out */
    bool is_any;      /* ANY of a STRICT table */
    char *type;
    int pk; /* 1-based place in the primary key; 0 = none */
};

struct table_shape {
    struct table_column *columns;
    size_t count;
    bool strict;
    bool without_rowid;
};

static void
shape_fini(struct table_shape *shape)
{
    for (size_t i = 0; i < shape->count; i++) {
        ps_free(shape->columns[i].name);
        ps_free(shape->columns[i].type);
    }
    ps_free(shape->columns);
    *shape = (struct table_shape){0};
}

void
dst_sqlite_host(uint8_t out[16])
{
    memset(out, 0, 16);
    FILE *file = fopen("/etc/machine-id", "re");
    if (file == NULL) {
        return;
    }
    char text[64] = {0};
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    if (len >= 32) {
        /* Hashed, as machine-id(5) asks of those who show it to others. */
        struct bp_hash hash = ps_bp_hash(ps_span_str("penstock host"), ps_span(text, 32));
        memcpy(out, hash.id.b, 16);
    }
}

/* ---- reading what is there */

enum ps_status
dst_sqlite_table_exists(struct dst_sqlite *d, const char *table, bool *out, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE", err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    enum ps_status status = dst_sqlite_step(d, stmt, out, err);
    (void)sqlite3_finalize(stmt);
    return status;
}

static char *
text_column(sqlite3_stmt *stmt, int at)
{
    const char *text = (const char *)sqlite3_column_text(stmt, at);
    return ps_xstrdup(text == NULL ? "" : text);
}

static enum ps_status
read_table_list(struct dst_sqlite *d, struct table_shape *shape, bool *out_exists,
                struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d,
        "SELECT type, wr, strict FROM pragma_table_list WHERE schema = 'main'"
        " AND name = ?1 COLLATE NOCASE",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, d->table, -1, SQLITE_STATIC);
    enum ps_status status = dst_sqlite_step(d, stmt, out_exists, err);
    if (status == PS_OK && *out_exists) {
        const char *type = (const char *)sqlite3_column_text(stmt, 0);
        shape->without_rowid = sqlite3_column_int(stmt, 1) != 0;
        shape->strict = sqlite3_column_int(stmt, 2) != 0;
        if (type == NULL || strcmp(type, "table") != 0) {
            status =
                ps_fail_code(err, PS_REFUSED, "bad_table", "sqlite %s: \"%s\" is a %s, not a table",
                             d->path, d->table, type == NULL ? "?" : type);
        }
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

static enum ps_status
read_shape(struct dst_sqlite *d, struct table_shape *shape, bool *out_exists, struct ps_error *err)
{
    *shape = (struct table_shape){0};
    enum ps_status status = read_table_list(d, shape, out_exists, err);
    if (status != PS_OK || !*out_exists) {
        return status;
    }
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d, "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    (void)sqlite3_bind_text(stmt, 1, d->table, -1, SQLITE_STATIC);
    int pk_columns = 0;
    size_t alias = 0;
    for (bool row = true; status == PS_OK;) {
        status = dst_sqlite_step(d, stmt, &row, err);
        if (status != PS_OK || !row) {
            break;
        }
        shape->columns = ps_xrealloc(shape->columns, (shape->count + 1) * sizeof *shape->columns);
        shape->columns[shape->count] = (struct table_column){
            .name = text_column(stmt, 0),
            .type = text_column(stmt, 1),
            .not_null = sqlite3_column_int(stmt, 2) != 0,
            .has_default = sqlite3_column_type(stmt, 3) != SQLITE_NULL,
            .pk = sqlite3_column_int(stmt, 4),
            .generated = sqlite3_column_int(stmt, 5) >= 2,
        };
        struct table_column *column = &shape->columns[shape->count++];
        column->is_any = shape->strict && sqlite3_stricmp(column->type, "ANY") == 0;
        if (column->pk > 0) {
            pk_columns++;
            alias = shape->count - 1;
        }
    }
    (void)sqlite3_finalize(stmt);
    if (status == PS_OK && pk_columns == 1 && !shape->without_rowid) {
        struct table_column *column = &shape->columns[alias];
        column->rowid_alias = sqlite3_stricmp(column->type, "INTEGER") == 0;
    }
    return status;
}

static struct table_column *
find_column(struct table_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (sqlite3_stricmp(shape->columns[i].name, name) == 0) {
            return &shape->columns[i];
        }
    }
    return NULL;
}

/* ---- making tables */

static const char *
created_type(const struct spec_column *column, bool key)
{
    if (key) {
        /* Not "INTEGER": as a primary key that would give a missing key a number of its own. */
        return column->type == COL_BIGINT   ? " BIGINT NOT NULL"
               : column->type == COL_DOUBLE ? " REAL NOT NULL"
                                            : " TEXT NOT NULL";
    }
    /* Text among numbers is kept as it is only where the column converts nothing. */
    if (column->on_mismatch == MISMATCH_TEXT && column->type != COL_TEXT) {
        return "";
    }
    switch (column->type) {
    case COL_TEXT:
        return " TEXT";
    case COL_BIGINT:
        return " INTEGER";
    case COL_DOUBLE:
        return " REAL";
    }
    return "";
}

static enum ps_status
create_table(struct dst_sqlite *d, const struct spec_column *columns, size_t count,
             struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "CREATE TABLE ");
    dst_sqlite_quote(&sql, d->table);
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(&sql, i == 0 ? "(" : ", ");
        dst_sqlite_quote(&sql, columns[i].name);
        ps_buf_xprintf(&sql, "%s",
                       created_type(&columns[i], dest_names_have(&d->keys, columns[i].name)));
    }
    for (size_t i = 0; i < d->keys.count; i++) {
        ps_buf_xprintf(&sql, i == 0 ? ", PRIMARY KEY (" : ", ");
        dst_sqlite_quote(&sql, d->keys.at[i]);
    }
    ps_buf_xprintf(&sql, d->keys.count == 0 ? ")" : "))");
    enum ps_status status = dst_sqlite_exec(d, ps_buf_str(&sql), err);
    ps_buf_fini(&sql);
    return status;
}

static enum ps_status
add_columns(struct dst_sqlite *d, struct table_shape *shape, const struct dest_table *table,
            struct ps_error *err)
{
    enum ps_status status = PS_OK;
    for (size_t i = table->count - table->added; status == PS_OK && i < table->count; i++) {
        const struct spec_column *column = &table->columns[i];
        if (find_column(shape, column->name) != NULL) {
            continue;
        }
        struct ps_buf sql = PS_BUF_INIT;
        ps_buf_xprintf(&sql, "ALTER TABLE ");
        dst_sqlite_quote(&sql, d->table);
        ps_buf_xprintf(&sql, " ADD COLUMN ");
        dst_sqlite_quote(&sql, column->name);
        ps_buf_xprintf(&sql, "%s", created_type(column, false));
        status = dst_sqlite_exec(d, ps_buf_str(&sql), err);
        ps_buf_fini(&sql);
    }
    return status;
}

static enum ps_status
enter_file(struct dst_sqlite *d, struct ps_error *err)
{
    sqlite3_stmt *stmt = dst_sqlite_prepare_text(
        d,
        "INSERT INTO _penstock_file(id, format, token, host) VALUES(1, ?1, ?2, ?3)"
        " ON CONFLICT DO UPDATE SET host = excluded.host RETURNING format",
        err);
    if (stmt == NULL) {
        return dst_sqlite_failed(err);
    }
    uint8_t token[16];
    uint8_t host[16];
    ps_rand_system(token, sizeof token);
    dst_sqlite_host(host);
    (void)sqlite3_bind_int(stmt, 1, DST_SQLITE_FORMAT);
    (void)sqlite3_bind_blob(stmt, 2, token, sizeof token, SQLITE_STATIC);
    (void)sqlite3_bind_blob(stmt, 3, host, sizeof host, SQLITE_STATIC);
    bool row = false;
    enum ps_status status = dst_sqlite_step(d, stmt, &row, err);
    if (status == PS_OK && row && sqlite3_column_int(stmt, 0) > DST_SQLITE_FORMAT) {
        status = ps_fail_code(err, PS_REFUSED, "newer_format",
                              "sqlite %s: its ledger has format %d, made by a newer version",
                              d->path, sqlite3_column_int(stmt, 0));
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

enum ps_status
dst_sqlite_make_tables(struct dst_sqlite *d, const struct dest_table *table, struct ps_error *err)
{
    struct table_shape shape;
    bool exists = false;
    enum ps_status status = read_shape(d, &shape, &exists, err);
    if (status == PS_OK && exists) {
        status = add_columns(d, &shape, table, err);
    }
    shape_fini(&shape);
    if (status == PS_OK && !exists) {
        status = d->may_create ? create_table(d, table->columns, table->count, err)
                               : ps_fail_code(err, PS_REFUSED, "no_table",
                                              "sqlite %s: no table \"%s\", and create is never",
                                              d->path, d->table);
    }
    if (status == PS_OK) {
        status = dst_sqlite_exec(d, own_tables, err);
    }
    if (status == PS_OK) {
        status = dst_sqlite_make_rejects(d, err);
    }
    if (status == PS_OK) {
        status = enter_file(d, err);
    }
    return status;
}

/* ---- matching */

enum affinity { AFF_TEXT, AFF_NUMERIC, AFF_REAL, AFF_NONE };

static bool
type_has(const char *type, const char *part)
{
    size_t len = strlen(part);
    for (const char *at = type; *at != '\0'; at++) {
        if (sqlite3_strnicmp(at, part, (int)len) == 0) {
            return true;
        }
    }
    return false;
}

/* The rules of "Datatypes In SQLite" §3.1, in their order; INTEGER and NUMERIC convert alike. */
static enum affinity
affinity_of(const struct table_column *column)
{
    if (column->is_any) {
        return AFF_NONE;
    }
    if (type_has(column->type, "INT")) {
        return AFF_NUMERIC;
    }
    if (type_has(column->type, "CHAR") || type_has(column->type, "CLOB") ||
        type_has(column->type, "TEXT")) {
        return AFF_TEXT;
    }
    if (column->type[0] == '\0' || type_has(column->type, "BLOB")) {
        return AFF_NONE;
    }
    if (type_has(column->type, "REAL") || type_has(column->type, "FLOA") ||
        type_has(column->type, "DOUB")) {
        return AFF_REAL;
    }
    return AFF_NUMERIC;
}

static enum dst_sqlite_check
check_of(const struct table_column *column, const struct spec_column *ours)
{
    switch (affinity_of(column)) {
    case AFF_NONE:
        return CHECK_NOTHING;
    case AFF_TEXT:
        /* An integer becomes the digits it was read from; a real need not. */
        return ours->type == COL_DOUBLE ? CHECK_NO_REAL : CHECK_NOTHING;
    case AFF_NUMERIC:
        return ours->type == COL_TEXT || ours->on_mismatch == MISMATCH_TEXT ? CHECK_NUMERIC
                                                                            : CHECK_NOTHING;
    case AFF_REAL:
        return ours->type == COL_DOUBLE && ours->on_mismatch != MISMATCH_TEXT ? CHECK_NOTHING
                                                                              : CHECK_REAL;
    }
    return CHECK_NOTHING;
}

static void
set_store(struct dst_sqlite_column *out, const struct table_column *column, enum column_type type)
{
    switch (affinity_of(column)) {
    case AFF_NONE:
        out->store = IMAGE_ANY;
        out->image_takes = true;
        break;
    case AFF_TEXT:
        out->store = IMAGE_TEXT;
        out->image_takes = type == COL_TEXT;
        break;
    case AFF_NUMERIC:
        out->store = IMAGE_INTEGER;
        out->image_takes = type == COL_BIGINT && type_has(column->type, "INT");
        break;
    case AFF_REAL:
        out->store = IMAGE_REAL;
        out->image_takes = type != COL_TEXT;
        break;
    }
}

/* Between one complaint and the next. */
static struct ps_buf *
and_also(struct ps_buf *wrong)
{
    ps_buf_xappend(wrong, "; ", wrong->len > 0 ? 2 : 0);
    return wrong;
}

static void
match_one(const struct table_column *column, const struct spec_column *ours, struct ps_buf *wrong)
{
    if (column->generated) {
        ps_buf_xprintf(and_also(wrong), "column \"%s\" is generated and takes no value",
                       column->name);
    } else if (affinity_of(column) == AFF_TEXT && ours->type == COL_DOUBLE) {
        ps_buf_xprintf(
            and_also(wrong),
            "column \"%s\" has type %s, which would turn numbers with a fraction into other"
            " text (give it `type: text` in columns)",
            column->name, column->type);
    }
}

enum ps_status
dst_sqlite_match(struct dst_sqlite *d, const struct spec_column *columns, size_t count,
                 struct ps_error *err)
{
    struct table_shape shape;
    bool exists = false;
    enum ps_status status = read_shape(d, &shape, &exists, err);
    if (status == PS_OK && !exists) {
        status = ps_fail_code(err, PS_REFUSED, "no_table", "sqlite %s: table \"%s\" is gone",
                              d->path, d->table);
    }
    if (status != PS_OK) {
        shape_fini(&shape);
        return status;
    }
    struct ps_buf wrong = PS_BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        struct table_column *column = find_column(&shape, columns[i].name);
        if (column == NULL) {
            ps_buf_xprintf(and_also(&wrong), "no column \"%s\"", columns[i].name);
        } else {
            match_one(column, &columns[i], &wrong);
        }
    }
    dest_names_check_update(&d->updates, columns, count, &wrong);
    d->columns = ps_xcalloc(count + 1, sizeof *d->columns);
    d->any_check = false;
    size_t filled = 0;
    for (size_t t = 0; t < shape.count; t++) {
        struct table_column *column = &shape.columns[t];
        bool given = false;
        for (size_t i = 0; i < count && filled < count; i++) {
            if (sqlite3_stricmp(columns[i].name, column->name) == 0) {
                given = true;
                enum dst_sqlite_check check = check_of(column, &columns[i]);
                d->any_check = d->any_check || check != CHECK_NOTHING;
                d->columns[filled] = (struct dst_sqlite_column){
                    .cell = (uint32_t)i, .check = check, .name = ps_xstrdup(column->name)};
                set_store(&d->columns[filled++], column, columns[i].type);
            }
        }
        if (!given && column->not_null && !column->has_default && !column->generated &&
            !column->rowid_alias) {
            ps_buf_xprintf(and_also(&wrong),
                           "column \"%s\" is NOT NULL without a default and is not loaded",
                           column->name);
        }
    }
    if (wrong.len > 0) {
        status = ps_fail_code(err, PS_REFUSED, "table_mismatch",
                              "sqlite %s: table \"%s\" does not fit: %s", d->path, d->table,
                              ps_buf_str(&wrong));
    }
    d->ncols = (uint32_t)count;
    d->covers_table = filled == shape.count;
    ps_buf_fini(&wrong);
    shape_fini(&shape);
    return status;
}

enum ps_status
dst_sqlite_read_columns(struct dst_sqlite *d, struct dest_names *out, struct ps_error *err)
{
    struct table_shape shape;
    bool exists = false;
    enum ps_status status = read_shape(d, &shape, &exists, err);
    if (status == PS_OK) {
        *out = (struct dest_names){.at = ps_xcalloc(shape.count + 1, sizeof *out->at)};
        for (size_t i = 0; i < shape.count; i++) {
            if (!shape.columns[i].generated) {
                out->at[out->count++] = ps_xstrdup(shape.columns[i].name);
            }
        }
    }
    shape_fini(&shape);
    return status;
}
