/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/pathglob.h"

#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"

enum kind { LITERAL, WILD, ANY_DEPTH };

struct component {
    enum kind kind;
    char *text; /* LITERAL: without backslashes */
};

struct pattern {
    struct component *components;
    size_t count;
    char *base;
    bool literal;
};

struct pathglob {
    struct pattern *patterns;
    size_t count;
};

/* ---------------------------------------------------------------- one component */

/* The class that begins behind '['; *pattern moves behind its ']'. False in *out_closed: there is
 * no ']', and '[' stands for itself. */
static bool
match_class(const char **pattern, unsigned char c, bool *out_closed)
{
    const char *p = *pattern;
    bool negated = *p == '!' || *p == '^';
    bool hit = false;
    p += negated ? 1 : 0;
    for (const char *first = p; *p != '\0' && (*p != ']' || p == first);) {
        p += *p == '\\' && p[1] != '\0' ? 1 : 0;
        unsigned char low = (unsigned char)*p++;
        unsigned char high = low;
        if (*p == '-' && p[1] != ']' && p[1] != '\0') {
            p += p[1] == '\\' && p[2] != '\0' ? 2 : 1;
            high = (unsigned char)*p++;
        }
        hit = hit || (low <= c && c <= high);
    }
    *out_closed = *p == ']';
    if (*out_closed) {
        *pattern = p + 1;
    }
    return hit != negated;
}

/* One character of the pattern (not '*') against one of the name. */
static bool
match_one(const char **pattern, unsigned char c)
{
    const char *p = *pattern;
    if (*p == '?') {
        *pattern = p + 1;
        return true;
    }
    if (*p == '[') {
        const char *rest = p + 1;
        bool closed = false;
        bool hit = match_class(&rest, c, &closed);
        if (closed) {
            *pattern = rest;
            return hit;
        }
    }
    p += *p == '\\' && p[1] != '\0' ? 1 : 0;
    *pattern = p + 1;
    return (unsigned char)*p == c;
}

bool
pathglob_match(const char *pattern, const char *name)
{
    bool shows_dot = pattern[0] == '.' || (pattern[0] == '\\' && pattern[1] == '.');
    if (name[0] == '.' && !shows_dot) {
        return false;
    }
    const char *star = NULL; /* behind the last '*', and where in the name it was tried */
    const char *star_name = NULL;
    while (*name != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            star_name = name;
            continue;
        }
        if (*pattern != '\0' && match_one(&pattern, (unsigned char)*name)) {
            name++;
            continue;
        }
        if (star == NULL) {
            return false;
        }
        pattern = star;
        name = ++star_name;
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

/* ---------------------------------------------------------------- making */

/* The end of the group that opens at text: its '}', and whether it has a comma of its own. */
static const char *
group_end(const char *text, bool *out_comma)
{
    int depth = 0;
    *out_comma = false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
        } else if (*p == '{') {
            depth++;
        } else if (*p == ',' && depth == 1) {
            *out_comma = true;
        } else if (*p == '}' && --depth == 0) {
            return p;
        }
    }
    return NULL;
}

/* The first group with a comma; NULL when nothing is left to expand. */
static const char *
find_group(const char *text, const char **out_end)
{
    for (const char *p = text; *p != '\0'; p++) {
        bool comma = false;
        if (*p == '\\' && p[1] != '\0') {
            p++;
        } else if (*p == '{') {
            *out_end = group_end(p, &comma);
            if (*out_end != NULL && comma) {
                return p;
            }
        }
    }
    return NULL;
}

/* Adds text's alternatives to the end of the list. */
static void
expand_group(const char *text, const char *open, const char *close, char ***list, size_t *count)
{
    int depth = 0;
    const char *from = open + 1;
    for (const char *p = open + 1; p <= close; p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
            continue;
        }
        depth += *p == '{' ? 1 : 0;
        if (depth == 0 && (*p == ',' || p == close)) {
            *list = ps_xrealloc(*list, (*count + 1) * sizeof **list);
            (*list)[(*count)++] = ps_xasprintf("%.*s%.*s%s", (int)(open - text), text,
                                               (int)(p - from), from, close + 1);
            from = p + 1;
        }
        depth -= *p == '}' ? 1 : 0;
    }
}

static enum kind
kind_of(const char *text)
{
    if (strcmp(text, "**") == 0) {
        return ANY_DEPTH;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
        } else if (*p == '*' || *p == '?' || *p == '[') {
            return WILD;
        }
    }
    return LITERAL;
}

