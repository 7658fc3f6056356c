/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/slow_source.h: a source whose objects are their own keys and take their time;
 * "bad…" cannot be opened, "torn…" not be read. Counts what is open, and how many at once. */
#ifndef TESTS_SUPPORT_SLOW_SOURCE_H
#define TESTS_SUPPORT_SLOW_SOURCE_H

#include <string.h>
#include <time.h>

#include "agent/source/source.h"
#include "common/alloc.h"

struct source {
    _Atomic int open_now, opened, at_once, most_at_once;
    int64_t delay_ns;
};

struct source_reader {
    struct source *source;
    struct ps_span text;
    size_t at;
};

static bool
slow_source_begins(struct ps_span key, const char *with)
{
    return key.len >= strlen(with) && memcmp(key.ptr, with, strlen(with)) == 0;
}

static enum ps_status
slow_source_open_object(struct source *source, struct ps_span key, struct ps_span version,
                        struct source_reader **out, struct ps_error *err)
{
    (void)version;
    int now = atomic_fetch_add(&source->at_once, 1) + 1;
    if (now > atomic_load(&source->most_at_once)) {
        atomic_store(&source->most_at_once, now);
    }
    nanosleep(&(struct timespec){.tv_nsec = source->delay_ns}, NULL);
    atomic_fetch_sub(&source->at_once, 1);
    if (slow_source_begins(key, "bad")) {
        return ps_fail_code(err, PS_REFUSED, "source_missing", "%.*s", (int)key.len, key.ptr);
    }
    struct source_reader *reader = ps_xcalloc(1, sizeof *reader);
    reader->source = source;
    reader->text = key;
    atomic_fetch_add(&source->open_now, 1);
    atomic_fetch_add(&source->opened, 1);
    *out = reader;
    return PS_OK;
}

static enum ps_status
slow_source_read(struct source_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
                 struct ps_error *err)
{
    if (slow_source_begins(reader->text, "torn")) {
        return ps_fail(err, PS_AGAIN, "%.*s", (int)reader->text.len, reader->text.ptr);
    }
    size_t n = reader->text.len - reader->at;
    n = n < 3 ? n : 3;
    n = n < cap ? n : cap;
    memcpy(out, reader->text.ptr + reader->at, n);
    reader->at += n;
    *out_n = n;
    return PS_OK;
}

static void
slow_source_close_object(struct source_reader *reader)
{
    if (reader != NULL) {
        atomic_fetch_sub(&reader->source->open_now, 1);
        ps_free(reader);
    }
}

static const struct source_ops slow_source_ops = {
    .open_object = slow_source_open_object,
    .read = slow_source_read,
    .close_object = slow_source_close_object,
    .in_flight = 8,
};

#endif
