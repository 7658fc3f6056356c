/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/src_http.c: objects of web servers: URLs, index pages with a pattern, manifests.
 * Key: the URL, without user and password. Version: a strong ETag; else what the server has, and
 * weak; the SHA-256 where a manifest says it (http_version.h). Reading is pinned by it. */
#include <pthread.h>

#include "agent/source/http_list.h"
#include "agent/source/http_lookup.h"
#include "agent/source/http_reader.h"
#include "agent/source/http_setup.h"
#include "agent/source/http_url.h"
#include "agent/source/source.h"
#include "common/alloc.h"
#include "common/clock.h"

enum { AHEAD_BYTES = 4 * 1024 * 1024, AHEAD_OBJECTS = 64, STALE_MS = 30000 };

/* A small object that was asked for before it is opened. */
struct ahead {
    struct http_segment *segment;
    char *url;
    struct ps_buf version;
    int64_t asked_ms;
};

struct source {
    struct http_setup setup;
    struct source_env env;

    pthread_mutex_t list_lock; /* the four below */
    struct http_pool *list_pool;
    struct http_list *list; /* stands behind `walked`, for the next page; NULL = none */
    struct ps_buf walked;

    pthread_mutex_t read_lock; /* all below, and what readers do */
    struct http_shared shared;
    struct ahead ahead[AHEAD_OBJECTS]; /* in the order they were asked for */
    size_t ahead_count;
    size_t ahead_bytes;
};

struct source_reader {
    struct source *source;
    struct http_reader *reader;
};

/* ---------------------------------------------------------------- life */

static void
drop_ahead(struct source *source, size_t i)
{
    struct ahead *ahead = &source->ahead[i];
    if (ahead->segment != NULL) {
        source->ahead_bytes -= ahead->segment->cap;
    }
    http_segment_free(ahead->segment);
    ps_free(ahead->url);
    ps_buf_fini(&ahead->version);
    source->ahead_count--;
    memmove(ahead, ahead + 1, (source->ahead_count - i) * sizeof *ahead);
}

static void
http_close(struct source *source)
{
    if (source == NULL) {
        return;
    }
    while (source->ahead_count > 0) {
        drop_ahead(source, source->ahead_count - 1);
    }
    http_pool_free(source->shared.pool);
    http_pool_free(source->list_pool);
    http_list_free(source->list);
    ps_map_free(source->shared.verified);
    ps_buf_fini(&source->walked);
    http_setup_fini(&source->setup);
    pthread_mutex_destroy(&source->list_lock);
    pthread_mutex_destroy(&source->read_lock);
    ps_free(source);
}

static enum ps_status
http_open(const struct spec *spec, const struct source_env *env, struct source **out,
          struct ps_error *err)
{
    struct source *source = ps_xcalloc(1, sizeof *source);
    source->env = *env;
    pthread_mutex_init(&source->list_lock, NULL);
    pthread_mutex_init(&source->read_lock, NULL);
    source->shared.verified = ps_map_new();
    source->shared.ahead_bytes = env->ahead_bytes > 0 ? env->ahead_bytes : AHEAD_BYTES;
    enum ps_status status = http_setup_init(&source->setup, spec, env, err);
    source->shared.max_unsized_bytes = source->setup.max_unsized_bytes;
    if (status == PS_OK) {
        status = http_pool_new(&source->setup.settings, &source->shared.pool, err);
    }
    if (status == PS_OK) {
        status = http_pool_new(&source->setup.settings, &source->list_pool, err);
    }
    if (status != PS_OK) {
        http_close(source);
        return status;
    }
    *out = source;
    return PS_OK;
}

/* ---------------------------------------------------------------- discover */

/* The list that stands right behind `after`, if the last page left one; else a new one. */
static enum ps_status
need_list(struct source *source, struct ps_span after, struct ps_error *err)
{
    if (source->list != NULL && after.len > 0 && ps_span_eq(after, ps_buf_span(&source->walked))) {
        return PS_OK;
    }
    http_list_free(source->list);
    source->list = NULL;
    const struct http_list_input input = {
        .pool = source->list_pool,
        .env = &source->env,
        .urls = (const char *const *)source->setup.urls,
        .url_count = source->setup.url_count,
        .manifest = source->setup.manifest,
    };
    return http_list_new(&input, &source->list, err);
}

