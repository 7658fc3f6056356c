/* SPDX-License-Identifier: Apache-2.0 */
/* rejects list|show|export: read from the destination by an agent. */
#include "cli/cli_rejects.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_command.h"
#include "cli/cli_exit.h"
#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_text.h"
#include "common/alloc.h"
#include "common/json.h"
#include "common/percent.h"
#include "common/utf8.h"

enum { LIMIT_DEFAULT = 200, HEX_BYTES = 512 };

/* ---- which */

static void
add_value(struct ps_buf *query, const char *key, const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    ps_buf_xprintf(query, "%s%s=", query->len > 0 ? "&" : "", key);
    for (const char *at = value; *at != '\0'; at++) {
        ps_buf_xprintf(query, strchr(plain, *at) != NULL ? "%c" : "%%%02X", (unsigned char)*at);
    }
}

int
cli_rejects_query(const struct cli_args *args, struct ps_buf *out)
{
    static const struct {
        enum cli_option option;
        const char *key;
    } filters[] = {{CLI_OPT_ONLY, "state"},
                   {CLI_OPT_CODE, "code"},
                   {CLI_OPT_OBJECT, "object"},
                   {CLI_OPT_BATCH, "batch"}};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const char *value = cli_args_get(args, filters[i].option);
        if (value != NULL) {
            add_value(out, filters[i].key, value);
        }
    }
    struct ps_buf numbers = PS_BUF_INIT;
    const char *ids = cli_args_get(args, CLI_OPT_IDS);
    ps_buf_xprintf(&numbers, "%s", ids == NULL ? "" : ids);
    for (size_t i = 2; i < args->word_count; i++) {
        ps_buf_xprintf(&numbers, "%s%s", numbers.len > 0 ? "," : "", args->words[i]);
    }
    const char *text = ps_buf_str(&numbers);
    bool good = text[strspn(text, "0123456789,-")] == '\0';
    if (!good) {
        cli_complain("expected numbers of rejects, as 3,7-9; found %s", text);
    } else if (numbers.len > 0) {
        add_value(out, "ids", text);
    }
    ps_buf_fini(&numbers);
    return good ? CLI_EXIT_OK : CLI_EXIT_USAGE;
}

/* ---- list */

static void
number_cell(struct cli_table *table, const json_t *item, const char *key)
{
    bool there = json_object_get(item, key) != NULL;
    cli_table_cellf(table, there ? "%llu" : "-", (unsigned long long)cli_json_u64(item, key));
}

static void
list_text(const json_t *items, bool wide, struct ps_buf *out)
{
    static const char *const headings[] = {"N",      "STATE",  "OBJECT",     "LINE",
                                           "OFFSET", "COLUMN", "CODE",       "REASON",
                                           "BATCH",  "AT",     "REPLAYED BY"};
    size_t count = wide ? 11 : 8;
    struct cli_table table;
    cli_table_init(&table, count);
    table.right[0] = table.right[3] = table.right[4] = true;
    for (size_t i = 0; i < count; i++) {
        cli_table_cell(&table, headings[i]);
    }
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)items, index, item)
    {
        number_cell(&table, item, "n");
        cli_table_cell(&table, cli_json_str(item, "state"));
        cli_table_cell(&table, cli_json_str(item, "object"));
        number_cell(&table, item, "line");
        number_cell(&table, item, "offset");
        cli_table_cell(&table, cli_json_str(item, "column"));
        cli_table_cell(&table, cli_json_str(item, "code"));
        cli_table_cell(&table, cli_json_str(item, "reason"));
        if (wide) {
            cli_table_cell(&table, cli_json_str(item, "batch"));
            cli_table_cell(&table, cli_json_str(item, "at"));
            cli_table_cell(&table, cli_json_str(item, "replayed_by"));
        }
    }
    cli_table_print(&table, out);
    cli_table_fini(&table);
}

/* ---- show */

static bool
take_raw(const json_t *item, struct ps_buf *raw)
{
    return cli_json_bytes(item, "raw", raw) || cli_json_bytes(item, "raw_b64", raw);
}

static bool
is_text(struct ps_span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] < ' ' && bytes.ptr[i] != '\n' && bytes.ptr[i] != '\r' &&
            bytes.ptr[i] != '\t') {
            return false;
        }
    }
    return ps_utf8_valid(bytes);
}

static void
show_hex(struct ps_span bytes, struct ps_buf *out)
{
    for (size_t at = 0; at < bytes.len && at < HEX_BYTES; at += 16) {
        ps_buf_xprintf(out, "\n  %04zx ", at);
        for (size_t i = at; i < at + 16 && i < bytes.len; i++) {
            ps_buf_xprintf(out, " %02x", bytes.ptr[i]);
        }
    }
    ps_buf_xprintf(out, bytes.len > HEX_BYTES ? "\n  …" : "");
}

