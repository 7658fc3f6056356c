/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as CSV of any dialect: kernels, windows and resume points must not show in what comes
 * out. The first eight bytes choose the dialect and the windows. */
#include <stdlib.h>

#include "tests/support/decode_log.h"

enum { HEAD = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct csv_dialect
dialect_of(const uint8_t *head)
{
    static const char *const delimiters[] = {",", ";", "\t", "||", "", "ab", ",", ","};
    static const uint8_t quotes[] = {'"', '"', '\'', 0};
    static const char *const comments[] = {"", "", "", "#", "//", "", "", ""};
    struct csv_dialect dialect = csv_dialect_default();
    struct ps_error err;
    if (csv_mark_set(&dialect.delimiter, "delimiter", delimiters[head[0] % 8], &err) != PS_OK ||
        csv_mark_set(&dialect.comment, "comment", comments[head[0] / 8 % 8], &err) != PS_OK) {
        abort();
    }
    dialect.quote = quotes[head[1] % 4];
    dialect.escape = head[1] / 4 % 4 == 0 ? '\\' : 0;
    dialect.trim = head[1] / 16 % 4 == 0;
    dialect.one_line = head[1] / 64 == 1;
    dialect.line_end = (enum csv_line_end)(head[2] % CSV_LINE_ANY);
    dialect.encoding = head[2] / 8 % 2 == 0 ? CSV_UTF8 : (enum csv_encoding)(head[2] / 16 % 5);
    dialect.header = (enum csv_header)(head[3] % 3);
    dialect.ragged = (enum csv_ragged)(head[3] / 4 % 3);
    dialect.skip_lines = head[3] / 16 % 4 == 0 ? head[3] / 64 : 0;
    dialect.max_record_bytes = head[4] % 2 == 0 ? 1 << 20 : (uint64_t)head[4] + 16;
    dialect.max_columns = 50;
    return dialect;
}

static void
same(const struct decode_log_run *run, const uint8_t *data, size_t size, struct ps_buf *wanted)
{
    struct ps_buf found = PS_BUF_INIT;
    decode_log(run, data, size, &found);
    if (found.len != wanted->len ||
        (found.len > 0 && memcmp(found.ptr, wanted->ptr, found.len) != 0)) {
        fprintf(stderr, "found:\n%s\nwanted:\n%s\n", ps_buf_str(&found), ps_buf_str(wanted));
        abort();
    }
    ps_buf_fini(&found);
}

static enum ps_status
pass_record(void *ctx, const struct record *record, struct ps_error *err)
{
    (void)ctx, (void)record, (void)err;
    return PS_OK;
}

/* Where the first record at or after cut begins: entered there, or from `from` on. */
static uint64_t
start_at(const struct decode_log_run *run, struct ps_span token, uint64_t from, uint64_t cut,
         struct ps_span object, bool entered)
{
    const struct decode_sink sink = {.record = pass_record};
    struct decoder *decoder = NULL;
    struct ps_error err;
    size_t consumed = 0;
    bool stopped = false;
    if (csv_open(&run->dialect, token, from, &decoder, &err) != PS_OK) {
        abort();
    }
    if (entered) {
        dec_csv_ops.jump(decoder, cut);
    }
    size_t at = (size_t)dec_csv_ops.offset(decoder);
    if (csv_run(decoder, object.ptr + at, object.len - at, true, cut, &sink, &consumed, &stopped,
                &err) != PS_OK) {
        abort();
    }
    uint64_t start = dec_csv_ops.offset(decoder);
    csv_close(decoder);
    return start;
}

/* A cut is entered exactly where that is said, and a proven start is found again. */
static void
entered(const struct decode_log_run *run, struct ps_span object, uint64_t cut)
{
    const struct decode_sink sink = {.record = pass_record};
    struct decoder *decoder = NULL;
    struct ps_buf token = PS_BUF_INIT;
    struct ps_error err;
    size_t consumed = 0;
    bool stopped = false;
    if (csv_open(&run->dialect, ps_span(NULL, 0), 0, &decoder, &err) != PS_OK) {
        abort();
    }
    bool good = csv_run(decoder, object.ptr, object.len, true, cut / 2, &sink, &consumed, &stopped,
                        &err) == PS_OK;
    enum decode_split split = dec_csv_ops.split(decoder);
    uint64_t anchor = dec_csv_ops.offset(decoder);
    if (good && stopped && split != DECODE_SPLIT_NEVER && anchor > 0 && anchor <= cut &&
        dec_csv_ops.token(decoder, &token, &err) == PS_OK) {
        struct ps_span at = ps_buf_span(&token);
        uint64_t start = start_at(run, at, anchor, cut, object, false);
        uint64_t guess = start_at(run, at, anchor, cut, object, true);
        if ((split == DECODE_SPLIT_EXACT && guess != start) ||
            (start < object.len && start_at(run, at, anchor, start, object, true) != start)) {
            fprintf(stderr, "cut %llu: found %llu, wanted %llu\n", (unsigned long long)cut,
                    (unsigned long long)guess, (unsigned long long)start);
            abort();
        }
    }
    csv_close(decoder);
    ps_buf_fini(&token);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD) {
        return 0;
    }
    struct ps_error err;
    struct decode_log_run run = {.dialect = dialect_of(data), .kernel = KERNEL_NONE};
    if (csv_dialect_check(&run.dialect, &err) != PS_OK) {
        return 0;
    }
    struct ps_buf wanted = PS_BUF_INIT;
    const uint8_t *bytes = data + HEAD;
    decode_log(&run, bytes, size - HEAD, &wanted);
    run.kernel = KERNEL_BEST;
    same(&run, bytes, size - HEAD, &wanted);
    run.kernel = KERNEL_SCALAR;
    run.first = (size_t)data[5] + 1;
    run.step = (size_t)data[6] + 1;
    same(&run, bytes, size - HEAD, &wanted);
    run.kernel = data[7] % 2 == 0 ? KERNEL_BEST : KERNEL_NONE;
    run.stop_step = (uint64_t)data[7] + 1;
    same(&run, bytes, size - HEAD, &wanted);
    ps_buf_fini(&wanted);
    for (uint64_t cut = 1; cut <= size - HEAD; cut += 1 + (size - HEAD) / 16) {
        entered(&run, ps_span(bytes, size - HEAD), cut);
    }
    return 0;
}
