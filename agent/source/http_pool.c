/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "agent/source/http_easy.h"
#include "agent/source/http_url.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/rand.h"
#include "common/secret.h"

enum {
    HOPS_MOST = 5,
    SPARE_MOST = 64,
    BACKOFF_FIRST_MS = 200,
    BACKOFF_MOST_MS = 10000,
    RETRY_AFTER_MOST_S = 60, /* longer: the batch is given back and comes again later */
    GOOD_BYTES = 64 * 1024,  /* an attempt that brought so much starts the count anew */
    HEADERS_MOST_BYTES = 256 * 1024,
    ERROR_BODY_BYTES = 65536, /* of an answer that is no object */
    TURN_MS = 500,            /* the cancel flag is looked at so often */
};

enum state { STATE_WAITING, STATE_RUNNING, STATE_ENDED };

/* What is to be done with the body that comes. */
enum body { BODY_UNKNOWN, BODY_GIVE, BODY_DROP, BODY_ENOUGH };

struct http_transfer {
    struct http_pool *pool;
    struct http_transfer *next, *prev;
    struct http_easy_ctx easy_ctx;
    CURL *easy;
    struct curl_slist *headers;
    char *resolved; /* url with its secrets, while no redirect has led elsewhere */
    enum http_what what;
    char *url;
    char *hop_url; /* after a redirect */
    uint64_t from, to;
    uint64_t given;      /* bytes that the sink has had */
    uint64_t skip;       /* of this body, still to be dropped */
    uint64_t body_end;   /* where the object's bytes of this answer end; HTTP_NO_SIZE */
    uint64_t body_bytes; /* of this answer, seen */
    size_t header_bytes;
    bool pinned;
    struct http_version pin;
    struct http_head head;
    http_sink_fn sink;
    void *ctx;
    enum state state;
    enum body body;
    bool asked_range, lacks_ranges, resting;
    bool in_callback, doomed; /* libcurl must not be called from its own callbacks: end later */
    unsigned attempts, hops;
    uint64_t given_before; /* at the attempt's start */
    int64_t retry_at_ms;
    int64_t window_ms; /* the stall window's start */
    uint64_t window_bytes;
    enum ps_status status;
    struct ps_error err;
};

struct http_pool {
    const struct http_settings *settings;
    CURLM *multi;
    struct http_transfer *first;
    unsigned running;
    int64_t left_ms; /* when the last turn ended */
    CURL *spare[SPARE_MOST];
    size_t spare_count;
    struct ps_rand rand;
};

/* ---------------------------------------------------------------- life */

enum ps_status
http_pool_new(const struct http_settings *settings, struct http_pool **out, struct ps_error *err)
{
    enum ps_status status = http_easy_global(err);
    if (status != PS_OK) {
        return status;
    }
    uint64_t seed = 0;
    struct http_pool *pool = ps_xcalloc(1, sizeof *pool);
    pool->settings = settings;
    pool->multi = curl_multi_init();
    pool->left_ms = ps_clock_mono_ms();
    ps_rand_system(&seed, sizeof seed);
    ps_rand_seed(&pool->rand, seed);
    if (pool->multi == NULL) {
        ps_free(pool);
        return ps_fail(err, PS_FULL, "out of memory for libcurl");
    }
    curl_multi_setopt(pool->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)settings->connections);
    curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long)settings->connections * 2);
    *out = pool;
    return PS_OK;
}

static void
give_easy_back(struct http_transfer *transfer)
{
    struct http_pool *pool = transfer->pool;
    if (transfer->easy == NULL) {
        return;
    }
    curl_multi_remove_handle(pool->multi, transfer->easy);
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
    if (pool->spare_count < SPARE_MOST) {
        pool->spare[pool->spare_count++] = transfer->easy;
    } else {
        curl_easy_cleanup(transfer->easy);
    }
    transfer->easy = NULL;
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
}

void
http_pool_free(struct http_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    while (pool->first != NULL) {
        http_transfer_free(pool->first);
    }
    for (size_t i = 0; i < pool->spare_count; i++) {
        curl_easy_cleanup(pool->spare[i]);
    }
    curl_multi_cleanup(pool->multi);
    ps_free(pool);
}

unsigned
http_pool_running(const struct http_pool *pool)
{
    return pool->running;
}

/* ---------------------------------------------------------------- ends */

