/* SPDX-License-Identifier: Apache-2.0 */
/* The user's table as the server describes it, and what the values of each column are checked
 * against. */
#include <stdlib.h>
#include <strings.h>

#include "agent/dest/dst_mysql.h"
#include "common/alloc.h"

void
dst_mysql_shape_fini(struct dst_mysql_shape *shape)
{
    for (size_t i = 0; i < shape->count; i++) {
        ps_free(shape->columns[i].name);
        ps_free(shape->columns[i].data_type);
        ps_free(shape->columns[i].column_type);
        ps_free(shape->columns[i].charset);
        ps_free(shape->columns[i].collation);
    }
    ps_free(shape->columns);
    *shape = (struct dst_mysql_shape){0};
}

static char *
text(const char *value)
{
    return value == NULL ? NULL : ps_xstrdup(value);
}

static uint64_t
number(const char *value)
{
    return value == NULL ? 0 : strtoull(value, NULL, 10);
}

/* … WHERE the table is this one. */
static void
append_where(const struct dst_mysql *d, const char *table, struct ps_buf *sql)
{
    ps_buf_xprintf(sql, " WHERE table_schema = CONVERT(");
    dst_mysql_literal(sql, ps_span_str(d->database), true);
    ps_buf_xprintf(sql, " USING utf8) AND table_name = CONVERT(");
    dst_mysql_literal(sql, ps_span_str(table), true);
    ps_buf_xprintf(sql, " USING utf8)");
}

/* JSON is another word for LONGTEXT with a CHECK in MariaDB. */
static enum ps_status
find_json(struct dst_mysql *d, struct dst_mysql_shape *shape, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    MYSQL_RES *result = NULL;
    ps_buf_xprintf(&sql, "SELECT check_clause FROM information_schema.check_constraints WHERE"
                         " constraint_schema = ");
    dst_mysql_literal(&sql, ps_span_str(d->database), true);
    ps_buf_xprintf(&sql, " AND table_name = ");
    dst_mysql_literal(&sql, ps_span_str(d->table), true);
    enum ps_status status = dst_mysql_query(d, ps_buf_str(&sql), sql.len, &result, err);
    for (MYSQL_ROW row; status == PS_OK && (row = mysql_fetch_row(result)) != NULL;) {
        for (size_t i = 0; row[0] != NULL && i < shape->count; i++) {
            ps_buf_clear(&sql);
            ps_buf_xprintf(&sql, "json_valid(");
            dst_mysql_quote(&sql, shape->columns[i].name);
            ps_buf_xprintf(&sql, ")");
            shape->columns[i].is_json |= strcmp(row[0], ps_buf_str(&sql)) == 0;
        }
    }
    mysql_free_result(result);
    ps_buf_fini(&sql);
    return status;
}

enum ps_status
dst_mysql_shape_read(struct dst_mysql *d, struct dst_mysql_shape *out, struct ps_error *err)
{
    *out = (struct dst_mysql_shape){0};
    struct ps_buf sql = PS_BUF_INIT;
    MYSQL_RES *result = NULL;
    ps_buf_xprintf(&sql, "SELECT column_name, data_type, column_type, character_set_name,"
                         " character_maximum_length, numeric_precision, numeric_scale,"
                         " datetime_precision, is_nullable = 'NO', column_default IS NOT NULL,"
                         " extra, collation_name FROM information_schema.columns");
    append_where(d, d->table, &sql);
    ps_buf_xprintf(&sql, " ORDER BY ordinal_position");
    enum ps_status status = dst_mysql_query(d, ps_buf_str(&sql), sql.len, &result, err);
    ps_buf_fini(&sql);
    if (status != PS_OK) {
        return status;
    }
    out->columns = ps_xcalloc(mysql_num_rows(result) + 1, sizeof *out->columns);
    for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;) {
        const char *extra = row[10] == NULL ? "" : row[10];
        out->columns[out->count++] = (struct dst_mysql_shape_column){
            .name = text(row[0]),
            .data_type = text(row[1]),
            .column_type = text(row[2]),
            .charset = text(row[3]),
            .collation = text(row[11]),
            .most_chars = number(row[4]),
            .precision = (uint32_t)number(row[5]),
            .scale = (uint32_t)number(row[6]),
            .fraction = (uint32_t)number(row[7]),
            .not_null = number(row[8]) != 0,
            .has_default = number(row[9]) != 0,
            /* MySQL says DEFAULT_GENERATED of an expression that is a default. */
            .generated = strstr(extra, "VIRTUAL") != NULL || strstr(extra, "STORED") != NULL ||
                         strstr(extra, "PERSISTENT") != NULL,
            .auto_increment = strstr(extra, "auto_increment") != NULL,
        };
    }
    mysql_free_result(result);
    return d->is_mariadb && d->version >= 100221 ? find_json(d, out, err) : PS_OK;
}

