/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_help.h"

#include <stdio.h>
#include <string.h>

static const char *const exit_texts[][2] = {
    {"0", "done"},
    {"1", "failed"},
    {"2", "wrong usage"},
    {"3", "finished, with rejected records"},
    {"4", "not authorised"},
    {"5", "wrong spec"},
    {"6", "the source failed"},
    {"7", "the destination failed"},
    {"8", "timed out"},
    {"9", "stalled: something is quarantined and needs a person"},
    {"10", "interrupted; the same command goes on from there"},
    {"130", "killed by a second Ctrl-C"},
};
enum { EXIT_COUNT = sizeof exit_texts / sizeof exit_texts[0] };

static const char *const environment[][2] = {
    {"PENSTOCK_API", "the coordinator's address, where --coordinator is not given"},
    {"XDG_STATE_HOME", "where the state of local loads lives that have no destination file"},
    {"NO_COLOR", "when set, no colours"},
};
enum { ENVIRONMENT_COUNT = sizeof environment / sizeof environment[0] };

void
cli_help_overview(struct ps_buf *out)
{
    size_t count = 0;
    const struct cli_command *commands = cli_commands(&count);
    ps_buf_xprintf(out,
                   "penstock: loads files into tables, in parallel, each record exactly once\n\n"
                   "usage: penstock COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    }
    ps_buf_xprintf(out, "\nStart with:\n"
                        "  penstock load 'data/*.csv.gz' --into sqlite:air.db --table flights\n\n"
                        "`penstock help COMMAND` explains one command.\n");
}

/* "  -o, --output FORM" */
static void
option_head(const struct cli_option_info *option, char *out, size_t bytes)
{
    char letter[8] = "    ";
    if (option->letter != 0) {
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    snprintf(out, bytes, "  %s--%s%s%s", letter, option->name, option->value != NULL ? " " : "",
             option->value != NULL ? option->value : "");
}

/* Text from column indent on, broken at spaces before column 96. */
static void
wrapped(struct ps_buf *out, const char *text, size_t indent)
{
    size_t column = indent;
    for (const char *at = text; *at != '\0';) {
        size_t word = strcspn(at, " ");
        if (column > indent && column + 1 + word > 96) {
            ps_buf_xprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (at != text) {
            ps_buf_xappend(out, " ", 1);
            column++;
        }
        ps_buf_xappend(out, at, word);
        column += word;
        at += word + (at[word] == ' ');
    }
    ps_buf_xappend(out, "\n", 1);
}

/* Calls visit for each line "command # what" of the examples. */
static void
each_example(const char *examples, struct ps_buf *out,
             void (*visit)(struct ps_buf *out, const char *line, size_t command, const char *note,
                           size_t note_len))
{
    for (const char *at = examples; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        size_t command = len;
        for (size_t i = 0; i + 3 <= len; i++) {
            if (memcmp(at + i, " # ", 3) == 0) {
                command = i;
            }
        }
        size_t note = command + 3 < len ? command + 3 : len;
        visit(out, at, command, at + note, len - note);
        at += len + (at[len] == '\n');
    }
}

static void
text_example(struct ps_buf *out, const char *line, size_t command, const char *note,
             size_t note_len)
{
    ps_buf_xprintf(out, "  # %.*s\n  %.*s\n", (int)note_len, note, (int)command, line);
}

static void
usage_line(const struct cli_command *command, struct ps_buf *out)
{
    ps_buf_xprintf(out, "penstock %s%s%s [OPTIONS]", command->name,
                   command->arguments[0] != '\0' ? " " : "", command->arguments);
}

void
cli_help_command(const struct cli_command *command, struct ps_buf *out)
{
    ps_buf_xprintf(out, "penstock %s: %s\n\nusage: ", command->name, command->summary);
    usage_line(command, out);
    ps_buf_xprintf(out, "\n");
    if (command->details[0] != '\0') {
        ps_buf_xprintf(out, "\n%s\n", command->details);
    }
    ps_buf_xprintf(out, "\noptions:\n");
    enum { HELP_COLUMN = 28 };
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        if (!cli_command_has(command, (enum cli_option)i)) {
            continue;
        }
        char head[80];
        option_head(cli_option_info((enum cli_option)i), head, sizeof head);
        size_t len = strlen(head);
        ps_buf_xprintf(out, "%s", head);
        if (len + 2 > HELP_COLUMN) {
            ps_buf_xprintf(out, "\n%*s", HELP_COLUMN, "");
        } else {
            ps_buf_xprintf(out, "%*s", (int)(HELP_COLUMN - len), "");
        }
        wrapped(out, cli_option_info((enum cli_option)i)->help, HELP_COLUMN);
    }
    if (command->examples[0] != '\0') {
        ps_buf_xprintf(out, "\nexamples:\n");
        each_example(command->examples, out, text_example);
    }
}

static void
markdown_example(struct ps_buf *out, const char *line, size_t command, const char *note,
                 size_t note_len)
{
    ps_buf_xprintf(out, "# %.*s\n%.*s\n", (int)note_len, note, (int)command, line);
}

/* Table cells: a bar would end the cell. */
static void
markdown_cell(struct ps_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        ps_buf_xprintf(out, "%s%c", *text == '|' ? "\\" : "", *text);
    }
}

static void
markdown_command(const struct cli_command *command, struct ps_buf *out)
{
    ps_buf_xprintf(out, "\n## penstock %s\n\n%s.\n\n```\n", command->name, command->summary);
    usage_line(command, out);
    ps_buf_xprintf(out, "\n```\n");
    if (command->details[0] != '\0') {
        ps_buf_xprintf(out, "\n%s\n", command->details);
    }
    ps_buf_xprintf(out, "\n| option | what it does |\n|---|---|\n");
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        const struct cli_option_info *option = cli_option_info((enum cli_option)i);
        if (!cli_command_has(command, (enum cli_option)i)) {
            continue;
        }
        ps_buf_xprintf(out, "| `");
        if (option->letter != 0) {
            ps_buf_xprintf(out, "-%c`, `", option->letter);
        }
        ps_buf_xprintf(out, "--%s", option->name);
        if (option->value != NULL) {
            ps_buf_xprintf(out, " ");
            markdown_cell(out, option->value);
        }
        ps_buf_xprintf(out, "` | ");
        markdown_cell(out, option->help);
        ps_buf_xprintf(out, " |\n");
    }
    if (command->examples[0] != '\0') {
        ps_buf_xprintf(out, "\n```sh\n");
        each_example(command->examples, out, markdown_example);
        ps_buf_xprintf(out, "```\n");
    }
}

