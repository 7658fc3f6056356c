/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_setup.h"

#include "agent/source/http_url.h"
#include "common/alloc.h"
#include "common/secret.h"

/* *out is the caller's; NULL where text is NULL. */
static enum ps_status
resolve(const char *text, char **out, struct ps_error *err)
{
    struct ps_buf value = PS_BUF_INIT;
    *out = NULL;
    if (text == NULL) {
        return PS_OK;
    }
    enum ps_status status = ps_secret_resolve(text, &value, err);
    *out = status == PS_OK ? ps_xstrdup(ps_buf_str(&value)) : NULL;
    ps_secret_fini(&value);
    return status;
}

static enum ps_status
resolve_pem(const struct spec *spec, const char *path, struct ps_buf *out, struct ps_error *err)
{
    const char *text = spec_str(spec, path);
    enum ps_status status = text == NULL ? PS_OK : ps_secret_resolve(text, out, err);
    if (status == PS_OK && text != NULL && memmem(out->ptr, out->len, "-----BEGIN", 10) == NULL) {
        status = ps_fail_code(err, PS_REFUSED, "bad_pem", "%s holds no PEM text", path);
    }
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "%s", path);
}

static enum ps_status
set_headers(struct http_settings *settings, const struct spec *spec, struct ps_error *err)
{
    const char *const *headers = NULL;
    size_t count = spec_list(spec, "source.headers", &headers);
    settings->headers = ps_xcalloc(count + 1, sizeof *settings->headers);
    for (size_t i = 0; i < count; i++) {
        enum ps_status status = resolve(headers[i], &settings->headers[i], err);
        if (status != PS_OK) {
            return ps_wrap(err, status, "source.headers");
        }
        const char *line = settings->headers[i];
        const char *colon = line == NULL ? NULL : strchr(line, ':');
        if (colon == NULL || colon == line || strpbrk(line, "\r\n") != NULL) {
            return ps_fail_code(err, PS_REFUSED, "bad_header",
                                "source.headers[%zu]: expected \"Name: value\" on one line", i);
        }
    }
    return PS_OK;
}

/* The first URL's user and password are everybody's; its origin, and those of the other URLs that a
 * person wrote, may have them. */
static enum ps_status
add_url(struct http_setup *setup, const char *url, struct ps_error *err)
{
    struct http_settings *settings = &setup->settings;
    struct http_origin origin;
    char *clean = NULL, *user = NULL, *password = NULL;
    enum ps_status status = http_url_check(url, err);
    if (status != PS_OK) {
        return status;
    }
    http_url_split_user(url, &clean, &user, &password);
    setup->urls[setup->url_count++] = clean;
    status = http_url_origin(clean, &origin, err);
    if (status == PS_OK) {
        settings->trusted[setup->url_count - 1] = ps_xstrdup(origin.text);
        status = http_policy_url(setup->policy, origin.scheme, origin.host, err);
    }
    if (status == PS_OK && settings->user == NULL && user != NULL) {
        status = resolve(user, &settings->user, err);
        if (status == PS_OK) {
            status = resolve(password, &settings->password, err);
        }
    }
    ps_free(user);
    if (password != NULL) {
        explicit_bzero(password, strlen(password));
    }
    ps_free(password);
    return status;
}

static enum ps_status
set_urls(struct http_setup *setup, const struct spec *spec, struct ps_error *err)
{
    const char *const *urls = NULL;
    size_t count = spec_list(spec, "source.urls", &urls);
    setup->urls = ps_xcalloc(count + 2, sizeof *setup->urls);
    setup->settings.trusted = ps_xcalloc(count + 2, sizeof *setup->settings.trusted);
    enum ps_status status = add_url(setup, spec_str(spec, "source.url"), err);
    for (size_t i = 0; status == PS_OK && i < count; i++) {
        status = add_url(setup, urls[i], err);
    }
    return status;
}

enum ps_status
http_setup_init(struct http_setup *setup, const struct spec *spec, const struct source_env *env,
                struct ps_error *err)
{
    struct http_settings *settings = &setup->settings;
    *setup = (struct http_setup){0};
    settings->cancel = env->cancel;
    settings->proxy = env->allow.proxy;
    settings->connections = (unsigned)spec_int(spec, "source.connections");
    settings->retries = (unsigned)spec_int(spec, "source.retries");
    settings->connect_ms = spec_duration_ms(spec, "source.connect_timeout");
    settings->stall_ms = spec_duration_ms(spec, "source.stall_timeout");
    settings->least_rate = spec_bytes(spec, "source.min_bytes_per_second");
    setup->max_unsized_bytes = spec_bytes(spec, "source.max_unsized_bytes");
    setup->manifest = spec_str(spec, "source.manifest");
    enum ps_status status = http_policy_new(&env->allow, &setup->policy, err);
    settings->policy = setup->policy;
    if (status == PS_OK) {
        status = set_urls(setup, spec, err);
    }
    if (status == PS_OK) {
        status = set_headers(settings, spec, err);
    }
    if (status == PS_OK) {
        status = resolve_pem(spec, "source.ca", &settings->ca, err);
    }
    if (status == PS_OK) {
        status = resolve_pem(spec, "source.client_cert", &settings->cert, err);
    }
    return status == PS_OK ? resolve_pem(spec, "source.client_key", &settings->key, err) : status;
}

static void
wipe(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        ps_free(text);
    }
}

static void
wipe_list(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        wipe(list[i]);
    }
    ps_free(list);
}

void
http_setup_fini(struct http_setup *setup)
{
    struct http_settings *settings = &setup->settings;
    wipe_list(settings->headers);
    wipe_list(settings->trusted);
    wipe_list(setup->urls);
    wipe(settings->user);
    wipe(settings->password);
    ps_secret_fini(&settings->ca);
    ps_secret_fini(&settings->cert);
    ps_secret_fini(&settings->key);
    http_policy_free(setup->policy);
    *setup = (struct http_setup){0};
}
