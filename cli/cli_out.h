/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_out.h: what is printed. Data goes to standard output, messages to standard error.
 * Tables are measured first and printed once; JSON and YAML show the resource as it came.
 * Threads: main only. */
#ifndef CLI_CLI_OUT_H
#define CLI_CLI_OUT_H

#include <jansson.h>

#include "cli/cli_args.h"
#include "common/buf.h"
#include "common/error.h"

enum cli_form { CLI_FORM_TABLE, CLI_FORM_WIDE, CLI_FORM_JSON, CLI_FORM_YAML };

/* From -o; PS_REFUSED when it is none of them. Not given: TABLE. */
PS_MUSTCHECK enum ps_status cli_out_form(const struct cli_args *args, enum cli_form *out,
                                         struct ps_error *err);

/* "penstock: …" to standard error, with a line end. */
void cli_say(const char *fmt, ...) PS_PRINTF(1, 2);
/* "penstock: error: …", red on a terminal. */
void cli_complain(const char *fmt, ...) PS_PRINTF(1, 2);
/* True when standard error is a terminal and NO_COLOR is not set. */
bool cli_out_color(void);
/* The buffer to standard output. False when that failed (a full disk, a closed pipe). */
bool cli_out_write(struct ps_buf *text);

/* A table: cells are added row by row, the first row is the heading. */
struct cli_table {
    size_t columns;
    char **cells;
    size_t count;
    size_t room;
    bool right[16]; /* columns that are numbers */
};
void cli_table_init(struct cli_table *table, size_t columns);
/* The text is made safe for a terminal; "" is shown as "-". */
void cli_table_cell(struct cli_table *table, const char *text);
void cli_table_cellf(struct cli_table *table, const char *fmt, ...) PS_PRINTF(2, 3);
void cli_table_print(const struct cli_table *table, struct ps_buf *out);
void cli_table_fini(struct cli_table *table);

/* JSON or YAML, to standard output. */
bool cli_out_doc(const json_t *doc, enum cli_form form);

#endif
