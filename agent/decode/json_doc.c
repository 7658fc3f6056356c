/* SPDX-License-Identifier: Apache-2.0 */
/* Documents: an array of records, an object that is one, or the array that format.items names
 * inside; any number of documents behind each other. Boundaries are between documents and around
 * items; on the way to the items and behind them brackets and strings are minded, nothing else. */
#include "agent/decode/dec_json.h"

/* A phase that passes over bytes by their brackets. */
static void
skip_begin(struct decoder *decoder, enum json_phase phase)
{
    decoder->phase = phase;
    decoder->skip = (struct json_skip){0};
}

/* Nobody can say what the bytes from `from` on mean: they are one reject, for decoder->reason. */
static enum ps_status
rest_begin(struct json_run *run, const uint8_t *from)
{
    json_keep_begin(run, from);
    run->decoder->phase = JSON_REST;
    run->decoder->is_skipping = false;
    return PS_OK;
}

/* Something else than expected stands at run->at, or the object ends there. */
static enum ps_status
rest_unexpected(struct json_run *run, const char *expected)
{
    struct json_scan *scan = &run->decoder->walk.scan;
    scan->end = run->end;
    run->decoder->walk.at = NULL;
    (void)json_fail_at(scan, run->at, expected);
    json_reason_fault(run);
    return rest_begin(run, run->at);
}

static enum ps_status
rest_step(struct json_run *run)
{
    enum ps_status status = json_keep(run, run->at, run->end);
    json_run_advance(run, run->end);
    run->waits = true;
    return status;
}

/* ---- Records. */

/* Behind a record: an item, or a document. */
static void
record_done(struct json_run *run, const uint8_t *end)
{
    struct decoder *decoder = run->decoder;
    decoder->is_skipping = false;
    if (decoder->phase == JSON_FIRST || decoder->phase == JSON_NEXT) {
        decoder->phase = JSON_AFTER;
        json_run_boundary(run, end);
    } else if (decoder->level > 0) {
        skip_begin(decoder, JSON_UP);
        json_run_advance(run, end);
    } else {
        decoder->phase = JSON_BEGIN;
        json_run_boundary(run, end);
    }
}

static void
long_begin(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    decoder->after = decoder->phase;
    decoder->is_skipping = false;
    skip_begin(decoder, JSON_LONG);
    json_keep_begin(run, run->at);
}

static enum ps_status
long_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    const uint8_t *at = run->at;
    bool done = json_skip_run(&decoder->skip, run->at, run->end, &at);
    enum ps_status status = json_keep(run, run->at, at);
    if (status != PS_OK) {
        return status;
    }
    uint64_t length = json_run_offset(run, at) - decoder->kept_begin;
    if (!done) {
        json_run_advance(run, at);
        run->waits = true;
        return PS_OK;
    }
    if (decoder->skip.broken) {
        json_reason(decoder, "too_long",
                    "the record has more than %llu bytes (limits.max_record_bytes), and at byte "
                    "%llu a bracket or quote is missing",
                    (unsigned long long)decoder->max_record_bytes,
                    (unsigned long long)json_run_offset(run, at));
        decoder->phase = JSON_REST;
        json_run_advance(run, at);
        return PS_OK;
    }
    decoder->phase = decoder->after;
    json_reason_long(decoder, length);
    status = json_kept_out(run, at);
    if (status == PS_OK) {
        record_done(run, at);
    }
    return status;
}

/* A fault inside the record that left its brackets sound: the record alone is a reject. */
static enum ps_status
record_reject(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    struct json_skip skip = {0};
    const uint8_t *end = run->at;
    bool done = json_skip_run(&skip, run->at, run->end, &end);
    if (!done && run->eof && skip.scalar && skip.depth == 0) {
        done = true; /* a word at the object's end */
    }
    uint64_t length = (uint64_t)(end - run->at);
    if (length > decoder->max_record_bytes) {
        long_begin(run);
        return PS_OK;
    }
    if (!done && !run->eof) {
        decoder->skip = skip;
        decoder->pending = (size_t)length;
        decoder->is_skipping = true;
        run->waits = true;
        return PS_OK;
    }
    json_reason_fault(run);
    if (!done || skip.broken) {
        return rest_begin(run, run->at);
    }
    enum ps_status status = json_reject_out(run, run->at, end);
    if (status == PS_OK) {
        record_done(run, end);
    }
    return status;
}