static uint64_t
position(const struct http_transfer *transfer)
{
    return transfer->from + transfer->given;
}

static void
end(struct http_transfer *transfer, enum ps_status status)
{
    give_easy_back(transfer);
    transfer->pool->running -= transfer->state != STATE_ENDED;
    transfer->state = STATE_ENDED;
    transfer->status = status;
}

static void
fail(struct http_transfer *transfer, enum ps_status status, const char *code, const char *what)
{
    static const char *const methods[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_PROBE] = "GET", [HTTP_PAGE] = "GET"};
    /* A redirect's query may be a signature: it is not shown. */
    const char *hop = transfer->hop_url == NULL ? "" : transfer->hop_url;
    ps_fail_code(&transfer->err, status, code, "%s %.300s%s%.*s%s at offset %" PRIu64 ": %s",
                 methods[transfer->what], transfer->url, hop[0] == '\0' ? "" : " (led to ",
                 (int)(strcspn(hop, "?") < 200 ? strcspn(hop, "?") : 200), hop,
                 hop[0] == '\0' ? "" : ")", position(transfer), what);
    if (transfer->in_callback) {
        transfer->doomed = true;
        transfer->status = status;
        transfer->body = BODY_ENOUGH;
    } else {
        end(transfer, status);
    }
}

/* The same request again after a while, from where it stands; else the failure stands. */
static void
again(struct http_transfer *transfer, const char *code, const char *what)
{
    struct http_pool *pool = transfer->pool;
    if (transfer->given - transfer->given_before >= GOOD_BYTES) {
        transfer->attempts = 0;
    }
    transfer->attempts++;
    int64_t after_s = transfer->head.retry_after_s;
    /* A page's reader starts over itself: what it has seen is of another page. */
    bool over = transfer->attempts > pool->settings->retries || after_s > RETRY_AFTER_MOST_S ||
                (transfer->what == HTTP_PAGE && transfer->given > 0);
    if (over) {
        char text[400];
        snprintf(text, sizeof text, "%s (attempt %u)", what, transfer->attempts);
        fail(transfer, PS_AGAIN, code, text);
        return;
    }
    int64_t wait = BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < transfer->attempts && wait < BACKOFF_MOST_MS; i++) {
        wait *= 2;
    }
    wait = wait > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : wait;
    wait = wait / 2 + (int64_t)ps_rand_below(&pool->rand, (uint64_t)wait / 2 + 1);
    wait = after_s >= 0 && after_s * 1000 > wait ? after_s * 1000 : wait;
    give_easy_back(transfer);
    ps_free(transfer->hop_url); /* where it led may have been for once only */
    transfer->hop_url = NULL;
    transfer->hops = 0;
    transfer->state = STATE_WAITING;
    transfer->retry_at_ms = ps_clock_mono_ms() + wait;
}

/* ---------------------------------------------------------------- headers and body */

static size_t
on_header(void *ctx, struct ps_span line)
{
    struct http_transfer *transfer = ctx;
    transfer->header_bytes += line.len;
    if (transfer->header_bytes > HEADERS_MOST_BYTES) {
        return 0; /* libcurl would keep them all */
    }
    http_head_line(&transfer->head, line, ps_clock_wall_ms() / 1000);
    return line.len;
}

/* A redirect's and an error's body is dropped; an object's begins where its headers say. */
static void
judge(struct http_transfer *transfer)
{
    const struct http_head *head = &transfer->head;
    transfer->body = BODY_DROP;
    if (head->status != 200 && head->status != 206) {
        return;
    }
    uint64_t at = position(transfer);
    const char *why = "";
    bool probe = transfer->what == HTTP_PROBE;
    if (transfer->pinned && !http_version_fits(&transfer->pin, head, &why)) {
        char text[120];
        snprintf(text, sizeof text, "not the version it was: %s", why);
        fail(transfer, PS_BADDATA, "source_changed", text);
        return;
    }
    if (head->status == 206 &&
        (!head->have_range || head->from != at || head->to <= head->from ||
         (!probe && transfer->to != HTTP_TO_END && head->to > transfer->to))) {
        fail(transfer, PS_REFUSED, "bad_range", "the server answered another range than was asked");
        return;
    }
    if (!transfer->pinned) {
        http_version_of(head, &transfer->pin);
        transfer->pinned = transfer->what != HTTP_PROBE && transfer->what != HTTP_PAGE;
    } else if (transfer->pin.pin == HTTP_PIN_SHA256 || transfer->pin.pin == HTTP_PIN_LENGTH) {
        /* From here on the best that this answer has pins the rest of the transfer. */
        struct http_version seen;
        http_version_of(head, &seen);
        seen.size = seen.size == HTTP_NO_SIZE ? transfer->pin.size : seen.size;
        transfer->pin = seen;
    }
    transfer->skip = head->status == 200 ? at : 0;
    transfer->lacks_ranges = head->status == 200 && transfer->asked_range;
    transfer->body_end = head->status == 206 ? head->to : head->length;
    transfer->body = probe ? BODY_ENOUGH : BODY_GIVE;
}