static void
add_component(struct pattern *pattern, char *text)
{
    enum kind kind = kind_of(text);
    if (kind == LITERAL) {
        char *to = text;
        for (const char *from = text; *from != '\0'; from++) {
            from += *from == '\\' && from[1] != '\0' ? 1 : 0;
            *to++ = *from;
        }
        *to = '\0';
    }
    size_t bytes = (pattern->count + 1) * sizeof *pattern->components;
    pattern->components = ps_xrealloc(pattern->components, bytes);
    pattern->components[pattern->count++] = (struct component){.kind = kind, .text = text};
}

static enum ps_status
split(const char *text, struct pattern *pattern, struct ps_error *err)
{
    for (const char *p = text; *p != '\0';) {
        size_t len = strcspn(p, "/");
        bool dot = len == 0 || (len == 1 && p[0] == '.');
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            if (pattern->count > 0) {
                struct component last = pattern->components[--pattern->count];
                ps_free(last.text);
                if (last.kind != LITERAL) {
                    return ps_fail_code(err, PS_REFUSED, "bad_pattern", "%s: .. behind a wildcard",
                                        text);
                }
            }
        } else if (!dot) {
            add_component(pattern, ps_xstrndup(p, len));
        }
        p += len + (p[len] == '/' ? 1 : 0);
    }
    if (pattern->count > 0 && pattern->components[pattern->count - 1].kind == ANY_DEPTH) {
        add_component(pattern, ps_xstrdup("*"));
    }
    if (pattern->count > PATHGLOB_MAX_COMPONENTS) {
        return ps_fail_code(err, PS_REFUSED, "bad_pattern", "more than %d folders deep",
                            PATHGLOB_MAX_COMPONENTS);
    }
    return PS_OK;
}

static void
set_base(struct pattern *pattern)
{
    struct ps_buf base = PS_BUF_INIT;
    size_t i = 0;
    for (; i < pattern->count && pattern->components[i].kind == LITERAL; i++) {
        ps_buf_xprintf(&base, "/%s", pattern->components[i].text);
    }
    pattern->literal = i == pattern->count;
    pattern->base = ps_xstrdup(base.len == 0 ? "/" : ps_buf_str(&base));
    ps_buf_fini(&base);
}

static enum ps_status
add_pattern(struct pathglob *glob, const char *text, struct ps_error *err)
{
    size_t bytes = (glob->count + 1) * sizeof *glob->patterns;
    glob->patterns = ps_xrealloc(glob->patterns, bytes);
    struct pattern *pattern = &glob->patterns[glob->count++];
    *pattern = (struct pattern){0};
    enum ps_status status = PS_OK;
    if (text[0] != '/') {
        status = ps_fail_code(err, PS_REFUSED, "bad_pattern", "%s: not an absolute path", text);
    } else {
        status = split(text, pattern, err);
    }
    set_base(pattern);
    return status;
}

enum ps_status
pathglob_new(const char *text, struct pathglob **out, struct ps_error *err)
{
    struct pathglob *glob = ps_xcalloc(1, sizeof *glob);
    char **list = ps_xalloc(sizeof *list);
    size_t count = 1;
    enum ps_status status = PS_OK;
    list[0] = ps_xstrdup(text);
    for (size_t i = 0; status == PS_OK && i < count; i++) {
        const char *end = NULL;
        const char *open = find_group(list[i], &end);
        if (count > (size_t)2 * PATHGLOB_MAX_PATTERNS || glob->count >= PATHGLOB_MAX_PATTERNS) {
            status = ps_fail_code(err, PS_REFUSED, "bad_pattern",
                                  "the braces mean more than %d patterns", PATHGLOB_MAX_PATTERNS);
        } else if (open != NULL) {
            expand_group(list[i], open, end, &list, &count);
        } else {
            status = add_pattern(glob, list[i], err);
        }
    }
    for (size_t i = 0; i < count; i++) {
        ps_free(list[i]);
    }
    ps_free(list);
    if (status != PS_OK) {
        pathglob_free(glob);
        return status;
    }
    *out = glob;
    return PS_OK;
}

void
pathglob_free(struct pathglob *glob)
{
    if (glob == NULL) {
        return;
    }
    for (size_t i = 0; i < glob->count; i++) {
        struct pattern *pattern = &glob->patterns[i];
        for (size_t j = 0; j < pattern->count; j++) {
            ps_free(pattern->components[j].text);
        }
        ps_free(pattern->components);
        ps_free(pattern->base);
    }
    ps_free(glob->patterns);
    ps_free(glob);
}

