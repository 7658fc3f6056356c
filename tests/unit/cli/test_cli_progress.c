/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "cli/cli_progress.h"
#include "cli/cli_screen.h"
#include "cli/cli_summary.h"
#include "cli/cli_text.h"

static const char pipeline_text[] =
    "{\"name\":\"flights\",\"state\":\"running\",\"discovery_complete\":true,\"totals\":{"
    "\"objects\":\"64\",\"objects_done\":\"34\",\"bytes\":\"2600000000\","
    "\"bytes_done\":\"1200000000\",\"counts\":{\"inserted\":\"12345678\",\"rejected\":\"12\","
    "\"raw_bytes\":\"1300000000\"}}}";
static const char agents_text[] =
    "{\"items\":[{\"name\":\"local\",\"state\":\"online\",\"leaf\":["
    "{\"leaf\":0,\"state\":\"working\",\"phase\":\"load\",\"object\":\"/data/flights-034.csv\"},"
    "{\"leaf\":1,\"state\":\"working\",\"phase\":\"stage\",\"object\":\"/data/\\u001b[2J.csv\","
    "\"note\":\"waits for the writer turn\"},{\"leaf\":2,\"state\":\"idle\"}]}]}";

static size_t
lines_of(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}

Test(cli_progress, meter_and_eta)
{
    struct cli_meter meter = {0};
    cr_expect_eq(cli_meter_eta_ms(&meter, 100), -1);
    for (int i = 0; i <= 200; i++) {
        cli_meter_add(&meter, 1000 + i * 50, (uint64_t)i * 5000, (uint64_t)i * 100);
    }
    cr_expect_float_eq(cli_meter_bytes_per_s(&meter), 100000, 1);
    cr_expect_float_eq(cli_meter_rows_per_s(&meter), 2000, 1);
    cr_expect_eq(cli_meter_eta_ms(&meter, 1000000), 10000);
    /* A stall: after the span there is no rate, and nothing can be promised. */
    for (int i = 0; i <= 200; i++) {
        cli_meter_add(&meter, 11000 + i * 50, 1000000, 20000);
    }
    cr_expect_float_eq(cli_meter_bytes_per_s(&meter), 0, 0.1);
    cr_expect_eq(cli_meter_eta_ms(&meter, 1), -1);
}

Test(cli_progress, fast_samples_keep_the_span)
{
    struct cli_meter meter = {0};
    for (int i = 0; i < 5000; i++) {
        cli_meter_add(&meter, i, (uint64_t)i, 0);
    }
    cr_expect_float_eq(cli_meter_bytes_per_s(&meter), 1000, 1);
    cr_expect_leq(meter.count, CLI_METER_SAMPLES + 1);
}

Test(cli_progress, frame_fits_every_window)
{
    json_t *pipeline = json_loads(pipeline_text, 0, NULL);
    json_t *agents = json_loads(agents_text, 0, NULL);
    struct cli_meter meter = {0};
    for (int i = 0; i < 20; i++) {
        cli_meter_add(&meter, i * 250, (uint64_t)i * 22000000, (uint64_t)i * 78000);
    }
    struct cli_view view = {.pipeline = pipeline,
                            .agents = agents,
                            .figures = cli_figures(pipeline, NULL),
                            .meter = &meter};
    for (view.width = 1; view.width < 200; view.width++) {
        for (view.height = 3; view.height < 10; view.height++) {
            struct ps_buf frame = PS_BUF_INIT;
            cli_progress_frame(&view, &frame);
            cr_expect_lt(lines_of(ps_buf_str(&frame)), view.height);
            for (const char *at = ps_buf_str(&frame); *at != '\0';) {
                size_t len = strcspn(at, "\n");
                cr_expect_leq(cli_text_width(at, len), view.width, "%.*s", (int)len, at);
                cr_expect_null(memchr(at, 0x1b, len));
                at += len + 1;
            }
            ps_buf_fini(&frame);
        }
    }
    view.width = 100;
    view.height = 24;
    struct ps_buf frame = PS_BUF_INIT;
    cli_progress_frame(&view, &frame);
    const char *text = ps_buf_str(&frame);
    cr_expect(strstr(text, "50%") != NULL, "%s", text);
    cr_expect(strstr(text, "1.30 GB of 2.60 GB") != NULL, "%s", text);
    cr_expect(strstr(text, "34 of 64 objects") != NULL, "%s", text);
    cr_expect(strstr(text, "12,345,678 rows") != NULL, "%s", text);
    cr_expect(strstr(text, "312k rows/s") != NULL, "%s", text);
    cr_expect(strstr(text, "ETA ") != NULL, "%s", text);
    cr_expect(strstr(text, "leaf 0  load     flights-034.csv") != NULL, "%s", text);
    cr_expect(strstr(text, "waits for the writer turn") != NULL, "%s", text);
    ps_buf_fini(&frame);
    json_decref(pipeline);
    json_decref(agents);
}

