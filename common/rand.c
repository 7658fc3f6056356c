/* SPDX-License-Identifier: Apache-2.0 */
#include "common/rand.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#include "common/assert.h"

void
ps_rand_system(void *out, size_t bytes)
{
    uint8_t *at = out;
    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);
        PS_ASSERT(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            bytes -= (size_t)got;
        }
    }
}

void
ps_rand_seed(struct ps_rand *rand, uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64 spreads any seed, zero included */
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        rand->s[i] = z ^ (z >> 31);
    }
}

static uint64_t
rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t
ps_rand_next(struct ps_rand *rand)
{
    uint64_t *s = rand->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t
ps_rand_below(struct ps_rand *rand, uint64_t bound)
{
    PS_ASSERT(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t x = ps_rand_next(rand);
    while (x >= limit) {
        x = ps_rand_next(rand);
    }
    return x % bound;
}

void
ps_rand_bytes(struct ps_rand *rand, void *out, size_t bytes)
{
    uint8_t *at = out;
    while (bytes > 0) {
        uint64_t x = ps_rand_next(rand);
        size_t part = bytes < sizeof x ? bytes : sizeof x;
        memcpy(at, &x, part);
        at += part;
        bytes -= part;
    }
}
