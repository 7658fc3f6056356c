/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec_check.c: walks the document against the table of keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"
#include "common/suggest.h"
#include "spec/spec_impl.h"

enum { PATH_BYTES = 256 };

static bool
is_overridden(const struct spec_checking *checking, const char *path)
{
    size_t len = strcspn(path, "[");
    for (size_t i = 0; i < checking->override_count; i++) {
        const char *text = checking->overrides[i];
        if (strncmp(text, path, len) == 0 && (text[len] == '=' || text[len] == '\0')) {
            return true;
        }
    }
    return false;
}

void
spec_error_add(struct spec_checking *checking, const char *path, const char *fmt, ...)
{
    struct spec_errors *errors = checking->errors;
    if (errors->count == SPEC_MAX_ERRORS) {
        return;
    }
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    unsigned line = checking->yaml == NULL || is_overridden(checking, path)
                        ? 0
                        : ps_yaml_line(checking->yaml, path);
    errors->items = ps_xrealloc(errors->items, (errors->count + 1) * sizeof *errors->items);
    errors->items[errors->count++] =
        (struct spec_error){.path = ps_xstrdup(path), .text = ps_xstrdup(text), .line = line};
}

static int
by_line(const void *a, const void *b)
{
    const struct spec_error *x = a;
    const struct spec_error *y = b;
    if (x->line != y->line) {
        return x->line < y->line ? -1 : 1;
    }
    return strcmp(x->path, y->path);
}

void
spec_errors_sort(struct spec_errors *errors)
{
    if (errors->count > 1) {
        qsort(errors->items, errors->count, sizeof *errors->items, by_line);
    }
}

void
spec_errors_fini(struct spec_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        ps_free(errors->items[i].path);
        ps_free(errors->items[i].text);
    }
    ps_free(errors->items);
    *errors = (struct spec_errors){0};
}

/* The part of a key's path that follows prefix ("" = all): its next name's length, or 0 where the
 * key is not below prefix. */
static size_t
next_name(const struct spec_key *key, const char *prefix, const char **out_name)
{
    size_t len = strlen(prefix);
    if (len > 0 && (strncmp(key->path, prefix, len) != 0 || key->path[len] != '.')) {
        return 0;
    }
    *out_name = key->path + len + (len > 0);
    return strcspn(*out_name, ".");
}

static bool
is_section(const char *path)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    const char *name;
    for (size_t i = 0; i < count; i++) {
        if (next_name(&keys[i], path, &name) > 0) {
            return true;
        }
    }
    return false;
}

/* Nearest among the names that may stand here; else a key of that very name elsewhere. */
static void
unknown_key(struct spec_checking *checking, const char *prefix, const char *name)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    struct ps_suggest suggest;
    ps_suggest_start(&suggest, name);
    char names[64][48];
    size_t used = 0;
    const char *elsewhere = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *part = NULL;
        size_t len = next_name(&keys[i], prefix, &part);
        const char *last = strrchr(keys[i].path, '.');
        if (last != NULL && strcmp(last + 1, name) == 0 && elsewhere == NULL) {
            elsewhere = keys[i].path;
        }
        if (len > 0 && used < 64) {
            snprintf(names[used], sizeof names[used], "%.*s", (int)len, part);
            ps_suggest_offer(&suggest, names[used++]);
        }
    }
    char path[PATH_BYTES];
    char quoted[100];
    log_quote(ps_span_str(name), quoted, sizeof quoted);
    snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] == '\0' ? "" : ".", quoted);
    if (suggest.best != NULL) {
        spec_error_add(checking, path, "unknown key; did you mean %s?", suggest.best);
    } else if (elsewhere != NULL) {
        spec_error_add(checking, path, "unknown key; did you mean %s?", elsewhere);
    } else {
        spec_error_add(checking, path, "unknown key");
    }
}

static void
take(struct spec_checking *checking, const struct spec_key *key, const json_t *json)
{
    struct spec_value *value = &checking->spec->values[spec_key_index(key)];
    value->given = true;
    value->present = spec_value_read(checking, key, json, value);
}

/* The columns' list as a section, with what else is said of them. */
static void
walk_columns(struct spec_checking *checking, const struct spec_key *columns, const json_t *object)
{
    void *root = (void *)(uintptr_t)object;
    for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *json = json_object_iter_value(at);
        char path[PATH_BYTES];
        int len = snprintf(path, sizeof path, "%s.%s", columns->path, name);
        const struct spec_key *key = (size_t)len < sizeof path ? spec_key_find(path) : NULL;
        if (strcmp(name, SPEC_COLUMNS_LIST) == 0) {
            checking->columns_at = "columns." SPEC_COLUMNS_LIST;
            if (!json_is_null(json)) {
                take(checking, columns, json);
            }
        } else if (key == NULL) {
            unknown_key(checking, columns->path, name);
        } else if (!json_is_null(json)) {
            take(checking, key, json);
        }
    }
}

