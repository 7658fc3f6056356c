/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_stream.h"

#include "agent/leaf/leaf_cut.h"
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
    struct leaf_object object;
    struct unwrap *unwrap;
    const struct decode_ops *decode;
    struct decoder *decoder;
    struct transform *transform;
    struct bp_hash bp;
    const struct leaf_doc *doc; /* whoever holds the source holds it */
    uint64_t stored_seen;       /* unwrap_stored_bytes already counted in a batch */

    uint8_t *window; /* [start, end) is not yet consumed */
    size_t cap, start, end;
    size_t cap_most;
    bool eof; /* the unwrapped stream has ended */

    uint64_t jumped_to; /* 0 = it was opened at a boundary, or has found one since */
    bool guessing;      /* what is read may turn out to be needless: */
    uint64_t guess;     /* where the first record is thought to begin; 0 = not found yet */
    uint64_t
        give_up_at; /* a guess that leads so far is wrong, or its records are too long for one */

    struct ps_buf names_bytes; /* the header, kept for the chain's next batches */
    struct ps_span *names;
    uint32_t name_count;
    bool have_names;

    struct leaf_drift_object drift;

    struct leaf_job *job; /* the one being read; for the sink */
    size_t index;
    struct block *block;
};

static enum ps_status
pull_source(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct leaf_stream *stream = ctx;
    return leaf_object_read(stream->ops, &stream->object, out, cap, out_n, err);
}

/* A window is held beside the rows: at most half of what they may take, but never less than what
 * zstd and xz use by default. */
struct unwrap_limits
leaf_stream_limits(const struct spec *spec, uint64_t budget_bytes)
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

/* Nothing is unwrapped: stored offsets are the stream's own. */
static enum ps_status
enter_plain(struct leaf_stream *stream, const struct spec *spec, uint64_t at, struct ps_error *err)
{
    struct unwrap_limits limits = leaf_stream_limits(spec, stream->core->config->budget_bytes);
    enum ps_status status = stream->ops->seek(stream->object.reader, at, err);
    return status == PS_OK ? unwrap_open("none", pull_source, stream, &limits, &stream->unwrap, err)
                           : status;
}

/* A stored offset is an unwrapped offset only where nothing is unwrapped; that is known after the
 * first read. Then the object is entered in its middle instead of being read from its start. */
static enum ps_status
enter_at(struct leaf_stream *stream, const struct spec *spec, uint64_t from, struct ps_error *err)
{
    struct unwrap_limits limits = leaf_stream_limits(spec, stream->core->config->budget_bytes);
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
    return enter_plain(stream, spec, from, err);
}

/* With the fields that the table takes. */
static enum ps_status
open_decoder(struct leaf_stream *stream, struct ps_span resume, uint64_t offset,
             struct ps_error *err)
{
    const struct leaf_doc *doc = stream->doc;
    enum ps_status status = stream->decode->open(doc->spec, resume, offset, &stream->decoder, err);
    if (status == PS_OK && stream->decode->columns != NULL) {
        status = stream->decode->columns(stream->decoder, doc->columns, doc->column_count, err);
    }
    return status;
}

/* The decoder at `at`: a proven boundary, or a cut whose first record is to be found. It knows
 * dialect and header from the token at `anchor`. */
static enum ps_status
enter_cut(struct leaf_stream *stream, const struct spec *spec, const Penstock__Range *range,
          uint64_t at, struct ps_error *err)
{
    struct ps_span resume = ps_span(range->resume.data, range->has_resume ? range->resume.len : 0);
    if (stream->ops->seek == NULL || stream->decode->jump == NULL) {
        return ps_fail_code(err, PS_REFUSED, "not_splittable",
                            "an object of this source and format cannot be entered at %llu",
                            (unsigned long long)at);
    }
    enum ps_status status = open_decoder(stream, resume, range->anchor, err);
    if (status != PS_OK || at == range->anchor) {
        return status == PS_OK ? enter_plain(stream, spec, at, err) : status;
    }
    stream->decode->jump(stream->decoder, at);
    stream->jumped_to = at;
    return enter_plain(stream, spec, at - 1, err);
}