size_t
pathglob_count(const struct pathglob *glob)
{
    return glob->count;
}

bool
pathglob_is_literal(const struct pathglob *glob, size_t i)
{
    return glob->patterns[i].literal;
}

const char *
pathglob_base(const struct pathglob *glob, size_t i)
{
    return glob->patterns[i].base;
}

/* ---------------------------------------------------------------- walking */

static const struct component *
component_at(const struct pathglob *glob, uint32_t item, bool *out_last)
{
    const struct pattern *pattern = &glob->patterns[item >> 16];
    size_t i = item & 0xFFFF;
    *out_last = i + 1 == pattern->count;
    return &pattern->components[i];
}

static void
add_at(struct pathglob_at *at, uint32_t item)
{
    size_t i = at->count;
    while (i > 0 && at->items[i - 1] >= item) {
        i--;
    }
    if (i < at->count && at->items[i] == item) {
        return;
    }
    if (at->count == at->cap) {
        at->cap = at->cap == 0 ? 8 : at->cap * 2;
        at->items = ps_xrealloc(at->items, at->cap * sizeof *at->items);
    }
    memmove(at->items + i + 1, at->items + i, (at->count - i) * sizeof *at->items);
    at->items[i] = item;
    at->count++;
}

/* With it stands whatever ** can skip to. */
static void
add_closure(const struct pathglob *glob, struct pathglob_at *at, uint32_t item)
{
    bool last = false;
    add_at(at, item);
    while (component_at(glob, item, &last)->kind == ANY_DEPTH) {
        add_at(at, ++item); /* ** is never a pattern's last component */
    }
}

void
pathglob_at_fini(struct pathglob_at *at)
{
    ps_free(at->items);
    *at = (struct pathglob_at){0};
}

void
pathglob_start(const struct pathglob *glob, struct pathglob_at *out)
{
    *out = (struct pathglob_at){0};
    for (size_t i = 0; i < glob->count; i++) {
        if (glob->patterns[i].count > 0) {
            add_closure(glob, out, (uint32_t)i << 16);
        }
    }
}

static bool
matches(const struct component *component, const char *name)
{
    switch (component->kind) {
    case LITERAL:
        return strcmp(component->text, name) == 0;
    case WILD:
        return pathglob_match(component->text, name);
    case ANY_DEPTH:
        return name[0] != '.';
    }
    return false;
}

bool
pathglob_file(const struct pathglob *glob, const struct pathglob_at *at, const char *name)
{
    for (size_t i = 0; i < at->count; i++) {
        bool last = false;
        const struct component *component = component_at(glob, at->items[i], &last);
        if (last && matches(component, name)) {
            return true;
        }
    }
    return false;
}

/* out may be NULL: then only whether there is any. */
static bool
enter(const struct pathglob *glob, const struct pathglob_at *at, const char *name, bool is_link,
      struct pathglob_at *out)
{
    bool any = false;
    for (size_t i = 0; i < at->count && (out != NULL || !any); i++) {
        bool last = false;
        const struct component *component = component_at(glob, at->items[i], &last);
        bool deep = component->kind == ANY_DEPTH;
        if (last || (deep && is_link) || !matches(component, name)) {
            continue;
        }
        any = true;
        if (out != NULL) {
            add_closure(glob, out, at->items[i] + (deep ? 0 : 1));
        }
    }
    return any;
}

void
pathglob_enter(const struct pathglob *glob, const struct pathglob_at *at, const char *name,
               bool is_link, struct pathglob_at *out)
{
    *out = (struct pathglob_at){0};
    (void)enter(glob, at, name, is_link, out);
}

bool
pathglob_enters(const struct pathglob *glob, const struct pathglob_at *at, const char *name,
                bool is_link)
{
    return enter(glob, at, name, is_link, NULL);
}

bool
pathglob_only_literals(const struct pathglob *glob, const struct pathglob_at *at)
{
    for (size_t i = 0; i < at->count; i++) {
        bool last = false;
        if (component_at(glob, at->items[i], &last)->kind != LITERAL) {
            return false;
        }
    }
    return true;
}

const char *
pathglob_literal(const struct pathglob *glob, const struct pathglob_at *at, size_t i,
                 bool *out_is_file)
{
    return i < at->count ? component_at(glob, at->items[i], out_is_file)->text : NULL;
}
