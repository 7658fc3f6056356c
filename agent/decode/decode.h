/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/decode.h: bytes in, records out. Pure: no file, socket, clock or thread.
 * In: a window of the unwrapped stream that the caller owns.  Out: records as fields borrowed from
 *     that window, and rejects.
 * Invariant: how the stream is cut into windows never changes what comes out; every byte belongs
 *            to exactly one record, reject, header, comment or skipped line.
 * Threads: one owner at a time. */
#ifndef AGENT_DECODE_DECODE_H
#define AGENT_DECODE_DECODE_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"
#include "spec/spec.h"

/* What the format itself says of a field; CSV says nothing. */
enum field_kind {
    FIELD_PLAIN,   /* a text that may stand for anything */
    FIELD_TEXT,    /* a text and nothing else: a string of JSON */
    FIELD_OTHER,   /* neither text nor number: true, false, an object, an array, as JSON text */
    FIELD_NULL,    /* ptr is NULL */
    FIELD_MISSING, /* ptr is NULL; the column's default stands for it */
};

struct field {
    const uint8_t *ptr; /* unquoted; valid UTF-8 once emitted. NULL: the field is not there (a short
                           record that was padded) */
    uint32_t len;
    bool quoted;  /* a quoted field is never NULL */
    bool escaped; /* the decoder's own mark; false once emitted */
    uint8_t kind; /* enum field_kind */
};

struct record {
    const struct field *fields; /* in source order, borrowed for the call */
    uint32_t count;
    uint64_t offset;        /* where it begins, unwrapped bytes from the object's start */
    uint64_t length;        /* its line end included */
    uint64_t line;          /* 1-based line it begins on */
    struct ps_span raw;     /* its own bytes as they came (for rejects), borrowed for the call */
    size_t slack;           /* bytes behind raw that may be read too, whatever they are */
    uint32_t overlap;       /* further fields that may hold one and the same byte of raw */
    struct ps_span unknown; /* one of its fields that is no column, where records name their own and
                               columns.unknown is not add; ptr NULL: none */
};

/* A record that could not be decoded; raw is borrowed, at most 64 KiB are given. */
struct decode_reject {
    uint64_t offset;
    uint64_t length;
    uint64_t line;      /* 0 = unknown */
    const char *column; /* or NULL */
    const char *code;   /* "bad_quote" "ragged" "bad_utf8" "nul" "too_long" "bad_type" … */
    const char *reason; /* for people: what was found and what was expected */
    struct ps_span raw;
};

struct decode_sink {
    void *ctx;
    /* The field names, once an object, in source order, before its first record (also on resume).
     * Again, with more names behind the ones told, where a decoder that was given no columns finds
     * more fields, or with columns.unknown: add fields that are no column (as paths). */
    enum ps_status (*header)(void *ctx, const struct ps_span *names, uint32_t count,
                             struct ps_error *err);
    /* The same names, once each: fields that are no column. May be NULL. */
    enum ps_status (*unknown)(void *ctx, struct ps_span name, struct ps_error *err);
    /* Anything but PS_OK stops decode_run and is returned from it. */
    enum ps_status (*record)(void *ctx, const struct record *record, struct ps_error *err);
    enum ps_status (*reject)(void *ctx, const struct decode_reject *reject, struct ps_error *err);
};

struct decoder; /* one object's decoding; opaque */

/* May a stream be entered in its middle? */
enum decode_split {
    DECODE_SPLIT_NEVER,
    DECODE_SPLIT_GUESS, /* a line end is a record's end unless quotes say otherwise */
    DECODE_SPLIT_EXACT, /* a line end is a record's end */
};

struct decode_ops {
    const char *name; /* "csv": format.type */
    const char *help;

    /* resume: empty = the object's start; else the token that decode_token gave at `offset`.
     * A token of another version or spec is PS_REFUSED, code "resume_token". */
    enum ps_status (*open)(const struct spec *spec, struct ps_span resume, uint64_t offset,
                           struct decoder **out, struct ps_error *err);

    /* For formats whose records name their own fields (NULL: the object names them once for all):
     * which fields the table takes, said at most once, between open and the first run; columns are
     * borrowed for the call. Not said: those of the spec's columns, or every field that is found
     * where it has none. */
    enum ps_status (*columns)(struct decoder *decoder, const struct spec_column *columns,
                              size_t count, struct ps_error *err);

    /* Decodes from window (bytes that follow what was consumed before). eof: nothing follows the
     * window. Stops at the first record boundary at or after stop_at (absolute offset), or when the
     * window holds no further whole record. *out_consumed says how much of the window is done with;
     * the caller shows the rest again with more behind it. *out_stopped: the boundary was reached.
     * A record longer than limits.max_record_bytes is a reject "too_long" and its bytes are
     * consumed as they come, so the caller's window never needs to grow more than 16 bytes beyond
     * that limit. The window is never written to. Once the object's end is known, run is called
     * with eof (and perhaps an empty window), so that an end that comes too early is told. */
    enum ps_status (*run)(struct decoder *decoder, const uint8_t *window, size_t len, bool eof,
                          uint64_t stop_at, const struct decode_sink *sink, size_t *out_consumed,
                          bool *out_stopped, struct ps_error *err);

    /* The token that stands at the current record boundary (line, header map, dialect found). */
    enum ps_status (*token)(const struct decoder *decoder, struct ps_buf *out,
                            struct ps_error *err);
    uint64_t (*offset)(const struct decoder *decoder); /* of the current boundary */
    /* Appends sentences on what was detected rather than given ("… . "). May be NULL. */
    void (*describe)(const struct decoder *decoder, struct ps_buf *out);
    /* Valid once the header was emitted: what was detected counts. NULL = never. */
    enum decode_split (*split)(const struct decoder *decoder);
    /* Leaves the present boundary for the first record that begins at or after `cut` (1 or more, at
     * or after the present boundary). The next window begins at byte cut - 1. What is left of the
     * record there is passed over without a word; with DECODE_SPLIT_GUESS as if byte cut stood
     * outside of quotes. decode_run with stop_at = cut ends where that record begins. Lines are
     * unknown (0) from here on. NULL where split is NULL. */
    void (*jump)(struct decoder *decoder, uint64_t cut);
    void (*close)(struct decoder *decoder); /* NULL is fine */
};

const struct decode_ops *decode_find(const char *type, struct ps_error *err);
const struct decode_ops *const *decode_all(void);

#endif