const struct dst_mysql_shape_column *
dst_mysql_shape_find(const struct dst_mysql_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (strcasecmp(shape->columns[i].name, name) == 0) {
            return &shape->columns[i];
        }
    }
    return NULL;
}

enum ps_status
dst_mysql_check_engine(struct dst_mysql *d, const char *table, struct ps_error *err)
{
    struct ps_buf sql = PS_BUF_INIT;
    MYSQL_RES *result = NULL;
    ps_buf_xprintf(&sql, "SELECT t.table_type, t.engine, e.transactions FROM (SELECT table_type,"
                         " engine FROM information_schema.tables");
    append_where(d, table, &sql);
    ps_buf_xprintf(&sql, ") t LEFT JOIN information_schema.engines e ON e.engine = t.engine");
    enum ps_status status = dst_mysql_query(d, ps_buf_str(&sql), sql.len, &result, err);
    ps_buf_fini(&sql);
    MYSQL_ROW row = status == PS_OK ? mysql_fetch_row(result) : NULL;
    const char *kind = row == NULL || row[0] == NULL ? "BASE TABLE" : row[0];
    if (row != NULL && strstr(kind, "TABLE") == NULL) {
        status = ps_fail_code(err, PS_REFUSED, "bad_table",
                              "%s: %s is no table but a %s: name the table below it", d->shown,
                              table, kind);
    } else if (row != NULL && d->dialect->has_engines &&
               (row[2] == NULL || strcmp(row[2], "YES") != 0)) {
        status = ps_fail_code(err, PS_REFUSED, "no_transactions",
                              "%s: table %s has engine %s, which cannot roll back: rows could be "
                              "there twice or in part; ALTER TABLE … ENGINE = InnoDB",
                              d->shown, table, row[1] == NULL ? "?" : row[1]);
    }
    mysql_free_result(result);
    return status;
}

/* ---- columns */

static const struct {
    const char *data_type;
    enum dst_mysql_type type;
    unsigned bits;
} types[] = {
    {"tinyint", MY_INT, 8},       {"smallint", MY_INT, 16},     {"mediumint", MY_INT, 24},
    {"int", MY_INT, 32},          {"integer", MY_INT, 32},      {"bigint", MY_INT, 64},
    {"decimal", MY_DECIMAL, 0},   {"numeric", MY_DECIMAL, 0},   {"float", MY_FLOAT, 0},
    {"double", MY_DOUBLE, 0},     {"real", MY_DOUBLE, 0},       {"char", MY_CHARS, 0},
    {"varchar", MY_CHARS, 0},     {"tinytext", MY_TEXT, 0},     {"text", MY_TEXT, 0},
    {"mediumtext", MY_TEXT, 0},   {"longtext", MY_TEXT, 0},     {"binary", MY_BINARY, 0},
    {"varbinary", MY_BINARY, 0},  {"tinyblob", MY_BINARY, 0},   {"blob", MY_BINARY, 0},
    {"mediumblob", MY_BINARY, 0}, {"longblob", MY_BINARY, 0},   {"date", MY_DATE, 0},
    {"time", MY_TIME, 0},         {"datetime", MY_DATETIME, 0}, {"timestamp", MY_TIMESTAMP, 0},
    {"year", MY_YEAR, 0},         {"bit", MY_BIT, 0},           {"enum", MY_ENUM, 0},
    {"set", MY_SET, 0},           {"json", MY_JSON, 0},         {"uuid", MY_UUID, 0},
    {"inet4", MY_INET4, 0},       {"inet6", MY_INET6, 0},
};

