/* SPDX-License-Identifier: Apache-2.0 */
/* common/ids.h: 128-bit identities. One struct a kind, so that mixing them does not compile.
 * New ids are time-ordered (UUID version 7, RFC 9562 §5.7): 48 bits of wall milliseconds, then
 * random bits; never a counter, so a restored backup cannot repeat one.
 * Text form: 36 characters, lower-case UUID. */
#ifndef COMMON_IDS_H
#define COMMON_IDS_H

#include "common/error.h"
#include "common/span.h"

enum { PS_ID_BYTES = 16, PS_ID_TEXT_BYTES = 37 /* with the NUL */ };

struct ps_id {
    uint8_t b[PS_ID_BYTES];
};

struct batch_id {
    struct ps_id id;
};
struct pipeline_uuid {
    struct ps_id id;
};
struct incarnation {
    struct ps_id id; /* one life of an agent process */
};
struct task_id {
    struct ps_id id;
};
/* XXH3-128 of (key length, key, version): names one batch partition's version in the ledger. */
struct bp_hash {
    struct ps_id id;
};

/* random16: 16 random bytes from the caller's env, so that simulations replay. */
struct ps_id ps_id_make(int64_t wall_ms, const uint8_t random16[PS_ID_BYTES]);
/* The same from the real clock and getrandom(2). */
struct ps_id ps_id_new(void);
const char *ps_id_text(struct ps_id id, char out[PS_ID_TEXT_BYTES]);
PS_MUSTCHECK bool ps_id_parse(const char *text, struct ps_id *out);
/* False unless the span is exactly 16 bytes. */
PS_MUSTCHECK bool ps_id_from_span(struct ps_span bytes, struct ps_id *out);
bool ps_id_eq(struct ps_id a, struct ps_id b);
bool ps_id_is_zero(struct ps_id id);

struct bp_hash ps_bp_hash(struct ps_span key, struct ps_span version);

/* A pipeline's generation: how often it was raised, and below that what was drawn when it was.
 * Two histories of one catalog (a copy from before, and what came after it) may raise it to the
 * same count, but never to the same generation (tests/model/eo_raise.pml). The first is 1, and
 * those of penstock 0.1.0 are counts without a draw. */
static inline uint64_t
ps_generation_count(uint64_t generation)
{
    return generation >> 32 == 0 ? generation : generation >> 32;
}
static inline uint64_t
ps_generation_raise(uint64_t generation, uint64_t random)
{
    return ((ps_generation_count(generation) + 1) & INT32_MAX) << 32 | (random & UINT32_MAX);
}

#endif