/* Whether the record at run->at is worth another look: its end is in the window, or something that
 * will never be one. Only then it is walked again. */
static bool
record_ripe(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    size_t left = (size_t)(run->end - run->at);
    const uint8_t *at = run->at + decoder->pending;
    bool done = json_skip_run(&decoder->skip, at, run->end, &at);
    decoder->pending = (size_t)(at - run->at);
    return done || run->eof || left > decoder->max_record_bytes;
}

/* The record at run->at, which is no blank. */
static enum ps_status
record_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    struct json_scan *scan = &decoder->walk.scan;
    uint64_t left = (uint64_t)(run->end - run->at);
    bool whole = left <= decoder->max_record_bytes;
    const struct json_text text = {
        .end = whole ? run->end : run->at + decoder->max_record_bytes,
        .final = whole && run->eof,
    };
    const uint8_t *end = NULL;
    if (decoder->is_skipping && !record_ripe(run)) {
        run->waits = true;
        return PS_OK;
    }
    enum ps_status status = json_walk_run(run, run->at, &text, &end);
    if (status != PS_OK) {
        return status;
    }
    if (end != NULL) {
        status = json_record_out(run, run->at, end);
        if (status == PS_OK) {
            record_done(run, end);
        }
        return status;
    }
    if (scan->fault == JSON_END && !whole) {
        long_begin(run);
        return PS_OK;
    }
    if (scan->fault == JSON_END && !run->eof) {
        if (!decoder->is_skipping) {
            decoder->skip = (struct json_skip){0};
            decoder->pending = 0;
            decoder->is_skipping = true;
            (void)record_ripe(run);
        }
        run->waits = true;
        return PS_OK;
    }
    if (json_fault_is_local(scan->fault)) {
        return record_reject(run);
    }
    json_reason_fault(run);
    return rest_begin(run, run->at);
}

/* ---- Between items. */

static enum ps_status
items_end(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    skip_begin(decoder, decoder->level > 0 ? JSON_UP : JSON_BEGIN);
    if (decoder->level > 0) {
        json_run_advance(run, run->at + 1);
    } else {
        json_run_boundary(run, run->at + 1);
    }
    return PS_OK;
}

static enum ps_status
item_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    uint8_t byte = *run->at;
    if (decoder->phase == JSON_AFTER) {
        if (byte == ',') {
            decoder->phase = JSON_NEXT;
            json_run_boundary(run, run->at + 1);
            return PS_OK;
        }
        return byte == ']' ? items_end(run) : rest_unexpected(run, "a comma or ]");
    }
    if (byte == ']' && decoder->phase == JSON_FIRST) {
        return items_end(run);
    }
    if (byte == ']') {
        json_reason(decoder, "bad_json",
                    "byte %llu: found ']' behind a comma; expected one more record",
                    (unsigned long long)decoder->offset);
        enum ps_status status = json_reject_out(run, run->at, run->at + 1);
        return status == PS_OK ? items_end(run) : status;
    }
    return record_step(run);
}

/* ---- The way to the items. All of a document before its items is kept, for the reject that says
 * that there are none. */

static enum ps_status
way_advance(struct json_run *run, const uint8_t *to)
{
    enum ps_status status = PS_OK;
    if (!run->decoder->found) {
        status = json_keep(run, run->at, to);
    }
    json_run_advance(run, to);
    return status;
}

