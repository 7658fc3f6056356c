/* SPDX-License-Identifier: Apache-2.0 */
/* A source's first range is alone: it shows whether ranges are understood. From then on several are
 * in flight. A range that is entered in its middle begins short: it may be only looked at. Once all
 * that is expected has come, the headers are asked for while what came is still being decoded. */
#include "agent/source/http_reader.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/sha256.h"

enum {
    FIRST_BYTES = 128 * 1024,
    WINDOW = 4,
    PASS_BYTES = 64 * 1024, /* of the checksum's own pass */
    WAIT_MS = 500,
    MOVE_BYTES = 32 * 1024, /* who takes less at a time comes too often */
};

struct http_reader {
    struct http_shared *shared;
    char *url;
    struct http_version version; /* as asked for */
    struct http_version pin;     /* the best known: an ETag where version is a checksum */
    uint64_t at;
    uint64_t next;   /* where the next range begins */
    uint64_t expect; /* nothing behind it is fetched ahead */
    size_t range_bytes;
    struct http_segment *segments[WINDOW]; /* in order */
    size_t count;
    bool answered; /* pin has been seen in an answer */
    bool streaming, at_end;
    unsigned responses;
    struct http_transfer *check; /* asked after every byte so far had come; NULL = not asked */
    struct ps_sha256 sha;
    uint64_t hashed; /* [0, hashed) is in sha */
};

struct http_reader *
http_reader_new(struct http_shared *shared, const char *url, const struct http_version *version,
                struct http_segment **own_first)
{
    struct http_reader *reader = ps_xcalloc(1, sizeof *reader);
    reader->shared = shared;
    reader->url = ps_xstrdup(url);
    reader->version = reader->pin = *version;
    reader->expect = HTTP_TO_END;
    reader->range_bytes = 2 * FIRST_BYTES;
    reader->streaming = version->size == HTTP_NO_SIZE;
    ps_sha256_init(&reader->sha);
    if (*own_first != NULL) {
        reader->segments[reader->count++] = *own_first;
        reader->next = (*own_first)->to;
        reader->responses = 1;
        *own_first = NULL;
    }
    return reader;
}

static void
drop_segments(struct http_reader *reader)
{
    for (size_t i = 0; i < reader->count; i++) {
        http_segment_free(reader->segments[i]);
    }
    reader->count = 0;
    reader->next = reader->at;
}

void
http_reader_free(struct http_reader *reader)
{
    if (reader != NULL) {
        drop_segments(reader);
        http_transfer_free(reader->check);
        ps_free(reader->url);
        ps_free(reader);
    }
}

/* ---------------------------------------------------------------- fetching ahead */

static enum ps_status
add_segment(struct http_reader *reader, uint64_t to, bool stream, struct ps_error *err)
{
    const struct http_request request = {
        .what = HTTP_GET, .url = reader->url, .from = reader->next, .to = to, .pin = &reader->pin};
    struct http_segment *segment = NULL;
    http_transfer_free(reader->check);
    reader->check = NULL;
    enum ps_status status = http_segment_new(reader->shared->pool, &request, stream, &segment, err);
    if (status == PS_OK) {
        reader->segments[reader->count++] = segment;
        reader->next = to;
        reader->responses++;
    }
    return status;
}

static size_t
most_bytes(const struct http_reader *reader)
{
    size_t most = reader->shared->ahead_bytes / WINDOW;
    return most < FIRST_BYTES ? FIRST_BYTES : most > HTTP_SMALL_BYTES ? HTTP_SMALL_BYTES : most;
}

static enum ps_status
fill(struct http_reader *reader, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    uint64_t size = reader->version.size;
    if (reader->streaming || reader->shared->lacks_ranges) {
        reader->streaming = true;
        bool small = size != HTTP_NO_SIZE && reader->next == 0 && size <= HTTP_STREAM_BYTES;
        /* HTTP_NO_SIZE is HTTP_TO_END. */
        return reader->count > 0 || reader->next == size ? PS_OK
                                                         : add_segment(reader, size, !small, err);
    }
    if (size <= HTTP_SMALL_BYTES && reader->next == 0 && reader->count == 0) {
        return size == 0 ? PS_OK : add_segment(reader, size, false, err);
    }
    size_t window = reader->answered || reader->shared->has_ranges ? WINDOW : 1;
    while (status == PS_OK && reader->count < window && reader->next < size &&
           (reader->count == 0 || reader->next < reader->expect)) {
        uint64_t to = reader->next + reader->range_bytes;
        /* The record that crosses the expected end is wanted too. */
        uint64_t most =
            reader->expect < size - FIRST_BYTES / 2 ? reader->expect + FIRST_BYTES / 2 : size;
        to = to > most && most > reader->next ? most : to;
        status = add_segment(reader, to < size ? to : size, false, err);
        if (reader->range_bytes < most_bytes(reader)) {
            reader->range_bytes *= 2;
        }
    }
    return status;
}

