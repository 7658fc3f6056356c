/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/dec_json.h: the inside of both JSON decoders, shared by their files and tests only.
 * dec_json.c: life and the two tables.  json_lines.c: NDJSON.  json_doc.c: documents.
 * json_out.c: records and rejects.  json_token.c: the resume token.
 *
 * A fault of NDJSON costs its line. A fault inside a document's record costs that record where its
 * brackets and quotes are sound (json_fault_is_local); behind any other nobody can say what is text
 * and what is structure, so the rest of the object is one reject: nothing is guessed. */
#ifndef AGENT_DECODE_DEC_JSON_H
#define AGENT_DECODE_DEC_JSON_H

#include "agent/decode/json_walk.h"

enum { JSON_RAW_MAX = 64 * 1024, JSON_REASON_BYTES = 480 };

enum json_phase {
    JSON_BEGIN,  /* between documents, or lines */
    JSON_SEEK,   /* at a value on the way to the items; level steps are behind */
    JSON_MEMBER, /* in an object on the way: at a name or the end */
    JSON_PASS,   /* in a value that is not on the way */
    JSON_COMMA,  /* behind such a value */
    JSON_ONE,    /* at an object that is one record */
    JSON_FIRST,  /* behind the items' [ */
    JSON_NEXT,   /* behind a comma between items */
    JSON_AFTER,  /* behind an item */
    JSON_UP,     /* in what follows the items, up to the document's end */
    JSON_LONG,   /* in a record longer than the limit */
    JSON_REST,   /* in the rest of a broken object */
    JSON_JUMP,   /* NDJSON: on the way to the first record after a cut */
};

struct decoder {
    bool lines; /* NDJSON */
    struct json_rules rules;
    uint64_t max_record_bytes;
    struct spec_path items; /* documents: the way to the records' array; no steps: the document */
    uint64_t fingerprint;   /* of the rules that say where records are */

    struct json_walk walk;
    json_walk_fn walker;
    struct ps_buf scratch;
    struct ps_span *names; /* as told; for found fields made anew each time */
    struct ps_buf name_bytes;
    uint32_t told; /* fields whose names the sink knows */
    bool names_told;
    bool with_columns;
    bool adds;             /* columns.unknown: add: names that are no column become fields, too, */
    uint32_t wanted;       /* behind so many that are */
    uint32_t strange_told; /* of walk.strange */
    uint32_t overlap;

    enum json_phase phase;
    enum json_phase after; /* JSON_LONG: the phase that the record stands in */
    bool at_boundary;
    uint64_t offset;     /* every byte before it is done with */
    uint64_t line;       /* it is on; 0 = unknown */
    uint64_t line_begin; /* offset of that line's begin */
    bool begun;          /* the byte order mark was looked for */
    uint32_t level;      /* documents: steps of items that are behind */
    uint64_t index;      /* of the array on the way */
    bool found;          /* the items */
    struct json_skip skip;
    size_t pending;   /* bytes from offset on that skip has seen */
    bool is_skipping; /* skip knows part of the record at offset */

    uint64_t
        kept_begin; /* where the long record, the rest or the document began, and on what line */
    uint64_t kept_line;
    struct ps_buf kept; /* its first bytes */
    char reason[JSON_REASON_BYTES];
    const char *code;
    const char *column;
};

/* One call of run. */
struct json_run {
    struct decoder *decoder;
    const struct decode_sink *sink;
    struct ps_error *err;
    const uint8_t *window;
    const uint8_t *at; /* decoder->offset */
    const uint8_t *end;
    bool eof;
    bool stopped;
    bool waits;
    uint64_t stop_at;
    uint64_t base; /* offset of window */
};

static inline uint64_t
json_run_offset(const struct json_run *run, const uint8_t *p)
{
    return run->base + (uint64_t)(p - run->window);
}
/* p is done with; lines are counted in what lies between. */
void json_run_advance(struct json_run *run, const uint8_t *p);
/* The boundary is p: stops there if it is far enough. */
void json_run_boundary(struct json_run *run, const uint8_t *p);

/* ---- json_out.c */
/* The spans of walk.count names, each with its NUL, in name_bytes. */
PS_MUSTCHECK enum ps_status json_names_split(struct decoder *decoder, struct ps_error *err);
PS_MUSTCHECK enum ps_status json_names_tell(struct json_run *run);
/* The record in the walk's fields. */
PS_MUSTCHECK enum ps_status json_record_out(struct json_run *run, const uint8_t *begin,
                                            const uint8_t *end);
/* Writes decoder->reason and code for the walk's fault. */
void json_reason_fault(struct json_run *run);
void json_reason(struct decoder *decoder, const char *code, const char *fmt, ...) PS_PRINTF(3, 4);
void json_reason_long(struct decoder *decoder, uint64_t length);
/* [begin, end) is a reject for decoder->reason. */
PS_MUSTCHECK enum ps_status json_reject_out(struct json_run *run, const uint8_t *begin,
                                            const uint8_t *end);
/* Bytes that no later window shows again: from `begin` of the object on, as many as a reject has.
 */
void json_keep_begin(struct json_run *run, const uint8_t *at);
PS_MUSTCHECK enum ps_status json_keep(struct json_run *run, const uint8_t *begin,
                                      const uint8_t *end);
/* All from kept_begin to at is a reject for decoder->reason. */
PS_MUSTCHECK enum ps_status json_kept_out(struct json_run *run, const uint8_t *at);

/* Where a text ends. */
struct json_text {
    const uint8_t *end;
    bool final; /* nothing follows */
};

/* ---- json_lines.c, json_doc.c: one step; the caller goes on until stopped, waits or done. */
PS_MUSTCHECK enum ps_status json_lines_step(struct json_run *run);
PS_MUSTCHECK enum ps_status json_doc_step(struct json_run *run);
/* The object has ended where the document had not. */
PS_MUSTCHECK enum ps_status json_doc_eof(struct json_run *run);
/* Walks [at, end): *out_end is behind the value, NULL = walk.scan has the fault. PS_BADDATA where
 * the object as a whole cannot be read, PS_FULL without memory. */
PS_MUSTCHECK enum ps_status json_walk_run(struct json_run *run, const uint8_t *at,
                                          const struct json_text *text, const uint8_t **out_end);

/* ---- json_token.c */
PS_MUSTCHECK enum ps_status json_token_write(const struct decoder *decoder, struct ps_buf *out,
                                             struct ps_error *err);
PS_MUSTCHECK enum ps_status json_token_read(struct decoder *decoder, struct ps_span token,
                                            uint64_t offset, struct ps_error *err);

/* ---- dec_json.c */
extern const struct decode_ops dec_json_ops;
extern const struct decode_ops dec_ndjson_ops;

#endif
