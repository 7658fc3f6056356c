/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_http.h"

#include <curl/curl.h>
#include <string.h>

#include "cli/cli_json.h"
#include "cli/cli_signal.h"
#include "common/alloc.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"

enum { ANSWER_MAX_BYTES = 256 * 1024 * 1024, DEFAULT_TIMEOUT_MS = 30000, CONNECT_MS = 5000 };

struct cli_http {
    CURLM *multi;
    char *address;     /* as given, for messages */
    char *base;        /* "http://host:port" */
    char *socket_path; /* NULL: TCP */
};

struct cli_call {
    struct cli_http *http;
    CURL *easy;
    struct curl_slist *headers;
    char *url;
    struct ps_buf text; /* request body */
    struct ps_buf answer;
    char error[CURL_ERROR_SIZE];
    bool done;
    bool too_large;
    CURLcode code;
};

void
cli_reply_fini(struct cli_reply *reply)
{
    json_decref(reply->body);
    *reply = (struct cli_reply){0};
}

enum ps_status
cli_http_new(const char *address, struct cli_http **out, struct ps_error *err)
{
    const char *path = NULL;
    if (strncmp(address, "unix:", 5) == 0) {
        path = address + 5;
        path += strncmp(path, "//", 2) == 0 ? 2 : 0;
        if (path[0] == '\0' || strlen(path) > 107) {
            return ps_fail(err, PS_REFUSED, "\"%s\": a socket's path has 1 to 107 characters",
                           address);
        }
    } else if (strncmp(address, "http://", 7) != 0 && strncmp(address, "https://", 8) != 0) {
        return ps_fail(err, PS_REFUSED,
                       "\"%s\" is no coordinator's address: expected http://HOST:PORT or unix:PATH",
                       address);
    }
    struct cli_http *http = ps_xcalloc(1, sizeof *http);
    http->address = ps_xstrdup(address);
    http->socket_path = ps_xstrdup(path);
    http->base = ps_xstrdup(path != NULL ? "http://localhost" : address);
    size_t len = strlen(http->base);
    while (len > 0 && http->base[len - 1] == '/') {
        http->base[--len] = '\0';
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    http->multi = curl_multi_init();
    *out = http;
    return PS_OK;
}

void
cli_http_free(struct cli_http *http)
{
    if (http == NULL) {
        return;
    }
    curl_multi_cleanup(http->multi);
    ps_free(http->address);
    ps_free(http->base);
    ps_free(http->socket_path);
    ps_free(http);
}

static size_t
take_answer(char *bytes, size_t size, size_t count, void *ctx)
{
    struct cli_call *call = ctx;
    size_t len = size * count;
    if (call->answer.len + len > ANSWER_MAX_BYTES) {
        call->too_large = true;
        return 0;
    }
    ps_buf_xappend(&call->answer, bytes, len);
    return len;
}

struct cli_call *
cli_http_begin(struct cli_http *http, const struct cli_request *request)
{
    struct cli_call *call = ps_xcalloc(1, sizeof *call);
    call->http = http;
    call->easy = curl_easy_init();
    call->url = ps_xasprintf("%s%s", http->base, request->path);
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_URL, call->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     request->timeout_ms > 0 ? request->timeout_ms : (long)DEFAULT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "penstock/" PENSTOCK_VERSION);
    if (http->socket_path != NULL) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, http->socket_path);
    }
    /* "Expect: 100-continue" would cost a round trip, or a second with servers that ignore it. */
    call->headers = curl_slist_append(NULL, "Expect:");
    if (request->body != NULL || strcmp(request->method, "POST") == 0) {
        if (request->body != NULL) {
            ps_json_print(request->body, 0, &call->text);
        }
        if (request->lines != NULL) {
            ps_buf_xappend(&call->text, request->lines, strlen(request->lines));
        }
        call->headers = curl_slist_append(call->headers, request->lines != NULL
                                                             ? "Content-Type: application/x-ndjson"
                                                             : "Content-Type: application/json");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, ps_buf_str(&call->text));
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
    if (request->key != NULL) {
        char *header = ps_xasprintf("Idempotency-Key: %s", request->key);
        call->headers = curl_slist_append(call->headers, header);
        ps_free(header);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_multi_add_handle(http->multi, easy);
    return call;
}

bool
cli_call_done(const struct cli_call *call)
{
    return call->done;
}

