/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_summary.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_json.h"
#include "cli/cli_progress.h"
#include "cli/cli_text.h"
#include "common/human.h"

enum { UNKNOWN_SHOWN = 6 };

static void
rejects_line(const struct cli_summary *s, const struct cli_figures *f, struct ps_buf *out)
{
    char count[PS_HUMAN_BYTES];
    const char *table = cli_json_str(s->pipeline, "table");
    ps_buf_xprintf(out, "  rejected  %s record%s", ps_human_show_count(f->rejected, count),
                   f->rejected == 1 ? "" : "s");
    if (table[0] != '\0') {
        ps_buf_xprintf(out, ", kept in table ");
        cli_text_safe(out, table);
        ps_buf_xprintf(out, "_rejects");
    }
    ps_buf_xprintf(out, ": penstock rejects list ");
    cli_text_safe(out, cli_json_str(s->pipeline, "name"));
    if (s->state != NULL) {
        ps_buf_xprintf(out, " --state ");
        cli_text_safe(out, s->state);
    }
    ps_buf_xprintf(out, "\n");
}

static void
rows_lines(const struct cli_summary *s, const struct cli_figures *f, struct ps_buf *out)
{
    char count[PS_HUMAN_BYTES];
    ps_buf_xprintf(out, "  loaded    %s row%s", ps_human_show_count(f->loaded, count),
                   f->loaded == 1 ? "" : "s");
    if (f->updated > 0) {
        ps_buf_xprintf(out, " (%s of them updated)", ps_human_show_count(f->updated, count));
    }
    const char *table = cli_json_str(s->pipeline, "table");
    if (table[0] != '\0') {
        ps_buf_xprintf(out, " into table ");
        cli_text_safe(out, table);
    }
    if (s->destination != NULL) {
        ps_buf_xprintf(out, " of ");
        cli_text_safe(out, s->destination);
    }
    ps_buf_xprintf(out, "\n");
    if (f->rejected > 0) {
        rejects_line(s, f, out);
    }
    if (f->skipped > 0) {
        ps_buf_xprintf(out, "  skipped   %s rows whose key was there already\n",
                       ps_human_show_count(f->skipped, count));
    }
    if (f->filtered > 0) {
        ps_buf_xprintf(out, "  filtered  %s records\n", ps_human_show_count(f->filtered, count));
    }
}

static void
objects_line(const struct cli_summary *s, const struct cli_figures *f, struct ps_buf *out)
{
    char a[PS_HUMAN_BYTES], b[PS_HUMAN_BYTES], rate[CLI_TEXT_BYTES];
    uint64_t now = f->objects_done > f->objects_before ? f->objects_done - f->objects_before : 0;
    ps_buf_xprintf(out, "  read      %s in %s object%s, %s", ps_human_show_bytes(f->read_bytes, a),
                   ps_human_show_count(now, b), now == 1 ? "" : "s",
                   cli_text_rate(f->read_bytes, s->ms, rate));
    if (f->unwrapped_bytes > f->read_bytes) {
        ps_buf_xprintf(out, " (%s unwrapped, %s)", ps_human_show_bytes(f->unwrapped_bytes, a),
                       cli_text_rate(f->unwrapped_bytes, s->ms, rate));
    }
    ps_buf_xprintf(out, "\n");
    if (f->objects_before > 0) {
        ps_buf_xprintf(out, "  known     %s object%s loaded before\n",
                       ps_human_show_count(f->objects_before, a),
                       f->objects_before == 1 ? "" : "s");
    }
    if (f->objects_quarantined > 0) {
        ps_buf_xprintf(out, "  failed    %s object%s quarantined: penstock explain ",
                       ps_human_show_count(f->objects_quarantined, a),
                       f->objects_quarantined == 1 ? "" : "s");
        cli_text_safe(out, cli_json_str(s->pipeline, "name"));
        if (s->state != NULL) {
            ps_buf_xprintf(out, " --state ");
            cli_text_safe(out, s->state);
        }
        ps_buf_xprintf(out, "\n");
    }
    if (f->retries > 0) {
        ps_buf_xprintf(out, "  retried   %s batches\n", ps_human_show_count(f->retries, a));
    }
}

