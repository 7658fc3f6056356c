/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec_path.h: the way to a value inside a JSON document: columns[].from and format.items.
 * In: a text such as `user.address.city`, `tags[0]`, `["a.b"].c`.  Out: its steps.
 * Syntax: names are parted by dots; `[n]` is an array's item, from 0; `["…"]` is any name, with \"
 *         and \\ for the two characters that need it. A name without brackets has at least one
 *         byte and none of . [ ] ".
 * Invariant: spell and parse are each other's opposite.  Threads: pure. */
#ifndef SPEC_SPEC_PATH_H
#define SPEC_SPEC_PATH_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

enum { SPEC_PATH_STEPS = 32 };

struct spec_path_step {
    bool is_index;
    uint32_t index;
    struct ps_span name;
};

struct spec_path {
    struct spec_path_step steps[SPEC_PATH_STEPS];
    uint32_t count;
    char *names; /* what the steps' names point into */
};

/* PS_REFUSED, code "bad_path": the text says what was expected where. */
PS_MUSTCHECK enum ps_status spec_path_parse(const char *text, struct spec_path *out,
                                            struct ps_error *err);
void spec_path_fini(struct spec_path *path);
/* Appends the path of one name. */
void spec_path_spell(struct ps_span name, struct ps_buf *out);

#endif
