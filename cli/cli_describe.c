/* SPDX-License-Identifier: Apache-2.0 */
/* describe, explain: one pipeline, for people. */
#include <stdio.h>
#include <string.h>

#include "cli/cli_command.h"
#include "cli/cli_connect.h"
#include "cli/cli_exit.h"
#include "cli/cli_follow.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_progress.h"
#include "cli/cli_text.h"
#include "common/alloc.h"
#include "common/human.h"
#include "common/yaml.h"

enum { SHOWN_ITEMS = 5, SHOWN_EVENTS = 10 };

static void
line(struct ps_buf *out, const char *label, const char *text)
{
    if (text[0] != '\0') {
        ps_buf_xprintf(out, "%-14s", label);
        cli_text_safe(out, text);
        ps_buf_xprintf(out, "\n");
    }
}

static void
totals_lines(const json_t *pipeline, struct ps_buf *out)
{
    struct cli_figures f = cli_figures(pipeline, NULL);
    char a[PS_HUMAN_BYTES], b[PS_HUMAN_BYTES];
    ps_buf_xprintf(out, "%-14s%s of %s done", "objects", ps_human_show_count(f.objects_done, a),
                   ps_human_show_count(f.objects, b));
    if (f.objects_quarantined > 0) {
        ps_buf_xprintf(out, ", %s quarantined", ps_human_show_count(f.objects_quarantined, a));
    }
    ps_buf_xprintf(out, "\n%-14s%s of %s\n", "bytes", ps_human_show_bytes(f.bytes_done, a),
                   ps_human_show_bytes(f.bytes, b));
    ps_buf_xprintf(out, "%-14s%s loaded", "rows", ps_human_show_count(f.loaded, a));
    ps_buf_xprintf(out, ", %s rejected", ps_human_show_count(f.rejected, a));
    ps_buf_xprintf(out, ", %s skipped", ps_human_show_count(f.skipped, a));
    ps_buf_xprintf(out, ", %s filtered\n", ps_human_show_count(f.filtered, a));
    if (f.rejected > 0) {
        ps_buf_xprintf(out, "%-14s%s open, %s replayed\n", "rejects",
                       ps_human_show_count(cli_json_u64(pipeline, "totals.rejects_open"), a),
                       ps_human_show_count(cli_json_u64(pipeline, "totals.replayed"), b));
    }
    ps_buf_xprintf(out, "%-14s%s open, %s loaded", "batches",
                   ps_human_show_count(cli_json_u64(pipeline, "totals.batches_open"), a),
                   ps_human_show_count(cli_json_u64(pipeline, "totals.batches_loaded"), b));
    ps_buf_xprintf(out, ", %s quarantined",
                   ps_human_show_count(cli_json_u64(pipeline, "totals.batches_quarantined"), a));
    ps_buf_xprintf(out, ", %s retries\n", ps_human_show_count(f.retries, a));
}

static void
columns_lines(const json_t *columns, struct ps_buf *out)
{
    struct cli_table table;
    size_t index;
    json_t *item;
    if (json_array_size(columns) == 0) {
        return;
    }
    ps_buf_xprintf(out, "\ncolumns:\n");
    cli_table_init(&table, 3);
    json_array_foreach((json_t *)(uintptr_t)columns, index, item)
    {
        const char *from = cli_json_str(item, "from");
        cli_table_cellf(&table, "  %s", cli_json_str(item, "name"));
        cli_table_cell(&table, cli_json_str(item, "type"));
        cli_table_cell(&table, from[0] != '\0' ? from : cli_json_str(item, "value"));
    }
    cli_table_print(&table, out);
    cli_table_fini(&table);
}

static void
reconcile_line(const json_t *report, struct ps_buf *out)
{
    if (report == NULL) {
        return;
    }
    ps_buf_xprintf(out, "%-14s%s%s, %llu ranges read, %llu objects further than known", "reconcile",
                   cli_json_str(report, "state"),
                   cli_json_bool(report, "dry_run") ? " (dry run)" : "",
                   (unsigned long long)cli_json_u64(report, "ranges"),
                   (unsigned long long)cli_json_u64(report, "objects_behind"));
    if (cli_json_str(report, "code")[0] != '\0') {
        ps_buf_xprintf(out, ": ");
        cli_text_safe(out, cli_json_str(report, "text"));
    }
    ps_buf_xprintf(out, "\n");
}

