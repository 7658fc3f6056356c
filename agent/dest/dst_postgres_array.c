/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays as array_recv reads them: dimensions, whether there are NULLs, the elements' type, each
 * dimension's length and first subscript, the elements. A text is walked twice: for its shape, then
 * for its elements. Published: documentation, "Array Input and Output Syntax". */
#include <ctype.h>
#include <strings.h>

#include "agent/decode/json_check.h"
#include "agent/dest/dst_postgres.h"
#include "agent/dest/dst_postgres_field.h"

enum { DIMENSIONS_MAX = 6, ELEMENTS_MAX = 134217727 }; /* MAXDIM, MaxAllocSize / 8 */

static const char not_array[] =
    "is no array: expected {1,2,NULL}, with braces for each dimension, or a JSON array";
static const char ragged[] = "is an array whose dimensions are not of one length each";
static const char too_deep[] = "is an array of more than 6 dimensions";
static const char not_bounds[] = "is an array whose bounds do not fit its elements";
static const char too_many[] = "is an array of more elements than the server takes";

struct dimension {
    int64_t length; /* -1: none of its rows has ended yet */
    int64_t first;
};

/* The walk. element NULL: only its shape is wanted. */
struct walk {
    const struct dst_postgres_column *element;
    struct ps_buf *out;
    struct ps_buf *scratch; /* one element's text without its escapes */
    struct dimension dims[DIMENSIONS_MAX];
    int64_t counts[DIMENSIONS_MAX]; /* of the open rows */
    unsigned ndim;
    unsigned depth;
    int leaf_depth; /* of the elements; -1: none was seen */
    int64_t elements;
    bool has_null;
    const char *why;
};

static bool
fail(struct walk *walk, const char *why)
{
    walk->why = walk->why == NULL ? why : walk->why;
    return false;
}

static bool
open_row(struct walk *walk)
{
    if (walk->depth == DIMENSIONS_MAX) {
        return fail(walk, too_deep);
    }
    if (walk->leaf_depth >= 0 && walk->depth >= (unsigned)walk->leaf_depth) {
        return fail(walk, ragged);
    }
    if (walk->depth > 0) {
        walk->counts[walk->depth - 1]++;
    }
    walk->counts[walk->depth++] = 0;
    if (walk->depth > walk->ndim) {
        walk->dims[walk->ndim++] = (struct dimension){.length = -1, .first = 1};
    }
    return true;
}

static bool
close_row(struct walk *walk)
{
    struct dimension *dim = &walk->dims[--walk->depth];
    if (dim->length < 0) {
        dim->length = walk->counts[walk->depth];
    }
    return dim->length == walk->counts[walk->depth] || fail(walk, ragged);
}

static bool
take_element(struct walk *walk, const struct cell *cell)
{
    walk->leaf_depth = walk->leaf_depth < 0 ? (int)walk->depth : walk->leaf_depth;
    if ((unsigned)walk->leaf_depth != walk->depth) {
        return fail(walk, ragged);
    }
    if (++walk->elements > ELEMENTS_MAX) {
        return fail(walk, too_many);
    }
    walk->counts[walk->depth - 1]++;
    walk->has_null = walk->has_null || cell->tag == CELL_NULL;
    if (walk->element == NULL) {
        return true;
    }
    walk->why = dst_postgres_value_put(walk->element, cell, walk->out);
    return walk->why == NULL;
}

static bool
take_text(struct walk *walk, struct ps_span text)
{
    const struct cell cell = {.tag = CELL_TEXT, .len = (uint32_t)text.len, .ptr = text.ptr};
    return take_element(walk, &cell);
}

static bool
take_null(struct walk *walk)
{
    const struct cell cell = {.tag = CELL_NULL};
    return take_element(walk, &cell);
}

/* ---- {…} */

static const uint8_t *
skip_blanks(const uint8_t *p, const uint8_t *end)
{
    while (p < end && isspace(*p)) {
        p++;
    }
    return p;
}

