/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/dec_json.h"

#include "common/alloc.h"
#include "common/assert.h"

enum { WINDOW_MAX = 1 << 30 };

void
json_walker_force(struct decoder *decoder, json_walk_fn walker)
{
    decoder->walker = walker;
}

enum ps_status
json_walk_run(struct json_run *run, const uint8_t *at, const struct json_text *text,
              const uint8_t **out_end)
{
    struct decoder *decoder = run->decoder;
    struct json_scan *scan = &decoder->walk.scan;
    uint32_t known = decoder->walk.count;
    uint32_t strange = decoder->walk.strange_count;
    if (!json_walk_scratch(&decoder->walk, (size_t)(text->end - at))) {
        return ps_fail(run->err, PS_FULL, "json: no memory for a record's texts");
    }
    scan->end = text->end;
    scan->final = text->final;
    scan->limit = run->end;
    *out_end = decoder->walker(&decoder->walk, at);
    if (__builtin_expect(*out_end != NULL, 1)) {
        return PS_OK;
    }
    if (decoder->walk.count > known) {
        decoder->walk.at = NULL; /* it may be one of those that go */
        json_walk_forget(&decoder->walk, known);
    }
    if (decoder->walk.strange_count > strange) {
        json_walk_forget_strange(&decoder->walk, strange);
    }
    if (scan->fault == JSON_WIDE) {
        return ps_fail_code(run->err, PS_BADDATA, "too_wide",
                            "json: the records have more than %u names (limits.max_columns)",
                            decoder->rules.max_columns);
    }
    return scan->fault == JSON_NOMEM ? ps_fail(run->err, PS_FULL, "json: no memory for a field")
                                     : PS_OK;
}

/* ---- life */

static uint64_t
fingerprint_of(const struct decoder *decoder)
{
    uint64_t hash = decoder->max_record_bytes;
    const uint64_t parts[] = {decoder->lines, decoder->rules.max_depth};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        hash = (hash ^ parts[i]) * 0x9E3779B97F4A7C15u;
    }
    for (uint32_t i = 0; i < decoder->items.count; i++) {
        const struct spec_path_step *step = &decoder->items.steps[i];
        hash = (hash ^ (step->is_index ? step->index : step->name.len)) * 0x9E3779B97F4A7C15u;
        for (size_t k = 0; k < step->name.len; k++) {
            hash = (hash ^ step->name.ptr[k]) * 0x100000001B3u;
        }
    }
    return hash;
}

static enum ps_status
rules_take(struct decoder *decoder, const struct spec *spec, struct ps_error *err)
{
    decoder->rules = (struct json_rules){
        .max_depth = (uint32_t)spec_int(spec, "limits.max_depth"),
        .max_columns = (uint32_t)spec_int(spec, "limits.max_columns"),
        .duplicates = spec_is(spec, "format.duplicate_keys", "reject")  ? JSON_KEEP_NONE
                      : spec_is(spec, "format.duplicate_keys", "first") ? JSON_KEEP_FIRST
                                                                        : JSON_KEEP_LAST,
        .replace_surrogates = spec_is(spec, "format.lone_surrogates", "replace"),
    };
    decoder->adds = spec_is(spec, "columns.unknown", "add");
    decoder->max_record_bytes = spec_bytes(spec, "limits.max_record_bytes");
    const char *items = spec_str(spec, "format.items");
    if (!decoder->lines && items != NULL) {
        return spec_path_parse(items, &decoder->items, err);
    }
    return PS_OK;
}

