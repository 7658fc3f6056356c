/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_stream.h"

#include "agent/transform/transform.h"
#include "agent/unwrap/unwrap.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"

enum {
    WINDOW_BYTES = 256 * 1024, /* performance.md: 64-256 KiB, reused, beats larger ones */
    SKIP_BYTES = 64 * 1024,
    WINDOW_LEAST_BYTES = 16 << 20,
    WINDOW_MOST_BYTES = 128 << 20,
};

struct leaf_stream {
    struct leaf_core *core;
    const struct source_ops *ops;
    struct source_reader *reader;
    struct unwrap *unwrap;
    const struct decode_ops *decode;
    struct decoder *decoder;
    struct transform *transform;
    struct bp_hash bp;
    const struct leaf_doc *doc; /* for identity only */
    uint64_t stored_seen;       /* unwrap_stored_bytes already counted in a batch */

    uint8_t *window; /* [start, end) is not yet consumed */
    size_t cap, start, end;
    size_t cap_most;
    bool eof; /* the unwrapped stream has ended */

    struct ps_buf names_bytes; /* the header, kept for the chain's next batches */
    struct ps_span *names;
    uint32_t name_count;
    bool have_names;

    struct leaf_job *job; /* the one being read; for the sink */
    size_t index;
    struct block *block;
};

static enum ps_status
pull_source(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct leaf_stream *stream = ctx;
    return stream->ops->read(stream->reader, out, cap, out_n, err);
}

/* A window is held beside the rows: at most half of what they may take, but never less than what
 * zstd and xz use by default. */
static struct unwrap_limits
limits_of(const struct spec *spec, uint64_t budget_bytes)
{
    uint64_t window = budget_bytes / 2 > WINDOW_MOST_BYTES ? WINDOW_MOST_BYTES : budget_bytes / 2;
    return (struct unwrap_limits){
        .max_ratio = (uint64_t)spec_int(spec, "limits.max_unwrapped_ratio"),
        .max_out_bytes = 0,
        .max_window_bytes = (size_t)(window < WINDOW_LEAST_BYTES ? WINDOW_LEAST_BYTES : window),
    };
}

/* Reads and drops bytes until the unwrapped stream stands at `from`. */
static enum ps_status
skip_to(struct leaf_stream *stream, uint64_t from, struct ps_error *err)
{
    while (unwrap_out_bytes(stream->unwrap) < from) {
        uint64_t left = from - unwrap_out_bytes(stream->unwrap);
        size_t part = left < SKIP_BYTES ? (size_t)left : SKIP_BYTES;
        size_t got = 0;
        if (atomic_load(&stream->core->stop) || atomic_load(&stream->job->cancel)) {
            return ps_fail(err, PS_CANCELED, "asked to stop");
        }
        enum ps_status status = unwrap_read(stream->unwrap, stream->window, part, &got, err);
        if (status != PS_OK) {
            return status;
        }
        if (got == 0) {
            return ps_fail_code(err, PS_BADDATA, "source_changed",
                                "the object ends at %llu, before the offset %llu",
                                (unsigned long long)unwrap_out_bytes(stream->unwrap),
                                (unsigned long long)from);
        }
    }
    return PS_OK;
}

/* A stored offset is an unwrapped offset only where nothing is unwrapped; that is known after the
 * first read. Then the object is entered in its middle instead of being read from its start. */
static enum ps_status
enter_at(struct leaf_stream *stream, const struct spec *spec, uint64_t from, struct ps_error *err)
{
    struct unwrap_limits limits = limits_of(spec, stream->core->config->budget_bytes);
    const char *compression = spec_str(spec, "format.compression");
    enum ps_status status =
        unwrap_open(compression, pull_source, stream, &limits, &stream->unwrap, err);
    if (status != PS_OK || from == 0) {
        return status;
    }
    size_t got = 0;
    size_t first = from < SKIP_BYTES ? (size_t)from : SKIP_BYTES;
    status = unwrap_read(stream->unwrap, stream->window, first, &got, err);
    if (status != PS_OK) {
        return status;
    }
    if (stream->ops->seek == NULL || strcmp(unwrap_name(stream->unwrap), "none") != 0) {
        return skip_to(stream, from, err);
    }
    unwrap_close(stream->unwrap);
    stream->unwrap = NULL;
    status = stream->ops->seek(stream->reader, from, err);
    if (status != PS_OK) {
        return status;
    }
    return unwrap_open("none", pull_source, stream, &limits, &stream->unwrap, err);
}

