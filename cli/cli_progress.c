/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_progress.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli_json.h"
#include "cli/cli_text.h"
#include "common/human.h"

void
cli_meter_add(struct cli_meter *meter, int64_t at_ms, uint64_t bytes, uint64_t rows)
{
    enum { LEAST_GAP_MS = CLI_METER_SPAN_MS / (CLI_METER_SAMPLES - 1) + 1 };
    size_t last = (meter->count + CLI_METER_SAMPLES - 1) % CLI_METER_SAMPLES;
    size_t before = (meter->count + CLI_METER_SAMPLES - 2) % CLI_METER_SAMPLES;
    /* Samples that come fast replace the newest, so that the ring spans the whole time. */
    bool replace = meter->count >= 2 && at_ms - meter->samples[before].at_ms < LEAST_GAP_MS;
    size_t slot = replace ? last : meter->count++ % CLI_METER_SAMPLES;
    meter->samples[slot].at_ms = at_ms;
    meter->samples[slot].bytes = bytes;
    meter->samples[slot].rows = rows;
}

/* Indexes of the newest sample and of the oldest within the span; false with fewer than two. */
static bool
meter_ends(const struct cli_meter *meter, size_t *out_old, size_t *out_new)
{
    if (meter->count < 2) {
        return false;
    }
    size_t newest = (meter->count - 1) % CLI_METER_SAMPLES;
    size_t held = meter->count < CLI_METER_SAMPLES ? meter->count : CLI_METER_SAMPLES;
    size_t oldest = newest;
    for (size_t back = 1; back < held; back++) {
        size_t at = (meter->count - 1 - back) % CLI_METER_SAMPLES;
        if (meter->samples[newest].at_ms - meter->samples[at].at_ms > CLI_METER_SPAN_MS &&
            back > 1) {
            break;
        }
        oldest = at;
    }
    *out_old = oldest;
    *out_new = newest;
    return meter->samples[newest].at_ms > meter->samples[oldest].at_ms;
}

double
cli_meter_bytes_per_s(const struct cli_meter *meter)
{
    size_t a, b;
    if (!meter_ends(meter, &a, &b) || meter->samples[b].bytes < meter->samples[a].bytes) {
        return 0;
    }
    return (double)(meter->samples[b].bytes - meter->samples[a].bytes) * 1000 /
           (double)(meter->samples[b].at_ms - meter->samples[a].at_ms);
}

double
cli_meter_rows_per_s(const struct cli_meter *meter)
{
    size_t a, b;
    if (!meter_ends(meter, &a, &b) || meter->samples[b].rows < meter->samples[a].rows) {
        return 0;
    }
    return (double)(meter->samples[b].rows - meter->samples[a].rows) * 1000 /
           (double)(meter->samples[b].at_ms - meter->samples[a].at_ms);
}

int64_t
cli_meter_eta_ms(const struct cli_meter *meter, uint64_t bytes_left)
{
    double rate = cli_meter_bytes_per_s(meter);
    if (rate < 1 || (double)bytes_left / rate > 86400.0 * 365) {
        return -1;
    }
    return (int64_t)((double)bytes_left * 1000 / rate);
}

/* Never below zero: a replaced pipeline may count from zero again. */
static uint64_t
since(const json_t *pipeline, const json_t *baseline, const char *path)
{
    uint64_t now = cli_json_u64(pipeline, path);
    uint64_t then = cli_json_u64(baseline, path);
    return now > then ? now - then : 0;
}

struct cli_figures
cli_figures(const json_t *pipeline, const json_t *baseline)
{
    struct cli_figures f = {
        .objects = cli_json_u64(pipeline, "totals.objects"),
        .objects_done = cli_json_u64(pipeline, "totals.objects_done"),
        .objects_before = cli_json_u64(baseline, "totals.objects_done"),
        .objects_quarantined = cli_json_u64(pipeline, "totals.objects_quarantined"),
        .bytes = cli_json_u64(pipeline, "totals.bytes"),
        .bytes_done = cli_json_u64(pipeline, "totals.bytes_done"),
        .inserted = since(pipeline, baseline, "totals.counts.inserted"),
        .updated = since(pipeline, baseline, "totals.counts.updated"),
        .skipped = since(pipeline, baseline, "totals.counts.skipped"),
        .filtered = since(pipeline, baseline, "totals.counts.filtered"),
        .rejected = since(pipeline, baseline, "totals.counts.rejected") +
                    since(pipeline, baseline, "totals.counts.rejected_at_load"),
        .unwrapped_bytes = since(pipeline, baseline, "totals.counts.unwrapped_bytes"),
        .retries = since(pipeline, baseline, "totals.retries"),
    };
    f.loaded = f.inserted + f.updated;
    /* A stream that is opened again in the middle of a plain file reads some bytes twice; those of
     * its records are what counts. */
    f.read_bytes = since(pipeline, baseline, "totals.counts.raw_bytes");
    if (f.read_bytes > f.unwrapped_bytes && f.unwrapped_bytes > 0) {
        f.read_bytes = f.unwrapped_bytes;
    }
    /* An object counts as done at its end only; what was read of it is known earlier. */
    uint64_t read = cli_json_u64(baseline, "totals.bytes_done") + f.read_bytes;
    if (read > f.bytes_done) {
        f.bytes_done = read < f.bytes ? read : f.bytes;
    }
    return f;
}