static enum ps_status
blanks_pass(struct json_run *run)
{
    enum json_phase phase = run->decoder->phase;
    const uint8_t *p = run->at;
    while (p < run->end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) {
        p++;
    }
    if (phase == JSON_SEEK || phase == JSON_MEMBER || phase == JSON_COMMA) {
        return way_advance(run, p);
    }
    json_run_advance(run, p);
    return PS_OK;
}

static enum ps_status
document_end(struct json_run *run, const uint8_t *end)
{
    struct decoder *decoder = run->decoder;
    enum ps_status status = PS_OK;
    if (!decoder->found) {
        json_reason(decoder, "no_items",
                    "the document has no value at format.items; expected an array there");
        status = json_kept_out(run, end);
    }
    decoder->phase = JSON_BEGIN;
    decoder->level = 0;
    json_run_boundary(run, end);
    return status;
}

/* Passes over the value at run->at, or what is left of the open brackets. */
static enum ps_status
pass_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    const uint8_t *at = run->at;
    if (decoder->phase == JSON_UP && !decoder->skip.begun) {
        for (uint32_t i = 0; i < decoder->level; i++) {
            json_skip_open(&decoder->skip, decoder->items.steps[i].is_index);
        }
    }
    bool done = json_skip_run(&decoder->skip, run->at, run->end, &at);
    enum ps_status status = way_advance(run, at);
    if (status != PS_OK || !done) {
        run->waits = true;
        return status;
    }
    if (decoder->skip.broken) {
        json_reason(decoder, "bad_json",
                    "byte %llu: found a bracket that closes nothing, or a control character in a "
                    "text; expected the rest of the document",
                    (unsigned long long)decoder->offset);
        return rest_begin(run, run->at);
    }
    if (decoder->phase == JSON_UP || decoder->level == 0) {
        return document_end(run, run->at);
    }
    decoder->phase = JSON_COMMA;
    return PS_OK;
}

/* The value that the way goes through has no such member or item: past it and what is around. */
static enum ps_status
way_ends(struct json_run *run)
{
    skip_begin(run->decoder, run->decoder->level == 0 ? JSON_PASS : JSON_UP);
    return PS_OK;
}

static enum ps_status
seek_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    uint8_t byte = *run->at;
    if (decoder->level == decoder->items.count) {
        decoder->found = true;
        decoder->skip = (struct json_skip){0};
        decoder->phase = byte == '[' ? JSON_FIRST : JSON_ONE;
        if (byte == '[') {
            json_run_boundary(run, run->at + 1);
        }
        return PS_OK;
    }
    const struct spec_path_step *step = &decoder->items.steps[decoder->level];
    if (byte != (step->is_index ? '[' : '{')) {
        return way_ends(run);
    }
    decoder->level++;
    decoder->index = 0;
    decoder->phase = JSON_MEMBER;
    return way_advance(run, run->at + 1);
}

/* At an item of an array on the way. */
static enum ps_status
index_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    if (*run->at == ']') {
        skip_begin(decoder, JSON_UP);
        return PS_OK;
    }
    if (decoder->index == decoder->items.steps[decoder->level - 1].index) {
        decoder->phase = JSON_SEEK;
        return PS_OK;
    }
    decoder->index++;
    skip_begin(decoder, JSON_PASS);
    return PS_OK;
}

