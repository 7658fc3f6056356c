/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_connect.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli_exit.h"
#include "cli/cli_follow.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_signal.h"
#include "common/alloc.h"
#include "common/buf.h"
#include "common/path.h"

enum { PAGE_ITEMS = 500, CALL_MS = 60000 };

static int
connect_state(const struct cli_args *args, const char *state, struct cli_connection *out)
{
    struct ps_error err = {0};
    char *folder = ps_path_absolute(NULL, state);
    char *catalog = ps_path_join(folder, "coordinator");
    char *base = ps_path_absolute(NULL, ".");
    int code = CLI_EXIT_FAILED;
    if (!ps_path_exists(catalog)) {
        cli_complain("%s is no state folder of a load", state);
    } else {
        cli_signal_open();
        struct cli_local_options options = {
            .state = folder, .base_dir = base, .log_level = cli_args_get(args, CLI_OPT_LOG_LEVEL)};
        enum ps_status status = cli_local_start(&options, &out->local, &err);
        if (status == PS_OK) {
            out->http = cli_local_http(out->local);
            code = CLI_EXIT_OK;
        } else {
            cli_complain("%s", err.text);
        }
    }
    ps_free(folder);
    ps_free(catalog);
    ps_free(base);
    return code;
}

int
cli_connect(const struct cli_args *args, struct cli_connection *out)
{
    *out = (struct cli_connection){0};
    const char *state = cli_args_get(args, CLI_OPT_STATE);
    if (state != NULL) {
        return connect_state(args, state, out);
    }
    struct ps_error err = {0};
    const char *address = cli_args_get(args, CLI_OPT_COORDINATOR);
    if (address == NULL) {
        address = getenv("PENSTOCK_API");
    }
    if (address == NULL || address[0] == '\0') {
        address = "http://127.0.0.1:7180";
    }
    if (cli_http_new(address, &out->http, &err) != PS_OK) {
        cli_complain("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    return CLI_EXIT_OK;
}

int
cli_connect_agent(struct cli_connection *connection, const char *name)
{
    if (connection->local == NULL) {
        return CLI_EXIT_OK;
    }
    json_t *pipeline = NULL;
    struct ps_error err = {0};
    int code = cli_connection_pipeline(connection, "GET", name, "", &pipeline);
    if (code == CLI_EXIT_OK && !cli_follow_ended(cli_json_str(pipeline, "state")) &&
        strcmp(cli_json_str(pipeline, "state"), "created") != 0) {
        code = cli_connection_pipeline(connection, "POST", name, ":stop", NULL);
    }
    json_decref(pipeline);
    if (code == CLI_EXIT_OK && (cli_local_start_agent(connection->local, 1, &err) != PS_OK ||
                                cli_local_wait_agent(connection->local, &err) != PS_OK)) {
        cli_complain("%s", err.text);
        code = CLI_EXIT_FAILED;
    }
    return code;
}

void
cli_disconnect(struct cli_connection *connection)
{
    if (connection->local != NULL) {
        cli_local_stop(connection->local);
    } else {
        cli_http_free(connection->http);
    }
    *connection = (struct cli_connection){0};
}

int
cli_connection_call(struct cli_connection *connection, const struct cli_request *request,
                    json_t **out)
{
    struct ps_error err = {0};
    struct cli_reply reply;
    enum ps_status status = cli_http_call(connection->http, request, &reply, &err);
    int code = CLI_EXIT_OK;
    if (status == PS_CANCELED) {
        code = CLI_EXIT_KILLED;
    } else if (status != PS_OK) {
        cli_complain("%s", err.text);
        bool spec = strcmp(err.code, "invalid_spec") == 0;
        code = reply.status == 401 || reply.status == 403 ? CLI_EXIT_UNAUTHORISED
               : spec                                     ? CLI_EXIT_SPEC
                                                          : CLI_EXIT_FAILED;
    } else if (out != NULL) {
        *out = reply.body;
        reply.body = NULL;
    }
    cli_reply_fini(&reply);
    return code;
}

int
cli_connection_pipeline(struct cli_connection *connection, const char *method, const char *name,
                        const char *suffix, json_t **out)
{
    char *path = cli_http_pipeline_path(name, suffix);
    struct cli_request request = {.method = method, .path = path, .timeout_ms = CALL_MS};
    int code = cli_connection_call(connection, &request, out);
    ps_free(path);
    return code;
}

static int
read_page(struct cli_connection *connection, const struct cli_list *list, const char *cursor,
          uint64_t wanted, json_t **out)
{
    struct ps_buf path = PS_BUF_INIT;
    ps_buf_xprintf(&path, "%s?limit=%llu", list->path,
                   (unsigned long long)(wanted < PAGE_ITEMS ? wanted : PAGE_ITEMS));
    if (list->query[0] != '\0') {
        ps_buf_xprintf(&path, "&%s", list->query);
    }
    if (cursor[0] != '\0') {
        ps_buf_xprintf(&path, "&cursor=%s", cursor); /* made of characters that need no encoding */
    }
    struct cli_request request = {
        .method = "GET", .path = ps_buf_str(&path), .timeout_ms = CALL_MS};
    int code = cli_connection_call(connection, &request, out);
    ps_buf_fini(&path);
    return code;
}

int
cli_connection_list(struct cli_connection *connection, const struct cli_list *list, json_t **out,
                    bool *out_more)
{
    json_t *items = json_array();
    char *cursor = ps_xstrdup("");
    int code = CLI_EXIT_OK;
    *out_more = false;
    do {
        uint64_t have = json_array_size(items);
        uint64_t wanted = list->limit == 0 ? UINT64_MAX : list->limit - have;
        json_t *page = NULL;
        code = read_page(connection, list, cursor, wanted, &page);
        json_array_extend(items, json_object_get(page, "items"));
        ps_free(cursor);
        cursor = ps_xstrdup(cli_json_str(page, "next"));
        json_decref(page);
        *out_more = cursor[0] != '\0';
    } while (code == CLI_EXIT_OK && *out_more &&
             (list->limit == 0 || json_array_size(items) < list->limit));
    ps_free(cursor);
    if (code != CLI_EXIT_OK) {
        json_decref(items);
        items = NULL;
    }
    *out = items;
    return code;
}
