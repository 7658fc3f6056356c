/* SPDX-License-Identifier: Apache-2.0 */
#include "spec/spec_path.h"

#include <string.h>

#include "common/alloc.h"

enum { INDEX_MOST = 1000000000 };

struct parsing {
    const char *text;
    const char *at;
    char *names; /* where the next name goes */
};

static enum ps_status
fail(const struct parsing *parsing, const char *expected, struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "bad_path", "the path \"%.200s\": at character %zu %s",
                        parsing->text, (size_t)(parsing->at - parsing->text) + 1, expected);
}

static enum ps_status
plain_name(struct parsing *parsing, struct spec_path_step *step, struct ps_error *err)
{
    size_t len = strcspn(parsing->at, ".[]\"");
    if (len == 0) {
        return fail(parsing, "a name, [n] or [\"name\"] is expected", err);
    }
    memcpy(parsing->names, parsing->at, len);
    *step = (struct spec_path_step){.name = ps_span(parsing->names, len)};
    parsing->names += len;
    parsing->at += len;
    return PS_OK;
}

/* Behind [". */
static enum ps_status
quoted_name(struct parsing *parsing, struct spec_path_step *step, struct ps_error *err)
{
    char *begin = parsing->names;
    while (*parsing->at != '"' && *parsing->at != '\0') {
        if (*parsing->at == '\\') {
            parsing->at++;
            if (*parsing->at != '"' && *parsing->at != '\\') {
                return fail(parsing, "\\\" or \\\\ is expected", err);
            }
        }
        *parsing->names++ = *parsing->at++;
    }
    *step = (struct spec_path_step){.name = ps_span(begin, (size_t)(parsing->names - begin))};
    if (*parsing->at != '"') {
        return fail(parsing, "a closing quote is expected", err);
    }
    parsing->at++;
    return PS_OK;
}

static enum ps_status
index_number(struct parsing *parsing, struct spec_path_step *step, struct ps_error *err)
{
    uint64_t index = 0;
    const char *begin = parsing->at;
    while (*parsing->at >= '0' && *parsing->at <= '9' && index <= INDEX_MOST) {
        index = index * 10 + (uint64_t)(*parsing->at++ - '0');
    }
    if (parsing->at == begin || index > INDEX_MOST) {
        return fail(parsing, "an index from 0 to 1000000000, or \"name\", is expected", err);
    }
    *step = (struct spec_path_step){.is_index = true, .index = (uint32_t)index};
    return PS_OK;
}

static enum ps_status
step_parse(struct parsing *parsing, bool first, struct spec_path_step *step, struct ps_error *err)
{
    if (*parsing->at != '[') {
        if (!first && *parsing->at != '.') {
            return fail(parsing, "a dot or [ is expected", err);
        }
        parsing->at += !first;
        return plain_name(parsing, step, err);
    }
    parsing->at++;
    enum ps_status status = PS_OK;
    if (*parsing->at == '"') {
        parsing->at++;
        status = quoted_name(parsing, step, err);
    } else {
        status = index_number(parsing, step, err);
    }
    if (status == PS_OK && *parsing->at != ']') {
        return fail(parsing, "] is expected", err);
    }
    parsing->at += status == PS_OK;
    return status;
}

enum ps_status
spec_path_parse(const char *text, struct spec_path *out, struct ps_error *err)
{
    *out = (struct spec_path){.names = ps_xalloc(strlen(text) + 1)};
    struct parsing parsing = {.text = text, .at = text, .names = out->names};
    enum ps_status status = PS_OK;
    do {
        if (out->count == SPEC_PATH_STEPS) {
            status = fail(&parsing, "the path's end is expected: it has at most 32 steps", err);
        } else {
            status = step_parse(&parsing, out->count == 0, &out->steps[out->count], err);
            out->count += status == PS_OK;
        }
    } while (status == PS_OK && *parsing.at != '\0');
    if (status != PS_OK) {
        spec_path_fini(out);
    }
    return status;
}

void
spec_path_fini(struct spec_path *path)
{
    ps_free(path->names);
    *path = (struct spec_path){0};
}

void
spec_path_spell(struct ps_span name, struct ps_buf *out)
{
    bool plain = name.len > 0;
    for (size_t i = 0; i < name.len; i++) {
        plain = plain && memchr(".[]\"", name.ptr[i], 4) == NULL;
    }
    if (plain) {
        ps_buf_xappend(out, name.ptr, name.len);
        return;
    }
    ps_buf_xappend(out, "[\"", 2);
    for (size_t i = 0; i < name.len; i++) {
        ps_buf_xappend(out, "\\", name.ptr[i] == '"' || name.ptr[i] == '\\');
        ps_buf_xappend(out, name.ptr + i, 1);
    }
    ps_buf_xappend(out, "\"]", 2);
}
