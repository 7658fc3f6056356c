/* SPDX-License-Identifier: Apache-2.0 */
/* postgresql: a table on a PostgreSQL server, through libpq. This file: connection, statements. */
#include "agent/dest/dst_postgres.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/secret.h"

enum {
    LOOK_MS = 200,      /* between looks at the cancel flag */
    CONNECT_MS = 10000, /* where the URL does not say connect_timeout */
    OID_INT8 = 20,      /* pg_type.dat */
    OID_TEXT = 25,
    OID_BYTEA = 17,
};

extern const struct dest_ops dst_postgres_ops;

/* ---- parameters and values */

static void
add_param(struct pg_params *params, Oid type, const void *value, size_t len)
{
    int at = params->count++;
    params->types[at] = type;
    params->values[at] = value;
    params->lengths[at] = (int)len;
    params->formats[at] = 1;
}

void
pg_param_int(struct pg_params *params, int64_t value)
{
    uint64_t *slot = &params->numbers[params->count];
    *slot = htobe64((uint64_t)value);
    add_param(params, OID_INT8, slot, sizeof *slot);
}

void
pg_param_text(struct pg_params *params, const char *text)
{
    add_param(params, OID_TEXT, text, text == NULL ? 0 : strlen(text));
}

void
pg_param_id(struct pg_params *params, const struct ps_id *id)
{
    add_param(params, OID_BYTEA, id->b, PS_ID_BYTES);
}

int64_t
pg_value_int(const PGresult *result, int row, int column)
{
    uint64_t value = 0;
    if (PQgetisnull(result, row, column) || PQgetlength(result, row, column) != sizeof value) {
        return 0;
    }
    memcpy(&value, PQgetvalue(result, row, column), sizeof value);
    return (int64_t)be64toh(value);
}

struct ps_span
pg_value_span(const PGresult *result, int row, int column)
{
    return ps_span((const uint8_t *)PQgetvalue(result, row, column),
                   (size_t)PQgetlength(result, row, column));
}

bool
pg_value_id(const PGresult *result, int row, int column, struct ps_id *out)
{
    return ps_id_from_span(pg_value_span(result, row, column), out);
}

/* ---- errors */

void
dst_postgres_state_of(const PGresult *result, char out[6])
{
    const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(out, 6, "%s", state == NULL ? "" : state);
}

/* The SQLSTATEs that people meet, with what to do; a class ends with '*'. */
static const struct {
    const char *state;
    enum ps_status status;
    const char *code;
    const char *advice;
} known_states[] = {
    {"28P01", PS_REFUSED, "wrong_password", "give the right one in PGPASSWORD or a passfile"},
    {"28*", PS_REFUSED, "not_authorised", "see pg_hba.conf of the server"},
    {"3D000", PS_REFUSED, "no_database", "create it, or name another in destination.url"},
    {"3F000", PS_REFUSED, "no_schema", "create it, or name another in destination.table"},
    {"42501", PS_REFUSED, "no_privilege",
     "the role needs CREATE on the schema, or INSERT, SELECT and UPDATE on the table and on the "
     "_penstock tables"},
    {"42P10", PS_REFUSED, "no_unique_key",
     "on_conflict needs a unique index over exactly destination.key, without a condition"},
    {"25006", PS_AGAIN, "read_only", "the server is a standby, or set to read-only"},
    {"53100", PS_FULL, "disk_full", "the server's disk is full"},
    {"53300", PS_AGAIN, "too_many_connections", "raise max_connections or run fewer leaves"},
    {"53*", PS_AGAIN, "server_resources", "the server is short of something"},
    {"55P03", PS_AGAIN, "lock_timeout", "another session holds the lock"},
    {"57014", PS_AGAIN, "canceled_by_server", "a statement timeout, or somebody canceled it"},
    {"57*", PS_AGAIN, "server_stopping",
     "the server ends or starts, or somebody ended the session"},
    {"58*", PS_AGAIN, "server_io", "the server could not read or write its files"},
    {"40*", PS_AGAIN, "serialization", "it is run again"},
    {"08*", PS_AGAIN, "connection_lost", "it is run again"},
};

