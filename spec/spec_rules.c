/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec_rules.c: what no key can say by itself. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/suggest.h"
#include "spec/spec_impl.h"
#include "spec/spec_path.h"

enum { NAME_MOST_BYTES = 63 };

static void
check_name(struct spec_checking *checking)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *name = spec_value_of(checking->spec, "name")->text;
    if (name == NULL) {
        return;
    }
    size_t len = strlen(name);
    bool first = len > 0 && name[0] != '.' && name[0] != '_' && name[0] != '-';
    if (!first || len > NAME_MOST_BYTES || name[strspn(name, letters)] != '\0') {
        spec_error_add(checking, "name",
                       "expected 1 to %d letters, digits, '.', '_', '-', the first a letter or "
                       "digit",
                       NAME_MOST_BYTES);
    }
}

static bool
is_reference(const char *text, size_t len)
{
    return len > 3 && text[0] == '$' && text[1] == '{' && memchr(text, '}', len) != NULL;
}

static bool
is_secret_option(const char *name, size_t len)
{
    static const char *const names[] = {"password", "passwd",  "pwd",        "secret",
                                        "token",    "api_key", "sslpassword"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (len == strlen(names[i]) && strncasecmp(name, names[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* The byte at *at, of a text where %HH may stand for it; moves *at behind. */
static char
next_byte(const char **at)
{
    char hex[3] = {0};
    if (**at == '%' && isxdigit((unsigned char)(*at)[1]) && isxdigit((unsigned char)(*at)[2])) {
        memcpy(hex, *at + 1, 2);
        *at += 3;
        return (char)strtol(hex, NULL, 16);
    }
    return *(*at)++;
}

/* ?password=… and its like; a name may be written with %HH. */
static bool
has_secret_query(const char *url)
{
    for (const char *at = strpbrk(url, "?&"); at != NULL; at = strpbrk(at, "?&")) {
        char name[16];
        size_t len = 0;
        at++;
        while (len < sizeof name && *at != '\0' && strchr("=&#", *at) == NULL) {
            name[len++] = next_byte(&at);
        }
        if (*at != '=' || !is_secret_option(name, len)) {
            continue;
        }
        size_t value_len = strcspn(++at, "&#");
        if (value_len > 0 && !is_reference(at, value_len)) {
            return true;
        }
    }
    return false;
}

/* "host=db password = '…'" behind a scheme that is no URL's. */
static bool
has_secret_word(const char *text)
{
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " \t\n=:'");
        const char *value = at + len;
        value += strspn(value, " \t\n");
        if (*value == '=' && is_secret_option(at, len)) {
            value++;
            value += strspn(value, " \t\n'");
            size_t value_len = strcspn(value, " \t\n'");
            if (value_len > 0 && !is_reference(value, value_len)) {
                return true;
            }
        }
        at += len;
        at += *at == '\0' ? 0 : 1;
    }
    return false;
}

/* scheme://user:password@host, options, and key=value texts. */
static bool
has_secret(const char *url)
{
    const char *start = strstr(url, "://");
    if (start == NULL && has_secret_word(url)) {
        return true;
    }
    if (start != NULL) {
        start += 3;
        size_t authority = strcspn(start, "/?#");
        const char *at = memrchr(start, '@', authority);
        const char *colon = at == NULL ? NULL : memchr(start, ':', (size_t)(at - start));
        if (colon != NULL && at > colon + 1 && !is_reference(colon + 1, (size_t)(at - colon - 1))) {
            return true;
        }
    }
    return has_secret_query(url);
}

static void
check_url(struct spec_checking *checking, const char *section, const char *path)
{
    const char *url = spec_value_of(checking->spec, path)->text;
    if (url == NULL) {
        return;
    }
    if (url[0] == '\0') {
        spec_error_add(checking, path, "is empty");
        return;
    }
    if (has_secret(url)) {
        spec_error_add(checking, path,
                       "holds a secret in plain text; write ${env:NAME} or ${file:/path} in its "
                       "place, which the agent resolves");
    }
    char scheme[32];
    const char *have = spec_scheme(url, scheme);
    if (spec_scheme_known(section, have)) {
        return;
    }
    struct ps_suggest suggest;
    ps_suggest_start(&suggest, have);
    struct ps_buf all = PS_BUF_INIT;
    const char *known;
    size_t cursor = 0;
    while ((known = spec_scheme_next(section, &cursor)) != NULL) {
        ps_suggest_offer(&suggest, known);
        ps_buf_xprintf(&all, "%s%s:", all.len > 0 ? ", " : "", known);
    }
    if (strcmp(have, "file") == 0) {
        spec_error_add(checking, path, "a scheme is missing (such as sqlite:air.db); known are %s",
                       ps_buf_str(&all));
    } else {
        spec_error_add(checking, path, "unknown scheme %s:; known are %s%s%s%s", have,
                       ps_buf_str(&all), suggest.best == NULL ? "" : "; did you mean ",
                       suggest.best == NULL ? "" : suggest.best, suggest.best == NULL ? "" : ":?");
    }
    ps_buf_fini(&all);
}

static bool
is_secret_name(const char *name, size_t len)
{
    static const char *const words[] = {"authorization", "cookie",   "token",
                                        "secret",        "password", "key"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t word = strlen(words[i]);
        for (size_t at = 0; at + word <= len; at++) {
            if (strncasecmp(name + at, words[i], word) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* What only web servers have. */
static void
check_web(struct spec_checking *checking)
{
    static const char hint[] =
        "holds a secret in plain text; write ${env:NAME} or ${file:/path} in its place, which the "
        "agent resolves";
    char scheme[32];
    const struct spec_value *headers = spec_value_of(checking->spec, "source.headers");
    const struct spec_value *urls = spec_value_of(checking->spec, "source.urls");
    const struct spec_value *key = spec_value_of(checking->spec, "source.client_key");
    for (size_t i = 0; i < headers->item_count; i++) {
        const char *colon = strchr(headers->items[i], ':');
        if (colon == NULL || colon == headers->items[i]) {
            spec_error_add(checking, "source.headers", "expected \"Name: value\"");
        } else if (is_secret_name(headers->items[i], (size_t)(colon - headers->items[i])) &&
                   strstr(colon, "${") == NULL) {
            spec_error_add(checking, "source.headers", "%s", hint);
        }
    }
    for (size_t i = 0; i < urls->item_count; i++) {
        const char *have = spec_scheme(urls->items[i], scheme);
        if (strcmp(have, "http") != 0 && strcmp(have, "https") != 0) {
            spec_error_add(checking, "source.urls", "expected https://HOST/… or http://HOST/…");
        } else if (has_secret(urls->items[i])) {
            spec_error_add(checking, "source.urls", "%s", hint);
        }
    }
    if (key->text != NULL && strncmp(key->text, "${", 2) != 0) {
        spec_error_add(checking, "source.client_key", "%s", hint);
    }
}

static bool
has_column(const struct spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->column_count; i++) {
        if (strcasecmp(spec->columns[i].name, name) == 0) {
            return true;
        }
    }
    return spec->column_count == 0; /* not known yet: every field */
}

static void
check_table(struct spec_checking *checking)
{
    const struct spec *spec = checking->spec;
    const char *url = spec_value_of(spec, "destination.url")->text;
    const char *table = spec_value_of(spec, "destination.table")->text;
    char scheme[32];
    bool needs_none = url == NULL || strcmp(spec_scheme(url, scheme), "null") == 0;
    if (!spec_value_of(spec, "destination.table")->given && !needs_none) {
        spec_error_add(checking, "destination.table", "is required: the table's name");
    }
    if (table != NULL && table[0] == '\0') {
        spec_error_add(checking, "destination.table", "is empty");
    }
    if (table != NULL && strncasecmp(table, "_penstock_", 10) == 0) {
        spec_error_add(checking, "destination.table", "names that begin with _penstock_ are ours");
    }
}

static bool
has_item(const struct spec_value *list, const char *name)
{
    for (size_t i = 0; i < list->item_count; i++) {
        if (strcasecmp(list->items[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void
check_update(struct spec_checking *checking, const char *policy)
{
    static const char path[] = "destination.update";
    const struct spec *spec = checking->spec;
    const struct spec_value *update = spec_value_of(spec, path);
    const struct spec_value *key = spec_value_of(spec, "destination.key");
    const char *order = spec_value_of(spec, "destination.order_by")->text;
    for (size_t i = 0; i < update->item_count; i++) {
        if (!has_column(spec, update->items[i])) {
            spec_error_add(checking, path, "there is no column %.100s", update->items[i]);
        } else if (has_item(key, update->items[i])) {
            spec_error_add(checking, path,
                           "%.100s is of destination.key, by which the row is found",
                           update->items[i]);
        }
    }
    if (update->item_count > 0 && (policy == NULL || strcmp(policy, "update") != 0)) {
        spec_error_add(checking, path, "needs on_conflict: update");
    }
    /* Left as it was, it would let each older row win against a newer one. */
    if (update->item_count > 0 && order != NULL && !has_item(update, order)) {
        spec_error_add(checking, path, "%.100s, the column of order_by, has to be among them",
                       order);
    }
}

static void
check_conflict(struct spec_checking *checking)
{
    const struct spec *spec = checking->spec;
    const struct spec_value *key = spec_value_of(spec, "destination.key");
    const struct spec_value *order = spec_value_of(spec, "destination.order_by");
    const struct spec_value *last = spec_value_of(spec, "destination.last_commit_wins");
    const char *policy = spec_value_of(spec, "destination.on_conflict")->text;
    for (size_t i = 0; i < key->item_count; i++) {
        if (!has_column(spec, key->items[i])) {
            spec_error_add(checking, "destination.key", "there is no column %.100s", key->items[i]);
        }
    }
    check_update(checking, policy);
    if (order->text != NULL && !has_column(spec, order->text)) {
        spec_error_add(checking, "destination.order_by", "there is no column %.100s", order->text);
    }
    if (order->text != NULL && last->on) {
        spec_error_add(checking, "destination.last_commit_wins",
                       "is given together with order_by; one of them decides");
    }
    bool overwrites = policy != NULL && policy[0] != '\0' &&
                      (strcmp(policy, "replace") == 0 || strcmp(policy, "update") == 0);
    if (!overwrites) {
        return;
    }
    if (key->item_count == 0) {
        spec_error_add(checking, "destination.key",
                       "on_conflict: %s needs the columns that identify a row", policy);
    }
    if (order->text == NULL && !last->on) {
        spec_error_add(checking, "destination.on_conflict",
                       "batches commit in no order: %s needs order_by: COLUMN, or "
                       "last_commit_wins: true",
                       policy);
    }
}

/* One ASCII character, or none. */
static void
check_mark(struct spec_checking *checking, const char *path)
{
    const char *text = spec_value_of(checking->spec, path)->text;
    bool none = text == NULL || text[0] == '\0' || strcmp(text, "none") == 0;
    if (!none && (text[1] != '\0' || (unsigned char)text[0] >= 0x80)) {
        spec_error_add(checking, path, "expected one ASCII character or none");
    }
}

static void
check_format(struct spec_checking *checking)
{
    const struct spec *spec = checking->spec;
    const char *delimiter = spec_value_of(spec, "format.delimiter")->text;
    const char *quote = spec_value_of(spec, "format.quote")->text;
    check_mark(checking, "format.quote");
    check_mark(checking, "format.escape");
    if (delimiter == NULL) {
        return;
    }
    if (delimiter[0] == '\0' || strlen(delimiter) > 16) {
        spec_error_add(checking, "format.delimiter", "expected 1 to 16 bytes, or auto");
    } else if (quote != NULL && quote[0] != '\0' && strcmp(quote, "none") != 0 &&
               strchr(delimiter, quote[0]) != NULL) {
        spec_error_add(checking, "format.delimiter", "holds the quote character");
    }
}

static void
check_path(struct spec_checking *checking, const char *key, const char *text)
{
    struct spec_path path;
    struct ps_error err = {0};
    if (spec_path_parse(text, &path, &err) == PS_OK) {
        spec_path_fini(&path);
    } else {
        spec_error_add(checking, key, "%s", err.text);
    }
}

/* Where records are JSON, fields are named by paths. */
static void
check_paths(struct spec_checking *checking)
{
    const struct spec *spec = checking->spec;
    const char *type = spec_value_of(spec, "format.type")->text;
    const char *items = spec_value_of(spec, "format.items")->text;
    if (type == NULL || strstr(type, "json") == NULL) {
        return;
    }
    if (items != NULL) {
        check_path(checking, "format.items", items);
    }
    for (size_t i = 0; i < spec->column_count; i++) {
        if (spec->columns[i].from != NULL && spec->columns[i].from[0] != '\0') {
            char key[48];
            snprintf(key, sizeof key, "%s[%zu].from", checking->columns_at, i);
            check_path(checking, key, spec->columns[i].from);
        }
    }
}

void
spec_rules(struct spec_checking *checking)
{
    check_name(checking);
    check_url(checking, "source", "source.url");
    check_url(checking, "destination", "destination.url");
    check_web(checking);
    check_table(checking);
    check_conflict(checking);
    check_format(checking);
    check_paths(checking);
}
