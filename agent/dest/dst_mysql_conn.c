/* SPDX-License-Identifier: Apache-2.0 */
/* Connection and statements of the driver for MySQL's family, through libmariadb. */
#include <errmsg.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/dest/dst_mysql.h"
#include "common/alloc.h"

enum { CONNECT_SECONDS = 10, NET_BUFFER_BYTES = 64 * 1024 };

/* ---- errors */

bool
dst_mysql_canceled(const struct dst_mysql *d)
{
    return d->env.cancel != NULL && atomic_load(d->env.cancel);
}

/* The errors that people meet, with what to do. */
static const struct {
    unsigned number;
    enum ps_status status;
    const char *code;
    const char *advice;
} known[] = {
    {ER_ACCESS_DENIED_ERROR, PS_REFUSED, "wrong_password",
     "give user and password that the server knows for this host: "
     "destination.url with password=${env:NAME}"},
    {ER_ACCESS_DENIED_NO_PASSWORD_ERROR, PS_REFUSED, "wrong_password",
     "give a password: destination.url with password=${env:NAME}"},
    {ER_HOST_NOT_PRIVILEGED, PS_REFUSED, "not_authorised",
     "the server knows no user for the agent's host"},
    {ER_HOST_IS_BLOCKED, PS_REFUSED, "not_authorised", "unblock it with FLUSH HOSTS"},
    {ER_BAD_DB_ERROR, PS_REFUSED, "no_database",
     "create it, or name another in destination.url or destination.table"},
    {ER_DBACCESS_DENIED_ERROR, PS_REFUSED, "no_privilege",
     "the user needs SELECT, INSERT, UPDATE, CREATE and CREATE TEMPORARY TABLES on the database"},
    {ER_TABLEACCESS_DENIED_ERROR, PS_REFUSED, "no_privilege",
     "the user needs SELECT, INSERT and UPDATE on the table and on the _penstock tables, and "
     "CREATE for the first run"},
    {ER_COLUMNACCESS_DENIED_ERROR, PS_REFUSED, "no_privilege",
     "the user needs SELECT, INSERT and UPDATE on all of the table"},
    {ER_SPECIFIC_ACCESS_DENIED_ERROR, PS_REFUSED, "no_privilege", "grant what it names"},
    {ER_OPTION_PREVENTS_STATEMENT, PS_AGAIN, "read_only",
     "the server is a replica, or set to read-only"},
    {ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, PS_AGAIN, "read_only",
     "the server is a replica, or set to read-only"},
    {ER_RECORD_FILE_FULL, PS_FULL, "disk_full", "the server's disk is full"},
    {ER_DISK_FULL, PS_FULL, "disk_full", "the server's disk is full"},
    {ER_CON_COUNT_ERROR, PS_AGAIN, "too_many_connections",
     "raise max_connections or run fewer leaves"},
    {ER_TOO_MANY_USER_CONNECTIONS, PS_AGAIN, "too_many_connections",
     "raise max_user_connections or run fewer leaves"},
    {ER_USER_LIMIT_REACHED, PS_AGAIN, "too_many_connections", "the user is at a limit of its own"},
    {ER_NET_PACKET_TOO_LARGE, PS_REFUSED, "packet_too_large",
     "raise max_allowed_packet of the server"},
    {CR_NET_PACKET_TOO_LARGE, PS_REFUSED, "packet_too_large",
     "raise max_allowed_packet of the server"},
    {ER_NOT_ALLOWED_COMMAND, PS_REFUSED, "local_infile",
     "set local_infile=1 on the server: rows are sent by LOAD DATA LOCAL"},
    {3948, PS_REFUSED, "local_infile",
     "set local_infile=1 on the server: rows are sent by LOAD DATA LOCAL"},
    {4166, PS_REFUSED, "local_infile",
     "set local_infile=1 on the server: rows are sent by LOAD DATA LOCAL"},
    {ER_LOCK_WAIT_TIMEOUT, PS_AGAIN, "lock_timeout", "another session holds the lock"},
    {ER_LOCK_DEADLOCK, PS_AGAIN, "deadlock", "it is run again"},
    {ER_OUT_OF_RESOURCES, PS_AGAIN, "server_resources", "the server is short of memory"},
    {ER_OUTOFMEMORY, PS_AGAIN, "server_resources", "the server is short of memory"},
    {ER_OUT_OF_SORTMEMORY, PS_AGAIN, "server_resources", "the server is short of memory"},
    {ER_QUERY_INTERRUPTED, PS_AGAIN, "canceled_by_server", "somebody ended it"},
    {ER_SERVER_SHUTDOWN, PS_AGAIN, "server_stopping", "the server ends"},
    {ER_NORMAL_SHUTDOWN, PS_AGAIN, "server_stopping", "the server ends"},
    {ER_NET_READ_ERROR, PS_AGAIN, "connection_lost", "it is run again"},
    {ER_NET_READ_INTERRUPTED, PS_AGAIN, "connection_lost", "it is run again"},
    {ER_NET_ERROR_ON_WRITE, PS_AGAIN, "connection_lost", "it is run again"},
    {ER_NEW_ABORTING_CONNECTION, PS_AGAIN, "connection_lost", "it is run again"},
    {1927, PS_AGAIN, "connection_lost", "somebody ended the session"},
    {CR_SERVER_GONE_ERROR, PS_AGAIN, "connection_lost", "it is run again"},
    {CR_SERVER_LOST, PS_AGAIN, "connection_lost", "it is run again"},
    {CR_CONNECTION_ERROR, PS_AGAIN, "no_connection", "is the server there?"},
    {CR_CONN_HOST_ERROR, PS_AGAIN, "no_connection", "is the server there?"},
    {CR_UNKNOWN_HOST, PS_AGAIN, "no_connection", "is the host's name right?"},
    {CR_SSL_CONNECTION_ERROR, PS_REFUSED, "tls",
     "see ssl_mode, ssl_ca, ssl_cert and ssl_key in destination.url"},
    {CR_COMMANDS_OUT_OF_SYNC, PS_BUG, "", "a fault of this program"},
};

