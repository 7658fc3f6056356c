/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/rpc_peer.c: what nng and SQLite can do at most: 64 bytes there and back, each a row
 * updated and durable before its answer, no protocol, no protobuf, no scheduling.
 * usage: rpc_peer serve URL DB each|group     a commit a request, or one for all that have come
 *        rpc_peer client URL SOCKETS OUTSTANDING SECONDS
 * serve prints "ready"; client prints one line of name=value. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/sql.h"
#include "tests/bench/bench_times.h"

enum { CONTEXTS = 512, ROWS = 1000000, MESSAGE_BYTES = 64 };

static void
check_nng(const char *what, int code)
{
    if (code != 0) {
        fprintf(stderr, "rpc_peer: %s: %s\n", what, nng_strerror(code));
        exit(1);
    }
}

static void
check(enum ps_status status, const struct ps_error *err)
{
    if (status != PS_OK) {
        fprintf(stderr, "rpc_peer: %s\n", err->text);
        exit(1);
    }
}

/* ---- server */
enum place { PLACE_RECEIVE, PLACE_SEND };
struct context {
    nng_ctx ctx;
    nng_aio *aio;
    enum place place;
    nng_msg *msg;
    struct context *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct context *waiting;
static bool commit_each;

static void
received(void *arg)
{
    struct context *context = arg;
    int code = nng_aio_result(context->aio);
    if (context->place == PLACE_RECEIVE && code == 0) {
        context->msg = nng_aio_get_msg(context->aio);
        pthread_mutex_lock(&mutex);
        context->next = waiting;
        waiting = context;
        pthread_cond_signal(&wake);
        pthread_mutex_unlock(&mutex);
        return;
    }
    if (code == NNG_ECLOSED) {
        return;
    }
    if (code != 0 && context->place == PLACE_SEND) {
        nng_msg_free(nng_aio_get_msg(context->aio));
    }
    context->place = PLACE_RECEIVE;
    nng_ctx_recv(context->ctx, context->aio);
}

static void
answer(struct context *context)
{
    context->place = PLACE_SEND;
    nng_aio_set_msg(context->aio, context->msg);
    nng_ctx_send(context->ctx, context->aio);
}

static void
fill(sqlite3 *db, struct ps_error *err)
{
    check(sql_exec(db,
                   "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                   "CREATE TABLE b(id INTEGER PRIMARY KEY, key TEXT, state INT, agent INT, lease "
                   "INT); CREATE INDEX open ON b(id) WHERE state = 0; BEGIN",
                   err),
          err);
    sqlite3_stmt *insert = NULL;
    check(sql_prepare(db, "INSERT INTO b VALUES (?1, 'bucket/2024/01/part-' || ?1, 0, 0, 0)",
                      &insert, err),
          err);
    for (int64_t i = 1; i <= ROWS; i++) {
        check(SQL_RUN(insert, err, sql_int(i)), err);
    }
    sql_finalize(insert);
    check(sql_exec(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)", err), err);
}

static struct context *
take_all(void)
{
    pthread_mutex_lock(&mutex);
    while (waiting == NULL) {
        pthread_cond_wait(&wake, &mutex);
    }
    struct context *all = waiting;
    waiting = commit_each ? all->next : NULL;
    if (commit_each) {
        all->next = NULL;
    }
    pthread_mutex_unlock(&mutex);
    return all;
}

static void
write_for_ever(sqlite3 *db, struct ps_error *err)
{
    sqlite3_stmt *update = NULL;
    sqlite3_stmt *begin = NULL;
    sqlite3_stmt *commit = NULL;
    check(sql_prepare(db,
                      "UPDATE b SET state = 1 - state, agent = 7, lease = lease + 1 WHERE id = ?1",
                      &update, err),
          err);
    check(sql_prepare(db, "BEGIN IMMEDIATE", &begin, err), err);
    check(sql_prepare(db, "COMMIT", &commit, err), err);
    for (int64_t id = 0;;) {
        struct context *all = take_all();
        check(sql_run(begin, NULL, 0, err), err);
        for (struct context *at = all; at != NULL; at = at->next) {
            check(SQL_RUN(update, err, sql_int(id++ % ROWS + 1)), err);
        }
        check(sql_run(commit, NULL, 0, err), err);
        while (all != NULL) {
            struct context *next = all->next; /* another thread has it after answer */
            answer(all);
            all = next;
        }
    }
}

static int
serve(const char *url, const char *path)
{
    static struct context contexts[CONTEXTS];
    struct ps_error err = {0};
    sqlite3 *db = NULL;
    nng_socket socket;
    check(sql_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, &err), &err);
    fill(db, &err);
    check_nng("open", nng_rep0_open(&socket));
    for (size_t i = 0; i < CONTEXTS; i++) {
        check_nng("aio", nng_aio_alloc(&contexts[i].aio, received, &contexts[i]));
        check_nng("context", nng_ctx_open(&contexts[i].ctx, socket));
    }
    check_nng("listen", nng_listen(socket, url, NULL, 0));
    for (size_t i = 0; i < CONTEXTS; i++) {
        nng_ctx_recv(contexts[i].ctx, contexts[i].aio);
    }
    printf("ready\n");
    (void)fflush(stdout);
    write_for_ever(db, &err);
    return 0;
}

/* ---- client */
struct asker {
    nng_ctx ctx;
    nng_aio *aio;
    bool sent;
    double began_s;
    struct bench_times times;
};
static atomic_bool stopping;
static atomic_int asking;

static void
ask(struct asker *asker)
{
    nng_msg *msg = NULL;
    check_nng("message", nng_msg_alloc(&msg, MESSAGE_BYTES));
    memset(nng_msg_body(msg), 7, MESSAGE_BYTES);
    asker->sent = false;
    asker->began_s = bench_now_s();
    nng_aio_set_msg(asker->aio, msg);
    nng_ctx_send(asker->ctx, asker->aio);
}

static void
asked(void *arg)
{
    struct asker *asker = arg;
    check_nng(asker->sent ? "receive" : "send", nng_aio_result(asker->aio));
    if (!asker->sent) {
        asker->sent = true;
        nng_ctx_recv(asker->ctx, asker->aio);
        return;
    }
    nng_msg_free(nng_aio_get_msg(asker->aio));
    bench_times_add(&asker->times, bench_now_s() - asker->began_s);
    if (atomic_load(&stopping)) {
        atomic_fetch_sub(&asking, 1);
    } else {
        ask(asker);
    }
}

static int
client(const char *url, size_t sockets, size_t outstanding, double seconds)
{
    nng_socket *socket = ps_xcalloc(sockets, sizeof *socket);
    struct asker *askers = ps_xcalloc(outstanding, sizeof *askers);
    for (size_t i = 0; i < sockets; i++) {
        check_nng("open", nng_req0_open(&socket[i]));
        check_nng("dial", nng_dial(socket[i], url, NULL, 0));
    }
    for (size_t i = 0; i < outstanding; i++) {
        check_nng("aio", nng_aio_alloc(&askers[i].aio, asked, &askers[i]));
        check_nng("context", nng_ctx_open(&askers[i].ctx, socket[i % sockets]));
    }
    atomic_store(&asking, (int)outstanding);
    double cpu_s = bench_cpu_s();
    double began_s = bench_now_s();
    for (size_t i = 0; i < outstanding; i++) {
        ask(&askers[i]);
    }
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&stopping, true);
    while (atomic_load(&asking) > 0) {
        usleep(1000);
    }
    double took_s = bench_now_s() - began_s;
    cpu_s = bench_cpu_s() - cpu_s;
    struct bench_times all = {0};
    for (size_t i = 0; i < outstanding; i++) {
        for (size_t k = 0; k < askers[i].times.len; k++) {
            bench_times_add(&all, (double)askers[i].times.us[k] / 1e6);
        }
    }
    printf("requests_s=%.0f client_us=%.1f", (double)all.len / took_s,
           cpu_s * 1e6 / (double)all.len);
    bench_times_print("request", &all);
    printf("\n");
    (void)fflush(stdout);
    _exit(0); /* closing nng's sockets is not what is measured */
}

int
main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "serve") == 0) {
        commit_each = strcmp(argv[4], "each") == 0;
        return serve(argv[2], argv[3]);
    }
    if (argc == 6 && strcmp(argv[1], "client") == 0) {
        return client(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
                      strtod(argv[5], NULL));
    }
    fprintf(stderr, "usage: rpc_peer serve URL DB each|group\n"
                    "       rpc_peer client URL SOCKETS OUTSTANDING SECONDS\n");
    return 2;
}
