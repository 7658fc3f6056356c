/* SPDX-License-Identifier: Apache-2.0 */
#include "common/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/map.h"
#include "common/yaml_scalar.h"

/* An open mapping or sequence. */
struct frame {
    json_t *value;   /* borrowed: its parent, or the loader for the root, owns it */
    char *key;       /* mapping: the key whose value comes next; NULL = a key comes next */
    size_t path_len; /* of this container in loader.path */
    char *anchor;    /* registered once the container is whole; NULL = none */
    size_t nodes_at; /* loader.nodes when it began */
};

struct loader {
    yaml_parser_t parser;
    struct ps_yaml *yaml;
    struct ps_map *anchors; /* name → struct anchor * */
    struct frame frames[PS_YAML_MAX_DEPTH];
    unsigned depth;
    struct ps_buf path;
    size_t nodes;
    unsigned line; /* of the event in hand */
    bool done;     /* the root is whole */
};

struct anchor {
    json_t *value;
    size_t nodes;
};

struct ps_yaml {
    json_t *root;
    struct ps_map *lines; /* path → line, as a pointer's number */
};

json_t *
ps_yaml_root(const struct ps_yaml *yaml)
{
    return yaml->root;
}

unsigned
ps_yaml_line(const struct ps_yaml *yaml, const char *path)
{
    size_t len = strlen(path);
    for (;;) {
        void *line = ps_map_find(yaml->lines, ps_span(path, len));
        if (line != NULL || len == 0) {
            return (unsigned)(uintptr_t)line;
        }
        while (len > 0 && path[--len] != '.' && path[len] != '[') {
        }
    }
}

void
ps_yaml_free(struct ps_yaml *yaml)
{
    if (yaml != NULL) {
        json_decref(yaml->root);
        ps_map_free(yaml->lines);
        ps_free(yaml);
    }
}

static enum ps_status
fail_line(const struct loader *loader, struct ps_error *err, const char *text)
{
    return ps_fail(err, PS_BADDATA, "line %u: %s", loader->line, text);
}

/* Sets loader.path to where the next value goes. */
static void
enter_path(struct loader *loader)
{
    if (loader->depth == 0) {
        return;
    }
    const struct frame *frame = &loader->frames[loader->depth - 1];
    loader->path.len = frame->path_len;
    if (frame->key == NULL) {
        ps_buf_xprintf(&loader->path, "[%zu]", json_array_size(frame->value));
    } else {
        ps_buf_xprintf(&loader->path, "%s%s", frame->path_len > 0 ? "." : "", frame->key);
    }
}

static void
note_line(struct loader *loader, unsigned line)
{
    struct ps_span path = ps_buf_span(&loader->path);
    if (ps_map_find(loader->yaml->lines, path) == NULL) {
        ps_map_put(loader->yaml->lines, path, (void *)(uintptr_t)line);
    }
}

/* Puts a value into the open container; takes it over, also on failure. */
static enum ps_status
add_value(struct loader *loader, json_t *own_value, size_t nodes, struct ps_error *err)
{
    loader->nodes += nodes;
    enum ps_status status = PS_OK;
    if (own_value == NULL) {
        return fail_line(loader, err, "text that is not UTF-8, or has U+0000");
    }
    if (loader->nodes > PS_YAML_MAX_NODES) {
        json_decref(own_value);
        return fail_line(loader, err, "the document has too many values");
    }
    enter_path(loader);
    note_line(loader, loader->line);
    if (loader->depth == 0) {
        loader->yaml->root = own_value;
        loader->done = true;
        return PS_OK;
    }
    struct frame *frame = &loader->frames[loader->depth - 1];
    int failed = 0;
    if (json_is_array(frame->value)) {
        failed = json_array_append_new(frame->value, own_value);
    } else {
        failed = json_object_set_new(frame->value, frame->key, own_value);
        ps_free(frame->key);
        frame->key = NULL;
    }
    if (failed != 0) {
        status = fail_line(loader, err, "text that is not UTF-8");
    }
    return status;
}

