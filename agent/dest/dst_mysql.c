/* SPDX-License-Identifier: Apache-2.0 */
/* mysql: and singlestore: a table on a server that speaks MySQL's protocol, through libmariadb.
 * This file: open, close, prepare. */
#include "agent/dest/dst_mysql.h"

#include "common/alloc.h"
#include "common/secret.h"

enum { NAME_BYTES = 64, SUFFIX_BYTES = 8 }; /* of an identifier; of "_rejects" */

extern const struct dest_ops dst_mysql_ops;
extern const struct dest_ops dst_singlestore_ops;

static void
mysql_dest_close(struct dest *dest)
{
    struct dst_mysql *d = dst_mysql_of(dest);
    if (d == NULL) {
        return;
    }
    dst_mysql_disconnect(d);
    dst_mysql_watch_free(d->watch);
    dest_names_fini(&d->keys);
    dest_names_fini(&d->updates);
    ps_buf_fini(&d->signature);
    ps_buf_fini(&d->form);
    ps_secret_fini(&d->password);
    char *const texts[] = {d->name,    d->shown,    d->host,     d->user,    d->database, d->socket,
                           d->table,   d->quoted,   d->rejects,  d->prefix,  d->place,    d->ssl_ca,
                           d->ssl_key, d->ssl_cert, d->ssl_mode, d->order_by};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ps_free(texts[i]);
    }
    ps_free(d);
}

static char *
quoted(const char *database, const char *table, const char *suffix)
{
    struct ps_buf sql = PS_BUF_INIT;
    char *name = ps_xasprintf("%s%s", table, suffix);
    dst_mysql_quote(&sql, database);
    ps_buf_xappend(&sql, ".", 1);
    dst_mysql_quote(&sql, name);
    ps_free(name);
    char *text = ps_xstrdup(ps_buf_str(&sql));
    ps_buf_fini(&sql);
    return text;
}

/* "table", or "database.table" of another database than the URL's. */
static enum ps_status
split_table(struct dst_mysql *d, const char *given, struct ps_error *err)
{
    const char *dot = strchr(given, '.');
    if (dot != NULL) {
        ps_free(d->database);
        d->database = ps_xasprintf("%.*s", (int)(dot - given), given);
    }
    d->table = ps_xstrdup(dot == NULL ? given : dot + 1);
    if (d->database[0] == '\0' || d->table[0] == '\0' || strlen(d->database) > NAME_BYTES ||
        strlen(d->table) > NAME_BYTES - SUFFIX_BYTES || strncmp(d->table, "_penstock_", 10) == 0) {
        return ps_fail_code(err, PS_REFUSED, "bad_table",
                            "%s: \"%s\" is no table: expected table or database.table, the table "
                            "of 1 to %d bytes",
                            d->shown, given, NAME_BYTES - SUFFIX_BYTES);
    }
    struct ps_buf prefix = PS_BUF_INIT;
    dst_mysql_quote(&prefix, d->database);
    d->prefix = ps_xasprintf("%s.", ps_buf_str(&prefix));
    ps_buf_fini(&prefix);
    d->quoted = quoted(d->database, d->table, "");
    d->rejects = quoted(d->database, d->table, "_rejects");
    d->place = ps_xasprintf("database %s", d->database);
    return PS_OK;
}

static void
read_spec(struct dst_mysql *d, const struct spec *spec)
{
    const char *order_by = spec_str(spec, "destination.order_by");
    d->name = ps_xstrdup(spec_name(spec));
    d->may_create = spec_is(spec, "destination.create", "auto");
    d->on_conflict = spec_is(spec, "destination.on_conflict", "skip")      ? MY_CONFLICT_SKIP
                     : spec_is(spec, "destination.on_conflict", "replace") ? MY_CONFLICT_REPLACE
                     : spec_is(spec, "destination.on_conflict", "update")  ? MY_CONFLICT_UPDATE
                                                                           : MY_CONFLICT_ERROR;
    dest_names_init(&d->keys, spec, "destination.key");
    dest_names_init(&d->updates, spec, "destination.update");
    d->order_by = order_by == NULL ? NULL : ps_xstrdup(order_by);
    d->tolerance = spec_tolerance(spec);
}

