/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/beneath.h: opens paths that must lie below the agent's configured roots.
 * In: the roots, absolute paths.  Out: descriptors.
 * Invariant: with roots, whatever is opened lies below one of them at the moment of opening, links
 *            and renames notwithstanding: openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS), and on
 *            kernels or sandboxes without it a walk that follows no symbolic link at all.
 * Threads: immutable once made. */
#ifndef AGENT_SOURCE_BENEATH_H
#define AGENT_SOURCE_BENEATH_H

#include "common/error.h"

struct beneath;

/* No roots: every path may be opened, links are followed. A root that does not exist (yet) is no
 * error: what should lie below it is missing. */
PS_MUSTCHECK enum ps_status beneath_new(const char *const *roots, size_t root_count,
                                        struct beneath **out, struct ps_error *err);
void beneath_free(struct beneath *beneath); /* NULL is fine */

/* True when the text of the path lies in a root; says nothing about links. */
bool beneath_covers(const struct beneath *beneath, const char *path);
bool beneath_has_roots(const struct beneath *beneath);

/* A descriptor (close-on-exec), or -1 with errno. EXDEV: the path leads out of every root. */
int beneath_open(const struct beneath *beneath, const char *path, int flags);

/* For tests: as on a kernel without openat2. */
void beneath_forget_openat2(struct beneath *beneath);

#endif