/* The object's reader, a window and the format's decoder, not yet opened. */
static enum ps_status
open_object(struct leaf_stream *stream, const struct leaf_source *source, size_t index,
            struct ps_error *err)
{
    const struct dest_range *range = &stream->job->ranges[index];
    stream->window = ps_alloc(stream->cap);
    if (stream->window == NULL) {
        return ps_fail(err, PS_FULL, "out of memory for a window of %d bytes", WINDOW_BYTES);
    }
    stream->decode = decode_find(spec_str(stream->doc->spec, "format.type"), err);
    if (stream->decode == NULL) {
        return err->status;
    }
    return source->ahead != NULL
               ? leaf_ahead_open(source->ahead, index, &stream->object, err)
               : source->ops->open_object(source->source, range->key, range->version,
                                          &stream->object.reader, err);
}

static struct leaf_stream *
stream_new(struct leaf_core *core, const struct leaf_source *source, struct leaf_job *job,
           size_t index)
{
    struct leaf_stream *stream = ps_xcalloc(1, sizeof *stream);
    stream->core = core;
    stream->ops = source->ops;
    stream->bp = job->ranges[index].bp;
    stream->doc = job->doc;
    stream->job = job;
    stream->cap = WINDOW_BYTES;
    stream->cap_most = (size_t)spec_bytes(job->doc->spec, "limits.max_record_bytes") + WINDOW_BYTES;
    stream->give_up_at = UINT64_MAX;
    leaf_drift_object_init(&stream->drift, job->doc->spec);
    return stream;
}

enum ps_status
leaf_stream_open(struct leaf_core *core, const struct leaf_source *source, struct leaf_job *job,
                 size_t index, struct leaf_stream **out, struct ps_error *err)
{
    const struct spec *spec = job->doc->spec;
    const Penstock__Range *range = job->message->grant->batch->ranges[index];
    struct leaf_stream *stream = stream_new(core, source, job, index);
    enum ps_status status = open_object(stream, source, index, err);
    if (status == PS_OK && job->cut.is) {
        uint64_t truth = leaf_cut_truth(core, job);
        status = enter_cut(stream, spec, range, truth != 0 ? truth : job->cut.at, err);
    } else if (status == PS_OK) {
        struct ps_span resume =
            ps_span(range->resume.data, range->has_resume ? range->resume.len : 0);
        status = enter_at(stream, spec, range->from, err);
        if (status == PS_OK) {
            status = open_decoder(stream, resume, range->from, err);
        }
    }
    if (status == PS_OK) {
        status =
            transform_new(spec, job->doc->columns, job->doc->column_count, &stream->transform, err);
    }
    if (status == PS_OK) {
        *out = stream;
        stream = NULL;
    }
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
    leaf_object_close(stream->ops, &stream->object);
    ps_buf_fini(&stream->names_bytes);
    leaf_drift_object_fini(&stream->drift);
    ps_free(stream->names);
    ps_free(stream->window);
    ps_free(stream);
}

bool
leaf_stream_continues(const struct leaf_stream *stream, struct leaf_job *job, size_t index)
{
    uint64_t at = job->cut.is ? leaf_cut_truth(stream->core, job) : job->ranges[index].from;
    return stream->doc == job->doc && ps_id_eq(stream->bp.id, job->ranges[index].bp.id) &&
           (at != 0 || !job->cut.is) && stream->jumped_to == 0 &&
           stream->decode->offset(stream->decoder) == at;
}

/* ---- the sink */

static enum ps_status
start_object(struct leaf_stream *stream, struct ps_error *err)
{
    leaf_drift_object_names(&stream->drift, stream->doc, &stream->job->drift, stream->index,
                            stream->names, stream->name_count);
    return transform_object(stream->transform, stream->job->ranges[stream->index].key,
                            stream->job->id_text, stream->names, stream->name_count, err);
}

