/* SPDX-License-Identifier: Apache-2.0 */
/* dest_bench DIR [BATCHES] [ROWS_A_BATCH] [ON_CONFLICT]: what one leaf's load thread can do. The
 * same sealed batch (16 columns, about 16 MiB as CSV) goes in again and again under new ids,
 * durable and ledgered each time. Prints MB/s of CSV, and the seconds of rows and of COMMIT. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/dest/dest.h"
#include "common/clock.h"
#include "common/rand.h"

enum { COLUMNS = 16, CSV_ROW_BYTES = 130 };

static int64_t load_ns, commit_ns, phase_at;
static bool committing;

static void
on_phase(void *ctx, const char *phase)
{
    (void)ctx;
    committing = strcmp(phase, "commit") == 0;
    int64_t now = ps_clock_mono_ns();
    if (committing) {
        load_ns += now - phase_at;
    }
    phase_at = now;
}

static void
must(enum ps_status status, const struct ps_error *err)
{
    if (status != PS_OK) {
        fprintf(stderr, "dest_bench: %s\n", err->text);
        exit(1);
    }
}

static void
put_row(struct block *block, struct ps_rand *rand, uint64_t i)
{
    static const char *const words[] = {"DELIVER IN PERSON", "COLLECT COD", "NONE",
                                        "TAKE BACK RETURN",  "TRUCK",       "AIR"};
    struct row_meta meta = {.offset = i * CSV_ROW_BYTES, .length = CSV_ROW_BYTES, .line = i + 2};
    struct block_row row;
    bool ok = block_row_begin(block, &meta, &row) == PS_OK;
    for (int c = 0; c < 5; c++) {
        ok = ok && block_put_int(block, &row, (int64_t)ps_rand_below(rand, c < 3 ? 2000000 : 50)) ==
                       PS_OK;
    }
    for (int c = 0; c < 3; c++) {
        ok =
            ok && block_put_real(block, &row, (double)ps_rand_below(rand, 10000000) / 100) == PS_OK;
    }
    for (int c = 0; c < 8; c++) {
        char text[64];
        int len = 0;
        if (c < 2) {
            len = snprintf(text, sizeof text, "%c", "ANR"[ps_rand_below(rand, 3)]);
        } else if (c < 5) {
            len = snprintf(text, sizeof text, "199%u-%02u-%02u", (unsigned)ps_rand_below(rand, 9),
                           1 + (unsigned)ps_rand_below(rand, 12),
                           1 + (unsigned)ps_rand_below(rand, 28));
        } else if (c < 7) {
            len = snprintf(text, sizeof text, "%s", words[ps_rand_below(rand, 6)]);
        } else {
            len = snprintf(text, sizeof text, "carefully final requests %" PRIu64,
                           ps_rand_below(rand, 1000000));
        }
        ok = ok && block_put_text(block, &row, (const uint8_t *)text, (size_t)len) == PS_OK;
    }
    if (!ok) {
        fprintf(stderr, "dest_bench: no memory\n");
        exit(1);
    }
    block_row_end(block, &row);
}

static struct stage_batch *
make_rows(struct stage *stage, uint64_t rows, struct ps_error *err)
{
    struct stage_batch *batch = NULL;
    must(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, COLUMNS, &batch, err), err);
    struct ps_rand rand;
    ps_rand_seed(&rand, 42);
    struct block *block = NULL;
    for (uint64_t i = 0; i < rows; i++) {
        block = block == NULL ? stage_block_take(stage, COLUMNS) : block;
        put_row(block, &rand, i);
        if (block_is_full(block) || i + 1 == rows) {
            must(stage_batch_append(batch, &block, err), err);
        }
    }
    must(stage_batch_seal(batch, err), err);
    return batch;
}

static double
seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static struct spec *
make_spec(const char *path, const char *on_conflict)
{
    struct ps_buf yaml = PS_BUF_INIT;
    ps_buf_xprintf(&yaml,
                   "name: bench\nsource: {url: \"file:/x\"}\nformat: {type: csv}\n"
                   "destination: {url: \"sqlite:%s\", table: t, on_conflict: %s}\n",
                   path, on_conflict);
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    must(spec_parse(ps_buf_span(&yaml), NULL, 0, &spec, &errors, &err), &err);
    ps_buf_fini(&yaml);
    return spec;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: dest_bench DIR [BATCHES] [ROWS_A_BATCH] [ON_CONFLICT]\n");
        return 2;
    }
    uint64_t batches = argc > 2 ? strtoull(argv[2], NULL, 10) : 16;
    uint64_t rows = argc > 3 ? strtoull(argv[3], NULL, 10) : 16777216 / CSV_ROW_BYTES;
    char path[4096];
    char stage_dir[4096];
    snprintf(path, sizeof path, "%s/bench.db", argv[1]);
    snprintf(stage_dir, sizeof stage_dir, "%s/stage", argv[1]);
    unlink(path);
    struct ps_error err = {0};
    struct stage_limits limits = {.memory_bytes = 1u << 30, .quota_bytes = 1u << 30};
    struct stage *stage = NULL;
    must(stage_open(stage_dir, &limits, &stage, &err), &err);
    struct stage_batch *batch = make_rows(stage, rows, &err);
    struct spec_column columns[COLUMNS] = {0};
    char names[COLUMNS][8];
    for (int i = 0; i < COLUMNS; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        columns[i].name = names[i];
        columns[i].type = i < 5 ? COL_BIGINT : i < 8 ? COL_DOUBLE : COL_TEXT;
        columns[i].type_given = true;
    }
    struct spec *spec = make_spec(path, argc > 4 ? argv[4] : "error");
    struct dest_env env = {.phase = on_phase};
    const struct dest_ops *ops = dest_find(spec_str(spec, "destination.url"), &err);
    struct dest *dest = NULL;
    struct dest_state state;
    struct pipeline_uuid uuid = {ps_id_new()};
    must(ops->open(spec, &env, &dest, &err), &err);
    struct dest_table table = {.pipeline_name = "bench",
                               .uuid = uuid,
                               .generation = 1,
                               .columns = columns,
                               .count = COLUMNS};
    must(ops->prepare(dest, &table, &state, &err), &err);
    struct rusage before;
    getrusage(RUSAGE_SELF, &before);
    int64_t began = ps_clock_mono_ns();
    for (uint64_t i = 0; i < batches; i++) {
        char key[32];
        snprintf(key, sizeof key, "object-%" PRIu64, i);
        struct dest_range range = {
            .key = ps_span_str(key), .version = ps_span_str("v"), .end = 1, .eof = true};
        range.bp = ps_bp_hash(range.key, range.version);
        struct dest_batch one = {.id = {ps_id_new()},
                                 .pipeline = uuid,
                                 .generation = 1,
                                 .ranges = &range,
                                 .range_count = 1,
                                 .counts = {.decoded = rows},
                                 .rows = batch};
        struct dest_result result = {0};
        must(ops->load(dest, columns, COLUMNS, &one, &result, &err), &err);
        commit_ns += ps_clock_mono_ns() - phase_at;
        dest_result_fini(&result);
    }
    double seconds = (double)(ps_clock_mono_ns() - began) / 1e9;
    double mb = (double)(batches * rows * CSV_ROW_BYTES) / 1e6;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double user = seconds_of(usage.ru_utime) - seconds_of(before.ru_utime);
    double sys = seconds_of(usage.ru_stime) - seconds_of(before.ru_stime);
    struct stat st = {0};
    stat(path, &st);
    printf(
        "%.1f MB/s  %.0f krows/s  %.3f s (rows %.3f, commit %.3f)  cpu %.2f s/GB (user %.2f, sys "
        "%.2f)  file %.2fx\n",
        mb / seconds, (double)(batches * rows) / seconds / 1e3, seconds, (double)load_ns / 1e9,
        (double)commit_ns / 1e9, (user + sys) / mb * 1e3, user, sys, (double)st.st_size / 1e6 / mb);
    ops->close(dest);
    stage_batch_free(batch);
    stage_close(stage);
    spec_unref(spec);
    unlink(path);
    return 0;
}
