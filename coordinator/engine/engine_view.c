/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/engine_view.h"

#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/percent.h"

/* protobuf-c's messages have no const; nobody writes through them. */
static char *
text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* NULL for 0, which is no time. */
static char *
time_of(int64_t wall_ms, char out[PS_CLOCK_TEXT_BYTES])
{
    return wall_ms == 0 ? NULL : text_of(ps_clock_text(wall_ms, out));
}

static char *
name_of(struct ps_span bytes)
{
    struct ps_buf name = PS_BUF_INIT;
    ps_percent_name(bytes, &name);
    char *text = ps_xstrndup(ps_buf_str(&name), name.len);
    ps_buf_fini(&name);
    return text;
}

#define SET(message, field, value) ((message)->field = (value), (message)->has_##field = true)

void
engine_view_counts(const struct cat_counts *counts, Penstock__Counts *out)
{
    penstock__counts__init(out);
    SET(out, decoded, counts->decoded);
    SET(out, rejected, counts->rejected);
    SET(out, filtered, counts->filtered);
    SET(out, inserted, counts->inserted);
    SET(out, updated, counts->updated);
    SET(out, skipped, counts->skipped);
    SET(out, rejected_at_load, counts->rejected_at_load);
    SET(out, raw_bytes, counts->raw_bytes);
    SET(out, unwrapped_bytes, counts->unwrapped_bytes);
}

static void
fill_totals(struct engine_view_pipeline *view, const struct cat_pipeline *row)
{
    Penstock__ApiTotals *totals = &view->totals;
    penstock__api_totals__init(totals);
    SET(totals, objects, row->objects);
    SET(totals, objects_done, row->objects_done);
    SET(totals, objects_quarantined, row->objects_quarantined);
    SET(totals, bytes, row->bytes);
    SET(totals, bytes_done, row->bytes_done);
    SET(totals, batches_open, row->batches_open);
    SET(totals, batches_loaded, row->batches_loaded);
    SET(totals, batches_quarantined, row->batches_quarantined);
    SET(totals, retries, row->retries);
    uint64_t rejected = row->counts.rejected + row->counts.rejected_at_load;
    SET(totals, replayed, row->replayed);
    SET(totals, rejects_open, rejected > row->replayed ? rejected - row->replayed : 0);
    engine_view_counts(&row->counts, &view->counts);
    totals->counts = &view->counts;
    view->message.totals = totals;
}

static void
fill_spec(struct engine_view_pipeline *view, const struct cat_pipeline *row)
{
    Penstock__ApiPipeline *message = &view->message;
    message->spec_json = text_of(row->spec_json);
    if (row->columns.len > 0) {
        view->columns = penstock__spec_doc__unpack(NULL, row->columns.len, row->columns.ptr);
    }
    if (view->columns != NULL) {
        message->columns = view->columns->columns;
        message->n_columns = view->columns->n_columns;
    }
}

void
engine_view_pipeline_init(struct engine_view_pipeline *view, const struct cat_pipeline *row,
                          bool with_spec)
{
    Penstock__ApiPipeline *message = &view->message;
    memset(view, 0, sizeof *view);
    penstock__api_pipeline__init(message);
    message->name = text_of(row->name);
    message->uuid = text_of(ps_id_text(row->uuid.id, view->uuid));
    message->generation = ps_generation_count(row->generation);
    message->spec_rev = row->spec_rev;
    message->state = text_of(row->state);
    message->reason = text_of(row->reason);
    message->failure_class = text_of(row->failure_class);
    message->table = text_of(row->table);
    message->format_note = text_of(row->format_note);
    message->revision = row->revision;
    message->created_at = time_of(row->created_ms, view->created);
    message->started_at = time_of(row->started_ms, view->started);
    message->ended_at = time_of(row->ended_ms, view->ended);
    SET(message, discovery_complete, row->discovery_complete);
    if (row->slowest_object.len > 0) {
        SET(message, slowest_ms, row->slowest_ms);
        message->has_slowest_object = true;
        message->slowest_object = (ProtobufCBinaryData){
            .len = row->slowest_object.len, .data = (uint8_t *)(uintptr_t)row->slowest_object.ptr};
    }
    if (row->reconcile.len > 0) {
        view->reconcile =
            penstock__api_reconcile__unpack(NULL, row->reconcile.len, row->reconcile.ptr);
        message->reconcile = view->reconcile;
    }
    if (row->unknown.len > 0) {
        view->unknown =
            penstock__api_unknown_fields__unpack(NULL, row->unknown.len, row->unknown.ptr);
        message->unknown = view->unknown;
    }
    fill_totals(view, row);
    if (with_spec) {
        fill_spec(view, row);
    }
}