static enum ps_status
fail_number(struct dst_mysql *d, unsigned number, const char *what, const char *text,
            struct ps_error *err)
{
    if (dst_mysql_canceled(d)) {
        return ps_fail(err, PS_CANCELED, "%s: asked to stop", d->shown);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].number == number) {
            return ps_fail_code(err, known[i].status, known[i].code, "%s: %s: %s (%u): %s",
                                d->shown, what, text, number, known[i].advice);
        }
    }
    /* A handler of tables hands on what the system said to it: ENOSPC. */
    bool full = (number == ER_GET_ERRNO || number == ER_ERROR_ON_WRITE || number == 3) &&
                (strstr(text, "error 28") != NULL || strstr(text, "No space") != NULL);
    return full ? ps_fail_code(err, PS_FULL, PS_ERROR_DISK_FULL,
                               "%s: %s: %s (%u): the server's disk is full", d->shown, what, text,
                               number)
                : ps_fail(err, PS_REFUSED, "%s: %s: %s (%u)", d->shown, what, text, number);
}

/* The client library's own errors, and those with which a server ends a session. */
static bool
is_lost(unsigned number)
{
    return (number >= CR_MIN_ERROR && number < 3000) || number == 1927 || number == 4031 ||
           number == ER_SERVER_SHUTDOWN || number == ER_NORMAL_SHUTDOWN ||
           number == ER_NEW_ABORTING_CONNECTION;
}

enum ps_status
dst_mysql_fail(struct dst_mysql *d, const char *what, struct ps_error *err)
{
    d->lost = d->lost || is_lost(mysql_errno(d->conn));
    return fail_number(d, mysql_errno(d->conn), what, mysql_error(d->conn), err);
}

