/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/json_walk.h"

#include "common/alloc.h"

enum { FIELDS_FIRST = 16 };

json_walk_fn
json_walk_best(void)
{
    return json_v3_runs() ? json_walk_v3 : json_walk_any;
}

static bool
fields_grow(struct json_walk *walk)
{
    if (walk->count < walk->cap) {
        return true;
    }
    uint32_t cap = walk->cap == 0 ? FIELDS_FIRST : walk->cap * 2;
    struct field *fields = ps_realloc(walk->fields, cap * sizeof *fields);
    if (fields == NULL) {
        return false;
    }
    walk->fields = fields;
    struct field *blank = ps_realloc(walk->blank, cap * sizeof *blank);
    if (blank == NULL) {
        return false;
    }
    walk->blank = blank;
    for (uint32_t i = walk->cap; i < cap; i++) {
        blank[i] = (struct field){.kind = FIELD_MISSING};
        fields[i] = blank[i];
    }
    walk->cap = cap;
    return true;
}

static bool
node_want(struct json_walk *walk, struct json_node *node)
{
    if (node == NULL || !fields_grow(walk)) {
        return false;
    }
    if (node->field == JSON_NO_FIELD) {
        walk->fields[walk->count] = walk->blank[walk->count];
        node->field = walk->count++;
    }
    return true;
}

enum ps_status
json_walk_want(struct json_walk *walk, const char *path, struct ps_error *err)
{
    struct spec_path steps;
    enum ps_status status = spec_path_parse(path, &steps, err);
    if (status != PS_OK) {
        return status;
    }
    struct json_node *node = &walk->root;
    for (uint32_t i = 0; i < steps.count && node != NULL; i++) {
        node = json_tree_step(node, &steps.steps[i]);
    }
    if (!node_want(walk, node)) {
        status = ps_fail(err, PS_FULL, "json: no memory for a field");
    }
    spec_path_fini(&steps);
    return status;
}

struct json_node *
json_walk_discover(struct json_walk *walk, struct ps_span name, const uint8_t *at)
{
    const struct spec_path_step step = {.name = name};
    if (walk->count >= walk->scan.rules->max_columns) {
        (void)json_fail(&walk->scan, JSON_WIDE, at, "fewer names (limits.max_columns)");
        return NULL;
    }
    struct json_node *node = json_tree_step(&walk->root, &step);
    if (!node_want(walk, node)) {
        (void)json_fail(&walk->scan, JSON_NOMEM, at, "memory");
        return NULL;
    }
    return node;
}

void
json_walk_strange(struct json_walk *walk, struct ps_span name)
{
    struct json_node *node = walk->strange_next;
    if (node == NULL || !ps_span_eq(json_node_name(node), name)) {
        node = json_tree_find(&walk->strange, name);
    }
    if (node == NULL && walk->strange_count < walk->scan.rules->max_columns) {
        const struct spec_path_step step = {.name = name};
        node = json_tree_step(&walk->strange, &step); /* without memory it is met again */
        walk->strange_count += node != NULL;
    }
    walk->strange_next = node != NULL && node->next != NULL ? node->next : walk->strange.first;
    if (walk->strange_stamp != walk->stamp) {
        walk->strange_stamp = walk->stamp;
        walk->strange_name = name;
    }
}

void
json_walk_forget(struct json_walk *walk, uint32_t count)
{
    while (walk->count > count) {
        json_tree_drop_last(&walk->root);
        walk->count--;
    }
}

void
json_walk_forget_strange(struct json_walk *walk, uint32_t count)
{
    while (walk->strange_count > count) {
        json_tree_drop_last(&walk->strange);
        walk->strange_count--;
    }
    walk->strange_next = walk->strange.first;
}

static void
node_clear(struct json_walk *walk, struct json_node *node)
{
    if (node->field != JSON_NO_FIELD) {
        walk->fields[node->field] = walk->blank[node->field];
    }
    for (struct json_node *child = node->first; child != NULL; child = child->next) {
        child->stamp = 0;
        node_clear(walk, child);
    }
}

struct json_node *
json_walk_duplicate(struct json_walk *walk, struct json_node *child, const uint8_t *at,
                    bool *out_fault)
{
    switch (walk->scan.rules->duplicates) {
    case JSON_KEEP_LAST:
        node_clear(walk, child);
        return child;
    case JSON_KEEP_FIRST:
        return NULL;
    case JSON_KEEP_NONE:
        break;
    }
    *out_fault = true;
    walk->at = child;
    (void)json_fail(&walk->scan, JSON_DUPLICATE, at,
                    "each name once in an object (format.duplicate_keys)");
    return NULL;
}

bool
json_walk_scratch(struct json_walk *walk, size_t bytes)
{
    ps_buf_clear(walk->scan.scratch);
    return ps_buf_reserve(walk->scan.scratch, bytes, NULL) == PS_OK;
}

void
json_walk_clear(struct json_walk *walk)
{
    json_tree_fini(&walk->root);
    json_tree_fini(&walk->strange);
    walk->strange_next = NULL;
    walk->strange_count = 0;
    walk->count = 0;
}

void
json_walk_fini(struct json_walk *walk)
{
    json_walk_clear(walk);
    ps_free(walk->fields);
    ps_free(walk->blank);
}
