/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_text.h"
#include "common/alloc.h"
#include "common/json.h"
#include "common/yaml.h"

enum ps_status
cli_out_form(const struct cli_args *args, enum cli_form *out, struct ps_error *err)
{
    static const char *const names[] = {"table", "wide", "json", "yaml"};
    const char *word = cli_args_get(args, CLI_OPT_OUTPUT);
    if (word == NULL) {
        *out = CLI_FORM_TABLE;
        return PS_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(word, names[i]) == 0) {
            *out = (enum cli_form)i;
            return PS_OK;
        }
    }
    return ps_fail(err, PS_REFUSED, "-o %s: expected table, wide, json or yaml", word);
}

bool
cli_out_color(void)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return (no == NULL || no[0] == '\0') && isatty(STDERR_FILENO) == 1 &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* One write, so that a line is never torn by another program's. */
PS_PRINTF(2, 0)
static void
write_message(const char *head, const char *fmt, va_list args)
{
    char text[2048];
    vsnprintf(text, sizeof text, fmt, args);
    struct ps_buf line = PS_BUF_INIT;
    ps_buf_xprintf(&line, "%s", head);
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        char *part = ps_xstrndup(at, len);
        cli_text_safe(&line, part);
        ps_free(part);
        ps_buf_xappend(&line, "\n", 1);
        at += len + (at[len] == '\n');
    }
    ssize_t written = write(STDERR_FILENO, line.ptr, line.len);
    (void)written; /* there is nobody left to tell */
    ps_buf_fini(&line);
}

void
cli_say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    write_message("penstock: ", fmt, args);
    va_end(args);
}

void
cli_complain(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    write_message(cli_out_color() ? "penstock: \x1b[31merror:\x1b[0m " : "penstock: error: ", fmt,
                  args);
    va_end(args);
}

bool
cli_out_write(struct ps_buf *text)
{
    bool ok = fwrite(text->ptr, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    ps_buf_clear(text);
    return ok;
}

void
cli_table_init(struct cli_table *table, size_t columns)
{
    *table = (struct cli_table){.columns = columns};
}

void
cli_table_cell(struct cli_table *table, const char *text)
{
    struct ps_buf safe = PS_BUF_INIT;
    cli_text_safe(&safe, text[0] != '\0' ? text : "-");
    if (table->count == table->room) {
        table->room = table->room == 0 ? 64 : table->room * 2;
        table->cells = ps_xrealloc(table->cells, table->room * sizeof *table->cells);
    }
    table->cells[table->count++] = ps_xstrdup(ps_buf_str(&safe));
    ps_buf_fini(&safe);
}

void
cli_table_cellf(struct cli_table *table, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cli_table_cell(table, text);
}

void
cli_table_print(const struct cli_table *table, struct ps_buf *out)
{
    size_t *widths = ps_xcalloc(table->columns, sizeof *widths);
    for (size_t i = 0; i < table->count; i++) {
        size_t width = cli_text_width(table->cells[i], strlen(table->cells[i]));
        if (width > widths[i % table->columns]) {
            widths[i % table->columns] = width;
        }
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        bool last = column + 1 == table->columns;
        size_t pad = widths[column] - cli_text_width(table->cells[i], strlen(table->cells[i]));
        bool right = column < sizeof table->right && table->right[column];
        ps_buf_xprintf(out, "%*s%s", right ? (int)pad : 0, "", table->cells[i]);
        if (last) {
            ps_buf_xappend(out, "\n", 1);
        } else {
            ps_buf_xprintf(out, "%*s", (int)(right ? 2 : pad + 2), "");
        }
    }
    ps_free(widths);
}

void
cli_table_fini(struct cli_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        ps_free(table->cells[i]);
    }
    ps_free(table->cells);
    *table = (struct cli_table){0};
}

bool
cli_out_doc(const json_t *doc, enum cli_form form)
{
    struct ps_buf text = PS_BUF_INIT;
    if (form == CLI_FORM_YAML) {
        ps_yaml_print(doc, &text);
    } else {
        ps_json_print(doc, 2, &text);
        ps_buf_xappend(&text, "\n", 1);
    }
    bool ok = cli_out_write(&text);
    ps_buf_fini(&text);
    return ok;
}
