/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a record: fields for the sink, or a reject that says where and why. */
#include <stdio.h>

#include "agent/decode/dec_json.h"
#include "common/alloc.h"

enum { SHOWN_MAX = 24 };

void
json_run_advance(struct json_run *run, const uint8_t *p)
{
    struct decoder *decoder = run->decoder;
    const uint8_t *at = run->at;
    while (at < p) {
        const uint8_t *hit = memchr(at, '\n', (size_t)(p - at));
        if (hit == NULL) {
            break;
        }
        at = hit + 1;
        decoder->line += decoder->line > 0;
        decoder->line_begin = json_run_offset(run, at);
    }
    decoder->at_boundary = decoder->at_boundary && p == run->at;
    run->at = p;
    decoder->offset = json_run_offset(run, p);
}

void
json_run_boundary(struct json_run *run, const uint8_t *p)
{
    json_run_advance(run, p);
    run->decoder->at_boundary = true;
    run->stopped = run->decoder->offset >= run->stop_at;
}

/* ---- names */

/* The names of fields that were found: the root's children, in their order. */
static enum ps_status
names_found(struct decoder *decoder, struct ps_error *err)
{
    ps_buf_clear(&decoder->name_bytes);
    enum ps_status status = PS_OK;
    const struct json_node *node = decoder->walk.root.first;
    for (; node != NULL && status == PS_OK; node = node->next) {
        struct ps_span name = json_node_name(node);
        status = ps_buf_append(&decoder->name_bytes, name.ptr, name.len, err);
        if (status == PS_OK) {
            status = ps_buf_append(&decoder->name_bytes, "", 1, err);
        }
    }
    return status == PS_OK ? json_names_split(decoder, err) : status;
}

enum ps_status
json_names_split(struct decoder *decoder, struct ps_error *err)
{
    ps_free(decoder->names);
    decoder->names = ps_calloc(decoder->walk.count, sizeof *decoder->names);
    if (decoder->names == NULL && decoder->walk.count > 0) {
        return ps_fail(err, PS_FULL, "json: no memory for %u names", decoder->walk.count);
    }
    const char *at = (const char *)decoder->name_bytes.ptr;
    for (uint32_t i = 0; i < decoder->walk.count; i++) {
        decoder->names[i] = ps_span_str(at);
        at += decoder->names[i].len + 1;
    }
    return PS_OK;
}

/* The columns' names, and behind them the paths of fields that are none: the root's last children.
 */
static enum ps_status
names_added(struct decoder *decoder, struct ps_error *err)
{
    const char *at = (const char *)decoder->name_bytes.ptr;
    for (uint32_t i = 0; i < decoder->wanted; i++) {
        at += strlen(at) + 1;
    }
    decoder->name_bytes.len = (size_t)(at - (const char *)decoder->name_bytes.ptr);
    const struct json_node *node = decoder->walk.root.first;
    enum ps_status status = PS_OK;
    for (; node != NULL && status == PS_OK; node = node->next) {
        if (node->field != JSON_NO_FIELD && node->field >= decoder->wanted) {
            spec_path_spell(json_node_name(node), &decoder->name_bytes);
            status = ps_buf_append(&decoder->name_bytes, "", 1, err);
        }
    }
    return status == PS_OK ? json_names_split(decoder, err) : status;
}

/* Names that nobody wants and that were not told yet: the last ones of their tree. */
static enum ps_status
strange_tell(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    const struct json_node *node = decoder->walk.strange.first;
    enum ps_status status = PS_OK;
    for (uint32_t i = 0; node != NULL && status == PS_OK; node = node->next, i++) {
        if (i >= decoder->strange_told && run->sink->unknown != NULL) {
            status = run->sink->unknown(run->sink->ctx, json_node_name(node), run->err);
        }
    }
    decoder->strange_told = decoder->walk.strange_count;
    return status;
}