static size_t
give(struct http_transfer *transfer, struct ps_span bytes)
{
    size_t len = bytes.len;
    if (transfer->skip > 0) {
        size_t part = len < transfer->skip ? len : (size_t)transfer->skip;
        bytes = ps_span(bytes.ptr + part, len - part);
        if (bytes.len == 0) {
            transfer->skip -= part;
            return len;
        }
    }
    uint64_t room = transfer->to - position(transfer);
    size_t wanted = bytes.len < room ? bytes.len : (size_t)room;
    if (wanted > 0 && !transfer->sink(transfer->ctx, ps_span(bytes.ptr, wanted))) {
        transfer->resting = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer->skip = 0;
    transfer->given += wanted;
    if (wanted == bytes.len) {
        return len;
    }
    transfer->body = BODY_ENOUGH;
    if (transfer->head.status == 200 && transfer->to == transfer->pin.size) {
        fail(transfer, PS_BADDATA, "source_changed", "the body is longer than the object was");
    }
    return 0;
}

static size_t
take_body(struct http_transfer *transfer, struct ps_span bytes)
{
    if (transfer->body == BODY_UNKNOWN) {
        judge(transfer);
    }
    if (transfer->body == BODY_GIVE) {
        size_t taken = give(transfer, bytes);
        transfer->window_bytes += taken == CURL_WRITEFUNC_PAUSE ? 0 : bytes.len;
        transfer->body_bytes += taken == CURL_WRITEFUNC_PAUSE ? 0 : bytes.len;
        return taken;
    }
    transfer->window_bytes += bytes.len;
    transfer->body_bytes += bytes.len;
    bool drop = transfer->body == BODY_DROP && transfer->body_bytes <= ERROR_BODY_BYTES;
    return drop ? bytes.len : 0;
}

static size_t
on_body(void *ctx, struct ps_span bytes)
{
    struct http_transfer *transfer = ctx;
    if (transfer->state != STATE_RUNNING || transfer->doomed || bytes.len == 0) {
        return 0;
    }
    transfer->in_callback = true;
    size_t taken = take_body(transfer, bytes);
    transfer->in_callback = false;
    return taken;
}

/* ---------------------------------------------------------------- one attempt */

static bool
is_trusted(const struct http_pool *pool, const char *origin)
{
    for (char **at = pool->settings->trusted; at != NULL && *at != NULL; at++) {
        if (strcmp(*at, origin) == 0) {
            return true;
        }
    }
    return false;
}

static const char *
range_text(const struct http_transfer *transfer, char out[64])
{
    uint64_t at = position(transfer);
    bool whole = at == 0 && (transfer->to == HTTP_TO_END ||
                             (transfer->pinned && transfer->to == transfer->pin.size));
    if (transfer->what == HTTP_PROBE) {
        return "0-0";
    }
    if (transfer->what != HTTP_GET || whole) {
        return NULL;
    }
    if (transfer->to == HTTP_TO_END) {
        snprintf(out, 64, "%" PRIu64 "-", at);
    } else {
        snprintf(out, 64, "%" PRIu64 "-%" PRIu64, at, transfer->to - 1);
    }
    return out;
}

/* The URL with its secrets, or PS_REFUSED. A redirect's has none. */
static enum ps_status
resolve_url(struct http_transfer *transfer, struct ps_error *err)
{
    struct ps_buf text = PS_BUF_INIT;
    if (transfer->resolved != NULL) {
        return PS_OK;
    }
    enum ps_status status = ps_secret_resolve(transfer->url, &text, err);
    transfer->resolved = status == PS_OK ? ps_xstrdup(ps_buf_str(&text)) : NULL;
    ps_secret_fini(&text);
    return status;
}

static void
start(struct http_transfer *transfer)
{
    struct http_pool *pool = transfer->pool;
    struct http_origin origin;
    struct ps_error err = {0};
    char range[64];
    enum ps_status status = resolve_url(transfer, &err);
    const char *url = transfer->hop_url != NULL ? transfer->hop_url : transfer->resolved;
    if (status == PS_OK) {
        status = http_url_origin(url, &origin, &err);
    }
    if (status == PS_OK) {
        status = http_policy_url(pool->settings->policy, origin.scheme, origin.host, &err);
    }
    if (status != PS_OK) {
        char code[PS_ERROR_CODE_BYTES];
        snprintf(code, sizeof code, "%s", err.code);
        fail(transfer, status, code, err.text);
        return;
    }
    bool pinned = transfer->pinned && transfer->what == HTTP_GET;
    const struct http_easy_request request = {
        .url = url,
        .head = transfer->what == HTTP_HEAD,
        .range = range_text(transfer, range),
        .if_match = pinned && transfer->pin.pin == HTTP_PIN_ETAG ? transfer->pin.etag : NULL,
        .unmodified_since_s =
            pinned && transfer->pin.pin == HTTP_PIN_MODIFIED ? transfer->pin.modified_s : -1,
        .trusted = is_trusted(pool, origin.text),
    };
    transfer->easy =
        pool->spare_count > 0 ? pool->spare[--pool->spare_count] : http_easy_new(pool->settings);
    transfer->easy_ctx.refused[0] = '\0';
    if (transfer->easy == NULL ||
        !http_easy_prepare(transfer->easy, pool->settings, &request, &transfer->easy_ctx,
                           &transfer->headers) ||
        curl_multi_add_handle(pool->multi, transfer->easy) != CURLM_OK) {
        fail(transfer, PS_FULL, "", "libcurl cannot be set up for it (memory, or a bad CA or key)");
        return;
    }
    http_head_init(&transfer->head);
    transfer->asked_range = request.range != NULL;
    transfer->state = STATE_RUNNING;
    transfer->body = BODY_UNKNOWN;
    transfer->body_bytes = 0;
    transfer->header_bytes = 0;
    transfer->skip = 0;
    transfer->resting = false;
    transfer->given_before = transfer->given;
    transfer->window_ms = ps_clock_mono_ms();
    transfer->window_bytes = 0;
}

struct http_transfer *
http_pool_start(struct http_pool *pool, const struct http_request *request)
{
    struct http_transfer *transfer = ps_xcalloc(1, sizeof *transfer);
    transfer->pool = pool;
    transfer->what = request->what;
    transfer->url = ps_xstrdup(request->url);
    transfer->from = request->from;
    transfer->to = request->to;
    transfer->pinned = request->pin != NULL;
    transfer->pin = request->pin != NULL ? *request->pin : (struct http_version){0};
    transfer->sink = request->sink;
    transfer->ctx = request->ctx;
    transfer->easy_ctx = (struct http_easy_ctx){.policy = pool->settings->policy,
                                                .proxied = pool->settings->proxy != NULL,
                                                .ctx = transfer,
                                                .on_header = on_header,
                                                .on_body = on_body};
    transfer->next = pool->first;
    if (pool->first != NULL) {
        pool->first->prev = transfer;
    }
    pool->first = transfer;
    pool->running++;
    transfer->state = STATE_WAITING;
    start(transfer);
    return transfer;
}

/* ---------------------------------------------------------------- the end of an attempt */

static void
follow(struct http_transfer *transfer)
{
    char *next = NULL;
    struct ps_error err = {0};
    const char *base = transfer->hop_url != NULL ? transfer->hop_url : transfer->resolved;
    if (transfer->head.location[0] == '\0') {
        fail(transfer, PS_REFUSED, "bad_redirect", "a redirect without Location");
        return;
    }
    if (++transfer->hops > HOPS_MOST) {
        fail(transfer, PS_REFUSED, "redirect_loop", "too many redirects");
        return;
    }
    if (http_url_resolve(base, transfer->head.location, &next, &err) != PS_OK) {
        fail(transfer, PS_REFUSED, "bad_redirect", err.text);
        return;
    }
    if (strncasecmp(base, "https:", 6) == 0 && strncasecmp(next, "https:", 6) != 0) {
        ps_free(next);
        fail(transfer, PS_REFUSED, "bad_redirect", "a redirect from https to http");
        return;
    }
    give_easy_back(transfer);
    ps_free(transfer->hop_url);
    transfer->hop_url = next;
    start(transfer);
}

/* The connection or the transfer broke. */
static void
broke(struct http_transfer *transfer, CURLcode code)
{
    const char *text = curl_easy_strerror(code);
    switch ((int)code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        fail(transfer, PS_REFUSED, "tls_failed", text);
        return;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        fail(transfer, PS_REFUSED, "bad_url", text);
        return;
    case CURLE_PARTIAL_FILE:
        again(transfer, "source_truncated", "the body ended too early");
        return;
    default:
        again(transfer, "source_unreachable", text);
    }
}

static void
refuse_status(struct http_transfer *transfer)
{
    int status = transfer->head.status;
    char code[32], text[64];
    snprintf(code, sizeof code, "http_%d", status);
    snprintf(text, sizeof text, "HTTP %d", status);
    if (status == 404 || status == 410) {
        fail(transfer, PS_REFUSED, "source_missing", text);
    } else if (status == 412) {
        fail(transfer, PS_BADDATA, "source_changed", "not the version it was: HTTP 412");
    } else if (status == 416) {
        fail(transfer, PS_BADDATA, "source_changed", "it ends before this offset: HTTP 416");
    } else if (status == 408 || status == 425 || status == 429 || status == 500 || status == 502 ||
               status == 503 || status == 504) {
        again(transfer, code, text);
    } else {
        fail(transfer, PS_REFUSED, code, text);
    }
}

/* A good answer has ended: is everything there? */
static void
complete(struct http_transfer *transfer)
{
    uint64_t at = position(transfer);
    uint64_t size = transfer->pin.size;
    if (transfer->what != HTTP_GET && transfer->what != HTTP_PAGE) {
        end(transfer, PS_OK);
    } else if (at == transfer->to) {
        end(transfer, PS_OK);
    } else if (transfer->body_end != HTTP_NO_SIZE && at < transfer->body_end) {
        again(transfer, "source_truncated", "the body ended too early");
    } else if (size != HTTP_NO_SIZE ? at < size : transfer->head.status == 206) {
        if (transfer->given == transfer->given_before) {
            again(transfer, "source_truncated", "an answer without bytes");
            return;
        }
        if (transfer->head.status == 200) {
            again(transfer, "source_truncated", "the body ended too early");
            return;
        }
        give_easy_back(transfer);
        start(transfer); /* a shorter range than was asked: legal */
    } else if (transfer->to == HTTP_TO_END) {
        end(transfer, PS_OK);
    } else {
        fail(transfer, PS_BADDATA, "source_changed", "it ends before this range does");
    }
}

static void
attempt_ended(struct http_transfer *transfer, CURLcode code)
{
    int status = transfer->head.status;
    if (transfer->doomed) {
        end(transfer, transfer->status);
        return;
    }
    if (transfer->easy_ctx.refused[0] != '\0' && status == 0) {
        char text[200];
        snprintf(text, sizeof text, "this agent may not connect to %s: see allow-network",
                 transfer->easy_ctx.refused);
        fail(transfer, PS_REFUSED, "address_refused", text);
        return;
    }
    bool cut_short =
        code == CURLE_WRITE_ERROR && (transfer->body == BODY_ENOUGH || transfer->body == BODY_DROP);
    if (code != CURLE_OK && !cut_short) {
        broke(transfer, code);
        return;
    }
    if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) {
        follow(transfer);
        return;
    }
    bool probed_empty = transfer->what == HTTP_PROBE && status == 416 && transfer->head.total == 0;
    if (status != 200 && status != 206 && !probed_empty) {
        refuse_status(transfer);
        return;
    }
    if (transfer->body == BODY_UNKNOWN && !probed_empty) {
        judge(transfer); /* there was no body */
    }
    if (transfer->state != STATE_ENDED) {
        complete(transfer);
    }
}