enum ps_status
leaf_stream_open(struct leaf_core *core, const struct leaf_source *source, struct leaf_job *job,
                 size_t index, struct leaf_stream **out, struct ps_error *err)
{
    const struct spec *spec = job->doc->spec;
    const Penstock__Range *range = job->message->grant->batch->ranges[index];
    struct leaf_stream *stream = ps_xcalloc(1, sizeof *stream);
    stream->core = core;
    stream->ops = source->ops;
    stream->bp = job->ranges[index].bp;
    stream->doc = job->doc;
    stream->job = job;
    stream->cap = WINDOW_BYTES;
    stream->cap_most = (size_t)spec_bytes(spec, "limits.max_record_bytes") + WINDOW_BYTES;
    stream->window = ps_alloc(stream->cap);
    enum ps_status status = PS_OK;
    if (stream->window == NULL) {
        status = ps_fail(err, PS_FULL, "out of memory for a window of %d bytes", WINDOW_BYTES);
        goto out;
    }
    status = source->ops->open_object(source->source, job->ranges[index].key,
                                      job->ranges[index].version, &stream->reader, err);
    if (status != PS_OK) {
        goto out;
    }
    status = enter_at(stream, spec, range->from, err);
    if (status != PS_OK) {
        goto out;
    }
    stream->decode = decode_find(spec_str(spec, "format.type"), err);
    if (stream->decode == NULL) {
        status = err->status;
        goto out;
    }
    struct ps_span resume = ps_span(range->resume.data, range->has_resume ? range->resume.len : 0);
    status = stream->decode->open(spec, resume, range->from, &stream->decoder, err);
    if (status != PS_OK) {
        goto out;
    }
    status =
        transform_new(spec, job->doc->columns, job->doc->column_count, &stream->transform, err);
    if (status != PS_OK) {
        goto out;
    }
    *out = stream;
    stream = NULL;
out:
    leaf_stream_close(stream);
    return status;
}

void
leaf_stream_close(struct leaf_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    PS_ASSERT(stream->block == NULL);
    transform_free(stream->transform);
    if (stream->decoder != NULL) {
        PS_ASSERT(stream->decode != NULL);
        stream->decode->close(stream->decoder);
    }
    unwrap_close(stream->unwrap);
    stream->ops->close_object(stream->reader);
    ps_buf_fini(&stream->names_bytes);
    ps_free(stream->names);
    ps_free(stream->window);
    ps_free(stream);
}

bool
leaf_stream_continues(const struct leaf_stream *stream, const struct leaf_job *job, size_t index)
{
    return stream->doc == job->doc && ps_id_eq(stream->bp.id, job->ranges[index].bp.id) &&
           stream->decode->offset(stream->decoder) == job->ranges[index].from;
}

/* ---- the sink */

static enum ps_status
start_object(struct leaf_stream *stream, struct ps_error *err)
{
    return transform_object(stream->transform, stream->job->ranges[stream->index].key,
                            stream->job->id_text, stream->names, stream->name_count, err);
}

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct leaf_stream *stream = ctx;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += names[i].len;
    }
    ps_buf_clear(&stream->names_bytes);
    enum ps_status status = ps_buf_reserve(&stream->names_bytes, bytes + 1, err);
    if (status != PS_OK) {
        return status;
    }
    ps_free(stream->names);
    stream->names = ps_xcalloc(count, sizeof *stream->names);
    for (uint32_t i = 0; i < count; i++) {
        stream->names[i] = ps_span(stream->names_bytes.ptr + stream->names_bytes.len, names[i].len);
        ps_buf_xappend(&stream->names_bytes, names[i].ptr, names[i].len);
    }
    stream->name_count = count;
    stream->have_names = true;
    return start_object(stream, err);
}