static enum ps_status
fail_transport(const struct cli_call *call, struct ps_error *err)
{
    const char *address = call->http->address;
    if (call->too_large) {
        return ps_fail_code(err, PS_AGAIN, "http", "%s: the answer is too large", address);
    }
    if (call->code == CURLE_COULDNT_CONNECT) {
        long number = 0;
        curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &number);
        return ps_fail_code(err, PS_AGAIN, "unreachable",
                            "no coordinator answers at %s (%s); start one with "
                            "`penstock-coordinator`, or name another with --coordinator or "
                            "PENSTOCK_API",
                            address,
                            number != 0 ? strerror((int)number) : curl_easy_strerror(call->code));
    }
    return ps_fail_code(err, PS_AGAIN, "unreachable", "%s: %s", address,
                        call->error[0] != '\0' ? call->error : curl_easy_strerror(call->code));
}

/* One line from an RFC 9457 document: title, detail, then each field error. */
static enum ps_status
fail_problem(const struct cli_reply *reply, struct ps_error *err)
{
    const char *detail = cli_json_str(reply->body, "detail");
    const char *title = cli_json_str(reply->body, "title");
    const char *code = cli_json_str(reply->body, "code");
    struct ps_buf text = PS_BUF_INIT;
    ps_buf_xprintf(&text, "%s", detail[0] != '\0' ? detail : title);
    const json_t *errors = json_object_get(reply->body, "errors");
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)errors, index, item)
    {
        ps_buf_xprintf(&text, "%s%s: %s", text.len > 0 ? "\n  " : "", cli_json_str(item, "path"),
                       cli_json_str(item, "text"));
    }
    if (text.len == 0) {
        ps_buf_xprintf(&text, "the coordinator answered with HTTP status %ld", reply->status);
    }
    enum ps_status status =
        ps_fail_code(err, PS_REFUSED, code[0] != '\0' ? code : "http", "%s", ps_buf_str(&text));
    ps_buf_fini(&text);
    return status;
}

enum ps_status
cli_call_take(struct cli_call *call, struct cli_reply *out, struct ps_error *err)
{
    *out = (struct cli_reply){0};
    if (call->code != CURLE_OK) {
        return fail_transport(call, err);
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &out->status);
    if (call->answer.len > 0) {
        out->body =
            json_loadb((const char *)call->answer.ptr, call->answer.len, JSON_DECODE_ANY, NULL);
    }
    if (out->status >= 400) {
        return fail_problem(out, err);
    }
    if (out->body == NULL && out->status == 200 && call->answer.len > 0) {
        return ps_fail_code(err, PS_REFUSED, "http",
                            "%s: the answer is not JSON: is this a "
                            "coordinator?",
                            call->http->address);
    }
    return PS_OK;
}

void
cli_call_free(struct cli_call *call)
{
    if (call == NULL) {
        return;
    }
    curl_multi_remove_handle(call->http->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    ps_buf_fini(&call->answer);
    ps_free(call->url);
    ps_buf_fini(&call->text);
    ps_free(call);
}

/* True when something finished. */
static bool
collect(struct cli_http *http)
{
    int running = 0;
    bool finished = false;
    curl_multi_perform(http->multi, &running);
    CURLMsg *message;
    while ((message = curl_multi_info_read(http->multi, &running)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            struct cli_call *call = NULL;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
            call->code = message->data.result;
            call->done = true;
            finished = true;
        }
    }
    return finished;
}

void
cli_http_wait(struct cli_http *http, int timeout_ms)
{
    int64_t end_ms = ps_clock_mono_ms() + timeout_ms;
    struct curl_waitfd extra = {.fd = cli_signal_fd(), .events = CURL_WAIT_POLLIN};
    unsigned extras = extra.fd >= 0 ? 1 : 0;
    while (!collect(http)) {
        int64_t left_ms = end_ms - ps_clock_mono_ms();
        if (left_ms <= 0 || extra.revents != 0) {
            return;
        }
        curl_multi_poll(http->multi, &extra, extras, (int)left_ms, NULL);
    }
}

enum ps_status
cli_http_call(struct cli_http *http, const struct cli_request *request, struct cli_reply *out,
              struct ps_error *err)
{
    *out = (struct cli_reply){0};
    unsigned before = cli_signal_read()->interrupts;
    struct cli_call *call = cli_http_begin(http, request);
    while (!call->done && cli_signal_read()->interrupts == before) {
        cli_http_wait(http, 1000);
    }
    enum ps_status status =
        call->done ? cli_call_take(call, out, err) : ps_fail(err, PS_CANCELED, "interrupted");
    cli_call_free(call);
    return status;
}

char *
cli_http_pipeline_path(const char *name, const char *suffix)
{
    struct ps_buf path = PS_BUF_INIT;
    ps_buf_xprintf(&path, "/v1/pipelines/");
    for (; *name != '\0'; name++) {
        unsigned char c = (unsigned char)*name;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        ps_buf_xprintf(&path, plain ? "%c" : "%%%02X", c);
    }
    ps_buf_xprintf(&path, "%s", suffix);
    char *text = ps_xstrdup(ps_buf_str(&path));
    ps_buf_fini(&path);
    return text;
}