static enum ps_status
on_unknown(void *ctx, struct ps_span name, struct ps_error *err)
{
    struct leaf_stream *stream = ctx;
    (void)err;
    leaf_drift_object_name(&stream->drift, &stream->job->drift, stream->index, name);
    return PS_OK;
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

/* Without its reason. */
static struct stage_reject
reject_of(const struct leaf_stream *stream, const struct record *record)
{
    return (struct stage_reject){
        .range_index = (uint32_t)stream->index,
        .offset = record->offset,
        .length = record->length,
        .line = record->line,
        .raw = record->raw,
    };
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct leaf_stream *stream = ctx;
    struct transform_reject why = {0};
    bool rejected = false;
    stream->job->counts.decoded++;
    stream->job->ranges[stream->index].records++;
    if (leaf_drift_object_refuses(&stream->drift, record)) {
        struct stage_reject reject = reject_of(stream, record);
        leaf_drift_object_say(&stream->drift, record, &reject);
        return keep_reject(stream, &reject, err);
    }
    if (stream->drift.policy == LEAF_UNKNOWN_ADD && stream->job->drift != NULL) {
        leaf_drift_object_look(&stream->drift, stream->job->drift, record);
        return PS_OK;
    }
    enum ps_status status = transform_row(stream->transform, record, (uint32_t)stream->index,
                                          stream->block, &rejected, &why, err);
    if (status != PS_OK) {
        return status;
    }
    if (!rejected) {
        return block_is_full(stream->block) ? flush_block(stream, err) : PS_OK;
    }
    struct stage_reject reject = reject_of(stream, record);
    reject.column = ps_span_str(why.column);
    reject.code = ps_span_str(why.code);
    reject.reason = ps_span_str(why.reason);
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

/* What is read stands on a guess, and is not worth going on with. */
static enum ps_status
check_guess(const struct leaf_stream *stream, struct ps_error *err)
{
    uint64_t truth = stream->guessing ? atomic_load(&stream->job->cut.truth) : 0;
    if (truth != 0 && truth != stream->guess) {
        return ps_fail_code(err, PS_AGAIN, "cut_disproven", "the first record begins at %llu",
                            (unsigned long long)truth);
    }
    if (stream->decode->offset(stream->decoder) + (stream->end - stream->start) >
        stream->give_up_at) {
        return ps_fail_code(err, PS_AGAIN, "cut_given_up",
                            "no record's end up to %llu, if the guess was right",
                            (unsigned long long)stream->give_up_at);
    }
    return PS_OK;
}

static enum ps_status
read_until(struct leaf_stream *stream, uint64_t stop_at, const struct decode_sink *sink,
           struct ps_error *err)
{
    bool stopped = false;
    while (!stopped) {
        size_t consumed = 0;
        uint64_t before = stream->job->counts.decoded;
        enum ps_status status = stream->decode->run(stream->decoder, stream->window + stream->start,
                                                    stream->end - stream->start, stream->eof,
                                                    stop_at, sink, &consumed, &stopped, err);
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
        status = check_guess(stream, err);
        if (status == PS_OK) {
            status = refill(stream, err);
        }
        if (status != PS_OK) {
            return status;
        }
    }
    return PS_OK;
}

/* A boundary that is also the object's end must say so, or an empty batch would follow. */
static enum ps_status
end_reading(struct leaf_stream *stream, bool *out_eof, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    if (!stream->eof && stream->start == stream->end) {
        status = refill(stream, err);
    }
    *out_eof = stream->eof && stream->start == stream->end;
    return status == PS_OK ? stream->ops->verify(stream->object.reader, err) : status;
}

/* Whether what follows the range may be entered anywhere. */
static bool
is_splittable(const struct leaf_stream *stream)
{
    for (size_t i = 0; i < stream->doc->column_count; i++) {
        if (stream->doc->columns[i].value == VALUE_LINE) {
            return false; /* no cut knows its lines */
        }
    }
    return stream->ops->seek != NULL && strcmp(unwrap_name(stream->unwrap), "none") == 0 &&
           stream->decode->split != NULL && stream->decode->jump != NULL &&
           stream->decode->split(stream->decoder) != DECODE_SPLIT_NEVER;
}

static const struct decode_sink *
row_sink(struct leaf_stream *stream, struct decode_sink *out)
{
    *out = (struct decode_sink){.ctx = stream,
                                .header = on_header,
                                .unknown = on_unknown,
                                .record = on_record,
                                .reject = on_reject};
    return out;
}

/* The decoder hears of the object's end even where that was a boundary: a document may be cut. */
static enum ps_status
tell_eof(struct leaf_stream *stream, struct ps_error *err)
{
    struct decode_sink sink;
    size_t consumed = 0;
    bool stopped = false;
    return stream->decode->run(stream->decoder, stream->window + stream->start, 0, true, UINT64_MAX,
                               row_sink(stream, &sink), &consumed, &stopped, err);
}

static enum ps_status
end_range(struct leaf_stream *stream, struct ps_error *err)
{
    struct leaf_job *job = stream->job;
    struct dest_range *range = &job->ranges[stream->index];
    struct ps_buf *resume = &job->resume[stream->index];
    bool eof = false;
    enum ps_status status = end_reading(stream, &eof, err);
    ps_buf_clear(resume);
    if (status == PS_OK) {
        status = eof ? tell_eof(stream, err) : stream->decode->token(stream->decoder, resume, err);
    }
    if (status != PS_OK) {
        return status;
    }
    range->end = stream->decode->offset(stream->decoder);
    range->eof = eof;
    range->resume = ps_buf_span(resume);
    uint64_t stored = unwrap_stored_bytes(stream->unwrap);
    job->counts.raw_bytes += stored - stream->stored_seen;
    stream->stored_seen = stored;
    job->counts.unwrapped_bytes += range->end - range->from;
    if (!eof && is_splittable(stream)) {
        job->splittable_range = stream->index;
    }
    return PS_OK;
}

/* From a jump to the first record there. A proven start is where the jump said. */
static enum ps_status
find_start(struct leaf_stream *stream, struct ps_error *err)
{
    struct leaf_job *job = stream->job;
    struct decode_sink sink;
    uint64_t at = stream->jumped_to;
    uint64_t truth = leaf_cut_truth(stream->core, job);
    bool proven = at == 0 || at == truth;
    stream->guessing = job->cut.guess = !proven;
    stream->guess = 0;
    stream->give_up_at = proven ? UINT64_MAX : stream->give_up_at;
    if (at != 0) {
        enum ps_status status = read_until(stream, at, row_sink(stream, &sink), err);
        if (status != PS_OK) {
            return status;
        }
        stream->jumped_to = 0;
    }
    uint64_t start = stream->decode->offset(stream->decoder);
    if (proven && at != 0 && start != at) {
        return ps_fail_code(err, PS_BUG, "cut_start",
                            "a record was to begin at %llu; the next one begins at %llu",
                            (unsigned long long)at, (unsigned long long)start);
    }
    if (!proven && stream->decode->split(stream->decoder) == DECODE_SPLIT_EXACT) {
        proven = true;
    }
    if (proven) {
        atomic_store(&job->cut.truth, start);
        stream->give_up_at = UINT64_MAX;
    }
    stream->guessing = job->cut.guess = !proven;
    stream->guess = job->cut.read_start = start;
    return check_guess(stream, err);
}

/* The ledger keeps the range's true begin and end; one in which nothing begins is [cut, cut). */
static void
end_cut(struct leaf_stream *stream)
{
    struct leaf_job *job = stream->job;
    struct dest_range *range = &job->ranges[0];
    job->cut.read_end = range->end;
    job->cut.eof = range->eof;
    if (job->cut.read_start == job->cut.read_end) {
        range->from = range->end = job->cut.at;
        range->eof = false;
        range->resume = ps_span(NULL, 0);
    }
}

static enum ps_status
read_cut(struct leaf_stream *stream, struct ps_error *err)
{
    struct leaf_job *job = stream->job;
    struct decode_sink sink;
    uint64_t most = stream->cap_most + (uint64_t)2 * WINDOW_BYTES;
    /* Until it has proved right, a guess may lead anywhere: through all the rest of the object. */
    stream->give_up_at =
        job->cut.stop_at > UINT64_MAX - most ? UINT64_MAX : job->cut.stop_at + most;
    if (stream->ops->expect != NULL) {
        stream->ops->expect(stream->object.reader, job->cut.stop_at);
    }
    enum ps_status status = find_start(stream, err);
    if (status == PS_OK) {
        job->ranges[0].from = job->cut.read_start;
        status = read_until(stream, job->cut.stop_at, row_sink(stream, &sink), err);
    }
    return status;
}

/* Where nothing is unwrapped, what is read is what is stored. */
static void
expect_until(struct leaf_stream *stream, uint64_t offset)
{
    if (stream->ops->expect != NULL && unwrap_out_bytes(stream->unwrap) > 0 &&
        strcmp(unwrap_name(stream->unwrap), "none") == 0) {
        stream->ops->expect(stream->object.reader, offset);
    }
}

static enum ps_status
read_whole(struct leaf_stream *stream, struct ps_error *err)
{
    struct leaf_job *job = stream->job;
    struct decode_sink sink;
    if (job->cut.is) {
        return read_cut(stream, err);
    }
    uint64_t target = job->message->grant->batch->ranges[stream->index]->target_bytes;
    uint64_t from = job->ranges[stream->index].from;
    expect_until(stream, target > UINT64_MAX - from ? UINT64_MAX : from + target);
    return read_until(stream, target > UINT64_MAX - from ? UINT64_MAX : from + target,
                      row_sink(stream, &sink), err);
}

enum ps_status
leaf_stream_read_range(struct leaf_stream *stream, struct leaf_job *job, size_t index,
                       struct ps_error *err)
{
    stream->job = job;
    stream->index = index;
    stream->block = job->block != NULL
                        ? job->block
                        : stage_block_take(stream->core->stage, (uint32_t)job->doc->column_count);
    job->block = NULL;
    if (stream->block == NULL) {
        return ps_fail(err, PS_FULL, "out of memory for a block");
    }
    enum ps_status status = PS_OK;
    if (stream->have_names) {
        status = start_object(stream, err);
    }
    if (status == PS_OK) {
        status = read_whole(stream, err);
    }
    if (status == PS_OK) {
        status = end_range(stream, err);
    }
    if (status == PS_OK && job->cut.is) {
        end_cut(stream);
    }
    if (status == PS_OK) {
        job->block = stream->block;
        stream->block = NULL;
    }
    stage_block_give(stream->core->stage, &stream->block);
    stream->job = NULL;
    return status;
}

/* ---- the proof that needs nobody else */

static enum ps_status
pass_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    (void)ctx, (void)names, (void)count, (void)err;
    return PS_OK;
}

static enum ps_status
pass_record(void *ctx, const struct record *record, struct ps_error *err)
{
    (void)ctx, (void)record, (void)err;
    return PS_OK;
}

static enum ps_status
pass_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    (void)ctx, (void)reject, (void)err;
    return PS_OK;
}

enum ps_status
leaf_stream_prove(struct leaf_core *core, const struct leaf_source *source, struct leaf_job *job,
                  uint64_t *out_start, struct ps_error *err)
{
    static const struct decode_sink sink = {
        .header = pass_header, .record = pass_record, .reject = pass_reject};
    const Penstock__Range *range = job->message->grant->batch->ranges[0];
    const struct leaf_source direct = {.ops = source->ops, .source = source->source};
    struct leaf_stream *stream = stream_new(core, source, job, 0);
    uint64_t nearest = leaf_cut_nearest(core, job, range->anchor);
    bool eof = false;
    stream->guessing = true; /* whoever else proves it makes this needless */
    enum ps_status status = open_object(stream, &direct, 0, err);
    if (status == PS_OK) {
        status =
            enter_cut(stream, job->doc->spec, range, nearest != 0 ? nearest : range->anchor, err);
    }
    if (status == PS_OK) {
        status = read_until(stream, job->cut.at, &sink, err);
    }
    if (status == PS_OK) {
        status = end_reading(stream, &eof, err);
    }
    if (status == PS_OK) {
        *out_start = stream->decode->offset(stream->decoder);
    }
    leaf_stream_close(stream);
    return status;
}