/* ---------------------------------------------------------------- turning */

static void
check_stall(struct http_transfer *transfer, int64_t now_ms, int64_t away_ms)
{
    const struct http_settings *settings = transfer->pool->settings;
    transfer->window_ms += away_ms; /* nobody was reading: not the server's fault */
    if (transfer->resting) {
        transfer->window_ms = now_ms;
        transfer->window_bytes = 0;
    }
    int64_t passed = now_ms - transfer->window_ms;
    if (passed < settings->stall_ms) {
        return;
    }
    if (transfer->window_bytes < settings->least_rate * (uint64_t)settings->stall_ms / 1000) {
        again(transfer, "source_stalled", "the server sends too slowly");
        return;
    }
    transfer->window_ms = now_ms;
    transfer->window_bytes = 0;
}

/* True when something ended. */
static bool
take_ended(struct http_pool *pool)
{
    CURLMsg *message;
    int left = 0;
    bool any = false;
    while ((message = curl_multi_info_read(pool->multi, &left)) != NULL) {
        struct http_transfer *transfer = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        if (message->msg == CURLMSG_DONE && transfer != NULL) {
            attempt_ended(transfer, code);
            any = true;
        }
    }
    return any;
}

/* Looks at all the clocks; returns how long nothing has to be done for. */
static int64_t
look_at_clocks(struct http_pool *pool, int64_t away_ms)
{
    int64_t now_ms = ps_clock_mono_ms();
    int64_t wait = TURN_MS;
    for (struct http_transfer *t = pool->first, *next; t != NULL; t = next) {
        next = t->next;
        if (t->state == STATE_WAITING && t->retry_at_ms <= now_ms) {
            start(t);
        } else if (t->state == STATE_WAITING) {
            wait = t->retry_at_ms - now_ms < wait ? t->retry_at_ms - now_ms : wait;
        } else if (t->state == STATE_RUNNING) {
            check_stall(t, now_ms, away_ms);
        }
    }
    return wait;
}

