/* SPDX-License-Identifier: Apache-2.0 */
/* The main paths of the libraries, with the first, second, third … allocation refused until none is
 * any more: each time they end with an error status, and nothing is left allocated. What ends the
 * process by design (ps_xalloc: the pipeline's spec, options) is not refused here:
 * tests/scenario/allocations.py does that. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/decode/infer.h"
#include "agent/transform/transform.h"
#include "agent/unwrap/unwrap.h"
#include "common/alloc.h"
#include "common/yaml.h"
#include "proto/json_map.h"
#include "tests/support/dest_fixture.h"

enum { MOST = 100000, ROWS = 3000 };
enum {
    COUNTED = 1, /* what is left allocated is a leak */
    /* jansson does not tell text that it cannot take from memory that it cannot get: an error, but
     * perhaps that the document is wrong. Only small texts of people go through it. */
    ANY_STATUS = 2,
};

typedef enum ps_status (*path_fn)(void *ctx, struct ps_error *err);

struct refusal {
    unsigned long left; /* allocations until the one that is refused */
    bool met;
};

static bool
refuse_one(void *ctx, size_t bytes)
{
    struct refusal *refusal = ctx;
    (void)bytes;
    if (refusal->left == 0 || --refusal->left > 0) {
        return false;
    }
    refusal->met = true;
    return true;
}

/* step: percent that the distance between two refusals grows; 0 = each one. */
static void
each_refused(const char *name, path_fn path, void *ctx, unsigned long step, int flags)
{
    struct ps_error err = {0};
    cr_assert_eq(path(ctx, &err), PS_OK, "%s: %s", name, err.text);
    uint64_t before = ps_alloc_bytes_now();
    unsigned long tried = 0;
    unsigned long tolerated = 0;
    unsigned long at = 1;
    for (; at < MOST; at += 1 + at * step / 100) {
        struct refusal refusal = {.left = at};
        err = (struct ps_error){0};
        ps_alloc_set_fault(refuse_one, &refusal);
        enum ps_status status = path(ctx, &err);
        ps_alloc_set_fault(NULL, NULL);
        if (!refusal.met) {
            cr_assert_eq(status, PS_OK, "%s: %s", name, err.text);
            break;
        }
        tried++;
        tolerated += status == PS_OK ? 1 : 0;
        cr_assert(status == PS_OK || status == PS_FULL || status == PS_AGAIN ||
                      (flags & ANY_STATUS) != 0,
                  "%s: allocation %lu refused: %s: %s", name, at, ps_status_name(status), err.text);
        cr_assert(status == PS_OK || err.text[0] != '\0', "%s: a failure says why", name);
        cr_assert((flags & COUNTED) == 0 || ps_alloc_bytes_now() == before,
                  "%s: allocation %lu refused: %lld bytes are left", name, at,
                  (long long)(ps_alloc_bytes_now() - before));
    }
    cr_assert_lt(at, (unsigned long)MOST, "%s: no end", name);
    fprintf(stderr, "%s: %lu refused of %lu, %lu of them did no harm\n", name, tried, at - 1,
            tolerated);
}

/* ---- texts */

static const char yaml_text[] =
    "name: p\n"
    "source: {url: \"file:/tmp/x.csv\", discover: {mode: continuous, interval: 2s}}\n"
    "format: {type: csv, header: true, 'null': [\"\", \"NULL\"]}\n"
    "columns:\n"
    "  - {name: id, type: bigint}\n"
    "  - {name: name, type: text, default: x}\n"
    "destination: {url: \"null:\"}\n"
    "errors: {tolerance: 100%}\n";

static struct spec *
read_spec(const char *text)
{
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    cr_assert_eq(spec_parse(ps_span_str(text), NULL, 0, &spec, &errors, &err), PS_OK, "%s",
                 errors.count > 0 ? errors.items[0].text : err.text);
    return spec;
}