static enum ps_status
fail_state(struct dst_postgres *d, const char *state, const char *what, const char *text,
           struct ps_error *err)
{
    for (size_t i = 0; i < sizeof known_states / sizeof known_states[0]; i++) {
        size_t len = strlen(known_states[i].state);
        bool class = known_states[i].state[len - 1] == '*';
        if (strncmp(state, known_states[i].state, class ? len - 1 : 5) == 0) {
            return ps_fail_code(err, known_states[i].status, known_states[i].code,
                                "%s: %s: %s (%s): %s", d->shown, what, text, state,
                                known_states[i].advice);
        }
    }
    return ps_fail(err, PS_REFUSED, "%s: %s: %s (%s)", d->shown, what, text, state);
}

/* A message of libpq as one line. */
static void
one_line(const char *message, char *out, size_t cap)
{
    size_t len = 0;
    for (const char *at = message; *at != '\0' && len + 1 < cap; at++) {
        bool space = *at == '\n' || *at == '\t';
        if (!space || (len > 0 && out[len - 1] != ' ')) {
            out[len++] = space ? ' ' : *at;
        }
    }
    while (len > 0 && out[len - 1] == ' ') {
        len--;
    }
    out[len] = '\0';
}

enum ps_status
dst_postgres_fail(struct dst_postgres *d, const PGresult *result, const char *what,
                  struct ps_error *err)
{
    char text[600];
    char state[6];
    dst_postgres_state_of(result, state);
    if (state[0] == '\0') {
        one_line(PQerrorMessage(d->conn), text, sizeof text);
        return ps_fail_code(err, PS_AGAIN, "connection_lost", "%s: %s: %s", d->shown, what,
                            text[0] == '\0' ? "no connection" : text);
    }
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    one_line(primary == NULL ? "" : primary, text, sizeof text);
    return fail_state(d, state, what, text, err);
}

/* ---- waiting */

bool
dst_postgres_canceled(const struct dst_postgres *d)
{
    return d->env.cancel != NULL && atomic_load(d->env.cancel);
}

void
dst_postgres_phase(struct dst_postgres *d, const char *phase)
{
    if (d->env.phase != NULL) {
        d->env.phase(d->env.ctx, phase);
    }
}

/* Until the socket is ready for events; a canceled session is closed: its server rolls back. */
static enum ps_status
wait_for(struct dst_postgres *d, short events, int64_t until_mono_ms, struct ps_error *err)
{
    for (;;) {
        if (dst_postgres_canceled(d)) {
            dst_postgres_disconnect(d);
            return ps_fail(err, PS_CANCELED, "%s: asked to stop", d->shown);
        }
        if (until_mono_ms != 0 && ps_clock_mono_ms() >= until_mono_ms) {
            return ps_fail_code(err, PS_AGAIN, "connect_timeout", "%s: no answer for %d s",
                                d->shown, CONNECT_MS / 1000);
        }
        struct pollfd fd = {.fd = PQsocket(d->conn), .events = events};
        int ready = poll(&fd, 1, LOOK_MS);
        if (ready > 0) {
            return PS_OK;
        }
        if (ready < 0 && errno != EINTR) {
            return ps_fail_errno(err, errno, "%s: poll", d->shown);
        }
    }
}

enum ps_status
dst_postgres_flush(struct dst_postgres *d, struct ps_error *err)
{
    for (;;) {
        int left = PQflush(d->conn);
        if (left == 0) {
            return PS_OK;
        }
        enum ps_status status = left < 0 ? dst_postgres_fail(d, NULL, "send", err)
                                         : wait_for(d, POLLIN | POLLOUT, 0, err);
        if (status != PS_OK) {
            return status;
        }
        if (PQconsumeInput(d->conn) == 0) {
            return dst_postgres_fail(d, NULL, "send", err);
        }
    }
}

static PGresult *
next_result(struct dst_postgres *d, enum ps_status *out_status, struct ps_error *err)
{
    *out_status = PS_OK;
    while (PQisBusy(d->conn)) {
        *out_status = wait_for(d, POLLIN, 0, err);
        if (*out_status != PS_OK) {
            return NULL;
        }
        if (PQconsumeInput(d->conn) == 0) {
            *out_status = dst_postgres_fail(d, NULL, "read", err);
            return NULL;
        }
    }
    return PQgetResult(d->conn);
}

static bool
is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

