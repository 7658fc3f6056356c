/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/dest_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/assert.h"

/* Ends the test with what is known; Criterion reports the abort. */
static void
must(enum ps_status status, const struct ps_error *err, const char *what)
{
    if (status != PS_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, ps_status_name(status), err->text);
        abort();
    }
}

static void
see_phase(void *ctx, const char *phase)
{
    struct dest_fixture *f = ctx;
    if (f->cancel_at_commit && strcmp(phase, "commit") == 0) {
        atomic_store(&f->cancel, true);
    }
}

static enum ps_status
take_turn(void *ctx, const char *identity, struct ps_error *err)
{
    (void)identity;
    (void)err;
    ((struct dest_fixture *)ctx)->turns++;
    return PS_OK;
}

static void
release_turn(void *ctx, const char *identity)
{
    (void)identity;
    ((struct dest_fixture *)ctx)->turns--;
}

static struct dest_env
env_of(struct dest_fixture *f)
{
    return (struct dest_env){.ctx = f,
                             .turn_take = take_turn,
                             .turn_release = release_turn,
                             .phase = see_phase,
                             .cancel = &f->cancel};
}

const char *
dest_fixture_init_at(struct dest_fixture *f, const char *scheme)
{
    const struct dest_side *side = dest_side_find(scheme);
    *f = (struct dest_fixture){0};
    if (side == NULL) {
        return "this build has no such driver";
    }
    f->uuid.id = ps_id_new();
    char id[PS_ID_TEXT_BYTES];
    snprintf(f->place, sizeof f->place, "c_%.*s", (int)sizeof f->place - 3,
             ps_id_text(f->uuid.id, id));
    for (char *at = f->place; *at != '\0'; at++) {
        *at = *at == '-' ? '_' : *at;
    }
    snprintf(f->dir, sizeof f->dir, "/tmp/ps-dest-XXXXXX");
    PS_ASSERT(mkdtemp(f->dir) != NULL);
    snprintf(f->path, sizeof f->path, "%s/out.db", f->dir);
    const char *why = side->begin(f);
    if (why != NULL) {
        rmdir(f->dir);
        return why;
    }
    f->side = side;
    char stage[80];
    snprintf(stage, sizeof stage, "%s/stage", f->dir);
    struct ps_error err = {0};
    struct stage_limits limits = {.memory_bytes = 256 << 20, .quota_bytes = 256 << 20};
    must(stage_open(stage, &limits, &f->stage, &err), &err, "stage");
    return NULL;
}

void
dest_fixture_init(struct dest_fixture *f)
{
    PS_ASSERT(dest_fixture_init_at(f, "sqlite") == NULL);
}

static void
remove_files(const char *dir)
{
    DIR *listing = opendir(dir);
    for (struct dirent *entry = listing == NULL ? NULL : readdir(listing); entry != NULL;
         entry = readdir(listing)) {
        unlinkat(dirfd(listing), entry->d_name, 0);
    }
    if (listing != NULL) {
        closedir(listing);
    }
    rmdir(dir);
}

void
dest_fixture_fini(struct dest_fixture *f)
{
    if (f->side == NULL) {
        return;
    }
    fixture_close(f);
    f->side->end(f);
    if (f->batches == 0) { /* else the test has failed in the middle */
        PS_ASSERT(f->turns == 0);
        stage_close(f->stage);
    }
    char stage[80];
    snprintf(stage, sizeof stage, "%s/stage", f->dir);
    remove_files(stage);
    remove_files(f->dir);
}

enum ps_status
fixture_try_open(struct dest_fixture *f, const char *url, const char *more, struct ps_error *err)
{
    struct ps_buf yaml = PS_BUF_INIT;
    ps_buf_xprintf(&yaml,
                   "name: p\nsource: {url: \"file:/tmp/x.csv\"}\nformat: {type: csv}\n"
                   "destination:\n  url: \"%s\"\n%s%s",
                   url, strncmp(url, "null:", 5) == 0 ? "" : "  table: t\n", more);
    struct spec_errors errors = {0};
    enum ps_status status = spec_parse(ps_buf_span(&yaml), NULL, 0, &f->spec, &errors, err);
    for (size_t i = 0; i < errors.count; i++) {
        fprintf(stderr, "spec: %s: %s\n", errors.items[i].path, errors.items[i].text);
    }
    spec_errors_fini(&errors);
    ps_buf_fini(&yaml);
    must(status, err, "spec");
    struct dest_env env = env_of(f);
    f->ops = dest_find(url, err);
    PS_ASSERT(f->ops != NULL);
    return f->ops->open(f->spec, &env, &f->dest, err);
}

