/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/pathglob.h: which paths a pattern means.
 * In: an absolute pattern: * ? [a-z] [!a-z] {a,b} ** and \ before a character that is meant itself.
 * Out: answers, one path component at a time, so that a walk enters only folders that can matter.
 * A component that is just ** stands for any number of folders, none included, without following
 * links to folders. Names that begin with a dot are matched only by a pattern that does so too.
 * Braces may hold slashes; braces without a comma are plain characters. "." and ".." in the pattern
 * are resolved in the text, ".." never across a wildcard.
 * Threads: immutable once made. */
#ifndef AGENT_SOURCE_PATHGLOB_H
#define AGENT_SOURCE_PATHGLOB_H

#include "common/error.h"

enum { PATHGLOB_MAX_PATTERNS = 16384, PATHGLOB_MAX_COMPONENTS = 128 };

struct pathglob; /* all patterns that the braces expand to */

/* PS_REFUSED with code "bad_pattern". */
PS_MUSTCHECK enum ps_status pathglob_new(const char *text, struct pathglob **out,
                                         struct ps_error *err);
void pathglob_free(struct pathglob *glob); /* NULL is fine */

size_t pathglob_count(const struct pathglob *glob);
/* True when pattern i has no wildcard: it names one path. */
bool pathglob_is_literal(const struct pathglob *glob, size_t i);
/* The folders before pattern i's first wildcard, or the whole path of a literal. */
const char *pathglob_base(const struct pathglob *glob, size_t i);

/* Where in the patterns a folder stands: sorted, without repeats. */
struct pathglob_at {
    uint32_t *items;
    size_t count;
    size_t cap;
};
void pathglob_at_fini(struct pathglob_at *at);

/* At the root folder. */
void pathglob_start(const struct pathglob *glob, struct pathglob_at *out);
/* True when a file of this name is meant. */
bool pathglob_file(const struct pathglob *glob, const struct pathglob_at *at, const char *name);
/* Enters a folder; out holds nothing when no path below it is meant. is_link: the folder is a
 * symbolic link, which ** does not follow. */
void pathglob_enter(const struct pathglob *glob, const struct pathglob_at *at, const char *name,
                    bool is_link, struct pathglob_at *out);
/* True when pathglob_enter would give anything. */
bool pathglob_enters(const struct pathglob *glob, const struct pathglob_at *at, const char *name,
                     bool is_link);
/* True when only plain names are possible here: then no folder needs to be read. The i-th of them
 * comes from pathglob_literal (NULL after the last), *out_is_file when it ends its pattern. */
bool pathglob_only_literals(const struct pathglob *glob, const struct pathglob_at *at);
const char *pathglob_literal(const struct pathglob *glob, const struct pathglob_at *at, size_t i,
                             bool *out_is_file);

/* One component against one name; for tests. */
bool pathglob_match(const char *pattern, const char *name);

#endif