static void
walk(struct spec_checking *checking, const char *prefix, const json_t *object)
{
    void *root = (void *)(uintptr_t)object;
    for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *json = json_object_iter_value(at);
        char path[PATH_BYTES];
        int len = snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] == '\0' ? "" : ".", name);
        /* A dot inside a name would read as a section. */
        bool fits = (size_t)len < sizeof path && strchr(name, '.') == NULL;
        const struct spec_key *key = fits ? spec_key_find(path) : NULL;
        if (key != NULL && key->type == SPEC_COLUMNS && json_is_object(json)) {
            walk_columns(checking, key, json);
        } else if (key != NULL && !json_is_null(json)) {
            take(checking, key, json);
        } else if (key == NULL && fits && is_section(path)) {
            if (json_is_object(json)) {
                walk(checking, path, json);
            } else if (!json_is_null(json)) {
                spec_error_add(checking, path, "expected a section with keys of its own");
            }
        } else if (key == NULL) {
            unknown_key(checking, prefix, name);
        }
    }
}

static bool
ends_with(const char *text, size_t *len, const char *end)
{
    size_t end_len = strlen(end);
    bool ends = *len > end_len && strncasecmp(text + *len - end_len, end, end_len) == 0;
    *len -= ends ? end_len : 0;
    return ends;
}

/* What the names of the objects say of their format. */
static const char *
type_by_name(const struct spec *spec)
{
    static const char *const wraps[] = {".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4"};
    const char *url = spec_value_of(spec, "source.url")->text;
    char scheme[32];
    if (url == NULL) {
        return "csv";
    }
    bool file = strcmp(spec_scheme(url, scheme), "file") == 0;
    size_t len = file ? strlen(url) : strcspn(url, "?#");
    len -= len > 0 && url[len - 1] == '}'; /* of a list of names the last one says it */
    for (size_t i = 0; i < sizeof wraps / sizeof *wraps; i++) {
        if (ends_with(url, &len, wraps[i])) {
            break;
        }
    }
    if (ends_with(url, &len, ".ndjson") || ends_with(url, &len, ".jsonl")) {
        return "ndjson";
    }
    return ends_with(url, &len, ".json") ? "json" : "csv";
}

static void
set_defaults(struct spec_checking *checking)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    for (size_t i = 0; i < count; i++) {
        struct spec_value *value = &checking->spec->values[i];
        if (value->given || keys[i].default_text == NULL) {
            continue;
        }
        const char *text = strcmp(keys[i].path, "format.type") == 0 ? type_by_name(checking->spec)
                                                                    : keys[i].default_text;
        json_t *json = NULL;
        if (keys[i].type == SPEC_STRING_LIST) {
            json = json_loads(text, 0, NULL);
        } else {
            json = json_string(text);
        }
        value->present = spec_value_read(checking, &keys[i], json, value);
        PS_ASSERT(value->present); /* a default that its own key refuses */
        json_decref(json);
    }
}

/* "source:gen", "destination:sqlite|null", "format:csv". */
static bool
applies(const struct spec *spec, const struct spec_key *key)
{
    if (key->applies[0] == '\0') {
        return true;
    }
    size_t len = strcspn(key->applies, ":");
    char section[32];
    char scheme[32];
    snprintf(section, sizeof section, "%.*s", (int)len, key->applies);
    bool format = strcmp(section, "format") == 0;
    const char *path = format                           ? "format.type"
                       : strcmp(section, "source") == 0 ? "source.url"
                                                        : "destination.url";
    const char *text = spec_value_of(spec, path)->text;
    if (text == NULL) {
        return true; /* unknown: said elsewhere */
    }
    const char *have = format ? text : spec_scheme(text, scheme);
    size_t have_len = strlen(have);
    for (const char *at = key->applies + len + 1; *at != '\0';) {
        size_t part = strcspn(at, "|");
        if (part == have_len && memcmp(at, have, part) == 0) {
            return true;
        }
        at += part + (at[part] == '|');
    }
    return false;
}

static void
check_presence(struct spec_checking *checking)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    for (size_t i = 0; i < count; i++) {
        struct spec_value *value = &checking->spec->values[i];
        value->applies = applies(checking->spec, &keys[i]);
        if (value->given && !value->applies) {
            spec_error_add(checking, keys[i].path, "is only for %s", keys[i].applies);
        }
        if (keys[i].required && !value->given) {
            spec_error_add(checking, keys[i].path, "is required: %s", keys[i].help);
        }
    }
}

void
spec_check(struct spec_checking *checking, const json_t *document)
{
    if (!json_is_object(document)) {
        spec_error_add(checking, "", "expected a document with name, source and destination");
        return;
    }
    checking->columns_at = "columns";
    walk(checking, "", document);
    set_defaults(checking);
    check_presence(checking);
}
