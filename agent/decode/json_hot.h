/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/json_hot.h: the loops of json_walk.h, included by the files that compile them, each
 * for its own machine (json_any.c, json_v3.c). Every text is walked once, from its first byte to
 * its last; a name is compared with the one that the last record had there before it is looked for.
 */
#ifndef AGENT_DECODE_JSON_HOT_H
#define AGENT_DECODE_JSON_HOT_H

#include <stddef.h>

#include "agent/decode/json_plain.h"
#include "agent/decode/json_walk.h"

/* 0 stands nowhere in JSON, so it is the byte behind the text too. */
static inline uint8_t
hot_peek(const struct json_scan *scan, const uint8_t *p)
{
    return __builtin_expect(p < scan->end, 1) ? *p : 0;
}

static inline const uint8_t *
hot_blanks(const struct json_scan *scan, const uint8_t *p)
{
    if (__builtin_expect(hot_peek(scan, p) > ' ', 1)) {
        return p;
    }
    while (p < scan->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

static inline void
hot_put(struct json_walk *walk, const struct json_node *node, const uint8_t *ptr, uint64_t len,
        enum field_kind kind)
{
    _Static_assert(offsetof(struct field, quoted) == offsetof(struct field, len) + 4 &&
                       offsetof(struct field, kind) == offsetof(struct field, len) + 6 &&
                       sizeof(struct field) == offsetof(struct field, len) + 8,
                   "the marks are the upper half of eight little-endian bytes");
    if (node != NULL && node->field != JSON_NO_FIELD) {
        struct field *field = &walk->fields[node->field];
        uint64_t quoted = kind != FIELD_PLAIN;
        uint64_t word = (uint32_t)len | quoted << 32 | (uint64_t)kind << 48;
        field->ptr = ptr;
        memcpy(&field->len, &word, sizeof word);
    }
}

/* The string behind whose opening quote p is. out may be NULL. */
static inline const uint8_t *
hot_string(struct json_scan *scan, const uint8_t *p, struct ps_span *out)
{
    const uint8_t *q = json_plain_end(p, scan->end, scan->limit, false);
    if (__builtin_expect(hot_peek(scan, q) == '"', 1)) {
        if (out != NULL) {
            *out = ps_span(p, (size_t)(q - p));
        }
        return q + 1;
    }
    return json_string_rest(scan, p, q, out);
}

static inline bool
hot_ends_number(uint8_t byte)
{
    return byte == ',' || byte == '}' || byte == ']' || byte == ' ' || byte == '\n' || byte == '\r';
}

/* -?digits[.digits] and a byte that ends it, within a few bytes; NULL: json_number knows. */
static inline const uint8_t *
hot_number(const struct json_scan *scan, const uint8_t *p)
{
    const uint8_t *digits = p + (*p == '-');
    const uint8_t *q;
#ifdef __AVX2__
    if (scan->limit - digits < 16) {
        return NULL;
    }
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)digits);
    __m128i beyond = _mm_subs_epu8(_mm_sub_epi8(bytes, _mm_set1_epi8('0')), _mm_set1_epi8(9));
    uint32_t good = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(beyond, _mm_setzero_si128()));
    uint32_t whole = _tzcnt_u32(~good);
    if (whole == 0 || whole >= 15 || (whole > 1 && *digits == '0')) {
        return NULL;
    }
    q = digits + whole;
    if (*q == '.') {
        uint32_t part = _tzcnt_u32(~(good >> (whole + 1)));
        q += 1 + part;
        if (part == 0 || whole + 1 + part >= 16) {
            return NULL;
        }
    }
#else
    for (q = digits; q < scan->end && *q >= '0' && *q <= '9'; q++) {
    }
    if (q == digits || (q - digits > 1 && *digits == '0')) {
        return NULL;
    }
    if (q < scan->end && *q == '.') {
        const uint8_t *part = q + 1;
        for (q = part; q < scan->end && *q >= '0' && *q <= '9'; q++) {
        }
        if (q == part) {
            return NULL;
        }
    }
#endif
    return q < scan->end && hot_ends_number(*q) ? q : NULL;
}

/* A value that is in no brackets; out: its text, and what it is. */
static inline const uint8_t *
hot_scalar(struct json_scan *scan, const uint8_t *p, struct ps_span *out, enum field_kind *out_kind)
{
    uint8_t byte = hot_peek(scan, p);
    if (byte == '"') {
        *out_kind = FIELD_TEXT;
        return hot_string(scan, p + 1, out);
    }
    const uint8_t *q;
    if (byte == '-' || (uint8_t)(byte - '0') <= 9) {
        *out_kind = FIELD_PLAIN;
        q = hot_number(scan, p);
        q = __builtin_expect(q != NULL, 1) ? q : json_number(scan, p);
    } else {
        *out_kind = byte == 'n' ? FIELD_NULL : FIELD_OTHER;
        q = json_word(scan, p);
    }
    if (out != NULL && q != NULL) {
        *out = byte == 'n' ? ps_span(NULL, 0) : ps_span(p, (size_t)(q - p));
    }
    return q;
}

