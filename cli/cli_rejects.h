/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_rejects.h: what the parts of the command rejects share.
 * Threads: main only. */
#ifndef CLI_CLI_REJECTS_H
#define CLI_CLI_REJECTS_H

#include "cli/cli_connect.h"
#include "common/buf.h"

/* The query that asks for what the options name; CLI_EXIT_USAGE where they cannot be read. words:
 * numbers given as arguments. */
int cli_rejects_query(const struct cli_args *args, struct ps_buf *out);
int cli_rejects_replay(const struct cli_args *args, struct cli_connection *connection,
                       const char *name);

#endif
