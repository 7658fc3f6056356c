/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/env.h: everything the engine needs from outside, so that the real engine runs
 * under the simulator with virtual time, a catalog in memory and its own randomness. */
#ifndef COORDINATOR_ENGINE_ENV_H
#define COORDINATOR_ENGINE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct catalog;

struct engine_env {
    void *ctx;
    int64_t (*mono_ms)(void *ctx);
    int64_t (*wall_ms)(void *ctx);
    void (*random)(void *ctx, void *out, size_t bytes);
    /* NULL, or told on the engine's thread whenever it changes: why nothing is granted (a static
     * text, for /readyz); why_not NULL: ready again. */
    void (*say_ready)(void *ctx, const char *why_not);
    struct catalog *catalog; /* borrowed; file or memory */
};

#endif
