/* SPDX-License-Identifier: Apache-2.0 */
/* How the bytes are cut, which machine reads them and where decoding was resumed never shows. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "tests/support/decode_log.h"
#include "tests/support/json_samples.h"

static void
same(const struct decode_log_run *run, struct ps_span bytes, struct ps_buf *wanted)
{
    struct ps_buf found = PS_BUF_INIT;
    decode_log(run, bytes.ptr, bytes.len, &found);
    cr_assert_str_eq(ps_buf_str(&found), ps_buf_str(wanted),
                     "%s\nfirst %zu, step %zu, stop %llu, jump %llu, portable %d:\n%s\nwanted:\n%s",
                     (const char *)bytes.ptr, run->first, run->step,
                     (unsigned long long)run->stop_step, (unsigned long long)run->jump,
                     run->walker == json_walk_any, ps_buf_str(&found), ps_buf_str(wanted));
    ps_buf_fini(&found);
}

static void
all_cuts(const struct spec *spec, json_walk_fn walker, struct ps_span bytes, struct ps_buf *wanted)
{
    struct decode_log_run run = {.spec = spec, .walker = walker};
    same(&run, bytes, wanted);
    for (run.first = 1; run.first <= bytes.len; run.first++) {
        same(&run, bytes, wanted);
    }
    run.first = 1;
    for (run.step = 1; run.step < 9; run.step++) {
        same(&run, bytes, wanted);
    }
    run.first = run.step = 0;
    for (run.stop_step = 1; run.stop_step < 20; run.stop_step++) {
        same(&run, bytes, wanted);
    }
    run.first = run.step = 3;
    run.stop_step = 1;
    same(&run, bytes, wanted);
}

/* Two decoders, the second entering at a cut, tell what one does. */
static void
all_jumps(const struct spec *spec, struct ps_span bytes)
{
    struct ps_buf wanted = PS_BUF_INIT;
    struct decode_log_run run = {.spec = spec, .jump = UINT64_MAX};
    decode_log(&run, bytes.ptr, bytes.len, &wanted);
    for (run.jump = 1; run.jump <= bytes.len; run.jump++) {
        run.first = run.step = 0;
        same(&run, bytes, &wanted);
        run.first = run.step = 1;
        same(&run, bytes, &wanted);
    }
    ps_buf_fini(&wanted);
}

Test(json_cuts, nothing_shows, .timeout = 250)
{
    for (size_t s = 0; s < JSON_SAMPLE_SPECS; s++) {
        struct spec *spec = json_sample_spec(json_sample_specs[s]);
        cr_assert_not_null(spec);
        for (size_t i = 0; i < JSON_SAMPLES; i++) {
            struct ps_span bytes = ps_span_str(json_samples[i]);
            struct decode_log_run run = {.spec = spec, .walker = json_walk_any};
            struct ps_buf wanted = PS_BUF_INIT;
            decode_log(&run, bytes.ptr, bytes.len, &wanted);
            all_cuts(spec, json_walk_any, bytes, &wanted);
            if (json_v3_runs()) {
                all_cuts(spec, json_walk_v3, bytes, &wanted);
            }
            if (spec_is(spec, "format.type", "ndjson")) {
                all_jumps(spec, bytes);
            }
            ps_buf_fini(&wanted);
        }
        spec_unref(spec);
    }
}

Test(json_cuts, samples_to_infer_from, .timeout = 250)
{
    for (size_t s = 0; s < JSON_SAMPLE_SPECS; s++) {
        for (size_t i = 0; i < JSON_SAMPLES; i++) {
            struct ps_span bytes = ps_span_str(json_samples[i]);
            for (size_t len = 0; len <= bytes.len; len++) {
                json_sample_infer(json_sample_specs[s], ps_span(bytes.ptr, len), len % 2 == 0);
            }
        }
    }
}

/* Pseudo-random texts, most of them broken, over many windows. */
Test(json_cuts, long_inputs, .timeout = 250)
{
    static const char *const parts[] = {"{\"a\":",
                                        "1",
                                        "}",
                                        ",",
                                        "[",
                                        "]",
                                        "\n",
                                        "\"x\"",
                                        "\"",
                                        "\\u00e9",
                                        "\xC3\xA9",
                                        " ",
                                        "{\"b\":{\"c\":2}}",
                                        "}\n{",
                                        "null",
                                        "{\"a\":\"twenty bytes or more\"},",
                                        ":",
                                        "\"a\""};
    enum { LEN = 20000, PARTS = sizeof parts / sizeof *parts };
    uint8_t *bytes = calloc(1, LEN + 64);
    uint32_t seed = 7;
    for (unsigned round = 0; round < 40; round++) {
        size_t len = 0;
        while (len < LEN) {
            seed = seed * 1664525 + 1013904223;
            const char *part = round % 2 == 0 && seed % 8 < 5 ? "{\"a\":1,\"b\":{\"c\":[]}}\n"
                                                              : parts[(seed >> 12) % PARTS];
            memcpy(bytes + len, part, strlen(part));
            len += strlen(part);
        }
        struct spec *spec = json_sample_spec(json_sample_specs[round % JSON_SAMPLE_SPECS]);
        struct ps_span all = ps_span(bytes, LEN);
        struct decode_log_run run = {.spec = spec, .walker = json_walk_any};
        struct ps_buf wanted = PS_BUF_INIT;
        decode_log(&run, bytes, LEN, &wanted);
        run.walker = NULL;
        same(&run, all, &wanted);
        run.first = 1000 + round;
        run.step = 37;
        same(&run, all, &wanted);
        run.stop_step = 777;
        same(&run, all, &wanted);
        ps_buf_fini(&wanted);
        spec_unref(spec);
    }
    free(bytes);
}
