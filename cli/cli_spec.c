/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_exit.h"
#include "cli/cli_out.h"
#include "common/alloc.h"
#include "common/json.h"
#include "common/path.h"
#include "common/yaml.h"

enum { LIST_MAX_BYTES = 256 * 1024 }; /* of a list of files: it travels in every message */

/* ---------------------------------------------------------------- paths and patterns */

bool
cli_spec_is_pattern(const char *text)
{
    return strpbrk(text, "*?[{") != NULL;
}

char *
cli_spec_escape(const char *path)
{
    struct ps_buf out = PS_BUF_INIT;
    for (; *path != '\0'; path++) {
        if (strchr("*?[]{},\\", *path) != NULL) {
            ps_buf_xappend(&out, "\\", 1);
        }
        ps_buf_xappend(&out, path, 1);
    }
    char *text = ps_xstrdup(ps_buf_str(&out));
    ps_buf_fini(&out);
    return text;
}

/* A comma outside braces would split the alternative it stands in. */
static void
append_alternative(struct ps_buf *out, const char *pattern)
{
    size_t depth = 0;
    for (const char *at = pattern; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0') {
            ps_buf_xappend(out, at++, 1);
        } else if (*at == '{') {
            depth++;
        } else if (*at == '}' && depth > 0) {
            depth--;
        } else if (*at == ',' && depth == 0) {
            ps_buf_xappend(out, "\\", 1);
        }
        ps_buf_xappend(out, at, 1);
    }
}

char *
cli_spec_join(const char *const *patterns, size_t count)
{
    if (count == 1) {
        return ps_xstrdup(patterns[0]);
    }
    /* Folders that all begin with stand before the brace: it must follow a slash. */
    size_t shared = 0;
    for (size_t at = 0; patterns[0][at] != '\0'; at++) {
        bool same = strchr("*?[{\\", patterns[0][at]) == NULL;
        for (size_t i = 1; same && i < count; i++) {
            same = patterns[i][at] == patterns[0][at];
        }
        if (!same) {
            break;
        }
        shared = patterns[0][at] == '/' ? at + 1 : shared;
    }
    struct ps_buf out = PS_BUF_INIT;
    ps_buf_xappend(&out, patterns[0], shared);
    for (size_t i = 0; i < count; i++) {
        ps_buf_xappend(&out, i == 0 ? "{" : ",", 1);
        append_alternative(&out, patterns[i] + shared);
    }
    ps_buf_xappend(&out, "}", 1);
    char *text = ps_xstrdup(ps_buf_str(&out));
    ps_buf_fini(&out);
    return text;
}

char *
cli_spec_name_of(const char *path)
{
    struct ps_buf out = PS_BUF_INIT;
    for (const char *at = ps_path_basename(path); *at != '\0' && *at != '.' && out.len < 63; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= '0' && *at <= '9') || *at == '_' || *at == '-';
        if (plain || out.len > 0) {
            ps_buf_xappend(&out, plain ? at : "_", 1);
        }
    }
    while (out.len > 0 && (out.ptr[out.len - 1] == '_' || out.ptr[out.len - 1] == '-')) {
        out.len--;
    }
    const char *text = ps_buf_str(&out);
    text += strspn(text, "_-");
    char *name = text[0] != '\0' ? ps_xstrdup(text) : NULL;
    ps_buf_fini(&out);
    return name;
}

char *
cli_spec_absolute_url(const char *url, const char *base)
{
    char scheme[32];
    const char *name = spec_scheme(url, scheme);
    bool file = strcmp(name, "file") == 0;
    if (url[0] == '$' || (!file && strcmp(name, "sqlite") != 0)) {
        return ps_xstrdup(url);
    }
    const char *head = file ? "file:" : "sqlite:";
    const char *path = strncmp(url, head, strlen(head)) == 0 ? url + strlen(head) : url;
    path += strncmp(path, "///", 3) == 0 ? 2 : 0;
    if (path[0] == '\0' || path[0] == '$') {
        return ps_xstrdup(url);
    }
    char *absolute = ps_path_absolute(base, path);
    char *out = ps_xasprintf("%s%s", head, absolute);
    ps_free(absolute);
    return out;
}

