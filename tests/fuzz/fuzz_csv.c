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
    return 0;
}
