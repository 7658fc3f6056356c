/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_spec.h: a pipeline's document from a file or from load's arguments, checked here so that
 * all errors come at once and with their lines, and with absolute paths, so that daemons need not
 * know where this command ran.
 * Threads: main only. */
#ifndef CLI_CLI_SPEC_H
#define CLI_CLI_SPEC_H

#include <jansson.h>

#include "cli/cli_args.h"
#include "spec/spec.h"

struct cli_spec {
    struct spec *spec;
    json_t *doc; /* what is sent: only what was given */
};

/* All of these print their errors and return an enum cli_exit, CLI_EXIT_OK with *out set. */
int cli_spec_from_file(const struct cli_args *args, const char *path, struct cli_spec *out);
int cli_spec_from_load(const struct cli_args *args, struct cli_spec *out);
void cli_spec_fini(struct cli_spec *spec);

/* --state, or the folder beside the destination's file, or one below XDG_STATE_HOME; the caller's.
 */
char *cli_spec_state(const struct cli_args *args, const struct cli_spec *spec);

/* ---- pure, for tests; all texts are the caller's */
/* One pattern for several paths: "/a/{x.csv,y.csv}". Paths are absolute patterns. */
char *cli_spec_join(const char *const *patterns, size_t count);
/* The pattern that means just this path. */
char *cli_spec_escape(const char *path);
bool cli_spec_is_pattern(const char *text);
/* "Data 2024.csv" → "Data_2024": a valid name for a pipeline or table; NULL where nothing is left.
 */
char *cli_spec_name_of(const char *path);
/* source.url and destination.url with relative paths resolved against base. */
char *cli_spec_absolute_url(const char *url, const char *base);

#endif