static bool
is_copy(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COPY_IN;
}

/* The first error, or the last result; all are read, but for a COPY that goes on. */
enum ps_status
dst_postgres_answer(struct dst_postgres *d, PGresult **out_result, struct ps_error *err)
{
    PGresult *kept = NULL;
    *out_result = NULL;
    enum ps_status status = dst_postgres_flush(d, err);
    for (PGresult *result = NULL;
         status == PS_OK && (result = next_result(d, &status, err)) != NULL;) {
        if (kept != NULL && is_error(kept)) {
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
        if (is_copy(kept)) {
            break;
        }
    }
    if (status == PS_OK && kept == NULL) {
        status = dst_postgres_fail(d, NULL, "answer", err);
    }
    if (status != PS_OK) {
        PQclear(kept);
        return status;
    }
    *out_result = kept;
    return PS_OK;
}

PGresult *
dst_postgres_query(struct dst_postgres *d, const char *sql, const struct pg_params *params,
                   struct ps_error *err)
{
    static const struct pg_params none;
    const struct pg_params *p = params == NULL ? &none : params;
    PGresult *result = NULL;
    if (PQsendQueryParams(d->conn, sql, p->count, p->types, p->values, p->lengths, p->formats, 1) ==
        0) {
        (void)dst_postgres_fail(d, NULL, "send", err);
        return NULL;
    }
    if (dst_postgres_answer(d, &result, err) != PS_OK) {
        return NULL;
    }
    if (is_error(result)) {
        char what[80];
        snprintf(what, sizeof what, "%.60s", sql);
        (void)dst_postgres_fail(d, result, what, err);
        PQclear(result);
        return NULL;
    }
    return result;
}

enum ps_status
dst_postgres_exec(struct dst_postgres *d, const char *sql, const struct pg_params *params,
                  struct ps_error *err)
{
    PGresult *result = dst_postgres_query(d, sql, params, err);
    PQclear(result);
    return result == NULL ? dst_postgres_failed(err) : PS_OK;
}

void
dst_postgres_quote(struct ps_buf *sql, const char *name)
{
    ps_buf_xappend(sql, "\"", 1);
    for (const char *at = name; *at != '\0'; at++) {
        ps_buf_xappend(sql, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    }
    ps_buf_xappend(sql, "\"", 1);
}

/* ---- connection */

void
dst_postgres_disconnect(struct dst_postgres *d)
{
    dst_postgres_plan_drop(d);
    PQfinish(d->conn);
    d->conn = NULL;
}

void
dst_postgres_roll_back(struct dst_postgres *d)
{
    if (d->conn == NULL) {
        return;
    }
    struct ps_error ignored = {0};
    PGTransactionStatusType state = PQtransactionStatus(d->conn);
    bool good = state == PQTRANS_IDLE;
    if (state == PQTRANS_INTRANS || state == PQTRANS_INERROR) {
        good = dst_postgres_exec(d, "ROLLBACK", NULL, &ignored) == PS_OK;
    }
    if (!good && d->conn != NULL) {
        dst_postgres_disconnect(d);
    }
}

static enum ps_status
await_connection(struct dst_postgres *d, struct ps_error *err)
{
    int64_t until_ms = ps_clock_mono_ms() + CONNECT_MS;
    for (;;) {
        PostgresPollingStatusType want = PQconnectPoll(d->conn);
        if (want == PGRES_POLLING_OK) {
            return PS_OK;
        }
        if (want == PGRES_POLLING_FAILED) {
            return PS_REFUSED;
        }
        enum ps_status status =
            wait_for(d, want == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_ms, err);
        if (status != PS_OK) {
            return status;
        }
    }
}

/* libpq gives no SQLSTATE for a refused connection: the server's words are all there is. */
static enum ps_status
refused(struct dst_postgres *d, struct ps_error *err)
{
    static const struct {
        const char *words;
        const char *state;
    } said[] = {
        {"too many connections", "53300"},
        {"password authentication failed", "28P01"},
        {"no password supplied", "28P01"},
        {"no pg_hba.conf entry", "28000"},
        {"role \"", "28000"},
        {"database \"", "3D000"},
        {"too many clients", "53300"},
        {"remaining connection slots", "53300"},
        {"starting up", "57P03"},
        {"shutting down", "57P03"},
        {"recovery mode", "57P03"},
    };
    /* What never reached a server's answer. */
    static const struct {
        const char *words;
        enum ps_status status;
        const char *code;
        const char *advice;
    } libpq_said[] = {
        {"could not translate host name", PS_AGAIN, "unknown_host",
         "see the host in destination.url, and the name service of this agent"},
        {"definition of service", PS_REFUSED, "no_service",
         "see PGSERVICEFILE and ~/.pg_service.conf of this agent"},
        {"certificate", PS_REFUSED, "tls_failed",
         "see sslmode, sslrootcert, sslcert and sslkey, and whether the name in the server's "
         "certificate is the host's"},
        {"SSL", PS_REFUSED, "tls_failed", "see sslmode, and whether the server has ssl = on"},
        {"session is read-only", PS_AGAIN, "read_only", "target_session_attrs asks for another"},
        {"session is not read-only", PS_AGAIN, "not_read_only",
         "target_session_attrs asks for another"},
        {"server is in hot standby", PS_AGAIN, "read_only", "the server is a standby"},
        {"Connection refused", PS_AGAIN, "no_connection",
         "is the server running there, and does it listen on that port"},
        {"No such file or directory", PS_AGAIN, "no_connection",
         "is the server running there, and is that the folder of its socket"},
    };
    char text[600];
    one_line(PQerrorMessage(d->conn), text, sizeof text);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        if (strstr(text, said[i].words) != NULL) {
            return fail_state(d, said[i].state, "connect", text, err);
        }
    }
    for (size_t i = 0; i < sizeof libpq_said / sizeof libpq_said[0]; i++) {
        if (strstr(text, libpq_said[i].words) != NULL) {
            return ps_fail_code(err, libpq_said[i].status, libpq_said[i].code,
                                "%s: connect: %s: %s", d->shown, text, libpq_said[i].advice);
        }
    }
    return ps_fail_code(err, PS_AGAIN, "no_connection", "%s: connect: %s", d->shown, text);
}

static void
ignore_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    (void)result;
}