/* A bar of `width` cells between brackets. */
static void
draw_bar(struct ps_buf *out, double share, size_t width)
{
    size_t full = (size_t)(share * (double)width + 0.5);
    ps_buf_xappend(out, "[", 1);
    for (size_t i = 0; i < width; i++) {
        ps_buf_xappend(out, i < full ? "#" : "-", 1);
    }
    ps_buf_xappend(out, "]", 1);
}

/* Cuts line to width columns and moves it to out with its end. */
static void
put_line(struct ps_buf *out, struct ps_buf *line, size_t width)
{
    const char *text = ps_buf_str(line);
    if (cli_text_width(text, line->len) <= width) {
        ps_buf_xappend(out, text, line->len);
    } else {
        size_t bytes = 0;
        for (size_t columns = 0; bytes < line->len; bytes++) {
            bool starts = ((unsigned char)text[bytes] & 0xc0) != 0x80;
            if (starts && columns++ == width) {
                break;
            }
        }
        ps_buf_xappend(out, text, bytes);
    }
    ps_buf_xappend(out, "\n", 1);
    ps_buf_clear(line);
}

static const char *
state_word(const struct cli_view *view)
{
    const char *state = cli_json_str(view->pipeline, "state");
    if (view->interrupted && strcmp(state, "stopped") != 0) {
        return "stopping";
    }
    return state[0] != '\0' ? state : "starting";
}

static void
head_line(const struct cli_view *view, struct ps_buf *out)
{
    const struct cli_figures *f = &view->figures;
    char done[PS_HUMAN_BYTES], total[PS_HUMAN_BYTES], time[PS_HUMAN_BYTES];
    struct ps_buf left = PS_BUF_INIT, right = PS_BUF_INIT;
    struct ps_buf name = PS_BUF_INIT;
    cli_text_safe(&name, cli_json_str(view->pipeline, "name"));
    cli_text_fit(&left, ps_buf_str(&name), 24);
    ps_buf_xprintf(&left, " %s ", state_word(view));
    double share = f->bytes > 0 ? (double)f->bytes_done / (double)f->bytes : 0;
    if (f->bytes > 0) {
        ps_buf_xprintf(&right, " %3.0f%%  %s of %s", share * 100,
                       ps_human_show_bytes(f->bytes_done, done),
                       ps_human_show_bytes(f->bytes, total));
        int64_t eta_ms = cli_meter_eta_ms(view->meter, f->bytes - f->bytes_done);
        if (eta_ms >= 0 && f->bytes_done < f->bytes) {
            ps_buf_xprintf(&right, "  ETA %s",
                           ps_human_show_duration((eta_ms + 999) / 1000 * 1000, time));
        }
    }
    struct ps_buf line = PS_BUF_INIT;
    ps_buf_xappend(&line, left.ptr, left.len);
    size_t used = cli_text_width(ps_buf_str(&left), left.len) + right.len + 2;
    if (f->bytes > 0 && used + 6 <= view->width) {
        size_t room = view->width - used;
        draw_bar(&line, share, room > 40 ? 40 : room);
    }
    ps_buf_xappend(&line, right.ptr, right.len);
    put_line(out, &line, view->width);
    ps_buf_fini(&left);
    ps_buf_fini(&right);
    ps_buf_fini(&name);
    ps_buf_fini(&line);
}

static void
count_line(const struct cli_view *view, struct ps_buf *line)
{
    const struct cli_figures *f = &view->figures;
    char a[PS_HUMAN_BYTES], b[PS_HUMAN_BYTES], rate[CLI_TEXT_BYTES], speed[CLI_TEXT_BYTES];
    bool listing = !cli_json_bool(view->pipeline, "discovery_complete");
    ps_buf_xprintf(line, "  %s of %s%s objects  %s rows", ps_human_show_count(f->objects_done, a),
                   ps_human_show_count(f->objects, b), listing ? "+" : "",
                   ps_human_show_count(f->loaded, rate));
    double rows_per_s = cli_meter_rows_per_s(view->meter);
    if (rows_per_s >= 0.5) {
        ps_buf_xprintf(line, "  %s rows/s  %s", cli_text_short(rows_per_s, rate),
                       cli_text_rate((uint64_t)cli_meter_bytes_per_s(view->meter), 1000, speed));
    }
    if (f->rejected > 0) {
        ps_buf_xprintf(line, "  %s rejected", ps_human_show_count(f->rejected, a));
    }
    if (f->objects_quarantined > 0) {
        ps_buf_xprintf(line, "  %s quarantined", ps_human_show_count(f->objects_quarantined, a));
    }
    if (f->retries > 0) {
        ps_buf_xprintf(line, "  %s retries", ps_human_show_count(f->retries, a));
    }
}

