/* SPDX-License-Identifier: Apache-2.0 */
#include "common/option.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/human.h"
#include "common/suggest.h"

enum { HELP_COLUMN = 30 };

const struct option_row *
option_find(const struct option_row *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *
option_nearest(const struct option_row *rows, size_t count, const char *wrong)
{
    struct ps_suggest suggest;
    ps_suggest_start(&suggest, wrong);
    for (size_t i = 0; i < count; i++) {
        ps_suggest_offer(&suggest, rows[i].name);
    }
    return suggest.best;
}

bool
option_is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    for (const char *at = choices;; at++) {
        size_t part = strcspn(at, "|");
        if (part == len && memcmp(at, text, len) == 0) {
            return true;
        }
        at += part;
        if (*at == '\0') {
            return false;
        }
    }
}

static enum ps_status
fail_value(struct ps_error *err, const char *expected, const char *text)
{
    return ps_fail(err, PS_REFUSED, "expected %s, got \"%.200s\"", expected, text);
}

static enum ps_status
check_bounds(const struct option_row *row, int64_t number, const char *text, struct ps_error *err)
{
    if (row->most <= row->least || (number >= row->least && number <= row->most)) {
        return PS_OK;
    }
    char least[PS_HUMAN_BYTES];
    char most[PS_HUMAN_BYTES];
    if (row->type == OPTION_DURATION) {
        ps_human_format_duration(row->least, least);
        ps_human_format_duration(row->most, most);
    } else {
        snprintf(least, sizeof least, "%" PRId64, row->least);
        snprintf(most, sizeof most, "%" PRId64, row->most);
    }
    return ps_fail(err, PS_REFUSED, "expected %s to %s, got \"%.200s\"", least, most, text);
}

static enum ps_status
read_switch(const char *text, bool *out, struct ps_error *err)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return fail_value(err, "true or false", text);
    }
    *out = text[0] == 't';
    return PS_OK;
}

enum ps_status
option_read(const struct option_row *row, const char *text, struct option_value *out,
            struct ps_error *err)
{
    struct option_value value = {.text = text};
    enum ps_status status = PS_OK;
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_LIST:
        break;
    case OPTION_SWITCH:
        status = read_switch(text, &value.on, err);
        break;
    case OPTION_INT:
        status = ps_human_parse_int(text, &value.number)
                     ? check_bounds(row, value.number, text, err)
                     : fail_value(err, "a whole number", text);
        break;
    case OPTION_BYTES:
        if (!ps_human_parse_bytes(text, &value.bytes)) {
            status = fail_value(err, "a size such as 64MiB", text);
        }
        break;
    case OPTION_DURATION:
        status = ps_human_parse_duration(text, &value.number)
                     ? check_bounds(row, value.number, text, err)
                     : fail_value(err, "a duration such as 15s or 250ms", text);
        break;
    case OPTION_ENUM:
        if (!option_is_choice(row->choices, text)) {
            status = fail_value(err, row->choices, text);
        }
        break;
    }
    if (status == PS_OK) {
        *out = value;
    }
    return status;
}

const char *
option_env_name(const char *name, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "PENSTOCK_%s", name);
    for (char *at = out; *at != '\0'; at++) {
        if (*at == '-') {
            *at = '_';
        } else if (*at >= 'a' && *at <= 'z') {
            *at = (char)(*at - 'a' + 'A');
        }
    }
    return out;
}

static const char *
value_name(const struct option_row *row)
{
    if (row->value_name != NULL) {
        return row->value_name;
    }
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_LIST:
        return "TEXT";
    case OPTION_SWITCH:
        return "";
    case OPTION_INT:
        return "N";
    case OPTION_BYTES:
        return "BYTES";
    case OPTION_DURATION:
        return "TIME";
    case OPTION_ENUM:
        return row->choices;
    }
    return "";
}

void
option_help(const struct option_row *rows, size_t count, struct ps_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct option_row *row = &rows[i];
        size_t start = out->len;
        if (row->letter != 0) {
            ps_buf_xprintf(out, "  -%c, --%s", row->letter, row->name);
        } else {
            ps_buf_xprintf(out, "      --%s", row->name);
        }
        const char *value = value_name(row);
        ps_buf_xprintf(out, "%s%s", value[0] == '\0' ? "" : " ", value);
        size_t width = out->len - start;
        /* At least two blanks between the columns; a long option has its help on the next line. */
        if (width + 2 > HELP_COLUMN) {
            ps_buf_xprintf(out, "\n%*s", HELP_COLUMN, "");
        } else {
            ps_buf_xprintf(out, "%*s", (int)(HELP_COLUMN - width), "");
        }
        ps_buf_xprintf(out, "%s", row->help);
        if (row->default_text != NULL) {
            ps_buf_xprintf(out, " (default %s)", row->default_text);
        } else if (row->required) {
            ps_buf_xprintf(out, " (required)");
        }
        ps_buf_xprintf(out, "\n");
    }
}

/* A pipe would end the table's cell. */
static void
print_cell(const char *text, struct ps_buf *out)
{
    for (const char *at = text; *at != '\0'; at++) {
        ps_buf_xappend(out, "\\", *at == '|' ? 1 : 0);
        ps_buf_xappend(out, at, 1);
    }
}

void
option_markdown(const struct option_row *rows, size_t count, struct ps_buf *out)
{
    ps_buf_xprintf(out,
                   "| option | value | default | environment | what |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        const struct option_row *row = &rows[i];
        char env[128];
        ps_buf_xprintf(out, "| `--%s`", row->name);
        if (row->letter != 0) {
            ps_buf_xprintf(out, " `-%c`", row->letter);
        }
        ps_buf_xprintf(out, " | ");
        print_cell(value_name(row), out);
        ps_buf_xprintf(out, " | %s | %s | ", row->default_text == NULL ? "" : row->default_text,
                       row->flag_only ? "" : option_env_name(row->name, env, sizeof env));
        print_cell(row->help, out);
        ps_buf_xprintf(out, " |\n");
    }
}
