/* SPDX-License-Identifier: Apache-2.0 */
/* Completion scripts. Options whose values are files complete file names; resources that need a
 * coordinator are not looked up: a Tab must answer at once. */
#include <string.h>

#include "cli/cli_help.h"

static bool
takes_path(enum cli_option id)
{
    return id == CLI_OPT_STATE || id == CLI_OPT_FILE;
}

static const char *
value_words(enum cli_option id)
{
    if (id == CLI_OPT_OUTPUT) {
        return "table wide json yaml";
    }
    if (id == CLI_OPT_PROGRESS) {
        return "auto plain none";
    }
    if (id == CLI_OPT_ON_CONFLICT) {
        return "error skip replace update";
    }
    if (id == CLI_OPT_LOG_LEVEL) {
        return "debug info warn error";
    }
    if (id == CLI_OPT_AS) {
        return "text man markdown";
    }
    return "";
}

/* "a|b|c" as words. */
static void
choices(struct ps_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        ps_buf_xappend(out, *text == '|' ? " " : text, 1);
    }
}

static void
bash_values(struct ps_buf *out)
{
    ps_buf_xprintf(out, "    case \"$prev\" in\n");
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        enum cli_option id = (enum cli_option)i;
        const struct cli_option_info *option = cli_option_info(id);
        if (option->value == NULL) {
            continue;
        }
        ps_buf_xprintf(out, "    --%s", option->name);
        if (option->letter != 0) {
            ps_buf_xprintf(out, " | -%c", option->letter);
        }
        if (takes_path(id)) {
            ps_buf_xprintf(out, ") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
        } else {
            ps_buf_xprintf(out, ") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n",
                           value_words(id));
        }
    }
    ps_buf_xprintf(out, "    esac\n");
}

static void
bash(struct ps_buf *out)
{
    size_t count = 0;
    const struct cli_command *commands = cli_commands(&count);
    ps_buf_xprintf(out, "# bash completion of penstock\n_penstock() {\n"
                        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                        "    local options= words=\n"
                        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                        "        COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(out, "%s%s", i > 0 ? " " : "", commands[i].name);
    }
    ps_buf_xprintf(out, "\" -- \"$cur\"))\n        return\n    fi\n");
    bash_values(out);
    ps_buf_xprintf(out, "    case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(out, "    %s)\n        options=\"", commands[i].name);
        const char *gap = "";
        for (int o = 0; o < CLI_OPTION_COUNT; o++) {
            if (cli_command_has(&commands[i], (enum cli_option)o)) {
                ps_buf_xprintf(out, "%s--%s", gap, cli_option_info((enum cli_option)o)->name);
                gap = " ";
            }
        }
        ps_buf_xprintf(out, "\"\n        words=\"");
        choices(out, commands[i].choices);
        if (strcmp(commands[i].name, "help") == 0) {
            for (size_t c = 0; c < count; c++) {
                ps_buf_xprintf(out, "%s%s", c > 0 ? " " : "", commands[c].name);
            }
        }
        ps_buf_xprintf(out, "\"\n        ;;\n");
    }
    ps_buf_xprintf(out, "    esac\n"
                        "    if [[ $cur == -* ]]; then\n"
                        "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                        "    elif [ -n \"$words\" ] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
                        "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                        "    else\n"
                        "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                        "    fi\n}\ncomplete -o filenames -F _penstock penstock\n");
}

/* Inside single quotes and brackets of _arguments. */
static void
zsh_text(struct ps_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            ps_buf_xprintf(out, "'\\''");
        } else if (strchr("[]:\\", *text) != NULL) {
            ps_buf_xprintf(out, "\\%c", *text);
        } else {
            ps_buf_xappend(out, text, 1);
        }
    }
}

static void
zsh_option(struct ps_buf *out, enum cli_option id)
{
    const struct cli_option_info *option = cli_option_info(id);
    ps_buf_xprintf(out, " \\\n            '*--%s%s[", option->name,
                   option->value != NULL ? "=" : "");
    zsh_text(out, option->help);
    ps_buf_xprintf(out, "]");
    if (option->value != NULL) {
        ps_buf_xprintf(out, ":");
        zsh_text(out, option->value);
        ps_buf_xprintf(out, takes_path(id) ? ":_files" : ":(%s)", value_words(id));
    }
    ps_buf_xprintf(out, "'");
}

static void
zsh(struct ps_buf *out)
{
    size_t count = 0;
    const struct cli_command *commands = cli_commands(&count);
    ps_buf_xprintf(out, "#compdef penstock\n_penstock() {\n    local -a commands=(\n");
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(out, "        '%s:", commands[i].name);
        zsh_text(out, commands[i].summary);
        ps_buf_xprintf(out, "'\n");
    }
    ps_buf_xprintf(out, "    )\n    if (( CURRENT == 2 )); then\n"
                        "        _describe command commands\n        return\n    fi\n"
                        "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                        "    case $command in\n");
    for (size_t i = 0; i < count; i++) {
        ps_buf_xprintf(out, "    %s)\n        _arguments", commands[i].name);
        for (int o = 0; o < CLI_OPTION_COUNT; o++) {
            if (cli_command_has(&commands[i], (enum cli_option)o)) {
                zsh_option(out, (enum cli_option)o);
            }
        }
        if (commands[i].choices[0] != '\0') {
            ps_buf_xprintf(out, " \\\n            '1:argument:(");
            choices(out, commands[i].choices);
            ps_buf_xprintf(out, ")'");
        }
        if (strcmp(commands[i].name, "help") == 0) {
            ps_buf_xprintf(out, " \\\n            '1:command:(");
            for (size_t c = 0; c < count; c++) {
                ps_buf_xprintf(out, "%s%s", c > 0 ? " " : "", commands[c].name);
            }
            ps_buf_xprintf(out, ")'");
        }
        ps_buf_xprintf(out, " \\\n            '*:file:_files'\n        ;;\n");
    }
    ps_buf_xprintf(out, "    esac\n}\nif [ \"$funcstack[1]\" = _penstock ]; then _penstock \"$@\"; "
                        "else compdef _penstock penstock; fi\n");
}

void
cli_help_completion(const char *shell, struct ps_buf *out)
{
    if (strcmp(shell, "zsh") == 0) {
        zsh(out);
    } else {
        bash(out);
    }
}
