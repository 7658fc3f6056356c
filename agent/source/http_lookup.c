/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/http_lookup.h"

#include "common/alloc.h"

enum { WAIT_MS = 500 };

struct lookup {
    size_t i;                       /* of the input's count */
    struct http_transfer *transfer; /* NULL = free */
    enum http_what what;
};

static void
start(const struct http_lookup_input *input, struct lookup *lookup, size_t i, enum http_what what)
{
    struct http_listed listed = http_list_at(input->list, input->from + i);
    char *url = ps_xstrndup((const char *)listed.key.ptr, listed.key.len);
    const struct http_request request = {.what = what, .url = url, .to = 1};
    *lookup =
        (struct lookup){.i = i, .transfer = http_pool_start(input->pool, &request), .what = what};
    ps_free(url);
}

static void
set_from_manifest(const struct http_listed *listed, struct http_looked *out)
{
    if (listed->size != HTTP_NO_SIZE) {
        out->version.size = listed->size; /* the server's own, if another, fails when it is read */
    }
    if (listed->sha256 != NULL) {
        out->version.pin = HTTP_PIN_SHA256;
        memcpy(out->version.sha256, listed->sha256, sizeof out->version.sha256);
    }
}

/* HEAD refused, or without a length: a GET of one byte says more. */
static bool
should_probe(const struct lookup *lookup, enum ps_status status)
{
    int code = http_transfer_code(lookup->transfer);
    if (lookup->what != HTTP_HEAD) {
        return false;
    }
    return status == PS_OK ? http_head_size(http_transfer_head(lookup->transfer)) == HTTP_NO_SIZE
                           : status == PS_REFUSED && code >= 400 && code != 404 && code != 410;
}

/* A transfer has ended. */
static enum ps_status
take(const struct http_lookup_input *input, struct lookup *lookup, struct http_looked *out,
     struct ps_error *err)
{
    struct http_listed listed = http_list_at(input->list, input->from + lookup->i);
    struct ps_error why = {0};
    enum ps_status status = http_transfer_status(lookup->transfer, &why);
    struct http_head head = *http_transfer_head(lookup->transfer);
    bool probe = should_probe(lookup, status);
    http_transfer_free(lookup->transfer);
    lookup->transfer = NULL;
    if (probe) {
        start(input, lookup, lookup->i, HTTP_PROBE);
        return PS_OK;
    }
    bool lasting = status == PS_REFUSED || status == PS_BADDATA;
    if (lasting && listed.named == HTTP_NAMED_INDEX && strcmp(why.code, "source_missing") == 0) {
        out->gone = true;
        return PS_OK;
    }
    if (status != PS_OK && !(lasting && listed.named == HTTP_NAMED_MANIFEST)) {
        *err = why;
        return status;
    }
    if (status == PS_OK) {
        http_version_of(&head, &out->version);
    } else {
        out->version = (struct http_version){.pin = HTTP_PIN_LENGTH, .size = HTTP_NO_SIZE};
    }
    set_from_manifest(&listed, out);
    out->mtime_ms = head.modified_s > 0 ? head.modified_s * 1000 : 0;
    return PS_OK;
}

enum ps_status
http_lookup(const struct http_lookup_input *input, struct http_looked *out, struct ps_error *err)
{
    struct lookup *lookups = ps_xcalloc(input->connections, sizeof *lookups);
    size_t next = 0, open = 0;
    enum ps_status status = PS_OK;
    while (status == PS_OK && (next < input->count || open > 0)) {
        for (size_t i = 0; i < input->connections && next < input->count; i++) {
            struct http_listed listed = http_list_at(input->list, input->from + next);
            out[next] = (struct http_looked){0};
            if (listed.sha256 != NULL && listed.size != HTTP_NO_SIZE) {
                set_from_manifest(&listed, &out[next++]); /* nothing more to learn */
            } else if (lookups[i].transfer == NULL) {
                start(input, &lookups[i], next++, HTTP_HEAD);
                open++;
            }
        }
        status = open > 0 ? http_pool_turn(input->pool, WAIT_MS, err) : PS_OK;
        for (size_t i = 0; status == PS_OK && i < input->connections; i++) {
            struct lookup *lookup = &lookups[i];
            if (lookup->transfer != NULL && http_transfer_ended(lookup->transfer)) {
                status = take(input, lookup, &out[lookup->i], err);
                open -= lookup->transfer == NULL;
            }
        }
    }
    for (size_t i = 0; i < input->connections; i++) {
        http_transfer_free(lookups[i].transfer);
    }
    ps_free(lookups);
    return status;
}
