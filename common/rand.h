/* SPDX-License-Identifier: Apache-2.0 */
/* common/rand.h: random bytes of the system, and a small seeded generator (xoshiro256**, Blackman
 * and Vigna) for jitter, generated rows and simulations. The seeded one is not for secrets. */
#ifndef COMMON_RAND_H
#define COMMON_RAND_H

#include <stddef.h>
#include <stdint.h>

/* getrandom(2); never fails once the system has booted. */
void ps_rand_system(void *out, size_t bytes);

struct ps_rand {
    uint64_t s[4];
};

void ps_rand_seed(struct ps_rand *rand, uint64_t seed);
uint64_t ps_rand_next(struct ps_rand *rand);
/* Uniform in [0, bound); bound > 0. */
uint64_t ps_rand_below(struct ps_rand *rand, uint64_t bound);
void ps_rand_bytes(struct ps_rand *rand, void *out, size_t bytes);

#endif