static enum ps_status
open_dialect(const struct dst_mysql_dialect *dialect, const struct spec *spec,
             const struct dest_env *env, struct dest **out, struct ps_error *err)
{
    struct dst_mysql *d = ps_xcalloc(1, sizeof *d);
    d->env = *env;
    d->dialect = dialect;
    d->shown = ps_xasprintf("%s:", dialect->scheme);
    read_spec(d, spec);
    enum ps_status status = dst_mysql_read_url(d, spec_str(spec, "destination.url"), err);
    if (status == PS_OK) {
        status = split_table(d, spec_str(spec, "destination.table"), err);
    }
    if (status == PS_OK) {
        d->watch = dst_mysql_watch_new(env->cancel);
        status = dst_mysql_connect(d, err);
    }
    if (status != PS_OK) {
        mysql_dest_close((struct dest *)d);
        return status;
    }
    *out = (struct dest *)d;
    return PS_OK;
}

static enum ps_status
mysql_open(const struct spec *spec, const struct dest_env *env, struct dest **out,
           struct ps_error *err)
{
    return open_dialect(&dst_mysql_dialect, spec, env, out, err);
}

static enum ps_status
singlestore_open(const struct spec *spec, const struct dest_env *env, struct dest **out,
                 struct ps_error *err)
{
    return open_dialect(&dst_singlestore_dialect, spec, env, out, err);
}

static enum ps_status
set_fence(struct dst_mysql *d, const struct dest_table *table, struct ps_error *err)
{
    const struct dest_ledger *ledger = dst_mysql_ledger_of(d);
    enum ps_status status = dest_ledger_check_format(ledger, DST_MYSQL_FORMAT, err);
    if (status == PS_OK) {
        status = dst_mysql_begin(d, table->uuid.id, err);
    }
    if (status == PS_OK) {
        status = dest_ledger_set_fence(ledger, table->uuid, table->generation, err);
    }
    if (status == PS_OK) {
        status = dst_mysql_exec(d, "COMMIT", err);
        d->in_transaction = status != PS_OK;
    }
    dst_mysql_roll_back(d);
    if (status == PS_AGAIN && strcmp(err->code, "lock_timeout") == 0) {
        struct ps_error ignored = {0};
        if (dst_mysql_connect(d, &ignored) != PS_OK ||
            dst_mysql_end_twins(d, table->uuid.id, &ignored) != PS_OK) {
            dst_mysql_disconnect(d);
        }
    }
    return status;
}

static enum ps_status
mysql_prepare(struct dest *dest, const struct dest_table *table, struct dest_state *out_state,
              struct ps_error *err)
{
    struct dst_mysql *d = dst_mysql_of(dest);
    enum ps_status status = dst_mysql_connect(d, err);
    if (status == PS_OK) {
        status = dst_mysql_make_tables(d, table, err);
    }
    if (status == PS_OK) {
        status = set_fence(d, table, err);
    }
    if (status == PS_OK) {
        status = dst_mysql_plan(d, table->columns, table->count, err);
    }
    if (status != PS_OK) {
        dst_mysql_roll_back(d);
        return ps_wrap(err, status, "prepare table %s", d->quoted);
    }
    return dst_mysql_state(dest, table->pipeline_name, out_state, err);
}

const struct dest_ops dst_mysql_ops = {
    .scheme = "mysql",
    .help = "a table on a MariaDB or MySQL server",
    .open = mysql_open,
    .close = mysql_dest_close,
    .prepare = mysql_prepare,
    .state = dst_mysql_state,
    .load = dst_mysql_load,
    .tombstone = dst_mysql_tombstone,
    .ledger = dst_mysql_ledger,
    .rejects = dst_mysql_rejects,
    .ranges = dst_mysql_ranges,
};

const struct dest_ops dst_singlestore_ops = {
    .scheme = "singlestore",
    .help = "a table on a SingleStore server",
    .open = singlestore_open,
    .close = mysql_dest_close,
    .prepare = mysql_prepare,
    .state = dst_mysql_state,
    .load = dst_mysql_load,
    .tombstone = dst_mysql_tombstone,
    .ledger = dst_mysql_ledger,
    .rejects = dst_mysql_rejects,
    .ranges = dst_mysql_ranges,
};
