/* SPDX-License-Identifier: Apache-2.0 */
/* The door for people over real HTTP, with a real catalog and an engine of this file's own. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/path.h"
#include "coordinator/api/api.h"
#include "coordinator/catalog/catalog.h"

enum { PARKED_MAX = 128, DEADLINE_S = 10 };

/* ---------------------------------------------------------------- the engine */

/* Keeps WATCH with a wait, answers the rest at once on the caller's thread. */
static struct fake {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct engine_command parked[PARKED_MAX];
    size_t parked_count;
    char spec[4096];
    uint64_t revision;
    bool dry_run, trust_ledger;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void
answer_pipeline(struct engine_command *command, bool created)
{
    Penstock__ApiPipeline pipeline = PENSTOCK__API_PIPELINE__INIT;
    pipeline.name = command->name;
    pipeline.uuid = (char *)"00000000-0000-7000-8000-000000000000";
    pipeline.state = (char *)"running";
    pipeline.revision = 7;
    struct command_result result = {.pipeline = &pipeline, .created = created};
    command->reply(command->ctx, &result);
}

static void
answer_code(struct engine_command *command, const char *code, const char *text)
{
    struct command_result result = {.status = PS_REFUSED, .code = code, .text = text};
    command->reply(command->ctx, &result);
}

static void
answer_rejects(struct engine_command *command)
{
    Penstock__ApiReject reject = PENSTOCK__API_REJECT__INIT;
    const Penstock__ApiReject *items[] = {&reject};
    reject.batch = (char *)"b";
    reject.object = (char *)"o";
    reject.code = (char *)"c";
    reject.reason = (char *)(command->cursor_len == 3 ? "second page" : "first page");
    struct command_result result = {.rejects = items, .reject_count = 1};
    if (command->cursor_len == 0) {
        result.next_cursor = ps_span("\0\1\2", 3);
    }
    command->reply(command->ctx, &result);
}

static void
answer_command(struct engine_command *command)
{
    Penstock__ApiSample sample = PENSTOCK__API_SAMPLE__INIT;
    struct command_result result = {.sample = &sample};
    if (command->name != NULL && strcmp(command->name, "none") == 0) {
        answer_code(command, "not_found", "there is no pipeline \"none\"");
        return;
    }
    switch (command->kind) {
    case COMMAND_PUT:
        snprintf(fake.spec, sizeof fake.spec, "%s", command->spec_json);
        fake.revision = command->revision;
        answer_pipeline(command, command->revision == 0);
        break;
    case COMMAND_STOP:
        answer_code(command, "wrong_state", "it is not running");
        break;
    case COMMAND_RECONCILE:
        fake.dry_run = command->dry_run;
        fake.trust_ledger = command->trust_ledger;
        answer_pipeline(command, false);
        break;
    case COMMAND_START:
    case COMMAND_WATCH:
        answer_pipeline(command, false);
        break;
    case COMMAND_REJECTS:
        answer_rejects(command);
        break;
    case COMMAND_DELETE:
    case COMMAND_SAMPLE:
    case COMMAND_AGENTS:
    case COMMAND_REPLAY:
        command->reply(command->ctx, &result);
        break;
    }
}

void
engine_submit_command(struct engine *engine, const struct engine_command *command)
{
    struct engine_command copy = *command;
    (void)engine;
    if (copy.kind != COMMAND_WATCH || copy.wait_ms == 0) {
        answer_command(&copy);
        engine_command_fini(&copy);
        return;
    }
    pthread_mutex_lock(&fake.lock);
    fake.parked[fake.parked_count++] = copy;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

static void
fake_answer_parked(void)
{
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.parked_count; i++) {
        answer_pipeline(&fake.parked[i], false);
        engine_command_fini(&fake.parked[i]);
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

/* ---------------------------------------------------------------- the server */

struct door {
    char folder[64];
    char path[96];
    struct catalog *catalog;
    struct catalog_reader *reader;
    struct api *api;
    bool tcp;
};

static void
fill_catalog(struct catalog *catalog)
{
    struct ps_error err = {0};
    struct cat_pipeline row = {.state = "created", .spec_json = "{}", .revision = 1};
    const char *const names[] = {"alpha", "beta", "gamma"};
    for (size_t i = 0; i < 3; i++) {
        row.name = names[i];
        row.uuid.id = ps_id_new();
        cr_assert_eq(cat_pipeline_insert(catalog, &row, &err), PS_OK, "%s", err.text);
        cr_assert_eq(cat_pipeline_put_spec(catalog, row.id, 0, "{}", ps_span(NULL, 0), &err), PS_OK,
                     "%s", err.text);
        struct cat_event event = {.at_ms = 1, .pipeline = names[i], .kind = "pipeline.created"};
        cr_assert_eq(cat_event_add(catalog, &event, &err), PS_OK, "%s", err.text);
    }
    for (uint64_t id = 1; id <= 5; id++) {
        struct cat_object object = {.pipeline_id = row.id, .id = id, .state = "pending"};
        object.key = ps_span("\xff%.csv", 6);
        object.version = ps_span(&id, sizeof id);
        object.hash = ps_bp_hash(object.key, object.version);
        cr_assert_eq(cat_object_insert(catalog, &object, &err), PS_OK, "%s", err.text);
    }
    cr_assert_eq(catalog_commit(catalog, &err), PS_OK, "%s", err.text);
}

static void
door_open(struct door *door, bool tcp)
{
    char http[128];
    char file[96];
    struct ps_error err = {0};
    *door = (struct door){.tcp = tcp};
    snprintf(door->folder, sizeof door->folder, "/tmp/penstock-api-XXXXXX");
    cr_assert_not_null(mkdtemp(door->folder));
    snprintf(door->path, sizeof door->path, "%s/http", door->folder);
    snprintf(file, sizeof file, "%s/catalog.db", door->folder);
    cr_assert_eq(catalog_open(file, &door->catalog, &err), PS_OK, "%s", err.text);
    fill_catalog(door->catalog);
    cr_assert_eq(catalog_reader_open(file, &door->reader, &err), PS_OK, "%s", err.text);
    snprintf(http, sizeof http, "unix:%s", door->path);
    struct api_config config = {.http = tcp ? "127.0.0.1:0" : http};
    cr_assert_eq(api_open(&config, NULL, door->reader, &door->api, &err), PS_OK, "%s", err.text);
    api_set_ready(door->api, NULL);
}

static void
door_close(struct door *door)
{
    api_free(door->api);
    cr_expect_not(ps_path_exists(door->path));
    catalog_reader_close(door->reader);
    catalog_close(door->catalog);
    cr_expect_eq(ps_path_remove_tree(door->folder, NULL), PS_OK);
}

static int
door_connect(const struct door *door)
{
    struct timeval deadline = {.tv_sec = DEADLINE_S};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET};
    int fd = socket(door->tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    if (door->tcp) {
        const char *port = strrchr(api_address(door->api), ':') + 1;
        remote.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
        remote.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        cr_assert_eq(connect(fd, (struct sockaddr *)&remote, sizeof remote), 0);
    } else {
        memcpy(local.sun_path, door->path, strlen(door->path) + 1);
        cr_assert_eq(connect(fd, (struct sockaddr *)&local, sizeof local), 0);
    }
    return fd;
}

static void
send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* answered before the body was read */
        }
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void
send_request(int fd, const char *line, const char *headers, const char *body)
{
    char *head = ps_xasprintf("%s HTTP/1.1\r\nConnection: close\r\n%s%sContent-Length: %zu\r\n\r\n",
                              line, strstr(headers, "Host:") == NULL ? "Host: localhost\r\n" : "",
                              headers, strlen(body));
    send_all(fd, head, strlen(head));
    send_all(fd, body, strlen(body));
    ps_free(head);
}

static char *
read_answer(int fd)
{
    struct ps_buf answer = PS_BUF_INIT;
    char chunk[4096];
    ssize_t got = 0;
    while ((got = recv(fd, chunk, sizeof chunk, 0)) > 0) {
        ps_buf_xappend(&answer, chunk, (size_t)got);
    }
    close(fd);
    char *text = ps_xstrndup(ps_buf_str(&answer), answer.len);
    ps_buf_fini(&answer);
    return text;
}

static char *
ask(const struct door *door, const char *line, const char *headers, const char *body)
{
    int fd = door_connect(door);
    send_request(fd, line, headers, body);
    return read_answer(fd);
}

/* wanted: "200 text that must be in the answer". */
static void
expect_full(const struct door *door, const char *line, const char *headers, const char *body,
            const char *wanted)
{
    char *answer = ask(door, line, headers, body);
    cr_expect(strncmp(answer, "HTTP/1.1 ", 9) == 0 && strncmp(answer + 9, wanted, 4) == 0, "%s: %s",
              line, answer);
    cr_expect(strstr(answer, wanted + 4) != NULL, "%s: no %s in %s", line, wanted + 4, answer);
    ps_free(answer);
}

static void
expect(const struct door *door, const char *line, const char *wanted)
{
    expect_full(door, line, "", "", wanted);
}

/* ---------------------------------------------------------------- tests */

Test(api, routes)
{
    struct door door;
    struct stat found;
    door_open(&door, false);
    cr_expect_eq(stat(door.path, &found), 0);
    cr_expect_eq(found.st_mode & 0777, 0600);
    expect(&door, "GET /livez", "200 \"ok\"");
    expect(&door, "GET /readyz", "200 \"ok\"");
    expect(&door, "GET /v1/pipelines/alpha", "200 ETag: \"7\"");
    expect(&door, "HEAD /v1/pipelines/alpha", "200 ETag: \"7\"");
    expect(&door, "GET /v1/pipelines/none", "404 \"code\":\"not_found\"");
    expect(&door, "POST /v1/pipelines/alpha:start", "200 \"state\":\"running\"");
    expect(&door, "POST /v1/pipelines/alpha:stop", "409 \"code\":\"wrong_state\"");
    expect(&door, "POST /v1/pipelines/alpha:reconcile?dry_run=1", "200 \"name\":\"alpha\"");
    cr_expect(fake.dry_run && !fake.trust_ledger);
    expect(&door, "POST /v1/pipelines/alpha:reconcile?trust_ledger=1", "200 \"name\":\"alpha\"");
    cr_expect(!fake.dry_run && fake.trust_ledger);
    expect(&door, "POST /v1/pipelines/alpha:reconcile?trust_ledger=2", "400 bad_parameter");
    expect(&door, "POST /v1/pipelines/alpha:sample", "200 \"columns\":[]");
    expect(&door, "DELETE /v1/pipelines/alpha", "204 ");
    expect(&door, "GET /v1/agents", "200 \"items\":[]");
    expect(&door, "GET /v1/events?after=1&limit=1", "200 \"id\":\"2\"");
    expect(&door, "GET /v1/events?pipeline=gamma", "200 \"pipeline\":\"gamma\"");
    expect(&door, "GET /v1/events?last=1", "200 \"items\":[{\"id\":\"3\"");
    expect(&door, "GET /v1/pipelines/alpha/batches", "200 \"items\":[]");
    api_set_ready(door.api, "the catalog is being read");
    expect(&door, "GET /readyz", "503 the catalog is being read");
    door_close(&door);
}

Test(api, faults_have_codes)
{
    struct door door;
    door_open(&door, false);
    expect(&door, "GET /nothing", "404 \"code\":\"no_route\"");
    expect(&door, "GET /nothing", "404 application/problem+json");
    expect(&door, "PATCH /v1/pipelines/alpha", "405 Allow: GET, HEAD, PUT, DELETE");
    expect(&door, "GET /v1/pipelines/%zz", "400 \"code\":\"bad_path\"");
    expect(&door, "GET /v1/pipelines/a%00b", "400 \"code\":\"bad_path\"");
    expect(&door, "GET /v1/pipelines?limt=3", "400 known here: limit cursor");
    expect(&door, "GET /v1/pipelines?limit=x", "400 \"code\":\"bad_parameter\"");
    expect(&door, "GET /v1/pipelines?limit=1&limit=2", "400 given twice");
    expect(&door, "GET /v1/pipelines?cursor=x", "400 \"code\":\"bad_cursor\"");
    expect(&door, "GET /v1/pipelines/gamma/batches?state=lost", "400 pending|leased");
    expect(&door, "GET /v1/pipelines/delta/batches", "404 \"code\":\"not_found\"");
    expect(&door, "GET /v1/events?after=99999999999999999999", "400 bad_parameter");
    door_close(&door);
}

static void
take_next(const char *answer, char *out, size_t room)
{
    const char *next = strstr(answer, "\"next\":\"");
    snprintf(out, room, "%s", next == NULL ? "" : next + 8);
    out[strcspn(out, "\"")] = '\0';
}

Test(api, lists_are_paged)
{
    struct door door;
    char line[256];
    char next[128] = "";
    size_t pages = 0;
    door_open(&door, false);
    do {
        snprintf(line, sizeof line, "GET /v1/pipelines/gamma/batch-partitions?limit=2%s%s",
                 next[0] == '\0' ? "" : "&cursor=", next);
        char *answer = ask(&door, line, "", "");
        cr_expect(strstr(answer, "\"name\":\"%FF%25.csv\"") != NULL, "%s", answer);
        take_next(answer, next, sizeof next);
        ps_free(answer);
        pages++;
    } while (next[0] != '\0' && pages < 10);
    cr_expect_eq(pages, 3);
    char *answer = ask(&door, "GET /v1/pipelines?limit=3", "", "");
    cr_expect_null(strstr(answer, "next"), "%s", answer);
    ps_free(answer);
    answer = ask(&door, "GET /v1/pipelines/alpha/rejects", "", "");
    cr_expect_not_null(strstr(answer, "first page"));
    take_next(answer, next, sizeof next);
    ps_free(answer);
    snprintf(line, sizeof line, "GET /v1/pipelines/alpha/rejects?cursor=%s", next);
    expect(&door, line, "200 second page");
    door_close(&door);
}

static const char spec[] = "{\"source\":{\"url\":\"file:///data/*.csv\"},\"format\":{\"type\":"
                           "\"csv\"},\"destination\":{\"url\":\"sqlite:/data/a.db\",\"table\":"
                           "\"t\"}}";

Test(api, put)
{
    static const char put[] = "PUT /v1/pipelines/alpha";
    struct door door;
    door_open(&door, false);
    expect_full(&door, put, "", spec, "201 Location: /v1/pipelines/alpha");
    cr_expect_not_null(strstr(fake.spec, "\"name\":\"alpha\""));
    expect_full(&door, put, "Content-Type: application/json; charset=utf-8\r\n", spec, "201 ETag");
    expect_full(&door, put, "If-Match: \"12\"\r\n", spec, "200 \"revision\":\"7\"");
    cr_expect_eq(fake.revision, 12);
    expect_full(&door, put, "If-Match: W/\"12\"\r\n", spec, "400 \"code\":\"bad_precondition\"");
    expect_full(&door, put, "If-Match: \"0\"\r\n", spec, "412 \"code\":\"revision_mismatch\"");
    expect_full(&door, put, "Content-Type: text/plain\r\n", spec, "415 unsupported_media_type");
    expect_full(&door, put, "", "{", "400 \"code\":\"bad_json\"");
    expect_full(&door, put, "", "", "400 \"code\":\"bad_json\"");
    expect_full(&door, put, "", "[]", "422 \"code\":\"invalid_spec\"");
    expect_full(&door, put, "", "{\"name\":\"beta\"}", "422 \"path\":\"source");
    char *answer = ask(&door, put, "", "{\"nam\":1,\"destnation\":2}");
    cr_expect_not_null(strstr(answer, "\"path\":\"nam\""), "%s", answer);
    cr_expect_not_null(strstr(answer, "\"path\":\"destnation\""), "%s", answer);
    ps_free(answer);
    door_close(&door);
}

Test(api, bodies_have_a_ceiling)
{
    static const char head[] = "PUT /v1/pipelines/a HTTP/1.1\r\nHost: localhost\r\nConnection: "
                               "close\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n";
    enum { TOO_MANY = 1024 * 1024 + 1 };
    struct door door;
    char *body = ps_xalloc(TOO_MANY + 1);
    memset(body, ' ', TOO_MANY);
    body[TOO_MANY] = '\0';
    door_open(&door, false);
    int fd = door_connect(&door);
    send_all(fd, head, sizeof head - 1);
    send_all(fd, body, TOO_MANY);
    send_all(fd, "\r\n0\r\n\r\n", 7);
    char *answer = read_answer(fd);
    cr_expect_not_null(strstr(answer, "body_too_large"), "%s", answer);
    ps_free(answer);
    /* Its length says so: answered before the body is sent. */
    fd = door_connect(&door);
    static const char early[] = "PUT /v1/pipelines/a HTTP/1.1\r\nHost: localhost\r\nConnection: "
                                "close\r\nContent-Length: 1048577\r\n\r\n";
    send_all(fd, early, sizeof early - 1);
    answer = read_answer(fd);
    cr_expect(strncmp(answer, "HTTP/1.1 413 ", 13) == 0, "%s", answer);
    ps_free(answer);
    ps_free(body);
    expect(&door, "GET /livez", "200 ok");
    door_close(&door);
}

Test(api, etags)
{
    struct door door;
    door_open(&door, false);
    expect_full(&door, "GET /v1/pipelines/a", "If-None-Match: \"7\"\r\n", "", "304 ETag: \"7\"");
    expect_full(&door, "GET /v1/pipelines/a", "If-None-Match: \"6\"\r\n", "", "200 ETag: \"7\"");
    door_close(&door);
}

Test(api, hosts_on_tcp)
{
    static const char live[] = "GET /livez";
    struct door door;
    door_open(&door, true);
    cr_expect(strncmp(api_address(door.api), "http://127.0.0.1:", 17) == 0);
    expect_full(&door, live, "Host: localhost:7180\r\n", "", "200 ok");
    expect_full(&door, live, "Host: 127.0.0.1\r\n", "", "200 ok");
    expect_full(&door, live, "Host: [::1]:80\r\n", "", "200 ok");
    expect_full(&door, live, "Host: evil.example:7180\r\n", "", "403 \"code\":\"host_refused\"");
    expect_full(&door, live, "Host: localhost.evil.example\r\n", "", "403 host_refused");
    expect_full(&door, live, "Origin: http://evil.example\r\n", "", "403 origin_refused");
    expect_full(&door, live, "Origin: null\r\n", "", "403 origin_refused");
    expect_full(&door, live, "Origin: http://localhost:3000\r\n", "", "200 ok");
    door_close(&door);
}

Test(api, long_polls_hold_no_thread)
{
    enum { WATCHERS = 50 };
    struct door door;
    int fds[WATCHERS];
    door_open(&door, false);
    for (size_t i = 0; i < WATCHERS; i++) {
        fds[i] = door_connect(&door);
        send_request(fds[i], "GET /v1/pipelines/alpha?revision=7&wait=30000", "", "");
    }
    fake_wait_parked(WATCHERS);
    expect(&door, "GET /livez", "200 ok");
    close(fds[0]); /* gone before its answer */
    fake_answer_parked();
    for (size_t i = 1; i < WATCHERS; i++) {
        char *answer = read_answer(fds[i]);
        cr_expect(strncmp(answer, "HTTP/1.1 200 ", 13) == 0, "%s", answer);
        ps_free(answer);
    }
    door_close(&door);
}

Test(api, ends_while_requests_wait)
{
    struct door door;
    door_open(&door, false);
    int fd = door_connect(&door);
    send_request(fd, "GET /v1/pipelines/alpha?wait=30000", "", "");
    fake_wait_parked(1);
    api_close(door.api);
    fake_answer_parked(); /* as the engine does when it ends after the door */
    char *answer = read_answer(fd);
    cr_expect_not_null(strstr(answer, "\"code\":\"shutting_down\""), "%s", answer);
    ps_free(answer);
    door_close(&door);
}

Test(api, refuses_other_addresses)
{
    struct api_config config = {.http = "0.0.0.0:0"};
    struct ps_error err = {0};
    struct api *api = NULL;
    cr_expect_eq(api_open(&config, NULL, NULL, &api, &err), PS_REFUSED);
    cr_expect_not_null(strstr(err.text, "no authentication"));
    cr_expect_null(api);
}
