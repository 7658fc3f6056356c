/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_ahead.h: the next small objects of a batch, opened and read by helper threads
 * while the extract thread decodes the one before.
 * In: what a batch will open, in order.  Out: the same objects in the same order, each with its own
 *     outcome, as if each had been opened when it was asked for.
 * Invariant: at most AHEAD_BYTES are held; an object is opened at most once a batch; whatever was
 *            opened and is not asked for is closed. Helpers run only while opening is slow (a
 *            network, a cold disk): what the page cache gives costs less than handing it over.
 * Threads: begin, open and end belong to the extract thread; the helpers are inside. */
#ifndef AGENT_LEAF_LEAF_AHEAD_H
#define AGENT_LEAF_LEAF_AHEAD_H

#include "agent/source/source.h"

/* An open object and what has already been read of it. */
struct leaf_object {
    struct source_reader *reader;
    uint8_t *bytes; /* [at, len) is not yet taken */
    size_t at, len;
    bool whole; /* the bytes are all there is */
};

enum ps_status leaf_object_read(const struct source_ops *ops, struct leaf_object *object,
                                uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err);
void leaf_object_close(const struct source_ops *ops, struct leaf_object *object);

/* One that a batch will open. */
struct leaf_want {
    struct ps_span key;
    struct ps_span version;
    uint64_t size_bytes; /* as stored; UINT64_MAX = unknown */
    bool from_start;
};

struct leaf_ahead;

struct leaf_ahead *leaf_ahead_new(void);
/* The batch that is read next; the source and what the wants point at are borrowed until
 * leaf_ahead_end. */
void leaf_ahead_begin(struct leaf_ahead *ahead, const struct source_ops *ops, struct source *source,
                      struct leaf_want *own_wants, size_t count);
/* The index-th, in rising order; some may be left out. */
PS_MUSTCHECK enum ps_status leaf_ahead_open(struct leaf_ahead *ahead, size_t index,
                                            struct leaf_object *out, struct ps_error *err);
/* Nothing more of this batch is asked for. Waits until no helper uses the source. */
void leaf_ahead_end(struct leaf_ahead *ahead);
/* Opened by helpers so far, for tests. */
uint64_t leaf_ahead_opened(struct leaf_ahead *ahead);
void leaf_ahead_free(struct leaf_ahead *ahead); /* NULL is fine */

#endif
