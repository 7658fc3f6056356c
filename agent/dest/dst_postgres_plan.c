/* SPDX-License-Identifier: Apache-2.0 */
/* The user's table is read and matched by name; and the plan of a load is made of it. */
#include "agent/dest/dst_postgres_plan.h"
#include "common/alloc.h"

static void
shape_fini(struct table_shape *shape)
{
    for (size_t i = 0; i < shape->count; i++) {
        ps_free(shape->columns[i].name);
        ps_free(shape->columns[i].type_name);
    }
    ps_free(shape->columns);
    *shape = (struct table_shape){0};
}

static char *
text_value(const PGresult *result, int row, int column)
{
    struct ps_span text = pg_value_span(result, row, column);
    return ps_xasprintf("%.*s", (int)text.len, (const char *)text.ptr);
}

/* What of the table's own makes a load impossible; NULL = nothing. Bits of the query below. */
static const char *
table_fault(const struct dst_postgres *d, int64_t kind)
{
    if ((kind & 1) != 0) {
        return "is no table";
    }
    /* The other server commits by itself, before this one or without it. */
    if ((kind & 2) != 0) {
        return "is a foreign table or has foreign partitions: what another server commits cannot "
               "be one transaction with the ledger";
    }
    if ((kind & 4) != 0) {
        return "is unlogged: a crash of the server would empty it, and the ledger would still say "
               "that its rows are loaded; ALTER TABLE ... SET LOGGED makes it safe";
    }
    if ((kind & 8) != 0 && d->on_conflict == PG_CONFLICT_ERROR) {
        return "has row-level security that binds this role, and COPY goes past no policy: load as "
               "its owner or as a role with BYPASSRLS, or with another on_conflict";
    }
    return NULL;
}

static enum ps_status
read_shape(struct dst_postgres *d, struct table_shape *shape, struct ps_error *err)
{
    *shape = (struct table_shape){0};
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted);
    PGresult *result = dst_postgres_query(
        d,
        "WITH RECURSIVE part(oid) AS (SELECT to_regclass($1)::oid UNION SELECT i.inhrelid"
        " FROM part JOIN pg_inherits i ON i.inhparent = part.oid),"
        " kind AS (SELECT bit_or(CASE WHEN c.relkind NOT IN ('r', 'p', 'f') THEN 1 ELSE 0 END"
        " | CASE WHEN c.relkind = 'f' THEN 2 ELSE 0 END"
        " | CASE WHEN c.relpersistence = 'u' THEN 4 ELSE 0 END"
        " | CASE WHEN row_security_active(c.oid) THEN 8 ELSE 0 END)::int8 AS bits"
        " FROM part JOIN pg_class c USING (oid))"
        " SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid::int8,"
        " a.atttypmod::int8, a.attnotnull::int::int8,"
        " (a.atthasdef OR a.attidentity <> '')::int::int8,"
        " (a.attgenerated <> '')::int::int8, (a.attidentity = 'a')::int::int8, kind.bits,"
        " (SELECT (relkind = 'p')::int::int8 FROM pg_class WHERE oid = a.attrelid)"
        " FROM pg_attribute a, kind"
        " WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    shape->count = (size_t)PQntuples(result);
    shape->columns = ps_xcalloc(shape->count + 1, sizeof *shape->columns);
    const char *fault = NULL;
    for (int i = 0; i < PQntuples(result); i++) {
        fault = table_fault(d, pg_value_int(result, i, 8));
        shape->partitioned = pg_value_int(result, i, 9) != 0;
        shape->columns[i] = (struct table_column){
            .name = text_value(result, i, 0),
            .type_name = text_value(result, i, 1),
            .type = (Oid)pg_value_int(result, i, 2),
            .typmod = (int32_t)pg_value_int(result, i, 3),
            .not_null = pg_value_int(result, i, 4) != 0,
            .has_default = pg_value_int(result, i, 5) != 0,
            .generated = pg_value_int(result, i, 6) != 0,
            .always_identity = pg_value_int(result, i, 7) != 0,
        };
    }
    PQclear(result);
    return fault == NULL ? PS_OK
                         : ps_fail_code(err, PS_REFUSED, "bad_table", "%s: %s %s", d->shown,
                                        d->quoted, fault);
}

static const struct table_column *
find_column(const struct table_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (strcmp(shape->columns[i].name, name) == 0) {
            return &shape->columns[i];
        }
    }
    return NULL;
}