enum ps_status
json_names_tell(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    if (decoder->with_columns && decoder->walk.count > decoder->wanted) {
        enum ps_status status = names_added(decoder, run->err);
        if (status != PS_OK) {
            return status;
        }
    }
    if (!decoder->with_columns) {
        enum ps_status status = names_found(decoder, run->err);
        if (status != PS_OK) {
            return status;
        }
    }
    decoder->told = decoder->walk.count;
    decoder->names_told = true;
    return run->sink->header == NULL
               ? PS_OK
               : run->sink->header(run->sink->ctx, decoder->names, decoder->told, run->err);
}

enum ps_status
json_record_out(struct json_run *run, const uint8_t *begin, const uint8_t *end)
{
    struct decoder *decoder = run->decoder;
    if (__builtin_expect(decoder->walk.count != decoder->told, 0)) {
        enum ps_status status = json_names_tell(run);
        if (status != PS_OK) {
            return status;
        }
    }
    if (__builtin_expect(decoder->walk.strange_count != decoder->strange_told, 0)) {
        enum ps_status status = strange_tell(run);
        if (status != PS_OK) {
            return status;
        }
    }
    bool is_strange = decoder->walk.strange_stamp == decoder->walk.stamp;
    const struct record record = {
        .fields = decoder->walk.fields,
        .count = decoder->walk.count,
        .offset = json_run_offset(run, begin),
        .length = (uint64_t)(end - begin),
        .line = decoder->line,
        .raw = ps_span(begin, (size_t)(end - begin)),
        .slack = (size_t)(run->end - end),
        .overlap = decoder->overlap,
        .unknown = is_strange ? decoder->walk.strange_name : ps_span(NULL, 0),
    };
    return run->sink->record(run->sink->ctx, &record, run->err);
}

/* ---- reasons */

void
json_reason(struct decoder *decoder, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(decoder->reason, sizeof decoder->reason, fmt, args);
    va_end(args);
    decoder->code = code;
    decoder->column = NULL;
}

void
json_reason_long(struct decoder *decoder, uint64_t length)
{
    const char *hint = !decoder->lines && decoder->items.count == 0 && decoder->after == JSON_ONE
                           ? "; an array inside the document is named by format.items"
                           : "";
    json_reason(decoder, "too_long",
                "the record has %llu bytes; at most %llu are expected (limits.max_record_bytes)%s",
                (unsigned long long)length, (unsigned long long)decoder->max_record_bytes, hint);
}

static const char *
code_of(enum json_fault fault)
{
    switch (fault) {
    case JSON_ESCAPE:
    case JSON_SURROGATE:
        return "bad_escape";
    case JSON_NUL:
        return "nul";
    case JSON_UTF8:
        return "bad_utf8";
    case JSON_DEPTH:
        return "too_deep";
    case JSON_DUPLICATE:
        return "duplicate_key";
    case JSON_NOT_OBJECT:
        return "not_object";
    case JSON_OK:
    case JSON_END:
    case JSON_STRUCTURE:
    case JSON_CONTROL:
    case JSON_TOKEN:
    case JSON_MISSING:
    case JSON_TRAILING:
    case JSON_WIDE:
    case JSON_NOMEM:
        break;
    }
    return "bad_json";
}

/* What stands at p, for people. */
static const char *
found_text(const struct json_run *run, const struct json_scan *scan, char out[SHOWN_MAX])
{
    const uint8_t *p = scan->bad_at;
    if (scan->fault == JSON_END || p >= run->end) {
        return run->decoder->lines ? "the line's end" : "the object's end";
    }
    switch (scan->fault) {
    case JSON_SURROGATE:
        return "half of a surrogate pair";
    case JSON_NUL:
        return "U+0000";
    case JSON_DEPTH:
        return "one bracket more";
    case JSON_DUPLICATE:
        return "a name again";
    case JSON_NOT_OBJECT:
        return *p == '[' ? "an array" : *p == '"' ? "a text" : "a single value";
    case JSON_TOKEN: {
        size_t len = 0;
        while (len + 3 < SHOWN_MAX && p + len < scan->end && p[len] > ' ' && p[len] < 0x7F &&
               strchr(",]}:\"", p[len]) == NULL) {
            len++;
        }
        snprintf(out, SHOWN_MAX, "'%.*s'", (int)len, (const char *)p);
        return out;
    }
    case JSON_OK:
    case JSON_END:
    case JSON_STRUCTURE:
    case JSON_CONTROL:
    case JSON_MISSING:
    case JSON_ESCAPE:
    case JSON_UTF8:
    case JSON_TRAILING:
    case JSON_WIDE:
    case JSON_NOMEM:
        break;
    }
    if (*p >= 0x21 && *p < 0x7F) {
        snprintf(out, SHOWN_MAX, "'%c'", *p);
    } else {
        snprintf(out, SHOWN_MAX, "byte 0x%02X", *p);
    }
    return out;
}

