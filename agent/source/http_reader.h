/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/http_reader.h: one object, read ahead in several ranges at once.
 * In: a URL and the version that is asked for.  Out: its bytes in order, from any offset.
 * Invariant: as source.h: bytes of one version only. Memory is at most ahead_bytes and a stream's
 *            buffer. Where the manifest has a checksum, verify says OK only after the whole object
 *            has been seen to have it.
 * Threads: one at a time, that of its pool. */
#ifndef AGENT_SOURCE_HTTP_READER_H
#define AGENT_SOURCE_HTTP_READER_H

#include "agent/source/http_segment.h"
#include "common/map.h"

enum { HTTP_SMALL_BYTES = 1024 * 1024 }; /* an object up to this is one request */

/* What the readers of one source have learnt together. */
struct http_shared {
    struct http_pool *pool;
    size_t ahead_bytes;
    uint64_t max_unsized_bytes; /* an object of unknown size may be so long */
    bool lacks_ranges;          /* a server has answered 200 to a Range */
    bool has_ranges;            /* … 206 */
    struct ps_map *verified;    /* key + version of objects whose checksum was right */
};

struct http_reader;

/* Asks for nothing yet. *own_first: a segment that was fetched ahead, from 0; may be NULL. */
struct http_reader *http_reader_new(struct http_shared *shared, const char *url,
                                    const struct http_version *version,
                                    struct http_segment **own_first);
void http_reader_free(struct http_reader *reader); /* NULL is fine */
PS_MUSTCHECK enum ps_status http_reader_read(struct http_reader *reader, uint8_t *out, size_t cap,
                                             size_t *out_n, struct ps_error *err);
PS_MUSTCHECK enum ps_status http_reader_seek(struct http_reader *reader, uint64_t offset,
                                             struct ps_error *err);
/* Nothing behind this offset is fetched ahead. */
void http_reader_expect(struct http_reader *reader, uint64_t upto);
PS_MUSTCHECK enum ps_status http_reader_verify(struct http_reader *reader, struct ps_error *err);

#endif
