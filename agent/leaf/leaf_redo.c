/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_redo.h"

#include <inttypes.h>

#include "agent/dest/dest_replay.h"
#include "agent/leaf/leaf_bytes.h"
#include "common/alloc.h"
#include "common/log.h"

enum {
    HEAD_BYTES = 256 * 1024,
    RAW_MAX = 64 * 1024,
    SPARE_BYTES = 64, /* behind what is decoded: decoders look ahead */
};

struct leaf_redo {
    struct leaf_redo_env env;
    const struct decode_ops *decode; /* of single records */
    bool names_itself;               /* records name their fields */
    bool is_document;                /* line ends inside a record are blanks */
    struct leaf_source source;
    struct leaf_bytes *bytes; /* of key in version */

    /* Of one object in one version: where `batch` read it. */
    struct batch_id batch;
    struct ps_buf object, key, version; /* as the rejects table and as the ledger name it */
    bool have_version;
    struct ps_buf token; /* with names and dialect; empty: not known yet */
    uint64_t token_offset;
    struct ps_buf window;

    /* Of the record at hand. */
    const struct dest_reject_row *row;
    const struct decode_sink *sink;
    unsigned found;
};

struct leaf_redo *
leaf_redo_new(const struct leaf_redo_env *env)
{
    struct leaf_redo *redo = ps_xcalloc(1, sizeof *redo);
    redo->env = *env;
    return redo;
}

void
leaf_redo_free(struct leaf_redo *redo)
{
    if (redo == NULL) {
        return;
    }
    leaf_bytes_close(redo->bytes);
    if (redo->source.source != NULL) {
        redo->source.ops->close(redo->source.source);
    }
    ps_buf_fini(&redo->object);
    ps_buf_fini(&redo->key);
    ps_buf_fini(&redo->version);
    ps_buf_fini(&redo->token);
    ps_buf_fini(&redo->window);
    ps_free(redo);
}

/* ---- which version of which object */

struct match {
    const struct dest_reject_row *row;
    struct leaf_redo *redo;
};

/* A name that is no text stands in some rejects tables as %HH. */
static bool
is_named(struct ps_span object, struct ps_span key)
{
    struct ps_buf safe = PS_BUF_INIT;
    dest_text_safe(key, &safe);
    bool is = ps_span_eq(object, key) || ps_span_eq(object, ps_buf_span(&safe));
    ps_buf_fini(&safe);
    return is;
}

static enum ps_status
match_range(void *ctx, const struct dest_range *range, struct batch_id batch, struct ps_error *err)
{
    struct match *match = ctx;
    struct leaf_redo *redo = match->redo;
    const struct dest_reject_row *row = match->row;
    (void)batch;
    (void)err;
    if (redo->have_version || row->offset < range->from || row->offset >= range->end ||
        !is_named(row->object, range->key)) {
        return PS_OK;
    }
    ps_buf_clear(&redo->key);
    ps_buf_xappend(&redo->key, range->key.ptr, range->key.len);
    redo->have_version = true;
    ps_buf_clear(&redo->version);
    ps_buf_xappend(&redo->version, range->version.ptr, range->version.len);
    ps_buf_clear(&redo->token);
    ps_buf_xappend(&redo->token, range->resume.ptr, range->resume.len);
    redo->token_offset = range->end;
    return PS_OK;
}

/* Object, version and, where the ledger has one, token of the row's range. */
static enum ps_status
find_range(struct leaf_redo *redo, const struct dest_reject_row *row, struct ps_error *err)
{
    if (redo->have_version && ps_id_eq(redo->batch.id, row->batch.id) &&
        ps_span_eq(ps_buf_span(&redo->object), row->object)) {
        return PS_OK;
    }
    bool same_object = redo->have_version && ps_span_eq(ps_buf_span(&redo->object), row->object);
    struct ps_buf version_before = redo->version;
    struct ps_buf token_before = redo->token;
    uint64_t offset_before = redo->token_offset;
    redo->version = redo->token = PS_BUF_INIT;
    redo->have_version = false;
    struct match match = {.row = row, .redo = redo};
    enum ps_status status =
        redo->env.ops->ranges(redo->env.dest, row->batch, match_range, &match, err);
    if (status == PS_OK && !redo->have_version) {
        char name[256];
        status =
            ps_fail_code(err, PS_REFUSED, "replay_no_range", "the ledger has no range of %s for it",
                         log_quote(row->object, name, sizeof name));
    }
    /* Names that are known of this very version need not be looked for again. */
    if (status == PS_OK && same_object && redo->token.len == 0 &&
        ps_span_eq(ps_buf_span(&version_before), ps_buf_span(&redo->version))) {
        ps_buf_xappend(&redo->token, token_before.ptr, token_before.len);
        redo->token_offset = offset_before;
    }
    /* A chain of batches reads one object on from where it stands. */
    if (!same_object || !ps_span_eq(ps_buf_span(&version_before), ps_buf_span(&redo->version))) {
        leaf_bytes_close(redo->bytes);
        redo->bytes = NULL;
    }
    ps_buf_fini(&version_before);
    ps_buf_fini(&token_before);
    redo->batch = row->batch;
    ps_buf_clear(&redo->object);
    ps_buf_xappend(&redo->object, row->object.ptr, row->object.len);
    return status;
}