/* Line by line, so that a record of several lines stays readable. */
static void
show_raw(struct ps_span raw, struct ps_buf *out)
{
    for (size_t at = 0; at < raw.len;) {
        const uint8_t *end = memchr(raw.ptr + at, '\n', raw.len - at);
        size_t len = (end != NULL ? (size_t)(end - raw.ptr) : raw.len) - at;
        ps_buf_xprintf(out, "\n  | ");
        cli_text_safe_bytes(out, raw.ptr + at, len);
        at += len + 1;
    }
    if (!is_text(raw)) {
        show_hex(raw, out);
    }
}

/* One a line, the guilty column marked. */
static void
show_fields(const json_t *item, struct ps_buf *out)
{
    const char *column = cli_json_str(item, "column");
    const char *name;
    json_t *value;
    json_t *fields = json_object_get(item, "fields");
    json_object_foreach(fields, name, value)
    {
        ps_buf_xprintf(out, "\n  %s ", strcmp(name, column) == 0 ? ">" : " ");
        cli_text_safe(out, name);
        ps_buf_xprintf(out, ": ");
        if (json_is_string(value)) {
            cli_text_safe_bytes(out, json_string_value(value), json_string_length(value));
        } else {
            ps_json_print(value, 0, out);
        }
    }
}

static void
show_one(const json_t *item, struct ps_buf *out)
{
    struct ps_buf raw = PS_BUF_INIT;
    const char *column = cli_json_str(item, "column");
    const char *edited = cli_json_str(item, "edited");
    const char *replayed_by = cli_json_str(item, "replayed_by");
    ps_buf_xprintf(out, "reject %llu, %s: ", (unsigned long long)cli_json_u64(item, "n"),
                   cli_json_str(item, "state"));
    cli_text_safe(out, cli_json_str(item, "object"));
    if (json_object_get(item, "line") != NULL) {
        ps_buf_xprintf(out, " line %llu", (unsigned long long)cli_json_u64(item, "line"));
    }
    ps_buf_xprintf(out, " offset %llu, %llu bytes",
                   (unsigned long long)cli_json_u64(item, "offset"),
                   (unsigned long long)cli_json_u64(item, "length"));
    if (column[0] != '\0') {
        ps_buf_xprintf(out, ", column ");
        cli_text_safe(out, column);
    }
    ps_buf_xprintf(out, "\n  %s: ", cli_json_str(item, "code"));
    cli_text_safe(out, cli_json_str(item, "reason"));
    ps_buf_xprintf(out, "\n  batch %s, %s", cli_json_str(item, "batch"), cli_json_str(item, "at"));
    if (replayed_by[0] != '\0') {
        ps_buf_xprintf(out, "\n  replayed by %s, %s", replayed_by,
                       cli_json_str(item, "replayed_at"));
    }
    if (edited[0] != '\0') {
        ps_buf_xprintf(out, "\n  as it was corrected (%s) and refused again:", edited);
    }
    show_fields(item, out);
    if (take_raw(item, &raw)) {
        show_raw(ps_buf_span(&raw), out);
    }
    ps_buf_xprintf(out, "\n");
    ps_buf_fini(&raw);
}

static void
show_text(const json_t *items, struct ps_buf *out)
{
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)items, index, item)
    {
        ps_buf_xprintf(out, "%s", index > 0 ? "\n" : "");
        show_one(item, out);
    }
}

/* ---- export */

/* A line for an editor: bytes as a text where they are one, and what a replay needs to find it. */
static void
export_line(const json_t *item, struct ps_buf *out)
{
    static const char *const kept[] = {"object", "column", "code", "reason", "edited"};
    json_t *line = json_object();
    struct ps_buf raw = PS_BUF_INIT;
    json_object_set_new(line, "n", json_integer((json_int_t)cli_json_u64(item, "n")));
    json_object_set_new(line, "batch", json_string(cli_json_str(item, "batch")));
    json_object_set_new(line, "offset", json_integer((json_int_t)cli_json_u64(item, "offset")));
    if (json_object_get(item, "line") != NULL) {
        json_object_set_new(line, "line", json_integer((json_int_t)cli_json_u64(item, "line")));
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (cli_json_str(item, kept[i])[0] != '\0') {
            json_object_set(line, kept[i], json_object_get(item, kept[i]));
        }
    }
    if (json_object_get(item, "fields") != NULL) {
        json_object_set(line, "fields", json_object_get(item, "fields"));
    }
    if (take_raw(item, &raw) && ps_utf8_valid(ps_buf_span(&raw)) &&
        memchr(raw.len > 0 ? (const void *)raw.ptr : "", 0, raw.len) == NULL) {
        json_object_set_new(line, "raw", json_stringn((const char *)raw.ptr, raw.len));
    } else if (raw.len > 0) {
        json_object_set(line, "raw_b64", json_object_get(item, "raw_b64"));
    }
    char *text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);
    ps_buf_xprintf(out, "%s\n", text == NULL ? "{}" : text);
    free(text);
    json_decref(line);
    ps_buf_fini(&raw);
}

