/* SPDX-License-Identifier: Apache-2.0 */
/* A tag at a time: what stands between "<" and ">" is kept while it is short enough to be a link;
 * text between tags is looked at only for the words that an index page begins with. */
#include "agent/source/http_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "agent/source/http_url.h"
#include "common/alloc.h"
#include "common/percent.h"

enum { TAG_BYTES = 16 * 1024, TITLE_BYTES = 32 };

struct http_index {
    char *page;
    struct http_origin origin;
    char *path; /* of the page: "/data/" */
    http_index_fn found;
    void *ctx;
    char tag[TAG_BYTES];
    size_t tag_len;
    char quote; /* inside a tag's quotes */
    bool in_tag;
    bool tag_too_long;
    char title[TITLE_BYTES]; /* the beginning of the text behind <title> or <h1> */
    size_t title_len;
    bool in_title;
    bool is_one;
};

struct http_index *
http_index_new(const char *page, http_index_fn found, void *ctx)
{
    struct ps_error err;
    struct http_index *index = ps_xcalloc(1, sizeof *index);
    index->page = ps_xstrdup(page);
    index->found = found;
    index->ctx = ctx;
    if (http_url_origin(page, &index->origin, &err) != PS_OK) {
        index->origin.text[0] = '\0';
    }
    const char *host = strstr(page, "://");
    const char *slash = host == NULL ? NULL : strchr(host + 3, '/');
    index->path =
        ps_xstrndup(slash == NULL ? "/" : slash, slash == NULL ? 1 : strcspn(slash, "?#"));
    return index;
}

void
http_index_free(struct http_index *index)
{
    if (index != NULL) {
        ps_free(index->page);
        ps_free(index->path);
        ps_free(index);
    }
}

bool
http_index_is_one(const struct http_index *index)
{
    return index->is_one;
}

/* ---------------------------------------------------------------- one link */

