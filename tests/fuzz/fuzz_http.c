/* SPDX-License-Identifier: Apache-2.0 */
/* What a web server sends: index pages, manifests, headers, redirects. The first byte says which.
 */
#include <stdio.h>
#include <string.h>

#include "agent/source/http_index.h"
#include "agent/source/http_manifest.h"
#include "agent/source/http_policy.h"
#include "agent/source/http_url.h"
#include "agent/source/http_version.h"
#include "common/alloc.h"
#include "common/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_url(const char *url)
{
    struct ps_error err;
    PS_ASSERT(strstr(url, "${") == NULL); /* nothing from outside becomes a reference */
    PS_ASSERT(http_url_check(url, &err) == PS_OK);
}

/* The names of one page, as one text. */
static enum ps_status
on_name(void *ctx, struct ps_span name, bool is_folder, struct ps_error *err)
{
    struct ps_buf *all = ctx;
    struct ps_buf url = PS_BUF_INIT;
    (void)err;
    PS_ASSERT(name.len > 0 && memchr(name.ptr, '/', name.len) == NULL);
    PS_ASSERT(memchr(name.ptr, 0, name.len) == NULL);
    PS_ASSERT(!(name.len == 1 && name.ptr[0] == '.'));
    PS_ASSERT(!(name.len == 2 && memcmp(name.ptr, "..", 2) == 0));
    ps_buf_xprintf(&url, "http://h/");
    http_url_append_name(&url, name);
    check_url(ps_buf_str(&url));
    ps_buf_xappend(all, name.ptr, name.len);
    ps_buf_xappend(all, is_folder ? "/" : "\n", 1);
    ps_buf_fini(&url);
    return PS_OK;
}

/* However the page is cut, the same names come out. */
static void
as_index(struct ps_span page)
{
    struct ps_buf whole = PS_BUF_INIT, parts = PS_BUF_INIT;
    struct ps_error err;
    struct http_index *one = http_index_new("http://h:80/d/", on_name, &whole);
    struct http_index *two = http_index_new("http://h:80/d/", on_name, &parts);
    PS_ASSERT(http_index_feed(one, page, &err) == PS_OK);
    for (size_t at = 0; at < page.len; at += 3) {
        size_t n = page.len - at < 3 ? page.len - at : 3;
        PS_ASSERT(http_index_feed(two, ps_span(page.ptr + at, n), &err) == PS_OK);
    }
    PS_ASSERT(ps_span_eq(ps_buf_span(&whole), ps_buf_span(&parts)));
    PS_ASSERT(http_index_is_one(one) == http_index_is_one(two));
    http_index_free(one);
    http_index_free(two);
    ps_buf_fini(&whole);
    ps_buf_fini(&parts);
}

static enum ps_status
on_entry(void *ctx, const struct http_manifest_entry *entry, struct ps_error *err)
{
    char *url = NULL;
    (void)ctx;
    if (http_url_resolve("https://h/data/", entry->url, &url, err) == PS_OK) {
        check_url(url);
    }
    ps_free(url);
    return PS_OK;
}

/* A token that was printed reads back as what it was, and fits the response it came from. */
static void
as_headers(struct ps_span text)
{
    struct http_head head;
    struct http_version version, again;
    const char *why = NULL;
    char token[HTTP_VERSION_BYTES];
    http_head_init(&head);
    while (text.len > 0) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.ptr) + 1;
        http_head_line(&head, ps_span(text.ptr, len), 1700000000);
        text = ps_span(text.ptr + len, text.len - len);
    }
    PS_ASSERT(!head.have_range || head.from <= head.to);
    http_version_of(&head, &version);
    size_t len = http_version_print(&version, token);
    PS_ASSERT(len > 0 && len <= sizeof token);
    PS_ASSERT(http_version_parse(ps_span(token, len), &again));
    PS_ASSERT(again.size == version.size && again.pin == version.pin);
    PS_ASSERT(http_version_fits(&again, &head, &why));
}

static void
as_token(struct ps_span token)
{
    struct http_version version, again;
    char text[HTTP_VERSION_BYTES];
    if (http_version_parse(token, &version)) {
        size_t len = http_version_print(&version, text);
        PS_ASSERT(http_version_parse(ps_span(text, len), &again));
    }
}

static void
as_location(struct ps_span bytes)
{
    struct ps_error err;
    struct http_origin origin;
    char *clean = NULL, *user = NULL, *password = NULL, *next = NULL;
    char *text = ps_xstrndup((const char *)bytes.ptr, bytes.len);
    if (http_url_resolve("https://me@h:8443/a/b?c", text, &next, &err) == PS_OK) {
        check_url(next);
        PS_ASSERT(http_url_origin(next, &origin, &err) == PS_OK);
    }
    if (http_url_check(text, &err) == PS_OK) {
        http_url_split_user(text, &clean, &user, &password);
        (void)http_url_is_pattern(clean);
    }
    ps_free(clean);
    ps_free(user);
    ps_free(password);
    ps_free(next);
    ps_free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ps_error err;
    uint64_t before = ps_alloc_bytes_now();
    if (size == 0) {
        return 0;
    }
    struct ps_span rest = ps_span(data + 1, size - 1);
    switch (data[0]) {
    case 'i':
        as_index(rest);
        break;
    case 'm':
        (void)!http_manifest_read(rest, on_entry, NULL, &err);
        break;
    case 'h':
        as_headers(rest);
        break;
    case 'v':
        as_token(rest);
        break;
    default:
        as_location(rest);
    }
    PS_ASSERT(ps_alloc_bytes_now() == before);
    return 0;
}
