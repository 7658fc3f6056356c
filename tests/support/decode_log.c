/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/decode_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct log {
    struct ps_buf *out;
    const uint8_t *bytes;
    size_t len;
    bool resumed; /* the header was told before */
    bool no_lines;
};

static void
text_add(struct ps_buf *out, const uint8_t *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] >= ' ' && ptr[i] != '|' && ptr[i] != '\\') {
            ps_buf_xappend(out, ptr + i, 1);
        } else {
            ps_buf_xprintf(out, "\\%02x", ptr[i]);
        }
    }
}

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct log *log = ctx;
    (void)err;
    if (log->resumed) {
        return PS_OK;
    }
    log->resumed = true;
    ps_buf_xprintf(log->out, "H");
    for (uint32_t i = 0; i < count; i++) {
        ps_buf_xappend(log->out, "|", 1);
        text_add(log->out, names[i].ptr, names[i].len);
    }
    ps_buf_xprintf(log->out, "\n");
    return PS_OK;
}

static void
raw_check(const struct log *log, uint64_t offset, uint64_t length, struct ps_span raw)
{
    uint64_t wanted = length < CSV_RAW_MAX ? length : CSV_RAW_MAX;
    if (offset + length > log->len || raw.len < wanted ||
        memcmp(raw.ptr, log->bytes + offset, (size_t)wanted) != 0) {
        fprintf(stderr, "raw bytes of %" PRIu64 "+%" PRIu64 " are not the object's\n", offset,
                length);
        abort();
    }
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct log *log = ctx;
    (void)err;
    raw_check(log, record->offset, record->length, record->raw);
    ps_buf_xprintf(log->out, "R %" PRIu64 " %" PRIu64 " %" PRIu64, record->offset, record->length,
                   log->no_lines ? 0 : record->line);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        if (csv_text_check(field->ptr, field->len) != field->len || field->escaped) {
            fprintf(stderr, "a field is no text\n");
            abort();
        }
        ps_buf_xprintf(log->out, "|%s",
                       field->ptr == NULL           ? "-"
                       : field->kind == FIELD_OTHER ? "o"
                       : field->quoted              ? "q"
                                                    : "u");
        text_add(log->out, field->ptr, field->len);
    }
    ps_buf_xprintf(log->out, "\n");
    return PS_OK;
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    struct log *log = ctx;
    (void)err;
    raw_check(log, reject->offset, reject->length, reject->raw);
    ps_buf_xprintf(log->out, "X %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %s %s\n", reject->offset,
                   reject->length, log->no_lines ? 0 : reject->line, reject->code,
                   reject->column == NULL ? "-" : reject->column,
                   log->no_lines ? "" : reject->reason);
    return PS_OK;
}

static enum ps_status
life_open(const struct decode_log_run *run, struct ps_span token, uint64_t start,
          const struct decode_ops **out_ops, struct decoder **out, struct ps_error *err)
{
    *out_ops =
        run->spec == NULL ? &dec_csv_ops : decode_find(spec_str(run->spec, "format.type"), err);
    enum ps_status status = run->spec == NULL ? csv_open(&run->dialect, token, start, out, err)
                                              : (*out_ops)->open(run->spec, token, start, out, err);
    if (status == PS_OK && run->spec == NULL && run->kernel != KERNEL_BEST) {
        csv_kernel_force(*out, run->kernel == KERNEL_SCALAR ? csv_index_scalar : NULL);
    }
    if (status == PS_OK && run->spec != NULL && run->walker != NULL) {
        json_walker_force(*out, run->walker);
    }
    return status;
}

/* One decoder's life, from start until it stops or the bytes end; returns where. */
static uint64_t
one_life(const struct decode_log_run *run, struct log *log, struct ps_buf *token, uint64_t start,
         bool *out_done)
{
    const struct decode_sink sink = {
        .ctx = log, .header = on_header, .record = on_record, .reject = on_reject};
    const struct decode_ops *ops = NULL;
    struct decoder *decoder = NULL;
    struct ps_error err = {0};
    bool jumps = run->jump != 0 && start != 0;
    enum ps_status status =
        life_open(run, ps_buf_span(token), jumps ? 0 : start, &ops, &decoder, &err);
    if (status == PS_OK && jumps) {
        ops->jump(decoder, run->jump);
        start = run->jump - 1;
    }
    uint64_t stop_at = run->stop_step == 0 ? UINT64_MAX : start + run->stop_step;
    stop_at = run->jump != 0 && !jumps ? run->jump : stop_at;
    size_t at = (size_t)start;
    size_t shown = run->first == 0 ? log->len : at + run->first;
    bool stopped = false;
    bool final = false;
    while (status == PS_OK && !stopped && !final) {
        shown = shown < log->len ? shown : log->len;
        final = shown == log->len;
        uint8_t *window = malloc(shown - at == 0 ? 1 : shown - at);
        memcpy(window, log->bytes + at, shown - at);
        size_t consumed = 0;
        status =
            ops->run(decoder, window, shown - at, final, stop_at, &sink, &consumed, &stopped, &err);
        at += consumed;
        free(window);
        if (at != (size_t)ops->offset(decoder)) {
            abort();
        }
        shown += run->step == 0 ? log->len : run->step;
    }
    if (status != PS_OK) {
        ps_buf_xprintf(log->out, "E %s %s %s\n", ps_status_name(status), err.code, err.text);
    } else if (!stopped && at != log->len) {
        ps_buf_xprintf(log->out, "E left over at %zu of %zu\n", at, log->len);
    }
    if (stopped && run->jump == 0 && ops->token(decoder, token, &err) != PS_OK) {
        abort();
    }
    *out_done = status != PS_OK || !stopped;
    ops->close(decoder);
    return at;
}

void
decode_log(const struct decode_log_run *run, const uint8_t *bytes, size_t len, struct ps_buf *out)
{
    struct log log = {.out = out, .bytes = bytes, .len = len, .no_lines = run->jump != 0};
    struct ps_buf token = PS_BUF_INIT;
    bool done = false;
    uint64_t at = 0;
    while (!done) {
        at = one_life(run, &log, &token, at, &done);
    }
    ps_buf_fini(&token);
}
