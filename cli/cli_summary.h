/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_summary.h: what a run did, at its end. Pure but for the two that print. */
#ifndef CLI_CLI_SUMMARY_H
#define CLI_CLI_SUMMARY_H

#include <jansson.h>

#include "common/buf.h"

struct cli_summary {
    const json_t *pipeline;  /* its last document */
    const json_t *baseline;  /* when the run began; NULL: count from zero */
    const char *destination; /* destination.url */
    const char *state;       /* the state folder; NULL: a coordinator has it */
    int64_t ms;              /* the run's time */
    int exit_code;
};

/* Lines for people. */
void cli_summary_text(const struct cli_summary *summary, struct ps_buf *out);
/* One document for programs; 64-bit integers are strings, as in the API. A new reference. */
json_t *cli_summary_json(const struct cli_summary *summary);

#endif