/* The table said no to a row, and will again; anything else is about the server. */
static bool
is_row_error(MYSQL *conn)
{
    static const char *const classes[] = {"01", "22", "23", "44", "45"};
    const char *state = mysql_sqlstate(conn);
    switch (mysql_errno(conn)) {
    case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
    case WARN_DATA_TRUNCATED:
    case ER_NO_DEFAULT_FOR_FIELD:
    case ER_WARN_DATA_OUT_OF_RANGE:
    case 3819: /* MySQL's CHECK */
        return true;
    case ER_NO_REFERENCED_ROW:
    case ER_ROW_IS_REFERENCED:
        return true;
    }
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strncmp(state, classes[i], 2) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- what the server may read from us */

/* Only the name of the load that runs, and only while it does: a server that asks for a file of
 * its own choice is answered by an error. */
static int
feed_init(void **out, const char *name, void *ctx)
{
    struct dst_mysql *d = ctx;
    *out = d;
    return d->feed.read != NULL && strcmp(name, d->feed.name) == 0 ? 0 : 1;
}

static int
feed_read(void *ctx, char *out, unsigned len)
{
    struct dst_mysql *d = ctx;
    return d->feed.read == NULL || dst_mysql_canceled(d) ? -1 : d->feed.read(d->feed.ctx, out, len);
}

static void
feed_end(void *ctx)
{
    (void)ctx;
}

static int
feed_error(void *ctx, char *out, unsigned len)
{
    struct dst_mysql *d = ctx;
    snprintf(out, len, "%s",
             d->feed.read == NULL ? "the server asked for a file, which it does not get"
                                  : "the rows could not be read");
    return CR_UNKNOWN_ERROR;
}

/* ---- statements */

static int
run(struct dst_mysql *d, const char *sql, size_t len)
{
    dst_mysql_watch_begin(d->watch, (int)mysql_get_socket(d->conn));
    int failed = mysql_real_query(d->conn, sql, (unsigned long)len);
    dst_mysql_watch_end(d->watch);
    return failed;
}

static const char *
what_of(const char *sql, size_t len, char out[80])
{
    snprintf(out, 80, "%.*s", (int)(len < 60 ? len : 60), sql);
    return out;
}

enum ps_status
dst_mysql_query(struct dst_mysql *d, const char *sql, size_t len, MYSQL_RES **out,
                struct ps_error *err)
{
    char what[80];
    if (dst_mysql_canceled(d)) {
        return ps_fail(err, PS_CANCELED, "%s: asked to stop", d->shown);
    }
    if (run(d, sql, len) != 0) {
        return dst_mysql_fail(d, what_of(sql, len, what), err);
    }
    MYSQL_RES *result = mysql_store_result(d->conn);
    if (result == NULL && mysql_errno(d->conn) != 0) {
        return dst_mysql_fail(d, what_of(sql, len, what), err);
    }
    if (out != NULL) {
        *out = result;
    } else {
        mysql_free_result(result);
    }
    return PS_OK;
}

enum ps_status
dst_mysql_exec(struct dst_mysql *d, const char *sql, struct ps_error *err)
{
    return dst_mysql_query(d, sql, strlen(sql), NULL, err);
}

enum ps_status
dst_mysql_try(struct dst_mysql *d, const char *sql, size_t len, bool *out_refused,
              struct ps_error *err)
{
    enum ps_status status = dst_mysql_query(d, sql, len, NULL, err);
    *out_refused = status != PS_OK && status != PS_CANCELED && d->conn != NULL &&
                   mysql_errno(d->conn) != 0 && is_row_error(d->conn);
    return *out_refused ? PS_OK : status;
}

void
dst_mysql_quote(struct ps_buf *sql, const char *name)
{
    ps_buf_xappend(sql, "`", 1);
    for (const char *at = name; *at != '\0'; at++) {
        ps_buf_xappend(sql, *at == '`' ? "``" : at, *at == '`' ? 2 : 1);
    }
    ps_buf_xappend(sql, "`", 1);
}

void
dst_mysql_literal(struct ps_buf *sql, struct ps_span bytes, bool is_text)
{
    static const char digits[] = "0123456789ABCDEF";
    ps_buf_xprintf(sql, "%s", is_text ? "_utf8mb4 x'" : "x'");
    for (size_t i = 0; i < bytes.len; i++) {
        const char pair[2] = {digits[bytes.ptr[i] >> 4], digits[bytes.ptr[i] & 15]};
        ps_buf_xappend(sql, pair, sizeof pair);
    }
    ps_buf_xappend(sql, "'", 1);
}

/* ---- connection */

void
dst_mysql_disconnect(struct dst_mysql *d)
{
    dst_mysql_plan_drop(d);
    if (d->conn != NULL) {
        mysql_close(d->conn);
    }
    d->conn = NULL;
    d->lost = false;
    d->in_transaction = false;
    d->has_lock = false;
}

enum ps_status
dst_mysql_number(struct dst_mysql *d, const char *sql, bool *out_found, int64_t *out,
                 struct ps_error *err)
{
    MYSQL_RES *result = NULL;
    enum ps_status status = dst_mysql_query(d, sql, strlen(sql), &result, err);
    MYSQL_ROW row = result == NULL ? NULL : mysql_fetch_row(result);
    *out_found = row != NULL && row[0] != NULL;
    *out = *out_found ? strtoll(row[0], NULL, 10) : 0;
    mysql_free_result(result);
    return status;
}

void
dst_mysql_roll_back(struct dst_mysql *d)
{
    if (d->conn == NULL) {
        return;
    }
    /* Whatever the error was: 1205 takes back its statement only, the rest has to be said. */
    struct ps_error ignored = {0};
    bool good = !d->in_transaction || dst_mysql_exec(d, "ROLLBACK", &ignored) == PS_OK;
    d->in_transaction = false;
    if (good && d->has_lock) {
        good = dst_mysql_exec(d, "DO RELEASE_ALL_LOCKS()", &ignored) == PS_OK;
        d->has_lock = false;
    }
    if (!good) {
        dst_mysql_disconnect(d);
    }
}

static bool
is_mode(const struct dst_mysql *d, const char *mode)
{
    return d->ssl_mode != NULL && strcmp(d->ssl_mode, mode) == 0;
}

static void
set_options(struct dst_mysql *d)
{
    unsigned on = 1;
    unsigned seconds = CONNECT_SECONDS;
    unsigned long net = NET_BUFFER_BYTES;
    my_bool yes = 1;
    my_bool no = 0;
    mysql_options(d->conn, MYSQL_OPT_LOCAL_INFILE, &on);
    mysql_set_local_infile_handler(d->conn, feed_init, feed_read, feed_end, feed_error, d);
    mysql_options(d->conn, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
    mysql_options(d->conn, MYSQL_OPT_NET_BUFFER_LENGTH, &net);
    mysql_options(d->conn, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(d->conn, MYSQL_OPT_RECONNECT, &no);
    unsigned long packet = 1024UL * 1024 * 1024;
    mysql_options(d->conn, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
    if (d->socket == NULL) {
        unsigned tcp = MYSQL_PROTOCOL_TCP;
        mysql_options(d->conn, MYSQL_OPT_PROTOCOL, &tcp);
    }
    if (d->ssl_ca != NULL || d->ssl_cert != NULL || d->ssl_key != NULL) {
        mysql_ssl_set(d->conn, d->ssl_key, d->ssl_cert, d->ssl_ca, NULL, NULL);
    }
    if (is_mode(d, "required") || is_mode(d, "verify_ca") || is_mode(d, "verify_identity")) {
        mysql_options(d->conn, MYSQL_OPT_SSL_ENFORCE, &yes);
    }
    bool verify = is_mode(d, "verify_ca") || is_mode(d, "verify_identity");
    mysql_options(d->conn, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, verify ? &yes : &no);
}

static enum ps_status
read_session(struct dst_mysql *d, struct ps_error *err)
{
    MYSQL_RES *result = NULL;
    static const char sql[] = "SELECT @@max_allowed_packet, version()";
    enum ps_status status = dst_mysql_query(d, sql, sizeof sql - 1, &result, err);
    MYSQL_ROW row = status == PS_OK && result != NULL ? mysql_fetch_row(result) : NULL;
    if (row != NULL && row[0] != NULL && row[1] != NULL) {
        d->max_packet = strtoull(row[0], NULL, 10);
        d->is_mariadb = strstr(row[1], "MariaDB") != NULL;
        d->version = mysql_get_server_version(d->conn);
    }
    mysql_free_result(result);
    return status;
}

/* Nothing of how values are read depends on how the server happens to be set. */
static enum ps_status
set_session(struct dst_mysql *d, struct ps_error *err)
{
    static const char *const both[] = {
        "SET NAMES utf8mb4",
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION autocommit = 1",
        NULL,
    };
    static const char *const innodb[] = {
        ("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
         "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION innodb_lock_wait_timeout = 50, lock_wait_timeout = 50",
        "SET SESSION unique_checks = 1, foreign_key_checks = 1",
        NULL,
    };
    enum ps_status status = PS_OK;
    for (size_t i = 0; status == PS_OK && both[i] != NULL; i++) {
        status = dst_mysql_exec(d, both[i], err);
    }
    for (size_t i = 0; status == PS_OK && d->dialect->has_engines && innodb[i] != NULL; i++) {
        status = dst_mysql_exec(d, innodb[i], err);
    }
    return status == PS_OK ? read_session(d, err) : status;
}

/* A server that has gone without a word is known to be dead after 25 s, not after the system's
 * hours. A unix socket refuses all of it and needs none. */
static void
watch_line(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, 10},
                   {IPPROTO_TCP, TCP_KEEPINTVL, 5},
                   {IPPROTO_TCP, TCP_KEEPCNT, 3},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT, 25000}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof options[i].value);
    }
}

static void
init_library(void)
{
    (void)mysql_library_init(0, NULL, NULL);
}

enum ps_status
dst_mysql_connect(struct dst_mysql *d, struct ps_error *err)
{
    if (d->conn != NULL && !d->lost) {
        return PS_OK;
    }
    dst_mysql_disconnect(d);
    if (dst_mysql_canceled(d)) {
        return ps_fail(err, PS_CANCELED, "%s: asked to stop", d->shown);
    }
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_library);
    d->conn = mysql_init(NULL);
    if (d->conn == NULL) {
        return ps_fail(err, PS_FULL, "%s: out of memory", d->shown);
    }
    set_options(d);
    const char *password = d->password.len > 0 ? ps_buf_str(&d->password) : NULL;
    enum ps_status status = PS_OK;
    if (mysql_real_connect(d->conn, d->socket != NULL ? NULL : d->host, d->user, password,
                           d->database, d->port, d->socket, 0) == NULL) {
        status = dst_mysql_fail(d, "connect", err);
    }
    if (status == PS_OK) {
        watch_line((int)mysql_get_socket(d->conn));
        status = set_session(d, err);
    }
    if (status != PS_OK) {
        dst_mysql_disconnect(d);
    }
    return status;
}
