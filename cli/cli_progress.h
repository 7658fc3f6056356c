/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_progress.h: how far a pipeline is, as text. Pure: no clock, no terminal.
 * In: what the coordinator says at a moment.  Out: lines no wider than the window. */
#ifndef CLI_CLI_PROGRESS_H
#define CLI_CLI_PROGRESS_H

#include <jansson.h>

#include "common/buf.h"

/* What was done at a moment; the rates come from the last few seconds of these. */
enum { CLI_METER_SAMPLES = 64, CLI_METER_SPAN_MS = 5000 };
struct cli_meter {
    struct {
        int64_t at_ms;
        uint64_t bytes;
        uint64_t rows;
    } samples[CLI_METER_SAMPLES];
    size_t count; /* all ever added; the newest is (count - 1) % CLI_METER_SAMPLES */
};
void cli_meter_add(struct cli_meter *meter, int64_t at_ms, uint64_t bytes, uint64_t rows);
double cli_meter_bytes_per_s(const struct cli_meter *meter);
double cli_meter_rows_per_s(const struct cli_meter *meter);
/* Milliseconds until bytes_left are done, -1 when that cannot be said. */
int64_t cli_meter_eta_ms(const struct cli_meter *meter, uint64_t bytes_left);

/* Figures of one run: those of the pipeline less those it began with. */
struct cli_figures {
    uint64_t objects, objects_done, objects_quarantined;
    uint64_t objects_before; /* done before this run */
    uint64_t bytes, bytes_done;
    uint64_t loaded; /* inserted + updated */
    uint64_t inserted, updated, skipped, rejected, filtered;
    uint64_t read_bytes, unwrapped_bytes;
    uint64_t retries;
};
/* baseline: the pipeline's document when the run began, or NULL. */
struct cli_figures cli_figures(const json_t *pipeline, const json_t *baseline);

struct cli_view {
    const json_t *pipeline; /* borrowed, as is agents; NULL = not known yet */
    const json_t *agents;   /* the list of /v1/agents */
    struct cli_figures figures;
    const struct cli_meter *meter;
    size_t width, height; /* of the window */
    bool color;
    bool interrupted; /* an end was asked for */
};

/* The live view: lines ended by \n, at most height - 1 of them. */
void cli_progress_frame(const struct cli_view *view, struct ps_buf *out);
/* One line for logs, with its line end. */
void cli_progress_line(const struct cli_view *view, struct ps_buf *out);

#endif
