/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/source/beneath.h"
#include "agent/source/http_index.h"
#include "agent/source/http_manifest.h"
#include "agent/source/http_url.h"
#include "agent/source/pathglob.h"
#include "common/alloc.h"

enum {
    DEPTH_MOST = 32,
    PAGES_MOST = 100000,
    PAGE_TRIES = 3,
    PAGE_MOST_BYTES = 1 << 30,
    WAIT_MS = 500
};

struct entry {
    size_t at; /* in bytes: the key; the digest behind it */
    uint32_t len;
    uint8_t named;
    bool digest;
    uint64_t size;
};

struct http_list {
    struct ps_buf bytes;
    struct entry *entries;
    size_t count, cap;
    const struct http_list_input *input; /* while it is made */
    size_t pages;
};

/* ---------------------------------------------------------------- adding */

static enum ps_status
add(struct http_list *list, struct ps_span key, enum http_named named, uint64_t size,
    const uint8_t *sha256, struct ps_error *err)
{
    if (list->bytes.len + list->count * sizeof *list->entries > HTTP_LIST_MOST_BYTES) {
        return ps_fail_code(err, PS_REFUSED, "listing_too_large",
                            "more than %zu URLs: split it into several pipelines", list->count);
    }
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 256 : list->cap * 2;
        struct entry *entries = ps_realloc(list->entries, cap * sizeof *entries);
        if (entries == NULL) {
            return ps_fail(err, PS_FULL, "out of memory for a list of URLs");
        }
        list->entries = entries;
        list->cap = cap;
    }
    size_t at = list->bytes.len;
    enum ps_status status = ps_buf_append(&list->bytes, key.ptr, key.len, err);
    if (status == PS_OK && sha256 != NULL) {
        status = ps_buf_append(&list->bytes, sha256, 32, err);
    }
    if (status == PS_OK) {
        list->entries[list->count++] = (struct entry){.at = at,
                                                      .len = (uint32_t)key.len,
                                                      .named = (uint8_t)named,
                                                      .digest = sha256 != NULL,
                                                      .size = size};
    }
    return status;
}

static struct ps_span
key_of(const struct http_list *list, const struct entry *entry)
{
    return ps_span(list->bytes.ptr + entry->at, entry->len);
}

static int
compare(struct ps_span a, struct ps_span b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared == 0 ? 0 : memcmp(a.ptr, b.ptr, shared);
    return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* Equal keys stay in the order they came in. */
static int
by_key(const void *a, const void *b, void *ctx)
{
    const struct entry *x = a;
    const struct entry *y = b;
    int order = compare(key_of(ctx, x), key_of(ctx, y));
    return order != 0 ? order : x->at < y->at ? -1 : x->at > y->at;
}

static void
sort_unique(struct http_list *list)
{
    if (list->count == 0) {
        return;
    }
    qsort_r(list->entries, list->count, sizeof *list->entries, by_key, list);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (!ps_span_eq(key_of(list, &list->entries[kept - 1]), key_of(list, &list->entries[i]))) {
            list->entries[kept++] = list->entries[i];
        }
    }
    list->count = kept;
}

/* ---------------------------------------------------------------- a whole body */

typedef enum ps_status (*page_fn)(void *ctx, struct ps_span bytes, struct ps_error *err);

struct page {
    page_fn take;
    void *ctx;
    enum ps_status status;
    struct ps_error *err;
};

static bool
page_sink(void *ctx, struct ps_span bytes)
{
    struct page *page = ctx;
    if (page->status == PS_OK) {
        page->status = page->take(page->ctx, bytes, page->err);
    }
    return true;
}

static enum ps_status
fetch_page(struct http_list *list, const char *url, struct page *page, struct ps_error *err)
{
    struct http_pool *pool = list->input->pool;
    const struct http_request request = {
        .what = HTTP_PAGE, .url = url, .to = HTTP_TO_END, .sink = page_sink, .ctx = page};
    struct http_transfer *transfer = http_pool_start(pool, &request);
    enum ps_status status = PS_OK;
    while (status == PS_OK && page->status == PS_OK && !http_transfer_ended(transfer)) {
        status = http_pool_turn(pool, WAIT_MS, err);
    }
    if (status == PS_OK && page->status == PS_OK) {
        status = http_transfer_status(transfer, err);
    }
    http_transfer_free(transfer);
    return page->status != PS_OK ? page->status : status;
}