Test(cli_progress, figures_are_of_this_run)
{
    json_t *before = json_loads(pipeline_text, 0, NULL);
    struct cli_figures f = cli_figures(before, before);
    cr_expect_eq(f.loaded, 0);
    cr_expect_eq(f.rejected, 0);
    cr_expect_eq(f.objects_before, 34);
    f = cli_figures(before, NULL);
    cr_expect_eq(f.loaded, 12345678);
    cr_expect_eq(f.rejected, 12);
    json_decref(before);
}

Test(cli_progress, screen_overwrites_and_clears)
{
    struct ps_buf shown = PS_BUF_INIT, frame = PS_BUF_INIT, out = PS_BUF_INIT;
    ps_buf_xprintf(&frame, "one\ntwo\n");
    cli_screen_bytes(&shown, &frame, 80, &out);
    cr_expect_str_eq(ps_buf_str(&out), "one\x1b[K\ntwo\x1b[K\n");
    ps_buf_clear(&out);
    cli_screen_bytes(&frame, &shown, 80, &out);
    cr_expect_str_eq(ps_buf_str(&out), "\x1b[2A\r\x1b[J");
    /* A window of two columns has wrapped both lines. */
    ps_buf_clear(&out);
    cli_screen_bytes(&frame, &shown, 2, &out);
    cr_expect_str_eq(ps_buf_str(&out), "\x1b[4A\r\x1b[J");
    ps_buf_fini(&shown);
    ps_buf_fini(&frame);
    ps_buf_fini(&out);
}

Test(cli_progress, summary)
{
    json_t *pipeline = json_loads(pipeline_text, 0, NULL);
    json_object_set_new(pipeline, "table", json_string("flights"));
    json_object_set_new(pipeline, "slowest_object_b64", json_string("YS5jc3Y="));
    json_object_set_new(pipeline, "slowest_ms", json_string("2300"));
    struct cli_summary summary = {.pipeline = pipeline,
                                  .destination = "sqlite:/x/air.db",
                                  .state = "/x/s",
                                  .ms = 10000,
                                  .exit_code = 3};
    struct ps_buf text = PS_BUF_INIT;
    cli_summary_text(&summary, &text);
    const char *out = ps_buf_str(&text);
    cr_expect(strstr(out, "12,345,678 rows into table flights of sqlite:/x/air.db") != NULL, "%s",
              out);
    cr_expect(strstr(out, "penstock rejects list flights --state /x/s") != NULL, "%s", out);
    cr_expect(strstr(out, "130 MB/s") != NULL, "%s", out);
    cr_expect(strstr(out, "slowest   a.csv, 2.3 s") != NULL, "%s", out);
    json_t *doc = cli_summary_json(&summary);
    cr_expect_str_eq(json_string_value(json_object_get(doc, "rows_loaded")), "12345678");
    cr_expect_eq(json_integer_value(json_object_get(doc, "exit_status")), 3);
    json_decref(doc);
    json_decref(pipeline);
    ps_buf_fini(&text);
}
