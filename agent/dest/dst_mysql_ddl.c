/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: ours are made, the user's where it is missing. DDL commits what is open, so none of it
 * runs within a load. */
#include <strings.h>

#include "agent/dest/dst_mysql.h"
#include "common/alloc.h"

enum { KEY_CHARS = 768 }; /* InnoDB: 3072 bytes of key, four a character */

/* A statement to which the server may say that number: *out_said, which is no failure. */
static enum ps_status
run_unless(struct dst_mysql *d, const char *sql, unsigned number, bool *out_said,
           struct ps_error *err)
{
    struct ps_error why = {0};
    enum ps_status status = dst_mysql_exec(d, sql, &why);
    *out_said = status != PS_OK && d->conn != NULL && mysql_errno(d->conn) == number;
    if (*out_said) {
        return PS_OK;
    }
    if (status != PS_OK && err != NULL) {
        *err = why;
    }
    return status;
}

enum ps_status
dst_mysql_exists(struct dst_mysql *d, const char *quoted, bool *out, struct ps_error *err)
{
    bool missing = false;
    char *sql = ps_xasprintf("SELECT 1 FROM %s LIMIT 0", quoted);
    enum ps_status status = run_unless(d, sql, ER_NO_SUCH_TABLE, &missing, err);
    ps_free(sql);
    *out = status == PS_OK && !missing;
    return status;
}

static bool
is_text(const struct spec_column *column)
{
    /* Text among numbers is kept as it is only where the column is text. */
    return column->on_mismatch == MISMATCH_TEXT || column->type == COL_TEXT;
}

static void
append_type(const struct spec_column *column, unsigned key_chars, struct ps_buf *sql)
{
    if (!is_text(column)) {
        ps_buf_xprintf(sql, "%s", column->type == COL_BIGINT ? "BIGINT" : "DOUBLE");
    } else if (key_chars > 0) {
        ps_buf_xprintf(sql, "VARCHAR(%u)", key_chars);
    } else {
        ps_buf_xprintf(sql, "LONGTEXT");
    }
}

static enum ps_status
create_table(struct dst_mysql *d, const struct dest_table *table, struct ps_error *err)
{
    unsigned texts = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct spec_column *column = &table->columns[i];
        texts += is_text(column) && dest_names_have(&d->keys, column->name);
    }
    unsigned chars = texts == 0 ? 0 : KEY_CHARS / texts < 255 ? KEY_CHARS / texts : 255;
    struct ps_buf sql = PS_BUF_INIT;
    ps_buf_xprintf(&sql, "CREATE TABLE IF NOT EXISTS %s", d->quoted);
    for (size_t i = 0; i < table->count; i++) {
        const struct spec_column *column = &table->columns[i];
        bool key = dest_names_have(&d->keys, column->name);
        ps_buf_xprintf(&sql, i == 0 ? "(" : ", ");
        dst_mysql_quote(&sql, column->name);
        ps_buf_xprintf(&sql, " ");
        append_type(column, key ? chars : 0, &sql);
        ps_buf_xprintf(&sql, "%s", key ? " NOT NULL" : "");
    }
    for (size_t i = 0; i < d->keys.count; i++) {
        ps_buf_xprintf(&sql, i == 0 ? ", PRIMARY KEY (" : ", ");
        dst_mysql_quote(&sql, d->keys.at[i]);
    }
    ps_buf_xprintf(&sql, "%s%s", d->keys.count == 0 ? ")" : "))", d->dialect->table_tail);
    enum ps_status status = dst_mysql_exec(d, ps_buf_str(&sql), err);
    ps_buf_fini(&sql);
    return status;
}

/* One that another session adds at the same moment is as good as ours; the plan looks at what it
 * is. MySQL has no ADD COLUMN IF NOT EXISTS, and the shape is of the moment before. */
static enum ps_status
add_columns(struct dst_mysql *d, const struct dest_table *table, struct ps_error *err)
{
    struct dst_mysql_shape shape = {0};
    bool is_there = false;
    enum ps_status status = table->added == 0 ? PS_OK : dst_mysql_shape_read(d, &shape, err);
    for (size_t i = table->count - table->added; status == PS_OK && i < table->count; i++) {
        const struct spec_column *column = &table->columns[i];
        if (dst_mysql_shape_find(&shape, column->name) != NULL) {
            continue;
        }
        struct ps_buf sql = PS_BUF_INIT;
        ps_buf_xprintf(&sql, "ALTER TABLE %s ADD COLUMN ", d->quoted);
        dst_mysql_quote(&sql, column->name);
        ps_buf_xprintf(&sql, " ");
        append_type(column, 0, &sql);
        ps_buf_xprintf(&sql, " NULL");
        status = run_unless(d, ps_buf_str(&sql), ER_DUP_FIELDNAME, &is_there, err);
        ps_buf_fini(&sql);
    }
    dst_mysql_shape_fini(&shape);
    return status;
}

/* Puts the words into a statement of dst_mysql_own_tables. */
static void
append_own(const struct dst_mysql *d, const char *sql, struct ps_buf *out)
{
    bool shown = true;
    for (const char *at = sql; *at != '\0';) {
        size_t len = strcspn(at, "$");
        ps_buf_xappend(out, at, shown ? len : 0);
        at += len;
        if (*at == '\0') {
            return;
        }
        const char *put = at[1] == 'S'   ? d->prefix
                          : at[1] == 'R' ? d->rejects
                          : at[1] == 'K' ? d->dialect->table_kind
                          : at[1] == 'T' ? d->dialect->table_tail
                                         : "";
        shown = at[1] == '(' ? d->dialect->is_sharded : at[1] == ')' || shown;
        ps_buf_xprintf(out, "%s", put);
        at += 2;
    }
}

static enum ps_status
create_own(struct dst_mysql *d, struct ps_error *err)
{
    char *rejects = ps_xasprintf("%s_rejects", d->table);
    const char *const names[] = {"_penstock_fence", "_penstock_ledger", "_penstock_ledger_range",
                                 rejects};
    enum ps_status status = PS_OK;
    for (size_t i = 0; status == PS_OK && dst_mysql_own_tables[i] != NULL; i++) {
        struct ps_buf sql = PS_BUF_INIT;
        append_own(d, dst_mysql_own_tables[i], &sql);
        status = dst_mysql_exec(d, ps_buf_str(&sql), err);
        ps_buf_fini(&sql);
    }
    /* One that was there may have been made, or altered, by somebody else. */
    for (size_t i = 0; status == PS_OK && i < sizeof names / sizeof names[0]; i++) {
        status = dst_mysql_check_engine(d, names[i], err);
    }
    ps_free(rejects);
    return status;
}

enum ps_status
dst_mysql_make_tables(struct dst_mysql *d, const struct dest_table *table, struct ps_error *err)
{
    bool exists = false;
    enum ps_status status = dst_mysql_exists(d, d->quoted, &exists, err);
    if (status == PS_OK && !exists) {
        status = d->may_create
                     ? create_table(d, table, err)
                     : ps_fail_code(err, PS_REFUSED, "no_table",
                                    "%s: no table %s, and create is never", d->shown, d->quoted);
    } else if (status == PS_OK) {
        status = add_columns(d, table, err);
    }
    return status == PS_OK ? create_own(d, err) : status;
}
