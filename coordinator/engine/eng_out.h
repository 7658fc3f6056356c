/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_out.h: messages that we make, and the outbox.
 * Invariant: a message made here is wholly owned, as an unpacked one: msg_free ends it. What is in
 *            the outbox goes out after the commit and not before; stamps are filled in then. */
#ifndef COORDINATOR_ENGINE_ENG_OUT_H
#define COORDINATOR_ENGINE_ENG_OUT_H

#include "common/alloc.h"
#include "coordinator/engine/eng.h"

/* ENG_NEW(Penstock__Stamp, PENSTOCK__STAMP__INIT): an empty message. */
#define ENG_NEW(Type, ...) ((Type *)eng_out_new(&(const Type)__VA_ARGS__, sizeof(Type)))
void *eng_out_new(const void *initial, size_t bytes);
char *eng_out_text(const char *text); /* NULL in, NULL out */
ProtobufCBinaryData eng_out_bytes(struct ps_span bytes);
ProtobufCBinaryData eng_out_id(const struct ps_id *id);
Penstock__Column *eng_out_column(const Penstock__Column *column);
Penstock__ObjectRef *eng_out_object(const Penstock__ObjectRef *ref);
/* A copy of the message, all its own. */
void *eng_out_copy(const ProtobufCMessage *message);
/* Appends item to a repeated field. */
#define ENG_PUSH(array, count, item)                                                               \
    do {                                                                                           \
        (array) = ps_xrealloc((array), ((count) + 1) * sizeof *(array));                           \
        (array)[(count)++] = (item);                                                               \
    } while (0)

/* Queues an answer; *own_message is taken. */
void eng_out_reply(struct engine *engine, const struct engine_request *request, enum msg_type type,
                   ProtobufCMessage *own_message);
void eng_out_report(struct engine *engine, const struct engine_request *request,
                    Penstock__Answer answer, const char *text);
/* After the commit. */
void eng_out_send_all(struct engine *engine);

#endif