/* ---------------------------------------------------------------- checking */

/* "pipeline.yaml:7: source.url: …", as compilers write it, so that editors can go there. */
static int
report_errors(const char *label, const struct spec_errors *errors, const struct ps_error *err)
{
    const char *gap = label[0] != '\0' ? ": " : "";
    struct ps_buf text = PS_BUF_INIT;
    for (size_t i = 0; i < errors->count; i++) {
        const struct spec_error *item = &errors->items[i];
        ps_buf_xprintf(&text, "%s", label);
        if (item->line > 0 && label[0] != '\0') {
            ps_buf_xprintf(&text, ":%u", item->line);
        }
        ps_buf_xprintf(&text, "%s%s: %s\n", gap, item->path, item->text);
    }
    if (errors->count > 0) {
        fwrite(text.ptr, 1, text.len, stderr);
        cli_complain("the spec has %zu error%s", errors->count, errors->count == 1 ? "" : "s");
    } else {
        cli_complain("%s%s%s", label, gap, err->text);
    }
    ps_buf_fini(&text);
    return CLI_EXIT_SPEC;
}

static void
make_absolute(json_t *doc, const char *section, const char *base)
{
    json_t *part = json_object_get(doc, section);
    const char *url = json_string_value(json_object_get(part, "url"));
    if (url != NULL) {
        char *absolute = cli_spec_absolute_url(url, base);
        json_object_set_new(part, "url", json_string(absolute));
        ps_free(absolute);
    }
}

/* Parses, then again with absolute paths. */
static int
check(struct ps_span text, const struct cli_args *args, const char *label, const char *base,
      struct cli_spec *out)
{
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    struct spec *given = NULL;
    size_t count = 0;
    const char **overrides = cli_args_all(args, CLI_OPT_SET, &count);
    *out = (struct cli_spec){0};
    enum ps_status status = spec_parse(text, overrides, count, &given, &errors, &err);
    if (status == PS_OK) {
        status =
            ps_json_load(ps_span_str(spec_canonical(given)), PS_JSON_MAX_BYTES, &out->doc, &err);
    }
    if (status == PS_OK) {
        make_absolute(out->doc, "source", base);
        make_absolute(out->doc, "destination", base);
        status = spec_from_json(out->doc, &out->spec, &errors, &err);
    }
    int code = status == PS_OK ? CLI_EXIT_OK : report_errors(label, &errors, &err);
    spec_errors_fini(&errors);
    spec_unref(given);
    ps_free(overrides);
    if (code != CLI_EXIT_OK) {
        cli_spec_fini(out);
    }
    return code;
}

void
cli_spec_fini(struct cli_spec *spec)
{
    spec_unref(spec->spec);
    json_decref(spec->doc);
    *spec = (struct cli_spec){0};
}

/* ---------------------------------------------------------------- from a file */

static enum ps_status
read_stdin(struct ps_buf *out, struct ps_error *err)
{
    char part[4096];
    ssize_t n;
    while ((n = read(STDIN_FILENO, part, sizeof part)) > 0) {
        if (out->len + (size_t)n > PS_YAML_MAX_BYTES) {
            return ps_fail(err, PS_REFUSED, "standard input: longer than 1 MiB");
        }
        ps_buf_xappend(out, part, (size_t)n);
    }
    return n < 0 ? ps_fail(err, PS_REFUSED, "standard input cannot be read") : PS_OK;
}

int
cli_spec_from_file(const struct cli_args *args, const char *path, struct cli_spec *out)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_error err = {0};
    bool from_stdin = strcmp(path, "-") == 0;
    enum ps_status status =
        from_stdin ? read_stdin(&text, &err) : ps_path_read(path, PS_YAML_MAX_BYTES, &text, &err);
    if (status != PS_OK) {
        cli_complain("%s", err.text);
        ps_buf_fini(&text);
        return CLI_EXIT_SPEC;
    }
    char *absolute = from_stdin ? ps_path_absolute(NULL, "x") : ps_path_absolute(NULL, path);
    char *folder = ps_path_dirname(absolute);
    int code = check(ps_buf_span(&text), args, from_stdin ? "standard input" : path, folder, out);
    ps_free(absolute);
    ps_free(folder);
    ps_buf_fini(&text);
    return code;
}

