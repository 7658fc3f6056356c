/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_lines.h: the JSON lines of a replay (docs/REJECTS.md), as `penstock rejects
 * export` writes them and people edit them.
 * In: bytes from outside.  Out: which rejects, and what is to stand in their place.
 * Invariant: every number is there once; an error names the line and what was expected.
 * Threads: pure; one owner at a time. */
#ifndef AGENT_LEAF_LEAF_LINES_H
#define AGENT_LEAF_LEAF_LINES_H

#include "common/ids.h"
#include "common/json.h"

enum { LEAF_LINES_MOST = 10000 };

struct leaf_line {
    uint64_t n;
    unsigned line; /* 1-based in the request */
    bool has_batch, has_offset;
    struct batch_id batch; /* where the reject stood when it was exported */
    uint64_t offset;
    bool has_raw;
    bool discards; /* it is settled without being loaded */
    struct ps_buf raw;
    json_t *fields; /* an object; NULL: none */
};

struct leaf_lines {
    json_t *spec;            /* of a first line {"spec": …}; NULL: none */
    struct leaf_line *items; /* by rising n */
    size_t count;
};

PS_MUSTCHECK enum ps_status leaf_lines_parse(struct ps_span text, struct leaf_lines *out,
                                             struct ps_error *err);
/* NULL: not there. */
const struct leaf_line *leaf_lines_find(const struct leaf_lines *lines, uint64_t n);
void leaf_lines_fini(struct leaf_lines *lines);

#endif