static void
pop_first(struct http_reader *reader)
{
    http_segment_free(reader->segments[0]);
    reader->count--;
    memmove(reader->segments, reader->segments + 1, reader->count * sizeof reader->segments[0]);
}

/* What the first answer tells about this server. */
static void
learn(struct http_reader *reader, const struct http_segment *segment)
{
    const struct http_version *seen = http_transfer_version(segment->transfer);
    if (seen == NULL) {
        return;
    }
    if (!reader->answered) {
        reader->pin = *seen;
        reader->answered = true;
    }
    reader->shared->has_ranges |= http_transfer_code(segment->transfer) == 206;
    if (!segment->stream && http_transfer_lacks_ranges(segment->transfer)) {
        reader->shared->lacks_ranges = true;
        reader->streaming = true;
        drop_segments(reader);
    }
}

static void
note_bytes(struct http_reader *reader, const uint8_t *bytes, size_t n)
{
    if (reader->version.pin == HTTP_PIN_SHA256 && reader->hashed == reader->at) {
        ps_sha256_add(&reader->sha, bytes, n);
        reader->hashed += n;
    }
    reader->at += n;
}

static void
start_check(struct http_reader *reader, enum http_what what)
{
    const struct http_request request = {
        .what = what, .url = reader->url, .to = 1, .pin = &reader->pin};
    http_transfer_free(reader->check);
    reader->check = http_pool_start(reader->shared->pool, &request);
}

static bool
needs_check(const struct http_reader *reader)
{
    bool one_answer = reader->responses == 1 && reader->version.size <= HTTP_SMALL_BYTES;
    return !one_answer || http_version_is_weak(&reader->pin);
}

/* While there is still something to decode, the network need not be idle. */
static enum ps_status
keep_moving(struct http_reader *reader, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    bool all_come = reader->next >= reader->version.size || reader->next >= reader->expect;
    if (http_pool_running(reader->shared->pool) > 0) {
        status = http_pool_turn(reader->shared->pool, 0, err);
    }
    for (size_t i = 0; all_come && i < reader->count; i++) {
        all_come = http_transfer_ended(reader->segments[i]->transfer);
    }
    if (status == PS_OK && all_come && reader->check == NULL && reader->answered &&
        needs_check(reader)) {
        start_check(reader, HTTP_HEAD);
    }
    return status;
}

/* The first segment has ended and is empty. */
static enum ps_status
end_first(struct http_reader *reader, struct ps_error *err)
{
    struct http_segment *first = reader->segments[0];
    enum ps_status status = http_transfer_status(first->transfer, err);
    if (status != PS_OK) {
        return status;
    }
    reader->at_end = first->stream;
    pop_first(reader);
    return PS_OK;
}

enum ps_status
http_reader_read(struct http_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
                 struct ps_error *err)
{
    enum ps_status status = PS_OK;
    *out_n = 0;
    while (status == PS_OK && cap > 0) {
        if (reader->at_end || (reader->at == reader->version.size && reader->count == 0)) {
            return PS_OK;
        }
        if (reader->version.size == HTTP_NO_SIZE &&
            reader->at > reader->shared->max_unsized_bytes) {
            return ps_fail_code(err, PS_REFUSED, "source_too_long",
                                "GET %.300s: the server does not say how long it is, and it is "
                                "longer than source.max_unsized_bytes (%" PRIu64 ")",
                                reader->url, reader->shared->max_unsized_bytes);
        }
        status = reader->at == reader->version.size ? PS_OK : fill(reader, err);
        if (status != PS_OK || reader->count == 0) {
            break;
        }
        struct http_segment *first = reader->segments[0];
        learn(reader, first);
        if (reader->count == 0) {
            continue;
        }
        if (http_segment_left(first) > 0) {
            *out_n = http_segment_take(first, out, cap);
            note_bytes(reader, out, *out_n);
            return cap >= MOVE_BYTES ? keep_moving(reader, err) : PS_OK;
        }
        status = http_transfer_ended(first->transfer)
                     ? end_first(reader, err)
                     : http_pool_turn(reader->shared->pool, WAIT_MS, err);
    }
    return status;
}