static enum ps_status
give(const struct http_listed *listed, const struct http_looked *looked,
     const struct source_page *page, struct ps_error *err)
{
    char version[HTTP_VERSION_BYTES];
    size_t len = http_version_print(&looked->version, version);
    struct source_object object = {
        .key = listed->key,
        .version = ps_span(version, len),
        .size_bytes = looked->version.size == HTTP_NO_SIZE ? 0 : looked->version.size,
        .mtime_ms = looked->mtime_ms,
        .weak = http_version_is_weak(&looked->version),
    };
    return page->found(page->ctx, &object, err);
}

static enum ps_status
list_page(struct source *source, struct source_page *page, struct ps_error *err)
{
    enum ps_status status = need_list(source, page->after, err);
    if (status != PS_OK) {
        return status;
    }
    size_t from = http_list_after(source->list, page->after);
    size_t left = http_list_count(source->list) - from;
    size_t count = left < page->limit ? left : page->limit;
    struct http_looked *looked = ps_calloc(count + 1, sizeof *looked);
    const struct http_lookup_input input = {.pool = source->list_pool,
                                            .connections = source->setup.settings.connections,
                                            .list = source->list,
                                            .from = from,
                                            .count = count};
    if (looked == NULL) {
        return ps_fail(err, PS_FULL, "out of memory for a page");
    }
    status = http_lookup(&input, looked, err);
    for (size_t i = 0; status == PS_OK && i < count; i++) {
        struct http_listed listed = http_list_at(source->list, from + i);
        status = looked[i].gone ? PS_OK : give(&listed, &looked[i], page, err);
        if (status == PS_OK) {
            ps_buf_clear(&source->walked);
            ps_buf_xappend(&source->walked, listed.key.ptr, listed.key.len);
        }
    }
    ps_free(looked);
    if (status == PS_OK) {
        page->last = count == left;
        page->unsettled = 0;
    }
    return status;
}

static enum ps_status
http_discover(struct source *source, struct source_page *page, struct ps_error *err)
{
    if (source->env.cancel != NULL && atomic_load(source->env.cancel)) {
        return ps_fail(err, PS_CANCELED, "asked to stop");
    }
    pthread_mutex_lock(&source->list_lock);
    enum ps_status status = list_page(source, page, err);
    pthread_mutex_unlock(&source->list_lock);
    return status;
}

/* ---------------------------------------------------------------- read */

static size_t
find_ahead(const struct source *source, const char *url, struct ps_span version)
{
    for (size_t i = 0; i < source->ahead_count; i++) {
        const struct ahead *ahead = &source->ahead[i];
        if (strcmp(ahead->url, url) == 0 && ps_span_eq(ps_buf_span(&ahead->version), version)) {
            return i;
        }
    }
    return source->ahead_count;
}

static enum ps_status
http_open_object(struct source *source, struct ps_span key, struct ps_span version,
                 struct source_reader **out, struct ps_error *err)
{
    struct http_version wanted;
    struct http_segment *first = NULL;
    struct ps_error why;
    char *url = ps_xstrndup((const char *)key.ptr, key.len);
    if (memchr(url, '\0', key.len) != NULL || http_url_check(url, &why) != PS_OK) {
        ps_free(url);
        return ps_fail_code(err, PS_REFUSED, "source_missing", "the key is no URL");
    }
    if (!http_version_parse(version, &wanted)) {
        enum ps_status status = ps_fail_code(err, PS_BADDATA, "source_changed",
                                             "%.300s is not the version it was", url);
        ps_free(url);
        return status;
    }
    pthread_mutex_lock(&source->read_lock);
    struct source_reader *reader = ps_xcalloc(1, sizeof *reader);
    reader->source = source;
    size_t i = find_ahead(source, url, version);
    if (i < source->ahead_count) {
        first = source->ahead[i].segment;
        source->ahead_bytes -= first->cap;
        source->ahead[i].segment = NULL;
        drop_ahead(source, i);
    }
    reader->reader = http_reader_new(&source->shared, url, &wanted, &first);
    pthread_mutex_unlock(&source->read_lock);
    ps_free(url);
    *out = reader;
    return PS_OK;
}

static void
http_close_object(struct source_reader *reader)
{
    if (reader != NULL) {
        pthread_mutex_lock(&reader->source->read_lock);
        http_reader_free(reader->reader);
        pthread_mutex_unlock(&reader->source->read_lock);
        ps_free(reader);
    }
}

