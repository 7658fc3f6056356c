/* SPDX-License-Identifier: Apache-2.0 */
#include "common/alloc.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/assert.h"

static _Atomic uint64_t bytes_now;
static ps_alloc_fault_fn fault_hook;
static void *fault_ctx;

void
ps_alloc_set_fault(ps_alloc_fault_fn fault, void *ctx)
{
    fault_hook = fault;
    fault_ctx = ctx;
}

void
ps_alloc_get_fault(ps_alloc_fault_fn *out_fault, void **out_ctx)
{
    *out_fault = fault_hook;
    *out_ctx = fault_ctx;
}

uint64_t
ps_alloc_bytes_now(void)
{
    return atomic_load_explicit(&bytes_now, memory_order_relaxed);
}

static bool
refused(size_t bytes)
{
    return fault_hook != NULL && fault_hook(fault_ctx, bytes);
}

static void *
counted(void *block)
{
    if (block != NULL) {
        atomic_fetch_add_explicit(&bytes_now, malloc_usable_size(block), memory_order_relaxed);
    }
    return block;
}

void *
ps_alloc(size_t bytes)
{
    return refused(bytes) ? NULL : counted(malloc(bytes == 0 ? 1 : bytes));
}

void *
ps_calloc(size_t count, size_t bytes)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, bytes, &total) || refused(total)) {
        return NULL;
    }
    return counted(calloc(1, total == 0 ? 1 : total));
}

void *
ps_realloc(void *old, size_t bytes)
{
    if (refused(bytes)) {
        return NULL;
    }
    size_t before = old == NULL ? 0 : malloc_usable_size(old);
    void *block = realloc(old, bytes == 0 ? 1 : bytes);
    if (block != NULL) {
        atomic_fetch_sub_explicit(&bytes_now, before, memory_order_relaxed);
        counted(block);
    }
    return block;
}

void
ps_free(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub_explicit(&bytes_now, malloc_usable_size(block), memory_order_relaxed);
        free(block);
    }
}

#ifdef PS_FAILPOINTS
/* PENSTOCK_FAIL_ALLOC=N:FILE refuses the N-th allocation of the first process that comes so far,
 * also those that may not fail: FILE is made then, and nothing is refused while it is there. */
static unsigned long env_at;
static const char *env_file;
static _Atomic unsigned long env_count;

static bool
refused_by_env(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    if (atomic_fetch_add_explicit(&env_count, 1, memory_order_relaxed) + 1 != env_at) {
        return false;
    }
    int fd = open(env_file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

__attribute__((constructor)) static void
read_environment(void)
{
    const char *text = getenv("PENSTOCK_FAIL_ALLOC");
    const char *colon = text == NULL ? NULL : strchr(text, ':');
    if (colon != NULL) {
        env_at = strtoul(text, NULL, 10);
        env_file = colon + 1;
        fault_hook = refused_by_env;
    }
}

static bool
must_refused(size_t bytes)
{
    return env_at != 0 && refused(bytes);
}
#else
static bool
must_refused(size_t bytes)
{
    (void)bytes;
    return false;
}
#endif

static void *
or_die(void *block, size_t bytes)
{
    if (block == NULL) {
        fprintf(stderr, "penstock: out of memory (%zu bytes)\n", bytes);
        abort();
    }
    return block;
}

void *
ps_xalloc(size_t bytes)
{
    return or_die(must_refused(bytes) ? NULL : counted(malloc(bytes == 0 ? 1 : bytes)), bytes);
}

void *
ps_xcalloc(size_t count, size_t bytes)
{
    return or_die(must_refused(bytes)
                      ? NULL
                      : counted(calloc(count == 0 ? 1 : count, bytes == 0 ? 1 : bytes)),
                  bytes);
}

void *
ps_xrealloc(void *old, size_t bytes)
{
    size_t before = old == NULL ? 0 : malloc_usable_size(old);
    void *block = or_die(must_refused(bytes) ? NULL : realloc(old, bytes == 0 ? 1 : bytes), bytes);
    atomic_fetch_sub_explicit(&bytes_now, before, memory_order_relaxed);
    return counted(block);
}

char *
ps_xstrndup(const char *text, size_t bytes)
{
    char *copy = ps_xalloc(bytes + 1);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

char *
ps_xstrdup(const char *text)
{
    return text == NULL ? NULL : ps_xstrndup(text, strlen(text));
}

char *
ps_xasprintf(const char *fmt, ...)
{
    PS_ASSERT(fmt != NULL); /* gcc with ubsan would warn of a NULL format */
    va_list args;
    va_start(args, fmt);
    int bytes = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = ps_xalloc((size_t)bytes + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)bytes + 1, fmt, args);
    va_end(args);
    return text;
}