/* The wanted name that the fault is behind. */
static const char *
column_of(const struct decoder *decoder)
{
    const struct json_node *node = decoder->walk.at;
    return node == NULL || node->field == JSON_NO_FIELD || decoder->names == NULL ||
                   node->field >= decoder->told
               ? NULL
               : (const char *)decoder->names[node->field].ptr;
}

void
json_reason_fault(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    const struct json_scan *scan = &decoder->walk.scan;
    char shown[SHOWN_MAX];
    char place[80] = "";
    uint64_t line = decoder->line;
    const uint8_t *begin = run->at;
    uint64_t line_begin = decoder->line_begin;
    for (const uint8_t *p = begin; p < scan->bad_at; p++) {
        if (*p == '\n') {
            line++;
            line_begin = json_run_offset(run, p + 1);
        }
    }
    uint64_t offset = json_run_offset(run, scan->bad_at);
    if (decoder->line > 0) {
        snprintf(place, sizeof place, "line %llu column %llu, ", (unsigned long long)line,
                 (unsigned long long)(offset - line_begin + 1));
    }
    bool inside = decoder->lines && scan->fault == JSON_END;
    json_reason(decoder, code_of(scan->fault), "%sbyte %llu: found %s; expected %s%s", place,
                (unsigned long long)offset, found_text(run, scan, shown), scan->expected,
                inside ? " (values over several lines are format.type: json)" : "");
    decoder->column = column_of(decoder);
}

/* ---- rejects */

static enum ps_status
reject_give(struct json_run *run, const struct decode_reject *reject)
{
    return run->sink->reject == NULL ? PS_OK : run->sink->reject(run->sink->ctx, reject, run->err);
}

enum ps_status
json_reject_out(struct json_run *run, const uint8_t *begin, const uint8_t *end)
{
    struct decoder *decoder = run->decoder;
    size_t len = (size_t)(end - begin);
    const struct decode_reject reject = {
        .offset = json_run_offset(run, begin),
        .length = len,
        .line = decoder->line,
        .column = decoder->column,
        .code = decoder->code,
        .reason = decoder->reason,
        .raw = ps_span(begin, len < JSON_RAW_MAX ? len : JSON_RAW_MAX),
    };
    return reject_give(run, &reject);
}

void
json_keep_begin(struct json_run *run, const uint8_t *at)
{
    struct decoder *decoder = run->decoder;
    decoder->kept_begin = json_run_offset(run, at);
    decoder->kept_line = decoder->line;
    ps_buf_clear(&decoder->kept);
}

enum ps_status
json_keep(struct json_run *run, const uint8_t *begin, const uint8_t *end)
{
    struct ps_buf *kept = &run->decoder->kept;
    size_t room = kept->len < JSON_RAW_MAX ? JSON_RAW_MAX - kept->len : 0;
    size_t len = (size_t)(end - begin) < room ? (size_t)(end - begin) : room;
    return ps_buf_append(kept, begin, len, run->err);
}

enum ps_status
json_kept_out(struct json_run *run, const uint8_t *at)
{
    struct decoder *decoder = run->decoder;
    const struct decode_reject reject = {
        .offset = decoder->kept_begin,
        .length = json_run_offset(run, at) - decoder->kept_begin,
        .line = decoder->kept_line,
        .code = decoder->code,
        .reason = decoder->reason,
        .raw = ps_buf_span(&decoder->kept),
    };
    return reject_give(run, &reject);
}
