/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_args.h"

#include <string.h>

#include "cli/cli_command.h"
#include "common/alloc.h"
#include "common/human.h"
#include "common/suggest.h"

static const struct cli_option_info options[] = {
#define OPTION(id, name, letter, value, groups, help) {name, letter, value, groups, help},
#include "cli/commands.def"
};

static const struct cli_command commands[] = {
#define COMMAND(id, name, arguments, least, most, groups, choices, summary, details, examples)     \
    {name, cli_run_##id, arguments, least, most, groups, choices, summary, details, examples},
#include "cli/commands.def"
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

const struct cli_command *
cli_commands(size_t *out_count)
{
    *out_count = COMMAND_COUNT;
    return commands;
}

const struct cli_option_info *
cli_option_info(enum cli_option id)
{
    return &options[id];
}

const struct cli_command *
cli_command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

bool
cli_command_has(const struct cli_command *command, enum cli_option id)
{
    return (command->groups & options[id].groups) != 0;
}

static const struct cli_command *
find_command(const char *word, struct ps_error *err)
{
    const struct cli_command *command = cli_command_find(word);
    if (command != NULL) {
        return command;
    }
    struct ps_suggest suggest;
    ps_suggest_start(&suggest, word);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        ps_suggest_offer(&suggest, commands[i].name);
    }
    const char *near = suggest.best;
    (void)ps_fail(err, PS_REFUSED, "unknown command \"%s\"%s%s%s", word,
                  near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                  near != NULL ? "?" : "");
    return NULL;
}

static enum ps_status
unknown_option(const struct cli_command *command, const char *word, size_t len,
               struct ps_error *err)
{
    char *name = ps_xstrndup(word, len);
    struct ps_suggest suggest;
    ps_suggest_start(&suggest, name);
    const char *elsewhere = NULL;
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        if (cli_command_has(command, (enum cli_option)i)) {
            ps_suggest_offer(&suggest, options[i].name);
        } else if (strcmp(options[i].name, name) == 0) {
            elsewhere = options[i].name;
        }
    }
    const char *near = elsewhere != NULL ? NULL : suggest.best;
    enum ps_status status;
    if (elsewhere != NULL) {
        status = ps_fail(err, PS_REFUSED, "%s has no option --%s", command->name, name);
    } else if (near != NULL) {
        status = ps_fail(err, PS_REFUSED, "%s: unknown option --%s; did you mean --%s?",
                         command->name, name, near);
    } else {
        status = ps_fail(err, PS_REFUSED, "%s: unknown option --%s", command->name, name);
    }
    ps_free(name);
    return status;
}

static void
give(struct cli_args *args, enum cli_option id, const char *value)
{
    args->given[args->given_count++] = (struct cli_given){.id = id, .value = value};
}

/* word is what follows "--"; *at is moved on when the value is the next word. */
static enum ps_status
long_option(struct cli_args *args, const char *word, int argc, char *const *argv, int *at,
            struct ps_error *err)
{
    size_t len = strcspn(word, "=");
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        enum cli_option id = (enum cli_option)i;
        if (strlen(options[i].name) != len || strncmp(options[i].name, word, len) != 0 ||
            !cli_command_has(args->command, id)) {
            continue;
        }
        if (options[i].value == NULL) {
            if (word[len] == '=') {
                return ps_fail(err, PS_REFUSED, "--%s takes no value", options[i].name);
            }
            give(args, id, "");
            return PS_OK;
        }
        if (word[len] == '=') {
            give(args, id, word + len + 1);
            return PS_OK;
        }
        if (*at + 1 >= argc) {
            return ps_fail(err, PS_REFUSED, "--%s needs a value: --%s %s", options[i].name,
                           options[i].name, options[i].value);
        }
        give(args, id, argv[++*at]);
        return PS_OK;
    }
    return unknown_option(args->command, word, len, err);
}

