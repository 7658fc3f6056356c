/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "cli/cli_help.h"
#include "tests/support/reference.h"

Test(cli_reference, page_is_current)
{
    struct ps_buf made = PS_BUF_INIT;
    cli_help_markdown(&made);
    reference_is("docs/reference/cli.md", ps_buf_span(&made), "cli/commands.def says");
    ps_buf_fini(&made);
}

Test(cli_reference, every_command_and_option_is_explained)
{
    size_t count = 0;
    const struct cli_command *commands = cli_commands(&count);
    struct ps_buf man = PS_BUF_INIT, bash = PS_BUF_INIT, zsh = PS_BUF_INIT;
    cli_help_man(&man);
    cli_help_completion("bash", &bash);
    cli_help_completion("zsh", &zsh);
    for (size_t i = 0; i < count; i++) {
        struct ps_buf help = PS_BUF_INIT;
        cli_help_command(&commands[i], &help);
        cr_expect(commands[i].summary[0] != '\0');
        cr_expect(commands[i].examples[0] != '\0');
        cr_expect(strstr(ps_buf_str(&bash), commands[i].name) != NULL);
        cr_expect(strstr(ps_buf_str(&zsh), commands[i].name) != NULL);
        for (const char *at = ps_buf_str(&help); *at != '\0';) {
            size_t len = strcspn(at, "\n");
            /* Two bytes more for each character that is no ASCII. */
            cr_expect_leq(len, 120, "%s: %.*s", commands[i].name, (int)len, at);
            at += len + (at[len] == '\n');
        }
        ps_buf_fini(&help);
    }
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        const struct cli_option_info *option = cli_option_info((enum cli_option)i);
        cr_expect(option->help[0] != '\0', "%s", option->name);
        cr_expect(strstr(ps_buf_str(&bash), option->name) != NULL, "%s", option->name);
    }
    ps_buf_fini(&man);
    ps_buf_fini(&bash);
    ps_buf_fini(&zsh);
}