static enum ps_status
columns_take(struct decoder *decoder, const struct spec_column *columns, size_t count,
             struct ps_error *err)
{
    enum ps_status status = PS_OK;
    PS_ASSERT(!decoder->names_told);
    json_walk_clear(&decoder->walk);
    ps_buf_clear(&decoder->name_bytes);
    for (size_t i = 0; i < count && status == PS_OK; i++) {
        if (columns[i].value != VALUE_FIELD) {
            continue;
        }
        const char *from = columns[i].from != NULL ? columns[i].from : columns[i].name;
        uint32_t known = decoder->walk.count;
        status = json_walk_want(&decoder->walk, from, err);
        if (status == PS_OK && decoder->walk.count > known) {
            status = ps_buf_append(&decoder->name_bytes, from, strlen(from) + 1, err);
        }
    }
    decoder->with_columns = true;
    decoder->wanted = decoder->walk.count;
    decoder->strange_told = 0;
    decoder->walk.discover = decoder->adds;
    decoder->walk.notes_strange = !decoder->adds;
    decoder->overlap = json_tree_overlap(&decoder->walk.root);
    decoder->overlap -= decoder->overlap > 0;
    return status == PS_OK ? json_names_split(decoder, err) : status;
}

static void
ops_close(struct decoder *decoder)
{
    if (decoder == NULL) {
        return;
    }
    json_walk_fini(&decoder->walk);
    spec_path_fini(&decoder->items);
    ps_buf_fini(&decoder->scratch);
    ps_buf_fini(&decoder->name_bytes);
    ps_buf_fini(&decoder->kept);
    ps_free(decoder->names);
    ps_free(decoder);
}

/* On failure too: what there is of it. */
static enum ps_status
open_begin(bool lines, const struct spec *spec, struct decoder **out, struct ps_error *err)
{
    struct decoder *decoder = ps_calloc(1, sizeof *decoder);
    if (decoder == NULL) {
        return ps_fail(err, PS_FULL, "json: no memory for a decoder");
    }
    decoder->lines = lines;
    decoder->line = 1;
    decoder->at_boundary = true;
    decoder->walker = json_walk_best();
    decoder->walk.discover = true;
    decoder->walk.root.field = JSON_NO_FIELD;
    decoder->walk.strange.field = JSON_NO_FIELD;
    decoder->walk.scan.rules = &decoder->rules;
    decoder->walk.scan.scratch = &decoder->scratch;
    const struct spec_column *columns = NULL;
    size_t count = spec_columns(spec, &columns);
    enum ps_status status = rules_take(decoder, spec, err);
    if (status == PS_OK && count > 0) {
        status = columns_take(decoder, columns, count, err);
    }
    decoder->fingerprint = fingerprint_of(decoder);
    *out = decoder;
    return status;
}

struct json_place {
    struct ps_span resume;
    uint64_t offset;
};

static enum ps_status
open_at(bool lines, const struct spec *spec, const struct json_place *place, struct decoder **out,
        struct ps_error *err)
{
    struct decoder *decoder = NULL;
    if (place->resume.len == 0 && place->offset != 0) {
        return ps_fail_code(err, PS_REFUSED, "resume_token",
                            "json: offset %llu is no begin and comes without a resume token",
                            (unsigned long long)place->offset);
    }
    enum ps_status status = open_begin(lines, spec, &decoder, err);
    if (status == PS_OK && place->resume.len > 0) {
        status = json_token_read(decoder, place->resume, place->offset, err);
    }
    if (status != PS_OK) {
        ops_close(decoder);
        return status;
    }
    *out = decoder;
    return PS_OK;
}

/* ---- one run */

/* The byte order mark, which UTF-8 may have; false: wait for more. */
static enum ps_status
bom_step(struct json_run *run)
{
    size_t len = (size_t)(run->end - run->at);
    if (len < 3 && !run->eof) {
        run->waits = true;
        return PS_OK;
    }
    if (len >= 2 && ((run->at[0] == 0xFF && run->at[1] == 0xFE) ||
                     (run->at[0] == 0xFE && run->at[1] == 0xFF))) {
        return ps_fail_code(run->err, PS_BADDATA, "bad_encoding",
                            "json: the object begins with a UTF-16 byte order mark, UTF-8 is "
                            "expected");
    }
    run->decoder->begun = true;
    if (len >= 3 && memcmp(run->at, "\xEF\xBB\xBF", 3) == 0) {
        json_run_advance(run, run->at + 3);
        run->decoder->line_begin = run->decoder->offset;
    }
    return PS_OK;
}

