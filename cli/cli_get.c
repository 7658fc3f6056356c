/* SPDX-License-Identifier: Apache-2.0 */
/* get, agents: lists of resources. */
#include <string.h>

#include "cli/cli_command.h"
#include "cli/cli_connect.h"
#include "cli/cli_exit.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_text.h"
#include "common/alloc.h"
#include "common/human.h"

enum { LIMIT_DEFAULT = 200 };

enum shown { TEXT, COUNT, BYTES, NAME, SHARE_OF_OBJECTS };

/* One column of a table: where its text comes from. */
struct column {
    const char *heading;
    const char *path;
    enum shown shown;
    bool wide; /* only with -o wide */
};

static const struct column pipeline_columns[] = {
    {"NAME", "name", TEXT, false},
    {"STATE", "state", TEXT, false},
    {"OBJECTS", "totals", SHARE_OF_OBJECTS, false},
    {"ROWS", "totals.counts.inserted", COUNT, false},
    {"REJECTED", "totals.counts.rejected", COUNT, false},
    {"BYTES", "totals.bytes_done", BYTES, false},
    {"TABLE", "table", TEXT, false},
    {"REASON", "reason", TEXT, false},
    {"GENERATION", "generation", COUNT, true},
    {"SPEC", "spec_rev", COUNT, true},
    {"STARTED", "started_at", TEXT, true},
    {"ENDED", "ended_at", TEXT, true},
    {"UUID", "uuid", TEXT, true},
};
static const struct column partition_columns[] = {
    {"ID", "id", COUNT, false},           {"STATE", "state", TEXT, false},
    {"OFFSET", "offset", COUNT, false},   {"SIZE", "size_bytes", BYTES, false},
    {"RECORDS", "records", COUNT, false}, {"NAME", "name", NAME, false},
    {"REASON", "reason", TEXT, false},    {"VERSION", "version", TEXT, true},
    {"BATCH", "batch", TEXT, true},
};
static const struct column batch_columns[] = {
    {"ID", "id", TEXT, false},
    {"STATE", "state", TEXT, false},
    {"AGENT", "agent", TEXT, false},
    {"LEAF", "leaf", COUNT, false},
    {"PHASE", "phase", TEXT, false},
    {"RANGES", "ranges", COUNT, false},
    {"ROWS", "counts.inserted", COUNT, false},
    {"REJECTED", "counts.rejected", COUNT, false},
    {"ATTEMPTS", "attempts", COUNT, false},
    {"OBJECT", "first_object", NAME, false},
    {"REASON", "reason", TEXT, false},
    {"EPOCH", "epoch", COUNT, true},
    {"NEXT-RETRY", "next_retry_at", TEXT, true},
};
static const struct column agent_columns[] = {
    {"NAME", "name", TEXT, false},       {"STATE", "state", TEXT, false},
    {"LEAVES", "leaves", COUNT, false},  {"LAST-SEEN", "last_seen_at", TEXT, false},
    {"VERSION", "version", TEXT, false},
};
static const struct column leaf_columns[] = {
    {"AGENT", "agent", TEXT, false},        {"LEAF", "leaf", COUNT, false},
    {"PID", "pid", COUNT, false},           {"STATE", "state", TEXT, false},
    {"PHASE", "phase", TEXT, false},        {"ROWS", "rows_total", COUNT, false},
    {"BYTES", "bytes_total", BYTES, false}, {"RESTARTS", "restarts", COUNT, false},
    {"OBJECT", "object", NAME, false},      {"NOTE", "note", TEXT, false},
};
static const struct column event_columns[] = {
    {"ID", "id", COUNT, false},
    {"AT", "at", TEXT, false},
    {"PIPELINE", "pipeline", TEXT, false},
    {"KIND", "kind", TEXT, false},
    {"SUBJECT", "subject", TEXT, false},
    {"TEXT", "text", TEXT, false},
};

struct columns {
    const struct column *items;
    size_t count;
};
#define COLUMNS(array) ((struct columns){array, sizeof array / sizeof array[0]})