void
engine_view_pipeline_fini(struct engine_view_pipeline *view)
{
    if (view->columns != NULL) {
        penstock__spec_doc__free_unpacked(view->columns, NULL);
        view->columns = NULL;
    }
    if (view->unknown != NULL) {
        penstock__api_unknown_fields__free_unpacked(view->unknown, NULL);
        view->unknown = NULL;
    }
    if (view->reconcile != NULL) {
        penstock__api_reconcile__free_unpacked(view->reconcile, NULL);
        view->reconcile = NULL;
    }
}

void
engine_view_object_init(struct engine_view_object *view, const struct cat_object *row)
{
    Penstock__ApiBatchPartition *message = &view->message;
    memset(view, 0, sizeof *view);
    penstock__api_batch_partition__init(message);
    view->name = name_of(row->key);
    view->version = name_of(row->version);
    message->id = row->id;
    message->name = view->name;
    message->version = view->version;
    SET(message, size_bytes, row->size_bytes);
    message->state = text_of(row->state);
    SET(message, offset, row->offset);
    message->batch = row->has_batch ? text_of(ps_id_text(row->batch.id, view->batch)) : NULL;
    message->reason = text_of(row->reason);
    if (row->cut_offset > 0 && row->reason == NULL) {
        view->parts = ps_xasprintf("taken in parallel: all up to its offset is loaded, cut up to "
                                   "%llu",
                                   (unsigned long long)row->cut_offset);
        message->reason = view->parts;
    }
    SET(message, records, row->records);
}

void
engine_view_object_fini(struct engine_view_object *view)
{
    ps_free(view->name);
    ps_free(view->version);
    ps_free(view->parts);
}

void
engine_view_batch_init(struct engine_view_batch *view, const struct cat_batch *row)
{
    Penstock__ApiBatch *message = &view->message;
    memset(view, 0, sizeof *view);
    penstock__api_batch__init(message);
    message->id = text_of(ps_id_text(row->id.id, view->id));
    message->state = text_of(row->state);
    message->epoch = row->epoch;
    message->agent = text_of(row->agent);
    if (row->agent != NULL) {
        SET(message, leaf, row->leaf);
    }
    SET(message, attempts, row->attempts);
    SET(message, ranges, row->ranges);
    engine_view_counts(&row->counts, &view->counts);
    message->counts = &view->counts;
    message->reason = text_of(row->reason);
    message->next_retry_at = time_of(row->retry_ms, view->retry);
    if (row->first_object.len > 0) {
        view->first_object = name_of(row->first_object);
        message->first_object = view->first_object;
    }
}

void
engine_view_batch_fini(struct engine_view_batch *view)
{
    ps_free(view->first_object);
}

void
engine_view_event_init(struct engine_view_event *view, const struct cat_event *row)
{
    Penstock__ApiEvent *message = &view->message;
    penstock__api_event__init(message);
    message->id = row->id;
    message->at = text_of(ps_clock_text(row->at_ms, view->at));
    message->pipeline = text_of(row->pipeline);
    message->kind = text_of(row->kind);
    message->subject = text_of(row->subject);
    message->text = text_of(row->text);
}