/* The colon behind a name, and the blanks around it. */
static inline const uint8_t *
hot_colon(struct json_scan *scan, const uint8_t *p)
{
    p = hot_blanks(scan, p);
    if (__builtin_expect(hot_peek(scan, p) != ':', 0)) {
        return json_fail_at(scan, p, "a colon");
    }
    return hot_blanks(scan, p + 1);
}

static inline const uint8_t *
hot_no_name(struct json_scan *scan, const uint8_t *p)
{
    uint8_t byte = hot_peek(scan, p);
    if (byte == ',' || byte == '}') {
        return json_fail(scan, JSON_MISSING, p, "a name in quotes");
    }
    return json_fail_at(scan, p, "a name in quotes");
}

/* ---- What nobody wants, or only as text: checked without recursion. */

static const uint8_t *
skip_name(struct json_scan *scan, const uint8_t *p)
{
    if (hot_peek(scan, p) != '"') {
        return hot_no_name(scan, p);
    }
    p = hot_string(scan, p + 1, NULL);
    return p == NULL ? NULL : hot_colon(scan, p);
}

/* The brackets at p; outer are open around them. */
static const uint8_t *
hot_skip(struct json_scan *scan, const uint8_t *p, uint32_t outer)
{
    uint64_t kinds[JSON_DEPTH_MAX / 64];
    uint32_t open = 0;
    bool array = false;
    bool value = true;
    do {
        uint8_t byte = hot_peek(scan, p);
        if (value && (byte == '{' || byte == '[')) {
            if (outer + open >= scan->rules->max_depth) {
                return json_fail(scan, JSON_DEPTH, p, "less nesting (limits.max_depth)");
            }
            array = byte == '[';
            uint64_t bit = (uint64_t)1 << (open % 64);
            kinds[open / 64] = array ? kinds[open / 64] | bit : kinds[open / 64] & ~bit;
            open++;
            p = hot_blanks(scan, p + 1);
            value = hot_peek(scan, p) != (array ? ']' : '}');
            if (value && !array) {
                p = skip_name(scan, p);
            }
        } else if (value) {
            enum field_kind kind;
            p = hot_scalar(scan, p, NULL, &kind);
            p = p == NULL ? NULL : hot_blanks(scan, p);
            value = false;
        } else if (byte == ',') {
            p = hot_blanks(scan, p + 1);
            p = array ? p : skip_name(scan, p);
            value = true;
        } else if (byte == (array ? ']' : '}')) {
            open--;
            p = open == 0 ? p + 1 : hot_blanks(scan, p + 1);
            array = open > 0 && (kinds[(open - 1) / 64] >> ((open - 1) % 64) & 1) != 0;
        } else {
            return json_fail_at(scan, p, array ? "a comma or ]" : "a comma or }");
        }
    } while (p != NULL && open > 0);
    return p;
}

/* ---- What is wanted. */

static const uint8_t *hot_object(struct json_walk *walk, struct json_node *node, const uint8_t *p,
                                 uint32_t outer);
static const uint8_t *hot_array(struct json_walk *walk, struct json_node *node, const uint8_t *p,
                                uint32_t outer);

/* node: NULL = nobody wants it. */
static inline const uint8_t *
hot_value(struct json_walk *walk, struct json_node *node, const uint8_t *p, uint32_t outer)
{
    uint8_t byte = hot_peek(&walk->scan, p);
    if (__builtin_expect(byte != '{' && byte != '[', 1)) {
        enum field_kind kind = FIELD_PLAIN;
        struct ps_span text;
        bool wanted = node != NULL && node->field != JSON_NO_FIELD;
        const uint8_t *end = hot_scalar(&walk->scan, p, wanted ? &text : NULL, &kind);
        if (wanted && __builtin_expect(end != NULL, 1)) {
            hot_put(walk, node, text.ptr, text.len, kind);
        }
        return end;
    }
    const uint8_t *end;
    if (node != NULL && byte == '{' && node->names > 0) {
        end = hot_object(walk, node, p, outer);
    } else if (node != NULL && byte == '[' && node->indexes > 0) {
        end = hot_array(walk, node, p, outer);
    } else {
        end = hot_skip(&walk->scan, p, outer);
    }
    if (end != NULL) {
        hot_put(walk, node, p, (uint64_t)(end - p), FIELD_OTHER);
    }
    return end;
}

/* Whether the name at p is the node's, as most writers write it. */
static inline bool
hot_name_is(const struct json_scan *scan, const struct json_node *node, const uint8_t *p)
{
    size_t len = node->quoted_len;
#ifdef __AVX2__
    if (__builtin_expect(len - 1 < 32 && scan->limit - p >= 32, 1)) {
        __m256i here = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i name = _mm256_loadu_si256((const __m256i *)(const void *)node->quoted);
        uint32_t other = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(here, name));
        return _bzhi_u32(other, (uint32_t)len) == 0 && scan->end - p >= (ptrdiff_t)len;
    }