/* Between one complaint and the next. */
static struct ps_buf *
and_also(struct ps_buf *wrong)
{
    ps_buf_xappend(wrong, "; ", wrong->len > 0 ? 2 : 0);
    return wrong;
}

static void
complain(const struct table_shape *shape, const struct spec_column *columns, size_t count,
         struct ps_buf *wrong)
{
    for (size_t i = 0; i < count; i++) {
        const struct table_column *column = find_column(shape, columns[i].name);
        if (column == NULL) {
            ps_buf_xprintf(and_also(wrong), "there is no column \"%s\"", columns[i].name);
        } else if (column->generated || column->always_identity) {
            ps_buf_xprintf(and_also(wrong), "column \"%s\" is %s and takes no value", column->name,
                           column->generated ? "generated" : "an identity");
        }
    }
    for (size_t i = 0; i < shape->count; i++) {
        const struct table_column *column = &shape->columns[i];
        bool loaded = false;
        for (size_t k = 0; !loaded && k < count; k++) {
            loaded = strcmp(columns[k].name, column->name) == 0;
        }
        if (!loaded && column->not_null && !column->has_default && !column->generated) {
            ps_buf_xprintf(and_also(wrong),
                           "column \"%s\" is NOT NULL, has no default and is not loaded",
                           column->name);
        }
    }
}

void
dst_postgres_plan_drop(struct dst_postgres *d)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        ps_free(d->columns[i].name);
        ps_free(d->columns[i].type_name);
        dst_postgres_type_fini(&d->columns[i]);
    }
    ps_free(d->columns);
    ps_free(d->copy_sql);
    ps_free(d->merge_sql);
    ps_free(d->merge_rest);
    ps_free(d->merge_count);
    ps_free(d->merge_tail);
    d->columns = NULL;
    d->copy_sql = NULL;
    d->merge_sql = NULL;
    d->merge_rest = NULL;
    d->merge_count = NULL;
    d->merge_tail = NULL;
    d->column_count = 0;
    d->ncols = 0;
    ps_buf_clear(&d->signature);
}

void
dst_postgres_append_names(const struct dst_postgres *d, struct ps_buf *sql)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        ps_buf_xprintf(sql, i == 0 ? "" : ", ");
        dst_postgres_quote(sql, d->columns[i].name);
    }
}

static enum ps_status
read_form(struct dst_postgres *d, struct ps_id *out, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, d->quoted);
    PGresult *result = dst_postgres_query(
        d,
        /* With the types that its columns are made of, domains' NOT NULL and enums' labels, and
         * with what copy_checks copies. */
        "WITH RECURSIVE made(oid) AS (SELECT atttypid FROM pg_attribute WHERE attrelid ="
        " to_regclass($1) AND attnum > 0 AND NOT attisdropped UNION SELECT below FROM made JOIN"
        " pg_type t USING (oid), LATERAL (VALUES (t.typbasetype), (t.typelem)) AS v(below)"
        " WHERE below <> 0)"
        " SELECT decode(md5(to_regclass($1)::oid || coalesce(string_agg(format('%s %L %s %s %s %s "
        "%s',"
        " attnum, attname, atttypid, atttypmod, attnotnull, attidentity, attgenerated), ','"
        " ORDER BY attnum), '') || coalesce((SELECT string_agg(oid::text, ',' ORDER BY oid) FROM"
        " made JOIN pg_type USING (oid) WHERE typnotnull), '') || coalesce((SELECT"
        " string_agg(quote_literal(enumlabel), ',' ORDER BY e.oid) FROM made JOIN pg_enum e ON"
        " e.enumtypid = made.oid), '') || coalesce((SELECT string_agg(c.oid::text, ',' ORDER BY"
        " c.oid) FROM pg_constraint c WHERE conrelid = to_regclass($1) AND contype = 'c'), '')"
        " || (SELECT count(*) FROM" BEFORE_TRIGGERS ")), 'hex'),"
        " (SELECT count(*) FROM pg_constraint WHERE conrelid = to_regclass($1) AND (contype = 't'"
        " OR (contype = 'f' AND (confrelid = conrelid OR confrelid IN (SELECT"
        " pg_partition_ancestors(conrelid)))))) FROM pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    *out = (struct ps_id){{0}}; /* no table: NULL */
    (void)!pg_value_id(result, 0, 0, out);
    d->own_parents = pg_value_int(result, 0, 1) > 0;
    PQclear(result);
    return PS_OK;
}

