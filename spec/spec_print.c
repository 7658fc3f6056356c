/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/alloc.h"
#include "spec/spec_impl.h"

/* Puts value below the sections that path names. */
static void
put(json_t *document, const char *path, json_t *own_value)
{
    json_t *at = document;
    char *copy = ps_xstrdup(path);
    char *name = copy;
    for (char *dot = strchr(name, '.'); dot != NULL; dot = strchr(name, '.')) {
        *dot = '\0';
        json_t *inner = json_object_get(at, name);
        if (!json_is_object(inner)) {
            json_t *list = json_incref(inner); /* NULL, or the columns */
            inner = json_object();
            if (list != NULL) {
                json_object_set_new(inner, SPEC_COLUMNS_LIST, list);
            }
            json_object_set_new(at, name, inner);
        }
        at = inner;
        name = dot + 1;
    }
    json_object_set_new(at, name, own_value);
    ps_free(copy);
}

json_t *
spec_document(const struct spec *spec, bool with_defaults)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    json_t *document = json_object();
    for (size_t i = 0; i < count; i++) {
        const struct spec_value *value = &spec->values[i];
        if (!value->given && (!with_defaults || !value->present || !value->applies)) {
            continue;
        }
        put(document, keys[i].path,
            keys[i].type == SPEC_COLUMNS ? spec_columns_json(spec)
                                         : spec_value_json(&keys[i], value));
    }
    return document;
}

void
spec_print_yaml(const struct spec *spec, bool with_defaults, struct ps_buf *out)
{
    json_t *document = spec_document(spec, with_defaults);
    ps_yaml_print(document, out);
    json_decref(document);
}

static const char *
type_text(const struct spec_key *key)
{
    switch (key->type) {
    case SPEC_STRING:
        return "text";
    case SPEC_BOOL:
        return "true, false";
    case SPEC_INT:
        return "whole number";
    case SPEC_BYTES:
        return "size: `64KiB`, `16MiB`, `5MB`";
    case SPEC_DURATION:
        return "time: `250ms`, `2s`, `1h`";
    case SPEC_ENUM:
        return key->choices;
    case SPEC_STRING_LIST:
        return "list of texts";
    case SPEC_TOLERANCE:
        return "count or share";
    case SPEC_COLUMNS:
        return "list of columns";
    }
    return "";
}

/* "a|b" as "`a`, `b`"; a bar would end the table's cell. */
static void
print_choices(const char *choices, struct ps_buf *out)
{
    for (const char *at = choices; *at != '\0';) {
        size_t len = strcspn(at, "|");
        ps_buf_xprintf(out, "%s`%.*s`", at == choices ? "" : ", ", (int)len, at);
        at += len + (at[len] == '|');
    }
}

static void
print_row(const struct spec_key *key, struct ps_buf *out)
{
    ps_buf_xprintf(out, "| `%s` | ", key->path);
    if (key->type == SPEC_ENUM) {
        print_choices(key->choices, out);
    } else {
        ps_buf_xprintf(out, "%s", type_text(key));
    }
    if (key->required) {
        ps_buf_xprintf(out, " | required");
    } else if (key->default_text == NULL) {
        ps_buf_xprintf(out, " | ");
    } else {
        ps_buf_xprintf(out, " | `%s`", key->default_text);
    }
    ps_buf_xprintf(out, " | %s | %s | %s |\n", key->raises_generation ? "yes" : "", key->applies,
                   key->help);
}

static const char reference_head[] =
    "# Reference: a pipeline's document\n"
    "\n"
    "Generated from `spec/spec_keys.def`; a test keeps it current.\n"
    "\n"
    "The document is YAML (1.2 core schema) or JSON. All its errors are told at once, each with "
    "its\n"
    "path, its line, what was expected and the nearest known name. `--set path=value` changes any "
    "key\n"
    "of it; `--print-spec` shows it with every default.\n"
    "\n"
    "*new generation*: a change of this key gives data that was loaded a second life, so all of it "
    "is\n"
    "loaded again, under the pipeline's next generation. *for*: the key is accepted only with "
    "this\n"
    "driver or format.\n"
    "\n"
    "| key | value | default | new generation | for | what |\n"
    "|---|---|---|---|---|---|\n";

static const char reference_columns[] =
    "\n"
    "## A column\n"
    "\n"
    "An item of `columns` is a name, or a section with these keys:\n"
    "\n"
    "| key | what |\n"
    "|---|---|\n"
    "| `name` | the column's name in the table; required; upper and lower case are the same |\n"
    "| `from` | the source's field; by default the one called like the column |\n"
    "| `value` | instead of a field: `$object`, `$offset`, `$line`, `$batch` or a constant |\n"
    "| `type` | `text`, `bigint` or `double`; without it found from a sample |\n"
    "| `default` | the value where the source has no such field |\n"
    "| `on_mismatch` | a value that does not fit the type: `reject` the record (default), load it "
    "as "
    "`text`, or as `null` |\n"
    "\n"
    "## Secrets\n"
    "\n"
    "A password in a URL is refused. Write `${env:NAME}` or `${file:/path}` in its place: the "
    "agent\n"
    "that needs it resolves it, and neither the catalog nor a log ever holds it.\n";

void
spec_reference_markdown(struct ps_buf *out)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    ps_buf_xprintf(out, "%s", reference_head);
    for (size_t i = 0; i < count; i++) {
        print_row(&keys[i], out);
    }
    ps_buf_xprintf(out, "%s", reference_columns);
}