void
cli_help_markdown(struct ps_buf *out)
{
    size_t count = 0;
    const struct cli_command *commands = cli_commands(&count);
    ps_buf_xprintf(out, "<!-- Made from cli/commands.def by `penstock help --as markdown`; a test "
                        "keeps it current. -->\n# The `penstock` command\n\n"
                        "Data goes to standard output, messages and progress to standard error.\n"
                        "\n| command | what it does |\n|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(out, "| [`%s`](#penstock-%s) | %s |\n", commands[i].name, commands[i].name,
                       commands[i].summary);
    }
    ps_buf_xprintf(out, "\n## Exit status\n\n| status | meaning |\n|---|---|\n");
    for (size_t i = 0; i < EXIT_COUNT; i++) {
        ps_buf_xprintf(out, "| %s | %s |\n", exit_texts[i][0], exit_texts[i][1]);
    }
    ps_buf_xprintf(out, "\n## Environment\n\n| variable | meaning |\n|---|---|\n");
    for (size_t i = 0; i < ENVIRONMENT_COUNT; i++) {
        ps_buf_xprintf(out, "| `%s` | %s |\n", environment[i][0], environment[i][1]);
    }
    for (size_t i = 0; i < count; i++) {
        markdown_command(&commands[i], out);
    }
}

/* Backslashes and hyphens mean something to roff, and so does a dot at the start of a line. */
static void
man_text(struct ps_buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\') {
            ps_buf_xprintf(out, "\\e");
        } else if (text[i] == '-') {
            ps_buf_xprintf(out, "\\-");
        } else if ((text[i] == '.' || text[i] == '\'') && (i == 0 || text[i - 1] == '\n')) {
            ps_buf_xprintf(out, "\\&%c", text[i]);
        } else {
            ps_buf_xappend(out, text + i, 1);
        }
    }
}

static void
man_str(struct ps_buf *out, const char *text)
{
    man_text(out, text, strlen(text));
}

static void
man_example(struct ps_buf *out, const char *line, size_t command, const char *note, size_t note_len)
{
    man_text(out, note, note_len);
    ps_buf_xprintf(out, ":\n.PP\n.RS 4\n.nf\n");
    man_text(out, line, command);
    ps_buf_xprintf(out, "\n.fi\n.RE\n.PP\n");
}

static void
man_command(const struct cli_command *command, struct ps_buf *out)
{
    ps_buf_xprintf(out, ".SS \"penstock %s", command->name);
    if (command->arguments[0] != '\0') {
        ps_buf_xprintf(out, " ");
        man_str(out, command->arguments);
    }
    ps_buf_xprintf(out, "\"\n");
    man_str(out, command->summary);
    ps_buf_xprintf(out, ".\n.PP\n");
    if (command->details[0] != '\0') {
        man_str(out, command->details);
        ps_buf_xprintf(out, "\n");
    }
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        const struct cli_option_info *option = cli_option_info((enum cli_option)i);
        if (!cli_command_has(command, (enum cli_option)i)) {
            continue;
        }
        ps_buf_xprintf(out, ".TP\n");
        if (option->letter != 0) {
            ps_buf_xprintf(out, "\\fB\\-%c\\fR, ", option->letter);
        }
        ps_buf_xprintf(out, "\\fB\\-\\-");
        man_str(out, option->name);
        ps_buf_xprintf(out, "\\fR");
        if (option->value != NULL) {
            ps_buf_xprintf(out, " \\fI");
            man_str(out, option->value);
            ps_buf_xprintf(out, "\\fR");
        }
        ps_buf_xprintf(out, "\n");
        man_str(out, option->help);
        ps_buf_xprintf(out, "\n");
    }
    ps_buf_xprintf(out, ".PP\n");
    each_example(command->examples, out, man_example);
}

void
cli_help_man(struct ps_buf *out)
{
    size_t count = 0;
    const struct cli_command *commands = cli_commands(&count);
    ps_buf_xprintf(out,
                   ".TH PENSTOCK 1 \"\" \"penstock %s\" \"User Commands\"\n.SH NAME\n"
                   "penstock \\- loads files into tables, in parallel, each record exactly once\n"
                   ".SH SYNOPSIS\n.B penstock\n.I COMMAND\n[ARGUMENTS] [OPTIONS]\n.SH COMMANDS\n",
                   PENSTOCK_VERSION);
    for (size_t i = 0; i < count; i++) {
        man_command(&commands[i], out);
    }
    ps_buf_xprintf(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < EXIT_COUNT; i++) {
        ps_buf_xprintf(out, ".TP\n.B %s\n%s\n", exit_texts[i][0], exit_texts[i][1]);
    }
    ps_buf_xprintf(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < ENVIRONMENT_COUNT; i++) {
        ps_buf_xprintf(out, ".TP\n.B %s\n", environment[i][0]);
        man_str(out, environment[i][1]);
        ps_buf_xprintf(out, "\n");
    }
}