static enum ps_status
http_read(struct source_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
          struct ps_error *err)
{
    pthread_mutex_lock(&reader->source->read_lock);
    enum ps_status status = http_reader_read(reader->reader, out, cap, out_n, err);
    pthread_mutex_unlock(&reader->source->read_lock);
    return status;
}

static enum ps_status
http_seek(struct source_reader *reader, uint64_t offset, struct ps_error *err)
{
    pthread_mutex_lock(&reader->source->read_lock);
    enum ps_status status = http_reader_seek(reader->reader, offset, err);
    pthread_mutex_unlock(&reader->source->read_lock);
    return status;
}

static enum ps_status
http_verify(struct source_reader *reader, struct ps_error *err)
{
    pthread_mutex_lock(&reader->source->read_lock);
    enum ps_status status = http_reader_verify(reader->reader, err);
    pthread_mutex_unlock(&reader->source->read_lock);
    return status;
}

/* ---------------------------------------------------------------- hints */

static void
http_expect(struct source_reader *reader, uint64_t upto)
{
    pthread_mutex_lock(&reader->source->read_lock);
    http_reader_expect(reader->reader, upto);
    pthread_mutex_unlock(&reader->source->read_lock);
}

static bool
start_ahead(struct source *source, char **own_url, struct ps_span version,
            const struct http_version *pin)
{
    struct ps_error err;
    struct http_segment *segment = NULL;
    const struct http_request request = {
        .what = HTTP_GET, .url = *own_url, .to = pin->size, .pin = pin};
    if (http_segment_new(source->shared.pool, &request, false, &segment, &err) != PS_OK) {
        return false;
    }
    struct ahead *ahead = &source->ahead[source->ahead_count++];
    *ahead = (struct ahead){.segment = segment, .url = *own_url, .asked_ms = ps_clock_mono_ms()};
    *own_url = NULL;
    ps_buf_xappend(&ahead->version, version.ptr, version.len);
    source->ahead_bytes += segment->cap;
    return true;
}

/* What was asked for and never opened belongs to a batch that ended early. */
static void
drop_stale(struct source *source)
{
    int64_t now_ms = ps_clock_mono_ms();
    while (source->ahead_count > 0 && now_ms - source->ahead[0].asked_ms > STALE_MS &&
           http_transfer_ended(source->ahead[0].segment->transfer)) {
        drop_ahead(source, 0);
    }
}

/* A connection that is done is free for the next only once it has been looked at. */
static bool
has_room(struct source *source, uint64_t size)
{
    const struct http_shared *shared = &source->shared;
    unsigned most = source->setup.settings.connections;
    struct ps_error err;
    if (http_pool_running(shared->pool) >= most && http_pool_turn(shared->pool, 0, &err) != PS_OK) {
        return false;
    }
    return source->ahead_count < AHEAD_OBJECTS && http_pool_running(shared->pool) < most &&
           source->ahead_bytes + size <= shared->ahead_bytes;
}

static bool
http_prefetch(struct source *source, struct ps_span key, struct ps_span version)
{
    struct http_version wanted;
    if (!http_version_parse(version, &wanted) || wanted.size == 0 ||
        wanted.size > HTTP_SMALL_BYTES) {
        return true; /* nothing to do for it */
    }
    bool taken = true;
    char *url = ps_xstrndup((const char *)key.ptr, key.len);
    pthread_mutex_lock(&source->read_lock);
    if (find_ahead(source, url, version) == source->ahead_count) {
        drop_stale(source);
        taken = has_room(source, wanted.size) && start_ahead(source, &url, version, &wanted);
    }
    pthread_mutex_unlock(&source->read_lock);
    ps_free(url);
    return taken;
}

extern const struct source_ops src_http_ops;
const struct source_ops src_http_ops = {
    .scheme = "http",
    .help = "objects of a web server: URLs, patterns over index pages, or a manifest",
    .open = http_open,
    .close = http_close,
    .discover = http_discover,
    .open_object = http_open_object,
    .read = http_read,
    .seek = http_seek,
    .verify = http_verify,
    .close_object = http_close_object,
    .prefetch = http_prefetch,
    .expect = http_expect,
};

extern const struct source_ops src_https_ops;
const struct source_ops src_https_ops = {
    .scheme = "https",
    .help = "the same with TLS; certificates are always verified",
    .open = http_open,
    .close = http_close,
    .discover = http_discover,
    .open_object = http_open_object,
    .read = http_read,
    .seek = http_seek,
    .verify = http_verify,
    .close_object = http_close_object,
    .prefetch = http_prefetch,
    .expect = http_expect,
};