static void
unknown_lines(const json_t *fields, struct ps_buf *out)
{
    size_t i;
    json_t *item;
    if (json_array_size(fields) > 0) {
        ps_buf_xprintf(out, "\nfields that no column takes (columns.unknown: ignore):\n");
    }
    json_array_foreach((json_t *)(uintptr_t)fields, i, item)
    {
        ps_buf_xprintf(out, "  ");
        cli_text_safe(out, cli_json_str(item, "name"));
        ps_buf_xprintf(out, "  first in ");
        cli_text_safe(out, cli_json_str(item, "object"));
        ps_buf_xprintf(out, "\n");
    }
}

static void
describe_text(const json_t *pipeline, const json_t *events, struct ps_buf *out)
{
    static const char *const lines[][2] = {
        {"name", "name"},      {"state", "state"},        {"reason", "reason"},
        {"table", "table"},    {"created", "created_at"}, {"started", "started_at"},
        {"ended", "ended_at"}, {"uuid", "uuid"},          {"format", "format_note"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        line(out, lines[i][0], cli_json_str(pipeline, lines[i][1]));
    }
    ps_buf_xprintf(out, "%-14s%llu\n%-14s%llu\n", "generation",
                   (unsigned long long)cli_json_u64(pipeline, "generation"), "spec revision",
                   (unsigned long long)cli_json_u64(pipeline, "spec_rev"));
    reconcile_line(json_object_get(pipeline, "reconcile"), out);
    totals_lines(pipeline, out);
    columns_lines(json_object_get(pipeline, "columns"), out);
    unknown_lines(cli_json_at(pipeline, "unknown.field"), out);
    const json_t *spec = json_object_get(pipeline, "spec");
    if (spec != NULL) {
        ps_buf_xprintf(out, "\nspec:\n");
        struct ps_buf yaml = PS_BUF_INIT;
        ps_yaml_print(spec, &yaml);
        for (const char *at = ps_buf_str(&yaml); *at != '\0';) {
            size_t len = strcspn(at, "\n");
            ps_buf_xprintf(out, "  %.*s\n", (int)len, at);
            at += len + (at[len] == '\n');
        }
        ps_buf_fini(&yaml);
    }
    size_t index, count = json_array_size(events);
    json_t *event;
    if (count > 0) {
        ps_buf_xprintf(out, "\nlast events:\n");
    }
    json_array_foreach((json_t *)(uintptr_t)events, index, event)
    {
        ps_buf_xprintf(out, "  %s  ", cli_json_str(event, "at"));
        cli_text_safe(out, cli_json_str(event, "kind"));
        ps_buf_xprintf(out, " ");
        cli_text_safe(out, cli_json_str(event, "subject"));
        ps_buf_xprintf(out, "  ");
        cli_text_safe(out, cli_json_str(event, "text"));
        ps_buf_xprintf(out, "\n");
    }
}

int
cli_run_describe(const struct cli_args *args)
{
    struct ps_error err = {0};
    enum cli_form form;
    struct cli_connection connection = {0};
    json_t *pipeline = NULL, *events = NULL;
    bool more = false;
    if (cli_out_form(args, &form, &err) != PS_OK) {
        cli_complain("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK) {
        code = cli_connection_pipeline(&connection, "GET", args->words[0], "", &pipeline);
    }
    if (code == CLI_EXIT_OK && (form == CLI_FORM_JSON || form == CLI_FORM_YAML)) {
        code = cli_out_doc(pipeline, form) ? CLI_EXIT_OK : CLI_EXIT_FAILED;
    } else if (code == CLI_EXIT_OK) {
        char *query = ps_xasprintf("pipeline=%s&last=%d", args->words[0], SHOWN_EVENTS);
        struct cli_list list = {.path = "/v1/events", .query = query, .limit = SHOWN_EVENTS};
        struct ps_buf text = PS_BUF_INIT;
        code = cli_connection_list(&connection, &list, &events, &more);
        describe_text(pipeline, events, &text);
        (void)cli_out_write(&text);
        ps_buf_fini(&text);
        ps_free(query);
    }
    json_decref(pipeline);
    json_decref(events);
    cli_disconnect(&connection);
    return code;
}

/* ---------------------------------------------------------------- explain */

struct finding {
    json_t *list; /* of texts */
};

static void
find(struct finding *finding, struct ps_buf *text)
{
    json_array_append_new(finding->list, json_string(ps_buf_str(text)));
    ps_buf_clear(text);
}

/* What the state alone says. */
static const char *
meaning(const char *state)
{
    static const char *const meanings[][2] = {
        {"created", "it was never started: penstock start NAME"},
        {"preparing", "it looks for objects and prepares the table"},
        {"running", "it is loading"},
        {"stopping", "it finishes what is being committed"},
        {"stopped", "it was stopped: penstock start NAME goes on"},
        {"completed", "all that was found is loaded; start looks for new objects"},
        {"stalled", "something could not be loaded and needs a person; all else is loaded"},
        {"failed", "it cannot go on"},
    };
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (strcmp(state, meanings[i][0]) == 0) {
            return meanings[i][1];
        }
    }
    return "";
}

/* The items of a list in one state, each with its reason. */
static int
explain_items(struct cli_connection *connection, const char *pipeline, const char *kind,
              const char *state, struct finding *finding)
{
    char *suffix = ps_xasprintf("/%s", kind);
    char *path = cli_http_pipeline_path(pipeline, suffix);
    char *query = ps_xasprintf("state=%s", state);
    struct cli_list list = {.path = path, .query = query, .limit = SHOWN_ITEMS};
    json_t *items = NULL, *item;
    bool more = false;
    size_t index;
    struct ps_buf text = PS_BUF_INIT;
    int code = cli_connection_list(connection, &list, &items, &more);
    json_array_foreach(items, index, item)
    {
        bool batch = strcmp(kind, "batches") == 0;
        ps_buf_xprintf(&text, "%s ", batch ? "batch" : "object");
        if (batch) {
            cli_text_safe(&text, cli_json_str(item, "id"));
            ps_buf_xprintf(&text, " (");
        }
        cli_json_name(item, batch ? "first_object" : "name", &text);
        ps_buf_xprintf(&text, "%s is %s", batch ? ")" : "", state);
        const char *next = cli_json_str(item, "next_retry_at");
        if (next[0] != '\0') {
            ps_buf_xprintf(&text, " until %s", next);
        }
        if (cli_json_u64(item, "attempts") > 0) {
            ps_buf_xprintf(&text, ", %llu attempts",
                           (unsigned long long)cli_json_u64(item, "attempts"));
        }
        const char *reason = cli_json_str(item, "reason");
        ps_buf_xprintf(&text, "%s", reason[0] != '\0' ? ": " : "");
        cli_text_safe(&text, reason);
        find(finding, &text);
    }
    if (more) {
        ps_buf_xprintf(&text, "and more of these: penstock get %s %s --only %s", kind, pipeline,
                       state);
        find(finding, &text);
    }
    json_decref(items);
    ps_buf_fini(&text);
    ps_free(suffix);
    ps_free(path);
    ps_free(query);
    return code;
}

/* Leaves' notes, and agents that are not there. */
static int
explain_agents(struct cli_connection *connection, struct finding *finding)
{
    json_t *page = NULL, *agent, *leaf;
    struct cli_request request = {.method = "GET", .path = "/v1/agents"};
    int code = cli_connection_call(connection, &request, &page);
    const json_t *items = json_object_get(page, "items");
    struct ps_buf text = PS_BUF_INIT;
    size_t a, l, online = 0;
    json_array_foreach((json_t *)(uintptr_t)items, a, agent)
    {
        const char *state = cli_json_str(agent, "state");
        online += strcmp(state, "online") == 0;
        if (strcmp(state, "online") != 0) {
            ps_buf_xprintf(&text, "agent ");
            cli_text_safe(&text, cli_json_str(agent, "name"));
            ps_buf_xprintf(&text, " is %s since %s", state, cli_json_str(agent, "last_seen_at"));
            find(finding, &text);
        }
        json_array_foreach(json_object_get(agent, "leaf"), l, leaf)
        {
            const char *note = cli_json_str(leaf, "note");
            if (note[0] != '\0') {
                ps_buf_xprintf(&text, "agent ");
                cli_text_safe(&text, cli_json_str(agent, "name"));
                ps_buf_xprintf(&text,
                               " leaf %llu: ", (unsigned long long)cli_json_u64(leaf, "leaf"));
                cli_text_safe(&text, note);
                find(finding, &text);
            }
        }
    }
    if (code == CLI_EXIT_OK && online == 0 && connection->local == NULL) {
        ps_buf_xprintf(&text, "no agent is online: start one with penstock-agent --coordinator");
        find(finding, &text);
    }
    json_decref(page);
    ps_buf_fini(&text);
    return code;
}

static int
explain(struct cli_connection *connection, const char *name, const json_t *pipeline,
        struct finding *finding)
{
    static const char *const looked[][2] = {
        {"batches", "waiting"},
        {"batches", "quarantined"},
        {"batches", "cancelling"},
        {"batch-partitions", "quarantined"},
    };
    int code = CLI_EXIT_OK;
    struct ps_buf text = PS_BUF_INIT;
    const char *reason = cli_json_str(pipeline, "reason");
    if (reason[0] != '\0') {
        cli_text_safe(&text, reason);
        find(finding, &text);
    }
    for (size_t i = 0; i < sizeof looked / sizeof looked[0] && code == CLI_EXIT_OK; i++) {
        code = explain_items(connection, name, looked[i][0], looked[i][1], finding);
    }
    if (code == CLI_EXIT_OK && !cli_follow_ended(cli_json_str(pipeline, "state"))) {
        code = explain_agents(connection, finding);
    }
    ps_buf_fini(&text);
    return code;
}

static void
print_findings(const json_t *doc, enum cli_form form)
{
    if (form == CLI_FORM_JSON || form == CLI_FORM_YAML) {
        (void)cli_out_doc(doc, form);
        return;
    }
    struct ps_buf text = PS_BUF_INIT;
    ps_buf_xprintf(&text, "%s is %s: %s\n", cli_json_str(doc, "name"), cli_json_str(doc, "state"),
                   cli_json_str(doc, "meaning"));
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(doc, "findings"), index, item)
    {
        ps_buf_xprintf(&text, "- ");
        cli_text_safe(&text, json_string_value(item));
        ps_buf_xprintf(&text, "\n");
    }
    (void)cli_out_write(&text);
    ps_buf_fini(&text);
}

int
cli_run_explain(const struct cli_args *args)
{
    struct ps_error err = {0};
    enum cli_form form;
    struct cli_connection connection = {0};
    struct finding finding = {.list = json_array()};
    json_t *pipeline = NULL, *doc = json_object();
    int code = CLI_EXIT_USAGE;
    if (cli_out_form(args, &form, &err) != PS_OK) {
        cli_complain("%s", err.text);
    } else {
        code = cli_connect(args, &connection);
    }
    if (code == CLI_EXIT_OK) {
        code = cli_connection_pipeline(&connection, "GET", args->words[0], "", &pipeline);
    }
    if (code == CLI_EXIT_OK) {
        code = explain(&connection, args->words[0], pipeline, &finding);
    }
    if (code == CLI_EXIT_OK) {
        const char *state = cli_json_str(pipeline, "state");
        json_object_set_new(doc, "name", json_string(args->words[0]));
        json_object_set_new(doc, "state", json_string(state));
        json_object_set_new(doc, "meaning", json_string(meaning(state)));
        json_object_set(doc, "findings", finding.list);
        print_findings(doc, form);
    }
    json_decref(doc);
    json_decref(finding.list);
    json_decref(pipeline);
    cli_disconnect(&connection);
    return code;
}
