/* SPDX-License-Identifier: Apache-2.0 */
#include "common/json.h"

#include "common/alloc.h"
#include "common/utf8.h"

/* Depth before parsing: jansson's own ceiling is far above what we accept. */
static unsigned
text_depth(struct ps_span text)
{
    unsigned depth = 0;
    unsigned deepest = 0;
    bool string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (string && c == '\\') {
            i++;
        } else if (c == '"') {
            string = !string;
        } else if (!string && (c == '[' || c == '{')) {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if (!string && (c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

enum ps_status
ps_json_load(struct ps_span text, size_t max_bytes, json_t **out, struct ps_error *err)
{
    if (text.len > max_bytes) {
        return ps_fail(err, PS_BADDATA, "JSON of %zu bytes; at most %zu are accepted", text.len,
                       max_bytes);
    }
    if (text_depth(text) > PS_JSON_MAX_DEPTH) {
        return ps_fail(err, PS_BADDATA, "JSON nested deeper than %d levels", PS_JSON_MAX_DEPTH);
    }
    json_error_t why;
    const char *bytes = text.len == 0 ? "" : (const char *)text.ptr;
    json_t *value = json_loadb(bytes, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (value == NULL) {
        return ps_fail(err, PS_BADDATA, "JSON line %d, column %d: %s", why.line, why.column,
                       why.text);
    }
    *out = value;
    return PS_OK;
}

unsigned
ps_json_depth(const json_t *value)
{
    unsigned inner = 0;
    if (json_is_object(value)) {
        void *root = (void *)(uintptr_t)value; /* jansson's iterators take no const */
        for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
            unsigned depth = ps_json_depth(json_object_iter_value(at));
            inner = depth > inner ? depth : inner;
        }
        return inner + 1;
    }
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            unsigned depth = ps_json_depth(json_array_get(value, i));
            inner = depth > inner ? depth : inner;
        }
        return inner + 1;
    }
    return 0;
}

static int
append(const char *bytes, size_t len, void *ctx)
{
    ps_buf_xappend(ctx, bytes, len);
    return 0;
}

void
ps_json_print(const json_t *value, unsigned indent, struct ps_buf *out)
{
    size_t style = indent > 0 ? JSON_INDENT(indent) : JSON_COMPACT;
    json_dump_callback(value, append, out,
                       style | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

char *
ps_json_canonical(const json_t *value)
{
    struct ps_buf out = PS_BUF_INIT;
    ps_json_print(value, 0, &out);
    char *text = ps_xstrndup(ps_buf_str(&out), out.len);
    ps_buf_fini(&out);
    return text;
}

void
ps_json_quote(struct ps_span text, struct ps_buf *out)
{
    ps_buf_xappend(out, "\"", 1);
    for (size_t at = 0; at < text.len;) {
        uint8_t c = text.ptr[at];
        size_t len = ps_utf8_len(ps_span(text.ptr + at, text.len - at));
        if (len == 0) {
            ps_buf_xappend(out, "\xef\xbf\xbd", 3);
            len = 1;
        } else if (c < 0x20 || c == 0x7f) {
            ps_buf_xprintf(out, "\\u%04x", c);
        } else {
            ps_buf_xappend(out, "\\", c == '"' || c == '\\' ? 1 : 0);
            ps_buf_xappend(out, text.ptr + at, len);
        }
        at += len;
    }
    ps_buf_xappend(out, "\"", 1);
}