struct dest *
fixture_open_twin(struct dest_fixture *f)
{
    struct dest_env env = env_of(f);
    struct dest *twin = NULL;
    struct ps_error err = {0};
    must(f->ops->open(f->spec, &env, &twin, &err), &err, "open");
    return twin;
}

void
fixture_open_url(struct dest_fixture *f, const char *url, const char *more)
{
    struct ps_error err = {0};
    must(fixture_try_open(f, url, more, &err), &err, "open");
}

void
fixture_open(struct dest_fixture *f, const char *more)
{
    fixture_open_url(f, f->url, more);
}

void
fixture_close(struct dest_fixture *f)
{
    if (f->dest != NULL) {
        f->ops->close(f->dest);
    }
    f->dest = NULL;
    spec_unref(f->spec);
    f->spec = NULL;
}

void
fixture_reopen(struct dest_fixture *f, const char *more)
{
    fixture_close(f);
    fixture_open(f, more);
}

enum ps_status
fixture_try_prepare(struct dest_fixture *f, struct pipeline_uuid uuid, uint64_t generation,
                    struct dest_state *state, struct ps_error *err)
{
    struct dest_table table = {.pipeline_name = "p",
                               .uuid = uuid,
                               .generation = generation,
                               .columns = f->columns,
                               .count = f->column_count,
                               .added = f->added};
    return f->ops->prepare(f->dest, &table, state, err);
}

void
fixture_prepare(struct dest_fixture *f, const struct spec_column *columns, size_t count)
{
    f->columns = columns;
    f->column_count = count;
    struct ps_error err = {0};
    struct dest_state state;
    must(fixture_try_prepare(f, f->uuid, 1, &state, &err), &err, "prepare");
    PS_ASSERT(state.table_exists && state.has_fence && state.generation == 1);
}

void
fixture_sql(struct dest_fixture *f, const char *sql)
{
    f->side->sql(f, sql, NULL);
}

const char *
fixture_text(struct dest_fixture *f, const char *sql)
{
    struct ps_buf out = PS_BUF_INIT;
    f->side->sql(f, sql, &out);
    snprintf(f->text, sizeof f->text, "%s", out.len == 0 ? "" : ps_buf_str(&out));
    ps_buf_fini(&out);
    return f->text;
}

void
fixture_batch_init(struct dest_fixture *f, struct fixture_batch *b, uint32_t ncols, unsigned number)
{
    *b = (struct fixture_batch){.fixture = f, .ncols = ncols};
    f->batches++;
    snprintf(b->key, sizeof b->key, "object-%u", number);
    struct ps_error err = {0};
    b->ranges[0] = (struct dest_range){.key = ps_span_str(b->key),
                                       .version = ps_span_str("v1"),
                                       .end = 100,
                                       .eof = true,
                                       .resume = ps_span_str("resume"),
                                       .records = 1};
    b->ranges[0].bp = ps_bp_hash(b->ranges[0].key, b->ranges[0].version);
    b->batch = (struct dest_batch){.id = {ps_id_new()},
                                   .pipeline = f->uuid,
                                   .generation = 1,
                                   .epoch = 1,
                                   .agent = "test",
                                   .ranges = b->ranges,
                                   .range_count = 1};
    must(stage_batch_new(f->stage, b->batch.id, 1, ncols, &b->rows, &err), &err, "batch");
    b->batch.rows = b->rows;
}

void
fixture_batch_init_twin(struct dest_fixture *f, struct fixture_batch *b,
                        const struct fixture_batch *of)
{
    fixture_batch_init(f, b, of->ncols, 0);
    memcpy(b->key, of->key, sizeof b->key);
    b->ranges[0] = of->ranges[0];
    b->ranges[0].key = ps_span_str(b->key);
    b->batch.id = of->batch.id;
}