enum ps_status
dst_postgres_connect(struct dst_postgres *d, struct ps_error *err)
{
    if (d->conn != NULL && PQstatus(d->conn) == CONNECTION_OK &&
        PQtransactionStatus(d->conn) == PQTRANS_IDLE) {
        return PS_OK;
    }
    dst_postgres_disconnect(d);
    /* What stands behind dbname overrides what the URL says; before it, the URL overrides: a server
     * that has gone without a word is known to be dead after 25 s, not after the system's hours. */
    const char *keywords[10] = {
        "keepalives_idle", "keepalives_interval",       "keepalives_count", "tcp_user_timeout",
        "dbname",          "fallback_application_name", "client_encoding"};
    const char *values[10] = {"10", "5", "3", "25000", d->url, "penstock", "UTF8"};
    size_t count = 7;
    if (d->password.len > 0) {
        keywords[count] = "password";
        values[count++] = ps_buf_str(&d->password);
    }
    if (d->key_password.len > 0) {
        keywords[count] = "sslpassword";
        values[count] = ps_buf_str(&d->key_password);
    }
    d->conn = PQconnectStartParams(keywords, values, 1);
    if (d->conn == NULL) {
        return ps_fail(err, PS_FULL, "%s: out of memory", d->shown);
    }
    enum ps_status status =
        PQstatus(d->conn) == CONNECTION_BAD ? PS_REFUSED : await_connection(d, err);
    if (status == PS_REFUSED) {
        status = refused(d, err);
    }
    if (status == PS_OK) {
        (void)PQsetnonblocking(d->conn, 1);
        (void)PQsetNoticeReceiver(d->conn, ignore_notice, NULL);
        /* A commit that is lost with the server's memory would be reported and gone. */
        status = dst_postgres_exec(
            d,
            "SELECT set_config('synchronous_commit', CASE WHEN"
            " current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'"
            " ELSE current_setting('synchronous_commit') END, false),"
            " set_config('statement_timeout', '0', false),"
            " set_config('idle_in_transaction_session_timeout', '0', false),"
            " set_config('standard_conforming_strings', 'on', false),"
            " set_config('DateStyle', 'ISO, YMD', false), set_config('IntervalStyle', 'iso_8601',"
            " false)",
            NULL, err);
    }
    if (status != PS_OK) {
        dst_postgres_disconnect(d);
    }
    return status;
}

