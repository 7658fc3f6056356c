/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coordinator_options.h: what the coordinator can be told, and whether it makes sense.
 * In: the command line, the environment and a YAML file.  Out: checked values, or all errors.
 * Threads: immutable after reading. */
#ifndef COORDINATOR_COORDINATOR_OPTIONS_H
#define COORDINATOR_COORDINATOR_OPTIONS_H

#include <sys/types.h>

#include "common/config.h"
#include "common/log.h"
#include "coordinator/engine/engine.h"

enum { COORDINATOR_RPC_MOST = 8 };

struct coordinator_options {
    struct config *config; /* owns the texts */
    bool help;
    bool version;
    const char *http;
    char *rpc_text; /* the addresses below, cut apart */
    const char *rpc[COORDINATOR_RPC_MOST];
    size_t rpc_count;
    char *state;
    struct engine_config engine;
    enum log_level log_level;
    enum log_format log_format;
    int ready_fd;          /* -1: none */
    pid_t die_with_parent; /* 0: with nobody */
};

/* argv without the program's name, borrowed for the life of the options. PS_REFUSED: errors has a
 * line for each. With help or version the rest is not checked. */
PS_MUSTCHECK enum ps_status coordinator_options_read(int argc, const char *const *argv,
                                                     struct coordinator_options *out,
                                                     struct ps_buf *errors);
void coordinator_options_fini(struct coordinator_options *options);

const struct option_row *coordinator_options_rows(size_t *out_count);
/* The text of --help. */
void coordinator_options_help(struct ps_buf *out);

#endif