static enum ps_status
parse_yaml(void *ctx, struct ps_error *err)
{
    struct ps_yaml *yaml = NULL;
    unsigned line = 0;
    (void)ctx;
    enum ps_status status = ps_yaml_load(ps_span_str(yaml_text), &yaml, &line, err);
    ps_yaml_free(yaml);
    return status;
}

Test(alloc_paths, yaml)
{
    json_set_alloc_funcs(ps_alloc, ps_free); /* the library's allocations too */
    each_refused("yaml", parse_yaml, NULL, 0, COUNTED | ANY_STATUS);
}

static enum ps_status
read_message(void *ctx, struct ps_error *err)
{
    json_t *again = NULL;
    ProtobufCMessage *message = NULL;
    enum ps_status status = json_map_read(&penstock__api_sample__descriptor, ctx, &message, err);
    if (status == PS_OK) {
        status = json_map_write(message, &again, err);
    }
    json_decref(again);
    msg_free(message);
    return status;
}

Test(alloc_paths, json_map)
{
    json_set_alloc_funcs(ps_alloc, ps_free); /* the library's allocations too */
    json_t *json = json_pack("{s:[s,s], s:[{s:s,s:s}]}", "objects", "a", "b", "columns", "name",
                             "id", "type", "bigint");
    cr_assert_not_null(json);
    each_refused("json_map", read_message, json, 0, COUNTED | ANY_STATUS);
    json_decref(json);
}

/* ---- from bytes to rows */

struct rows_path {
    struct spec *spec;
    struct ps_buf bytes;
    size_t at;
    char dir[64];
    uint64_t stage_bytes; /* memory of the stage */
    const struct spec_column *columns;
    size_t count;

    struct stage *stage; /* of one run */
    struct stage_batch *batch;
    struct transform *transform;
    struct block *block;
};

static enum ps_status
pull_bytes(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct rows_path *path = ctx;
    size_t left = path->bytes.len - path->at;
    (void)err;
    *out_n = left < cap ? left : cap;
    memcpy(out, path->bytes.ptr + path->at, *out_n);
    path->at += *out_n;
    return PS_OK;
}

static enum ps_status
take_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct rows_path *path = ctx;
    return transform_object(path->transform, ps_span_str("object"), "batch", names, count, err);
}

static enum ps_status
next_block(struct rows_path *path, struct ps_error *err)
{
    path->block = stage_block_take(path->stage, (uint32_t)path->count);
    return path->block == NULL ? ps_fail(err, PS_FULL, "no block") : PS_OK;
}

static enum ps_status
take_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct rows_path *path = ctx;
    bool rejected = false;
    struct transform_reject why;
    enum ps_status status =
        transform_row(path->transform, record, 0, path->block, &rejected, &why, err);
    if (status == PS_OK && rejected) {
        struct stage_reject reject = {.offset = record->offset,
                                      .length = record->length,
                                      .column = ps_span_str(why.column),
                                      .code = ps_span_str(why.code),
                                      .reason = ps_span_str(why.reason),
                                      .raw = record->raw};
        status = stage_batch_reject(path->batch, &reject, err);
    }
    if (status == PS_OK && block_is_full(path->block)) {
        status = stage_batch_append(path->batch, &path->block, err);
        if (status == PS_OK) {
            status = next_block(path, err);
        }
    }
    return status;
}

static enum ps_status
take_reject(void *ctx, const struct decode_reject *in, struct ps_error *err)
{
    struct rows_path *path = ctx;
    struct stage_reject reject = {.offset = in->offset,
                                  .length = in->length,
                                  .code = ps_span_str(in->code),
                                  .reason = ps_span_str(in->reason),
                                  .raw = in->raw};
    return stage_batch_reject(path->batch, &reject, err);
}

