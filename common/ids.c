/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ids.h"

#include <stdio.h>
#include <xxhash.h>

#include "common/clock.h"
#include "common/rand.h"

struct ps_id
ps_id_make(int64_t wall_ms, const uint8_t random16[PS_ID_BYTES])
{
    struct ps_id id;
    memcpy(id.b, random16, sizeof id.b);
    uint64_t ms = (uint64_t)wall_ms;
    for (int i = 0; i < 6; i++) {
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    id.b[6] = (uint8_t)(0x70 | (id.b[6] & 0x0f));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

struct ps_id
ps_id_new(void)
{
    uint8_t random16[PS_ID_BYTES];
    ps_rand_system(random16, sizeof random16);
    return ps_id_make(ps_clock_wall_ms(), random16);
}

const char *
ps_id_text(struct ps_id id, char out[PS_ID_TEXT_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    char *at = out;
    for (int i = 0; i < PS_ID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *at++ = '-';
        }
        *at++ = hex[id.b[i] >> 4];
        *at++ = hex[id.b[i] & 15];
    }
    *at = '\0';
    return out;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
ps_id_parse(const char *text, struct ps_id *out)
{
    struct ps_id id;
    for (int i = 0; i < PS_ID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (*text++ != '-') {
                return false;
            }
        }
        int high = hex_value(text[0]);
        int low = high < 0 ? -1 : hex_value(text[1]);
        if (low < 0) {
            return false;
        }
        id.b[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0') {
        return false;
    }
    *out = id;
    return true;
}

bool
ps_id_from_span(struct ps_span bytes, struct ps_id *out)
{
    if (bytes.len != PS_ID_BYTES) {
        return false;
    }
    memcpy(out->b, bytes.ptr, PS_ID_BYTES);
    return true;
}

bool
ps_id_eq(struct ps_id a, struct ps_id b)
{
    return memcmp(a.b, b.b, PS_ID_BYTES) == 0;
}

bool
ps_id_is_zero(struct ps_id id)
{
    static const struct ps_id zero;
    return ps_id_eq(id, zero);
}

struct bp_hash
ps_bp_hash(struct ps_span key, struct ps_span version)
{
    XXH3_state_t *state = XXH3_createState();
    uint8_t head[8];
    for (int i = 0; i < 8; i++) {
        head[i] = (uint8_t)((uint64_t)key.len >> (8 * i));
    }
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, head, sizeof head);
    XXH3_128bits_update(state, key.ptr, key.len);
    XXH3_128bits_update(state, version.ptr, version.len);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    struct bp_hash hash;
    memcpy(hash.id.b, canonical.digest, PS_ID_BYTES);
    return hash;
}
