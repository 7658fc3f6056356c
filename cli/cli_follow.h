/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_follow.h: stays with a pipeline until it ends, showing how far it is.
 * In: a coordinator and a name.  Out: the pipeline's last document and why the following ended.
 * Waits by long poll: nothing is asked twice that has not changed.
 * Threads: main only. */
#ifndef CLI_CLI_FOLLOW_H
#define CLI_CLI_FOLLOW_H

#include "cli/cli_args.h"
#include "cli/cli_http.h"
#include "cli/cli_local.h"

enum cli_show { CLI_SHOW_LIVE, CLI_SHOW_LINES, CLI_SHOW_NOTHING, CLI_SHOW_JSON };

struct cli_follow {
    struct cli_http *http;
    const char *name;
    enum cli_show show;
    struct cli_local *local; /* NULL: the pipeline belongs to a coordinator elsewhere */
    int64_t timeout_ms;      /* 0: none */
    const json_t *baseline;  /* the pipeline when the run began; NULL: count from zero */
};

enum cli_follow_end {
    CLI_END_STATE,   /* completed, stalled, failed or stopped */
    CLI_END_LEFT,    /* a person left; the pipeline goes on (not local) */
    CLI_END_KILLED,  /* a second interrupt (local) */
    CLI_END_TIMEOUT, /* local: it has been stopped before */
    CLI_END_LOST,    /* the coordinator is gone or refuses; err says why */
};
struct cli_followed {
    enum cli_follow_end end;
    bool interrupted; /* an end was asked for before it ended */
    json_t *pipeline; /* owned; NULL when nothing was heard */
    struct ps_error err;
};

/* How to show progress, from --progress, -o and the terminal. PS_REFUSED: a wrong --progress or
 * --timeout. */
PS_MUSTCHECK enum ps_status cli_follow_options(const struct cli_args *args,
                                               struct cli_follow *follow, struct ps_error *err);
struct cli_followed cli_follow_run(const struct cli_follow *follow);
void cli_followed_fini(struct cli_followed *followed);

/* True for states that nothing moves on from by itself. */
bool cli_follow_ended(const char *state);
/* The exit code that a pipeline's end means. baseline as above. */
int cli_follow_exit(const struct cli_followed *followed, const json_t *baseline);

#endif