/* ---------------------------------------------------------------- index pages */

struct crawl {
    struct http_list *list;
    const struct pathglob *glob;
    const char *root;   /* "https://host" */
    struct ps_buf path; /* of the folder: "/a/b/", escaped */
    unsigned depth;
};

struct folder {
    struct crawl *crawl;
    const struct pathglob_at *at;
    struct http_index *index;
    uint64_t page_bytes;
    char **names; /* folders to enter */
    size_t count;
};

static enum ps_status crawl_folder(struct crawl *crawl, const struct pathglob_at *at,
                                   struct ps_error *err);

static enum ps_status
add_file(struct crawl *crawl, struct ps_span name, enum http_named named, struct ps_error *err)
{
    struct ps_buf url = PS_BUF_INIT;
    ps_buf_xprintf(&url, "%s", crawl->root);
    ps_buf_xappend(&url, crawl->path.ptr, crawl->path.len);
    http_url_append_name(&url, name);
    enum ps_status status = add(crawl->list, ps_buf_span(&url), named, HTTP_NO_SIZE, NULL, err);
    ps_buf_fini(&url);
    return status;
}

static enum ps_status
enter(struct crawl *crawl, const struct pathglob_at *at, const char *name, struct ps_error *err)
{
    struct pathglob_at inner = {0};
    size_t len = crawl->path.len;
    enum ps_status status = PS_OK;
    pathglob_enter(crawl->glob, at, name, false, &inner);
    if (inner.count > 0) {
        if (crawl->depth >= DEPTH_MOST) {
            status =
                ps_fail_code(err, PS_REFUSED, "listing_too_deep", "%s%s: folders more than %d deep",
                             crawl->root, ps_buf_str(&crawl->path), DEPTH_MOST);
        } else {
            http_url_append_name(&crawl->path, ps_span_str(name));
            ps_buf_xappend(&crawl->path, "/", 1);
            crawl->depth++;
            status = crawl_folder(crawl, &inner, err);
            crawl->depth--;
        }
    }
    crawl->path.len = len;
    pathglob_at_fini(&inner);
    return status;
}

static enum ps_status
on_name(void *ctx, struct ps_span name, bool is_folder, struct ps_error *err)
{
    struct folder *folder = ctx;
    const struct crawl *crawl = folder->crawl;
    char *text = ps_xstrndup((const char *)name.ptr, name.len);
    enum ps_status status = PS_OK;
    if (is_folder && pathglob_enters(crawl->glob, folder->at, text, false)) {
        if (folder->count >= PAGES_MOST) {
            status = ps_fail_code(err, PS_REFUSED, "listing_too_large", "more than %d folders",
                                  PAGES_MOST);
        } else {
            folder->names = ps_xrealloc(folder->names, (folder->count + 1) * sizeof *folder->names);
            folder->names[folder->count++] = text;
            text = NULL;
        }
    } else if (!is_folder && pathglob_file(crawl->glob, folder->at, text)) {
        status = add_file(folder->crawl, name, HTTP_NAMED_INDEX, err);
    }
    ps_free(text);
    return status;
}

static enum ps_status
on_index_bytes(void *ctx, struct ps_span bytes, struct ps_error *err)
{
    struct folder *folder = ctx;
    folder->page_bytes += bytes.len;
    if (folder->page_bytes > PAGE_MOST_BYTES) {
        return ps_fail_code(err, PS_REFUSED, "listing_too_large",
                            "the index page of %.300s is longer than %d MiB",
                            ps_buf_str(&folder->crawl->path), PAGE_MOST_BYTES >> 20);
    }
    return http_index_feed(folder->index, bytes, err);
}

static void
clear_names(struct folder *folder)
{
    for (size_t i = 0; i < folder->count; i++) {
        ps_free(folder->names[i]);
    }
    ps_free(folder->names);
    folder->names = NULL;
    folder->count = 0;
}