enum ps_status
http_pool_turn(struct http_pool *pool, int64_t wait_ms, struct ps_error *err)
{
    int running = 0;
    const _Atomic bool *cancel = pool->settings->cancel;
    if (cancel != NULL && atomic_load(cancel)) {
        return ps_fail(err, PS_CANCELED, "asked to stop");
    }
    int64_t quiet = look_at_clocks(pool, ps_clock_mono_ms() - pool->left_ms);
    curl_multi_perform(pool->multi, &running);
    if (!take_ended(pool) && wait_ms > 0) {
        int64_t wait = wait_ms < quiet ? wait_ms : quiet;
        curl_multi_poll(pool->multi, NULL, 0, (int)wait, NULL);
        curl_multi_perform(pool->multi, &running);
        take_ended(pool);
    }
    pool->left_ms = ps_clock_mono_ms();
    return PS_OK;
}

/* ---------------------------------------------------------------- a transfer's answers */

bool
http_transfer_ended(const struct http_transfer *transfer)
{
    return transfer->state == STATE_ENDED;
}

enum ps_status
http_transfer_status(const struct http_transfer *transfer, struct ps_error *err)
{
    PS_ASSERT(transfer->state == STATE_ENDED);
    if (transfer->status != PS_OK) {
        *err = transfer->err;
    }
    return transfer->status;
}

