/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/source.h: where bytes come from. One const ops struct a driver, listed in
 * sources.def; src_template.c is the one to copy.
 * In: a spec and the agent's limits (roots).  Out: lists of objects, and pinned byte streams.
 * Invariant: all bytes one reader returns belong to the version it was opened with; a change in
 *            mid-read fails with code "source_changed", never half old and half new.
 * Threads: a struct source may be used by several threads at once (discover beside open);
 *          a struct source_reader by one at a time. All calls may block; none longer than
 *          ~1 s without looking at the cancel flag. */
#ifndef AGENT_SOURCE_SOURCE_H
#define AGENT_SOURCE_SOURCE_H

#include <stdatomic.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"
#include "spec/spec.h"

struct source;        /* a driver's state for one pipeline */
struct source_reader; /* one open object */

/* Where URL sources may go; no list = see http_policy.h. */
struct source_allow {
    const char *const *schemes;
    size_t scheme_count;
    const char *const *hosts;
    size_t host_count;
    const char *const *networks;
    size_t network_count;
    const char *proxy; /* NULL = none */
};

/* What the agent allows and lends; borrowed for the life of the source. */
struct source_env {
    const char *const *roots; /* absolute folders that file: may read below; NULL = any */
    size_t root_count;
    const char *base_dir; /* what a relative file URL is relative to (the CLI's folder) */
    const _Atomic bool *cancel;
    struct source_allow allow;
    size_t ahead_bytes; /* memory for what is fetched ahead; 0 = the driver's own idea */
};

struct source_object {
    struct ps_span key;     /* the object's name: need not be UTF-8, holds no NUL for files */
    struct ps_span version; /* opaque, at most 64 bytes, equal exactly when the bytes are */
    uint64_t size_bytes;    /* stored size */
    int64_t mtime_ms;
    bool weak; /* the version is no strong validator */
};

/* Called for each object in key order (bytewise); the spans are borrowed for the call. Anything but
 * PS_OK stops the listing and is returned from discover. */
typedef enum ps_status (*source_found_fn)(void *ctx, const struct source_object *object,
                                          struct ps_error *err);

/* One page of a listing. */
struct source_page {
    struct ps_span after; /* only keys that sort after it; empty = from the start */
    size_t limit;         /* at most so many */
    source_found_fn found;
    void *ctx;
    /* Set on PS_OK only. */
    bool last; /* there are no more */
    /* Left out because they are younger than source.discover.settle (continuous mode only). */
    uint64_t unsettled;
};

struct source_ops {
    const char *scheme; /* "file" */
    const char *help;   /* one sentence */

    /* Checks the spec against env. Never blocks on the objects themselves.
     * PS_REFUSED: this agent may not or cannot (code "not_visible", "outside_roots", …). */
    enum ps_status (*open)(const struct spec *spec, const struct source_env *env,
                           struct source **out, struct ps_error *err);
    void (*close)(struct source *source); /* NULL is fine */

    /* Lists one page, in key order. */
    enum ps_status (*discover)(struct source *source, struct source_page *page,
                               struct ps_error *err);

    /* Opens exactly this version. Codes: "source_changed" (PS_BADDATA: there, but another
     * version), "source_missing" (PS_REFUSED). */
    enum ps_status (*open_object)(struct source *source, struct ps_span key, struct ps_span version,
                                  struct source_reader **out, struct ps_error *err);
    /* Stored bytes from the current position; *out_n 0 only at the end of the object. */
    enum ps_status (*read)(struct source_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
                           struct ps_error *err);
    /* Moves to a stored offset at or before the object's size; NULL where it cannot be done. */
    enum ps_status (*seek)(struct source_reader *reader, uint64_t offset, struct ps_error *err);
    /* After the last byte a batch uses: is the object still the version that was opened? */
    enum ps_status (*verify)(struct source_reader *reader, struct ps_error *err);
    void (*close_object)(struct source_reader *reader); /* NULL is fine */

    /* How many small objects of one batch are worth opening and reading at once, each by a thread
     * of its own (agent/leaf/leaf_ahead.h); 0 or 1 = one after the other. Used only while opening
     * is slow. */
    unsigned in_flight;

    /* Hints, from the thread that reads; they change no outcome. May be NULL. */
    /* This object will be opened from its start soon. False: no room now, ask again later. */
    bool (*prefetch)(struct source *source, struct ps_span key, struct ps_span version);
    /* Little behind this stored offset will be read. */
    void (*expect)(struct source_reader *reader, uint64_t upto);
};

/* The registered driver for a URL's scheme; NULL with err naming what is built in. A path without
 * a scheme is file. */
const struct source_ops *source_find(const char *url, struct ps_error *err);
/* All of them, in sources.def's order; ends with NULL. */
const struct source_ops *const *source_all(void);

#endif