/* ---- open and close */

static void
postgres_close(struct dest *dest)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    if (d == NULL) {
        return;
    }
    dst_postgres_disconnect(d);
    dest_names_fini(&d->keys);
    dest_names_fini(&d->updates);
    ps_buf_fini(&d->signature);
    ps_secret_fini(&d->password);
    ps_secret_fini(&d->key_password);
    ps_free(d->order_by);
    ps_free(d->name);
    ps_free(d->url);
    ps_free(d->shown);
    ps_free(d->schema);
    ps_free(d->table);
    ps_free(d->quoted);
    ps_free(d->rejects);
    ps_free(d->quoted_schema);
    ps_free(d->ledger_prefix);
    ps_free(d->ledger_place);
    ps_free(d);
}

static char *
quoted(const char *schema, const char *table, const char *suffix)
{
    struct ps_buf sql = PS_BUF_INIT;
    dst_postgres_quote(&sql, schema);
    if (table != NULL) {
        char *name = ps_xasprintf("%s%s", table, suffix);
        ps_buf_xappend(&sql, ".", 1);
        dst_postgres_quote(&sql, name);
        ps_free(name);
    }
    char *text = ps_xstrdup(ps_buf_str(&sql));
    ps_buf_fini(&sql);
    return text;
}

/* "schema.table", or a table of schema public. */
static enum ps_status
split_table(struct dst_postgres *d, const char *given, struct ps_error *err)
{
    const char *dot = strchr(given, '.');
    d->schema =
        dot == NULL ? ps_xstrdup("public") : ps_xasprintf("%.*s", (int)(dot - given), given);
    d->table = ps_xstrdup(dot == NULL ? given : dot + 1);
    if (d->schema[0] == '\0' || d->table[0] == '\0' || strlen(d->table) > 63 ||
        strlen(d->schema) > 63 || strncmp(d->table, "_penstock_", 10) == 0) {
        return ps_fail_code(err, PS_REFUSED, "bad_table",
                            "%s: \"%s\" is no table: expected table or schema.table, each of 1 to "
                            "63 bytes",
                            d->shown, given);
    }
    d->quoted_schema = quoted(d->schema, NULL, "");
    d->quoted = quoted(d->schema, d->table, "");
    d->rejects = quoted(d->schema, d->table, "_rejects");
    return PS_OK;
}

/* A secret in a URL is a reference, which is put in here, on the agent. */
static enum ps_status
take_password(struct dst_postgres *d, const char *given, struct ps_buf *out, struct ps_error *err)
{
    if (given == NULL) {
        return PS_OK;
    }
    if (ps_secret_reference(given) != strlen(given)) {
        return ps_fail_code(
            err, PS_REFUSED, "literal_password",
            "%s: destination.url holds a password; write password=${env:NAME} or "
            "${file:/path}, or leave it to PGPASSWORD, a passfile or a service file",
            d->shown);
    }
    enum ps_status status = ps_secret_resolve(given, out, err);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "%s", d->shown);
}

static enum ps_status
check_url(struct dst_postgres *d, struct ps_error *err)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(d->url, &why);
    if (options == NULL) {
        char text[300];
        one_line(why == NULL ? "out of memory" : why, text, sizeof text);
        PQfreemem(why);
        text[strcspn(text, "\"")] = '\0'; /* what it quotes may be a secret's part */
        return ps_fail_code(
            err, PS_REFUSED, "bad_url",
            "destination.url: %s... : expected postgresql://user@host:port/database?option=value, "
            "or option=value pairs behind postgresql:",
            text);
    }
    const char *host = NULL;
    const char *port = NULL;
    const char *database = NULL;
    const char *password = NULL;
    const char *key_password = NULL;
    for (const PQconninfoOption *at = options; at->keyword != NULL; at++) {
        const char *value = at->val != NULL && at->val[0] != '\0' ? at->val : NULL;
        host = strcmp(at->keyword, "host") == 0 ? value : host;
        port = strcmp(at->keyword, "port") == 0 ? value : port;
        database = strcmp(at->keyword, "dbname") == 0 ? value : database;
        password = strcmp(at->keyword, "password") == 0 ? value : password;
        key_password = strcmp(at->keyword, "sslpassword") == 0 ? value : key_password;
    }
    ps_free(d->shown);
    d->shown =
        ps_xasprintf("postgresql://%s%s%s/%s", host == NULL ? "" : host, port == NULL ? "" : ":",
                     port == NULL ? "" : port, database == NULL ? "" : database);
    enum ps_status status = take_password(d, password, &d->password, err);
    if (status == PS_OK) {
        status = take_password(d, key_password, &d->key_password, err);
    }
    PQconninfoFree(options);
    return status;
}

