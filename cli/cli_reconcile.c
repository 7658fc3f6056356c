/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile: asks for it, follows it, says what came of it. One pipeline after the other. */
#include <stdio.h>
#include <string.h>

#include "cli/cli_command.h"
#include "cli/cli_connect.h"
#include "cli/cli_exit.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_signal.h"
#include "common/alloc.h"
#include "common/clock.h"

enum { WAIT_MS = 1000, SAY_EVERY_MS = 2000, AWAY_MOST_MS = 30000, AWAY_GAP_MS = 200 };

static bool
is_over(const json_t *pipeline)
{
    const char *state = cli_json_str(pipeline, "reconcile.state");
    return strcmp(state, "done") == 0 || strcmp(state, "failed") == 0;
}

static void
say_progress(const char *name, const json_t *pipeline)
{
    uint64_t ranges = cli_json_u64(pipeline, "reconcile.ranges");
    const char *reason = cli_json_str(pipeline, "reason");
    if (strcmp(cli_json_str(pipeline, "reconcile.state"), "reading") == 0) {
        cli_say("%s: %llu ranges of the ledger read", name, (unsigned long long)ranges);
    } else {
        cli_say("%s: waits%s%s", name, reason[0] == '\0' ? " for an agent" : ": ", reason);
    }
}

/* A coordinator that is just restarting is waited for: what was asked of it is durable. */
static int
look(struct cli_connection *connection, const char *name, uint64_t revision, json_t **out)
{
    struct ps_error err = {0};
    char query[80];
    snprintf(query, sizeof query, "?revision=%llu&wait=%d", (unsigned long long)revision, WAIT_MS);
    char *path = cli_http_pipeline_path(name, query);
    struct cli_request request = {.method = "GET", .path = path};
    int64_t until_ms = ps_clock_mono_ms() + AWAY_MOST_MS;
    int code = CLI_EXIT_FAILED;
    for (bool again = true; again;) {
        struct cli_reply reply = {0};
        enum ps_status status = cli_http_call(connection->http, &request, &reply, &err);
        bool away = status == PS_AGAIN || reply.status == 503;
        again = away && ps_clock_mono_ms() < until_ms;
        if (status == PS_OK) {
            *out = reply.body;
            reply.body = NULL;
            code = CLI_EXIT_OK;
        } else if (status == PS_CANCELED) {
            cli_say("the reconcile goes on; penstock describe %s shows it", name);
            code = CLI_EXIT_INTERRUPTED;
            again = false;
        } else if (again) {
            cli_http_wait(connection->http, AWAY_GAP_MS);
        } else {
            cli_complain("%s", err.text);
        }
        cli_reply_fini(&reply);
    }
    ps_free(path);
    return code;
}

static int
follow(struct cli_connection *connection, const char *name, json_t **pipeline)
{
    int64_t said_ms = ps_clock_mono_ms();
    int code = CLI_EXIT_OK;
    while (code == CLI_EXIT_OK && !is_over(*pipeline)) {
        uint64_t revision = cli_json_u64(*pipeline, "revision");
        json_t *next = NULL;
        code = look(connection, name, revision, &next);
        if (code == CLI_EXIT_OK) {
            json_decref(*pipeline);
            *pipeline = next;
        }
        if (ps_clock_mono_ms() - said_ms >= SAY_EVERY_MS && code == CLI_EXIT_OK &&
            !is_over(*pipeline)) {
            said_ms = ps_clock_mono_ms();
            say_progress(name, *pipeline);
        }
    }
    return code;
}

static void
line(const json_t *report, const char *key, const char *what, struct ps_buf *out)
{
    uint64_t count = cli_json_u64(report, key);
    if (count > 0) {
        ps_buf_xprintf(out, "  %llu %s\n", (unsigned long long)count, what);
    }
}

static void
ahead_lines(const json_t *report, struct ps_buf *out)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(report, "ahead"), i, item)
    {
        ps_buf_xprintf(out, "    ");
        cli_json_name(item, "name", out);
        ps_buf_xprintf(out, ": %llu bytes in the catalog, %llu in the ledger\n",
                       (unsigned long long)cli_json_u64(item, "offset"),
                       (unsigned long long)cli_json_u64(item, "ledger_offset"));
    }
}

