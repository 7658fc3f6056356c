/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/secret.h"

enum ps_status
http_url_check(const char *url, struct ps_error *err)
{
    size_t len = strlen(url);
    size_t head = strncasecmp(url, "http://", 7) == 0    ? 7
                  : strncasecmp(url, "https://", 8) == 0 ? 8
                                                         : 0;
    if (head == 0 || strchr("/?#", url[head]) != NULL) {
        return ps_fail_code(err, PS_REFUSED, "bad_url",
                            "%.200s: expected https://HOST/… or http://HOST/…", url);
    }
    if (len > HTTP_URL_BYTES) {
        return ps_fail_code(err, PS_REFUSED, "bad_url", "%.100s…: longer than %d bytes", url,
                            HTTP_URL_BYTES);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)url[i] <= 0x20 || url[i] == 0x7f) {
            return ps_fail_code(err, PS_REFUSED, "bad_url",
                                "%.200s: has a blank or control character; write it as %%20", url);
        }
    }
    return PS_OK;
}

/* The length up to any of stops; references are stepped over. */
static size_t
span_without(const char *text, const char *stops)
{
    size_t at = 0;
    while (text[at] != '\0' && strchr(stops, text[at]) == NULL) {
        size_t reference = ps_secret_reference(text + at);
        at += reference > 0 ? reference : 1;
    }
    return at;
}

static size_t
head_len(const char *url)
{
    const char *start = strstr(url, "://");
    return start == NULL ? 0 : (size_t)(start - url) + 3;
}

void
http_url_split_user(const char *url, char **out_clean, char **out_user, char **out_password)
{
    size_t head = head_len(url);
    size_t authority = span_without(url + head, "/?#");
    size_t whole = span_without(url, "#");
    size_t at = authority;
    for (size_t i = span_without(url + head, "@/?#"); i < authority && url[head + i] == '@';
         i += 1 + span_without(url + head + i + 1, "@/?#")) {
        at = i;
    }
    *out_user = *out_password = NULL;
    if (at == authority) {
        *out_clean = ps_xstrndup(url, whole);
        return;
    }
    size_t colon = span_without(url + head, ":@/?#");
    colon = colon < at ? colon : at;
    *out_user = ps_xstrndup(url + head, colon);
    *out_password = colon < at ? ps_xstrndup(url + head + colon + 1, at - colon - 1) : NULL;
    *out_clean =
        ps_xasprintf("%.*s%.*s", (int)head, url, (int)(whole - head - at - 1), url + head + at + 1);
}

/* ---------------------------------------------------------------- libcurl's parser */

static bool
get_part(CURLU *parts, CURLUPart what, unsigned flags, char *out, size_t out_bytes)
{
    char *text = NULL;
    bool good = curl_url_get(parts, what, &text, flags) == CURLUE_OK && strlen(text) < out_bytes;
    if (good) {
        memcpy(out, text, strlen(text) + 1);
    }
    curl_free(text);
    return good;
}

static void
lower(char *text)
{
    for (; *text != '\0'; text++) {
        *text = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
    }
}

enum ps_status
http_url_origin(const char *url, struct http_origin *out, struct ps_error *err)
{
    char port[8];
    CURLU *parts = curl_url();
    bool good = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                get_part(parts, CURLUPART_SCHEME, 0, out->scheme, sizeof out->scheme) &&
                get_part(parts, CURLUPART_HOST, 0, out->host, sizeof out->host) &&
                get_part(parts, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port);
    curl_url_cleanup(parts);
    if (!good) {
        return ps_fail_code(err, PS_REFUSED, "bad_url", "%.200s is no URL", url);
    }
    lower(out->scheme);
    lower(out->host);
    if (strcmp(out->scheme, "http") != 0 && strcmp(out->scheme, "https") != 0) {
        return ps_fail_code(err, PS_REFUSED, "bad_url", "%.200s: neither http nor https", url);
    }
    snprintf(out->text, sizeof out->text, "%s://%s:%s", out->scheme, out->host, port);
    return PS_OK;
}

/* Characters that no URL may hold, and those that mean a pattern or a reference here. */
static bool
must_be_escaped(unsigned char c)
{
    return c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", (char)c) != NULL;
}

static void
append_escaped(struct ps_buf *out, unsigned char c)
{
    ps_buf_xprintf(out, "%%%02X", c);
}

static char *
escaped(const char *text, size_t len)
{
    struct ps_buf out = PS_BUF_INIT;
    for (size_t i = 0; i < len; i++) {
        if (must_be_escaped((unsigned char)text[i])) {
            append_escaped(&out, (unsigned char)text[i]);
        } else {
            ps_buf_xappend(&out, text + i, 1);
        }
    }
    char *copy = ps_xstrdup(ps_buf_str(&out));
    ps_buf_fini(&out);
    return copy;
}

enum ps_status
http_url_resolve(const char *base, const char *reference, char **out, struct ps_error *err)
{
    char *text = NULL;
    char *clean = escaped(reference, strlen(reference));
    char *page = escaped(base, strlen(base));
    CURLU *parts = curl_url();
    bool good = parts != NULL && curl_url_set(parts, CURLUPART_URL, page, 0) == CURLUE_OK &&
                curl_url_set(parts, CURLUPART_URL, clean, 0) == CURLUE_OK &&
                curl_url_set(parts, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
                curl_url_set(parts, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK &&
                curl_url_set(parts, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_URL, &text, 0) == CURLUE_OK;
    enum ps_status status = PS_OK;
    struct http_origin origin;
    if (!good || http_url_check(text, err) != PS_OK ||
        http_url_origin(text, &origin, err) != PS_OK) {
        status = ps_fail_code(err, PS_BADDATA, "bad_url", "%.200s is no http URL", reference);
    } else {
        *out = escaped(text, strlen(text));
    }
    curl_free(text);
    curl_url_cleanup(parts);
    ps_free(page);
    ps_free(clean);
    return status;
}

/* ---------------------------------------------------------------- names and patterns */

void
http_url_append_name(struct ps_buf *out, struct ps_span name)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!'()+,;=@&";
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] != 0 && strchr(plain, (char)name.ptr[i]) != NULL) {
            ps_buf_xappend(out, name.ptr + i, 1);
        } else {
            append_escaped(out, name.ptr[i]);
        }
    }
}

bool
http_url_is_pattern(const char *url)
{
    size_t head = head_len(url);
    const char *path = url + head + span_without(url + head, "/?#");
    size_t len = span_without(path, "?#");
    return span_without(path, "*[{?#") < len;
}

static int
hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

void
http_url_split_pattern(const char *url, char **out_root, char **out_pattern)
{
    size_t head = head_len(url);
    size_t root = head + span_without(url + head, "/?#");
    size_t end = root + span_without(url + root, "?#");
    struct ps_buf out = PS_BUF_INIT;
    *out_root = ps_xstrndup(url, root);
    for (size_t i = root; i < end; i++) {
        int high = url[i] == '%' && i + 2 < end ? hex_value(url[i + 1]) : -1;
        int low = high >= 0 ? hex_value(url[i + 2]) : -1;
        if (low < 0) {
            ps_buf_xappend(&out, url + i, 1);
            continue;
        }
        char byte = (char)(high * 16 + low); /* an escaped * means itself */
        if (byte != '\0' && strchr("*?[]{},\\", byte) != NULL) {
            ps_buf_xappend(&out, "\\", 1);
        }
        ps_buf_xappend(&out, &byte, 1);
        i += 2;
    }
    *out_pattern = ps_xstrdup(ps_buf_str(&out));
    ps_buf_fini(&out);
}
