/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf_argv.h: the command line of a leaf process, from the agent's configuration.
 * Threads: pure. */
#ifndef AGENT_LEAF_ARGV_H
#define AGENT_LEAF_ARGV_H

#include "common/config.h"

struct leaf_argv_input {
    const struct config *config;
    const char *agent_name;
    const char *state_dir; /* absolute, as is base_dir */
    const char *base_dir;
};

/* NULL-terminated; "%LEAF%" stands where the number goes. */
char **leaf_argv_new(const struct leaf_argv_input *input);
void leaf_argv_free(char **argv); /* NULL is fine */

#endif