/* The whole object as one window: how windows are cut is another test's. */
static enum ps_status
decode_all_bytes(struct rows_path *path, struct ps_span bytes, struct ps_error *err)
{
    const struct decode_ops *ops = decode_find(spec_str(path->spec, "format.type"), err);
    const struct decode_sink sink = {
        .ctx = path, .header = take_header, .record = take_record, .reject = take_reject};
    struct decoder *decoder = NULL;
    struct ps_buf token = PS_BUF_INIT;
    size_t consumed = 0;
    bool stopped = false;
    enum ps_status status = ops->open(path->spec, ps_span(NULL, 0), 0, &decoder, err);
    if (status == PS_OK && ops->columns != NULL) {
        status = ops->columns(decoder, path->columns, path->count, err);
    }
    if (status == PS_OK) {
        status = ops->run(decoder, bytes.ptr, bytes.len, true, UINT64_MAX, &sink, &consumed,
                          &stopped, err);
    }
    if (status == PS_OK) {
        status = ops->token(decoder, &token, err);
    }
    ps_buf_fini(&token);
    ops->close(decoder);
    return status;
}

static enum ps_status
unwrap_all_bytes(struct rows_path *path, struct ps_buf *out, struct ps_error *err)
{
    struct unwrap_limits limits = {.max_window_bytes = 8 << 20};
    struct unwrap *unwrap = NULL;
    size_t got = 1;
    path->at = 0;
    enum ps_status status = unwrap_open("auto", pull_bytes, path, &limits, &unwrap, err);
    while (status == PS_OK && got > 0) {
        status = ps_buf_reserve(out, 64 * 1024, err);
        if (status == PS_OK) {
            status = unwrap_read(unwrap, out->ptr + out->len, 64 * 1024, &got, err);
            out->len += status == PS_OK ? got : 0;
        }
    }
    unwrap_close(unwrap);
    return status;
}

static enum ps_status
read_back(struct stage_batch *batch, struct ps_error *err)
{
    const struct block *block = NULL;
    struct stage_reject reject;
    bool more = true;
    enum ps_status status = stage_batch_seal(batch, err);
    do {
        status = status == PS_OK ? stage_batch_next(batch, &block, err) : status;
    } while (status == PS_OK && block != NULL);
    while (status == PS_OK && more) {
        status = stage_batch_next_reject(batch, &reject, &more, err);
    }
    return status;
}

static enum ps_status
make_rows(void *ctx, struct ps_error *err)
{
    struct rows_path *path = ctx;
    struct stage_limits limits = {.memory_bytes = path->stage_bytes, .quota_bytes = 1 << 30};
    struct ps_buf plain = PS_BUF_INIT;
    enum ps_status status = stage_open(path->dir, &limits, &path->stage, err);
    if (status == PS_OK) {
        status = stage_batch_new(path->stage, (struct batch_id){ps_id_new()}, 1,
                                 (uint32_t)path->count, &path->batch, err);
    }
    if (status == PS_OK) {
        status = transform_new(path->spec, path->columns, path->count, &path->transform, err);
    }
    if (status == PS_OK) {
        status = next_block(path, err);
    }
    if (status == PS_OK) {
        status = unwrap_all_bytes(path, &plain, err);
    }
    if (status == PS_OK) {
        status = decode_all_bytes(path, ps_buf_span(&plain), err);
    }
    if (status == PS_OK && path->block->rows > 0) {
        status = stage_batch_append(path->batch, &path->block, err);
    }
    if (status == PS_OK) {
        status = read_back(path->batch, err);
    }
    ps_buf_fini(&plain);
    stage_block_give(path->stage, &path->block);
    stage_batch_free(path->batch);
    path->batch = NULL;
    transform_free(path->transform);
    path->transform = NULL;
    stage_close(path->stage);
    path->stage = NULL;
    return status;
}

static const struct spec_column two[] = {
    {.name = "id", .from = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .from = "name", .type = COL_TEXT, .type_given = true},
};