/* Never in silence: what of the source is in no column. */
static void
unknown_line(const json_t *pipeline, struct ps_buf *out)
{
    const json_t *fields = cli_json_at(pipeline, "unknown.field");
    size_t i, count = json_array_size(fields);
    json_t *item;
    if (count == 0) {
        return;
    }
    ps_buf_xprintf(out, "  ignored   %zu field%s that no column takes: ", count,
                   count == 1 ? "" : "s");
    json_array_foreach((json_t *)(uintptr_t)fields, i, item)
    {
        if (i == UNKNOWN_SHOWN) {
            ps_buf_xprintf(out, ", …");
            break;
        }
        ps_buf_xprintf(out, "%s", i == 0 ? "" : ", ");
        cli_text_safe(out, cli_json_str(item, "name"));
    }
    ps_buf_xprintf(out, "; penstock describe says where; columns.unknown: add loads them\n");
}

void
cli_summary_text(const struct cli_summary *s, struct ps_buf *out)
{
    char text[PS_HUMAN_BYTES];
    struct cli_figures f = cli_figures(s->pipeline, s->baseline);
    const char *reason = cli_json_str(s->pipeline, "reason");
    cli_text_safe(out, cli_json_str(s->pipeline, "name"));
    ps_buf_xprintf(out, ": %s after %s", cli_json_str(s->pipeline, "state"),
                   ps_human_show_duration(s->ms, text));
    if (reason[0] != '\0') {
        ps_buf_xprintf(out, ": ");
        cli_text_safe(out, reason);
    }
    ps_buf_xprintf(out, "\n");
    if (strcmp(cli_json_str(s->pipeline, "state"), "failed") == 0 && f.objects_done == 0 &&
        f.loaded == 0) {
        return; /* it failed before there was anything to count */
    }
    rows_lines(s, &f, out);
    objects_line(s, &f, out);
    unknown_line(s->pipeline, out);
    struct ps_buf slowest = PS_BUF_INIT;
    cli_json_name(s->pipeline, "slowest_object", &slowest);
    if (slowest.len > 0 && f.objects_done > f.objects_before + 1) {
        ps_buf_xprintf(
            out, "  slowest   %s, %s\n", ps_buf_str(&slowest),
            ps_human_show_duration((int64_t)cli_json_u64(s->pipeline, "slowest_ms"), text));
    }
    ps_buf_fini(&slowest);
}

static json_t *
number(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

json_t *
cli_summary_json(const struct cli_summary *s)
{
    struct cli_figures f = cli_figures(s->pipeline, s->baseline);
    json_t *doc = json_object();
    static const char *const copied[] = {
        "name", "uuid", "state", "reason", "table", "slowest_object_b64", "failure_class"};
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        const json_t *value = cli_json_at(s->pipeline, copied[i]);
        if (value != NULL) {
            json_object_set(doc, copied[i], (json_t *)(uintptr_t)value);
        }
    }
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"rows_loaded", f.loaded},
        {"rows_inserted", f.inserted},
        {"rows_updated", f.updated},
        {"rows_skipped", f.skipped},
        {"rows_filtered", f.filtered},
        {"rows_rejected", f.rejected},
        {"objects", f.objects},
        {"objects_done", f.objects_done},
        {"objects_before", f.objects_before},
        {"objects_quarantined", f.objects_quarantined},
        {"bytes_read", f.read_bytes},
        {"bytes_unwrapped", f.unwrapped_bytes},
        {"retries", f.retries},
        {"slowest_ms", cli_json_u64(s->pipeline, "slowest_ms")},
        {"ms", (uint64_t)s->ms},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_object_set_new(doc, numbers[i].key, number(numbers[i].value));
    }
    if (s->destination != NULL) {
        json_object_set_new(doc, "destination", json_string(s->destination));
    }
    if (s->state != NULL) {
        json_object_set_new(doc, "state_folder", json_string(s->state));
    }
    json_object_set_new(doc, "exit_status", json_integer(s->exit_code));
    return doc;
}
