/* SPDX-License-Identifier: Apache-2.0 */
/* The door for agents over a real ipc socket, with an engine of this file's own. */
#include <criterion/criterion.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "coordinator/rpc/rpc.h"

enum { PARKED_MAX = 128, DEADLINE_MS = 10000 };

/* Answers HELLO at once, keeps SYNC until fake_answer_parked. */
struct fake {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct engine_request parked[PARKED_MAX];
    size_t parked_count;
};
static struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void
answer_hello(const struct engine_request *request)
{
    const Penstock__Hello *hello = (const Penstock__Hello *)request->message;
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    Penstock__HelloReply reply = PENSTOCK__HELLO_REPLY__INIT;
    stamp.cluster_epoch = hello->leaves;
    reply.stamp = &stamp;
    request->reply(request->ctx, MSG_HELLO_REPLY, &reply.base);
    msg_free(request->message);
}

void
engine_submit_request(struct engine *engine, const struct engine_request *request)
{
    (void)engine;
    if (request->type == MSG_HELLO) {
        answer_hello(request);
        return;
    }
    pthread_mutex_lock(&fake.lock);
    fake.parked[fake.parked_count++] = *request;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

static void
fake_answer_parked(void)
{
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    Penstock__SyncReply reply = PENSTOCK__SYNC_REPLY__INIT;
    reply.stamp = &stamp;
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.parked_count; i++) {
        fake.parked[i].reply(fake.parked[i].ctx, MSG_SYNC_REPLY, &reply.base);
        msg_free(fake.parked[i].message);
    }
    fake.parked_count = 0;
    pthread_mutex_unlock(&fake.lock);
}

static void
fake_wait_parked(size_t count)
{
    pthread_mutex_lock(&fake.lock);
    while (fake.parked_count < count) {
        pthread_cond_wait(&fake.changed, &fake.lock);
    }
    pthread_mutex_unlock(&fake.lock);
}

static void
fill_origin(Penstock__Origin *origin, Penstock__Stamp *stamp)
{
    static uint8_t incarnation[16];
    penstock__origin__init(origin);
    penstock__stamp__init(stamp);
    origin->agent = (char *)"host-a";
    origin->incarnation = proto_bytes(incarnation, sizeof incarnation);
    origin->seen = stamp;
}

static void
pack_hello(struct ps_buf *frame, uint32_t leaves)
{
    static uint8_t token[16];
    Penstock__Stamp stamp;
    Penstock__Origin origin;
    Penstock__Hello hello = PENSTOCK__HELLO__INIT;
    fill_origin(&origin, &stamp);
    hello.origin = &origin;
    hello.version = (char *)"test";
    hello.leaves = leaves;
    hello.host_token = proto_bytes(token, sizeof token);
    cr_assert_eq(frame_append(frame, MSG_HELLO, &hello.base, NULL), PS_OK);
}

static void
pack_sync(struct ps_buf *frame)
{
    Penstock__Stamp stamp;
    Penstock__Origin origin;
    Penstock__Sync sync = PENSTOCK__SYNC__INIT;
    fill_origin(&origin, &stamp);
    sync.origin = &origin;
    cr_assert_eq(frame_append(frame, MSG_SYNC, &sync.base, NULL), PS_OK);
}

/* One REQ context with its own aio. */
struct asker {
    nng_ctx ctx;
    nng_aio *aio;
};

static void
asker_open(struct asker *asker, nng_socket socket)
{
    cr_assert_eq(nng_ctx_open(&asker->ctx, socket), 0);
    cr_assert_eq(nng_aio_alloc(&asker->aio, NULL, NULL), 0);
    nng_aio_set_timeout(asker->aio, DEADLINE_MS);
}

static void
asker_send(struct asker *asker, const void *bytes, size_t len)
{
    nng_msg *msg = NULL;
    cr_assert_eq(nng_msg_alloc(&msg, 0), 0);
    cr_assert_eq(nng_msg_append(msg, bytes, len), 0);
    nng_aio_set_msg(asker->aio, msg);
    nng_ctx_send(asker->ctx, asker->aio);
    nng_aio_wait(asker->aio);
    cr_assert_eq(nng_aio_result(asker->aio), 0);
}

static ProtobufCMessage *
asker_recv(struct asker *asker, enum msg_type *out_type)
{
    ProtobufCMessage *message = NULL;
    nng_ctx_recv(asker->ctx, asker->aio);
    nng_aio_wait(asker->aio);
    cr_assert_eq(nng_aio_result(asker->aio), 0, "%s", nng_strerror(nng_aio_result(asker->aio)));
    nng_msg *msg = nng_aio_get_msg(asker->aio);
    cr_assert_eq(
        frame_unpack(ps_span(nng_msg_body(msg), nng_msg_len(msg)), out_type, &message, NULL),
        PS_OK);
    nng_msg_free(msg);
    return message;
}

static void
asker_close(struct asker *asker)
{
    nng_ctx_close(asker->ctx);
    nng_aio_free(asker->aio);
}

struct door {
    char folder[64];
    char url[96];
    struct rpc *rpc;
    nng_socket socket;
};