/* In quotes; p is behind the opening one. NULL: no closing one. */
static const uint8_t *
quoted_element(struct walk *walk, const uint8_t *p, const uint8_t *end)
{
    ps_buf_clear(walk->scratch);
    while (p < end && *p != '"') {
        p += *p == '\\' && p + 1 < end;
        ps_buf_xappend(walk->scratch, p++, 1);
    }
    return p < end && take_text(walk, ps_buf_span(walk->scratch)) ? p + 1 : NULL;
}

static const uint8_t *
plain_element(struct walk *walk, const uint8_t *p, const uint8_t *end)
{
    bool escaped = false;
    size_t kept = 0; /* up to the last byte that is no blank or was escaped */
    ps_buf_clear(walk->scratch);
    for (; p < end && strchr(",{}\"", *p) == NULL; p++) {
        bool escape = *p == '\\' && p + 1 < end;
        escaped = escaped || escape;
        p += escape;
        ps_buf_xappend(walk->scratch, p, 1);
        kept = escape || !isspace(*p) ? walk->scratch->len : kept;
    }
    struct ps_span text = ps_span(walk->scratch->ptr, kept);
    if (kept == 0 || p >= end || *p == '{' || *p == '"') {
        (void)fail(walk, not_array);
        return NULL;
    }
    bool null = !escaped && kept == 4 && strncasecmp((const char *)text.ptr, "null", 4) == 0;
    return (null ? take_null(walk) : take_text(walk, text)) ? p : NULL;
}

/* ---- […] of JSON */

static const uint8_t *
json_element(struct walk *walk, struct json_scan *scan, const uint8_t *p)
{
    struct ps_span text = {0};
    const uint8_t *begin = p;
    if (*p == '"') {
        bool as_json = walk->element != NULL &&
                       (walk->element->type == PG_JSON || walk->element->type == PG_JSONB);
        ps_buf_clear(walk->scratch);
        p = json_string_rest(scan, p + 1, p + 1, &text);
        text = as_json && p != NULL ? ps_span(begin, (size_t)(p - begin)) : text;
    } else if (*p == '{') {
        struct json_skip skip = {0};
        if (!json_skip_run(&skip, p, scan->end, &p) || skip.broken) {
            return NULL;
        }
        text = ps_span(begin, (size_t)(p - begin));
    } else {
        p = *p == '-' || isdigit(*p) ? json_number(scan, p) : json_word(scan, p);
        text = ps_span(begin, p == NULL ? 0 : (size_t)(p - begin));
    }
    if (p == NULL) {
        return NULL;
    }
    return (*begin == 'n' ? take_null(walk) : take_text(walk, text)) ? p : NULL;
}

/* ---- bounds */

static const uint8_t *
read_bound(const uint8_t *p, const uint8_t *end, int64_t *out)
{
    bool negative = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    const uint8_t *begin = p;
    *out = 0;
    for (; p < end && isdigit(*p) && p - begin < 11; p++) {
        *out = *out * 10 + (*p - '0');
    }
    *out = negative ? -*out : *out;
    return p > begin && *out >= INT32_MIN && *out <= INT32_MAX ? p : NULL;
}

/* "[2:4][0:1]=" at p, whose first bracket is known to be one of these. NULL: it is none. */
static const uint8_t *
read_bounds(const uint8_t *p, const uint8_t *end, struct dimension dims[DIMENSIONS_MAX],
            unsigned *out_count)
{
    *out_count = 0;
    while (p < end && *p == '[') {
        int64_t first = 1;
        int64_t last = 0;
        p = *out_count == DIMENSIONS_MAX ? NULL : read_bound(p + 1, end, &last);
        if (p != NULL && p < end && *p == ':') {
            first = last;
            p = read_bound(p + 1, end, &last);
        }
        if (p == NULL || p >= end || *p != ']' || last < first) {
            return NULL;
        }
        dims[(*out_count)++] = (struct dimension){.length = last - first + 1, .first = first};
        p = skip_blanks(p + 1, end);
    }
    if (p >= end || *p != '=') {
        return NULL;
    }
    p = skip_blanks(p + 1, end);
    return p < end && *p == '{' ? p : NULL;
}

static bool
bounds_fit(struct walk *walk, const struct dimension *dims, unsigned count)
{
    bool fit = count == walk->ndim;
    for (unsigned i = 0; fit && i < count; i++) {
        fit = dims[i].length == walk->dims[i].length;
        walk->dims[i].first = dims[i].first;
    }
    return fit || fail(walk, not_bounds);
}