static enum ps_status
need_source(struct leaf_redo *redo, struct ps_error *err)
{
    return redo->source.source != NULL
               ? PS_OK
               : leaf_work_open_source(redo->env.work, redo->env.spec, &redo->source, err);
}

static enum ps_status
read_object(struct leaf_redo *redo, uint64_t from, size_t cap, struct ps_buf *out,
            struct ps_error *err)
{
    enum ps_status status = need_source(redo, err);
    const struct leaf_bytes_of of = {
        .spec = redo->env.spec,
        .source = &redo->source,
        .key = ps_buf_span(&redo->key),
        .version = ps_buf_span(&redo->version),
        .budget_bytes = redo->env.work->core->config->budget_bytes,
    };
    if (status == PS_OK && redo->bytes == NULL) {
        status = leaf_bytes_open(&of, &redo->bytes, err);
    }
    if (status == PS_OK) {
        status = leaf_bytes_read(redo->bytes, from, cap, out, err);
    }
    return status == PS_OK ? leaf_bytes_verify(redo->bytes, err) : status;
}

/* What could not be read for good is told with what a person can do about it. */
static enum ps_status
explain(const struct dest_reject_row *row, const char *what, enum ps_status status,
        struct ps_error *err)
{
    char name[256];
    if (status != PS_BADDATA && status != PS_REFUSED) {
        return ps_wrap(err, status, "reject %" PRIu64, row->n);
    }
    struct ps_error why = *err;
    return ps_fail_code(err, PS_REFUSED, "replay_needs_object",
                        "reject %" PRIu64 ": %s of %s cannot be read again (%s); write the record "
                        "into an edited file instead (penstock rejects export, then replay --file)",
                        row->n, what, log_quote(row->object, name, sizeof name), why.text);
}

bool
leaf_redo_is_whole(const struct dest_reject_row *row)
{
    return row->raw.len > 0 && !dest_late_code(row->code) &&
           (row->raw.len < RAW_MAX || row->raw.len >= row->length);
}

enum ps_status
leaf_redo_read(struct leaf_redo *redo, const struct dest_reject_row *row, struct ps_buf *out,
               struct ps_error *err)
{
    uint64_t most = spec_bytes(redo->env.spec, "limits.max_record_bytes") + SPARE_BYTES;
    enum ps_status status = find_range(redo, row, err);
    if (status == PS_OK) {
        /* Longer than the limit is too long, however much longer. */
        status = read_object(redo, row->offset, (size_t)(row->length < most ? row->length : most),
                             out, err);
    }
    if (status == PS_OK && out->len < row->length && out->len < most) {
        status = ps_fail_code(err, PS_BADDATA, "source_changed", "the object ends before it");
    }
    return status == PS_OK ? PS_OK : explain(row, "its record", status, err);
}

/* ---- names and dialect */

static enum ps_status
head_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    bool *told = ctx;
    (void)names, (void)count, (void)err;
    *told = true;
    return PS_OK;
}

static enum ps_status
head_record(void *ctx, const struct record *record, struct ps_error *err)
{
    (void)ctx, (void)record, (void)err;
    return PS_OK;
}

static enum ps_status
head_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    (void)ctx, (void)reject, (void)err;
    return PS_OK;
}

/* The token behind the header of an object that begins with `head`. */
static enum ps_status
token_from_head(struct leaf_redo *redo, struct ps_span head, bool whole, struct ps_error *err)
{
    bool told = false;
    struct decoder *decoder = NULL;
    const struct decode_sink sink = {
        .ctx = &told, .header = head_header, .record = head_record, .reject = head_reject};
    enum ps_status status = redo->decode->open(redo->env.spec, ps_span(NULL, 0), 0, &decoder, err);
    for (size_t at = 0; status == PS_OK && !told;) {
        size_t consumed = 0;
        bool stopped = false;
        status =
            redo->decode->run(decoder, head.ptr + at, head.len - at, whole,
                              redo->decode->offset(decoder) + 1, &sink, &consumed, &stopped, err);
        at += consumed;
        if (status == PS_OK && !told && !stopped) {
            status = ps_fail_code(err, PS_BADDATA, "bad_header", "no header in its first %zu bytes",
                                  head.len);
        }
    }
    if (status == PS_OK) {
        ps_buf_clear(&redo->token);
        status = redo->decode->token(decoder, &redo->token, err);
        redo->token_offset = redo->decode->offset(decoder);
    }
    if (decoder != NULL) {
        redo->decode->close(decoder);
    }
    return status;
}

