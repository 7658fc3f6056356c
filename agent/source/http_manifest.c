/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_manifest.h"

#include <stdio.h>
#include <strings.h>

#include "agent/source/http_version.h"
#include "common/alloc.h"
#include "common/buf.h"
#include "common/json.h"

enum { FIELDS_MOST = 32, LINE_BYTES = 64 * 1024 };

struct manifest {
    http_manifest_fn found;
    void *ctx;
    size_t line; /* from 1; of JSON, the entry's number */
    struct ps_error *err;
};

static enum ps_status
fail_entry(const struct manifest *manifest, const char *what)
{
    return ps_fail_code(manifest->err, PS_BADDATA, "bad_manifest", "manifest, entry %zu: %s",
                        manifest->line, what);
}

/* ---------------------------------------------------------------- values */

static bool
read_size(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || value > (INT64_MAX - 9) / 10) {
            return false;
        }
        value = value * 10 + (uint64_t)(*at - '0');
    }
    *out = value;
    return text[0] != '\0';
}

static int
hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* 64 hexadecimal digits, maybe behind "sha256:" or "sha256=". */
static bool
read_sha256(const char *text, uint8_t out[32])
{
    if (strncasecmp(text, "sha256:", 7) == 0 || strncasecmp(text, "sha256=", 7) == 0) {
        text += 7;
    }
    if (strlen(text) != 64) {
        return false;
    }
    for (size_t i = 0; i < 32; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* size and sha256 may be NULL or "". */
static enum ps_status
give(struct manifest *manifest, const char *url, const char *size, const char *sha256)
{
    uint8_t digest[32];
    struct http_manifest_entry entry = {.url = url, .size = HTTP_NO_SIZE};
    if (url == NULL || url[0] == '\0') {
        return fail_entry(manifest, "there is no URL");
    }
    for (const char *at = url; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20) {
            return fail_entry(manifest, "the URL has a control character");
        }
    }
    if (size != NULL && size[0] != '\0' && !read_size(size, &entry.size)) {
        return fail_entry(manifest, "the size is no whole number of bytes");
    }
    if (sha256 != NULL && sha256[0] != '\0') {
        if (!read_sha256(sha256, digest)) {
            return fail_entry(manifest, "the SHA-256 is not 64 hexadecimal digits");
        }
        entry.sha256 = digest;
    }
    return manifest->found(manifest->ctx, &entry, manifest->err);
}

/* ---------------------------------------------------------------- JSON */

static const char *
text_at(const json_t *entry, const char *const names[], char *room, size_t room_bytes)
{
    for (; *names != NULL; names++) {
        const json_t *value = json_object_get(entry, *names);
        if (json_is_string(value)) {
            return json_string_value(value);
        }
        if (json_is_integer(value)) {
            snprintf(room, room_bytes, "%lld", (long long)json_integer_value(value));
            return room;
        }
        if (value != NULL && !json_is_null(value)) {
            return "?"; /* refused as a size or checksum */
        }
    }
    return NULL;
}

static enum ps_status
json_entry(struct manifest *manifest, const json_t *entry)
{
    static const char *const urls[] = {"url", "href", "path", NULL};
    static const char *const sizes[] = {"size", "bytes", "length", "content_length", NULL};
    static const char *const digests[] = {"sha256", "checksum", NULL};
    char room[32], no_room[32];
    if (json_is_string(entry)) {
        return give(manifest, json_string_value(entry), NULL, NULL);
    }
    const char *url = text_at(entry, urls, no_room, sizeof no_room);
    const char *size = text_at(entry, sizes, room, sizeof room);
    const json_t *meta = json_object_get(entry, "meta"); /* as warehouses write it */
    size = size == NULL && meta != NULL ? text_at(meta, sizes, room, sizeof room) : size;
    return give(manifest, url, size, text_at(entry, digests, no_room, sizeof no_room));
}

static enum ps_status
read_json(struct manifest *manifest, struct ps_span text)
{
    static const char *const names[] = {"entries", "files", "objects", "items", "urls"};
    json_t *root = NULL;
    struct ps_error why;
    if (ps_json_load(text, HTTP_MANIFEST_JSON_BYTES, &root, &why) != PS_OK) {
        return ps_fail_code(manifest->err, PS_BADDATA, "bad_manifest", "manifest: %s", why.text);
    }
    const json_t *list = root;
    for (size_t i = 0; !json_is_array(list) && i < sizeof names / sizeof names[0]; i++) {
        const json_t *inner = json_object_get(root, names[i]);
        list = json_is_array(inner) ? inner : list;
    }
    enum ps_status status = PS_OK;
    if (!json_is_array(list)) {
        status = ps_fail_code(manifest->err, PS_BADDATA, "bad_manifest",
                              "manifest: expected an array, or an object with entries");
    }
    for (size_t i = 0; status == PS_OK && i < json_array_size(list); i++) {
        manifest->line = i + 1;
        status = json_entry(manifest, json_array_get(list, i));
    }
    json_decref(root);
    return status;
}

/* ---------------------------------------------------------------- lines and CSV */

/* Cuts the line into CSV fields, in place. 0 when it cannot be. */
static size_t
cut_fields(char *line, char *fields[FIELDS_MOST])
{
    size_t count = 0;
    char *at = line;
    for (;;) {
        if (count == FIELDS_MOST) {
            return 0;
        }
        char *to = at;
        fields[count++] = at;
        if (*at == '"') {
            char *from = at + 1;
            while (*from != '\0' && (*from != '"' || from[1] == '"')) {
                from += *from == '"';
                *to++ = *from++;
            }
            if (*from != '"' || (from[1] != ',' && from[1] != '\0')) {
                return 0;
            }
            at = from + 1;
        } else {
            at += strcspn(at, ",");
            to = at;
        }
        bool last = *at == '\0';
        *to = '\0';
        if (last) {
            return count;
        }
        at++;
    }
}

struct csv_places {
    size_t url, size, sha256; /* from 1; 0 = there is none */
};

static bool
find_places(char *const fields[], size_t count, struct csv_places *out)
{
    static const char *const sizes[] = {"size", "bytes", "length"};
    *out = (struct csv_places){0};
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(fields[i], "url") == 0) {
            out->url = i + 1;
        } else if (strcasecmp(fields[i], "sha256") == 0) {
            out->sha256 = i + 1;
        }
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            out->size = strcasecmp(fields[i], sizes[j]) == 0 ? i + 1 : out->size;
        }
    }
    return out->url > 0;
}