static void
table_cell(struct cli_table *table, const struct column *column, const json_t *item)
{
    char text[PS_HUMAN_BYTES];
    struct ps_buf name = PS_BUF_INIT;
    uint64_t number = cli_json_u64(item, column->path);
    bool there = cli_json_at(item, column->path) != NULL;
    switch (column->shown) {
    case TEXT:
        cli_table_cell(table, cli_json_str(item, column->path));
        break;
    case COUNT:
        cli_table_cellf(table, "%.0llu%s", (unsigned long long)number,
                        there && number == 0 ? "0" : "");
        break;
    case BYTES:
        cli_table_cell(table, there ? ps_human_show_bytes(number, text) : "");
        break;
    case NAME:
        cli_json_name(item, column->path, &name);
        cli_table_cell(table, ps_buf_str(&name));
        ps_buf_fini(&name);
        break;
    case SHARE_OF_OBJECTS:
        cli_table_cellf(table, "%llu/%llu",
                        (unsigned long long)cli_json_u64(item, "totals.objects_done"),
                        (unsigned long long)cli_json_u64(item, "totals.objects"));
        break;
    }
}

static void
items_table(const json_t *items, struct columns columns, bool wide, struct ps_buf *out)
{
    struct cli_table table;
    size_t shown = 0;
    cli_table_init(&table, 0);
    for (size_t c = 0; c < columns.count; c++) {
        if (!columns.items[c].wide || wide) {
            cli_table_cell(&table, columns.items[c].heading);
            if (shown < sizeof table.right) {
                table.right[shown] =
                    columns.items[c].shown == COUNT || columns.items[c].shown == BYTES;
            }
            shown++;
        }
    }
    table.columns = shown;
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)items, index, item)
    {
        for (size_t c = 0; c < columns.count; c++) {
            if (!columns.items[c].wide || wide) {
                table_cell(&table, &columns.items[c], item);
            }
        }
    }
    cli_table_print(&table, out);
    cli_table_fini(&table);
}

/* A line a leaf, each with its agent's name. A new array. */
static json_t *
leaves_of(const json_t *agents)
{
    json_t *leaves = json_array();
    size_t a, l;
    json_t *agent, *leaf;
    json_array_foreach((json_t *)(uintptr_t)agents, a, agent)
    {
        json_array_foreach(json_object_get(agent, "leaf"), l, leaf)
        {
            json_t *copy = json_copy(leaf);
            json_object_set_new(copy, "agent", json_string(cli_json_str(agent, "name")));
            json_array_append_new(leaves, copy);
        }
    }
    return leaves;
}

/* Only items whose key has that value; all where it is NULL. Steals items. */
static json_t *
only_with(json_t *items, const char *key, const char *value)
{
    if (value == NULL) {
        return items;
    }
    json_t *found = json_array();
    size_t index;
    json_t *item;
    json_array_foreach(items, index, item)
    {
        if (strcmp(cli_json_str(item, key), value) == 0) {
            json_array_append(found, item);
        }
    }
    json_decref(items);
    return found;
}