static enum ps_status
flush_block(struct leaf_stream *stream, struct ps_error *err)
{
    enum ps_status status = stage_batch_append(stream->job->rows, &stream->block, err);
    if (status != PS_OK) {
        return status;
    }
    stream->block = stage_block_take(stream->core->stage, (uint32_t)stream->job->doc->column_count);
    return stream->block != NULL ? PS_OK : ps_fail(err, PS_FULL, "out of memory for a block");
}

static enum ps_status
keep_reject(struct leaf_stream *stream, const struct stage_reject *reject, struct ps_error *err)
{
    stream->job->counts.rejected++;
    return stage_batch_reject(stream->job->rows, reject, err);
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct leaf_stream *stream = ctx;
    struct transform_reject why = {0};
    bool rejected = false;
    stream->job->counts.decoded++;
    stream->job->ranges[stream->index].records++;
    enum ps_status status = transform_row(stream->transform, record, (uint32_t)stream->index,
                                          stream->block, &rejected, &why, err);
    if (status != PS_OK) {
        return status;
    }
    if (!rejected) {
        return block_is_full(stream->block) ? flush_block(stream, err) : PS_OK;
    }
    struct stage_reject reject = {
        .range_index = (uint32_t)stream->index,
        .offset = record->offset,
        .length = record->length,
        .line = record->line,
        .column = ps_span_str(why.column),
        .code = ps_span_str(why.code),
        .reason = ps_span_str(why.reason),
        .raw = record->raw,
    };
    return keep_reject(stream, &reject, err);
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *in, struct ps_error *err)
{
    struct leaf_stream *stream = ctx;
    struct stage_reject reject = {
        .range_index = (uint32_t)stream->index,
        .offset = in->offset,
        .length = in->length,
        .line = in->line,
        .column = ps_span_str(in->column),
        .code = ps_span_str(in->code),
        .reason = ps_span_str(in->reason),
        .raw = in->raw,
    };
    stream->job->counts.decoded++;
    stream->job->ranges[stream->index].records++;
    return keep_reject(stream, &reject, err);
}

/* ---- the window */

static enum ps_status
refill(struct leaf_stream *stream, struct ps_error *err)
{
    if (stream->start > 0) {
        memmove(stream->window, stream->window + stream->start, stream->end - stream->start);
        stream->end -= stream->start;
        stream->start = 0;
    }
    if (stream->end == stream->cap) {
        size_t more = stream->cap * 2 < stream->cap_most ? stream->cap * 2 : stream->cap_most;
        uint8_t *window = more > stream->cap ? ps_realloc(stream->window, more) : NULL;
        if (window == NULL) {
            return ps_fail(err, more > stream->cap ? PS_FULL : PS_BUG,
                           "no room for a window beyond %zu bytes", stream->cap);
        }
        stream->window = window;
        stream->cap = more;
    }
    size_t got = 0;
    enum ps_status status = unwrap_read(stream->unwrap, stream->window + stream->end,
                                        stream->cap - stream->end, &got, err);
    if (status != PS_OK) {
        return status;
    }
    stream->eof = got == 0;
    stream->end += got;
    atomic_fetch_add(&stream->job->bytes, got);
    atomic_fetch_add(&stream->core->bytes_total, got);
    return PS_OK;
}

