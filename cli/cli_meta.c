/* SPDX-License-Identifier: Apache-2.0 */
/* help, version, completion: what the program says about itself. */
#include <string.h>

#include "cli/cli_command.h"
#include "cli/cli_exit.h"
#include "cli/cli_help.h"
#include "cli/cli_out.h"

static int
print(struct ps_buf *text)
{
    bool ok = cli_out_write(text);
    ps_buf_fini(text);
    return ok ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

int
cli_run_help(const struct cli_args *args)
{
    struct ps_buf text = PS_BUF_INIT;
    const char *as = cli_args_get(args, CLI_OPT_AS);
    if (as != NULL && strcmp(as, "man") == 0) {
        cli_help_man(&text);
    } else if (as != NULL && strcmp(as, "markdown") == 0) {
        cli_help_markdown(&text);
    } else if (as != NULL && strcmp(as, "text") != 0) {
        cli_complain("--as %s: expected text, man or markdown", as);
        return CLI_EXIT_USAGE;
    } else if (args->word_count == 0) {
        cli_help_overview(&text);
    } else {
        const struct cli_command *command = cli_command_find(args->words[0]);
        if (command == NULL) {
            cli_complain("there is no command %s", args->words[0]);
            return CLI_EXIT_USAGE;
        }
        cli_help_command(command, &text);
    }
    return print(&text);
}

int
cli_run_version(const struct cli_args *args)
{
    (void)args;
    struct ps_buf text = PS_BUF_INIT;
    ps_buf_xprintf(&text, "penstock %s\n", PENSTOCK_VERSION);
    return print(&text);
}

int
cli_run_completion(const struct cli_args *args)
{
    struct ps_buf text = PS_BUF_INIT;
    cli_help_completion(args->words[0], &text);
    return print(&text);
}
