/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_connect.h: the coordinator a command talks to: one that runs, or with --state one that is
 * started on that folder for as long as the command takes. Then nothing is loaded: without an agent
 * there is nobody to load, and where one is needed the pipeline is stopped first.
 * Errors are printed here; functions return an enum cli_exit. */
#ifndef CLI_CLI_CONNECT_H
#define CLI_CLI_CONNECT_H

#include <jansson.h>

#include "cli/cli_args.h"
#include "cli/cli_http.h"
#include "cli/cli_local.h"

struct cli_connection {
    struct cli_http *http;
    struct cli_local *local; /* NULL: the coordinator is somebody else's */
};

int cli_connect(const struct cli_args *args, struct cli_connection *out);
/* For what only an agent can answer; name is the pipeline that must not go on. */
int cli_connect_agent(struct cli_connection *connection, const char *name);
void cli_disconnect(struct cli_connection *connection);

/* One request; *out (may be NULL) is the body, a new reference. */
int cli_connection_call(struct cli_connection *connection, const struct cli_request *request,
                        json_t **out);
/* The same for method and /v1/pipelines/NAME + suffix. */
int cli_connection_pipeline(struct cli_connection *connection, const char *method, const char *name,
                            const char *suffix, json_t **out);
/* All pages of a list up to limit items (0: all): *out is a new array. *out_more: there were
 * more. path has no query; query is "" or "state=open". */
struct cli_list {
    const char *path;
    const char *query;
    uint64_t limit;
};
int cli_connection_list(struct cli_connection *connection, const struct cli_list *list,
                        json_t **out, bool *out_more);

#endif
