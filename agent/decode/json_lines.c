/* SPDX-License-Identifier: Apache-2.0 */
/* NDJSON: one value a line. A line end is never inside a value, so it is found first and whatever
 * is wrong in a line stays in it. A line of blanks is no record. */
#include "agent/decode/dec_json.h"

static const uint8_t *
line_find(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *hit = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return hit == NULL ? NULL : hit + 1;
}

static const uint8_t *
blanks(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) {
        p++;
    }
    return p;
}

/* Bytes of a line that is too long, or on the way from a cut: up to its end. */
static enum ps_status
long_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    const uint8_t *next = line_find(run->at, run->end);
    bool done = next != NULL || run->eof;
    const uint8_t *to = next != NULL ? next : run->end;
    enum ps_status status = PS_OK;
    if (decoder->phase == JSON_LONG) {
        status = json_keep(run, run->at, to);
        if (status == PS_OK && done) {
            json_reason_long(decoder, json_run_offset(run, to) - decoder->kept_begin);
            status = json_kept_out(run, to);
        }
    }
    if (status != PS_OK) {
        return status;
    }
    if (done) {
        decoder->phase = JSON_BEGIN;
        json_run_boundary(run, to);
    } else {
        json_run_advance(run, to);
        run->waits = true;
    }
    return PS_OK;
}

/* The line [run->at, next). */
static enum ps_status
line_out(struct json_run *run, const uint8_t *next)
{
    struct decoder *decoder = run->decoder;
    struct json_scan *scan = &decoder->walk.scan;
    const struct json_text text = {.end = next - (next[-1] == '\n'), .final = true};
    const uint8_t *begin = blanks(run->at, text.end);
    const uint8_t *end = NULL;
    if (begin == text.end) {
        return PS_OK;
    }
    enum ps_status status = json_walk_run(run, begin, &text, &end);
    if (status != PS_OK) {
        return status;
    }
    if (end != NULL && blanks(end, text.end) != text.end) {
        end = json_fail(scan, JSON_TRAILING, blanks(end, text.end), "the line's end");
    }
    if (end != NULL) {
        return json_record_out(run, run->at, next);
    }
    json_reason_fault(run);
    return json_reject_out(run, run->at, next);
}

enum ps_status
json_lines_step(struct json_run *run)
{
    struct decoder *decoder = run->decoder;
    if (decoder->phase != JSON_BEGIN) {
        return long_step(run);
    }
    const uint8_t *from = run->at + decoder->pending;
    const uint8_t *next = line_find(from, run->end);
    size_t left = (size_t)(run->end - run->at);
    if (next == NULL && !run->eof && left <= decoder->max_record_bytes) {
        decoder->pending = left;
        run->waits = true;
        return PS_OK;
    }
    decoder->pending = 0;
    next = next == NULL && run->eof ? run->end : next;
    if (next == NULL || (uint64_t)(next - run->at) > decoder->max_record_bytes) {
        decoder->phase = JSON_LONG;
        json_keep_begin(run, run->at);
        return PS_OK;
    }
    enum ps_status status = line_out(run, next);
    if (status == PS_OK) {
        decoder->line += decoder->line > 0;
        run->at = next;
        decoder->offset = json_run_offset(run, next);
        decoder->line_begin = decoder->offset;
        decoder->at_boundary = true;
        run->stopped = decoder->offset >= run->stop_at;
    }
    return status;
}
