/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_easy.h"

#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "common/alloc.h"

enum { BUFFER_BYTES = 128 * 1024 };

enum ps_status
http_easy_global(struct ps_error *err)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT); /* safe from any thread, and counted */
    return code == CURLE_OK ? PS_OK
                            : ps_fail(err, PS_FULL, "libcurl: %s", curl_easy_strerror(code));
}

static curl_socket_t
open_socket(void *clientp, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_easy_ctx *ctx = clientp;
    (void)purpose;
    if (!ctx->proxied && !http_policy_address(ctx->policy, &address->addr)) {
        http_policy_describe(&address->addr, ctx->refused, sizeof ctx->refused);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t
on_header(char *bytes, size_t size, size_t count, void *userdata)
{
    struct http_easy_ctx *ctx = userdata;
    return ctx->on_header(ctx->ctx, ps_span(bytes, size * count));
}

static size_t
on_body(char *bytes, size_t size, size_t count, void *userdata)
{
    struct http_easy_ctx *ctx = userdata;
    return ctx->on_body(ctx->ctx, ps_span(bytes, size * count));
}

static CURLcode
set_blob(CURL *easy, CURLoption option, const struct ps_buf *pem)
{
    if (pem->len == 0) {
        return CURLE_OK;
    }
    struct curl_blob blob = {.data = pem->ptr, .len = pem->len, .flags = CURL_BLOB_NOCOPY};
    return curl_easy_setopt(easy, option, &blob);
}

CURL *
http_easy_new(const struct http_settings *settings)
{
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        return NULL;
    }
    CURLcode code = CURLE_OK;
#define SET(option, value) code = code == CURLE_OK ? curl_easy_setopt(easy, option, value) : code
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROXY, settings->proxy == NULL ? "" : settings->proxy);
    SET(CURLOPT_NOPROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_USERAGENT, "penstock/" PENSTOCK_VERSION);
    SET(CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)settings->connect_ms);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    SET(CURLOPT_SSLCERTTYPE, "PEM");
    SET(CURLOPT_SSLKEYTYPE, "PEM");
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_WRITEFUNCTION, on_body);
#undef SET
    code = code == CURLE_OK ? set_blob(easy, CURLOPT_CAINFO_BLOB, &settings->ca) : code;
    code = code == CURLE_OK ? set_blob(easy, CURLOPT_SSLCERT_BLOB, &settings->cert) : code;
    code = code == CURLE_OK ? set_blob(easy, CURLOPT_SSLKEY_BLOB, &settings->key) : code;
    if (code != CURLE_OK) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    return easy;
}

static bool
add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    *list = longer == NULL ? *list : longer;
    return longer != NULL;
}

static bool
add_condition(struct curl_slist **list, const struct http_easy_request *request)
{
    char text[HTTP_ETAG_BYTES + 64];
    if (request->if_match != NULL) {
        snprintf(text, sizeof text, "If-Match: %s", request->if_match);
        return add_header(list, text);
    }
    if (request->unmodified_since_s >= 0) {
        struct tm tm;
        time_t at = (time_t)request->unmodified_since_s;
        static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        if (gmtime_r(&at, &tm) == NULL) {
            return true;
        }
        snprintf(text, sizeof text, "If-Unmodified-Since: %s, %02d %s %04d %02d:%02d:%02d GMT",
                 days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
                 tm.tm_min, tm.tm_sec);
        return add_header(list, text);
    }
    return true;
}

bool
http_easy_prepare(CURL *easy, const struct http_settings *settings,
                  const struct http_easy_request *request, struct http_easy_ctx *ctx,
                  struct curl_slist **out_headers)
{
    struct curl_slist *list = NULL;
    /* Stored bytes are what we want: unwrapping is ours. */
    bool good = add_header(&list, "Accept-Encoding: identity") && add_condition(&list, request);
    for (char **at = settings->headers; good && request->trusted && at != NULL && *at != NULL;
         at++) {
        good = add_header(&list, *at);
    }
    CURLcode code = CURLE_OK;
#define SET(option, value) code = code == CURLE_OK ? curl_easy_setopt(easy, option, value) : code
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_HTTPGET, 1L);
    SET(CURLOPT_NOBODY, request->head ? 1L : 0L);
    SET(CURLOPT_RANGE, request->range);
    SET(CURLOPT_HTTPHEADER, list);
    SET(CURLOPT_USERNAME, request->trusted ? settings->user : NULL);
    SET(CURLOPT_PASSWORD, request->trusted ? settings->password : NULL);
    SET(CURLOPT_OPENSOCKETDATA, ctx);
    SET(CURLOPT_HEADERDATA, ctx);
    SET(CURLOPT_WRITEDATA, ctx);
    SET(CURLOPT_PRIVATE, ctx->ctx);
#undef SET
    if (!good || code != CURLE_OK) {
        curl_slist_free_all(list);
        return false;
    }
    *out_headers = list;
    return true;
}
