/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a load: the table's columns matched by name, and the statements. */
#include <strings.h>

#include "agent/dest/dst_mysql.h"
#include "common/alloc.h"

/* Between one complaint and the next. */
static struct ps_buf *
and_also(struct ps_buf *wrong)
{
    ps_buf_xappend(wrong, "; ", wrong->len > 0 ? 2 : 0);
    return wrong;
}

static bool
is_loaded(const struct spec_column *columns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(columns[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void
complain(const struct dst_mysql_shape *shape, const struct spec_column *columns, size_t count,
         struct ps_buf *wrong)
{
    for (size_t i = 0; i < count; i++) {
        const struct dst_mysql_shape_column *column = dst_mysql_shape_find(shape, columns[i].name);
        if (column == NULL) {
            ps_buf_xprintf(and_also(wrong), "there is no column \"%s\"", columns[i].name);
        } else if (column->generated) {
            ps_buf_xprintf(and_also(wrong), "column \"%s\" is generated and takes no value",
                           column->name);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcasecmp(columns[i].name, columns[k].name) == 0) {
                ps_buf_xprintf(and_also(wrong), "\"%s\" and \"%s\" are one column here",
                               columns[k].name, columns[i].name);
            }
        }
    }
    for (size_t i = 0; i < shape->count; i++) {
        const struct dst_mysql_shape_column *column = &shape->columns[i];
        if (!is_loaded(columns, count, column->name) && column->not_null && !column->has_default &&
            !column->generated && !column->auto_increment) {
            ps_buf_xprintf(and_also(wrong),
                           "column \"%s\" is NOT NULL, has no default and is not loaded",
                           column->name);
        }
    }
}

void
dst_mysql_plan_drop(struct dst_mysql *d)
{
    for (uint32_t i = 0; i < d->column_count; i++) {
        dst_mysql_column_fini(&d->columns[i]);
    }
    ps_free(d->columns);
    ps_free(d->target);
    ps_free(d->names);
    ps_free(d->load_tail);
    ps_free(d->merge_update_sql);
    ps_free(d->merge_insert_sql);
    ps_free(d->merge_new_sql);
    ps_free(d->merge_repeats_sql);
    ps_free(d->merge_updates_sql);
    d->columns = NULL;
    d->target = NULL;
    d->names = NULL;
    d->load_tail = NULL;
    d->merge_update_sql = NULL;
    d->merge_insert_sql = NULL;
    d->merge_new_sql = NULL;
    d->merge_repeats_sql = NULL;
    d->merge_updates_sql = NULL;
    d->column_count = 0;
    d->ncols = 0;
    d->stage_used = false;
    ps_buf_clear(&d->signature);
    ps_buf_clear(&d->form);
}

/* ---- the table's form */

static void
append_field(struct ps_buf *out, const MYSQL_FIELD *field)
{
    ps_buf_xprintf(out, "%zu:%s %d %lu %u %u %u;", strlen(field->name), field->name,
                   (int)field->type, field->length, field->flags, field->decimals,
                   field->charsetnr);
}

/* Reading no row of it takes the table's lock as every statement does, until the transaction ends,
 * and the answer describes its columns. */
static enum ps_status
read_form(struct dst_mysql *d, struct ps_buf *out, struct ps_error *err)
{
    MYSQL_RES *result = NULL;
    char *sql = ps_xasprintf("SELECT * FROM %s LIMIT 0", d->quoted);
    enum ps_status status = dst_mysql_query(d, sql, strlen(sql), &result, err);
    ps_free(sql);
    ps_buf_clear(out);
    for (unsigned i = 0; result != NULL && i < mysql_num_fields(result); i++) {
        append_field(out, mysql_fetch_field_direct(result, i));
    }
    mysql_free_result(result);
    return status;
}

enum ps_status
dst_mysql_hold(struct dst_mysql *d, struct ps_error *err)
{
    struct ps_buf form = PS_BUF_INIT;
    enum ps_status status = read_form(d, &form, err);
    if (status == PS_OK && !ps_span_eq(ps_buf_span(&form), ps_buf_span(&d->form))) {
        dst_mysql_plan_drop(d);
        status = ps_fail_code(err, PS_AGAIN, "table_changed",
                              "%s: table %s was altered while it is loaded", d->shown, d->quoted);
    }
    ps_buf_fini(&form);
    return status;
}

/* ---- statements */

/* Bytes go as they are where all texts of the table are UTF-8; else the server converts texts, and
 * what is no text needs a form that no conversion touches. */
static void
choose_charset(struct dst_mysql *d)
{
    bool converts = false;
    bool binary = false;
    for (uint32_t i = 0; i < d->column_count; i++) {
        converts = converts || d->columns[i].as_text;
        binary = binary || d->columns[i].type == MY_BINARY || d->columns[i].type == MY_BIT;
    }
    d->hex = converts && binary;
    struct ps_buf sql = PS_BUF_INIT;
    struct ps_buf assigned = PS_BUF_INIT;
    ps_buf_xprintf(&sql,
                   " INTO TABLE %s CHARACTER SET %s"
                   " FIELDS TERMINATED BY ',' ENCLOSED BY '\\'' ESCAPED BY '\\\\'"
                   " LINES TERMINATED BY '\\n' (",
                   d->target, converts ? "utf8mb4" : "binary");
    for (uint32_t i = 0; i < d->column_count; i++) {
        const struct dst_mysql_column *column = &d->columns[i];
        ps_buf_xprintf(&sql, i == 0 ? "" : ", ");
        if (d->hex && (column->type == MY_BINARY || column->type == MY_BIT)) {
            ps_buf_xprintf(&sql, "@_penstock_%u", i);
            ps_buf_xprintf(&assigned, assigned.len == 0 ? " SET " : ", ");
            dst_mysql_quote(&assigned, column->name);
            ps_buf_xprintf(&assigned, " = UNHEX(@_penstock_%u)", i);
        } else {
            dst_mysql_quote(&sql, column->name);
        }
    }
    ps_buf_xprintf(&sql, ")%s", ps_buf_str(&assigned));
    d->load_tail = ps_xstrdup(ps_buf_str(&sql));
    ps_buf_fini(&assigned);
    ps_buf_fini(&sql);
}

static enum ps_status
make_plan(struct dst_mysql *d, const struct dst_mysql_shape *shape,
          const struct spec_column *columns, size_t count, struct ps_error *err)
{
    struct ps_buf names = PS_BUF_INIT;
    d->columns = ps_xcalloc(count, sizeof *d->columns);
    for (size_t i = 0; i < count; i++) {
        struct dst_mysql_column *column = &d->columns[d->column_count++];
        dst_mysql_column_init(d, dst_mysql_shape_find(shape, columns[i].name), column);
        column->cell = (uint32_t)i;
        ps_buf_xprintf(&names, i == 0 ? "" : ", ");
        dst_mysql_quote(&names, column->name);
    }
    d->names = ps_xstrdup(ps_buf_str(&names));
    ps_buf_fini(&names);
    enum ps_status status = PS_OK;
    if (d->on_conflict == MY_CONFLICT_ERROR) {
        d->target = ps_xstrdup(d->quoted);
    } else {
        status = dst_mysql_make_stage(d, shape, err);
    }
    if (status == PS_OK) {
        choose_charset(d);
    }
    return status;
}

/* Here, where no transaction is open: TRUNCATE would end it, and a rollback is no help for what was
 * committed with it. */
static enum ps_status
empty_stage(struct dst_mysql *d, struct ps_error *err)
{
    if (!d->stage_used) {
        return PS_OK;
    }
    char *sql = ps_xasprintf("TRUNCATE TABLE %s", d->target);
    enum ps_status status = dst_mysql_exec(d, sql, err);
    ps_free(sql);
    d->stage_used = status != PS_OK;
    return status;
}

enum ps_status
dst_mysql_plan(struct dst_mysql *d, const struct spec_column *columns, size_t count,
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
        return empty_stage(d, err);
    }
    dst_mysql_plan_drop(d);
    struct dst_mysql_shape shape = {0};
    struct ps_buf wrong = PS_BUF_INIT;
    bool there = false;
    enum ps_status status = dst_mysql_exists(d, d->quoted, &there, err);
    if (status == PS_OK && !there) {
        status = ps_fail_code(err, PS_REFUSED, "not_visible", "%s: there is no table %s", d->shown,
                              d->quoted);
    }
    if (status == PS_OK) {
        status = dst_mysql_check_engine(d, d->table, err);
    }
    if (status == PS_OK) {
        /* Before the shape: an ALTER between the two shows when the table is held. */
        status = read_form(d, &d->form, err);
    }
    if (status == PS_OK) {
        status = dst_mysql_shape_read(d, &shape, err);
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
        ps_buf_xappend(&d->signature, signature.ptr, signature.len);
    } else {
        dst_mysql_plan_drop(d);
    }
    ps_buf_fini(&wrong);
    ps_buf_fini(&signature);
    dst_mysql_shape_fini(&shape);
    return status;
}
