/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/decode_bench.c: one thread, files to blocks, MB a CPU second.
 * usage: decode_bench [--split] [--scalar] [--runs N] [--window BYTES] [--set path=value]… FILE…
 * --split: records only, no transform. Prints the best and the median run. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent/decode/dec_csv.h"
#include "agent/decode/infer.h"
#include "agent/transform/transform.h"
#include "common/alloc.h"

enum { OVERRIDES_MAX = 32, RUNS_MAX = 101, HEAD_BYTES = 1 << 20 };

static const char SPEC[] = "name: bench\nsource: {url: 'file:x'}\ndestination: {url: 'null:'}\n";

struct bench {
    const struct decode_ops *decode;
    struct spec *spec;
    const struct spec_column *columns;
    size_t column_count;
    struct transform *transform;
    struct block *block;
    bool split_only;
    bool forced; /* to kernel; NULL = byte by byte */
    csv_index_fn kernel;
    size_t window_bytes;
    uint8_t *window;
    uint64_t bytes;
    uint64_t rows;
    uint64_t rejects;
    uint64_t block_bytes;
};

static void
check(enum ps_status status, const struct ps_error *err)
{
    if (status != PS_OK) {
        fprintf(stderr, "decode_bench: %s\n", err->text);
        exit(1);
    }
}

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct bench *bench = ctx;
    return bench->split_only
               ? PS_OK
               : transform_object(bench->transform, ps_span_str("o"), "b", names, count, err);
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct bench *bench = ctx;
    bench->rows++;
    if (bench->split_only) {
        bench->block_bytes += record->count;
        return PS_OK;
    }
    bool rejected = false;
    struct transform_reject reject;
    enum ps_status status =
        transform_row(bench->transform, record, 0, bench->block, &rejected, &reject, err);
    bench->rejects += rejected;
    if (block_is_full(bench->block)) {
        bench->block_bytes += bench->block->len;
        block_clear(bench->block, bench->block->ncols);
    }
    return status;
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    struct bench *bench = ctx;
    (void)reject;
    (void)err;
    bench->rejects++;
    return PS_OK;
}

static void
file_decode(struct bench *bench, const char *path)
{
    const struct decode_sink sink = {
        .ctx = bench, .header = on_header, .record = on_record, .reject = on_reject};
    struct decoder *decoder = NULL;
    struct ps_error err = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(bench->decode->open(bench->spec, ps_span("", 0), 0, &decoder, &err), &err);
    if (bench->decode->columns != NULL) {
        check(bench->decode->columns(decoder, bench->columns, bench->column_count, &err), &err);
    }
    if (bench->forced) {
        csv_kernel_force(decoder, bench->kernel);
    }
    size_t held = 0;
    bool eof = fd < 0;
    while (!eof) {
        ssize_t got = read(fd, bench->window + held, bench->window_bytes - held);
        size_t consumed = 0;
        bool stopped = false;
        eof = got <= 0;
        held += eof ? 0 : (size_t)got;
        bench->bytes += eof ? 0 : (size_t)got;
        check(bench->decode->run(decoder, bench->window, held, eof, UINT64_MAX, &sink, &consumed,
                                 &stopped, &err),
              &err);
        held -= consumed;
        memmove(bench->window, bench->window + consumed, held);
    }
    bench->decode->close(decoder);
    close(fd);
}

static void
columns_infer(struct bench *bench, struct infer *infer, const char *path)
{
    struct ps_error err = {0};
    const struct spec_column *columns = NULL;
    const char *note = NULL;
    size_t count = 0;
    uint8_t *head = ps_xalloc(HEAD_BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, head, HEAD_BYTES);
    if (got < 0) {
        fprintf(stderr, "decode_bench: cannot read %s\n", path);
        exit(1);
    }
    close(fd);
    check(infer_add(infer, path, ps_span(head, (size_t)got), got < HEAD_BYTES, &err), &err);
    check(infer_end(infer, &columns, &count, &note, &err), &err);
    check(transform_new(bench->spec, columns, count, &bench->transform, &err), &err);
    bench->columns = columns;
    bench->column_count = count;
    bench->block = block_new((uint32_t)count);
    ps_free(head);
}

/* Of this thread: other programs on the machine do not count. */
static double
cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void
measure(struct bench *bench, char **files, int count, int runs)
{
    double seconds[RUNS_MAX];
    for (int run = 0; run < runs; run++) {
        bench->bytes = bench->rows = bench->rejects = bench->block_bytes = 0;
        double begin = cpu_seconds();
        for (int i = 0; i < count; i++) {
            file_decode(bench, files[i]);
        }
        seconds[run] = cpu_seconds() - begin;
    }
    qsort(seconds, (size_t)runs, sizeof *seconds, by_value);
    double megabytes = (double)bench->bytes / 1e6;
    printf("%llu rows, %llu rejects, %.1f MB in, %.1f MB blocks: best %.0f, median %.0f MB/CPU-s\n",
           (unsigned long long)bench->rows, (unsigned long long)bench->rejects, megabytes,
           (double)bench->block_bytes / 1e6, megabytes / seconds[0], megabytes / seconds[runs / 2]);
}

int
main(int argc, char **argv)
{
    struct bench bench = {.window_bytes = 256 * 1024};
    const char *overrides[OVERRIDES_MAX];
    size_t count = 0;
    int runs = 7;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--split") == 0) {
            bench.split_only = true;
        } else if (strcmp(argv[i], "--scalar") == 0) {
            bench.forced = true;
            bench.kernel = csv_index_scalar;
        } else if (strcmp(argv[i], "--slow") == 0) {
            bench.forced = true;
        } else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = (int)strtol(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--window") == 0 && i + 1 < argc) {
            bench.window_bytes = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--set") == 0 && i + 1 < argc && count < OVERRIDES_MAX) {
            overrides[count++] = argv[++i];
        }
    }
    runs = runs < 1 ? 1 : runs > RUNS_MAX ? RUNS_MAX : runs;
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    struct infer *infer = NULL;
    check(spec_parse(ps_span_str(SPEC), overrides, count, &bench.spec, &errors, &err), &err);
    check(infer_new(bench.spec, &infer, &err), &err);
    bench.decode = decode_find(spec_str(bench.spec, "format.type"), &err);
    check(bench.decode == NULL ? err.status : PS_OK, &err);
    bench.forced = bench.forced && bench.decode == &dec_csv_ops;
    if (i == argc) {
        fprintf(stderr, "decode_bench: no files\n");
        return 2;
    }
    columns_infer(&bench, infer, argv[i]);
    bench.window = ps_xalloc(bench.window_bytes);
    measure(&bench, argv + i, argc - i, runs);
    ps_free(bench.window);
    transform_free(bench.transform);
    block_free(bench.block);
    infer_free(infer);
    spec_errors_fini(&errors);
    spec_unref(bench.spec);
    return 0;
}