/* ---------------------------------------------------------------- from load's arguments */

static bool
is_web(const char *url)
{
    char scheme[32];
    const char *name = spec_scheme(url, scheme);
    return strcmp(name, "http") == 0 || strcmp(name, "https") == 0;
}

/* The patterns' one source.url, or NULL after a message. Of URLs it is the first. */
static char *
source_of(const struct cli_args *args, int *out_code)
{
    char scheme[32];
    const char *first = args->words[0];
    if (strcmp(spec_scheme(first, scheme), "file") != 0) {
        for (size_t i = 1; i < args->word_count; i++) {
            if (!is_web(first) || !is_web(args->words[i])) {
                cli_complain(
                    "%s: only files, or only URLs of web servers, can be listed one by one", first);
                *out_code = CLI_EXIT_USAGE;
                return NULL;
            }
        }
        return ps_xstrdup(first);
    }
    char **patterns = ps_xcalloc(args->word_count, sizeof *patterns);
    bool ok = true;
    for (size_t i = 0; i < args->word_count; i++) {
        const char *word = args->words[i];
        const char *path = strncmp(word, "file:", 5) == 0 ? word + 5 : word;
        struct stat st;
        char *absolute = ps_path_absolute(NULL, path);
        bool there = stat(path, &st) == 0;
        if (there && S_ISDIR(st.st_mode)) {
            cli_complain("%s is a folder; did you mean '%s/*'?", path, path);
            ok = false;
        } else if (!there && !cli_spec_is_pattern(path)) {
            cli_complain("no such file: %s", path);
            ok = false;
        }
        patterns[i] = there ? cli_spec_escape(absolute) : ps_xstrdup(absolute);
        ps_free(absolute);
    }
    char *joined = ok ? cli_spec_join((const char *const *)patterns, args->word_count) : NULL;
    if (joined != NULL && strlen(joined) > LIST_MAX_BYTES) {
        cli_complain("too many files to name one by one: quote the pattern, as in 'data/*.csv'");
        ok = false;
    }
    char *url = ok ? ps_xasprintf("file:%s", joined) : NULL;
    for (size_t i = 0; i < args->word_count; i++) {
        ps_free(patterns[i]);
    }
    ps_free(patterns);
    ps_free(joined);
    *out_code = ok ? CLI_EXIT_OK : CLI_EXIT_SOURCE;
    return url;
}

static void
set_text(json_t *part, const char *key, const char *text)
{
    if (text != NULL) {
        json_object_set_new(part, key, json_string(text));
    }
}

static void
set_list(json_t *part, const char *key, const struct cli_args *args, enum cli_option id)
{
    size_t count = 0;
    const char **values = cli_args_all(args, id, &count);
    if (count > 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(list, json_string(values[i]));
        }
        json_object_set_new(part, key, list);
    }
    ps_free(values);
}

static bool
ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static const char *
delimiter_of(const struct cli_args *args)
{
    const char *given = cli_args_get(args, CLI_OPT_DELIMITER);
    if (given != NULL) {
        return strcmp(given, "\\t") == 0 || strcmp(given, "tab") == 0 ? "\t" : given;
    }
    static const char *const ends[] = {".tsv",     ".tsv.gz", ".tsv.zst", ".tsv.lz4",
                                       ".tsv.bz2", ".tsv.xz", ".tab"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends_with(args->words[0], ends[i])) {
            return "\t";
        }
    }
    return NULL;
}

