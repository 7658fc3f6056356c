/* SPDX-License-Identifier: Apache-2.0 */
/* common/alloc.h: all heap memory of the product, counted, with a fault hook for tests.
 * Invariant: ps_alloc and friends return NULL only when the system or the hook refuses;
 *            ps_xalloc and friends never return NULL: they end the process with a clear line, and
 *            are for small start-up and control structures only, never for sizes from outside.
 * Threads: safe from any thread. */
#ifndef COMMON_ALLOC_H
#define COMMON_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *ps_alloc(size_t bytes);                /* uninitialised */
void *ps_calloc(size_t count, size_t bytes); /* zeroed; overflow of the product gives NULL */
void *ps_realloc(void *old, size_t bytes);   /* on NULL the old block stays valid */
void ps_free(void *block);                   /* NULL is fine */

void *ps_xalloc(size_t bytes);
void *ps_xcalloc(size_t count, size_t bytes);
void *ps_xrealloc(void *old, size_t bytes);
char *ps_xstrdup(const char *text); /* NULL in, NULL out */
char *ps_xstrndup(const char *text, size_t bytes);
char *ps_xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Bytes now held (as the system rounds them), for tests and metrics. */
uint64_t ps_alloc_bytes_now(void);

/* Test builds: called before each ps_alloc/ps_calloc/ps_realloc; true makes it return NULL. */
typedef bool (*ps_alloc_fault_fn)(void *ctx, size_t bytes);
void ps_alloc_set_fault(ps_alloc_fault_fn fault, void *ctx);
void ps_alloc_get_fault(ps_alloc_fault_fn *out_fault, void **out_ctx);

#endif