/* In place: &amp; &lt; &gt; &quot; &apos; &#39; &#x27; */
static void
decode_entities(char *text)
{
    static const struct {
        const char *name;
        char c;
    } names[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    char *to = text;
    while (*text != '\0') {
        size_t len = 0;
        char c = *text;
        for (size_t i = 0; c == '&' && i < sizeof names / sizeof names[0]; i++) {
            if (strncmp(text, names[i].name, strlen(names[i].name)) == 0) {
                len = strlen(names[i].name);
                c = names[i].c;
            }
        }
        if (len == 0 && c == '&' && text[1] == '#') {
            bool hex = text[2] == 'x' || text[2] == 'X';
            const char *digits = text + (hex ? 3 : 2);
            char *end = NULL;
            unsigned long value = strtoul(digits, &end, hex ? 16 : 10);
            if (end > digits && *end == ';' && value > 0 && value < 128) {
                len = (size_t)(end - text) + 1;
                c = (char)value;
            }
        }
        *to++ = c;
        text += len > 0 ? len : 1;
    }
    *to = '\0';
}

/* The link's path on this page's host, without query; NULL = leads elsewhere. Borrowed. */
static const char *
path_below(const struct http_index *index, const char *link)
{
    if (strncasecmp(link, "http://", 7) == 0 || strncasecmp(link, "https://", 8) == 0) {
        struct http_origin origin;
        struct ps_error err;
        if (http_url_origin(link, &origin, &err) != PS_OK ||
            strcmp(origin.text, index->origin.text) != 0) {
            return NULL;
        }
        link = strchr(strstr(link, "://") + 3, '/');
    } else if (link[0] == '/' && link[1] == '/') {
        return NULL;
    } else if (link[0] != '/') {
        return link;
    }
    size_t len = strlen(index->path);
    return link != NULL && strncmp(link, index->path, len) == 0 ? link + len : NULL;
}

static enum ps_status
take_link(struct http_index *index, char *link, struct ps_error *err)
{
    struct ps_buf name = PS_BUF_INIT;
    struct ps_error ignored;
    decode_entities(link);
    const char *rest = path_below(index, link);
    if (rest == NULL || rest[0] == '\0' || strpbrk(rest, "?#") != NULL) {
        return PS_OK;
    }
    rest += strncmp(rest, "./", 2) == 0 ? 2 : 0;
    size_t len = strcspn(rest, "/");
    bool is_folder = rest[len] == '/';
    enum ps_status status = PS_OK;
    if (len == 0 || (is_folder && rest[len + 1] != '\0') ||
        ps_percent_decode(ps_span(rest, len), &name, &ignored) != PS_OK || name.len == 0) {
        goto out;
    }
    /* A scheme of another kind ("mailto:x") is no name; nginx writes a name with a colon as ./a:b
     * or escaped. */
    bool scheme = rest == link && memchr(rest, ':', len) != NULL;
    bool dots = (name.len == 1 && name.ptr[0] == '.') ||
                (name.len == 2 && name.ptr[0] == '.' && name.ptr[1] == '.');
    bool bad = memchr(name.ptr, '/', name.len) != NULL || memchr(name.ptr, 0, name.len) != NULL;
    if (!scheme && !dots && !bad) {
        status = index->found(index->ctx, ps_buf_span(&name), is_folder, err);
    }
out:
    ps_buf_fini(&name);
    return status;
}

/* ---------------------------------------------------------------- tags */

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* The value of href in the tag's attributes, cut out in place; NULL = none. */
static char *
href_of(char *at)
{
    while (*at != '\0') {
        at += strspn(at, " \t\r\n\f/");
        char *name = at;
        at += strcspn(at, " \t\r\n\f=/");
        size_t name_len = (size_t)(at - name);
        at += strspn(at, " \t\r\n\f");
        if (*at != '=') {
            at += name_len == 0 && *at != '\0';
            continue;
        }
        at++;
        at += strspn(at, " \t\r\n\f");
        char *value = at;
        char quote = *at == '"' || *at == '\'' ? *at : '\0';
        if (quote != '\0') {
            value = ++at;
            while (*at != '\0' && *at != quote) {
                at++;
            }
        } else {
            at += strcspn(at, " \t\r\n\f");
        }
        bool is_href = name_len == 4 && strncasecmp(name, "href", 4) == 0;
        if (is_href) {
            *at = '\0';
            return value;
        }
        at += *at != '\0';
    }
    return NULL;
}

static enum ps_status
end_tag(struct http_index *index, struct ps_error *err)
{
    index->tag[index->tag_len] = '\0';
    bool whole = !index->tag_too_long && memchr(index->tag, '\0', index->tag_len) == NULL;
    index->in_title = strcasecmp(index->tag, "title") == 0 || strcasecmp(index->tag, "h1") == 0;
    index->title_len = 0;
    if (whole && index->tag_len > 2 && (index->tag[0] == 'a' || index->tag[0] == 'A') &&
        is_blank(index->tag[1])) {
        char *link = href_of(index->tag + 1);
        return link == NULL ? PS_OK : take_link(index, link, err);
    }
    return PS_OK;
}

static void
take_text(struct http_index *index, char c)
{
    static const char *const titles[] = {"Index of", "Directory listing for"};
    if (!index->in_title || index->title_len + 1 >= sizeof index->title ||
        (index->title_len == 0 && is_blank(c))) {
        return;
    }
    index->title[index->title_len++] = c;
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        size_t len = strlen(titles[i]);
        index->is_one = index->is_one ||
                        (index->title_len >= len && strncasecmp(index->title, titles[i], len) == 0);
    }
}

static void
take_tag_byte(struct http_index *index, char c)
{
    bool value = index->tag_len > 0 && index->tag[0] != '!' &&
                 (index->quote != '\0' || c == '"' || c == '\'');
    if (value && index->quote == '\0') {
        index->quote = c;
    } else if (value && c == index->quote) {
        index->quote = '\0';
    }
    if (index->tag_len + 1 < TAG_BYTES) {
        index->tag[index->tag_len++] = c;
    } else {
        index->tag_too_long = true;
        index->quote = '\0'; /* a quote that never ends must not swallow the page */
    }
}

enum ps_status
http_index_feed(struct http_index *index, struct ps_span bytes, struct ps_error *err)
{
    for (size_t i = 0; i < bytes.len; i++) {
        char c = (char)bytes.ptr[i];
        if (!index->in_tag) {
            index->in_tag = c == '<';
            index->tag_len = 0;
            index->tag_too_long = false;
            index->quote = '\0';
            if (c != '<') {
                take_text(index, c);
            }
        } else if (c == '>' && index->quote == '\0') {
            index->in_tag = false;
            enum ps_status status = end_tag(index, err);
            if (status != PS_OK) {
                return status;
            }
        } else {
            take_tag_byte(index, c);
        }
    }
    return PS_OK;
}
