/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/json_samples.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/decode/infer.h"

static const char COLUMNS[] =
    "columns=[a, {name: c, from: b.c}, {name: d, from: \"b.d[1]\"}, {name: ds, from: b.d}, "
    "{name: xy, from: \"[\\\"x.y\\\"]\"}, {name: e, from: \"b.d[2].e\"}]";

static struct spec *
spec_make(const char *options, const char *columns)
{
    static const char text[] = "name: s\nsource: {url: 'file:x'}\ndestination: {url: 'null:'}\n";
    char sets[8][128];
    const char *overrides[9] = {columns};
    size_t count = 0;
    for (const char *at = options; *at != '\0' && count < 8; count++) {
        size_t len = strcspn(at, " ");
        const char *section = strncmp(at, "max_", 4) == 0 ? "limits."
                              : count == 0                ? "format.type="
                                                          : "format.";
        snprintf(sets[count], sizeof sets[count], "%s%.*s", section, (int)len, at);
        overrides[count + 1] = sets[count];
        at += len + (at[len] == ' ');
    }
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    if (spec_parse(ps_span_str(text), columns == NULL ? overrides + 1 : overrides,
                   columns == NULL ? count : count + 1, &spec, &errors, &err) != PS_OK) {
        fprintf(stderr, "%s: %s\n", options, err.text);
    }
    spec_errors_fini(&errors);
    return spec;
}

struct spec *
json_sample_spec(const char *options)
{
    return spec_make(options, COLUMNS);
}

void
json_sample_infer(const char *options, struct ps_span bytes, bool whole)
{
    struct spec *spec = spec_make(options, NULL);
    struct infer *infer = NULL;
    struct ps_error err = {0};
    const struct spec_column *columns = NULL;
    const char *note = NULL;
    size_t count = 0;
    uint8_t *copy = malloc(bytes.len + 1); /* its end is the memory's, but for one byte */
    memcpy(copy + 1, bytes.ptr, bytes.len);
    if (infer_new(spec, &infer, &err) == PS_OK &&
        infer_add(infer, "a", ps_span(copy + 1, bytes.len), whole, &err) == PS_OK &&
        infer_add(infer, "b", ps_span(copy + 1, bytes.len), !whole, &err) == PS_OK &&
        infer_end(infer, &columns, &count, &note, &err) == PS_OK && count == 0) {
        abort();
    }
    free(copy);
    infer_free(infer);
    spec_unref(spec);
}
