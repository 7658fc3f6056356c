/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/plan/cut.h: which batch partitions make the next batch.
 * In: candidates, largest rest first, offered one by one.  Out: take it, skip it, or enough.
 * Invariant: what does not fit into one batch stays alone (a chain: its next range is cut when this
 *            one is loaded); small ones share a batch up to a byte and an object target; a batch
 *            holds at least one candidate whatever its size.
 * Threads: pure. */
#ifndef COORDINATOR_PLAN_CUT_H
#define COORDINATOR_PLAN_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CUT_MAX_OBJECTS = 1000,
    CUT_MAX_NAME_BYTES = 256 * 1024, /* keys, versions and resume tokens: a grant fits its frame */
    CUT_SHARE = 3,       /* towards the end a batch is this part of a leaf's fair share */
    CUT_LEAST_PART = 16, /* but never less than this part of batch_bytes */
};

struct cut {
    uint64_t batch_bytes;  /* limits.batch_bytes */
    uint64_t target_bytes; /* what a packed batch aims at */
    uint64_t bytes;        /* of what was taken */
    size_t names_bytes;
    size_t count;
};

enum cut_answer { CUT_TAKE, CUT_SKIP, CUT_ENOUGH };

/* pending_bytes: estimate of all that is still to be cut; leaves: how many share it. */
void cut_init(struct cut *cut, uint64_t batch_bytes, uint64_t pending_bytes, uint32_t leaves);

/* rest_bytes: estimate of what is left of the candidate; chained: its beginning is loaded already.
 * After CUT_ENOUGH nothing more may be offered. */
enum cut_answer cut_offer(struct cut *cut, uint64_t rest_bytes, size_t name_bytes, bool chained);

/* Unwrapped size guessed from the stored one: compressed text is about a quarter. */
uint64_t cut_estimate_bytes(uint64_t size_bytes, bool compressed);
/* What is left behind offset: a guess that has been passed is a batch more, not nothing. */
uint64_t cut_rest_bytes(uint64_t size_bytes, bool compressed, uint64_t offset,
                        uint64_t batch_bytes);

/* Is what is left of one object worth taking in parallel? Not while the others give every leaf more
 * to do than this one is long. others_bytes: estimate of what else is to be cut. */
bool cut_wants_split(uint64_t rest_bytes, uint64_t others_bytes, uint64_t batch_bytes,
                     uint32_t leaves);
/* The next part of a range of `most` bytes: about target, and no small rest behind it. */
uint64_t cut_part_bytes(uint64_t most, uint64_t target);

#endif
