/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec.h: a pipeline's document, checked and with defaults (design §7).
 * In: YAML or JSON from a person, or the canonical JSON that the catalog keeps.  Out: typed values
 *     by path, and all errors at once.
 * Invariant: a struct spec is valid: every value has been checked against spec_keys.def, every key
 *            that applies has a value (its own or the default). Pure: no files, environment or
 *            clock; ${env:…} and ${file:…} stay text here.
 * Threads: immutable after parsing; safe to read from any thread. */
#ifndef SPEC_SPEC_H
#define SPEC_SPEC_H

#include <jansson.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

struct spec; /* opaque */

enum spec_type {
    SPEC_STRING,
    SPEC_BOOL,
    SPEC_INT,
    SPEC_BYTES,
    SPEC_DURATION,
    SPEC_ENUM,
    SPEC_STRING_LIST,
    SPEC_TOLERANCE,
    SPEC_COLUMNS
};

/* One row of spec_keys.def. */
struct spec_key {
    const char *path; /* "source.discover.interval" */
    enum spec_type type;
    const char *choices;      /* SPEC_ENUM: "once|continuous" */
    const char *default_text; /* as a person would write it; NULL = none */
    bool required;
    bool raises_generation; /* a change gives data a second life */
    const char *applies;    /* "" = always; "source:file" "format:csv" "destination:sqlite" … */
    const char *help;
    int64_t least; /* INT, BYTES and DURATION (ms): bounds, used when most > least */
    int64_t most;
};
const struct spec_key *spec_keys(size_t *out_count);
/* NULL when there is none. */
const struct spec_key *spec_key_find(const char *path);

enum column_type { COL_TEXT, COL_BIGINT, COL_DOUBLE };
const char *column_type_name(enum column_type type); /* "text" "bigint" "double" */
PS_MUSTCHECK bool column_type_parse(const char *name, enum column_type *out);

enum column_mismatch { MISMATCH_REJECT, MISMATCH_TEXT, MISMATCH_NULL };
enum column_value {
    VALUE_FIELD,
    VALUE_OBJECT,
    VALUE_OFFSET,
    VALUE_LINE,
    VALUE_BATCH,
    VALUE_CONSTANT
};

struct spec_column {
    const char *name;
    const char *from; /* source field; NULL for the other kinds of value */
    enum column_value value;
    const char *constant; /* VALUE_CONSTANT */
    enum column_type type;
    bool type_given;          /* false: still to be inferred */
    const char *default_text; /* for a missing field; NULL = none */
    bool or_null;             /* a missing field is NULL: a column that was added later */
    enum column_mismatch on_mismatch;
};

struct spec_error {
    char *path;    /* "source.discover.interval" */
    char *text;    /* what was expected, and the nearest known name */
    unsigned line; /* in the YAML; 0 = unknown */
};
struct spec_errors {
    struct spec_error *items;
    size_t count;
};
void spec_errors_fini(struct spec_errors *errors);

/* Text is YAML (JSON is YAML). overrides: "path=value" texts of --set, applied before checking.
 * PS_BADDATA: errors holds all of them, sorted by line. */
PS_MUSTCHECK enum ps_status spec_parse(struct ps_span text, const char *const *overrides,
                                       size_t override_count, struct spec **out,
                                       struct spec_errors *errors, struct ps_error *err);
/* The same from a JSON document (API bodies, the catalog); doc is borrowed. */
PS_MUSTCHECK enum ps_status spec_from_json(const json_t *doc, struct spec **out,
                                           struct spec_errors *errors, struct ps_error *err);
/* From the canonical JSON text that spec_canonical wrote. */
PS_MUSTCHECK enum ps_status spec_from_canonical(struct ps_span text, struct spec **out,
                                                struct ps_error *err);
struct spec *spec_ref(struct spec *spec);
void spec_unref(struct spec *spec); /* NULL is fine */

/* Compact JSON with sorted keys, only what the person gave: equal specs give equal texts. */
const char *spec_canonical(const struct spec *spec);
/* The whole document as YAML; with_defaults adds every default (for --print-spec). */
void spec_print_yaml(const struct spec *spec, bool with_defaults, struct ps_buf *out);

const char *spec_name(const struct spec *spec);
/* Values by path. The path must be a key of the table (PS_ASSERT); one that does not apply, or has
 * neither value nor default, reads as NULL, false, 0 or an empty list. Borrowed from the spec. */
const char *spec_str(const struct spec *spec,
                     const char *path); /* STRING, ENUM; NULL = not given */
bool spec_bool(const struct spec *spec, const char *path);
int64_t spec_int(const struct spec *spec, const char *path);
uint64_t spec_bytes(const struct spec *spec, const char *path);
int64_t spec_duration_ms(const struct spec *spec, const char *path);
size_t spec_list(const struct spec *spec, const char *path, const char *const **out);
bool spec_is(const struct spec *spec, const char *path, const char *choice); /* ENUM */
bool spec_given(const struct spec *spec, const char *path);

/* errors.tolerance: a count, or a share of decoded records. */
struct spec_tolerance {
    bool is_share;
    uint64_t count;
    double share; /* 0..1 */
};
struct spec_tolerance spec_tolerance(const struct spec *spec);
/* True when so many rejects of so many decoded records are too many. */
bool spec_over_tolerance(struct spec_tolerance tolerance, uint64_t rejected, uint64_t decoded);

/* The columns section as given (may be empty). */
size_t spec_columns(const struct spec *spec, const struct spec_column **out);

/* True when going from a to b changes a key that raises the generation; *out_path (borrowed) names
 * the first such key. */
bool spec_raises_generation(const struct spec *a, const struct spec *b, const char **out_path);

/* "s3" of "s3://…" or "S3:…"; a text without scheme is "file". Returns a static or out. */
const char *spec_scheme(const char *url, char out[32]);
/* The schemes that "source" or "destination" accepts, one a call; *cursor starts at 0; NULL ends.
 */
const char *spec_scheme_next(const char *section, size_t *cursor);

/* docs/reference/spec.md, from the table of keys. */
void spec_reference_markdown(struct ps_buf *out);

#endif