static void
put_cell(struct fixture_batch *b, struct block_row *row, char kind, va_list *args)
{
    enum ps_status status = PS_BUG;
    if (kind == 'i') {
        status = block_put_int(b->block, row, va_arg(*args, int64_t));
    } else if (kind == 'd') {
        status = block_put_real(b->block, row, va_arg(*args, double));
    } else if (kind == 's') {
        const char *text = va_arg(*args, const char *);
        status = block_put_text(b->block, row, (const uint8_t *)text, strlen(text));
    } else {
        status = block_put_null(b->block, row);
    }
    PS_ASSERT(status == PS_OK);
}

static void
flush(struct fixture_batch *b)
{
    struct ps_error err = {0};
    if (b->block != NULL) {
        must(stage_batch_append(b->rows, &b->block, &err), &err, "append");
    }
}

struct block_row
fixture_row_begin(struct fixture_batch *b)
{
    if (b->block == NULL) {
        b->block = stage_block_take(b->fixture->stage, b->ncols);
    }
    b->line++;
    struct row_meta meta = {
        .range_index = b->range_index, .offset = b->line * 10, .length = 10, .line = b->line};
    struct block_row row;
    PS_ASSERT(block_row_begin(b->block, &meta, &row) == PS_OK);
    return row;
}

void
fixture_row_end(struct fixture_batch *b, struct block_row *row)
{
    block_row_end(b->block, row);
    b->batch.counts.decoded++;
    if (block_is_full(b->block)) {
        flush(b);
    }
}

void
fixture_row(struct fixture_batch *b, const char *kinds, ...)
{
    struct block_row row = fixture_row_begin(b);
    va_list args;
    va_start(args, kinds);
    for (const char *kind = kinds; *kind != '\0'; kind++) {
        put_cell(b, &row, *kind, &args);
    }
    va_end(args);
    fixture_row_end(b, &row);
}

void
fixture_reject(struct fixture_batch *b, uint64_t offset, const char *reason)
{
    struct stage_reject reject = {.range_index = b->range_index,
                                  .offset = offset,
                                  .length = 5,
                                  .column = ps_span_str("name"),
                                  .code = ps_span_str("type"),
                                  .reason = ps_span_str(reason),
                                  .raw = ps_span_str("raw bytes")};
    struct ps_error err = {0};
    must(stage_batch_reject(b->rows, &reject, &err), &err, "reject");
    b->batch.counts.decoded++;
    b->batch.counts.rejected++;
}

void
fixture_batch_seal(struct fixture_batch *b)
{
    if (!b->sealed) {
        struct ps_error err = {0};
        flush(b);
        must(stage_batch_seal(b->rows, &err), &err, "seal");
        b->sealed = true;
    }
}

enum ps_status
fixture_load(struct dest_fixture *f, struct fixture_batch *b, struct ps_error *err)
{
    fixture_batch_seal(b);
    return fixture_load_by(f, f->dest, b, err);
}

enum ps_status
fixture_load_by(struct dest_fixture *f, struct dest *dest, struct fixture_batch *b,
                struct ps_error *err)
{
    dest_result_fini(&b->result);
    return f->ops->load(dest, f->columns, f->column_count, &b->batch, &b->result, err);
}

void
fixture_tombstone(struct dest_fixture *f, struct fixture_batch *b, enum dest_outcome expected)
{
    struct ps_error err = {0};
    dest_result_fini(&b->result);
    must(f->ops->tombstone(f->dest, &b->batch, "test", &b->result, &err), &err, "tombstone");
    PS_ASSERT(b->result.outcome == expected);
}

void
fixture_batch_fini(struct fixture_batch *b)
{
    block_free(b->block);
    stage_batch_free(b->rows);
    dest_result_fini(&b->result);
    b->fixture->batches--;
    *b = (struct fixture_batch){0};
}

void
fixture_limit_file_size(uint64_t bytes)
{
    static struct rlimit before;
    if (bytes == 0) {
        setrlimit(RLIMIT_FSIZE, &before);
        return;
    }
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
}