enum ps_status
dst_postgres_hold_table(struct dst_postgres *d, struct ps_error *err)
{
    struct ps_id form = {{0}};
    char *sql = ps_xasprintf("LOCK TABLE %s IN ROW EXCLUSIVE MODE", d->quoted);
    enum ps_status status = dst_postgres_exec(d, sql, NULL, err);
    ps_free(sql);
    if (status == PS_OK) {
        status = read_form(d, &form, err);
    }
    if (status == PS_OK && !ps_id_eq(form, d->table_form)) {
        dst_postgres_plan_drop(d);
        status = ps_fail_code(err, PS_AGAIN, "table_changed",
                              "%s: table %s was altered while it is loaded", d->shown, d->quoted);
    }
    return status;
}

static enum ps_status
set_column(struct dst_postgres *d, const struct table_column *column, uint32_t cell,
           struct ps_error *err)
{
    struct dst_postgres_column *out = &d->columns[d->column_count++];
    *out = (struct dst_postgres_column){.name = ps_xstrdup(column->name),
                                        .type_name = ps_xstrdup(column->type_name),
                                        .cell = cell,
                                        .not_null = column->not_null};
    enum ps_status status = dst_postgres_type_find(d, column->type, column->typmod, out, err);
    d->by_server = d->by_server || out->type == PG_BY_SERVER;
    return status;
}

static enum ps_status
make_plan(struct dst_postgres *d, const struct table_shape *shape,
          const struct spec_column *columns, size_t count, struct ps_error *err)
{
    d->columns = ps_xcalloc(count, sizeof *d->columns);
    d->by_server = false;
    for (size_t i = 0; i < count; i++) {
        enum ps_status status =
            set_column(d, find_column(shape, columns[i].name), (uint32_t)i, err);
        if (status != PS_OK) {
            return status;
        }
    }
    struct ps_buf sql = PS_BUF_INIT;
    bool staged = d->on_conflict != PG_CONFLICT_ERROR;
    ps_buf_xprintf(&sql, "COPY %s(", staged ? "pg_temp._penstock_stage" : d->quoted);
    dst_postgres_append_names(d, &sql);
    ps_buf_xprintf(&sql, ") FROM STDIN%s", d->by_server ? "" : " (FORMAT binary)");
    d->copy_sql = ps_xstrdup(ps_buf_str(&sql));
    ps_buf_fini(&sql);
    return staged ? dst_postgres_make_stage(d, shape, err) : PS_OK;
}

void
dst_postgres_spell(struct dst_postgres *d, const struct spec_column *columns, size_t count)
{
    for (size_t i = 0; i < d->keys.count; i++) {
        dest_names_spell(&d->keys.at[i], columns, count);
    }
    if (d->order_by != NULL) {
        dest_names_spell(&d->order_by, columns, count);
    }
}

enum ps_status
dst_postgres_plan(struct dst_postgres *d, const struct spec_column *columns, size_t count,
                  struct ps_error *err)
{
    struct ps_buf signature = PS_BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(&signature, "%zu:%s,", strlen(columns[i].name), columns[i].name);
    }
    bool same =
        d->ncols == count && ps_span_eq(ps_buf_span(&signature), ps_buf_span(&d->signature));
    if (same) {
        ps_buf_fini(&signature);
        return PS_OK;
    }
    dst_postgres_plan_drop(d);
    dst_postgres_spell(d, columns, count);
    struct table_shape shape = {0};
    struct ps_buf wrong = PS_BUF_INIT;
    struct ps_id form = {{0}};
    /* Before the shape: an ALTER between the two shows when the table is held. */
    enum ps_status status = read_form(d, &form, err);
    if (status == PS_OK) {
        status = read_shape(d, &shape, err);
    }
    if (status == PS_OK && shape.count == 0) {
        status = ps_fail_code(err, PS_REFUSED, "not_visible", "%s: there is no table %s", d->shown,
                              d->quoted);
    }
    if (status == PS_OK) {
        complain(&shape, columns, count, &wrong);
        dest_names_check_update(&d->updates, columns, count, &wrong);
        status = wrong.len == 0
                     ? make_plan(d, &shape, columns, count, err)
                     : ps_fail_code(err, PS_REFUSED, "table_mismatch", "%s: table %s: %s", d->shown,
                                    d->quoted, ps_buf_str(&wrong));
    }
    if (status == PS_OK) {
        d->ncols = (uint32_t)count;
        d->table_form = form;
        ps_buf_xappend(&d->signature, signature.ptr, signature.len);
    } else {
        dst_postgres_plan_drop(d);
    }
    ps_buf_fini(&wrong);
    ps_buf_fini(&signature);
    shape_fini(&shape);
    return status;
}