/* Reads the folder's page; one that broke off is read again from its start. */
static enum ps_status
read_index(struct folder *folder, struct ps_error *err)
{
    struct http_list *list = folder->crawl->list;
    char *url = ps_xasprintf("%s%s", folder->crawl->root, ps_buf_str(&folder->crawl->path));
    size_t count = list->count, bytes = list->bytes.len;
    enum ps_status status = PS_AGAIN;
    for (int i = 0; i < PAGE_TRIES && status == PS_AGAIN; i++) {
        struct page page = {.take = on_index_bytes, .ctx = folder, .err = err};
        list->count = count;
        list->bytes.len = bytes;
        clear_names(folder);
        folder->page_bytes = 0;
        folder->index = http_index_new(url, on_name, folder);
        status = fetch_page(list, url, &page, err);
        if (status == PS_OK && !http_index_is_one(folder->index)) {
            status = ps_fail_code(err, PS_REFUSED, "no_index_page",
                                  "%.300s is no index page (\"Index of …\"): name the URLs one by "
                                  "one, or in a manifest",
                                  url);
        }
        http_index_free(folder->index);
        folder->index = NULL;
    }
    ps_free(url);
    return status;
}

static enum ps_status
crawl_literals(struct crawl *crawl, const struct pathglob_at *at, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    const char *name = NULL;
    bool is_file = false;
    for (size_t i = 0;
         status == PS_OK && (name = pathglob_literal(crawl->glob, at, i, &is_file)) != NULL; i++) {
        status = is_file ? add_file(crawl, ps_span_str(name), HTTP_NAMED_URL, err) : PS_OK;
        if (status == PS_OK) {
            status = enter(crawl, at, name, err);
        }
    }
    return status;
}

static enum ps_status
crawl_folder(struct crawl *crawl, const struct pathglob_at *at, struct ps_error *err)
{
    if (pathglob_only_literals(crawl->glob, at)) {
        return crawl_literals(crawl, at, err);
    }
    if (++crawl->list->pages > PAGES_MOST) {
        return ps_fail_code(err, PS_REFUSED, "listing_too_large", "more than %d folders",
                            PAGES_MOST);
    }
    struct folder folder = {.crawl = crawl, .at = at};
    enum ps_status status = read_index(&folder, err);
    for (size_t i = 0; status == PS_OK && i < folder.count; i++) {
        status = enter(crawl, at, folder.names[i], err);
    }
    clear_names(&folder);
    return status;
}

static enum ps_status
add_pattern(struct http_list *list, const char *url, struct ps_error *err)
{
    char *root = NULL, *pattern = NULL;
    struct pathglob *glob = NULL;
    struct pathglob_at at = {0};
    http_url_split_pattern(url, &root, &pattern);
    enum ps_status status = pathglob_new(pattern, &glob, err);
    if (status == PS_OK) {
        struct crawl crawl = {.list = list, .glob = glob, .root = root};
        ps_buf_xappend(&crawl.path, "/", 1);
        pathglob_start(glob, &at);
        status = crawl_folder(&crawl, &at, err);
        ps_buf_fini(&crawl.path);
    }
    pathglob_at_fini(&at);
    pathglob_free(glob);
    ps_free(root);
    ps_free(pattern);
    return status;
}

/* ---------------------------------------------------------------- manifest */

struct manifest_ctx {
    struct http_list *list;
    const char *base;
};

static enum ps_status
on_entry(void *ctx, const struct http_manifest_entry *entry, struct ps_error *err)
{
    struct manifest_ctx *manifest = ctx;
    char *url = NULL;
    enum ps_status status = http_url_resolve(manifest->base, entry->url, &url, err);
    if (status == PS_OK) {
        status = add(manifest->list, ps_span_str(url), HTTP_NAMED_MANIFEST, entry->size,
                     entry->sha256, err);
    }
    ps_free(url);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "manifest");
}

static enum ps_status
on_manifest_bytes(void *ctx, struct ps_span bytes, struct ps_error *err)
{
    struct ps_buf *text = ctx;
    if (text->len + bytes.len > HTTP_MANIFEST_BYTES) {
        return ps_fail_code(err, PS_REFUSED, "bad_manifest", "the manifest is longer than %d MiB",
                            HTTP_MANIFEST_BYTES >> 20);
    }
    return ps_buf_append(text, bytes.ptr, bytes.len, err);
}

