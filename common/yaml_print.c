/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/yaml.h"

/* Plain where nobody could read it as anything else; quoted as JSON, which is YAML, otherwise. */
static bool
is_plain(const char *text)
{
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+$%()=;@ ";
    size_t len = strlen(text);
    if (len == 0 || len > 200 || text[strspn(text, safe)] != '\0') {
        return false;
    }
    bool starts = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') ||
                  text[0] == '/' || text[0] == '_';
    bool number =
        text[0] >= '0' && text[0] <= '9'; /* a figure such as 16MiB; 2024 is caught below */
    if ((!starts && !number) || text[len - 1] == ' ') {
        return false;
    }
    json_t *read = ps_yaml_scalar(text, len);
    bool same = json_is_string(read);
    json_decref(read);
    return same;
}

static void
print_text(const char *text, size_t len, struct ps_buf *out)
{
    if (strlen(text) == len && is_plain(text)) {
        ps_buf_xappend(out, text, len);
    } else {
        ps_json_quote(ps_span(text, len), out);
    }
}

static bool
is_block(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) > 0) ||
           (json_is_array(value) && json_array_size(value) > 0);
}

/* A list of scalars stands on one line. */
static bool
is_flow(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (is_block(json_array_get(value, i))) {
            return false;
        }
    }
    return json_is_array(value);
}

static void
print_scalar(const json_t *value, struct ps_buf *out)
{
    if (json_is_string(value)) {
        print_text(json_string_value(value), json_string_length(value), out);
    } else {
        ps_json_print(value, 0, out);
    }
}

static void
print_flow(const json_t *value, struct ps_buf *out)
{
    ps_buf_xappend(out, "[", 1);
    for (size_t i = 0; i < json_array_size(value); i++) {
        ps_buf_xappend(out, ", ", i > 0 ? 2 : 0);
        const json_t *item = json_array_get(value, i);
        if (json_is_string(item)) { /* a comma or bracket would end it */
            ps_json_quote(ps_span(json_string_value(item), json_string_length(item)), out);
        } else {
            print_scalar(item, out);
        }
    }
    ps_buf_xappend(out, "]", 1);
}

static void print_block(const json_t *value, int indent, bool in_item, struct ps_buf *out);

/* What follows "key:" or "-". */
static void
print_after(const json_t *value, int indent, bool in_item, struct ps_buf *out)
{
    if (!is_block(value) || is_flow(value)) {
        ps_buf_xappend(out, " ", 1);
        if (is_flow(value)) {
            print_flow(value, out);
        } else {
            print_scalar(value, out);
        }
        ps_buf_xappend(out, "\n", 1);
        return;
    }
    ps_buf_xappend(out, in_item ? " " : "\n", 1);
    print_block(value, indent + 2, in_item, out);
}

/* in_item: the first line's indentation has been printed by "- ". */
static void
print_block(const json_t *value, int indent, bool in_item, struct ps_buf *out)
{
    bool first = true;
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++, first = false) {
            ps_buf_xprintf(out, "%*s-", first && in_item ? 0 : indent, "");
            print_after(json_array_get(value, i), indent, true, out);
        }
        return;
    }
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        ps_buf_xprintf(out, "%*s", first && in_item ? 0 : indent, "");
        print_text(key, strlen(key), out);
        ps_buf_xappend(out, ":", 1);
        print_after(item, indent, false, out);
        first = false;
    }
}

void
ps_yaml_print(const json_t *value, struct ps_buf *out)
{
    if (is_block(value)) {
        print_block(value, 0, false, out);
    } else {
        print_scalar(value, out);
        ps_buf_xappend(out, "\n", 1);
    }
}