/* ---- both */

/* Head of the field, once the shape is known. */
static void
put_head(const struct walk *walk, Oid element_oid, struct ps_buf *out)
{
    unsigned ndim = walk->elements == 0 ? 0 : walk->ndim;
    uint32_t head[3 + 2 * DIMENSIONS_MAX] = {htobe32(ndim), htobe32(walk->has_null),
                                             htobe32(element_oid)};
    for (unsigned i = 0; i < ndim; i++) {
        head[3 + 2 * i] = htobe32((uint32_t)walk->dims[i].length);
        head[4 + 2 * i] = htobe32((uint32_t)(int32_t)walk->dims[i].first);
    }
    ps_buf_xappend(out, head, (3 + 2 * (size_t)ndim) * sizeof head[0]);
}

/* text begins with a brace, or a bracket of JSON's. True: all of it was walked. */
static bool
walk_text(struct walk *walk, struct ps_span text, bool json)
{
    struct json_scan scan = json_scan_whole(text, walk->scratch);
    const uint8_t open = json ? '[' : '{';
    const uint8_t close = json ? ']' : '}';
    const uint8_t *p = text.ptr;
    bool item = true;  /* an element or a row may stand here */
    bool empty = true; /* and the row may end instead */
    /* No escape of JSON is shorter than its meaning. */
    ps_buf_xappend(walk->scratch, text.ptr, json ? text.len : 0);
    do {
        p = skip_blanks(p, scan.end);
        if (p >= scan.end) {
            return fail(walk, not_array);
        }
        if (*p == open && item) {
            if (!open_row(walk)) {
                return false;
            }
            p++;
            empty = true;
        } else if (*p == close && (!item || empty)) {
            if (!close_row(walk)) {
                return false;
            }
            p++;
            item = empty = false;
        } else if (*p == ',' && !item) {
            p++;
            item = true;
            empty = false;
        } else if (item && *p != ',' && *p != close && walk->depth > 0) {
            p = json        ? json_element(walk, &scan, p)
                : *p == '"' ? quoted_element(walk, p + 1, scan.end)
                            : plain_element(walk, p, scan.end);
            if (p == NULL) {
                return fail(walk, not_array);
            }
            item = empty = false;
        } else {
            return fail(walk, not_array);
        }
    } while (walk->depth > 0);
    return skip_blanks(p, scan.end) == scan.end || fail(walk, not_array);
}

const char *
dst_postgres_array_put(const struct dst_postgres_column *column, struct ps_span text,
                       struct ps_buf *out)
{
    const uint8_t *end = text.ptr + text.len;
    const uint8_t *begin = skip_blanks(text.ptr, end);
    struct dimension bounds[DIMENSIONS_MAX];
    unsigned bound_count = 0;
    const uint8_t *braces =
        begin < end && *begin == '[' ? read_bounds(begin, end, bounds, &bound_count) : NULL;
    bool json = begin < end && *begin == '[' && braces == NULL;
    if (begin == end || (*begin != '{' && *begin != '[')) {
        return not_array;
    }
    begin = braces == NULL ? begin : braces;
    text = ps_span(begin, (size_t)(end - begin));
    struct ps_buf scratch = PS_BUF_INIT;
    struct walk shape = {.scratch = &scratch, .leaf_depth = -1};
    bool good = walk_text(&shape, text, json) &&
                (braces == NULL || bounds_fit(&shape, bounds, bound_count));
    size_t start = out->len;
    if (good) {
        static const uint32_t later = 0;
        ps_buf_xappend(out, &later, sizeof later);
        put_head(&shape, column->element_oid, out);
        struct walk walk = {
            .element = column->element, .out = out, .scratch = &scratch, .leaf_depth = -1};
        good = walk_text(&walk, text, json);
        shape.why = walk.why;
        uint32_t be = htobe32((uint32_t)(out->len - start - sizeof be));
        memcpy(out->ptr + start, &be, sizeof be);
    }
    ps_buf_fini(&scratch);
    if (!good) {
        out->len = start;
    }
    return good ? NULL : shape.why;
}
