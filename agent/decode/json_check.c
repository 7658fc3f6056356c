/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/json_check.h"

struct json_scan
json_scan_whole(struct ps_span text, struct ps_buf *scratch)
{
    static const struct json_rules strict = {.max_depth = JSON_DEPTH_MAX};
    const uint8_t *end = text.ptr + text.len;
    return (struct json_scan){
        .rules = &strict, .end = end, .limit = end, .final = true, .scratch = scratch};
}

static const uint8_t *
skip_blanks(const struct json_scan *scan, const uint8_t *p)
{
    while (p < scan->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) {
        p++;
    }
    return p;
}

/* Open brackets, innermost last. */
struct nest {
    uint64_t arrays[JSON_DEPTH_MAX / 64]; /* bit n: bracket n is a [ */
    uint32_t depth;
};

static bool
in_array(const struct nest *nest)
{
    return nest->arrays[(nest->depth - 1) / 64] >> ((nest->depth - 1) % 64) & 1;
}

/* A name and its colon. */
static const uint8_t *
check_name(struct json_scan *scan, const uint8_t *p)
{
    if (p >= scan->end || *p != '"') {
        return json_fail_at(scan, p, "a name");
    }
    p = json_string_rest(scan, p + 1, p + 1, NULL);
    if (p == NULL) {
        return NULL;
    }
    p = skip_blanks(scan, p);
    return p < scan->end && *p == ':' ? p + 1 : json_fail_at(scan, p, "a colon");
}

/* The bracket at p, and the first name behind it. *out_value: a value must follow. */
static const uint8_t *
open_bracket(struct json_scan *scan, struct nest *nest, const uint8_t *p, bool *out_value)
{
    bool array = *p == '[';
    if (nest->depth == JSON_DEPTH_MAX) {
        return json_fail(scan, JSON_DEPTH, p, "less nesting");
    }
    uint64_t bit = UINT64_C(1) << (nest->depth % 64);
    uint64_t *word = &nest->arrays[nest->depth / 64];
    *word = array ? *word | bit : *word & ~bit;
    nest->depth++;
    p = skip_blanks(scan, p + 1);
    *out_value = p >= scan->end || *p != (array ? ']' : '}');
    return *out_value && !array ? check_name(scan, p) : p;
}

static const uint8_t *
check_scalar(struct json_scan *scan, const uint8_t *p)
{
    if (*p == '"') {
        return json_string_rest(scan, p + 1, p + 1, NULL);
    }
    return *p == '-' || (*p >= '0' && *p <= '9') ? json_number(scan, p) : json_word(scan, p);
}

/* What stands behind a value: brackets that close, then a comma or the end. *out_value: another
 * value follows. */
static const uint8_t *
behind_value(struct json_scan *scan, struct nest *nest, const uint8_t *p, bool *out_value)
{
    *out_value = false;
    for (p = skip_blanks(scan, p); nest->depth > 0; p = skip_blanks(scan, p)) {
        if (p < scan->end && *p == ',') {
            *out_value = true;
            p = skip_blanks(scan, p + 1);
            return in_array(nest) ? p : check_name(scan, p);
        }
        if (p >= scan->end || *p != (in_array(nest) ? ']' : '}')) {
            return json_fail_at(scan, p, "a comma or the closing bracket");
        }
        nest->depth--;
        p++;
    }
    return p;
}

enum json_fault
json_check(struct ps_span text)
{
    struct json_scan scan = json_scan_whole(text, NULL);
    struct nest nest;
    nest.depth = 0;
    const uint8_t *p = text.ptr;
    for (bool value = true; value && p != NULL;) {
        p = skip_blanks(&scan, p);
        if (p >= scan.end) {
            return JSON_END;
        }
        if (*p == '{' || *p == '[') {
            p = open_bracket(&scan, &nest, p, &value);
        } else {
            p = check_scalar(&scan, p);
            value = false;
        }
        if (p != NULL && !value) {
            p = behind_value(&scan, &nest, p, &value);
        }
    }
    if (p == NULL) {
        return scan.fault;
    }
    return p == scan.end ? JSON_OK : JSON_TRAILING;
}
