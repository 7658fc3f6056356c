/* SPDX-License-Identifier: Apache-2.0 */
#include "spec/spec.h"

#include <stdatomic.h>

#include "common/alloc.h"
#include "common/json.h"
#include "common/suggest.h"
#include "spec/spec_impl.h"

static struct spec *
spec_new(void)
{
    size_t count = 0;
    spec_keys(&count);
    struct spec *spec = ps_xcalloc(1, sizeof *spec);
    atomic_init(&spec->refs, 1);
    spec->values = ps_xcalloc(count, sizeof *spec->values);
    return spec;
}

struct spec *
spec_ref(struct spec *spec)
{
    atomic_fetch_add_explicit(&spec->refs, 1, memory_order_relaxed);
    return spec;
}

void
spec_unref(struct spec *spec)
{
    if (spec == NULL || atomic_fetch_sub_explicit(&spec->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    size_t count = 0;
    spec_keys(&count);
    for (size_t i = 0; i < count; i++) {
        spec_value_fini(&spec->values[i]);
    }
    ps_free(spec->values);
    spec_columns_fini(spec);
    ps_free(spec->canonical);
    ps_free(spec);
}

/* Checks a document; on errors the spec is gone and *err names the first of them. */
static enum ps_status
finish(struct spec_checking *checking, const json_t *document, struct spec **out,
       struct ps_error *err)
{
    struct spec_errors *errors = checking->errors;
    checking->spec = spec_new();
    spec_check(checking, document);
    if (json_is_object(document)) {
        spec_rules(checking);
    }
    if (errors->count > 0) {
        spec_errors_sort(errors);
        spec_unref(checking->spec);
        const struct spec_error *first = &errors->items[0];
        return ps_fail_code(err, PS_BADDATA, "bad_spec", "%s: %s%s", first->path, first->text,
                            errors->count > 1 ? " (and more)" : "");
    }
    json_t *given = spec_document(checking->spec, false);
    checking->spec->canonical = ps_json_canonical(given);
    json_decref(given);
    *out = checking->spec;
    return PS_OK;
}

/* The one error of a text that is no document at all. */
static enum ps_status
fail_syntax(struct spec_errors *errors, unsigned line, struct ps_error *err)
{
    errors->items = ps_xcalloc(1, sizeof *errors->items);
    errors->count = 1;
    errors->items[0] =
        (struct spec_error){.path = ps_xstrdup(""), .text = ps_xstrdup(err->text), .line = line};
    return ps_fail_code(err, PS_BADDATA, "bad_spec", "%s", errors->items[0].text);
}

enum ps_status
spec_parse(struct ps_span text, const char *const *overrides, size_t override_count,
           struct spec **out, struct spec_errors *errors, struct ps_error *err)
{
    struct ps_error why;
    struct ps_yaml *yaml = NULL;
    unsigned line = 0;
    json_t *document = NULL;
    *errors = (struct spec_errors){0};
    err = err == NULL ? &why : err;
    enum ps_status status = ps_yaml_load(text, &yaml, &line, err);
    if (status == PS_OK) {
        document = json_deep_copy(ps_yaml_root(yaml));
    } else if (ps_json_load(text, PS_YAML_MAX_BYTES, &document, NULL) != PS_OK) {
        /* (JSON that libyaml does not read, such as escaped surrogates, is fine.) */
        return fail_syntax(errors, line, err);
    }
    struct spec_checking checking = {
        .yaml = yaml, .overrides = overrides, .override_count = override_count, .errors = errors};
    if (json_is_null(document) && override_count > 0) {
        json_decref(document);
        document = json_object();
    }
    for (size_t i = 0; i < override_count && json_is_object(document); i++) {
        spec_override(&checking, document, overrides[i]);
    }
    status = finish(&checking, document, out, err);
    json_decref(document);
    ps_yaml_free(yaml);
    return status;
}

enum ps_status
spec_from_json(const json_t *doc, struct spec **out, struct spec_errors *errors,
               struct ps_error *err)
{
    *errors = (struct spec_errors){0};
    struct spec_checking checking = {.errors = errors};
    return finish(&checking, doc, out, err);
}

enum ps_status
spec_from_canonical(struct ps_span text, struct spec **out, struct ps_error *err)
{
    json_t *document = NULL;
    struct spec_errors errors = {0};
    enum ps_status status = ps_json_load(text, PS_JSON_MAX_BYTES, &document, err);
    if (status == PS_OK) {
        status = spec_from_json(document, out, &errors, err);
    }
    spec_errors_fini(&errors);
    json_decref(document);
    return status;
}

const char *
spec_canonical(const struct spec *spec)
{
    return spec->canonical;
}

const char *
spec_name(const struct spec *spec)
{
    return spec_str(spec, "name");
}

static const struct spec_value *
get(const struct spec *spec, const char *path)
{
    static const struct spec_value absent;
    const struct spec_value *value = spec_value_of(spec, path);
    return value->present && value->applies ? value : &absent;
}

const char *
spec_str(const struct spec *spec, const char *path)
{
    return get(spec, path)->text;
}

bool
spec_bool(const struct spec *spec, const char *path)
{
    return get(spec, path)->on;
}

int64_t
spec_int(const struct spec *spec, const char *path)
{
    return get(spec, path)->number;
}

uint64_t
spec_bytes(const struct spec *spec, const char *path)
{
    return get(spec, path)->bytes;
}

int64_t
spec_duration_ms(const struct spec *spec, const char *path)
{
    return get(spec, path)->number;
}

size_t
spec_list(const struct spec *spec, const char *path, const char *const **out)
{
    const struct spec_value *value = get(spec, path);
    *out = (const char *const *)value->items;
    return value->item_count;
}

bool
spec_is(const struct spec *spec, const char *path, const char *choice)
{
    const char *text = spec_str(spec, path);
    return text != NULL && strcmp(text, choice) == 0;
}

bool
spec_given(const struct spec *spec, const char *path)
{
    return spec_value_of(spec, path)->given;
}

struct spec_tolerance
spec_tolerance(const struct spec *spec)
{
    return get(spec, "errors.tolerance")->tolerance;
}

bool
spec_over_tolerance(struct spec_tolerance tolerance, uint64_t rejected, uint64_t decoded)
{
    if (!tolerance.is_share) {
        return rejected > tolerance.count;
    }
    return rejected > 0 && (double)rejected > tolerance.share * (double)decoded;
}

size_t
spec_columns(const struct spec *spec, const struct spec_column **out)
{
    *out = spec->columns;
    return spec->column_count;
}

static bool
same_value(const struct spec *a, const struct spec *b, const struct spec_key *key)
{
    const struct spec_value *x = get(a, key->path);
    const struct spec_value *y = get(b, key->path);
    bool columns = key->type == SPEC_COLUMNS;
    if (!columns && x->present != y->present) {
        return false;
    }
    json_t *left = columns ? spec_columns_json(a) : x->present ? spec_value_json(key, x) : NULL;
    json_t *right = columns ? spec_columns_json(b) : y->present ? spec_value_json(key, y) : NULL;
    bool same = left == NULL || json_equal(left, right) == 1;
    json_decref(left);
    json_decref(right);
    return same;
}

bool
spec_raises_generation(const struct spec *a, const struct spec *b, const char **out_path)
{
    size_t count = 0;
    const struct spec_key *keys = spec_keys(&count);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].raises_generation && !same_value(a, b, &keys[i])) {
            *out_path = keys[i].path;
            return true;
        }
    }
    return false;
}
