/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_help.h: everything that is said about the command line, made from commands.def. Pure. */
#ifndef CLI_CLI_HELP_H
#define CLI_CLI_HELP_H

#include "cli/cli_args.h"
#include "common/buf.h"

void cli_help_overview(struct ps_buf *out);
void cli_help_command(const struct cli_command *command, struct ps_buf *out);
/* The reference page docs/reference/cli.md. */
void cli_help_markdown(struct ps_buf *out);
/* penstock(1) in man macros. */
void cli_help_man(struct ps_buf *out);
/* shell: "bash" or "zsh". */
void cli_help_completion(const char *shell, struct ps_buf *out);

#endif
