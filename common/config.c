/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/path.h"
#include "common/yaml.h"

struct setting {
    enum config_origin origin;
    struct option_value value;
    const char **items; /* OPTION_LIST */
    size_t item_count;
};

struct config {
    const struct option_row *rows;
    size_t row_count;
    struct setting *settings; /* one a row */
    const char **words;
    size_t word_count;
    char **texts; /* texts that argv does not own */
    size_t text_count;
};

/* What the readers share. */
struct reading {
    const struct config_input *input;
    struct config *config;
    struct ps_buf *errors;
    size_t error_count;
};

static void
add_error(struct reading *reading, const char *where, const char *text)
{
    ps_buf_xprintf(reading->errors, "%s: %s\n", where, text);
    reading->error_count++;
}

static char *
keep_text(struct config *config, char *own_text)
{
    config->texts = ps_xrealloc(config->texts, (config->text_count + 1) * sizeof(char *));
    config->texts[config->text_count++] = own_text;
    return own_text;
}

/* The first value of a stronger origin throws the weaker one's away; list items of one origin add
 * up. */
static void
set_value(struct reading *reading, const struct option_row *row, const char *text,
          enum config_origin origin, const char *where)
{
    struct setting *setting = &reading->config->settings[row - reading->config->rows];
    struct ps_error err;
    struct option_value value;
    if (option_read(row, text, &value, &err) != PS_OK) {
        add_error(reading, where, err.text);
        return;
    }
    if (origin < setting->origin) {
        return;
    }
    if (origin > setting->origin) {
        setting->item_count = 0;
    }
    setting->origin = origin;
    setting->value = value;
    if (row->type == OPTION_LIST) {
        setting->items =
            ps_xrealloc(setting->items, (setting->item_count + 1) * sizeof(const char *));
        setting->items[setting->item_count++] = text;
    }
}

static void
set_list(struct reading *reading, const struct option_row *row, const char *text,
         enum config_origin origin, const char *where)
{
    char *copy = keep_text(reading->config, ps_xstrdup(text));
    for (char *at = copy; at != NULL;) {
        char *colon = strchr(at, ':');
        if (colon != NULL) {
            *colon++ = '\0';
        }
        if (at[0] != '\0') {
            set_value(reading, row, at, origin, where);
        }
        at = colon;
    }
}

static void
unknown_option(struct reading *reading, const char *where, const char *prefix, const char *name)
{
    const char *near = option_nearest(reading->input->rows, reading->input->row_count, name);
    char text[256];
    if (near != NULL) {
        snprintf(text, sizeof text, "unknown option; did you mean %s%s?", prefix, near);
    } else {
        snprintf(text, sizeof text, "unknown option");
    }
    add_error(reading, where, text);
}

/* --name=value, --name value, --switch, --no-switch. Returns how many words it used. */
static int
read_long(struct reading *reading, int at)
{
    const struct config_input *in = reading->input;
    const char *word = in->argv[at];
    size_t len = strcspn(word + 2, "=");
    const char *value = word[2 + len] == '=' ? word + 3 + len : NULL;
    char *name = keep_text(reading->config, ps_xstrndup(word + 2, len));
    const struct option_row *row = option_find(in->rows, in->row_count, name);
    bool negated = false;
    if (row == NULL && strncmp(name, "no-", 3) == 0 && value == NULL) {
        row = option_find(in->rows, in->row_count, name + 3);
        negated = row != NULL && row->type == OPTION_SWITCH;
        row = negated ? row : NULL;
    }
    char *where = keep_text(reading->config, ps_xasprintf("--%s", name));
    if (row == NULL) {
        unknown_option(reading, where, "--", name);
        return 1;
    }
    if (row->type == OPTION_SWITCH && value == NULL) {
        set_value(reading, row, negated ? "false" : "true", CONFIG_FLAG, where);
        return 1;
    }
    if (value == NULL && at + 1 < in->argc) {
        set_value(reading, row, in->argv[at + 1], CONFIG_FLAG, where);
        return 2;
    }
    if (value == NULL) {
        add_error(reading, where, "a value is missing");
        return 1;
    }
    set_value(reading, row, value, CONFIG_FLAG, where);
    return 1;
}