static enum ps_status
run_steps(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    enum ps_status status = PS_OK;
    /* A line too long to be held was taken as it came: its end may be all that is new. */
    while (status == PS_OK && !run->stopped && !run->waits &&
           (run->at < run->end || (run->eof && decoder->lines && decoder->phase == JSON_LONG))) {
        if (__builtin_expect(!decoder->begun, 0)) {
            status = bom_step(run);
        } else {
            status = decoder->lines ? json_lines_step(run) : json_doc_step(run);
        }
    }
    bool over = run->eof && run->at == run->end && !run->stopped;
    if (status == PS_OK && over && !decoder->lines && decoder->phase != JSON_BEGIN) {
        status = json_doc_eof(run);
    }
    return status;
}

static enum ps_status
ops_run(struct decoder *decoder, const uint8_t *window, size_t len, bool eof, uint64_t stop_at,
        const struct decode_sink *sink, size_t *out_consumed, bool *out_stopped,
        struct ps_error *err)
{
    if (len > WINDOW_MAX) {
        len = WINDOW_MAX;
        eof = false;
    }
    struct json_run run = {
        .decoder = decoder,
        .sink = sink,
        .err = err,
        .window = window,
        .at = window,
        .end = window + len,
        .eof = eof,
        .stop_at = stop_at,
        .stopped = decoder->at_boundary && decoder->offset >= stop_at,
        .base = decoder->offset,
    };
    enum ps_status status = PS_OK;
    if (!decoder->names_told && decoder->with_columns) {
        status = json_names_tell(&run);
    }
    if (status == PS_OK) {
        status = run_steps(&run);
    }
    *out_consumed = (size_t)(run.at - window);
    *out_stopped = run.stopped;
    return status;
}

static enum ps_status
ops_token(const struct decoder *decoder, struct ps_buf *out, struct ps_error *err)
{
    PS_ASSERT(decoder->at_boundary);
    return json_token_write(decoder, out, err);
}

static uint64_t
ops_offset(const struct decoder *decoder)
{
    return decoder->offset;
}

static enum decode_split
lines_split(const struct decoder *decoder)
{
    (void)decoder;
    return DECODE_SPLIT_EXACT;
}

static void
lines_jump(struct decoder *decoder, uint64_t cut)
{
    decoder->offset = cut - 1;
    decoder->phase = JSON_JUMP;
    decoder->begun = true;
    decoder->at_boundary = false;
    decoder->pending = 0;
    decoder->line = 0;
}

static enum ps_status
doc_open(const struct spec *spec, struct ps_span resume, uint64_t offset, struct decoder **out,
         struct ps_error *err)
{
    const struct json_place place = {.resume = resume, .offset = offset};
    return open_at(false, spec, &place, out, err);
}

static enum ps_status
lines_open(const struct spec *spec, struct ps_span resume, uint64_t offset, struct decoder **out,
           struct ps_error *err)
{
    const struct json_place place = {.resume = resume, .offset = offset};
    return open_at(true, spec, &place, out, err);
}

const struct decode_ops dec_ndjson_ops = {
    .name = "ndjson",
    .help = "one JSON object a line",
    .open = lines_open,
    .columns = columns_take,
    .run = ops_run,
    .token = ops_token,
    .offset = ops_offset,
    .split = lines_split,
    .jump = lines_jump,
    .close = ops_close,
};

const struct decode_ops dec_json_ops = {
    .name = "json",
    .help = "JSON documents: an array of objects, or objects one after another",
    .open = doc_open,
    .columns = columns_take,
    .run = ops_run,
    .token = ops_token,
    .offset = ops_offset,
    .close = ops_close,
};