static void
door_open(struct door *door)
{
    snprintf(door->folder, sizeof door->folder, "/tmp/penstock-rpc-XXXXXX");
    cr_assert_not_null(mkdtemp(door->folder));
    snprintf(door->url, sizeof door->url, "ipc://%s/rpc.sock", door->folder);
    const char *const urls[] = {door->url, "tcp://127.0.0.1:0"};
    struct rpc_config config = {.urls = urls, .url_count = 2};
    struct ps_error err = {0};
    cr_assert_eq(rpc_open(&config, NULL, &door->rpc, &err), PS_OK, "%s", err.text);
    cr_assert_eq(nng_req0_open(&door->socket), 0);
    cr_assert_eq(nng_dial(door->socket, door->url, NULL, 0), 0);
}

static void
door_close(struct door *door)
{
    nng_close(door->socket);
    rpc_free(door->rpc);
    unlink(door->url + strlen("ipc://"));
    cr_expect_eq(rmdir(door->folder), 0);
}

static void
say_hello(struct asker *asker, uint32_t leaves)
{
    struct ps_buf frame = PS_BUF_INIT;
    enum msg_type type = MSG_HELLO;
    pack_hello(&frame, leaves);
    asker_send(asker, frame.ptr, frame.len);
    ProtobufCMessage *reply = asker_recv(asker, &type);
    cr_expect_eq(type, MSG_HELLO_REPLY);
    cr_expect_eq(((Penstock__HelloReply *)reply)->stamp->cluster_epoch, leaves);
    msg_free(reply);
    ps_buf_fini(&frame);
}

Test(rpc, answers_and_listens_privately)
{
    struct door door;
    struct asker asker;
    struct stat stat_buf;
    door_open(&door);
    cr_expect_eq(stat(door.url + strlen("ipc://"), &stat_buf), 0);
    cr_expect_eq(stat_buf.st_mode & 0777, 0600);
    cr_expect_neq(rpc_port(door.rpc), 0);
    asker_open(&asker, door.socket);
    for (uint32_t i = 1; i < 100; i++) {
        say_hello(&asker, i);
    }
    asker_close(&asker);
    door_close(&door);
}

Test(rpc, parked_requests_block_nobody)
{
    enum { PARKED = 100 };
    struct door door;
    struct asker parked[PARKED];
    struct asker asker;
    struct ps_buf frame = PS_BUF_INIT;
    door_open(&door);
    pack_sync(&frame);
    for (size_t i = 0; i < PARKED; i++) {
        asker_open(&parked[i], door.socket);
        asker_send(&parked[i], frame.ptr, frame.len);
    }
    fake_wait_parked(PARKED);
    asker_open(&asker, door.socket);
    say_hello(&asker, 7);
    fake_answer_parked();
    for (size_t i = 0; i < PARKED; i++) {
        enum msg_type type = MSG_HELLO;
        msg_free(asker_recv(&parked[i], &type));
        cr_expect_eq(type, MSG_SYNC_REPLY);
        asker_close(&parked[i]);
    }
    asker_close(&asker);
    ps_buf_fini(&frame);
    door_close(&door);
}

Test(rpc, refuses_what_is_no_frame_and_goes_on)
{
    struct door door;
    struct asker asker;
    struct asker other;
    nng_socket second;
    struct ps_buf frame = PS_BUF_INIT;
    struct ps_buf reply = PS_BUF_INIT;
    Penstock__Stamp stamp = PENSTOCK__STAMP__INIT;
    Penstock__SyncReply wrong = PENSTOCK__SYNC_REPLY__INIT;
    wrong.stamp = &stamp;
    cr_assert_eq(frame_append(&reply, MSG_SYNC_REPLY, &wrong.base, NULL), PS_OK);
    pack_hello(&frame, 1);
    frame.ptr[frame.len - 1] ^= 1;
    door_open(&door);
    cr_assert_eq(nng_req0_open(&second), 0);
    cr_assert_eq(nng_dial(second, door.url, NULL, 0), 0);
    asker_open(&asker, second);
    asker_send(&asker, "GET / HTTP/1.1\r\n", 16);
    asker_send(&asker, frame.ptr, frame.len);
    asker_send(&asker, reply.ptr, reply.len);
    asker_send(&asker, "", 0);
    asker_open(&other, door.socket);
    say_hello(&other, 3);
    asker_close(&asker);
    asker_close(&other);
    nng_close(second);
    ps_buf_fini(&frame);
    ps_buf_fini(&reply);
    door_close(&door);
}

Test(rpc, ends_while_requests_wait)
{
    struct door door;
    struct asker asker;
    struct ps_buf frame = PS_BUF_INIT;
    door_open(&door);
    pack_sync(&frame);
    asker_open(&asker, door.socket);
    asker_send(&asker, frame.ptr, frame.len);
    fake_wait_parked(1);
    rpc_close(door.rpc);
    fake_answer_parked(); /* dropped, as the engine does when it ends after the door */
    asker_close(&asker);
    ps_buf_fini(&frame);
    door_close(&door);
}

Test(rpc, refuses_other_addresses)
{
    const char *const urls[] = {"tcp://0.0.0.0:0"};
    struct rpc_config config = {.urls = urls, .url_count = 1};
    struct rpc *rpc = NULL;
    struct ps_error err = {0};
    cr_expect_eq(rpc_open(&config, NULL, &rpc, &err), PS_REFUSED);
    cr_expect(strstr(err.text, "loopback") != NULL);
    cr_expect_null(rpc);
}