static void
rows_path_init(struct rows_path *path, const char *format, uint64_t stage_bytes)
{
    *path = (struct rows_path){.stage_bytes = stage_bytes, .columns = two, .count = 2};
    snprintf(path->dir, sizeof path->dir, "/tmp/ps-alloc-XXXXXX");
    cr_assert_not_null(mkdtemp(path->dir));
    char text[400];
    snprintf(text, sizeof text,
             "name: p\nsource: {url: \"file:/tmp/x\"}\nformat: {type: %s}\n"
             "destination: {url: \"null:\"}\n",
             format);
    path->spec = read_spec(text);
    bool csv = strcmp(format, "csv") == 0;
    ps_buf_xprintf(&path->bytes, "%s", csv ? "id,name\n" : "");
    for (int i = 0; i < ROWS; i++) {
        const char *id = i % 100 == 99 ? (csv ? "bad" : "\"bad\"") : "7";
        ps_buf_xprintf(&path->bytes,
                       csv ? "%s,\"na \"\"%d\"\"\"\n" : "{\"id\":%s,\"name\":\"%d\\n\"}\n", id, i);
    }
}

static void
rows_path_fini(struct rows_path *path)
{
    char lock[80];
    snprintf(lock, sizeof lock, "%s/lock", path->dir);
    unlink(lock);
    cr_assert_eq(rmdir(path->dir), 0, "no segment is left");
    ps_buf_fini(&path->bytes);
    spec_unref(path->spec);
}

Test(alloc_paths, csv_to_memory)
{
    struct rows_path path;
    rows_path_init(&path, "csv", 64 << 20);
    each_refused("csv to memory", make_rows, &path, 0, COUNTED);
    rows_path_fini(&path);
}

Test(alloc_paths, csv_to_disk)
{
    struct rows_path path;
    rows_path_init(&path, "csv", 0);
    each_refused("csv to disk", make_rows, &path, 0, COUNTED);
    rows_path_fini(&path);
}

Test(alloc_paths, ndjson_to_disk)
{
    struct rows_path path;
    rows_path_init(&path, "ndjson", 0);
    each_refused("ndjson to disk", make_rows, &path, 0, COUNTED);
    rows_path_fini(&path);
}

/* The object, packed by the program of that name. */
static void
pack(struct rows_path *path, const char *program)
{
    char plain[80];
    char command[200];
    snprintf(plain, sizeof plain, "%s/plain", path->dir);
    FILE *file = fopen(plain, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(path->bytes.ptr, 1, path->bytes.len, file), path->bytes.len);
    fclose(file);
    snprintf(command, sizeof command, "%s -q -c %s", program, plain);
    file = popen(command, "r");
    cr_assert_not_null(file);
    path->bytes.len = fread(path->bytes.ptr, 1, path->bytes.len, file);
    cr_assert_eq(pclose(file), 0);
    unlink(plain);
}

Test(alloc_paths, gzip_and_zstd)
{
    const char *const programs[] = {"gzip", "zstd"};
    for (size_t i = 0; i < 2; i++) {
        struct rows_path path;
        rows_path_init(&path, "csv", 0);
        pack(&path, programs[i]);
        each_refused(programs[i], make_rows, &path, 0, COUNTED);
        rows_path_fini(&path);
    }
}

static enum ps_status
infer_columns(void *ctx, struct ps_error *err)
{
    struct rows_path *path = ctx;
    struct infer *infer = NULL;
    const struct spec_column *columns = NULL;
    const char *note = NULL;
    size_t count = 0;
    enum ps_status status = infer_new(path->spec, &infer, err);
    if (status == PS_OK) {
        status = infer_add(infer, "object", ps_buf_span(&path->bytes), true, err);
    }
    if (status == PS_OK) {
        status = infer_end(infer, &columns, &count, &note, err);
    }
    infer_free(infer);
    return status;
}

Test(alloc_paths, inference)
{
    const char *const formats[] = {"csv", "ndjson"};
    for (size_t i = 0; i < 2; i++) {
        struct rows_path path;
        rows_path_init(&path, formats[i], 0);
        each_refused(formats[i], infer_columns, &path, 0, COUNTED);
        rows_path_fini(&path);
    }
}