static void
add_anchor(struct loader *loader, const char *name, json_t *value, size_t nodes)
{
    struct anchor *anchor = ps_xalloc(sizeof *anchor);
    *anchor = (struct anchor){.value = json_incref(value), .nodes = nodes};
    struct anchor *before = ps_map_put(loader->anchors, ps_span_str(name), anchor);
    if (before != NULL) {
        json_decref(before->value);
        ps_free(before);
    }
}

static enum ps_status
on_key(struct loader *loader, const yaml_event_t *event, struct ps_error *err)
{
    struct frame *frame = &loader->frames[loader->depth - 1];
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length) {
        return fail_line(loader, err, "a key with U+0000");
    }
    if (json_object_get(frame->value, text) != NULL) {
        return ps_fail(err, PS_BADDATA, "line %u: the key %s stands twice", loader->line, text);
    }
    frame->key = ps_xstrdup(text);
    enter_path(loader);
    note_line(loader, loader->line);
    return PS_OK;
}

static enum ps_status
on_scalar(struct loader *loader, const yaml_event_t *event, struct ps_error *err)
{
    const char *tag = (const char *)event->data.scalar.tag;
    bool string = tag != NULL && strcmp(tag, YAML_STR_TAG) == 0;
    if (tag != NULL && !string && strcmp(tag, "!") != 0) {
        return fail_line(loader, err, "tags are not accepted");
    }
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && tag == NULL;
    if (plain && yaml_scalar_is_special(text, len)) {
        return fail_line(loader, err, ".inf and .nan are not accepted");
    }
    json_t *value = NULL;
    if (strlen(text) == len) {
        value = plain ? ps_yaml_scalar(text, len) : json_stringn(text, len);
    }
    if (value != NULL && event->data.scalar.anchor != NULL) {
        add_anchor(loader, (const char *)event->data.scalar.anchor, value, 1);
    }
    return add_value(loader, value, 1, err);
}

static enum ps_status
on_alias(struct loader *loader, const yaml_event_t *event, struct ps_error *err)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct anchor *anchor = ps_map_find(loader->anchors, ps_span_str(name));
    if (anchor == NULL) {
        return ps_fail(err, PS_BADDATA, "line %u: nothing is anchored as %s", loader->line, name);
    }
    if (loader->nodes + anchor->nodes > PS_YAML_MAX_NODES ||
        loader->depth + ps_json_depth(anchor->value) > PS_YAML_MAX_DEPTH) {
        return fail_line(loader, err, "aliases make the document too large");
    }
    return add_value(loader, json_deep_copy(anchor->value), anchor->nodes, err);
}

static enum ps_status
on_open(struct loader *loader, json_t *own_value, const yaml_char_t *anchor, const yaml_char_t *tag,
        struct ps_error *err)
{
    if (loader->depth == PS_YAML_MAX_DEPTH ||
        (tag != NULL && strcmp((const char *)tag, "!") != 0)) {
        json_decref(own_value);
        return fail_line(loader, err, tag != NULL ? "tags are not accepted" : "nested too deep");
    }
    size_t nodes_at = loader->nodes;
    enum ps_status status = add_value(loader, own_value, 1, err);
    if (status == PS_OK) {
        loader->done = false;
        loader->frames[loader->depth++] = (struct frame){
            .value = own_value, /* now its parent's */
            .path_len = loader->path.len,
            .anchor = ps_xstrdup((const char *)anchor),
            .nodes_at = nodes_at,
        };
    }
    return status;
}

static void
on_close(struct loader *loader)
{
    struct frame *frame = &loader->frames[--loader->depth];
    if (frame->anchor != NULL) {
        add_anchor(loader, frame->anchor, frame->value, loader->nodes - frame->nodes_at);
    }
    ps_free(frame->anchor);
    loader->done = loader->depth == 0;
}

static bool
key_is_next(const struct loader *loader)
{
    return loader->depth > 0 && json_is_object(loader->frames[loader->depth - 1].value) &&
           loader->frames[loader->depth - 1].key == NULL;
}

