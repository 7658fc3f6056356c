/* SPDX-License-Identifier: Apache-2.0 */
/* spec/spec_value.c: one value of each type: from JSON, checked, and back in one form. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/human.h"
#include "common/log.h"
#include "common/option.h"
#include "common/suggest.h"
#include "spec/spec_impl.h"

char *
spec_scalar_text(const json_t *json)
{
    if (json_is_string(json)) {
        return ps_xstrdup(json_string_value(json));
    }
    if (json_is_integer(json)) {
        return ps_xasprintf("%lld", (long long)json_integer_value(json));
    }
    if (json_is_real(json)) {
        return ps_xasprintf("%.15g", json_real_value(json));
    }
    return json_is_boolean(json) ? ps_xstrdup(json_is_true(json) ? "true" : "false") : NULL;
}

/* "expected …, got …" with what was found named or quoted. */
static bool
wrong(struct spec_checking *checking, const char *path, const json_t *json, const char *expected)
{
    char quoted[120];
    char *text = spec_scalar_text(json);
    if (text != NULL) {
        log_quote(ps_span_str(text), quoted, sizeof quoted);
        spec_error_add(checking, path, "expected %s, got \"%s\"", expected, quoted);
    } else {
        spec_error_add(checking, path, "expected %s, got %s", expected,
                       json_is_object(json)  ? "a section"
                       : json_is_array(json) ? "a list"
                                             : "nothing");
    }
    ps_free(text);
    return false;
}

static bool
has_control(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool
read_string(struct spec_checking *checking, const char *path, const json_t *json,
            struct spec_value *out)
{
    if (!json_is_string(json)) {
        return wrong(checking, path, json,
                     json_is_object(json) || json_is_array(json) ? "a text" : "a text, in quotes");
    }
    if (strlen(json_string_value(json)) != json_string_length(json) ||
        has_control(json_string_value(json))) {
        return wrong(checking, path, json, "a text without control characters");
    }
    out->text = ps_xstrdup(json_string_value(json));
    return true;
}

static const char *
nearest_choice(const char *choices, const char *text, char *out, size_t out_bytes)
{
    struct ps_suggest suggest;
    ps_suggest_start(&suggest, text);
    const char *found = NULL;
    for (const char *at = choices; *at != '\0';) {
        size_t len = strcspn(at, "|");
        char one[64];
        snprintf(one, sizeof one, "%.*s", (int)len, at);
        size_t before = suggest.best_distance;
        ps_suggest_offer(&suggest, one);
        if (suggest.best_distance < before) {
            snprintf(out, out_bytes, "; did you mean %s?", one);
            found = out;
        }
        at += len + (at[len] == '|');
    }
    return found == NULL ? "" : found;
}

static bool
read_enum(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
          struct spec_value *out)
{
    char *text = spec_scalar_text(json);
    if (text == NULL) {
        return wrong(checking, key->path, json, key->choices);
    }
    if (!option_is_choice(key->choices, text)) {
        char near[80];
        char quoted[120];
        spec_error_add(checking, key->path, "expected %s, got \"%s\"%s", key->choices,
                       log_quote(ps_span_str(text), quoted, sizeof quoted),
                       nearest_choice(key->choices, text, near, sizeof near));
        ps_free(text);
        return false;
    }
    out->text = text;
    return true;
}

static bool
in_bounds(const struct spec_key *key, int64_t number)
{
    return key->most <= key->least || (number >= key->least && number <= key->most);
}

static bool
out_of_bounds(struct spec_checking *checking, const struct spec_key *key, const char *text)
{
    char least[PS_HUMAN_BYTES];
    char most[PS_HUMAN_BYTES];
    if (key->type == SPEC_BYTES) {
        ps_human_format_bytes((uint64_t)key->least, least);
        ps_human_format_bytes((uint64_t)key->most, most);
    } else if (key->type == SPEC_DURATION) {
        ps_human_format_duration(key->least, least);
        ps_human_format_duration(key->most, most);
    } else {
        snprintf(least, sizeof least, "%" PRId64, key->least);
        snprintf(most, sizeof most, "%" PRId64, key->most);
    }
    spec_error_add(checking, key->path, "expected %s to %s, got %s", least, most, text);
    return false;
}

static bool
read_int(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
         struct spec_value *out)
{
    bool number = json_is_integer(json);
    out->number = json_integer_value(json);
    if (json_is_string(json)) { /* 64-bit integers are strings in the API's JSON */
        number = ps_human_parse_int(json_string_value(json), &out->number);
    }
    if (!number) {
        return wrong(checking, key->path, json, "a whole number");
    }
    out->text = ps_xasprintf("%" PRId64, out->number);
    return in_bounds(key, out->number) || out_of_bounds(checking, key, out->text);
}

static bool
read_bytes(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
           struct spec_value *out)
{
    bool number = json_is_integer(json) && json_integer_value(json) >= 0;
    out->bytes = number ? (uint64_t)json_integer_value(json) : 0;
    if (json_is_string(json)) {
        number = ps_human_parse_bytes(json_string_value(json), &out->bytes);
    }
    if (!number || out->bytes > INT64_MAX) {
        return wrong(checking, key->path, json, "a size such as 16MiB");
    }
    char text[PS_HUMAN_BYTES];
    out->text = ps_xstrdup(ps_human_format_bytes(out->bytes, text));
    return in_bounds(key, (int64_t)out->bytes) || out_of_bounds(checking, key, out->text);
}

static bool
read_duration(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
              struct spec_value *out)
{
    bool known = json_is_integer(json) && json_integer_value(json) == 0;
    if (json_is_string(json)) {
        known = ps_human_parse_duration(json_string_value(json), &out->number);
    }
    if (!known) {
        return wrong(checking, key->path, json, "a time with its unit such as 2500ms, 2s, 1h");
    }
    char text[PS_HUMAN_BYTES];
    out->text = ps_xstrdup(ps_human_format_duration(out->number, text));
    return in_bounds(key, out->number) || out_of_bounds(checking, key, out->text);
}

static bool
read_bool(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
          struct spec_value *out)
{
    bool text = json_is_string(json) && option_is_choice("true|false", json_string_value(json));
    if (!text && !json_is_boolean(json)) {
        return wrong(checking, key->path, json, "true or false");
    }
    out->on = text ? json_string_value(json)[0] == 't' : json_is_true(json);
    out->text = ps_xstrdup(out->on ? "true" : "false");
    return true;
}

/* One text stands for a list of one. */
static bool
read_list(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
          struct spec_value *out)
{
    size_t count = json_is_array(json) ? json_array_size(json) : 1;
    bool whole = true;
    out->items = ps_xcalloc(count, sizeof *out->items);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(json) ? json_array_get(json, i) : json;
        char path[160];
        snprintf(path, sizeof path, "%s[%zu]", key->path, i);
        struct spec_value one = {0};
        if (read_string(checking, json_is_array(json) ? path : key->path, item, &one)) {
            out->items[out->item_count++] = one.text;
        } else {
            whole = false;
        }
    }
    return whole;
}

