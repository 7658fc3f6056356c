/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_command.h: one function a command of commands.def. Each returns an enum cli_exit. */
#ifndef CLI_CLI_COMMAND_H
#define CLI_CLI_COMMAND_H

#include "cli/cli_args.h"

#define COMMAND(id, name, arguments, least, most, groups, choices, summary, details, examples)     \
    int cli_run_##id(const struct cli_args *args);
#include "cli/commands.def"

#endif