static enum ps_status
postgres_open(const struct spec *spec, const struct dest_env *env, struct dest **out,
              struct ps_error *err)
{
    struct dst_postgres *d = ps_xcalloc(1, sizeof *d);
    d->env = *env;
    d->name = ps_xstrdup(spec_name(spec));
    /* libpq takes a URL whole, and pairs without a scheme. */
    static const char scheme[] = "postgresql:";
    const char *url = spec_str(spec, "destination.url");
    size_t skip = strstr(url, "://") == NULL ? sizeof scheme - 1 : 0;
    d->url = ps_xstrdup(url + (skip < strlen(url) ? skip : strlen(url)));
    d->shown = ps_xstrdup("postgresql:");
    d->may_create = spec_is(spec, "destination.create", "auto");
    d->on_conflict = spec_is(spec, "destination.on_conflict", "skip")      ? PG_CONFLICT_SKIP
                     : spec_is(spec, "destination.on_conflict", "replace") ? PG_CONFLICT_REPLACE
                     : spec_is(spec, "destination.on_conflict", "update")  ? PG_CONFLICT_UPDATE
                                                                           : PG_CONFLICT_ERROR;
    dest_names_init(&d->keys, spec, "destination.key");
    dest_names_init(&d->updates, spec, "destination.update");
    const char *order_by = spec_str(spec, "destination.order_by");
    d->order_by = order_by == NULL ? NULL : ps_xstrdup(order_by);
    d->tolerance = spec_tolerance(spec);
    enum ps_status status = check_url(d, err);
    if (status == PS_OK) {
        status = split_table(d, spec_str(spec, "destination.table"), err);
    }
    if (status == PS_OK) {
        status = dst_postgres_connect(d, err);
    }
    if (status != PS_OK) {
        postgres_close((struct dest *)d);
        return status;
    }
    *out = (struct dest *)d;
    return PS_OK;
}

static enum ps_status
postgres_prepare(struct dest *dest, const struct dest_table *table, struct dest_state *out_state,
                 struct ps_error *err)
{
    struct dst_postgres *d = dst_postgres_of(dest);
    enum ps_status status = dst_postgres_connect(d, err);
    if (status == PS_OK) {
        status = dst_postgres_begin(d, table->uuid.id, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_make_tables(d, table, err);
    }
    if (status == PS_OK) {
        status = dst_postgres_exec(d, "COMMIT", NULL, err);
    }
    dst_postgres_roll_back(d);
    if (status == PS_AGAIN && strcmp(err->code, "lock_timeout") == 0) {
        struct ps_error ignored = {0};
        if (dst_postgres_connect(d, &ignored) != PS_OK ||
            dst_postgres_end_twins(d, table->uuid.id, &ignored) != PS_OK) {
            dst_postgres_disconnect(d);
        }
    }
    if (status == PS_OK) {
        status = dst_postgres_plan(d, table->columns, table->count, err);
    }
    if (status != PS_OK) {
        return ps_wrap(err, status, "prepare table %s", d->quoted);
    }
    return dst_postgres_state(dest, table->pipeline_name, out_state, err);
}

const struct dest_ops dst_postgres_ops = {
    .scheme = "postgresql",
    .help = "a table on a PostgreSQL server",
    .open = postgres_open,
    .close = postgres_close,
    .prepare = postgres_prepare,
    .state = dst_postgres_state,
    .load = dst_postgres_load,
    .tombstone = dst_postgres_tombstone,
    .ledger = dst_postgres_ledger,
    .rejects = dst_postgres_rejects,
    .ranges = dst_postgres_ranges,
};
