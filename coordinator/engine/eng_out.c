/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_out.h"

#include "common/alloc.h"
#include "common/assert.h"

void *
eng_out_new(const void *initial, size_t bytes)
{
    void *message = ps_xalloc(bytes);
    memcpy(message, initial, bytes);
    return message;
}

char *
eng_out_text(const char *text)
{
    return ps_xstrdup(text);
}

ProtobufCBinaryData
eng_out_bytes(struct ps_span bytes)
{
    if (bytes.len == 0) {
        return (ProtobufCBinaryData){0};
    }
    uint8_t *copy = ps_xalloc(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    return (ProtobufCBinaryData){.len = bytes.len, .data = copy};
}

ProtobufCBinaryData
eng_out_id(const struct ps_id *id)
{
    return eng_out_bytes(ps_span(id->b, PS_ID_BYTES));
}

Penstock__Column *
eng_out_column(const Penstock__Column *column)
{
    Penstock__Column *copy = ENG_NEW(Penstock__Column, PENSTOCK__COLUMN__INIT);
    copy->name = eng_out_text(column->name);
    copy->type = eng_out_text(column->type);
    copy->from = eng_out_text(column->from);
    copy->value = eng_out_text(column->value);
    copy->default_value = eng_out_text(column->default_value);
    copy->on_mismatch = eng_out_text(column->on_mismatch);
    copy->has_or_null = column->has_or_null;
    copy->or_null = column->or_null;
    return copy;
}

Penstock__ObjectRef *
eng_out_object(const Penstock__ObjectRef *ref)
{
    Penstock__ObjectRef *copy = ps_xalloc(sizeof *copy);
    *copy = *ref;
    copy->base.n_unknown_fields = 0;
    copy->base.unknown_fields = NULL;
    copy->key = eng_out_bytes(eng_span(ref->key));
    copy->version = eng_out_bytes(eng_span(ref->version));
    return copy;
}

void
eng_out_reply(struct engine *engine, const struct engine_request *request, enum msg_type type,
              ProtobufCMessage *own_message)
{
    struct eng_reply *reply = ps_xcalloc(1, sizeof *reply);
    reply->request = *request;
    reply->request.message = NULL;
    reply->type = type;
    reply->message = own_message;
    ps_list_push_back(&engine->replies, &reply->link);
}

void
eng_out_report(struct engine *engine, const struct engine_request *request, Penstock__Answer answer,
               const char *text)
{
    Penstock__ReportReply *reply = ENG_NEW(Penstock__ReportReply, PENSTOCK__REPORT_REPLY__INIT);
    reply->answer = answer;
    reply->text = eng_out_text(text);
    eng_out_reply(engine, request, MSG_REPORT_REPLY, &reply->base);
}

/* Every answer to an agent begins with a required stamp. */
static Penstock__Stamp **
stamp_of(struct eng_reply *reply)
{
    if (reply->type == MSG_HELLO_REPLY) {
        return &((Penstock__HelloReply *)(void *)reply->message)->stamp;
    }
    if (reply->type == MSG_SYNC_REPLY) {
        return &((Penstock__SyncReply *)(void *)reply->message)->stamp;
    }
    PS_ASSERT(reply->type == MSG_REPORT_REPLY);
    return &((Penstock__ReportReply *)(void *)reply->message)->stamp;
}

void
eng_out_send_all(struct engine *engine)
{
    struct cat_stamp stamp = catalog_stamp(engine->env.catalog);
    struct ps_list *at = NULL;
    while ((at = ps_list_take_front(&engine->replies)) != NULL) {
        struct eng_reply *reply = PS_CONTAINER(at, struct eng_reply, link);
        Penstock__Stamp *own = ENG_NEW(Penstock__Stamp, PENSTOCK__STAMP__INIT);
        own->cluster_epoch = stamp.cluster_epoch;
        own->commit_seq = stamp.commit_seq;
        *stamp_of(reply) = own;
        reply->request.reply(reply->request.ctx, reply->type, reply->message);
        msg_free(reply->message);
        ps_free(reply);
    }
}

void *
eng_out_copy(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = ps_xalloc(len + 1);
    protobuf_c_message_pack(message, packed);
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
    ps_free(packed);
    PS_ASSERT(copy != NULL);
    return copy;
}