int
http_transfer_code(const struct http_transfer *transfer)
{
    return transfer->head.status;
}

const struct http_head *
http_transfer_head(const struct http_transfer *transfer)
{
    return &transfer->head;
}

const struct http_version *
http_transfer_version(const struct http_transfer *transfer)
{
    return transfer->pinned && transfer->body != BODY_UNKNOWN ? &transfer->pin : NULL;
}

bool
http_transfer_lacks_ranges(const struct http_transfer *transfer)
{
    return transfer->lacks_ranges;
}

const char *
http_transfer_url(const struct http_transfer *transfer)
{
    return transfer->hop_url;
}

void
http_transfer_resume(struct http_transfer *transfer)
{
    if (transfer->resting && transfer->easy != NULL) {
        transfer->resting = false;
        curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    }
}

void
http_transfer_free(struct http_transfer *transfer)
{
    if (transfer == NULL) {
        return;
    }
    struct http_pool *pool = transfer->pool;
    give_easy_back(transfer);
    pool->running -= transfer->state != STATE_ENDED;
    if (transfer->prev != NULL) {
        transfer->prev->next = transfer->next;
    } else {
        pool->first = transfer->next;
    }
    if (transfer->next != NULL) {
        transfer->next->prev = transfer->prev;
    }
    if (transfer->resolved != NULL) {
        explicit_bzero(transfer->resolved, strlen(transfer->resolved));
    }
    ps_free(transfer->resolved);
    ps_free(transfer->url);
    ps_free(transfer->hop_url);
    ps_free(transfer);
}