/* "100" or "0.1%". */
static bool
read_tolerance(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
               struct spec_value *out)
{
    static const char expected[] = "a count such as 100 or a share such as 0.1%";
    char *text = json_is_boolean(json) || json_is_real(json) ? NULL : spec_scalar_text(json);
    if (text == NULL) {
        return wrong(checking, key->path, json, expected);
    }
    size_t len = strlen(text);
    int64_t count = 0;
    double percent = 0;
    bool good = false;
    if (len > 1 && text[len - 1] == '%') {
        text[len - 1] = '\0';
        good = ps_human_parse_real(text, &percent) && percent <= 100;
        out->tolerance = (struct spec_tolerance){.is_share = true, .share = percent / 100};
        text[len - 1] = '%';
    } else {
        good = ps_human_parse_int(text, &count) && count >= 0;
        out->tolerance = (struct spec_tolerance){.count = (uint64_t)count};
    }
    if (!good) {
        ps_free(text);
        return wrong(checking, key->path, json, expected);
    }
    out->text = text;
    return true;
}

bool
spec_value_read(struct spec_checking *checking, const struct spec_key *key, const json_t *json,
                struct spec_value *out)
{
    switch (key->type) {
    case SPEC_STRING:
        return read_string(checking, key->path, json, out);
    case SPEC_BOOL:
        return read_bool(checking, key, json, out);
    case SPEC_INT:
        return read_int(checking, key, json, out);
    case SPEC_BYTES:
        return read_bytes(checking, key, json, out);
    case SPEC_DURATION:
        return read_duration(checking, key, json, out);
    case SPEC_ENUM:
        return read_enum(checking, key, json, out);
    case SPEC_STRING_LIST:
        return read_list(checking, key, json, out);
    case SPEC_TOLERANCE:
        return read_tolerance(checking, key, json, out);
    case SPEC_COLUMNS:
        spec_columns_read(checking, json);
        return true;
    }
    return false;
}

json_t *
spec_value_json(const struct spec_key *key, const struct spec_value *value)
{
    switch (key->type) {
    case SPEC_STRING:
    case SPEC_BYTES:
    case SPEC_DURATION:
        return json_string(value->text);
    case SPEC_TOLERANCE:
        return value->tolerance.is_share ? json_string(value->text)
                                         : json_integer((json_int_t)value->tolerance.count);
    case SPEC_BOOL:
        return json_boolean(value->on);
    case SPEC_INT:
        return json_integer(value->number);
    case SPEC_ENUM: /* a choice that YAML reads as a truth value is written as one */
        return option_is_choice("true|false", value->text) ? json_boolean(value->text[0] == 't')
                                                           : json_string(value->text);
    case SPEC_STRING_LIST: {
        json_t *list = json_array();
        for (size_t i = 0; i < value->item_count; i++) {
            json_array_append_new(list, json_string(value->items[i]));
        }
        return list;
    }
    case SPEC_COLUMNS:
        break; /* spec_columns_json has the spec they live in */
    }
    return NULL;
}

void
spec_value_fini(struct spec_value *value)
{
    for (size_t i = 0; i < value->item_count; i++) {
        ps_free(value->items[i]);
    }
    ps_free(value->items);
    ps_free(value->text);
    *value = (struct spec_value){0};
}