static int
print_items(json_t *items, struct columns columns, enum cli_form form)
{
    bool ok;
    if (form == CLI_FORM_JSON || form == CLI_FORM_YAML) {
        json_t *doc = json_object();
        json_object_set(doc, "items", items);
        ok = cli_out_doc(doc, form);
        json_decref(doc);
    } else {
        struct ps_buf text = PS_BUF_INIT;
        bool leaves = columns.items == agent_columns && form == CLI_FORM_WIDE;
        json_t *rows = leaves ? leaves_of(items) : json_incref(items);
        items_table(rows, leaves ? COLUMNS(leaf_columns) : columns, form == CLI_FORM_WIDE, &text);
        ok = cli_out_write(&text);
        json_decref(rows);
        ps_buf_fini(&text);
    }
    return ok ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

/* The pipeline meant: the one named, or the only one there is. *out is the caller's. */
static int
pipeline_of(struct cli_connection *connection, const char *name, char **out)
{
    if (name != NULL) {
        *out = ps_xstrdup(name);
        return CLI_EXIT_OK;
    }
    json_t *items = NULL;
    bool more = false;
    struct cli_list list = {.path = "/v1/pipelines", .query = "", .limit = 2};
    int code = cli_connection_list(connection, &list, &items, &more);
    if (code == CLI_EXIT_OK && json_array_size(items) == 1) {
        *out = ps_xstrdup(cli_json_str(json_array_get(items, 0), "name"));
    } else if (code == CLI_EXIT_OK) {
        cli_complain("%s", json_array_size(items) == 0 ? "there is no pipeline"
                                                       : "of which pipeline? give its NAME");
        code = CLI_EXIT_USAGE;
    }
    json_decref(items);
    return code;
}

struct wanted {
    const char *resource;
    const char *name; /* NULL: not given */
    const char *only;
    uint64_t limit;
};

/* The newest are what a person wants to see. */
static char *
events_query(const struct wanted *wanted)
{
    return ps_xasprintf(
        "last=%llu%s%s", (unsigned long long)(wanted->limit == 0 ? INT32_MAX : wanted->limit),
        wanted->name != NULL ? "&pipeline=" : "", wanted->name != NULL ? wanted->name : "");
}

static int
fetch(struct cli_connection *connection, const struct wanted *wanted, json_t **out, bool *out_more)
{
    char *pipeline = NULL, *path = NULL, *query = NULL;
    int code = CLI_EXIT_OK;
    bool of_pipeline = strncmp(wanted->resource, "batch", 5) == 0;
    if (of_pipeline) {
        code = pipeline_of(connection, wanted->name, &pipeline);
        if (code == CLI_EXIT_OK) {
            char *suffix = ps_xasprintf("/%s", wanted->resource);
            path = cli_http_pipeline_path(pipeline, suffix);
            ps_free(suffix);
        }
        query = wanted->only != NULL ? ps_xasprintf("state=%s", wanted->only) : ps_xstrdup("");
    } else {
        path = ps_xasprintf("/v1/%s", wanted->resource);
        query = strcmp(wanted->resource, "events") == 0 ? events_query(wanted) : ps_xstrdup("");
    }
    if (code == CLI_EXIT_OK && strcmp(wanted->resource, "agents") == 0) {
        /* All agents come on one page. */
        json_t *page = NULL;
        struct cli_request request = {.method = "GET", .path = path};
        code = cli_connection_call(connection, &request, &page);
        *out = code == CLI_EXIT_OK ? json_incref(json_object_get(page, "items")) : NULL;
        json_decref(page);
    } else if (code == CLI_EXIT_OK) {
        struct cli_list list = {.path = path, .query = query, .limit = wanted->limit};
        code = cli_connection_list(connection, &list, out, out_more);
    }
    ps_free(pipeline);
    ps_free(path);
    ps_free(query);
    return code;
}

static struct columns
columns_of(const char *resource)
{
    return strcmp(resource, "pipelines") == 0          ? COLUMNS(pipeline_columns)
           : strcmp(resource, "batch-partitions") == 0 ? COLUMNS(partition_columns)
           : strcmp(resource, "batches") == 0          ? COLUMNS(batch_columns)
           : strcmp(resource, "events") == 0           ? COLUMNS(event_columns)
                                                       : COLUMNS(agent_columns);
}

static int
get(const struct cli_args *args, const struct wanted *wanted)
{
    struct ps_error err = {0};
    enum cli_form form;
    struct cli_connection connection = {0};
    json_t *items = NULL;
    bool more = false;
    if (cli_out_form(args, &form, &err) != PS_OK) {
        cli_complain("%s", err.text);
        return CLI_EXIT_USAGE;
    }
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK) {
        code = fetch(&connection, wanted, &items, &more);
    }
    if (code == CLI_EXIT_OK && strcmp(wanted->resource, "events") != 0 &&
        strncmp(wanted->resource, "batch", 5) != 0) {
        items = only_with(items, "name", wanted->name);
        items = only_with(items, "state", wanted->only);
        if (wanted->name != NULL && json_array_size(items) == 0) {
            cli_complain("there is no %.*s called %s", (int)strlen(wanted->resource) - 1,
                         wanted->resource, wanted->name);
            code = CLI_EXIT_FAILED;
        }
    }
    if (code == CLI_EXIT_OK) {
        code = print_items(items, columns_of(wanted->resource), form);
        if (more) {
            cli_say("there are more; --limit 0 shows all");
        }
    }
    json_decref(items);
    cli_disconnect(&connection);
    return code;
}

int
cli_run_get(const struct cli_args *args)
{
    struct wanted wanted = {.resource = args->words[0],
                            .name = args->word_count > 1 ? args->words[1] : NULL,
                            .only = cli_args_get(args, CLI_OPT_ONLY),
                            .limit = LIMIT_DEFAULT};
    if (!cli_args_number(args, CLI_OPT_LIMIT, &wanted.limit)) {
        cli_complain("--limit: expected a number");
        return CLI_EXIT_USAGE;
    }
    return get(args, &wanted);
}

int
cli_run_agents(const struct cli_args *args)
{
    return get(args, &(struct wanted){.resource = "agents"});
}