static enum ps_status
read_manifest_file(const struct source_env *env, const char *path, struct ps_buf *text,
                   struct ps_error *err)
{
    struct beneath *beneath = NULL;
    uint8_t part[16 * 1024];
    ssize_t n = 1;
    int fd = -1;
    enum ps_status status = beneath_new(env->roots, env->root_count, &beneath, err);
    if (status == PS_OK && !beneath_covers(beneath, path)) {
        status = ps_fail_code(err, PS_REFUSED, "outside_roots",
                              "%s lies in none of this agent's roots", path);
    }
    if (status == PS_OK) {
        fd = beneath_open(beneath, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
        status = fd >= 0 ? PS_OK
                         : ps_fail_code(err, PS_REFUSED, "not_visible", "manifest %s: %s", path,
                                        strerror(errno));
    }
    while (status == PS_OK && (n = read(fd, part, sizeof part)) > 0) {
        status = on_manifest_bytes(text, ps_span(part, (size_t)n), err);
    }
    if (status == PS_OK && n < 0) {
        status = ps_fail_errno(err, errno, "read %s", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    beneath_free(beneath);
    return status;
}

static enum ps_status
read_manifest_url(struct http_list *list, const char *url, struct ps_buf *text,
                  struct ps_error *err)
{
    enum ps_status status = PS_AGAIN;
    for (int i = 0; i < PAGE_TRIES && status == PS_AGAIN; i++) {
        struct page page = {.take = on_manifest_bytes, .ctx = text, .err = err};
        ps_buf_clear(text);
        status = fetch_page(list, url, &page, err);
    }
    return status;
}

static enum ps_status
add_manifest(struct http_list *list, struct ps_error *err)
{
    const struct http_list_input *input = list->input;
    struct ps_buf text = PS_BUF_INIT;
    char *place = NULL;
    const char *base = input->urls[0];
    enum ps_status status = PS_OK;
    if (strncmp(input->manifest, "file:", 5) == 0) {
        const char *path = input->manifest + 5;
        path += strncmp(path, "///", 3) == 0 ? 2 : 0;
        place = path[0] == '/' || input->env->base_dir == NULL
                    ? ps_xstrdup(path)
                    : ps_xasprintf("%s/%s", input->env->base_dir, path);
        status = read_manifest_file(input->env, place, &text, err);
    } else {
        status = http_url_resolve(base, input->manifest, &place, err);
        base = place;
        status = status == PS_OK ? read_manifest_url(list, place, &text, err) : status;
    }
    if (status == PS_OK) {
        struct manifest_ctx manifest = {.list = list, .base = base};
        status = http_manifest_read(ps_buf_span(&text), on_entry, &manifest, err);
    }
    ps_buf_fini(&text);
    ps_free(place);
    return status;
}

/* ---------------------------------------------------------------- all */

enum ps_status
http_list_new(const struct http_list_input *input, struct http_list **out, struct ps_error *err)
{
    struct http_list *list = ps_xcalloc(1, sizeof *list);
    list->input = input;
    enum ps_status status = input->manifest != NULL ? add_manifest(list, err) : PS_OK;
    for (size_t i = input->manifest != NULL ? 1 : 0; status == PS_OK && i < input->url_count; i++) {
        const char *url = input->urls[i];
        status = http_url_is_pattern(url)
                     ? add_pattern(list, url, err)
                     : add(list, ps_span_str(url), HTTP_NAMED_URL, HTTP_NO_SIZE, NULL, err);
    }
    if (status != PS_OK) {
        http_list_free(list);
        return status;
    }
    sort_unique(list);
    list->input = NULL;
    *out = list;
    return PS_OK;
}

void
http_list_free(struct http_list *list)
{
    if (list != NULL) {
        ps_buf_fini(&list->bytes);
        ps_free(list->entries);
        ps_free(list);
    }
}

size_t
http_list_count(const struct http_list *list)
{
    return list->count;
}

struct http_listed
http_list_at(const struct http_list *list, size_t i)
{
    const struct entry *entry = &list->entries[i];
    return (struct http_listed){
        .key = key_of(list, entry),
        .named = (enum http_named)entry->named,
        .size = entry->size,
        .sha256 = entry->digest ? list->bytes.ptr + entry->at + entry->len : NULL,
    };
}

size_t
http_list_after(const struct http_list *list, struct ps_span key)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(key_of(list, &list->entries[middle]), key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