static enum ps_status
read_until(struct leaf_stream *stream, uint64_t stop_at, struct ps_error *err)
{
    const struct decode_sink sink = {
        .ctx = stream, .header = on_header, .record = on_record, .reject = on_reject};
    bool stopped = false;
    while (!stopped) {
        size_t consumed = 0;
        uint64_t before = stream->job->counts.decoded;
        enum ps_status status = stream->decode->run(stream->decoder, stream->window + stream->start,
                                                    stream->end - stream->start, stream->eof,
                                                    stop_at, &sink, &consumed, &stopped, err);
        if (status != PS_OK) {
            return status;
        }
        stream->start += consumed;
        uint64_t rows = stream->job->counts.decoded - before;
        atomic_fetch_add(&stream->job->rows_seen, rows);
        atomic_fetch_add(&stream->core->rows_total, rows);
        if (stopped || (stream->eof && stream->start == stream->end)) {
            return PS_OK;
        }
        if (stream->eof) {
            return ps_fail(err, PS_BUG, "the decoder left %zu bytes at the end of the object",
                           stream->end - stream->start);
        }
        if (atomic_load(&stream->core->stop) || atomic_load(&stream->core->drain) ||
            atomic_load(&stream->job->cancel)) {
            return ps_fail(err, PS_CANCELED, "asked to stop");
        }
        status = refill(stream, err);
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}

static enum ps_status
end_range(struct leaf_stream *stream, struct ps_error *err)
{
    struct leaf_job *job = stream->job;
    struct dest_range *range = &job->ranges[stream->index];
    enum ps_status status = PS_OK;
    /* A boundary that is also the object's end must say so, or an empty batch would follow. */
    if (!stream->eof && stream->start == stream->end) {
        status = refill(stream, err);
    }
    if (status == PS_OK) {
        status = stream->ops->verify(stream->reader, err);
    }
    if (status == PS_OK) {
        struct ps_buf *resume = &job->resume[stream->index];
        range->end = stream->decode->offset(stream->decoder);
        range->eof = stream->eof && stream->start == stream->end;
        ps_buf_clear(resume);
        status = range->eof ? PS_OK : stream->decode->token(stream->decoder, resume, err);
        range->resume = ps_buf_span(resume);
    }
    if (status == PS_OK) {
        uint64_t stored = unwrap_stored_bytes(stream->unwrap);
        job->counts.raw_bytes += stored - stream->stored_seen;
        stream->stored_seen = stored;
        job->counts.unwrapped_bytes += range->end - range->from;
    }
    return status;
}

enum ps_status
leaf_stream_read_range(struct leaf_stream *stream, struct leaf_job *job, size_t index,
                       struct ps_error *err)
{
    stream->job = job;
    stream->index = index;
    stream->block = stage_block_take(stream->core->stage, (uint32_t)job->doc->column_count);
    if (stream->block == NULL) {
        return ps_fail(err, PS_FULL, "out of memory for a block");
    }
    enum ps_status status = PS_OK;
    if (stream->have_names) {
        status = start_object(stream, err);
    }
    uint64_t target = job->message->grant->batch->ranges[index]->target_bytes;
    uint64_t from = job->ranges[index].from;
    if (status == PS_OK) {
        status = read_until(stream, target > UINT64_MAX - from ? UINT64_MAX : from + target, err);
    }
    if (status == PS_OK && stream->block->rows > 0) {
        status = stage_batch_append(job->rows, &stream->block, err);
    }
    if (status == PS_OK) {
        status = end_range(stream, err);
    }
    stage_block_give(stream->core->stage, &stream->block);
    stream->job = NULL;
    return status;
}

/* ---- samples */

struct head_pull {
    const struct source_ops *ops;
    struct source_reader *reader;
};

static enum ps_status
pull_head(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct head_pull *pull = ctx;
    return pull->ops->read(pull->reader, out, cap, out_n, err);
}

enum ps_status
leaf_stream_head(const struct spec *spec, const struct leaf_source *source,
                 const struct leaf_head *head, struct ps_buf *out, bool *out_whole,
                 struct ps_error *err)
{
    struct head_pull pull = {.ops = source->ops};
    struct unwrap_limits limits = limits_of(spec, head->budget_bytes);
    struct unwrap *unwrap = NULL;
    size_t got = 1;
    enum ps_status status =
        source->ops->open_object(source->source, head->key, head->version, &pull.reader, err);
    if (status == PS_OK) {
        status = unwrap_open(spec_str(spec, "format.compression"), pull_head, &pull, &limits,
                             &unwrap, err);
    }
    while (status == PS_OK && got > 0 && out->len < head->cap) {
        status = ps_buf_reserve(out, SKIP_BYTES, err);
        if (status == PS_OK) {
            size_t room = head->cap - out->len < SKIP_BYTES ? head->cap - out->len : SKIP_BYTES;
            status = unwrap_read(unwrap, out->ptr + out->len, room, &got, err);
            out->len += status == PS_OK ? got : 0;
        }
    }
    *out_whole = got == 0;
    unwrap_close(unwrap);
    source->ops->close_object(pull.reader);
    return status;
}
