/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_version.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <xxhash.h>

#include "common/alloc.h"
#include "common/base64.h"

enum { ETAG_KEPT_BYTES = 44, RETRY_AFTER_MOST_S = 86400 };

void
http_head_init(struct http_head *head)
{
    *head = (struct http_head){
        .modified_s = -1, .length = HTTP_NO_SIZE, .total = HTTP_NO_SIZE, .retry_after_s = -1};
}

/* ---------------------------------------------------------------- values of headers */

static struct ps_span
trimmed(struct ps_span text)
{
    while (text.len > 0 && strchr(" \t", (char)text.ptr[0]) != NULL && text.ptr[0] != 0) {
        text = ps_span(text.ptr + 1, text.len - 1);
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t' ||
                            text.ptr[text.len - 1] == '\r' || text.ptr[text.len - 1] == '\n')) {
        text.len--;
    }
    return text;
}

/* Decimal digits at the beginning of text, below 2^63; false without any. */
static bool
take_number(struct ps_span *text, uint64_t *out)
{
    uint64_t value = 0;
    size_t n = 0;
    while (n < text->len && text->ptr[n] >= '0' && text->ptr[n] <= '9') {
        if (value > (INT64_MAX - 9) / 10) {
            return false;
        }
        value = value * 10 + (uint64_t)(text->ptr[n++] - '0');
    }
    *text = ps_span(text->ptr + n, text->len - n);
    *out = value;
    return n > 0;
}

static bool
take_char(struct ps_span *text, char c)
{
    bool there = text->len > 0 && text->ptr[0] == (uint8_t)c;
    *text = there ? ps_span(text->ptr + 1, text->len - 1) : *text;
    return there;
}

static void
read_status(struct http_head *head, struct ps_span line)
{
    uint64_t status = 0;
    while (line.len > 0 && line.ptr[0] != ' ') {
        line = ps_span(line.ptr + 1, line.len - 1);
    }
    line = trimmed(line);
    http_head_init(head);
    head->status = take_number(&line, &status) && status < 1000 ? (int)status : 0;
}

/* RFC 9110 §8.8.3. What does not look like one is taken for none. */
static void
read_etag(struct http_head *head, struct ps_span value)
{
    head->etag_weak = value.len > 2 && value.ptr[0] == 'W' && value.ptr[1] == '/';
    value = head->etag_weak ? ps_span(value.ptr + 2, value.len - 2) : value;
    head->etag[0] = '\0';
    if (value.len < 2 || value.len >= sizeof head->etag || value.ptr[0] != '"' ||
        value.ptr[value.len - 1] != '"') {
        return;
    }
    for (size_t i = 1; i + 1 < value.len; i++) {
        if (value.ptr[i] == '"' || value.ptr[i] <= 0x20 || value.ptr[i] == 0x7f) {
            return;
        }
    }
    memcpy(head->etag, value.ptr, value.len);
    head->etag[value.len] = '\0';
}

static int64_t
read_date(struct ps_span value)
{
    char text[64];
    if (value.len == 0 || value.len >= sizeof text) {
        return -1;
    }
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    return (int64_t)curl_getdate(text, NULL);
}

/* "bytes 0-99/1234", "bytes 0-99/" "*", "bytes *" "/1234". */
static void
read_range(struct http_head *head, struct ps_span value)
{
    uint64_t from = 0, last = 0, total = HTTP_NO_SIZE;
    bool empty = false;
    if (value.len < 6 || strncasecmp((const char *)value.ptr, "bytes", 5) != 0) {
        return;
    }
    value = trimmed(ps_span(value.ptr + 5, value.len - 5));
    if (take_char(&value, '*')) {
        empty = true;
    } else if (!take_number(&value, &from) || !take_char(&value, '-') ||
               !take_number(&value, &last) || last < from) {
        return;
    }
    if (!take_char(&value, '/') ||
        !((take_char(&value, '*') && !empty) || take_number(&value, &total)) || value.len != 0 ||
        (!empty && total != HTTP_NO_SIZE && last >= total)) {
        return;
    }
    head->have_range = true;
    head->from = from;
    head->to = empty ? from : last + 1;
    head->total = total;
}

