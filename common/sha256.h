/* SPDX-License-Identifier: Apache-2.0 */
/* common/sha256.h: SHA-256 (FIPS 180-4), for checksums that people publish beside their files.
 * Threads: one owner at a time. */
#ifndef COMMON_SHA256_H
#define COMMON_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { PS_SHA256_BYTES = 32 };

struct ps_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
};

void ps_sha256_init(struct ps_sha256 *sha);
void ps_sha256_add(struct ps_sha256 *sha, const void *bytes, size_t len);
/* Ends it: call once. */
void ps_sha256_end(struct ps_sha256 *sha, uint8_t out[PS_SHA256_BYTES]);

#endif