static enum ps_status
on_event(struct loader *loader, const yaml_event_t *event, struct ps_error *err)
{
    loader->line = (unsigned)event->start_mark.line + 1;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return key_is_next(loader) ? on_key(loader, event, err) : on_scalar(loader, event, err);
    case YAML_ALIAS_EVENT:
        return key_is_next(loader) ? fail_line(loader, err, "a key that is not text")
                                   : on_alias(loader, event, err);
    case YAML_SEQUENCE_START_EVENT:
        return key_is_next(loader)
                   ? fail_line(loader, err, "a key that is not text")
                   : on_open(loader, json_array(), event->data.sequence_start.anchor,
                             event->data.sequence_start.tag, err);
    case YAML_MAPPING_START_EVENT:
        return key_is_next(loader)
                   ? fail_line(loader, err, "a key that is not text")
                   : on_open(loader, json_object(), event->data.mapping_start.anchor,
                             event->data.mapping_start.tag, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_close(loader);
        return PS_OK;
    case YAML_DOCUMENT_START_EVENT:
        return loader->done ? fail_line(loader, err, "more than one document") : PS_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return PS_OK;
    }
    return PS_OK;
}

static enum ps_status
fail_syntax(struct loader *loader, struct ps_error *err)
{
    const yaml_parser_t *parser = &loader->parser;
    size_t line = parser->problem_mark.line;
    loader->line = (unsigned)line + 1;
    return ps_fail(err, PS_BADDATA, "line %u: %s%s%s", loader->line,
                   parser->problem == NULL ? "not YAML" : parser->problem,
                   parser->context == NULL ? "" : ", ",
                   parser->context == NULL ? "" : parser->context);
}

static enum ps_status
run(struct loader *loader, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    for (bool more = true; more && status == PS_OK;) {
        yaml_event_t event;
        if (yaml_parser_parse(&loader->parser, &event) == 0) {
            return fail_syntax(loader, err);
        }
        more = event.type != YAML_STREAM_END_EVENT;
        status = on_event(loader, &event, err);
        yaml_event_delete(&event);
    }
    return status;
}

static void
loader_fini(struct loader *loader)
{
    while (loader->depth > 0) {
        struct frame *frame = &loader->frames[--loader->depth];
        ps_free(frame->key);
        ps_free(frame->anchor);
    }
    size_t cursor = 0;
    struct ps_span key;
    void *value = NULL;
    while (ps_map_next(loader->anchors, &cursor, &key, &value)) {
        struct anchor *anchor = value;
        json_decref(anchor->value);
        ps_free(anchor);
    }
    ps_map_free(loader->anchors);
    ps_buf_fini(&loader->path);
    yaml_parser_delete(&loader->parser);
}

enum ps_status
ps_yaml_load(struct ps_span text, struct ps_yaml **out, unsigned *out_line, struct ps_error *err)
{
    if (out_line != NULL) {
        *out_line = 0;
    }
    if (text.len > PS_YAML_MAX_BYTES) {
        return ps_fail(err, PS_BADDATA, "%zu bytes; at most %d are accepted", text.len,
                       PS_YAML_MAX_BYTES);
    }
    struct loader loader = {.anchors = ps_map_new(), .yaml = ps_xcalloc(1, sizeof(struct ps_yaml))};
    loader.yaml->lines = ps_map_new();
    if (yaml_parser_initialize(&loader.parser) == 0) {
        loader_fini(&loader);
        ps_yaml_free(loader.yaml);
        return ps_fail(err, PS_FULL, "out of memory");
    }
    const unsigned char *bytes = text.len == 0 ? (const unsigned char *)"" : text.ptr;
    yaml_parser_set_input_string(&loader.parser, bytes, text.len);
    enum ps_status status = run(&loader, err);
    if (status != PS_OK && out_line != NULL) {
        *out_line = loader.line;
    }
    loader_fini(&loader);
    if (status != PS_OK) {
        ps_yaml_free(loader.yaml);
        return status;
    }
    if (loader.yaml->root == NULL) {
        loader.yaml->root = json_null();
    }
    *out = loader.yaml;
    return PS_OK;
}
