/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/json_samples.h"

#include <stdio.h>

static const char COLUMNS[] =
    "columns=[a, {name: c, from: b.c}, {name: d, from: \"b.d[1]\"}, {name: ds, from: b.d}, "
    "{name: xy, from: \"[\\\"x.y\\\"]\"}, {name: e, from: \"b.d[2].e\"}]";

struct spec *
json_sample_spec(const char *options)
{
    static const char text[] = "name: s\nsource: {url: 'file:x'}\ndestination: {url: 'null:'}\n";
    char sets[8][128];
    const char *overrides[9] = {COLUMNS};
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
    if (spec_parse(ps_span_str(text), overrides, count + 1, &spec, &errors, &err) != PS_OK) {
        fprintf(stderr, "%s: %s\n", options, err.text);
    }
    spec_errors_fini(&errors);
    return spec;
}
