/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a stream of frames, as a leaf's socket or a coordinator's answer would bring them.
 * The checksum would hide the decoder from the fuzzer, so the input is also read as the payload of
 * a well-formed frame: its first byte chooses the type. What decodes must survive being packed
 * again, and, as JSON where it can be shown, coming back equal. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "proto/json_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
as_stream(struct ps_span bytes)
{
    struct ps_error err;
    while (bytes.len > 0) {
        size_t total = 0;
        enum msg_type type;
        ProtobufCMessage *message = NULL;
        if (frame_total(bytes, &total, &err) != PS_OK || total == 0 || total > bytes.len) {
            return;
        }
        if (frame_unpack(ps_span(bytes.ptr, total), &type, &message, &err) == PS_OK) {
            msg_free(message);
        }
        bytes = ps_span(bytes.ptr + total, bytes.len - total);
    }
}

static void
as_json(const ProtobufCMessage *message)
{
    struct ps_error err;
    json_t *json = NULL;
    ProtobufCMessage *back = NULL;
    if (json_map_write(message, &json, &err) != PS_OK) {
        return;
    }
    /* An enum value that this build has no name for, or a float that is not a number, cannot. */
    if (json_map_read(message->descriptor, json, &back, &err) == PS_OK) {
        json_t *again = NULL;
        PS_ASSERT(json_map_write(back, &again, &err) == PS_OK);
        PS_ASSERT(json_equal(json, again));
        json_decref(again);
        msg_free(back);
    }
    json_decref(json);
}

static void
as_payload(unsigned type, struct ps_span payload)
{
    static const ProtobufCMessageDescriptor *const descriptors[] = {
#define MSG(name, number, generated, text) [number] = &penstock__##generated##__descriptor,
#include "proto/messages.def"
#undef MSG
    };
    struct ps_error err;
    type %= sizeof descriptors / sizeof descriptors[0];
    if (descriptors[type] == NULL) {
        return;
    }
    ProtobufCMessage *raw =
        protobuf_c_message_unpack(descriptors[type], NULL, payload.len, payload.ptr);
    if (raw == NULL) {
        return;
    }
    struct ps_buf frame = PS_BUF_INIT;
    enum msg_type got = 0;
    ProtobufCMessage *message = NULL;
    if (frame_append(&frame, (enum msg_type)type, raw, &err) == PS_OK &&
        frame_unpack(ps_buf_span(&frame), &got, &message, &err) == PS_OK) {
        PS_ASSERT((unsigned)got == type);
        as_json(message);
        msg_free(message);
    }
    ps_buf_fini(&frame);
    protobuf_c_message_free_unpacked(raw, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t before = ps_alloc_bytes_now();
    as_stream(ps_span(data, size));
    if (size > 0) {
        as_payload(data[0], ps_span(data + 1, size - 1));
    }
    PS_ASSERT(ps_alloc_bytes_now() == before);
    return 0;
}
