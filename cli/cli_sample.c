/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_sample.h"

#include "cli/cli_json.h"
#include "cli/cli_out.h"
#include "cli/cli_text.h"
#include "common/json.h"

enum { CELL_COLUMNS = 32, ROWS_MOST = 10 };

static void
columns_table(const json_t *columns, struct ps_buf *out)
{
    struct cli_table table;
    cli_table_init(&table, 3);
    cli_table_cell(&table, "COLUMN");
    cli_table_cell(&table, "TYPE");
    cli_table_cell(&table, "FROM");
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)columns, index, item)
    {
        const char *from = cli_json_str(item, "from");
        cli_table_cell(&table, cli_json_str(item, "name"));
        cli_table_cell(&table, cli_json_str(item, "type"));
        cli_table_cell(&table, from[0] != '\0' ? from : cli_json_str(item, "value"));
    }
    cli_table_print(&table, out);
    cli_table_fini(&table);
}

/* Cells are values as JSON: null is NULL, an empty text is shown as one. */
static void
cell(struct cli_table *table, const json_t *value)
{
    struct ps_buf text = PS_BUF_INIT, cut = PS_BUF_INIT;
    if (json_is_null(value) || value == NULL) {
        ps_buf_xprintf(&text, "NULL");
    } else if (json_is_string(value) && json_string_length(value) > 0) {
        cli_text_safe(&text, json_string_value(value));
    } else {
        ps_json_print(value, 0, &text);
    }
    cli_text_fit(&cut, ps_buf_str(&text), CELL_COLUMNS);
    cli_table_cell(table, ps_buf_str(&cut));
    ps_buf_fini(&text);
    ps_buf_fini(&cut);
}

static void
rows_table(const json_t *columns, const json_t *rows, struct ps_buf *out)
{
    struct cli_table table;
    size_t index, count = json_array_size(columns);
    json_t *item;
    cli_table_init(&table, count);
    json_array_foreach((json_t *)(uintptr_t)columns, index, item)
    {
        cli_table_cell(&table, cli_json_str(item, "name"));
    }
    json_array_foreach((json_t *)(uintptr_t)rows, index, item)
    {
        json_t *row = NULL;
        if (index >= ROWS_MOST || !json_is_string(item) ||
            ps_json_load(ps_span(json_string_value(item), json_string_length(item)),
                         PS_JSON_MAX_BYTES, &row, NULL) != PS_OK) {
            continue;
        }
        for (size_t c = 0; c < count; c++) {
            cell(&table, json_array_get(row, c));
        }
        json_decref(row);
    }
    cli_table_print(&table, out);
    cli_table_fini(&table);
}

void
cli_sample_text(const json_t *sample, struct ps_buf *out)
{
    const json_t *columns = json_object_get(sample, "columns");
    const json_t *rows = json_object_get(sample, "rows");
    const json_t *objects = json_object_get(sample, "objects");
    const char *note = cli_json_str(sample, "format_note");
    if (note[0] != '\0') {
        cli_text_safe(out, note);
        ps_buf_xappend(out, "\n", 1);
    }
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)objects, index, item)
    {
        ps_buf_xprintf(out, "%s", index == 0 ? "looked at " : ", ");
        cli_text_safe(out, json_string_value(item) != NULL ? json_string_value(item) : "");
    }
    ps_buf_xprintf(out, "%s\n", json_array_size(objects) > 0 ? "\n" : "");
    columns_table(columns, out);
    if (json_array_size(rows) > 0 && json_array_size(columns) > 0) {
        ps_buf_xappend(out, "\n", 1);
        rows_table(columns, rows, out);
    }
}