static bool
write_file(const char *path, const struct ps_buf *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    size_t at = 0;
    while (fd >= 0 && at < text->len) {
        ssize_t put = write(fd, text->ptr + at, text->len - at);
        if (put < 0 && errno != EINTR) {
            break;
        }
        at += put > 0 ? (size_t)put : 0;
    }
    bool good = fd >= 0 && at == text->len;
    if (fd >= 0 && close(fd) != 0) {
        good = false;
    }
    if (!good) {
        cli_complain("%s: %s", path, strerror(errno));
    }
    return good;
}

static bool
print_export(const struct cli_args *args, const json_t *items)
{
    const char *path = cli_args_get(args, CLI_OPT_OUTPUT);
    struct ps_buf text = PS_BUF_INIT;
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)items, index, item)
    {
        export_line(item, &text);
    }
    bool ok =
        path == NULL || strcmp(path, "-") == 0 ? cli_out_write(&text) : write_file(path, &text);
    if (ok && path != NULL && strcmp(path, "-") != 0) {
        const char *state = cli_args_get(args, CLI_OPT_STATE);
        cli_say("%zu rejects in %s; edit fields or raw, drop the lines that are not to be loaded, "
                "then: penstock rejects replay %s --file %s%s%s",
                json_array_size(items), path, args->words[1], path,
                state == NULL ? "" : " --state ", state == NULL ? "" : state);
    }
    ps_buf_fini(&text);
    return ok;
}

static int
print_rejects(const struct cli_args *args, const json_t *items, enum cli_form form)
{
    struct ps_buf text = PS_BUF_INIT;
    const char *verb = args->words[0];
    bool ok;
    if (strcmp(verb, "export") == 0) {
        ok = print_export(args, items);
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

static int
read_rejects(const struct cli_args *args, struct cli_connection *connection, enum cli_form form,
             uint64_t limit)
{
    const char *verb = args->words[0], *name = args->words[1];
    struct ps_buf query = PS_BUF_INIT;
    json_t *items = NULL;
    bool more = false;
    int code = cli_rejects_query(args, &query);
    bool is_export = strcmp(verb, "export") == 0;
    if (strcmp(verb, "list") == 0 && form != CLI_FORM_JSON && form != CLI_FORM_YAML) {
        add_value(&query, "brief", "1");
    } else if (strcmp(verb, "list") != 0) {
        add_value(&query, "fields", "1");
    }
    /* What is done with is not for an editor. */
    if (is_export && !cli_args_has(args, CLI_OPT_ONLY)) {
        add_value(&query, "state", "open");
    }
    if (code == CLI_EXIT_OK) {
        char *path = cli_http_pipeline_path(name, "/rejects");
        struct cli_list list = {.path = path, .query = ps_buf_str(&query), .limit = limit};
        code = cli_connection_list(connection, &list, &items, &more);
        ps_free(path);
    }
    if (code == CLI_EXIT_OK && args->word_count > 2 && json_array_size(items) == 0) {
        cli_complain("there is no such reject");
        code = CLI_EXIT_FAILED;
    } else if (code == CLI_EXIT_OK) {
        code = print_rejects(args, items, form);
    }
    if (code == CLI_EXIT_OK && more) {
        cli_say("there are more; --limit 0 shows all");
    }
    ps_buf_fini(&query);
    json_decref(items);
    return code;
}

int
cli_run_rejects(const struct cli_args *args)
{
    struct ps_error err = {0};
    enum cli_form form = CLI_FORM_TABLE;
    struct cli_connection connection = {0};
    const char *verb = args->words[0], *name = args->words[1];
    bool is_export = strcmp(verb, "export") == 0;
    uint64_t limit = is_export ? 0 : LIMIT_DEFAULT;
    if ((!is_export && cli_out_form(args, &form, &err) != PS_OK) ||
        !cli_args_number(args, CLI_OPT_LIMIT, &limit)) {
        cli_complain("%s", err.text[0] != '\0' ? err.text : "--limit: expected a number");
        return CLI_EXIT_USAGE;
    }
    int code = cli_connect(args, &connection);
    if (code == CLI_EXIT_OK) {
        code = cli_connect_agent(&connection, name);
    }
    if (code == CLI_EXIT_OK) {
        code = strcmp(verb, "replay") == 0 || strcmp(verb, "discard") == 0
                   ? cli_rejects_replay(args, &connection, name)
                   : read_rejects(args, &connection, form, limit);
    }
    cli_disconnect(&connection);
    return code;
}