/* "  leaf 2  load    flights-034.csv.gz  waits for …" */
static void
leaf_line(const struct cli_view *view, const json_t *agent, const json_t *leaf, bool only_agent,
          struct ps_buf *line)
{
    const char *phase = cli_json_str(leaf, "phase");
    const char *state = cli_json_str(leaf, "state");
    bool working = strcmp(state, "working") == 0 && phase[0] != '\0';
    ps_buf_xprintf(line, "  ");
    if (!only_agent) {
        cli_text_safe(line, cli_json_str(agent, "name"));
        ps_buf_xprintf(line, " ");
    }
    ps_buf_xprintf(line, "leaf %-2llu %-8s", (unsigned long long)cli_json_u64(leaf, "leaf"),
                   working            ? phase
                   : state[0] != '\0' ? state
                                      : "-");
    struct ps_buf object = PS_BUF_INIT, note = PS_BUF_INIT;
    cli_json_name(leaf, "object", &object);
    cli_text_safe(&note, cli_json_str(leaf, "note"));
    size_t used = cli_text_width(ps_buf_str(line), line->len);
    size_t room = view->width > used + 2 ? view->width - used - 2 : 0;
    if (object.len > 0 && room > 4) {
        const char *slash = strrchr(ps_buf_str(&object), '/');
        const char *name = slash != NULL && slash[1] != '\0' ? slash + 1 : ps_buf_str(&object);
        ps_buf_xprintf(line, " ");
        cli_text_fit(line, name, note.len > 0 ? room / 2 : room);
    }
    if (note.len > 0) {
        ps_buf_xprintf(line, "  %s", ps_buf_str(&note));
    }
    ps_buf_fini(&object);
    ps_buf_fini(&note);
}

/* At most `room` lines; the last says how many leaves found no place. */
static void
leaf_lines(const struct cli_view *view, size_t room, struct ps_buf *out)
{
    json_t *items = (json_t *)(uintptr_t)cli_json_at(view->agents, "items");
    struct ps_buf line = PS_BUF_INIT;
    size_t a, l, total = 0, shown = 0;
    json_t *agent, *leaf;
    json_array_foreach(items, a, agent)
    {
        total += json_array_size(json_object_get(agent, "leaf"));
    }
    size_t most = total <= room ? total : room > 0 ? room - 1 : 0;
    json_array_foreach(items, a, agent)
    {
        json_array_foreach(json_object_get(agent, "leaf"), l, leaf)
        {
            if (shown < most) {
                leaf_line(view, agent, leaf, json_array_size(items) == 1, &line);
                put_line(out, &line, view->width);
                shown++;
            }
        }
    }
    if (total > shown && room > 0) {
        ps_buf_xprintf(&line, "  … and %zu more leaves", total - shown);
        put_line(out, &line, view->width);
    }
    ps_buf_fini(&line);
}

void
cli_progress_frame(const struct cli_view *view, struct ps_buf *out)
{
    struct ps_buf line = PS_BUF_INIT;
    head_line(view, out);
    count_line(view, &line);
    put_line(out, &line, view->width);
    size_t lines = 2;
    const char *reason = cli_json_str(view->pipeline, "reason");
    if (reason[0] != '\0' && lines + 1 < view->height) {
        ps_buf_xprintf(&line, "  ");
        cli_text_safe(&line, reason);
        put_line(out, &line, view->width);
        lines++;
    }
    leaf_lines(view, view->height > lines + 1 ? view->height - 1 - lines : 0, out);
    ps_buf_fini(&line);
}

void
cli_progress_line(const struct cli_view *view, struct ps_buf *out)
{
    const struct cli_figures *f = &view->figures;
    char a[PS_HUMAN_BYTES], b[PS_HUMAN_BYTES];
    cli_text_safe(out, cli_json_str(view->pipeline, "name"));
    ps_buf_xprintf(out, ": %s", state_word(view));
    if (f->bytes > 0) {
        ps_buf_xprintf(out, ", %.0f%%, %s of %s", (double)f->bytes_done * 100 / (double)f->bytes,
                       ps_human_show_bytes(f->bytes_done, a), ps_human_show_bytes(f->bytes, b));
    }
    struct ps_buf counts = PS_BUF_INIT;
    count_line(view, &counts);
    /* The same figures as the live view, with commas for its gaps. */
    const char *text = ps_buf_str(&counts);
    for (size_t i = 0; i < counts.len; i++) {
        bool gap = text[i] == ' ' && text[i + 1] == ' ';
        ps_buf_xappend(out, gap ? "," : text + i, 1);
    }
    int64_t eta_ms = cli_meter_eta_ms(view->meter, f->bytes - f->bytes_done);
    if (eta_ms >= 0 && f->bytes_done < f->bytes) {
        ps_buf_xprintf(out, ", ETA %s", ps_human_show_duration((eta_ms + 999) / 1000 * 1000, a));
    }
    ps_buf_xappend(out, "\n", 1);
    ps_buf_fini(&counts);
}
