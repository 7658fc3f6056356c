/* SPDX-License-Identifier: Apache-2.0 */
/* proto/frame.h: one message on any wire.
 * Header, 20 bytes, little endian: magic "PNSK" (4), version 1 (2), type (2), payload length (4),
 * XXH3-64 of the payload seeded with length << 16 | type (8); then the protobuf payload.
 * In: bytes from outside.  Out: a checked message.
 * Invariant: nothing is allocated for a frame before its header and length have been judged against
 *            FRAME_MAX_BYTES (header included), and what unpacking may take is bounded by the
 *            payload's length; a frame that fails any check is PS_BADDATA and the link is closed.
 * Threads: pure. */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include "common/buf.h"
#include "common/error.h"
#include "common/span.h"
#include "proto/penstock.pb-c.h"

enum { FRAME_HEADER_BYTES = 20, FRAME_VERSION = 1, FRAME_MAX_BYTES = 1024 * 1024 };

enum msg_type {
#define MSG(name, number, generated, text) MSG_##name = number,
#include "proto/messages.def"
#undef MSG
};

/* "HELLO"; "?" for an unknown number. */
const char *msg_type_name(enum msg_type type);

/* Appends header and packed message. PS_BADDATA when it would be larger than FRAME_MAX_BYTES; the
 * buffer is unchanged on failure. message must be of the type's generated struct. */
PS_MUSTCHECK enum ps_status frame_append(struct ps_buf *out, enum msg_type type,
                                         const ProtobufCMessage *message, struct ps_error *err);

/* How long the frame at the start of bytes is: *out_total 0 while the header is incomplete.
 * PS_BADDATA: not a frame, wrong version or too long. */
PS_MUSTCHECK enum ps_status frame_total(struct ps_span bytes, size_t *out_total,
                                        struct ps_error *err);

/* Checks and unpacks one whole frame. *out_message is freed by msg_free. */
PS_MUSTCHECK enum ps_status frame_unpack(struct ps_span frame, enum msg_type *out_type,
                                         ProtobufCMessage **out_message, struct ps_error *err);
void msg_free(ProtobufCMessage *message); /* NULL is fine */

static inline ProtobufCBinaryData
proto_bytes(const void *ptr, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)(uintptr_t)ptr};
}

#endif