static enum ps_status
csv_line(struct manifest *manifest, const struct csv_places *places, char *line)
{
    char *fields[FIELDS_MOST];
    size_t count = cut_fields(line, fields);
    if (count < places->url || count < places->size || count < places->sha256) {
        return fail_entry(manifest, "too few fields, or a quote that is not closed");
    }
    return give(manifest, fields[places->url - 1],
                places->size > 0 ? fields[places->size - 1] : NULL,
                places->sha256 > 0 ? fields[places->sha256 - 1] : NULL);
}

static enum ps_status
plain_line(struct manifest *manifest, char *line)
{
    uint8_t digest[32];
    char *words[3] = {NULL};
    size_t count = 0;
    line += strspn(line, " \t");
    if (line[0] == '#') {
        return PS_OK;
    }
    for (char *at = line; *at != '\0'; at += strspn(at, " \t")) {
        if (count == 3) {
            return fail_entry(manifest, "expected URL [SIZE] [SHA256]");
        }
        words[count++] = at;
        at += strcspn(at, " \t");
        if (*at != '\0') {
            *at++ = '\0';
        }
    }
    if (count == 0) {
        return PS_OK;
    }
    if (count == 2 && read_sha256(words[0], digest)) { /* sha256sum's own form */
        return give(manifest, words[1] + (words[1][0] == '*'), NULL, words[0]);
    }
    if (count == 2 && read_sha256(words[1], digest)) {
        return give(manifest, words[0], NULL, words[1]);
    }
    return give(manifest, words[0], words[1], words[2]);
}

static enum ps_status
read_line(struct manifest *manifest, char *line, struct csv_places *places)
{
    if (manifest->line == 1 && strchr(line, '"') == NULL) {
        char *fields[FIELDS_MOST];
        char *copy = ps_xstrdup(line);
        size_t count = cut_fields(copy, fields);
        bool header = find_places(fields, count, places);
        ps_free(copy);
        if (header) {
            return PS_OK;
        }
    }
    if (places->url == 0) {
        return plain_line(manifest, line);
    }
    return line[0] == '\0' ? PS_OK : csv_line(manifest, places, line);
}

static enum ps_status
read_lines(struct manifest *manifest, struct ps_span text)
{
    struct csv_places places = {0};
    char *line = ps_xalloc(LINE_BYTES);
    enum ps_status status = PS_OK;
    for (size_t at = 0; status == PS_OK && at < text.len;) {
        const uint8_t *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end == NULL ? text.len - at : (size_t)(end - text.ptr) - at;
        size_t kept = len > 0 && text.ptr[at + len - 1] == '\r' ? len - 1 : len;
        manifest->line++;
        if (kept >= LINE_BYTES || memchr(text.ptr + at, '\0', kept) != NULL) {
            status = fail_entry(manifest, "the line is too long, or binary");
        } else {
            memcpy(line, text.ptr + at, kept);
            line[kept] = '\0';
            status = read_line(manifest, line, &places);
        }
        at += len + 1;
    }
    ps_free(line);
    return status;
}

enum ps_status
http_manifest_read(struct ps_span text, http_manifest_fn found, void *ctx, struct ps_error *err)
{
    struct manifest manifest = {.found = found, .ctx = ctx, .err = err};
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0) {
        text = ps_span(text.ptr + 3, text.len - 3);
    }
    size_t at = 0;
    while (at < text.len &&
           (text.ptr[at] == ' ' || (text.ptr[at] >= '\t' && text.ptr[at] <= '\r'))) {
        at++;
    }
    bool json = at < text.len && (text.ptr[at] == '[' || text.ptr[at] == '{');
    return json ? read_json(&manifest, ps_span(text.ptr + at, text.len - at))
                : read_lines(&manifest, text);
}
