/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/stage/stage_reject.h"

#include <endian.h>

static void
put_u32(uint8_t **at, uint32_t value)
{
    value = htole32(value);
    memcpy(*at, &value, sizeof value);
    *at += sizeof value;
}

static void
put_u64(uint8_t **at, uint64_t value)
{
    value = htole64(value);
    memcpy(*at, &value, sizeof value);
    *at += sizeof value;
}

static uint32_t
get_u32(const uint8_t **at)
{
    uint32_t value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return le32toh(value);
}

static uint64_t
get_u64(const uint8_t **at)
{
    uint64_t value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return le64toh(value);
}

enum ps_status
stage_reject_encode(struct ps_buf *buf, const struct stage_reject *reject, struct ps_error *err)
{
    size_t raw_bytes =
        reject->raw.len < STAGE_REJECT_RAW_MAX ? reject->raw.len : STAGE_REJECT_RAW_MAX;
    const struct ps_span parts[4] = {reject->column, reject->code, reject->reason,
                                     ps_span(reject->raw.ptr, raw_bytes)};
    size_t need = STAGE_REJECT_HEADER_BYTES;
    for (size_t i = 0; i < 4; i++) {
        if (parts[i].len > UINT32_MAX) {
            return ps_fail(err, PS_BUG, "reject: a text of %zu bytes", parts[i].len);
        }
        need += parts[i].len;
    }
    enum ps_status status = ps_buf_reserve(buf, need, err);
    if (status != PS_OK) {
        return status;
    }
    uint8_t *at = buf->ptr + buf->len;
    put_u32(&at, reject->range_index);
    put_u64(&at, reject->offset);
    put_u64(&at, reject->length);
    put_u64(&at, reject->line);
    for (size_t i = 0; i < 4; i++) {
        put_u32(&at, (uint32_t)parts[i].len);
    }
    for (size_t i = 0; i < 4; i++) {
        if (parts[i].len > 0) {
            memcpy(at, parts[i].ptr, parts[i].len);
            at += parts[i].len;
        }
    }
    buf->len += need;
    return PS_OK;
}

enum ps_status
stage_reject_decode(struct ps_span *rest, struct stage_reject *out, struct ps_error *err)
{
    if (rest->len < STAGE_REJECT_HEADER_BYTES) {
        return ps_fail_code(err, PS_BADDATA, "stage_corrupt", "reject: cut short");
    }
    const uint8_t *at = rest->ptr;
    const uint8_t *end = rest->ptr + rest->len;
    struct stage_reject reject = {0};
    reject.range_index = get_u32(&at);
    reject.offset = get_u64(&at);
    reject.length = get_u64(&at);
    reject.line = get_u64(&at);
    uint32_t lens[4];
    for (size_t i = 0; i < 4; i++) {
        lens[i] = get_u32(&at);
    }
    struct ps_span *parts[4] = {&reject.column, &reject.code, &reject.reason, &reject.raw};
    for (size_t i = 0; i < 4; i++) {
        if (lens[i] > (size_t)(end - at)) {
            return ps_fail_code(err, PS_BADDATA, "stage_corrupt", "reject: a text is cut short");
        }
        *parts[i] = ps_span(at, lens[i]);
        at += lens[i];
    }
    *rest = ps_span(at, (size_t)(end - at));
    *out = reject;
    return PS_OK;
}
