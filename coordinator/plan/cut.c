/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/plan/cut.h"

enum { GUESSED_RATIO = 4 };

void
cut_init(struct cut *cut, uint64_t batch_bytes, uint64_t pending_bytes, uint32_t leaves)
{
    uint64_t share = pending_bytes / (leaves == 0 ? 1 : leaves) / CUT_SHARE;
    uint64_t least = batch_bytes / CUT_LEAST_PART;
    uint64_t target = share < least ? least : share;
    *cut = (struct cut){.batch_bytes = batch_bytes,
                        .target_bytes = target > batch_bytes ? batch_bytes : target};
}

enum cut_answer
cut_offer(struct cut *cut, uint64_t rest_bytes, size_t name_bytes, bool chained)
{
    bool alone = chained || rest_bytes >= cut->target_bytes;
    if (cut->count == 0) {
        cut->count = 1;
        cut->bytes = rest_bytes;
        cut->names_bytes = name_bytes;
        return CUT_TAKE;
    }
    if (cut->bytes >= cut->target_bytes || cut->count >= CUT_MAX_OBJECTS) {
        return CUT_ENOUGH;
    }
    /* A smaller one further on may still fit. */
    if (alone || cut->bytes + rest_bytes > cut->target_bytes) {
        return CUT_SKIP;
    }
    if (cut->names_bytes + name_bytes > CUT_MAX_NAME_BYTES) {
        return CUT_ENOUGH;
    }
    cut->count++;
    cut->bytes += rest_bytes;
    cut->names_bytes += name_bytes;
    return CUT_TAKE;
}

uint64_t
cut_estimate_bytes(uint64_t size_bytes, bool compressed)
{
    if (!compressed) {
        return size_bytes;
    }
    return size_bytes > UINT64_MAX / 2 / GUESSED_RATIO ? size_bytes : size_bytes * GUESSED_RATIO;
}

uint64_t
cut_rest_bytes(uint64_t size_bytes, bool compressed, uint64_t offset, uint64_t batch_bytes)
{
    uint64_t all = cut_estimate_bytes(size_bytes, compressed);
    if (offset < all) {
        return all - offset;
    }
    return offset == 0 ? 0 : batch_bytes;
}

bool
cut_wants_split(uint64_t rest_bytes, uint64_t others_bytes, uint64_t batch_bytes, uint32_t leaves)
{
    return leaves > 1 && rest_bytes > batch_bytes && rest_bytes > others_bytes / leaves;
}

uint64_t
cut_part_bytes(uint64_t most, uint64_t target)
{
    return target == 0 || most < target + target / 2 ? most : target;
}