/* -f VALUE, -fVALUE, -q. */
static int
read_short(struct reading *reading, int at)
{
    const struct config_input *in = reading->input;
    const char *word = in->argv[at];
    char where[3] = {'-', word[1], '\0'};
    const struct option_row *row = NULL;
    for (size_t i = 0; i < in->row_count; i++) {
        row = in->rows[i].letter == word[1] ? &in->rows[i] : row;
    }
    if (row == NULL) {
        add_error(reading, where, "unknown option");
    } else if (row->type == OPTION_SWITCH && word[2] == '\0') {
        set_value(reading, row, "true", CONFIG_FLAG, where);
    } else if (row->type == OPTION_SWITCH) {
        add_error(reading, where, "takes no value");
    } else if (word[2] != '\0') {
        set_value(reading, row, word + 2, CONFIG_FLAG, where);
    } else if (at + 1 < in->argc) {
        set_value(reading, row, in->argv[at + 1], CONFIG_FLAG, where);
        return 2;
    } else {
        add_error(reading, where, "a value is missing");
    }
    return 1;
}

static void
read_flags(struct reading *reading)
{
    const struct config_input *in = reading->input;
    struct config *config = reading->config;
    config->words = ps_xcalloc((size_t)in->argc + 1, sizeof(const char *));
    bool ended = false;
    for (int at = 0; at < in->argc;) {
        const char *word = in->argv[at];
        if (!ended && strcmp(word, "--") == 0) {
            ended = true;
            at++;
        } else if (!ended && strncmp(word, "--", 2) == 0) {
            at += read_long(reading, at);
        } else if (!ended && word[0] == '-' && word[1] != '\0') {
            at += read_short(reading, at);
        } else {
            config->words[config->word_count++] = word;
            at++;
        }
    }
    for (size_t i = in->words_most; i < config->word_count; i++) {
        add_error(reading, config->words[i], "one word too many");
    }
}

static void
read_env(struct reading *reading)
{
    const struct config_input *in = reading->input;
    for (size_t i = 0; i < in->row_count && !in->no_env; i++) {
        char name[128];
        const char *text = getenv(option_env_name(in->rows[i].name, name, sizeof name));
        if (text == NULL || text[0] == '\0' || in->rows[i].flag_only) {
            continue;
        }
        if (in->rows[i].type == OPTION_LIST) {
            set_list(reading, &in->rows[i], text, CONFIG_ENV, name);
        } else {
            set_value(reading, &in->rows[i], text, CONFIG_ENV, name);
        }
    }
}

/* The text of a scalar in the file; NULL for anything else. */
static char *
scalar_text(struct config *config, const json_t *value)
{
    if (json_is_string(value)) {
        return keep_text(config, ps_xstrdup(json_string_value(value)));
    }
    if (json_is_integer(value)) {
        return keep_text(config, ps_xasprintf("%lld", (long long)json_integer_value(value)));
    }
    if (json_is_boolean(value)) {
        return keep_text(config, ps_xstrdup(json_is_true(value) ? "true" : "false"));
    }
    return NULL;
}

static void
read_file_value(struct reading *reading, const struct option_row *row, const json_t *value,
                const char *where)
{
    bool list = row->type == OPTION_LIST && json_is_array(value);
    size_t count = list ? json_array_size(value) : 1;
    for (size_t i = 0; i < count; i++) {
        const char *text = scalar_text(reading->config, list ? json_array_get(value, i) : value);
        if (text == NULL) {
            add_error(reading, where, list ? "expected a list of texts" : "expected one value");
        } else {
            set_value(reading, row, text, CONFIG_FILE, where);
        }
    }
}

static void
read_document(struct reading *reading, const char *path, const struct ps_yaml *yaml)
{
    const struct config_input *in = reading->input;
    json_t *root = ps_yaml_root(yaml);
    if (json_is_null(root)) {
        return;
    }
    if (!json_is_object(root)) {
        add_error(reading, path, "expected options, one \"name: value\" a line");
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        char *name = keep_text(reading->config, ps_xstrdup(key));
        for (char *at = name; *at != '\0'; at++) {
            *at = *at == '_' ? '-' : *at;
        }
        char *where = keep_text(
            reading->config, ps_xasprintf("%s: line %u: %s", path, ps_yaml_line(yaml, key), key));
        const struct option_row *row = option_find(in->rows, in->row_count, name);
        if (row == NULL || row->flag_only || strcmp(name, "config") == 0) {
            unknown_option(reading, where, "", name);
        } else {
            read_file_value(reading, row, value, where);
        }
    }
}