/* At a name of an object on the way, or its end. */
static enum ps_status
member_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    struct json_scan *scan = &decoder->walk.scan;
    const struct spec_path_step *step = &decoder->items.steps[decoder->level - 1];
    struct ps_span name;
    if (step->is_index) {
        return index_step(run);
    }
    if (*run->at == '}') {
        skip_begin(decoder, JSON_UP);
        return PS_OK;
    }
    if (*run->at != '"') {
        return rest_unexpected(run, "a name in quotes");
    }
    uint64_t left = (uint64_t)(run->end - run->at);
    bool whole = left <= decoder->max_record_bytes;
    scan->limit = run->end;
    scan->end = whole ? run->end : run->at + decoder->max_record_bytes;
    scan->final = whole && run->eof;
    if (!json_walk_scratch(&decoder->walk, (size_t)(scan->end - run->at))) {
        return ps_fail(run->err, PS_FULL, "json: no memory for a name");
    }
    const uint8_t *end = json_string_rest(scan, run->at + 1, run->at + 1, &name);
    while (end != NULL && end < scan->end && strchr(" \t\r\n", *end) != NULL && *end != 0) {
        end++;
    }
    bool cut = end == NULL ? scan->fault == JSON_END : end == scan->end;
    if (cut && !whole) {
        json_reason(decoder, "too_long",
                    "byte %llu: a name on the way to format.items is longer than "
                    "limits.max_record_bytes",
                    (unsigned long long)decoder->offset);
        return rest_begin(run, run->at);
    }
    if (cut && !run->eof) {
        run->waits = true;
        return PS_OK;
    }
    if (end == NULL || cut || *end != ':') {
        if (end != NULL) {
            (void)json_fail_at(scan, end, "a colon");
        }
        json_reason_fault(run);
        return rest_begin(run, run->at);
    }
    skip_begin(decoder, ps_span_eq(name, step->name) ? JSON_SEEK : JSON_PASS);
    return way_advance(run, end + 1);
}

static enum ps_status
comma_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    bool array = decoder->items.steps[decoder->level - 1].is_index;
    if (*run->at == ',') {
        decoder->phase = JSON_MEMBER;
        return way_advance(run, run->at + 1);
    }
    if (*run->at == (array ? ']' : '}')) {
        skip_begin(decoder, JSON_UP);
        return PS_OK;
    }
    return rest_unexpected(run, array ? "a comma or ]" : "a comma or }");
}

enum ps_status
json_doc_eof(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    enum json_phase phase = decoder->phase;
    if (phase == JSON_PASS && decoder->level == 0 && decoder->skip.scalar) {
        return document_end(run, run->at);
    }
    decoder->phase = JSON_BEGIN;
    if (phase == JSON_REST) {
        return json_kept_out(run, run->at);
    }
    if (phase == JSON_LONG) {
        json_reason_long(decoder, decoder->offset - decoder->kept_begin);
        return json_kept_out(run, run->at);
    }
    json_reason(decoder, "bad_json",
                "byte %llu: found the object's end; expected the rest of the document",
                (unsigned long long)decoder->offset);
    return decoder->found ? json_reject_out(run, run->at, run->at) : json_kept_out(run, run->at);
}

static enum ps_status
begin_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    decoder->level = 0;
    decoder->found = false;
    decoder->phase = JSON_SEEK;
    json_keep_begin(run, run->at);
    if (strchr("{[\"-0123456789tfn", *run->at) == NULL || *run->at == 0) {
        decoder->phase = JSON_BEGIN;
        return rest_unexpected(run, "a document ({ or [)");
    }
    return PS_OK;
}

enum ps_status
json_doc_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    if (decoder->phase == JSON_REST) {
        return rest_step(run);
    }
    if (decoder->phase == JSON_LONG) {
        return long_step(run);
    }
    if (decoder->phase == JSON_PASS || decoder->phase == JSON_UP) {
        return pass_step(run);
    }
    if (!decoder->is_skipping) {
        enum ps_status status = blanks_pass(run);
        if (status != PS_OK || run->at == run->end) {
            return status;
        }
    }
    switch (decoder->phase) {
    case JSON_BEGIN:
        return begin_step(run);
    case JSON_SEEK:
        return seek_step(run);
    case JSON_MEMBER:
        return member_step(run);
    case JSON_COMMA:
        return comma_step(run);
    case JSON_ONE:
        return record_step(run);
    case JSON_FIRST:
    case JSON_NEXT:
    case JSON_AFTER:
        return item_step(run);
    case JSON_PASS:
    case JSON_UP:
    case JSON_LONG:
    case JSON_REST:
    case JSON_JUMP:
        break;
    }
    return PS_OK;
}
