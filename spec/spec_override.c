/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec_override.c: --set path=value. */
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/suggest.h"
#include "spec/spec_impl.h"

/* "[a, b]" as YAML; else texts between commas. */
static json_t *
list_value(const char *text)
{
    struct ps_yaml *yaml = NULL;
    if (text[0] == '[') {
        json_t *list = NULL;
        if (ps_yaml_load(ps_span_str(text), &yaml, NULL, NULL) == PS_OK) {
            list = json_incref(ps_yaml_root(yaml));
        }
        ps_yaml_free(yaml);
        return list == NULL ? json_string(text) : list;
    }
    json_t *list = json_array();
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        json_array_append_new(list, json_stringn(at, len));
        at += len;
        if (*at == '\0') {
            return list;
        }
    }
}

static json_t *
value_of(const struct spec_key *key, const char *text)
{
    return key->type == SPEC_STRING_LIST || key->type == SPEC_COLUMNS ? list_value(text)
                                                                      : json_string(text);
}

static void
unknown_path(struct spec_checking *checking, const char *path)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    struct ps_suggest suggest;
    ps_suggest_start(&suggest, path);
    for (size_t i = 0; i < count; i++) {
        ps_suggest_offer(&suggest, keys[i].path);
        const char *last = strrchr(keys[i].path, '.');
        if (suggest.best == NULL && last != NULL && strcmp(last + 1, path) == 0) {
            suggest.best = keys[i].path;
        }
    }
    char quoted[100];
    spec_error_add(checking, log_quote(ps_span_str(path), quoted, sizeof quoted),
                   "--set: unknown key%s%s%s", suggest.best == NULL ? "" : "; did you mean ",
                   suggest.best == NULL ? "" : suggest.best, suggest.best == NULL ? "" : "?");
}

void
spec_override(struct spec_checking *checking, json_t *document, const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL) {
        char quoted[100];
        spec_error_add(checking, log_quote(ps_span_str(text), quoted, sizeof quoted),
                       "--set: expected path=value");
        return;
    }
    char *path = ps_xstrndup(text, (size_t)(equals - text));
    const struct spec_key *key = spec_key_find(path);
    if (key == NULL) {
        unknown_path(checking, path);
        ps_free(path);
        return;
    }
    json_t *at = document;
    char *name = path;
    for (char *dot = strchr(name, '.'); dot != NULL; dot = strchr(name, '.')) {
        *dot = '\0';
        json_t *inner = json_object_get(at, name);
        if (!json_is_object(inner)) { /* a section of the wrong kind is replaced by the right one */
            json_t *list = json_is_array(inner) ? json_incref(inner) : NULL;
            inner = json_object();
            if (list != NULL) { /* columns as a list */
                json_object_set_new(inner, SPEC_COLUMNS_LIST, list);
            }
            json_object_set_new(at, name, inner);
        }
        at = inner;
        name = dot + 1;
    }
    bool as_section = key->type == SPEC_COLUMNS && json_is_object(json_object_get(at, name));
    if (json_object_set_new(as_section ? json_object_get(at, name) : at,
                            as_section ? SPEC_COLUMNS_LIST : name,
                            value_of(key, equals + 1)) != 0) {
        spec_error_add(checking, key->path, "--set: the value is not UTF-8");
    }
    ps_free(path);
}
