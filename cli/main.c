/* SPDX-License-Identifier: Apache-2.0 */
/* penstock: what a person types. Each command of commands.def is one function; this file only finds
 * it. Data goes to standard output, messages to standard error. */
#include <signal.h>
#include <stdio.h>

#include "cli/cli_args.h"
#include "cli/cli_exit.h"
#include "cli/cli_help.h"
#include "cli/cli_out.h"

int
main(int argc, char **argv)
{
    struct cli_args args;
    struct ps_error err = {0};
    int code = CLI_EXIT_USAGE;
    /* A closed pipe is an error of write(2), to be judged where it happens. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (cli_args_parse(argc, argv, &args, &err) != PS_OK) {
        cli_complain("%s", err.text);
        cli_say("see penstock help%s%s", args.command != NULL ? " " : "",
                args.command != NULL ? args.command->name : "");
    } else if (args.command == NULL) {
        struct ps_buf text = PS_BUF_INIT;
        cli_help_overview(&text);
        fwrite(text.ptr, 1, text.len, stderr);
        ps_buf_fini(&text);
    } else if (cli_args_has(&args, CLI_OPT_HELP)) {
        struct ps_buf text = PS_BUF_INIT;
        cli_help_command(args.command, &text);
        code = cli_out_write(&text) ? CLI_EXIT_OK : CLI_EXIT_FAILED;
        ps_buf_fini(&text);
    } else {
        code = args.command->run(&args);
    }
    cli_args_fini(&args);
    return code;
}
