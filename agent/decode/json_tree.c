/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/json_tree.h"

#include "common/alloc.h"

enum { LIST_MOST = 8 }; /* children that a search through the list finds as fast as a table */

static uint32_t
name_hash(struct ps_span name)
{
    uint64_t hash = name.len;
    for (size_t i = 0; i < name.len; i += 8) {
        uint64_t word = 0;
        memcpy(&word, name.ptr + i, name.len - i < 8 ? name.len - i : 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static void
slot_put(struct json_node **slots, uint32_t mask, struct json_node *child)
{
    uint32_t at = name_hash(json_node_name(child)) & mask;
    while (slots[at] != NULL) {
        at = (at + 1) & mask;
    }
    slots[at] = child;
}

/* The table holds all children by name, at most half full. */
static bool
slots_make(struct json_node *node)
{
    uint32_t size = 4 * LIST_MOST;
    while (size < 4 * node->names) {
        size *= 2;
    }
    struct json_node **slots = ps_calloc(size, sizeof(struct json_node *));
    if (slots == NULL) {
        return false;
    }
    for (struct json_node *child = node->first; child != NULL; child = child->next) {
        if (!child->is_index) {
            slot_put(slots, size - 1, child);
        }
    }
    ps_free(node->slots);
    node->slots = slots;
    node->slot_mask = size - 1;
    return true;
}

/* A name that needs no escape, in whatever writer's hands. */
static bool
is_plain(struct ps_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < 0x20 || name.ptr[i] == '"' || name.ptr[i] == '\\') {
            return false;
        }
    }
    return true;
}

static struct json_node *
node_new(const struct spec_path_step *step)
{
    struct json_node *node = ps_calloc(1, sizeof *node);
    if (node == NULL) {
        return NULL;
    }
    size_t len = step->is_index ? 0 : step->name.len;
    node->is_index = step->is_index;
    node->index = step->index;
    node->field = JSON_NO_FIELD;
    node->quoted = ps_calloc(1, len + 2 + JSON_KEY_SPARE);
    if (node->quoted == NULL) {
        ps_free(node);
        return NULL;
    }
    node->quoted[0] = '"';
    if (len > 0) {
        memcpy(node->quoted + 1, step->name.ptr, len);
    }
    if (!step->is_index && is_plain(step->name)) {
        node->quoted[len + 1] = '"';
        node->quoted_len = (uint32_t)len + 2;
    }
    return node;
}

static void
node_free(struct json_node *node)
{
    json_tree_fini(node);
    ps_free(node->quoted);
    ps_free(node);
}

void
json_tree_fini(struct json_node *root)
{
    struct json_node *child = root->first;
    while (child != NULL) {
        struct json_node *next = child->next;
        node_free(child);
        child = next;
    }
    ps_free(root->slots);
    root->first = root->last = root->expected = NULL;
    root->slots = NULL;
    root->names = root->indexes = 0;
}

struct json_node *
json_tree_find(const struct json_node *node, struct ps_span name)
{
    if (node->slots != NULL) {
        uint32_t at = name_hash(name) & node->slot_mask;
        while (node->slots[at] != NULL && !ps_span_eq(json_node_name(node->slots[at]), name)) {
            at = (at + 1) & node->slot_mask;
        }
        return node->slots[at];
    }
    for (struct json_node *child = node->first; child != NULL; child = child->next) {
        if (!child->is_index && ps_span_eq(json_node_name(child), name)) {
            return child;
        }
    }
    return NULL;
}

struct json_node *
json_tree_at(const struct json_node *node, uint32_t index)
{
    struct json_node *child = node->first;
    while (child != NULL && !(child->is_index && child->index == index)) {
        child = child->next;
    }
    return child;
}

struct json_node *
json_tree_step(struct json_node *node, const struct spec_path_step *step)
{
    struct json_node *child =
        step->is_index ? json_tree_at(node, step->index) : json_tree_find(node, step->name);
    if (child != NULL) {
        return child;
    }
    child = node_new(step);
    if (child == NULL) {
        return NULL;
    }
    if (node->last != NULL) {
        node->last->next = child;
    } else {
        node->first = child;
    }
    node->last = child;
    node->names += !step->is_index;
    node->indexes += step->is_index;
    if (node->names > LIST_MOST && !step->is_index) {
        if (node->slots == NULL || node->names * 2 > node->slot_mask) {
            if (!slots_make(node)) {
                json_tree_drop_last(node);
                return NULL;
            }
        } else {
            slot_put(node->slots, node->slot_mask, child);
        }
    }
    return child;
}

void
json_tree_drop_last(struct json_node *node)
{
    struct json_node *gone = node->last;
    struct json_node *before = NULL;
    for (struct json_node *child = node->first; child != gone; child = child->next) {
        before = child;
    }
    node->last = before;
    if (before == NULL) {
        node->first = NULL;
    } else {
        before->next = NULL;
    }
    node->names -= !gone->is_index;
    node->indexes -= gone->is_index;
    node->expected = NULL;
    node_free(gone);
    /* Taking one out of an open table means to make it anew; without one the list still answers. */
    ps_free(node->slots);
    node->slots = NULL;
}

uint32_t
json_tree_overlap(const struct json_node *node)
{
    uint32_t most = 0;
    for (const struct json_node *child = node->first; child != NULL; child = child->next) {
        uint32_t here = json_tree_overlap(child);
        most = here > most ? here : most;
    }
    return most + (node->field != JSON_NO_FIELD);
}