static void
read_file(struct reading *reading)
{
    const struct option_row *row =
        option_find(reading->input->rows, reading->input->row_count, "config");
    const char *path = row == NULL ? NULL : config_str(reading->config, "config");
    if (path == NULL) {
        return;
    }
    struct ps_buf text = PS_BUF_INIT;
    struct ps_yaml *yaml = NULL;
    struct ps_error err;
    enum ps_status status = ps_path_read(path, PS_YAML_MAX_BYTES, &text, &err);
    if (status == PS_OK) {
        status = ps_yaml_load(ps_buf_span(&text), &yaml, NULL, &err);
    }
    if (status == PS_OK) {
        read_document(reading, path, yaml);
    } else {
        add_error(reading, path, err.text);
    }
    ps_yaml_free(yaml);
    ps_buf_fini(&text);
}

static bool
asks_for_help(const struct config *config)
{
    static const char *const names[] = {"help", "version"};
    for (size_t i = 0; i < 2; i++) {
        const struct option_row *row = option_find(config->rows, config->row_count, names[i]);
        if (row != NULL && config_bool(config, names[i])) {
            return true;
        }
    }
    return false;
}

static void
read_defaults(struct reading *reading)
{
    struct config *config = reading->config;
    for (size_t i = 0; i < config->row_count; i++) {
        const struct option_row *row = &config->rows[i];
        if (config->settings[i].origin != CONFIG_ABSENT) {
            continue;
        }
        if (row->default_text != NULL) {
            set_value(reading, row, row->default_text, CONFIG_DEFAULT, row->name);
        } else if (row->required && !asks_for_help(config)) {
            char where[128];
            snprintf(where, sizeof where, "--%s", row->name);
            add_error(reading, where, "is required");
        }
    }
}

enum ps_status
config_parse(const struct config_input *input, struct config **out, struct ps_buf *errors)
{
    struct config *config = ps_xcalloc(1, sizeof *config);
    config->rows = input->rows;
    config->row_count = input->row_count;
    config->settings = ps_xcalloc(input->row_count, sizeof *config->settings);
    struct reading reading = {.input = input, .config = config, .errors = errors};
    read_flags(&reading);
    read_env(&reading);
    read_file(&reading);
    read_defaults(&reading);
    if (reading.error_count > 0) {
        config_free(config);
        return PS_REFUSED;
    }
    *out = config;
    return PS_OK;
}

void
config_free(struct config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < config->row_count; i++) {
        ps_free(config->settings[i].items);
    }
    for (size_t i = 0; i < config->text_count; i++) {
        ps_free(config->texts[i]);
    }
    ps_free(config->texts);
    ps_free(config->words);
    ps_free(config->settings);
    ps_free(config);
}

static const struct setting *
get(const struct config *config, const char *name)
{
    const struct option_row *row = option_find(config->rows, config->row_count, name);
    PS_ASSERT(row != NULL);
    return &config->settings[row - config->rows];
}

const char *
config_str(const struct config *config, const char *name)
{
    return get(config, name)->value.text;
}

bool
config_bool(const struct config *config, const char *name)
{
    return get(config, name)->value.on;
}

int64_t
config_int(const struct config *config, const char *name)
{
    return get(config, name)->value.number;
}

uint64_t
config_bytes(const struct config *config, const char *name)
{
    return get(config, name)->value.bytes;
}

int64_t
config_duration_ms(const struct config *config, const char *name)
{
    return get(config, name)->value.number;
}

size_t
config_list(const struct config *config, const char *name, const char *const **out)
{
    const struct setting *setting = get(config, name);
    *out = setting->items;
    return setting->item_count;
}

enum config_origin
config_origin(const struct config *config, const char *name)
{
    return get(config, name)->origin;
}

bool
config_given(const struct config *config, const char *name)
{
    return get(config, name)->origin > CONFIG_DEFAULT;
}

size_t
config_words(const struct config *config, const char *const **out)
{
    *out = config->words;
    return config->word_count;
}
