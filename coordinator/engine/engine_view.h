/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/engine_view.h: the catalog's rows as the messages that people read, for the
 * engine's answers and for the API's lists alike.
 * A view owns what its message points to, except what is borrowed from the row: it must not live
 * longer. Pure. */
#ifndef COORDINATOR_ENGINE_ENGINE_VIEW_H
#define COORDINATOR_ENGINE_ENGINE_VIEW_H

#include "common/clock.h"
#include "coordinator/catalog/catalog_rows.h"
#include "proto/penstock.pb-c.h"

void engine_view_counts(const struct cat_counts *counts, Penstock__Counts *out);

struct engine_view_pipeline {
    Penstock__ApiPipeline message;
    Penstock__ApiTotals totals;
    Penstock__Counts counts;
    Penstock__SpecDoc *columns; /* what row->columns holds; NULL: none */
    Penstock__ApiUnknownFields *unknown;
    Penstock__ApiReconcile *reconcile; /* what row->reconcile holds; NULL: none */
    char uuid[PS_ID_TEXT_BYTES];
    char created[PS_CLOCK_TEXT_BYTES];
    char started[PS_CLOCK_TEXT_BYTES];
    char ended[PS_CLOCK_TEXT_BYTES];
};
/* with_spec: spec and columns too. */
void engine_view_pipeline_init(struct engine_view_pipeline *view, const struct cat_pipeline *row,
                               bool with_spec);
void engine_view_pipeline_fini(struct engine_view_pipeline *view);

struct engine_view_object {
    Penstock__ApiBatchPartition message;
    char *name; /* as common/percent.h writes it */
    char *version;
    char *parts; /* how it is taken in parallel; NULL: it is not */
    char batch[PS_ID_TEXT_BYTES];
};
void engine_view_object_init(struct engine_view_object *view, const struct cat_object *row);
void engine_view_object_fini(struct engine_view_object *view);

struct engine_view_batch {
    Penstock__ApiBatch message;
    Penstock__Counts counts;
    char *first_object;
    char id[PS_ID_TEXT_BYTES];
    char retry[PS_CLOCK_TEXT_BYTES];
};
void engine_view_batch_init(struct engine_view_batch *view, const struct cat_batch *row);
void engine_view_batch_fini(struct engine_view_batch *view);

struct engine_view_event {
    Penstock__ApiEvent message;
    char at[PS_CLOCK_TEXT_BYTES];
};
void engine_view_event_init(struct engine_view_event *view, const struct cat_event *row);

#endif