/* ---- the destination */

struct load_path {
    struct dest_fixture f;
    unsigned number;
};

/* Opened, prepared and loaded as a new batch; the last try of all proves that all is well. */
static enum ps_status
load_rows(void *ctx, struct ps_error *err)
{
    struct load_path *path = ctx;
    struct dest_fixture *f = &path->f;
    struct dest_state state;
    struct fixture_batch batch;
    struct dest_result result = {0};
    ps_alloc_fault_fn fault = NULL;
    void *fault_ctx = NULL;
    ps_alloc_get_fault(&fault, &fault_ctx);
    ps_alloc_set_fault(NULL, NULL); /* the fixture's own are not to fail */
    fixture_batch_init(f, &batch, 2, ++path->number);
    for (int64_t i = 0; i < 200; i++) {
        fixture_row(&batch, "is", i, "some text");
    }
    fixture_reject(&batch, 7, "why not");
    fixture_batch_seal(&batch);
    struct dest_env env = {.cancel = &f->cancel};
    struct dest_table table = {
        .pipeline_name = "p", .uuid = f->uuid, .generation = 1, .columns = two, .count = 2};
    struct dest *dest = NULL;
    ps_alloc_set_fault(fault, fault_ctx);
    enum ps_status status = f->ops->open(f->spec, &env, &dest, err);
    if (status == PS_OK) {
        status = f->ops->prepare(dest, &table, &state, err);
    }
    if (status == PS_OK) {
        status = f->ops->load(dest, two, 2, &batch.batch, &result, err);
    }
    if (status == PS_OK && result.outcome != DEST_LOADED) {
        status = ps_fail(err, PS_BUG, "outcome %d", (int)result.outcome);
    }
    if (dest != NULL) {
        f->ops->close(dest);
    }
    dest_result_fini(&result);
    ps_alloc_set_fault(NULL, NULL);
    fixture_batch_fini(&batch);
    return status;
}

static void
load_each_refused(const char *name, unsigned long step, int flags)
{
    struct load_path path = {0};
    dest_fixture_init(&path.f);
    fixture_open(&path.f, "");
    fixture_prepare(&path.f, two, 2);
    each_refused(name, load_rows, &path, step, flags);
    cr_assert_str_eq(fixture_text(&path.f, "SELECT count(*) FROM t WHERE id = 0 AND rowid > 0 AND"
                                           " (SELECT count(*) FROM t) !="
                                           " (SELECT count(*) * 200 FROM _penstock_ledger)"),
                     "0", "what the ledger says is there");
    cr_assert_str_eq(fixture_text(&path.f, "PRAGMA integrity_check"), "ok");
    dest_fixture_fini(&path.f);
}

Test(alloc_paths, sqlite_load)
{
    load_each_refused("load", 0, COUNTED);
}

/* ---- the same with the library's own allocations */

static void *
lib_malloc(int bytes)
{
    return ps_alloc((size_t)bytes);
}

static void *
lib_realloc(void *old, int bytes)
{
    return ps_realloc(old, (size_t)bytes);
}

static int
lib_size(void *block)
{
    return block == NULL ? 0 : (int)malloc_usable_size(block);
}

static int
lib_roundup(int bytes)
{
    return (bytes + 7) / 8 * 8;
}

static int
lib_init(void *ctx)
{
    (void)ctx;
    return SQLITE_OK;
}

static void
lib_shutdown(void *ctx)
{
    (void)ctx;
}

Test(alloc_paths, sqlite_itself)
{
    static const sqlite3_mem_methods methods = {lib_malloc,  ps_free,  lib_realloc,  lib_size,
                                                lib_roundup, lib_init, lib_shutdown, NULL};
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
    /* It keeps what it may use again: its bytes are not counted. */
    load_each_refused("load, SQLite too", 2, 0);
}
