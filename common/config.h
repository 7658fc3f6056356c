/* SPDX-License-Identifier: Apache-2.0 */
/* common/config.h: the values of an option table: flag over environment over YAML file over
 * default. In: argv, environ, the file named by the option "config" (where the table has it).  Out:
 * checked values, the words that are no options, and all errors at once. Use: struct config_input
 * in = {.rows = rows, .row_count = N, .argc = argc - 1, .argv = argv + 1}; if (config_parse(&in,
 * &config, &errors) != PS_OK) { fputs(ps_buf_str(&errors), stderr); … } Invariant: every value in a
 * config has been checked against its row. Threads: immutable after parsing. */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include "common/buf.h"
#include "common/error.h"
#include "common/option.h"

struct config; /* opaque */

struct config_input {
    const struct option_row *rows; /* borrowed for the life of the config, as is argv */
    size_t row_count;
    int argc;
    const char *const *argv; /* without the program's (and command's) name */
    bool no_env;             /* a command of the CLI that reads flags only */
    size_t words_most;       /* words that are no options; more are an error */
};

/* PS_REFUSED: errors has one line a fault, each ended by a newline. With the option "help" or
 * "version" given, required options may be missing. "--" ends the options. */
PS_MUSTCHECK enum ps_status config_parse(const struct config_input *input, struct config **out,
                                         struct ps_buf *errors);
void config_free(struct config *config); /* NULL is fine */

/* Values by name; the name must be in the table (PS_ASSERT). Borrowed from the config. */
const char *config_str(const struct config *config, const char *name); /* NULL = not given */
bool config_bool(const struct config *config, const char *name);
int64_t config_int(const struct config *config, const char *name); /* 0 when not given */
uint64_t config_bytes(const struct config *config, const char *name);
int64_t config_duration_ms(const struct config *config, const char *name);
size_t config_list(const struct config *config, const char *name, const char *const **out);

/* Where a value came from. */
enum config_origin { CONFIG_ABSENT, CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG };
enum config_origin config_origin(const struct config *config, const char *name);
/* Not absent and not the default. */
bool config_given(const struct config *config, const char *name);

/* The words that are no options, in order. */
size_t config_words(const struct config *config, const char *const **out);

#endif
