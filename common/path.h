/* SPDX-License-Identifier: Apache-2.0 */
/* common/path.h: files and folders of our own: state folders, sockets, locks.
 * Invariant: folders are made 0700 and files 0600; a file written here is whole under its name or
 *            not there at all, and both it and its folder are on disk when the call returns.
 * Threads: all calls are safe from any thread. Paths returned are the caller's (ps_free). */
#ifndef COMMON_PATH_H
#define COMMON_PATH_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"

/* "a" + "b" = "a/b"; an absolute second part wins; an empty first part is left out. */
char *ps_path_join(const char *folder, const char *name);
char *ps_path_dirname(const char *path);        /* "." where there is no slash; "/" of "/x" */
const char *ps_path_basename(const char *path); /* borrowed: what follows the last slash */
/* base is where relative paths start (NULL = the working folder). "." and ".." and doubled slashes
 * are resolved by their text; links are not followed. */
char *ps_path_absolute(const char *base, const char *path);

/* Makes path and whatever is missing above it. What exists keeps its mode. */
PS_MUSTCHECK enum ps_status ps_path_mkdirs(const char *path, struct ps_error *err);
/* Removes a folder and all below it without following links; a missing one is fine. */
PS_MUSTCHECK enum ps_status ps_path_remove_tree(const char *path, struct ps_error *err);
bool ps_path_exists(const char *path);

/* A whole file. PS_REFUSED where it is longer than max_bytes or missing (code "missing"). */
PS_MUSTCHECK enum ps_status ps_path_read(const char *path, size_t max_bytes, struct ps_buf *out,
                                         struct ps_error *err);
/* Temporary file beside it, fsync, rename over it, fsync of the folder. */
PS_MUSTCHECK enum ps_status ps_path_write(const char *path, struct ps_span bytes,
                                          struct ps_error *err);
PS_MUSTCHECK enum ps_status ps_path_fsync_folder(const char *path, struct ps_error *err);

/* The folder that holds this program (of /proc/self/exe). */
PS_MUSTCHECK enum ps_status ps_path_exe_folder(char **out, struct ps_error *err);

/* A fresh private folder for sockets, below XDG_RUNTIME_DIR or else /tmp; its name is short, since
 * a socket's path may have 107 bytes only. The caller removes it (ps_path_remove_tree). */
PS_MUSTCHECK enum ps_status ps_path_runtime_folder(char **out, struct ps_error *err);

/* Takes an exclusive lock on a file (made if missing) for as long as *out_fd is open; it is closed
 * on exec. PS_REFUSED, code "locked": another process has it. */
PS_MUSTCHECK enum ps_status ps_path_lock(const char *path, int *out_fd, struct ps_error *err);

#endif
