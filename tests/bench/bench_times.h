/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_times.h: how long each of many things took. */
#ifndef TESTS_BENCH_BENCH_TIMES_H
#define TESTS_BENCH_BENCH_TIMES_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "common/alloc.h"

struct bench_times {
    float *us;
    size_t len;
    size_t cap;
};

static inline double
bench_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Processor seconds of this process. */
static inline double
bench_cpu_s(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
}

static inline void
bench_times_add(struct bench_times *times, double seconds)
{
    if (times->len == times->cap) {
        times->cap = times->cap == 0 ? 4096 : times->cap * 2;
        times->us = ps_xrealloc(times->us, times->cap * sizeof *times->us);
    }
    times->us[times->len++] = (float)(seconds * 1e6);
}

static inline int
bench_times_compare(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* "NAME_p50_us=… NAME_p99_us=…" */
static inline void
bench_times_print(const char *name, struct bench_times *times)
{
    if (times->len > 0) {
        qsort(times->us, times->len, sizeof *times->us, bench_times_compare);
        printf(" %s_p50_us=%.1f %s_p99_us=%.1f", name, (double)times->us[times->len / 2], name,
               (double)times->us[times->len * 99 / 100]);
    }
    ps_free(times->us);
    *times = (struct bench_times){0};
}

#endif
