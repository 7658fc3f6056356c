/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/json_scan.h: the parts of JSON (RFC 8259): strings, numbers, and where a value ends.
 * In: bytes.  Out: the byte after a part, or what is wrong and where.
 * Invariant: strict: what the grammar does not have is a fault; a text that ends inside a part is
 *            JSON_END whatever else might be wrong behind it, so that more bytes never change
 *            another answer.
 * Threads: pure; a scan has one owner at a time. */
#ifndef AGENT_DECODE_JSON_SCAN_H
#define AGENT_DECODE_JSON_SCAN_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

enum { JSON_DEPTH_MAX = 1024 };

enum json_fault {
    JSON_OK,
    JSON_END,       /* the text ends inside */
    JSON_STRUCTURE, /* a byte that cannot stand here; what follows may be anything */
    JSON_CONTROL,   /* a control character in a string */
    JSON_TOKEN,     /* a word or number that is none of JSON's; brackets and strings are sound */
    JSON_MISSING,   /* a bracket or comma where a name or value is expected */
    JSON_ESCAPE,    /* \x and its like */
    JSON_SURROGATE, /* half of a pair */
    JSON_NUL,       /* \u0000 */
    JSON_UTF8,
    JSON_DEPTH,
    JSON_DUPLICATE,
    JSON_NOT_OBJECT,
    JSON_TRAILING, /* something behind the value */
    JSON_WIDE,     /* more fields than limits.max_columns */
    JSON_NOMEM,
};
/* Whether the nesting can still be trusted behind the fault. */
static inline bool
json_fault_is_local(enum json_fault fault)
{
    return fault != JSON_END && fault != JSON_STRUCTURE && fault != JSON_CONTROL;
}

enum json_duplicate { JSON_KEEP_LAST, JSON_KEEP_FIRST, JSON_KEEP_NONE };

struct json_rules {
    uint32_t max_depth;
    uint32_t max_columns;
    enum json_duplicate duplicates;
    bool replace_surrogates; /* by U+FFFD */
};

/* The text that is read. */
struct json_scan {
    const struct json_rules *rules;
    const uint8_t *end;   /* of the text */
    const uint8_t *limit; /* bytes before it may be read, whatever they are; at least end */
    bool final;           /* nothing follows end */
    enum json_fault fault;
    const uint8_t *bad_at;
    const char *expected;
    struct ps_buf *scratch; /* unescaped texts; has room for all of the record's once begun */
};

static inline const uint8_t *
json_fail(struct json_scan *scan, enum json_fault fault, const uint8_t *at, const char *expected)
{
    scan->fault = fault;
    scan->bad_at = at;
    scan->expected = expected;
    return NULL;
}

/* The text ends at a place where `expected` should stand, or something else stands there. */
const uint8_t *json_fail_at(struct json_scan *scan, const uint8_t *at, const char *expected);

/* A string whose plain beginning is [begin, at): begin is behind the opening quote. Returns the
 * byte behind the closing quote; NULL = fault. out: its text, unescaped in scratch where need be;
 * NULL = it is only checked. */
const uint8_t *json_string_rest(struct json_scan *scan, const uint8_t *begin, const uint8_t *at,
                                struct ps_span *out);
/* A number of any form, or the fault; p is at - or a digit. */
const uint8_t *json_number(struct json_scan *scan, const uint8_t *p);
/* true, false or null, or the fault of a byte that begins no value. */
const uint8_t *json_word(struct json_scan *scan, const uint8_t *p);

/* ---- Where a value ends, by its brackets and quotes alone, over any number of windows. */
struct json_skip {
    uint32_t depth; /* open brackets */
    bool begun;
    bool scalar; /* a value that is neither in brackets nor in quotes */
    bool in_string;
    bool escaped;
    bool broken; /* a bracket of the other kind, or a control character in a string */
    uint64_t kinds[JSON_DEPTH_MAX / 64]; /* bit n: bracket n is a [ */
};
void json_skip_open(struct json_skip *skip, bool is_array);
/* Takes bytes from p; true when the value's end, or what breaks it, was reached. *out_at: behind
 * what was taken. Deeper than JSON_DEPTH_MAX the brackets' kinds are not compared. */
bool json_skip_run(struct json_skip *skip, const uint8_t *p, const uint8_t *end,
                   const uint8_t **out_at);

#endif
