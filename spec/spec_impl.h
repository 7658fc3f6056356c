/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec_impl.h: what the files of this room share; nobody else includes it.
 * Flow: document → spec_check (keys, values, defaults) → spec_rules (keys against each other). */
#ifndef SPEC_SPEC_IMPL_H
#define SPEC_SPEC_IMPL_H

#include "common/yaml.h"
#include "spec/spec.h"

enum { SPEC_MAX_ERRORS = 100 };

struct spec_value {
    bool given;
    bool present; /* given, or there is a default */
    bool applies;
    char *text;     /* STRING, ENUM; others: the figure as a person would write it */
    bool on;        /* BOOL */
    int64_t number; /* INT; DURATION in ms */
    uint64_t bytes;
    char **items; /* STRING_LIST */
    size_t item_count;
    struct spec_tolerance tolerance;
};

struct spec {
    _Atomic unsigned refs;
    struct spec_value *values; /* one a key, in the table's order */
    struct spec_column *columns;
    size_t column_count;
    char *canonical;
};

/* What is being checked, and the errors so far. */
struct spec_checking {
    struct spec *spec;
    const struct ps_yaml *yaml; /* for lines; NULL = none */
    const char *const *overrides;
    size_t override_count;
    struct spec_errors *errors;
    const char *columns_at; /* where the columns' list is: "columns", or "columns.list" */
};

/* The list's key where `columns` is a section. */
#define SPEC_COLUMNS_LIST "list"

/* Adds an error; the line is the path's own. */
void spec_error_add(struct spec_checking *checking, const char *path, const char *fmt, ...)
    PS_PRINTF(3, 4);
void spec_errors_sort(struct spec_errors *errors);

struct spec_value *spec_value_of(const struct spec *spec,
                                 const char *path); /* asserts it is a key */
size_t spec_key_index(const struct spec_key *key);

/* One value by the key's type; adds an error and returns false where it is wrong. */
bool spec_value_read(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
                     struct spec_value *out);
/* The value as JSON, in the one form that stands for it; the caller's. */
json_t *spec_value_json(const struct spec_key *key, const struct spec_value *value);
void spec_value_fini(struct spec_value *value);
/* A scalar's text: "5" of 5, "true" of true; NULL for others. The caller's. */
char *spec_scalar_text(const json_t *json);

void spec_columns_read(struct spec_checking *checking, const json_t *json);
json_t *spec_columns_json(const struct spec *spec);
void spec_columns_fini(struct spec *spec);

/* The whole document; errors are in checking->errors. */
void spec_check(struct spec_checking *checking, const json_t *document);
void spec_rules(struct spec_checking *checking);
bool spec_scheme_known(const char *section, const char *scheme);

/* Changes *document by one "path=value"; an error is added where the text is wrong. */
void spec_override(struct spec_checking *checking, json_t *document, const char *text);

/* All values given (or all present) in the table's order; the caller's. */
json_t *spec_document(const struct spec *spec, bool with_defaults);

#endif