static void
read_retry_after(struct http_head *head, struct ps_span value, int64_t now_s)
{
    uint64_t seconds = 0;
    struct ps_span rest = value;
    if (take_number(&rest, &seconds) && rest.len == 0) {
        head->retry_after_s = seconds < RETRY_AFTER_MOST_S ? (int64_t)seconds : RETRY_AFTER_MOST_S;
        return;
    }
    int64_t at = read_date(value);
    if (at >= 0) {
        int64_t wait = at > now_s ? at - now_s : 0;
        head->retry_after_s = wait < RETRY_AFTER_MOST_S ? wait : RETRY_AFTER_MOST_S;
    }
}

static bool
name_is(struct ps_span name, const char *text)
{
    return name.len == strlen(text) && strncasecmp((const char *)name.ptr, text, name.len) == 0;
}

void
http_head_line(struct http_head *head, struct ps_span line, int64_t now_s)
{
    if (line.len > 5 && strncasecmp((const char *)line.ptr, "HTTP/", 5) == 0) {
        read_status(head, line);
        return;
    }
    const uint8_t *colon = line.len == 0 ? NULL : memchr(line.ptr, ':', line.len);
    if (colon == NULL) {
        return;
    }
    struct ps_span name = ps_span(line.ptr, (size_t)(colon - line.ptr));
    struct ps_span value = trimmed(ps_span(colon + 1, line.len - name.len - 1));
    struct ps_span rest = value;
    uint64_t number = 0;
    if (name_is(name, "ETag")) {
        read_etag(head, value);
    } else if (name_is(name, "Last-Modified")) {
        head->modified_s = read_date(value);
    } else if (name_is(name, "Content-Length")) {
        head->length = take_number(&rest, &number) && rest.len == 0 ? number : HTTP_NO_SIZE;
    } else if (name_is(name, "Content-Range")) {
        read_range(head, value);
    } else if (name_is(name, "Retry-After")) {
        read_retry_after(head, value, now_s);
    } else if (name_is(name, "Location") && value.len < sizeof head->location &&
               memchr(value.ptr, '\0', value.len) == NULL) {
        memcpy(head->location, value.ptr, value.len);
        head->location[value.len] = '\0';
    }
}

uint64_t
http_head_size(const struct http_head *head)
{
    return head->have_range ? head->total : head->status == 206 ? HTTP_NO_SIZE : head->length;
}

/* ---------------------------------------------------------------- versions */

static void
hash_etag(const char *etag, uint8_t out[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(etag, strlen(etag)));
    memcpy(out, canonical.digest, 16);
}

void
http_version_of(const struct http_head *head, struct http_version *out)
{
    *out = (struct http_version){.size = http_head_size(head), .modified_s = head->modified_s};
    size_t len = strlen(head->etag);
    if (len > 0 && !head->etag_weak && len <= ETAG_KEPT_BYTES) {
        out->pin = HTTP_PIN_ETAG;
        memcpy(out->etag, head->etag, len + 1);
    } else if (len > 0) {
        out->pin = head->etag_weak ? HTTP_PIN_WEAK : HTTP_PIN_LONG;
        hash_etag(head->etag, out->hash);
    } else {
        out->pin = head->modified_s >= 0 ? HTTP_PIN_MODIFIED : HTTP_PIN_LENGTH;
    }
}

bool
http_version_is_weak(const struct http_version *version)
{
    return version->pin == HTTP_PIN_WEAK || version->pin == HTTP_PIN_MODIFIED ||
           version->pin == HTTP_PIN_LENGTH;
}

static const char letters[] = {
    [HTTP_PIN_ETAG] = 'E',     [HTTP_PIN_LONG] = 'H',   [HTTP_PIN_WEAK] = 'W',
    [HTTP_PIN_MODIFIED] = 'M', [HTTP_PIN_LENGTH] = 'L', [HTTP_PIN_SHA256] = 'S',
};

/* LETTER SIZE : VALUE, the size in hexadecimal or "-". */
size_t
http_version_print(const struct http_version *version, char out[HTTP_VERSION_BYTES])
{
    char text[HTTP_VERSION_BYTES + 32] = "";
    char size[20] = "-";
    if (version->size != HTTP_NO_SIZE) {
        snprintf(size, sizeof size, "%" PRIx64, version->size);
    }
    const uint8_t *h = version->hash;
    char *digest = NULL;
    int n = snprintf(text, sizeof text, "%c%s:", letters[version->pin], size);
    char *at = text + n;
    size_t room = sizeof text - (size_t)n;
    switch (version->pin) {
    case HTTP_PIN_ETAG:
        n += snprintf(at, room, "%s", version->etag);
        break;
    case HTTP_PIN_LONG:
    case HTTP_PIN_WEAK:
        n += snprintf(at, room, "%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x",
                      h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11],
                      h[12], h[13], h[14], h[15]);
        break;
    case HTTP_PIN_MODIFIED:
        n += snprintf(at, room, "%" PRId64, version->modified_s);
        break;
    case HTTP_PIN_LENGTH:
        break;
    case HTTP_PIN_SHA256:
        digest = ps_base64_text(ps_span(version->sha256, sizeof version->sha256));
        n += snprintf(at, room, "%s", digest == NULL ? "" : digest);
        ps_free(digest);
        break;
    }
    size_t len = (size_t)n < HTTP_VERSION_BYTES ? (size_t)n : HTTP_VERSION_BYTES;
    memcpy(out, text, len);
    return len;
}

