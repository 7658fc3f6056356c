/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec_column.c: the columns section: a list of names or of
 * {name, from, value, type, default, on_mismatch}. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/human.h"
#include "common/log.h"
#include "common/suggest.h"
#include "spec/spec_impl.h"

enum { MAX_COLUMNS = 32767, NAME_MOST_BYTES = 255, PATH_BYTES = 64 };

struct lineage_row {
    const char *text;
    enum column_value value;
    enum column_type type;
};
static const struct lineage_row lineage[] = {
    {"$object", VALUE_OBJECT, COL_TEXT},
    {"$offset", VALUE_OFFSET, COL_BIGINT},
    {"$line", VALUE_LINE, COL_BIGINT},
    {"$batch", VALUE_BATCH, COL_TEXT},
};
enum { LINEAGE = sizeof lineage / sizeof lineage[0] };

static const char *const mismatch_names[] = {
    [MISMATCH_REJECT] = "reject",
    [MISMATCH_TEXT] = "text",
    [MISMATCH_NULL] = "null",
};
enum { MISMATCHES = sizeof mismatch_names / sizeof mismatch_names[0] };

static const char *const members[] = {"name", "from", "value", "type", "default", "on_mismatch"};
enum { MEMBERS = sizeof members / sizeof members[0] };

/* One column's place: "columns[2]" and "columns[2].type". */
struct place {
    struct spec_checking *checking;
    size_t index;
};

static const char *
path_of(const struct place *place, const char *member, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s[%zu]%s%s", place->checking->columns_at, place->index,
             member == NULL ? "" : ".", member == NULL ? "" : member);
    return out;
}

/* The member's text, borrowed from json; NULL where it is missing or wrong (an error was added). */
static const char *
member_text(const struct place *place, const json_t *json, const char *member)
{
    const json_t *value = json_object_get(json, member);
    char path[PATH_BYTES];
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        spec_error_add(place->checking, path_of(place, member, path), "expected a text, in quotes");
        return NULL;
    }
    return json_string_value(value);
}

static void
check_members(const struct place *place, const json_t *json)
{
    char path[PATH_BYTES + 64];
    char quoted[64];
    void *root = (void *)(uintptr_t)json;
    for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
        const char *member = json_object_iter_key(at);
        struct ps_suggest suggest;
        ps_suggest_start(&suggest, member);
        bool known = false;
        for (size_t i = 0; i < MEMBERS; i++) {
            known = known || strcmp(members[i], member) == 0;
            ps_suggest_offer(&suggest, members[i]);
        }
        if (!known) {
            snprintf(path, sizeof path, "%s[%zu].%s", place->checking->columns_at, place->index,
                     log_quote(ps_span_str(member), quoted, sizeof quoted));
            spec_error_add(place->checking, path, "unknown key%s%s%s",
                           suggest.best == NULL ? "" : "; did you mean ",
                           suggest.best == NULL ? "" : suggest.best,
                           suggest.best == NULL ? "" : "?");
        }
    }
}

static void
read_name(const struct place *place, const char *name, struct spec_column *out)
{
    char path[PATH_BYTES];
    path_of(place, NULL, path);
    if (name == NULL || name[0] == '\0') {
        spec_error_add(place->checking, path, "a column needs a name");
        name = "";
    } else if (strlen(name) > NAME_MOST_BYTES) {
        spec_error_add(place->checking, path, "a name has at most %d bytes", NAME_MOST_BYTES);
    }
    for (const char *at = name; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20) {
            spec_error_add(place->checking, path, "a name without control characters is expected");
            break;
        }
    }
    out->name = ps_xstrdup(name);
    const struct spec *spec = place->checking->spec;
    for (size_t i = 0; i < spec->column_count; i++) {
        /* Destinations do not tell upper from lower case in a column's name. */
        if (name[0] != '\0' && strcasecmp(spec->columns[i].name, name) == 0) {
            spec_error_add(place->checking, path, "the name is %s[%zu]'s too",
                           place->checking->columns_at, i);
            break;
        }
    }
}

static void
read_source(const struct place *place, const json_t *json, struct spec_column *out)
{
    char path[PATH_BYTES];
    const char *from = member_text(place, json, "from");
    const json_t *given = json_object_get(json, "value");
    char *value = given == NULL || json_is_null(given) ? NULL : spec_scalar_text(given);
    if (given != NULL && !json_is_null(given) && value == NULL) {
        spec_error_add(place->checking, path_of(place, "value", path), "expected one value");
    }
    if (from != NULL && value != NULL) {
        spec_error_add(place->checking, path_of(place, "value", path),
                       "a column has from or value, not both");
    }
    out->value = VALUE_FIELD;
    if (value == NULL) {
        out->from = ps_xstrdup(from != NULL ? from : out->name);
        return;
    }
    out->value = VALUE_CONSTANT;
    for (size_t i = 0; i < LINEAGE; i++) {
        if (strcmp(lineage[i].text, value) == 0) {
            out->value = lineage[i].value;
            out->type = lineage[i].type;
        }
    }
    out->type_given = true;
    if (out->value == VALUE_CONSTANT && value[0] == '$') {
        spec_error_add(place->checking, path_of(place, "value", path),
                       "expected $object, $offset, $line, $batch or a constant");
    }
    out->constant = out->value == VALUE_CONSTANT ? value : NULL;
    if (out->value != VALUE_CONSTANT) {
        ps_free(value);
    }
}

