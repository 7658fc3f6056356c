/* SPDX-License-Identifier: Apache-2.0 */
/* mysql://user@host:port/database?option=value&…: what the URL of a destination may say. */
#include <stdlib.h>

#include "agent/dest/dst_mysql.h"
#include "common/alloc.h"
#include "common/percent.h"
#include "common/secret.h"

enum { DEFAULT_PORT = 3306, NAME_BYTES = 64 };

static enum ps_status
bad_url(const char *why, struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "bad_url",
                        "destination.url: %s: expected mysql://user@host:port/database", why);
}

/* The decoded text; NULL: a "%" that is none. */
static char *
decoded(struct ps_span text)
{
    struct ps_buf out = PS_BUF_INIT;
    struct ps_error ignored = {0};
    char *copy = NULL;
    if (ps_percent_decode(text, &out, &ignored) == PS_OK &&
        (out.len == 0 || memchr(out.ptr, 0, out.len) == NULL)) {
        copy = ps_xstrdup(ps_buf_str(&out));
    }
    ps_buf_fini(&out);
    return copy;
}

/* The one secret a URL may have is a reference, which is put in here, on the agent. */
static enum ps_status
take_password(struct dst_mysql *d, struct ps_span given, struct ps_error *err)
{
    if (given.len == 0) {
        return PS_OK;
    }
    char *text = ps_xasprintf("%.*s", (int)given.len, (const char *)given.ptr);
    enum ps_status status = PS_OK;
    if (ps_secret_reference(text) != strlen(text)) {
        status = ps_fail_code(err, PS_REFUSED, "literal_password",
                              "destination.url holds a password; write password=${env:NAME} or "
                              "password=${file:/path}");
    } else {
        status = ps_secret_resolve(text, &d->password, err);
        status = status == PS_OK ? PS_OK : ps_wrap(err, status, "destination.url");
    }
    ps_free(text);
    return status;
}

/* "UTC" or ±HH:MM */
static bool
read_zone(const char *text, int64_t *out_us)
{
    unsigned hours = 0;
    unsigned minutes = 0;
    if (strcmp(text, "UTC") == 0 || strcmp(text, "Z") == 0) {
        *out_us = 0;
        return true;
    }
    if (strlen(text) != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':' ||
        strspn(text + 1, "0123456789") != 2 || strspn(text + 4, "0123456789") != 2) {
        return false;
    }
    hours = (unsigned)((text[1] - '0') * 10 + text[2] - '0');
    minutes = (unsigned)((text[4] - '0') * 10 + text[5] - '0');
    *out_us = (int64_t)(hours * 60 + minutes) * 60000000 * (text[0] == '-' ? -1 : 1);
    return hours <= 14 && minutes <= 59;
}

static enum ps_status
set_mode(struct dst_mysql *d, char **own_value, struct ps_error *err)
{
    static const char *const modes[] = {"preferred", "required", "verify_ca", "verify_identity"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(*own_value, modes[i]) == 0) {
            d->ssl_mode = *own_value;
            *own_value = NULL;
            return PS_OK;
        }
    }
    return ps_fail_code(err, PS_REFUSED, "bad_url",
                        "destination.url: ssl_mode=%s: expected preferred, required, verify_ca or "
                        "verify_identity",
                        *own_value);
}

static enum ps_status
take_option(struct dst_mysql *d, const char *name, char **own_value, struct ps_error *err)
{
    const struct {
        const char *name;
        char **place;
    } texts[] = {{"socket", &d->socket},
                 {"ssl_ca", &d->ssl_ca},
                 {"ssl_cert", &d->ssl_cert},
                 {"ssl_key", &d->ssl_key},
                 {"user", &d->user}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            ps_free(*texts[i].place);
            *texts[i].place = *own_value;
            *own_value = NULL;
            return PS_OK;
        }
    }
    if (strcmp(name, "ssl_mode") == 0) {
        return set_mode(d, own_value, err);
    }
    if (strcmp(name, "time_zone") == 0) {
        return read_zone(*own_value, &d->zone_us)
                   ? PS_OK
                   : ps_fail_code(err, PS_REFUSED, "bad_url",
                                  "destination.url: time_zone=%s: expected UTC or +HH:MM",
                                  *own_value);
    }
    return ps_fail_code(err, PS_REFUSED, "bad_url",
                        "destination.url: unknown option \"%s\"; known are socket, ssl_mode, "
                        "ssl_ca, ssl_cert, ssl_key, time_zone, user and password",
                        name);
}