static enum ps_status
need_token(struct leaf_redo *redo, const struct dest_reject_row *row, struct ps_error *err)
{
    struct decoder *decoder = NULL;
    struct ps_error ignored;
    enum ps_status status = find_range(redo, row, err);
    if (status != PS_OK) {
        return explain(row, "the header", status, err);
    }
    /* One of another dialect is of no use: then the object is asked. */
    if (redo->token.len > 0 &&
        redo->decode->open(redo->env.spec, ps_buf_span(&redo->token), redo->token_offset, &decoder,
                           &ignored) == PS_OK) {
        redo->decode->close(decoder);
        return PS_OK;
    }
    struct ps_buf head = PS_BUF_INIT;
    ps_buf_clear(&redo->token);
    status = read_object(redo, 0, HEAD_BYTES, &head, err);
    if (status == PS_OK) {
        status = token_from_head(redo, ps_buf_span(&head), head.len < HEAD_BYTES, err);
    }
    ps_buf_fini(&head);
    return status == PS_OK ? PS_OK : explain(row, "the header", status, err);
}

/* ---- the record */

static enum ps_status
need_format(struct leaf_redo *redo, struct ps_error *err)
{
    if (redo->decode != NULL) {
        return PS_OK;
    }
    const char *type = spec_str(redo->env.spec, "format.type");
    redo->is_document = strcmp(type, "json") == 0;
    redo->decode = decode_find(redo->is_document ? "ndjson" : type, err);
    if (redo->decode == NULL) {
        return err->status;
    }
    redo->names_itself = redo->decode->columns != NULL;
    return PS_OK;
}

static enum ps_status
one_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct leaf_redo *redo = ctx;
    return redo->sink->header(redo->sink->ctx, names, count, err);
}

static enum ps_status
too_many(const struct leaf_redo *redo, struct ps_error *err)
{
    return ps_fail_code(err, PS_REFUSED, "replay_many",
                        "reject %" PRIu64 ": more than one record stands in place of it",
                        redo->row->n);
}

static enum ps_status
one_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct leaf_redo *redo = ctx;
    struct record at = *record;
    if (redo->found++ > 0) {
        return too_many(redo, err);
    }
    at.offset = redo->row->offset;
    at.length = redo->row->length;
    at.line = redo->row->line;
    return redo->sink->record(redo->sink->ctx, &at, err);
}

static enum ps_status
one_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    struct leaf_redo *redo = ctx;
    struct decode_reject at = *reject;
    if (redo->found++ > 0) {
        return too_many(redo, err);
    }
    at.offset = redo->row->offset;
    at.length = redo->row->length;
    at.line = redo->row->line;
    return redo->sink->reject(redo->sink->ctx, &at, err);
}

static enum ps_status
open_decoder(struct leaf_redo *redo, struct decoder **out, struct ps_error *err)
{
    if (!redo->names_itself) {
        return redo->decode->open(redo->env.spec, ps_buf_span(&redo->token), redo->token_offset,
                                  out, err);
    }
    enum ps_status status = redo->decode->open(redo->env.spec, ps_span(NULL, 0), 0, out, err);
    return status == PS_OK
               ? redo->decode->columns(*out, redo->env.columns, redo->env.column_count, err)
               : status;
}

static enum ps_status
run_one(struct leaf_redo *redo, struct decoder *decoder, size_t len, struct ps_error *err)
{
    const struct decode_sink sink = {
        .ctx = redo, .header = one_header, .record = one_record, .reject = one_reject};
    enum ps_status status = PS_OK;
    bool stopped = false;
    size_t at = 0;
    size_t consumed = 1;
    while (status == PS_OK && (at < len || redo->found == 0) && consumed > 0) {
        status = redo->decode->run(decoder, redo->window.ptr + at, len - at, true, UINT64_MAX,
                                   &sink, &consumed, &stopped, err);
        at += consumed;
    }
    if (status == PS_OK && (redo->found == 0 || at < len)) {
        status = ps_fail_code(err, PS_REFUSED, "replay_none",
                              "reject %" PRIu64 ": what stands in place of it is no record",
                              redo->row->n);
    }
    return status;
}

enum ps_status
leaf_redo_decode(struct leaf_redo *redo, const struct dest_reject_row *row, struct ps_span bytes,
                 const struct decode_sink *sink, struct ps_error *err)
{
    struct decoder *decoder = NULL;
    enum ps_status status = need_format(redo, err);
    if (status == PS_OK && !redo->names_itself) {
        status = need_token(redo, row, err);
    }
    if (status != PS_OK) {
        return status;
    }
    static const uint8_t spare[SPARE_BYTES];
    ps_buf_clear(&redo->window);
    status = ps_buf_append(&redo->window, bytes.ptr, bytes.len, err);
    if (status == PS_OK) {
        status = ps_buf_append(&redo->window, spare, sizeof spare, err);
    }
    /* Between the values of a document's record a line end is a blank, and inside of a text there
     * is none. */
    for (size_t i = 0; status == PS_OK && redo->is_document && i < bytes.len; i++) {
        uint8_t *at = &redo->window.ptr[i];
        *at = *at == '\n' || *at == '\r' ? ' ' : *at;
    }
    if (status == PS_OK) {
        status = open_decoder(redo, &decoder, err);
    }
    if (status == PS_OK) {
        redo->row = row;
        redo->sink = sink;
        redo->found = 0;
        status = run_one(redo, decoder, bytes.len, err);
    }
    if (decoder != NULL) {
        redo->decode->close(decoder);
    }
    return status;
}
