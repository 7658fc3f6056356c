/* SPDX-License-Identifier: Apache-2.0 */
/* mysql_peer: what a MariaDB server takes at most from so many connections, for a ratio.
 * usage: mysql_peer CONNECTIONS PORT USER DATABASE TABLE FILE…
 * Each connection takes the next file and sends its bytes as they are by LOAD DATA LOCAL out of a
 * handler: one file, one transaction with one row in a small table of its own. It looks at no
 * value, no warning and no record, and knows nothing of what it has done before. Prints the rows.
 */
#ifdef PS_DEST_MYSQL
#include <fcntl.h>
#include <mysql.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64 };

static char **words;
static int files, next_file;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long rows;

static void
run(MYSQL *conn, const char *sql)
{
    if (mysql_query(conn, sql) != 0) {
        fprintf(stderr, "mysql_peer: %.60s: %s\n", sql, mysql_error(conn));
        exit(1);
    }
    mysql_free_result(mysql_store_result(conn));
}

static int
open_file(void **out, const char *name, void *ctx)
{
    static _Thread_local int fd;
    (void)ctx;
    fd = open(name, O_RDONLY | O_CLOEXEC);
    *out = &fd;
    return fd < 0;
}

static int
read_file(void *ctx, char *out, unsigned len)
{
    return (int)read(*(int *)ctx, out, len);
}

static void
close_file(void *ctx)
{
    close(*(int *)ctx);
}

static int
say_error(void *ctx, char *out, unsigned len)
{
    (void)ctx;
    snprintf(out, len, "cannot read the file");
    return 2;
}

static MYSQL *
connect_peer(void)
{
    MYSQL *conn = mysql_init(NULL);
    unsigned on = 1;
    unsigned tcp = MYSQL_PROTOCOL_TCP;
    mysql_options(conn, MYSQL_OPT_LOCAL_INFILE, &on);
    mysql_options(conn, MYSQL_OPT_PROTOCOL, &tcp);
    if (mysql_real_connect(conn, "127.0.0.1", words[2], NULL, words[3],
                           (unsigned)strtoul(words[1], NULL, 10), NULL, 0) == NULL) {
        fprintf(stderr, "mysql_peer: %s\n", mysql_error(conn));
        exit(1);
    }
    mysql_set_local_infile_handler(conn, open_file, read_file, close_file, say_error, NULL);
    return conn;
}

static const char *
take_file(void)
{
    pthread_mutex_lock(&mutex);
    const char *file = next_file < files ? words[5 + next_file++] : NULL;
    pthread_mutex_unlock(&mutex);
    return file;
}

static void *
work(void *ctx)
{
    MYSQL *conn = connect_peer();
    char sql[8192];
    (void)ctx;
    for (const char *file; (file = take_file()) != NULL;) {
        run(conn, "BEGIN");
        snprintf(sql, sizeof sql,
                 "LOAD DATA LOCAL INFILE '%s' INTO TABLE %s CHARACTER SET utf8mb4 FIELDS TERMINATED"
                 " BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\n'"
                 " IGNORE 1 LINES",
                 file, words[4]);
        run(conn, sql);
        unsigned long long loaded = mysql_affected_rows(conn);
        snprintf(sql, sizeof sql, "INSERT INTO peer_files VALUES('%s', %llu)", file, loaded);
        run(conn, sql);
        run(conn, "COMMIT");
        pthread_mutex_lock(&mutex);
        rows += loaded;
        pthread_mutex_unlock(&mutex);
    }
    mysql_close(conn);
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t threads[CONNECTIONS_MAX];
    long connections = argc < 7 ? 0 : strtol(argv[1], NULL, 10);
    if (connections < 1 || connections > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: mysql_peer CONNECTIONS PORT USER DATABASE TABLE FILE...\n");
        return 2;
    }
    words = argv + 1;
    files = argc - 6;
    mysql_library_init(0, NULL, NULL);
    MYSQL *conn = connect_peer();
    run(conn, "CREATE TABLE IF NOT EXISTS peer_files(name VARCHAR(500) PRIMARY KEY, n BIGINT)");
    mysql_close(conn);
    for (long i = 0; i < connections; i++) {
        pthread_create(&threads[i], NULL, work, NULL);
    }
    for (long i = 0; i < connections; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%llu\n", rows);
    return 0;
}
#else
int
main(void)
{
    return 77; /* this build has no client library for it */
}
#endif