static enum ps_status
take_options(struct dst_mysql *d, const char *query, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    while (status == PS_OK && *query != '\0') {
        size_t len = strcspn(query, "&");
        const char *equals = memchr(query, '=', len);
        if (equals == NULL) {
            return bad_url("an option without \"=\"", err);
        }
        struct ps_span value = ps_span(equals + 1, len - (size_t)(equals + 1 - query));
        char *name = ps_xasprintf("%.*s", (int)(equals - query), query);
        char *text = NULL;
        if (strcmp(name, "password") == 0) {
            status = take_password(d, value, err);
        } else if ((text = decoded(value)) == NULL) {
            status = bad_url("a \"%\" without two hexadecimal digits", err);
        } else {
            status = take_option(d, name, &text, err);
        }
        ps_free(text);
        ps_free(name);
        query += len + (query[len] == '&');
    }
    return status;
}

/* user:password@; a reference in the password's place may hold any character. */
static enum ps_status
take_user(struct dst_mysql *d, const char **at, struct ps_error *err)
{
    const char *colon = strstr(*at, ":${");
    const char *end = strpbrk(*at, "@/?");
    const char *password = NULL;
    size_t password_len = 0;
    if (colon != NULL && (end == NULL || colon < end)) {
        password = colon + 1;
        password_len = ps_secret_reference(password);
        end = password + password_len;
    }
    if (end == NULL || *end != '@') {
        return PS_OK;
    }
    size_t user_len = (size_t)((password == NULL ? end : password - 1) - *at);
    const char *literal = memchr(*at, ':', user_len);
    if (literal != NULL) {
        password = literal + 1;
        password_len = (size_t)(end - password);
        user_len = (size_t)(literal - *at);
    }
    d->user = decoded(ps_span(*at, user_len));
    *at = end + 1;
    return d->user == NULL ? bad_url("a user that is no text", err)
                           : take_password(d, ps_span(password, password_len), err);
}

static enum ps_status
take_host(struct dst_mysql *d, const char **at, struct ps_error *err)
{
    bool bracket = **at == '[';
    size_t len = bracket ? strcspn(*at, "]") : strcspn(*at, ":/?");
    d->host = bracket ? ps_xasprintf("%.*s", (int)(len - 1), *at + 1) : decoded(ps_span(*at, len));
    *at += len + (bracket && (*at)[len] == ']');
    d->port = DEFAULT_PORT;
    if (**at == ':') {
        char *end = NULL;
        unsigned long port = strtoul(*at + 1, &end, 10);
        if (port == 0 || port > 65535 || (*end != '\0' && strchr("/?", *end) == NULL)) {
            return bad_url("a port that is no number from 1 to 65535", err);
        }
        d->port = (unsigned)port;
        *at = end;
    }
    if (d->host == NULL) {
        return bad_url("a host that is no text", err);
    }
    if (d->host[0] == '\0') {
        ps_free(d->host);
        d->host = ps_xstrdup("127.0.0.1");
    }
    return PS_OK;
}

enum ps_status
dst_mysql_read_url(struct dst_mysql *d, const char *url, struct ps_error *err)
{
    const char *at = strstr(url, "://");
    if (at == NULL) {
        return bad_url("no \"//\"", err);
    }
    at += 3;
    d->zone_us = INT64_MIN;
    enum ps_status status = take_user(d, &at, err);
    if (status == PS_OK) {
        status = take_host(d, &at, err);
    }
    if (status != PS_OK) {
        return status;
    }
    if (*at == '/') {
        size_t len = strcspn(at + 1, "?");
        d->database = decoded(ps_span(at + 1, len));
        at += 1 + len;
    }
    if (*at == '?') {
        status = take_options(d, at + 1, err);
    }
    if (status == PS_OK && (d->database == NULL || d->database[0] == '\0' ||
                            strlen(d->database) > NAME_BYTES || strchr(d->database, '/') != NULL)) {
        status = bad_url("no database", err);
    }
    if (status != PS_OK) {
        return status;
    }
    ps_free(d->shown);
    d->shown =
        d->socket != NULL
            ? ps_xasprintf("%s:%s/%s", d->dialect->scheme, d->socket, d->database)
            : ps_xasprintf("%s://%s:%u/%s", d->dialect->scheme, d->host, d->port, d->database);
    return PS_OK;
}
