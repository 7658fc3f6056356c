/* SPDX-License-Identifier: Apache-2.0 */
/* How the bytes are cut, which kernel reads them and where decoding was resumed never shows. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "tests/support/csv_samples.h"
#include "tests/support/decode_log.h"

static void
same(const struct decode_log_run *run, const uint8_t *bytes, size_t len, struct ps_buf *wanted,
     const char *what)
{
    struct ps_buf found = PS_BUF_INIT;
    decode_log(run, bytes, len, &found);
    cr_assert_str_eq(ps_buf_str(&found), ps_buf_str(wanted),
                     "%s: first %zu, step %zu, stop %llu, kernel %d:\n%s\nwanted:\n%s", what,
                     run->first, run->step, (unsigned long long)run->stop_step, run->kernel,
                     ps_buf_str(&found), ps_buf_str(wanted));
    ps_buf_fini(&found);
}

static void
all_cuts(const struct csv_dialect *dialect, const uint8_t *bytes, size_t len, const char *what)
{
    struct ps_buf wanted = PS_BUF_INIT;
    struct decode_log_run run = {.dialect = *dialect, .kernel = KERNEL_NONE};
    decode_log(&run, bytes, len, &wanted);
    for (int kernel = KERNEL_BEST; kernel <= KERNEL_NONE; kernel++) {
        run = (struct decode_log_run){.dialect = *dialect, .kernel = (enum decode_kernel)kernel};
        same(&run, bytes, len, &wanted, what);
        for (size_t cut = 1; cut <= len; cut++) {
            run.first = cut;
            run.step = 0;
            same(&run, bytes, len, &wanted, what);
        }
        run.first = 1;
        for (run.step = 1; run.step < 9; run.step++) {
            same(&run, bytes, len, &wanted, what);
        }
        run.first = 0;
        run.step = 0;
        for (run.stop_step = 1; run.stop_step < 20; run.stop_step++) {
            same(&run, bytes, len, &wanted, what);
        }
        run.first = run.step = 3;
        run.stop_step = 1;
        same(&run, bytes, len, &wanted, what);
    }
    ps_buf_fini(&wanted);
}

Test(csv_cuts, nothing_shows, .timeout = 250)
{
    for (size_t d = 0; d < sizeof csv_sample_dialects / sizeof *csv_sample_dialects; d++) {
        for (size_t i = 0; i < CSV_SAMPLES; i++) {
            all_cuts(&csv_sample_dialects[d].dialect, (const uint8_t *)csv_samples[i],
                     csv_sample_len(csv_samples[i]), csv_sample_dialects[d].name);
        }
    }
}

Test(csv_cuts, nothing_shows_in_utf16, .timeout = 250)
{
    struct csv_dialect dialect = csv_dialect_default();
    for (size_t i = 0; i < CSV_SAMPLES; i++) {
        uint8_t wide[1024] = {0xFE, 0xFF};
        size_t len = csv_sample_len(csv_samples[i]);
        for (size_t k = 0; k < len; k++) {
            wide[2 + k * 2] = csv_samples[i][k] == 'x' ? 0x20 : csv_samples[i][k] == 'z' ? 0xD8 : 0;
            wide[3 + k * 2] = (uint8_t)csv_samples[i][k];
        }
        dialect.encoding = CSV_UTF16;
        all_cuts(&dialect, wide, len * 2 + 2, "utf-16");
        all_cuts(&dialect, wide, len * 2 + 1, "utf-16, odd");
        dialect.encoding = CSV_UTF16BE;
        dialect.max_record_bytes = 50;
        all_cuts(&dialect, wide + 2, len * 2, "utf-16be");
    }
}

/* Pseudo-random rows over more than one chunk of the index, with every kernel and odd windows. */
Test(csv_cuts, long_inputs, .timeout = 250)
{
    static const char alphabet[] = "abc,,,\"\"\"\n\n\r\xC3\xA9# '5\\";
    enum { LEN = 60000 };
    uint8_t *bytes = calloc(1, LEN);
    uint32_t seed = 7;
    for (unsigned round = 0; round < 12; round++) {
        unsigned kinds = round % 4 == 0 ? 6 : round % 4 == 1 ? 10 : sizeof alphabet - 1;
        for (size_t i = 0; i < LEN; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = (uint8_t)alphabet[(seed >> 12) % kinds];
            bytes[i] = i % 97 == 0 ? '\n' : bytes[i];
        }
        struct csv_dialect dialect = csv_dialect_default();
        dialect.ragged = round % 2 == 0 ? CSV_RAGGED_CUT : CSV_RAGGED_REJECT;
        dialect.max_record_bytes = round % 3 == 0 ? 300 : 100000;
        dialect.header = CSV_HEADER_FALSE;
        struct ps_buf wanted = PS_BUF_INIT;
        struct decode_log_run run = {.dialect = dialect, .kernel = KERNEL_NONE};
        decode_log(&run, bytes, LEN, &wanted);
        run.kernel = KERNEL_BEST;
        same(&run, bytes, LEN, &wanted, "long");
        run.kernel = KERNEL_SCALAR;
        same(&run, bytes, LEN, &wanted, "long");
        run.kernel = KERNEL_BEST;
        run.first = 1000 + round;
        run.step = 4093;
        same(&run, bytes, LEN, &wanted, "long");
        run.stop_step = 777;
        same(&run, bytes, LEN, &wanted, "long");
        ps_buf_fini(&wanted);
    }
    free(bytes);
}
