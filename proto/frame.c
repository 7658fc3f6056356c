/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <xxhash.h>

#include "common/alloc.h"
#include "common/assert.h"

/* What unpacking may take for one frame. A field costs protobuf-c at most about 100 bytes of
 * bookkeeping and struct while it is at least two bytes on the wire, so the allowance grows with
 * the payload; the second number stops what is left of amplification. */
enum {
    UNPACK_BASE_BYTES = 64 * 1024,
    UNPACK_BYTES_A_BYTE = 64,
    UNPACK_MAX_BYTES = 32 * 1024 * 1024,
};

struct message_kind {
    enum msg_type type;
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
};

static const struct message_kind kinds[] = {
#define MSG(name, number, generated, text)                                                         \
    {MSG_##name, #name, &penstock__##generated##__descriptor},
#include "proto/messages.def"
#undef MSG
};

struct allowance {
    size_t left;
};

static void *
allowed_alloc(void *ctx, size_t bytes)
{
    struct allowance *allowance = ctx;
    if (bytes > allowance->left) {
        return NULL;
    }
    void *block = ps_alloc(bytes);
    if (block != NULL) {
        allowance->left -= bytes;
    }
    return block;
}

static void
allowed_free(void *ctx, void *block)
{
    (void)ctx;
    ps_free(block);
}

static const struct message_kind *
kind_find(unsigned type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if ((unsigned)kinds[i].type == type) {
            return &kinds[i];
        }
    }
    return NULL;
}

const char *
msg_type_name(enum msg_type type)
{
    const struct message_kind *kind = kind_find(type);
    return kind == NULL ? "?" : kind->name;
}

static void
put_u16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static unsigned
get_u16(const uint8_t *at)
{
    return (unsigned)at[0] | (unsigned)at[1] << 8;
}

static void
put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, value & 0xffffu);
    put_u16(at + 2, value >> 16);
}

static uint32_t
get_u32(const uint8_t *at)
{
    return (uint32_t)get_u16(at) | (uint32_t)get_u16(at + 2) << 16;
}

static void
put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint64_t
get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

static uint64_t
checksum(unsigned type, struct ps_span payload)
{
    return XXH3_64bits_withSeed(payload.ptr, payload.len, (uint64_t)payload.len << 16 | type);
}

enum ps_status
frame_append(struct ps_buf *out, enum msg_type type, const ProtobufCMessage *message,
             struct ps_error *err)
{
    const struct message_kind *kind = kind_find(type);
    PS_ASSERT(kind != NULL && message->descriptor == kind->descriptor);
    size_t payload_bytes = protobuf_c_message_get_packed_size(message);
    if (payload_bytes > FRAME_MAX_BYTES - FRAME_HEADER_BYTES) {
        return ps_fail(err, PS_BADDATA, "a %s message of %zu bytes is larger than a frame may be",
                       kind->name, payload_bytes);
    }
    enum ps_status status = ps_buf_reserve(out, FRAME_HEADER_BYTES + payload_bytes, err);
    if (status != PS_OK) {
        return status;
    }
    uint8_t *at = out->ptr + out->len;
    size_t packed = protobuf_c_message_pack(message, at + FRAME_HEADER_BYTES);
    PS_ASSERT(packed == payload_bytes);
    memcpy(at, "PNSK", 4);
    put_u16(at + 4, FRAME_VERSION);
    put_u16(at + 6, type);
    put_u32(at + 8, (uint32_t)payload_bytes);
    put_u64(at + 12, checksum(type, ps_span(at + FRAME_HEADER_BYTES, payload_bytes)));
    out->len += FRAME_HEADER_BYTES + payload_bytes;
    return PS_OK;
}

enum ps_status
frame_total(struct ps_span bytes, size_t *out_total, struct ps_error *err)
{
    if (bytes.len > 0 && memcmp(bytes.ptr, "PNSK", bytes.len < 4 ? bytes.len : 4) != 0) {
        return ps_fail(err, PS_BADDATA, "not a frame: wrong magic");
    }
    if (bytes.len < FRAME_HEADER_BYTES) {
        *out_total = 0;
        return PS_OK;
    }
    if (get_u16(bytes.ptr + 4) != FRAME_VERSION) {
        return ps_fail(err, PS_BADDATA, "frame version %u, expected %d", get_u16(bytes.ptr + 4),
                       FRAME_VERSION);
    }
    uint32_t payload_bytes = get_u32(bytes.ptr + 8);
    if (payload_bytes > FRAME_MAX_BYTES - FRAME_HEADER_BYTES) {
        return ps_fail(err, PS_BADDATA, "a frame of %u bytes is larger than %d", payload_bytes,
                       FRAME_MAX_BYTES);
    }
    *out_total = FRAME_HEADER_BYTES + (size_t)payload_bytes;
    return PS_OK;
}

enum ps_status
frame_unpack(struct ps_span frame, enum msg_type *out_type, ProtobufCMessage **out_message,
             struct ps_error *err)
{
    size_t total = 0;
    enum ps_status status = frame_total(frame, &total, err);
    if (status != PS_OK) {
        return status;
    }
    if (total == 0 || total != frame.len) {
        return ps_fail(err, PS_BADDATA, "a frame of %zu bytes where its header says %zu", frame.len,
                       total);
    }
    unsigned type = get_u16(frame.ptr + 6);
    struct ps_span payload = ps_span(frame.ptr + FRAME_HEADER_BYTES, total - FRAME_HEADER_BYTES);
    if (get_u64(frame.ptr + 12) != checksum(type, payload)) {
        return ps_fail(err, PS_BADDATA, "frame checksum does not match");
    }
    const struct message_kind *kind = kind_find(type);
    if (kind == NULL) {
        return ps_fail(err, PS_BADDATA, "unknown message type %u", type);
    }
    struct allowance allowance = {.left = UNPACK_BASE_BYTES + UNPACK_BYTES_A_BYTE * payload.len};
    if (allowance.left > UNPACK_MAX_BYTES) {
        allowance.left = UNPACK_MAX_BYTES;
    }
    ProtobufCAllocator allocator = {
        .alloc = allowed_alloc, .free = allowed_free, .allocator_data = &allowance};
    ProtobufCMessage *message =
        protobuf_c_message_unpack(kind->descriptor, &allocator, payload.len, payload.ptr);
    if (message == NULL) {
        return ps_fail(err, PS_BADDATA, "a %s message of %zu bytes does not decode", kind->name,
                       payload.len);
    }
    *out_type = kind->type;
    *out_message = message;
    return PS_OK;
}

void
msg_free(ProtobufCMessage *message)
{
    if (message != NULL) {
        ProtobufCAllocator allocator = {.alloc = allowed_alloc, .free = allowed_free};
        protobuf_c_message_free_unpacked(message, &allocator);
    }
}