#endif
    return len > 0 && scan->end - p >= (ptrdiff_t)len && memcmp(p, node->quoted, len) == 0;
}

/* Reads any name; *out_child: whose it is. */
static const uint8_t *
hot_name_find(struct json_walk *walk, const struct json_node *node, const uint8_t *p,
              struct json_node **out_child)
{
    struct json_scan *scan = &walk->scan;
    struct json_node *second = *out_child != NULL ? (*out_child)->next : NULL;
    struct ps_span name;
    if (second != NULL && hot_name_is(scan, second, p)) {
        *out_child = second;
        return p + second->quoted_len;
    }
    if (hot_peek(scan, p) != '"') {
        return hot_no_name(scan, p);
    }
    const uint8_t *end = hot_string(scan, p + 1, &name);
    if (end == NULL) {
        return NULL;
    }
    if (node == &walk->root && walk->strange_next != NULL &&
        ps_span_eq(json_node_name(walk->strange_next), name)) {
        *out_child = NULL; /* what nobody wanted before nobody wants now */
        json_walk_strange(walk, name);
        return end;
    }
    *out_child = json_tree_find(node, name);
    if (__builtin_expect(*out_child == NULL && walk->notes_strange && node == &walk->root, 0)) {
        json_walk_strange(walk, name);
    }
    if (__builtin_expect(*out_child == NULL && walk->discover && node == &walk->root, 0)) {
        *out_child = json_walk_discover(walk, name, p);
        return *out_child == NULL ? NULL : end;
    }
    return end;
}

/* The object at p. */
static const uint8_t *
hot_object(struct json_walk *walk, struct json_node *node, const uint8_t *p, uint32_t outer)
{
    struct json_scan *scan = &walk->scan;
    if (outer >= scan->rules->max_depth) {
        return json_fail(scan, JSON_DEPTH, p, "less nesting (limits.max_depth)");
    }
    p = hot_blanks(scan, p + 1);
    if (hot_peek(scan, p) == '}') {
        return p + 1;
    }
    for (;;) {
        const uint8_t *begin = p;
        struct json_node *child = node->expected;
        if (child != NULL && __builtin_expect(hot_name_is(scan, child, p), 1)) {
            p += child->quoted_len;
        } else {
            p = hot_name_find(walk, node, p, &child);
            if (p == NULL) {
                return NULL;
            }
        }
        p = hot_colon(scan, p);
        if (p == NULL) {
            return NULL;
        }
        if (child != NULL) {
            bool fault = false;
            node->expected = child->next != NULL ? child->next : node->first;
            if (__builtin_expect(child->stamp == walk->stamp, 0)) {
                child = json_walk_duplicate(walk, child, begin, &fault);
                if (fault) {
                    return NULL;
                }
            } else {
                child->stamp = walk->stamp;
            }
        }
        p = hot_value(walk, child, p, outer + 1);
        if (__builtin_expect(p == NULL, 0)) {
            walk->at = walk->at != NULL ? walk->at : child;
            return NULL;
        }
        p = hot_blanks(scan, p);
        uint8_t byte = hot_peek(scan, p);
        if (byte != ',') {
            return byte == '}' ? p + 1 : json_fail_at(scan, p, "a comma or }");
        }
        p = hot_blanks(scan, p + 1);
    }
}

static const uint8_t *
hot_array(struct json_walk *walk, struct json_node *node, const uint8_t *p, uint32_t outer)
{
    struct json_scan *scan = &walk->scan;
    if (outer >= scan->rules->max_depth) {
        return json_fail(scan, JSON_DEPTH, p, "less nesting (limits.max_depth)");
    }
    p = hot_blanks(scan, p + 1);
    if (hot_peek(scan, p) == ']') {
        return p + 1;
    }
    for (uint32_t index = 0;; index++) {
        struct json_node *child = json_tree_at(node, index);
        p = hot_value(walk, child, p, outer + 1);
        if (p == NULL) {
            walk->at = walk->at != NULL ? walk->at : child;
            return NULL;
        }
        p = hot_blanks(scan, p);
        uint8_t byte = hot_peek(scan, p);
        if (byte != ',') {
            return byte == ']' ? p + 1 : json_fail_at(scan, p, "a comma or ]");
        }
        p = hot_blanks(scan, p + 1);
    }
}

static inline const uint8_t *
hot_walk(struct json_walk *walk, const uint8_t *p)
{
    struct json_scan *scan = &walk->scan;
    scan->fault = JSON_OK;
    walk->at = NULL;
    walk->stamp++;
    walk->root.expected = walk->root.first;
    if (walk->count > 0) {
        memcpy(walk->fields, walk->blank, walk->count * sizeof *walk->fields);
    }
    if (__builtin_expect(hot_peek(scan, p) == '{', 1)) {
        return hot_object(walk, &walk->root, p, 0);
    }
    /* Checked all the same: a broken value is said to be broken, whatever else it is. */
    const uint8_t *end = hot_value(walk, NULL, p, 0);
    return end == NULL ? NULL : json_fail(scan, JSON_NOT_OBJECT, p, "an object");
}

#endif