static void
read_type(const struct place *place, const json_t *json, struct spec_column *out)
{
    char path[PATH_BYTES];
    char quoted[64];
    const char *text = member_text(place, json, "type");
    if (text == NULL) {
        return;
    }
    enum column_type type = COL_TEXT;
    path_of(place, "type", path);
    if (!column_type_parse(text, &type)) {
        spec_error_add(place->checking, path, "expected text, bigint or double, got \"%s\"",
                       log_quote(ps_span_str(text), quoted, sizeof quoted));
        return;
    }
    bool lineage_value = out->value != VALUE_FIELD && out->value != VALUE_CONSTANT;
    if (lineage_value && type != out->type && type != COL_TEXT) {
        spec_error_add(place->checking, path, "expected %s or text for this value",
                       column_type_name(out->type));
    }
    int64_t integer = 0;
    double real = 0;
    const char *constant = out->constant;
    if (constant != NULL &&
        ((type == COL_BIGINT && !ps_human_parse_int(constant, &integer)) ||
         (type == COL_DOUBLE && !ps_human_parse_real(constant + (constant[0] == '-'), &real)))) {
        spec_error_add(place->checking, path, "the value is not a %s", column_type_name(type));
    }
    out->type = type;
    out->type_given = true;
}

static void
read_rest(const struct place *place, const json_t *json, struct spec_column *out)
{
    char path[PATH_BYTES];
    const json_t *given = json_object_get(json, "default");
    if (given != NULL && !json_is_null(given)) {
        out->default_text = spec_scalar_text(given);
        if (out->default_text == NULL || out->value != VALUE_FIELD) {
            spec_error_add(place->checking, path_of(place, "default", path),
                           out->value != VALUE_FIELD ? "a column with value needs no default"
                                                     : "expected one value");
        }
    }
    const json_t *mismatch = json_object_get(json, "on_mismatch");
    const char *text = json_is_null(mismatch) ? "null" /* an unquoted null means the word here */
                                              : member_text(place, json, "on_mismatch");
    bool known = text == NULL;
    for (size_t i = 0; text != NULL && i < MISMATCHES; i++) {
        if (strcmp(mismatch_names[i], text) == 0) {
            out->on_mismatch = (enum column_mismatch)i;
            known = true;
        }
    }
    if (!known) {
        spec_error_add(place->checking, path_of(place, "on_mismatch", path),
                       "expected reject, text or null");
    }
}

static void
read_column(const struct place *place, const json_t *json, struct spec_column *out)
{
    if (json_is_string(json)) {
        read_name(place, json_string_value(json), out);
        out->from = ps_xstrdup(out->name);
        return;
    }
    if (!json_is_object(json)) {
        char path[PATH_BYTES];
        spec_error_add(place->checking, path_of(place, NULL, path),
                       "expected a name or {name, from, value, type, default, on_mismatch}");
        out->name = ps_xstrdup("");
        return;
    }
    check_members(place, json);
    read_name(place, member_text(place, json, "name"), out);
    read_source(place, json, out);
    read_type(place, json, out);
    read_rest(place, json, out);
}

void
spec_columns_read(struct spec_checking *checking, const json_t *json)
{
    struct spec *spec = checking->spec;
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count == 0 || count > MAX_COLUMNS) {
        spec_error_add(checking, checking->columns_at, "expected a list of 1 to %d columns",
                       MAX_COLUMNS);
        return;
    }
    spec->columns = ps_xcalloc(count, sizeof *spec->columns);
    for (size_t i = 0; i < count; i++) {
        struct place place = {.checking = checking, .index = i};
        read_column(&place, json_array_get(json, i), &spec->columns[i]);
        spec->column_count = i + 1;
    }
}

static json_t *
column_json(const struct spec_column *column)
{
    json_t *json = json_object();
    json_object_set_new(json, "name", json_string(column->name));
    if (column->from != NULL && strcmp(column->from, column->name) != 0) {
        json_object_set_new(json, "from", json_string(column->from));
    }
    for (size_t i = 0; i < LINEAGE; i++) {
        if (column->value == lineage[i].value) {
            json_object_set_new(json, "value", json_string(lineage[i].text));
        }
    }
    if (column->value == VALUE_CONSTANT) {
        json_object_set_new(json, "value", json_string(column->constant));
    }
    if (column->type_given) {
        json_object_set_new(json, "type", json_string(column_type_name(column->type)));
    }
    if (column->default_text != NULL) {
        json_object_set_new(json, "default", json_string(column->default_text));
    }
    if (column->on_mismatch != MISMATCH_REJECT) {
        json_object_set_new(json, "on_mismatch", json_string(mismatch_names[column->on_mismatch]));
    }
    return json;
}

json_t *
spec_columns_json(const struct spec *spec)
{
    json_t *list = json_array();
    for (size_t i = 0; i < spec->column_count; i++) {
        json_array_append_new(list, column_json(&spec->columns[i]));
    }
    return list;
}

void
spec_columns_fini(struct spec *spec)
{
    for (size_t i = 0; i < spec->column_count; i++) {
        struct spec_column *column = &spec->columns[i];
        ps_free((void *)(uintptr_t)column->name);
        ps_free((void *)(uintptr_t)column->from);
        ps_free((void *)(uintptr_t)column->constant);
        ps_free((void *)(uintptr_t)column->default_text);
    }
    ps_free(spec->columns);
    spec->columns = NULL;
    spec->column_count = 0;
}
