/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dest_names.h: columns as the spec names them: destination.key, destination.update.
 * In: a spec, which may be gone when the names are used.  Out: copies of them.
 * Invariant: names are told apart as the spec does it, upper and lower case alike.
 * Threads: none of its own. */
#ifndef AGENT_DEST_DEST_NAMES_H
#define AGENT_DEST_DEST_NAMES_H

#include "common/buf.h"
#include "spec/spec.h"

struct dest_names {
    char **at;
    size_t count;
};

/* The list at this path of the spec. */
void dest_names_init(struct dest_names *names, const struct spec *spec, const char *path);
void dest_names_fini(struct dest_names *names);
/* A name as the load's column spells it, for a server that tells upper from lower case; a name that
 * is no column's stays as it is. *own_name is freed where another takes its place. */
void dest_names_spell(char **own_name, const struct spec_column *columns, size_t count);
bool dest_names_have(const struct dest_names *names, const char *name);
/* destination.update of a load of these columns: what is none of them is appended to wrong, in the
 * spec's words. The spec itself cannot tell where columns are found from a sample. */
void dest_names_check_update(const struct dest_names *updates, const struct spec_column *columns,
                             size_t count, struct ps_buf *wrong);
/* Whether on_conflict: update sets the column: all but the key, where destination.update is empty.
 */
bool dest_names_updated(const struct dest_names *updates, const struct dest_names *keys,
                        const char *name);

#endif