static void
summary(const char *name, const json_t *pipeline, struct ps_buf *out)
{
    const json_t *report = json_object_get(pipeline, "reconcile");
    bool dry = cli_json_bool(report, "dry_run");
    ps_buf_xprintf(out, "%s: %s%llu ranges of %llu loaded batches read\n", name,
                   dry ? "dry run, nothing is changed: " : "",
                   (unsigned long long)cli_json_u64(report, "ranges"),
                   (unsigned long long)cli_json_u64(report, "batches"));
    line(report, "ranges_unknown", "of the ranges were unknown to the catalog", out);
    line(report, "objects_behind", "objects were loaded further than the catalog knew", out);
    line(report, "objects_unknown", "objects of the ledger are not discovered yet", out);
    line(report, "batches_settled", "batches were open in the catalog and are loaded", out);
    line(report, "objects_ahead",
         "objects were loaded further in the catalog than in the ledger:", out);
    ahead_lines(report, out);
    line(report, "objects_reopened", "of them are set back to the ledger and loaded again", out);
    uint64_t before = cli_json_u64(report, "before.inserted");
    uint64_t after = cli_json_u64(report, "after.inserted");
    if (before != after && strcmp(cli_json_str(report, "state"), "done") == 0) {
        ps_buf_xprintf(out, "  rows inserted: %llu, the catalog had counted %llu\n",
                       (unsigned long long)after, (unsigned long long)before);
    }
}

static int
exit_of(const char *name, const json_t *pipeline)
{
    const json_t *report = json_object_get(pipeline, "reconcile");
    if (strcmp(cli_json_str(report, "state"), "failed") == 0) {
        cli_complain("%s: %s: %s", name, cli_json_str(report, "code"),
                     cli_json_str(report, "text"));
        return CLI_EXIT_DESTINATION;
    }
    return CLI_EXIT_OK;
}

static int
reconcile(const struct cli_args *args, struct cli_connection *connection, const char *name,
          enum cli_form form)
{
    struct ps_buf text = PS_BUF_INIT;
    json_t *pipeline = NULL;
    char query[64];
    snprintf(query, sizeof query, ":reconcile?dry_run=%d&trust_ledger=%d",
             cli_args_has(args, CLI_OPT_DRY_RUN), cli_args_has(args, CLI_OPT_TRUST_LEDGER));
    int code = cli_connect_agent(connection, name);
    if (code == CLI_EXIT_OK) {
        code = cli_connection_pipeline(connection, "POST", name, query, &pipeline);
    }
    if (code == CLI_EXIT_OK) {
        code = follow(connection, name, &pipeline);
    }
    if (code == CLI_EXIT_OK && (form == CLI_FORM_JSON || form == CLI_FORM_YAML)) {
        (void)cli_out_doc(json_object_get(pipeline, "reconcile"), form);
        code = exit_of(name, pipeline);
    } else if (code == CLI_EXIT_OK) {
        summary(name, pipeline, &text);
        (void)cli_out_write(&text);
        code = exit_of(name, pipeline);
    }
    ps_buf_fini(&text);
    json_decref(pipeline);
    return code;
}

/* The worst of them is the exit code; each is tried. */
static int
reconcile_all(const struct cli_args *args, struct cli_connection *connection, enum cli_form form)
{
    struct cli_list list = {.path = "/v1/pipelines", .query = "", .limit = 0};
    json_t *items = NULL;
    json_t *item;
    size_t i;
    bool more = false;
    int code = cli_connection_list(connection, &list, &items, &more);
    json_array_foreach(items, i, item)
    {
        int one = reconcile(args, connection, cli_json_str(item, "name"), form);
        code = one == CLI_EXIT_OK ? code : one;
    }
    json_decref(items);
    return code;
}

int
cli_run_reconcile(const struct cli_args *args)
{
    struct ps_error err = {0};
    enum cli_form form;
    struct cli_connection connection = {0};
    bool all = cli_args_has(args, CLI_OPT_ALL);
    if (cli_out_form(args, &form, &err) != PS_OK || all == (args->word_count > 0)) {
        cli_complain("%s", err.text[0] != '\0' ? err.text
                           : all               ? "reconcile takes names or --all, not both"
                                               : "reconcile needs a pipeline's name, or --all");
        return CLI_EXIT_USAGE;
    }
    cli_signal_open();
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK && all) {
        code = reconcile_all(args, &connection, form);
    }
    for (size_t i = 0; code != CLI_EXIT_KILLED && !all && i < (size_t)args->word_count; i++) {
        int one =
            connection.http == NULL ? code : reconcile(args, &connection, args->words[i], form);
        code = one == CLI_EXIT_OK ? code : one;
    }
    cli_disconnect(&connection);
    return code;
}