/* enum('a','it''s'): the texts between the quotes. */
static void
read_members(const char *column_type, struct dst_mysql_column *out)
{
    for (const char *at = strchr(column_type, '\''); at != NULL; at = strchr(at, '\'')) {
        struct ps_buf member = PS_BUF_INIT;
        for (at++; *at != '\0' && (*at != '\'' || at[1] == '\''); at++) {
            ps_buf_xappend(&member, at, 1);
            at += *at == '\'';
        }
        out->members = ps_xrealloc(out->members, (out->member_count + 1) * sizeof *out->members);
        out->members[out->member_count++] = ps_xstrdup(ps_buf_str(&member));
        ps_buf_fini(&member);
        at += *at != '\0';
    }
}

static void
set_integer(unsigned bits, struct dst_mysql_column *out)
{
    uint64_t top = UINT64_C(1) << (bits - 1);
    if (out->is_unsigned) {
        out->type = MY_UNSIGNED;
        out->high = top - 1 + top;
    } else {
        out->high = top - 1;
        out->low = -(int64_t)(top - 1) - 1;
    }
}

static bool
is_charset(const struct dst_mysql_shape_column *column, const char *name)
{
    return column->charset != NULL && strcasecmp(column->charset, name) == 0;
}

void
dst_mysql_column_init(const struct dst_mysql *d, const struct dst_mysql_shape_column *from,
                      struct dst_mysql_column *out)
{
    unsigned bits = 0;
    *out = (struct dst_mysql_column){.name = ps_xstrdup(from->name),
                                     .type_name = ps_xstrdup(from->column_type),
                                     .type = MY_BY_SERVER,
                                     .not_null = from->not_null && !from->auto_increment,
                                     .is_unsigned = strstr(from->column_type, "unsigned") != NULL,
                                     .most = from->most_chars,
                                     .precision = from->precision,
                                     .scale = from->scale,
                                     .zone_us = d->zone_us};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcasecmp(from->data_type, types[i].data_type) == 0) {
            out->type = types[i].type;
            bits = types[i].bits;
        }
    }
    if (from->is_json) {
        out->type = MY_JSON;
    }
    out->utf8mb3 = is_charset(from, "utf8mb3") || is_charset(from, "utf8");
    out->as_text = from->charset != NULL && !out->utf8mb3 && !is_charset(from, "utf8mb4") &&
                   !is_charset(from, "ascii");
    switch (out->type) {
    case MY_INT:
        set_integer(bits, out);
        if (strcasecmp(from->column_type, "tinyint(1)") == 0) {
            out->type = MY_BOOL;
        }
        break;
    case MY_BIT:
        bits = from->precision == 0 ? 1 : from->precision;
        out->high = bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
        out->most = (bits + 7) / 8;
        break;
    case MY_TIME:
    case MY_DATETIME:
    case MY_TIMESTAMP:
        out->precision = from->fraction;
        /* 2038-01-19 03:14:07; unsigned seconds since MariaDB 11.5 */
        out->last_us =
            (d->is_mariadb && d->version >= 110500 ? INT64_C(4294967295) : INT64_C(2147483647)) *
                1000000 +
            999999;
        break;
    case MY_ENUM:
    case MY_SET:
        read_members(from->column_type, out);
        break;
    case MY_UNSIGNED:
    case MY_BOOL:
    case MY_DECIMAL:
    case MY_FLOAT:
    case MY_DOUBLE:
    case MY_CHARS:
    case MY_TEXT:
    case MY_BINARY:
    case MY_DATE:
    case MY_YEAR:
    case MY_JSON:
    case MY_UUID:
    case MY_INET4:
    case MY_INET6:
    case MY_BY_SERVER:
        break;
    }
}

void
dst_mysql_column_fini(struct dst_mysql_column *column)
{
    for (size_t i = 0; i < column->member_count; i++) {
        ps_free(column->members[i]);
    }
    ps_free(column->members);
    ps_free(column->name);
    ps_free(column->type_name);
    *column = (struct dst_mysql_column){0};
}
