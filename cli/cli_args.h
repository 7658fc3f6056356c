/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_args.h: the command line, read against commands.def.
 * In: argv.  Out: which command, its positional arguments and its options, or one clear message.
 * GNU style: --name value, --name=value, -nvalue, options and arguments in any order, -- ends
 * options. Invariant: an accepted struct cli_args names only options that its command has. Threads:
 * main only. */
#ifndef CLI_CLI_ARGS_H
#define CLI_CLI_ARGS_H

#include "common/error.h"

/* Which options a command has: groups of options, one bit each. */
enum cli_group {
    CLI_G_ALL = 1 << 0,     /* every command */
    CLI_G_CLUSTER = 1 << 1, /* talks to a coordinator */
    CLI_G_STATE = 1 << 2,   /* can start one on a state folder */
    CLI_G_LOCAL = 1 << 3,   /* runs pipelines on this host */
    CLI_G_LOAD = 1 << 4,    /* makes a spec out of arguments */
    CLI_G_FOLLOW = 1 << 5,  /* shows progress */
    CLI_G_OUTPUT = 1 << 6,  /* prints resources */
    CLI_G_LIST = 1 << 7,    /* prints many of them */
    CLI_G_FILE = 1 << 8,    /* reads a spec file with -f */
    CLI_G_WAIT = 1 << 9,
    CLI_G_HELP = 1 << 10,
    CLI_G_REJECTS = 1 << 11,
    CLI_G_SET = 1 << 12,
    CLI_G_RECONCILE = 1 << 13,
};

enum cli_option {
#define OPTION(id, name, letter, value, groups, help) CLI_OPT_##id,
#include "cli/commands.def"
    CLI_OPTION_COUNT
};

struct cli_args;
typedef int (*cli_run_fn)(const struct cli_args *args);

struct cli_option_info {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* what its value is called; NULL: a switch */
    unsigned groups;
    const char *help;
};
struct cli_command {
    const char *name;
    cli_run_fn run;
    const char *arguments; /* as the usage line shows them */
    int least, most;       /* positional arguments; most -1: any number */
    unsigned groups;
    const char *choices; /* of the first argument, separated by |; "" = free */
    const char *summary;
    const char *details;
    const char *examples; /* lines "command # what it does" */
};

struct cli_given {
    enum cli_option id;
    const char *value; /* "" for a switch */
};
struct cli_args {
    const struct cli_command *command; /* NULL: none named */
    const char **words;                /* positional arguments */
    size_t word_count;
    struct cli_given *given; /* in their order */
    size_t given_count;
};

const struct cli_command *cli_commands(size_t *out_count);
const struct cli_option_info *cli_option_info(enum cli_option id);
const struct cli_command *cli_command_find(const char *name);
/* True where the command takes the option. */
bool cli_command_has(const struct cli_command *command, enum cli_option id);

/* argv is borrowed. PS_REFUSED: err says what is wrong and what was probably meant. args is always
 * left so that cli_args_fini may be called. */
PS_MUSTCHECK enum ps_status cli_args_parse(int argc, char *const *argv, struct cli_args *args,
                                           struct ps_error *err);
void cli_args_fini(struct cli_args *args);

bool cli_args_has(const struct cli_args *args, enum cli_option id);
/* The last value given, or NULL. */
const char *cli_args_get(const struct cli_args *args, enum cli_option id);
/* All values given; the array (not the texts) is the caller's, to be freed with ps_free. */
const char **cli_args_all(const struct cli_args *args, enum cli_option id, size_t *out_count);
/* A whole number; false with *out unchanged when it is not one. Not given: true. */
PS_MUSTCHECK bool cli_args_number(const struct cli_args *args, enum cli_option id, uint64_t *out);

#endif
