/* SPDX-License-Identifier: Apache-2.0 */
/* rejects list|show|export: read from the destination by an agent. */
#include <string.h>

#include "cli/cli_command.h"
#include "cli/cli_connect.h"
#include "cli/cli_exit.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_text.h"
#include "common/alloc.h"
#include "common/json.h"

enum { LIMIT_DEFAULT = 200 };

static void
number_cell(struct cli_table *table, const json_t *item, const char *key)
{
    bool there = json_object_get(item, key) != NULL;
    cli_table_cellf(table, there ? "%llu" : "-", (unsigned long long)cli_json_u64(item, key));
}

static void
list_text(const json_t *items, bool wide, struct ps_buf *out)
{
    static const char *const headings[] = {"OBJECT", "LINE",   "OFFSET", "COLUMN",
                                           "CODE",   "REASON", "BATCH",  "AT"};
    size_t count = wide ? 8 : 6;
    struct cli_table table;
    cli_table_init(&table, count);
    table.right[1] = table.right[2] = true;
    for (size_t i = 0; i < count; i++) {
        cli_table_cell(&table, headings[i]);
    }
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)items, index, item)
    {
        cli_table_cell(&table, cli_json_str(item, "object"));
        number_cell(&table, item, "line");
        number_cell(&table, item, "offset");
        cli_table_cell(&table, cli_json_str(item, "column"));
        cli_table_cell(&table, cli_json_str(item, "code"));
        cli_table_cell(&table, cli_json_str(item, "reason"));
        if (wide) {
            cli_table_cell(&table, cli_json_str(item, "batch"));
            cli_table_cell(&table, cli_json_str(item, "at"));
        }
    }
    cli_table_print(&table, out);
    cli_table_fini(&table);
}

static void
show_text(const json_t *items, struct ps_buf *out)
{
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)items, index, item)
    {
        struct ps_buf raw = PS_BUF_INIT;
        const char *column = cli_json_str(item, "column");
        ps_buf_xprintf(out, "%s", index > 0 ? "\n" : "");
        cli_text_safe(out, cli_json_str(item, "object"));
        if (json_object_get(item, "line") != NULL) {
            ps_buf_xprintf(out, " line %llu", (unsigned long long)cli_json_u64(item, "line"));
        }
        ps_buf_xprintf(out, " offset %llu", (unsigned long long)cli_json_u64(item, "offset"));
        if (column[0] != '\0') {
            ps_buf_xprintf(out, " column ");
            cli_text_safe(out, column);
        }
        ps_buf_xprintf(out, "\n  %s: ", cli_json_str(item, "code"));
        cli_text_safe(out, cli_json_str(item, "reason"));
        if (cli_json_bytes(item, "raw", &raw) || cli_json_bytes(item, "raw_b64", &raw)) {
            /* Line by line, so that a record of several lines stays readable. */
            for (size_t at = 0; at < raw.len;) {
                const uint8_t *end = memchr(raw.ptr + at, '\n', raw.len - at);
                size_t len = (end != NULL ? (size_t)(end - raw.ptr) : raw.len) - at;
                ps_buf_xprintf(out, "\n  | ");
                cli_text_safe_bytes(out, raw.ptr + at, len);
                at += len + 1;
            }
        }
        ps_buf_xprintf(out, "\n");
        ps_buf_fini(&raw);
    }
}

static int
print_rejects(const char *verb, const json_t *items, enum cli_form form)
{
    struct ps_buf text = PS_BUF_INIT;
    bool ok;
    if (strcmp(verb, "export") == 0) {
        size_t index;
        json_t *item;
        json_array_foreach((json_t *)(uintptr_t)items, index, item)
        {
            ps_json_print(item, 0, &text);
            ps_buf_xappend(&text, "\n", 1);
        }
        ok = cli_out_write(&text);
    } else if (form == CLI_FORM_JSON || form == CLI_FORM_YAML) {
        json_t *doc = json_object();
        json_object_set(doc, "items", (json_t *)(uintptr_t)items);
        ok = cli_out_doc(doc, form);
        json_decref(doc);
    } else {
        if (strcmp(verb, "show") == 0) {
            show_text(items, &text);
        } else {
            list_text(items, form == CLI_FORM_WIDE, &text);
        }
        ok = cli_out_write(&text);
    }
    ps_buf_fini(&text);
    return ok ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

int
cli_run_rejects(const struct cli_args *args)
{
    struct ps_error err = {0};
    enum cli_form form;
    struct cli_connection connection = {0};
    const char *verb = args->words[0], *name = args->words[1];
    uint64_t limit = strcmp(verb, "export") == 0 ? 0 : LIMIT_DEFAULT;
    json_t *items = NULL;
    bool more = false;
    if (cli_out_form(args, &form, &err) != PS_OK || !cli_args_number(args, CLI_OPT_LIMIT, &limit)) {
        cli_complain("%s", err.text[0] != '\0' ? err.text : "--limit: expected a number");
        return CLI_EXIT_USAGE;
    }
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK) {
        code = cli_connect_agent(&connection, name);
    }
    if (code == CLI_EXIT_OK) {
        char *path = cli_http_pipeline_path(name, "/rejects");
        struct cli_list list = {.path = path, .query = "", .limit = limit};
        code = cli_connection_list(&connection, &list, &items, &more);
        ps_free(path);
    }
    if (code == CLI_EXIT_OK) {
        code = print_rejects(verb, items, form);
        if (more) {
            cli_say("there are more; --limit 0 shows all");
        }
    }
    json_decref(items);
    cli_disconnect(&connection);
    return code;
}