enum ps_status
http_reader_seek(struct http_reader *reader, uint64_t offset, struct ps_error *err)
{
    if (reader->version.size != HTTP_NO_SIZE && offset > reader->version.size) {
        return ps_fail_code(err, PS_BADDATA, "source_changed",
                            "%.300s: offset %" PRIu64 " lies behind its end", reader->url, offset);
    }
    if (offset != reader->at) {
        reader->at = offset;
        reader->at_end = false;
        reader->range_bytes = 2 * FIRST_BYTES;
        drop_segments(reader);
    }
    return PS_OK;
}

void
http_reader_expect(struct http_reader *reader, uint64_t upto)
{
    reader->expect = upto;
}

/* ---------------------------------------------------------------- verifying */

/* Asks for the headers once more: for versions that are weak, and for objects that were long on
 * the way. */
static enum ps_status
check_head(struct http_reader *reader, struct ps_error *err)
{
    struct http_shared *shared = reader->shared;
    enum ps_status status = PS_OK;
    if (reader->check == NULL) {
        start_check(reader, HTTP_HEAD);
    }
    for (bool probed = false;; probed = true) {
        status = PS_OK;
        while (status == PS_OK && !http_transfer_ended(reader->check)) {
            status = http_pool_turn(shared->pool, WAIT_MS, err);
        }
        status = status == PS_OK ? http_transfer_status(reader->check, err) : status;
        int code = http_transfer_code(reader->check);
        bool no_head = status == PS_REFUSED && code >= 400 && code != 404 && code != 410;
        if (!no_head || probed) {
            break;
        }
        start_check(reader, HTTP_PROBE);
    }
    http_transfer_free(reader->check);
    reader->check = NULL;
    if (status == PS_REFUSED && strcmp(err->code, "source_missing") == 0) {
        return ps_fail_code(err, PS_BADDATA, "source_changed", "%.300s is no longer there",
                            reader->url);
    }
    return status;
}

/* The rest of the object, for its checksum only. */
static enum ps_status
hash_rest(struct http_reader *reader, struct ps_error *err)
{
    struct http_segment *none = NULL;
    uint8_t *bytes = ps_xalloc(PASS_BYTES);
    struct http_reader *pass = http_reader_new(reader->shared, reader->url, &reader->pin, &none);
    pass->version.size = reader->version.size;
    enum ps_status status = http_reader_seek(pass, reader->hashed, err);
    for (size_t n = 1; status == PS_OK && n > 0;) {
        status = http_reader_read(pass, bytes, PASS_BYTES, &n, err);
        if (status == PS_OK) {
            ps_sha256_add(&reader->sha, bytes, n);
            reader->hashed += n;
        }
    }
    http_reader_free(pass);
    ps_free(bytes);
    return status;
}

static enum ps_status
check_sha256(struct http_reader *reader, struct ps_error *err)
{
    struct ps_buf name = PS_BUF_INIT;
    uint8_t digest[32];
    ps_buf_xappend(&name, reader->url, strlen(reader->url) + 1);
    ps_buf_xappend(&name, reader->version.sha256, 32);
    enum ps_status status = PS_OK;
    if (ps_map_find(reader->shared->verified, ps_buf_span(&name)) != NULL) {
        goto out;
    }
    if (reader->version.size == HTTP_NO_SIZE ? !reader->at_end || reader->hashed != reader->at
                                             : reader->hashed != reader->version.size) {
        status = hash_rest(reader, err);
    }
    if (status == PS_OK) {
        struct ps_sha256 sha = reader->sha;
        ps_sha256_end(&sha, digest);
        bool same = memcmp(digest, reader->version.sha256, 32) == 0;
        status =
            same ? PS_OK
                 : ps_fail_code(err, PS_BADDATA, "checksum_mismatch",
                                "%.300s has not the SHA-256 that the manifest says", reader->url);
    }
    if (status == PS_OK) {
        (void)ps_map_put(reader->shared->verified, ps_buf_span(&name), reader->shared);
    }
out:
    ps_buf_fini(&name);
    return status;
}

enum ps_status
http_reader_verify(struct http_reader *reader, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    bool whole = reader->hashed > 0 && reader->hashed == reader->version.size;
    if (reader->version.pin == HTTP_PIN_SHA256) {
        status = check_sha256(reader, err);
    }
    bool proven = reader->version.pin == HTTP_PIN_SHA256 && whole;
    if (status == PS_OK && !proven && needs_check(reader)) {
        status = check_head(reader, err);
    }
    return status;
}
