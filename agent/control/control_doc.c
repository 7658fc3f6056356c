/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control/control_state.h"

void
control_doc_free(struct control_core *core, struct control_doc *doc)
{
    (void)core;
    ps_list_remove(&doc->link);
    msg_free((ProtobufCMessage *)doc->doc);
    ps_free(doc->sent);
    ps_free(doc);
}

struct control_doc *
control_doc_find(struct control_core *core, ProtobufCBinaryData uuid, uint32_t rev)
{
    PS_LIST_FOR (at, &core->docs) {
        struct control_doc *doc = PS_CONTAINER(at, struct control_doc, link);
        if (doc->doc->spec_rev == rev &&
            ps_span_eq(control_span(doc->doc->pipeline_uuid), control_span(uuid))) {
            return doc;
        }
    }
    return NULL;
}

static bool
is_used(struct control_core *core, const struct control_doc *doc)
{
    struct ps_span uuid = control_span(doc->doc->pipeline_uuid);
    PS_LIST_FOR (at, &core->batches) {
        const Penstock__Batch *batch = PS_CONTAINER(at, struct control_batch, link)->grant->batch;
        if (batch->spec_rev == doc->doc->spec_rev &&
            ps_span_eq(control_span(batch->pipeline_uuid), uuid)) {
            return true;
        }
    }
    PS_LIST_FOR (at, &core->tasks) {
        const Penstock__Task *task = PS_CONTAINER(at, struct control_task, link)->task;
        if (task->spec_rev == doc->doc->spec_rev &&
            ps_span_eq(control_span(task->pipeline_uuid), uuid)) {
            return true;
        }
    }
    return false;
}

/* The oldest that nothing held refers to go; the coordinator sends them again when asked to. */
static void
forget_oldest(struct control_core *core)
{
    size_t count = 0;
    PS_LIST_FOR (at, &core->docs) {
        count++;
    }
    PS_LIST_FOR (at, &core->docs) {
        struct control_doc *doc = PS_CONTAINER(at, struct control_doc, link);
        if (count > CONTROL_DOCS_MAX && !is_used(core, doc)) {
            control_doc_free(core, doc);
            count--;
        }
    }
}

void
control_doc_put(struct control_core *core, Penstock__SpecDoc **own_doc)
{
    Penstock__SpecDoc *message = *own_doc;
    *own_doc = NULL;
    if (control_doc_find(core, message->pipeline_uuid, message->spec_rev) != NULL) {
        msg_free(&message->base); /* frozen: an equal one is already here */
        return;
    }
    forget_oldest(core);
    struct control_doc *doc = ps_xcalloc(1, sizeof *doc);
    doc->doc = message;
    doc->sent = ps_xcalloc(core->config.leaves, sizeof *doc->sent);
    ps_list_push_back(&core->docs, &doc->link);
}

bool
control_doc_send(struct control_core *core, uint32_t leaf, ProtobufCBinaryData uuid, uint32_t rev)
{
    struct control_doc *doc = control_doc_find(core, uuid, rev);
    if (doc == NULL) {
        return false;
    }
    if (!doc->sent[leaf]) {
        Penstock__LeafSpec message = PENSTOCK__LEAF_SPEC__INIT;
        message.doc = doc->doc;
        core->env.send_leaf(core->env.ctx, leaf, MSG_LEAF_SPEC, &message.base);
        doc->sent[leaf] = true;
    }
    return true;
}

void
control_doc_forget_leaf(struct control_core *core, uint32_t leaf)
{
    PS_LIST_FOR (at, &core->docs) {
        PS_CONTAINER(at, struct control_doc, link)->sent[leaf] = false;
    }
}
