/* SPDX-License-Identifier: Apache-2.0 */
/* common/option.h: a program's or command's options as one table: the parser, --help, the man page
 * and the reference all come from it.
 * Use: static const struct option_row rows[] = {
 *          {.name = "config", .type = OPTION_TEXT, .value_name = "FILE", .help = "read options …"},
 *          {.name = "lease", .type = OPTION_DURATION, .default_text = "15s", .help = "…"},
 *          {.name = "root", .type = OPTION_LIST, .value_name = "DIR", .help = "…, repeatable"},
 *          {.name = "help", .letter = 'h', .type = OPTION_SWITCH, .flag_only = true, .help = "…"}};
 *      then common/config.h reads flags, environment and file by it.
 * Threads: pure. */
#ifndef COMMON_OPTION_H
#define COMMON_OPTION_H

#include "common/buf.h"
#include "common/error.h"

enum option_type {
    OPTION_TEXT,
    OPTION_SWITCH,   /* --x, --no-x, --x=true|false */
    OPTION_INT,      /* int64 */
    OPTION_BYTES,    /* "64MiB" */
    OPTION_DURATION, /* "15s"; kept in ms */
    OPTION_ENUM,     /* one of choices */
    OPTION_LIST,     /* repeatable text; in the environment separated by ':'; a YAML list */
};

struct option_row {
    const char *name; /* "ready-fd": flag --ready-fd, environment PENSTOCK_READY_FD, YAML ready-fd
                         or ready_fd */
    char letter;      /* 'o' for -o; 0 = none */
    enum option_type type;
    const char *choices;      /* OPTION_ENUM: "text|json" */
    const char *default_text; /* as a person would write it; NULL = none */
    const char *value_name;   /* in --help: "FILE"; NULL = by type */
    const char *help;         /* one sentence, lower case, no full stop */
    bool required;
    bool flag_only; /* neither environment nor file: help, version, things of one call */
    int64_t least;  /* INT and DURATION: bounds, used when most > least */
    int64_t most;
};

/* NULL when there is none. */
const struct option_row *option_find(const struct option_row *rows, size_t count, const char *name);
/* The nearest known name, or NULL. */
const char *option_nearest(const struct option_row *rows, size_t count, const char *wrong);
/* One of "a|b|c"? */
bool option_is_choice(const char *choices, const char *text);

/* The value of one option; which member counts follows from the row's type. */
struct option_value {
    const char *text; /* borrowed: TEXT and ENUM, and how the value was written */
    bool on;          /* SWITCH */
    int64_t number;   /* INT, DURATION (ms) */
    uint64_t bytes;   /* BYTES */
};
/* PS_REFUSED says what was expected ("expected a duration such as 15s, got \"15\""). */
PS_MUSTCHECK enum ps_status option_read(const struct option_row *row, const char *text,
                                        struct option_value *out, struct ps_error *err);

/* "PENSTOCK_READY_FD" of "ready-fd"; out is always terminated. */
const char *option_env_name(const char *name, char *out, size_t out_bytes);

/* The lines of --help under "Options:", and a Markdown table for the reference. */
void option_help(const struct option_row *rows, size_t count, struct ps_buf *out);
void option_markdown(const struct option_row *rows, size_t count, struct ps_buf *out);

#endif
