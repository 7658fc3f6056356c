/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/file_walk.h: the files that a pattern means, in bytewise order of their paths.
 * In: a pattern and where to go on.  Out: one regular file a call.
 * Invariant: memory does not grow with the number of files: at most FILE_WALK_NAMES names a folder
 *            are held, the smallest that are still to come; a larger folder is read again for the
 *            next ones. A file that is there during the whole walk is found exactly once.
 * Threads: one owner at a time. */
#ifndef AGENT_SOURCE_FILE_WALK_H
#define AGENT_SOURCE_FILE_WALK_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "agent/source/beneath.h"
#include "agent/source/pathglob.h"
#include "common/span.h"

enum { FILE_WALK_NAMES = 32 * 1024 };

struct file_walk;

struct file_walk_env {
    const struct pathglob *glob; /* all three borrowed for the walk's life */
    const struct beneath *beneath;
    const _Atomic bool *cancel; /* may be NULL */
    size_t max_names;           /* 0 = FILE_WALK_NAMES; tests make it small */
};

struct file_walk_file {
    const char *path; /* borrowed until the next call */
    struct stat stat;
};

/* Only paths that sort after `after`. */
PS_MUSTCHECK enum ps_status file_walk_new(const struct file_walk_env *env, struct ps_span after,
                                          struct file_walk **out, struct ps_error *err);
/* *out_end is true when there are no more; then *out is not set. A folder that cannot be read is an
 * error ("not_visible"): rows that are silently missing would be worse. One that vanished is not.
 */
PS_MUSTCHECK enum ps_status file_walk_next(struct file_walk *walk, struct file_walk_file *out,
                                           bool *out_end, struct ps_error *err);
/* Things of a meant name that were neither files nor folders, or links that lead nowhere. */
uint64_t file_walk_skipped(const struct file_walk *walk);
void file_walk_free(struct file_walk *walk); /* NULL is fine */

#endif
