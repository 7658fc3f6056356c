/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/assert.h"
#include "spec/spec_impl.h"

#define YES true
#define NO false
static const struct spec_key keys[] = {
#define SPEC_KEY(path, type, choices, default_text, required, raises, applies, least, most, help)  \
    {path, SPEC_##type, choices, default_text, required, raises, applies, help, least, most},
#include "spec/spec_keys.def"
#undef SPEC_KEY
};
#undef YES
#undef NO
enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

struct scheme_row {
    const char *section;
    const char *scheme;
};
static const struct scheme_row schemes[] = {
#define SPEC_SCHEME(section, scheme, example) {section, scheme},
#include "spec/spec_schemes.def"
#undef SPEC_SCHEME
};

const struct spec_key *
spec_keys(size_t *out_count)
{
    *out_count = KEY_COUNT;
    return keys;
}

const struct spec_key *
spec_key_find(const char *path)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].path, path) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

size_t
spec_key_index(const struct spec_key *key)
{
    return (size_t)(key - keys);
}

struct spec_value *
spec_value_of(const struct spec *spec, const char *path)
{
    const struct spec_key *key = spec_key_find(path);
    PS_ASSERT(key != NULL);
    return &spec->values[spec_key_index(key)];
}

bool
spec_scheme_known(const char *section, const char *scheme)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strcmp(schemes[i].section, section) == 0 && strcmp(schemes[i].scheme, scheme) == 0) {
            return true;
        }
    }
    return false;
}

const char *
spec_scheme_next(const char *section, size_t *cursor)
{
    for (; *cursor < sizeof schemes / sizeof schemes[0]; (*cursor)++) {
        if (strcmp(schemes[*cursor].section, section) == 0) {
            return schemes[(*cursor)++].scheme;
        }
    }
    return NULL;
}

const char *
spec_scheme(const char *url, char out[32])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "0123456789+-.";
    size_t len = strcspn(url, ":");
    if (url[len] != ':' || len == 0 || len > 31 || strchr(letters, url[0]) == NULL) {
        return "file";
    }
    for (size_t i = 0; i < len; i++) {
        if (strchr(letters, url[i]) == NULL && strchr(others, url[i]) == NULL) {
            return "file";
        }
        out[i] = url[i] >= 'A' && url[i] <= 'Z' ? (char)(url[i] - 'A' + 'a') : url[i];
    }
    out[len] = '\0';
    return out;
}

static const char *const type_names[] = {
    [COL_TEXT] = "text",
    [COL_BIGINT] = "bigint",
    [COL_DOUBLE] = "double",
};

const char *
column_type_name(enum column_type type)
{
    return type_names[type];
}

bool
column_type_parse(const char *name, enum column_type *out)
{
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++) {
        if (strcmp(type_names[i], name) == 0) {
            *out = (enum column_type)i;
            return true;
        }
    }
    return false;
}
