/* SPDX-License-Identifier: Apache-2.0 */
#include "common/alloc.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    return or_die(counted(malloc(bytes == 0 ? 1 : bytes)), bytes);
}

void *
ps_xcalloc(size_t count, size_t bytes)
{
    return or_die(counted(calloc(count == 0 ? 1 : count, bytes == 0 ? 1 : bytes)), bytes);
}

void *
ps_xrealloc(void *old, size_t bytes)
{
    size_t before = old == NULL ? 0 : malloc_usable_size(old);
    void *block = or_die(realloc(old, bytes == 0 ? 1 : bytes), bytes);
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