/* letters is what follows "-"; several switches may stand together. */
static enum ps_status
short_options(struct cli_args *args, const char *letters, int argc, char *const *argv, int *at,
              struct ps_error *err)
{
    for (; *letters != '\0'; letters++) {
        int found = -1;
        for (int i = 0; i < CLI_OPTION_COUNT; i++) {
            if (options[i].letter == *letters &&
                cli_command_has(args->command, (enum cli_option)i)) {
                found = i;
            }
        }
        if (found < 0) {
            return ps_fail(err, PS_REFUSED, "%s: unknown option -%c", args->command->name,
                           *letters);
        }
        if (options[found].value == NULL) {
            give(args, (enum cli_option)found, "");
            continue;
        }
        if (letters[1] != '\0') {
            give(args, (enum cli_option)found, letters + 1 + (letters[1] == '='));
        } else if (*at + 1 < argc) {
            give(args, (enum cli_option)found, argv[++*at]);
        } else {
            return ps_fail(err, PS_REFUSED, "-%c needs a value: -%c %s", *letters, *letters,
                           options[found].value);
        }
        return PS_OK;
    }
    return PS_OK;
}

static bool
choice_allows(const char *choices, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = choices; *at != '\0';) {
        size_t step = strcspn(at, "|");
        if (step == len && strncmp(at, word, len) == 0) {
            return true;
        }
        at += step + (at[step] == '|');
    }
    return false;
}

static enum ps_status
check_words(const struct cli_args *args, struct ps_error *err)
{
    const struct cli_command *command = args->command;
    if (cli_args_has(args, CLI_OPT_HELP)) {
        return PS_OK;
    }
    if (command->choices[0] != '\0' && args->word_count > 0 &&
        !choice_allows(command->choices, args->words[0])) {
        return ps_fail(err, PS_REFUSED, "%s: \"%s\" is not one of %s", command->name,
                       args->words[0], command->choices);
    }
    if ((int)args->word_count < command->least) {
        return ps_fail(err, PS_REFUSED, "%s needs %s", command->name, command->arguments);
    }
    if (command->most >= 0 && (int)args->word_count > command->most) {
        return ps_fail(err, PS_REFUSED, "%s: \"%s\" is one argument too many", command->name,
                       args->words[command->most]);
    }
    return PS_OK;
}

enum ps_status
cli_args_parse(int argc, char *const *argv, struct cli_args *args, struct ps_error *err)
{
    *args = (struct cli_args){0};
    args->words = ps_xcalloc((size_t)argc + 1, sizeof *args->words);
    args->given = ps_xcalloc((size_t)argc * 2 + 1, sizeof *args->given);
    if (argc < 2) {
        return PS_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        args->command = cli_command_find("help");
        return PS_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        args->command = cli_command_find("version");
        return PS_OK;
    }
    args->command = find_command(argv[1], err);
    if (args->command == NULL) {
        return PS_REFUSED;
    }
    enum ps_status status = PS_OK;
    bool ended = false;
    for (int at = 2; at < argc && status == PS_OK; at++) {
        const char *word = argv[at];
        if (ended || word[0] != '-' || word[1] == '\0') {
            args->words[args->word_count++] = word;
        } else if (word[1] != '-') {
            /* Short clusters give at most one entry a letter of this word. */
            size_t room = args->given_count + strlen(word) + (size_t)argc;
            args->given = ps_xrealloc(args->given, room * sizeof *args->given);
            status = short_options(args, word + 1, argc, argv, &at, err);
        } else if (word[2] == '\0') {
            ended = true;
        } else {
            status = long_option(args, word + 2, argc, argv, &at, err);
        }
    }
    return status == PS_OK ? check_words(args, err) : status;
}

void
cli_args_fini(struct cli_args *args)
{
    ps_free(args->words);
    ps_free(args->given);
    *args = (struct cli_args){0};
}

bool
cli_args_has(const struct cli_args *args, enum cli_option id)
{
    return cli_args_get(args, id) != NULL;
}

const char *
cli_args_get(const struct cli_args *args, enum cli_option id)
{
    const char *value = NULL;
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].id == id) {
            value = args->given[i].value;
        }
    }
    return value;
}

const char **
cli_args_all(const struct cli_args *args, enum cli_option id, size_t *out_count)
{
    const char **all = ps_xcalloc(args->given_count + 1, sizeof *all);
    *out_count = 0;
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].id == id) {
            all[(*out_count)++] = args->given[i].value;
        }
    }
    return all;
}

bool
cli_args_number(const struct cli_args *args, enum cli_option id, uint64_t *out)
{
    const char *text = cli_args_get(args, id);
    if (text == NULL) {
        return true;
    }
    int64_t value = 0;
    if (!ps_human_parse_int(text, &value) || value < 0) {
        return false;
    }
    *out = (uint64_t)value;
    return true;
}