/* A document of what was given; own_url is the source's. */
static json_t *
document_of(const struct cli_args *args, const char *url)
{
    json_t *doc = json_object(), *source = json_object(), *format = json_object();
    json_t *destination = json_object(), *errors = json_object(), *limits = json_object();
    const char *table = cli_args_get(args, CLI_OPT_TABLE);
    char *stem = cli_spec_name_of(args->words[0]);
    const char *into = cli_args_get(args, CLI_OPT_INTO);
    bool null_into = into != NULL && strncmp(into, "null:", 5) == 0;
    if (table == NULL && args->word_count == 1 && !cli_spec_is_pattern(args->words[0]) &&
        !null_into) {
        table = stem;
    }
    /* "public.flights" is called flights. */
    const char *dot = table != NULL ? strrchr(table, '.') : NULL;
    const char *model = dot != NULL && dot[1] != '\0' ? dot + 1 : table;
    char *name = cli_spec_name_of(model != NULL && model[0] != '\0' ? model : args->words[0]);
    const char *given = cli_args_get(args, CLI_OPT_NAME);
    set_text(doc, "name", given != NULL ? given : name != NULL ? name : "load");
    set_text(source, "url", url);
    if (is_web(url) && args->word_count > 1) {
        json_t *urls = json_array();
        for (size_t i = 1; i < args->word_count; i++) {
            json_array_append_new(urls, json_string(args->words[i]));
        }
        json_object_set_new(source, "urls", urls);
    }
    set_text(format, "type", cli_args_get(args, CLI_OPT_FORMAT));
    set_text(format, "delimiter", delimiter_of(args));
    if (cli_args_has(args, CLI_OPT_NO_HEADER)) {
        json_object_set_new(format, "header", json_false());
    }
    set_list(format, "null", args, CLI_OPT_NULL_TEXT);
    set_text(destination, "url", into);
    set_text(destination, "table", table);
    set_text(destination, "on_conflict", cli_args_get(args, CLI_OPT_ON_CONFLICT));
    set_list(destination, "key", args, CLI_OPT_KEY);
    set_text(errors, "tolerance", cli_args_get(args, CLI_OPT_TOLERANCE));
    set_text(limits, "batch_bytes", cli_args_get(args, CLI_OPT_BATCH_BYTES));
    json_object_set_new(doc, "source", source);
    json_object_set_new(doc, "format", format);
    json_object_set_new(doc, "destination", destination);
    json_object_set_new(doc, "errors", errors);
    json_object_set_new(doc, "limits", limits);
    static const char *const parts[] = {"format", "errors", "limits"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (json_object_size(json_object_get(doc, parts[i])) == 0) {
            json_object_del(doc, parts[i]);
        }
    }
    ps_free(stem);
    ps_free(name);
    return doc;
}

int
cli_spec_from_load(const struct cli_args *args, struct cli_spec *out)
{
    *out = (struct cli_spec){0};
    const char *into = cli_args_get(args, CLI_OPT_INTO);
    if (into == NULL || strchr(into, ':') == NULL) {
        cli_complain("load needs to know where to: --into sqlite:%s", into != NULL ? into : "FILE");
        return CLI_EXIT_USAGE;
    }
    int code = CLI_EXIT_OK;
    char *url = source_of(args, &code);
    if (url == NULL) {
        return code;
    }
    json_t *doc = document_of(args, url);
    char *text = ps_json_canonical(doc);
    char *base = ps_path_absolute(NULL, ".");
    code = check(ps_span_str(text), args, "", base, out);
    ps_free(base);
    ps_free(url);
    ps_free(text);
    json_decref(doc);
    return code;
}

/* ---------------------------------------------------------------- state */

char *
cli_spec_state(const struct cli_args *args, const struct cli_spec *spec)
{
    const char *given = cli_args_get(args, CLI_OPT_STATE);
    if (given != NULL) {
        return ps_path_absolute(NULL, given);
    }
    const char *name = spec_name(spec->spec);
    const char *url = spec_str(spec->spec, "destination.url");
    if (strncmp(url, "sqlite:/", 8) == 0) {
        return ps_xasprintf("%s.penstock/%s", url + 7, name);
    }
    const char *xdg = getenv("XDG_STATE_HOME");
    if (xdg != NULL && xdg[0] == '/') {
        return ps_xasprintf("%s/penstock/%s", xdg, name);
    }
    const char *home = getenv("HOME");
    return ps_xasprintf("%s/.local/state/penstock/%s", home != NULL ? home : "/tmp", name);
}