static int
hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
parse_hash(const char *text, uint8_t out[16])
{
    for (size_t i = 0; i < 16; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high * 16 + low);
    }
    return text[32] == '\0';
}

static bool
parse_sha256(const char *text, uint8_t out[32])
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct ps_error err;
    bool good = ps_base64_parse(ps_span_str(text), &bytes, &len, &err) == PS_OK && len == 32;
    if (good) {
        memcpy(out, bytes, 32);
    }
    ps_free(bytes);
    return good;
}

static bool
parse_value(const char *value, struct http_version *out)
{
    char *end = NULL;
    struct http_head head;
    switch (out->pin) {
    case HTTP_PIN_ETAG:
        http_head_init(&head);
        read_etag(&head, ps_span_str(value));
        snprintf(out->etag, sizeof out->etag, "%s", value);
        return head.etag[0] != '\0' && !head.etag_weak;
    case HTTP_PIN_LONG:
    case HTTP_PIN_WEAK:
        return parse_hash(value, out->hash);
    case HTTP_PIN_MODIFIED:
        out->modified_s = strtoll(value, &end, 10);
        return end != value && *end == '\0';
    case HTTP_PIN_LENGTH:
        return value[0] == '\0';
    case HTTP_PIN_SHA256:
        return parse_sha256(value, out->sha256);
    }
    return false;
}

bool
http_version_parse(struct ps_span token, struct http_version *out)
{
    char text[HTTP_VERSION_BYTES + 1];
    *out = (struct http_version){.modified_s = -1, .size = HTTP_NO_SIZE};
    if (token.len < 3 || token.len > HTTP_VERSION_BYTES ||
        memchr(token.ptr, '\0', token.len) != NULL) {
        return false;
    }
    memcpy(text, token.ptr, token.len);
    text[token.len] = '\0';
    const char *letter = memchr(letters, text[0], sizeof letters);
    char *colon = strchr(text, ':');
    if (letter == NULL || colon == NULL || colon == text + 1) {
        return false;
    }
    out->pin = (enum http_pin)(letter - letters);
    if (strncmp(text + 1, "-:", 2) != 0) {
        out->size = 0;
        for (const char *at = text + 1; at < colon; at++) {
            int digit = hex_digit(*at);
            if (digit < 0 || out->size >> 59 != 0) {
                return false;
            }
            out->size = out->size * 16 + (uint64_t)digit;
        }
    }
    return parse_value(colon + 1, out);
}

static bool
etag_fits(const struct http_version *version, const struct http_head *head)
{
    uint8_t hash[16];
    if (head->etag[0] == '\0' || head->etag_weak != (version->pin == HTTP_PIN_WEAK)) {
        return false;
    }
    if (version->pin == HTTP_PIN_ETAG) {
        return strcmp(version->etag, head->etag) == 0;
    }
    hash_etag(head->etag, hash);
    return memcmp(hash, version->hash, sizeof hash) == 0;
}

bool
http_version_fits(const struct http_version *version, const struct http_head *head,
                  const char **out_why)
{
    uint64_t size = http_head_size(head);
    *out_why = "its size is another";
    if (size != HTTP_NO_SIZE && version->size != HTTP_NO_SIZE && size != version->size) {
        return false;
    }
    switch (version->pin) {
    case HTTP_PIN_ETAG:
    case HTTP_PIN_LONG:
    case HTTP_PIN_WEAK:
        *out_why = head->etag[0] == '\0' ? "it has no ETag now" : "its ETag is another";
        return etag_fits(version, head);
    case HTTP_PIN_MODIFIED:
        *out_why = "its Last-Modified is another";
        return head->modified_s == version->modified_s;
    case HTTP_PIN_LENGTH:
    case HTTP_PIN_SHA256:
        return true;
    }
    return false;
}
