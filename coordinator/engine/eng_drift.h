/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_drift.h: fields of objects that are no column (columns.unknown).
 * In: what leaves found.  Out: with `ignore` a list for people; with `add` new columns, made by one
 * task and frozen in a new spec revision.
 * Invariant: a batch that has met such a field is settled by its tombstone before any of it is cut
 *            again; until the columns are made nothing is granted but tombstones. What is to be
 *            added is not stored: after a restart the next batch meets the same field. */
#ifndef COORDINATOR_ENGINE_ENG_DRIFT_H
#define COORDINATOR_ENGINE_ENG_DRIFT_H

#include "coordinator/engine/eng_task.h"

/* A leased batch ended so: false: it has to be treated as failed for good (too many columns). */
bool eng_drift_take(struct engine *engine, struct eng_batch *batch, const Penstock__Failed *failed);
/* Names in an end of a loaded range. */
void eng_drift_seen(struct engine *engine, struct eng_pipeline *pipeline, struct ps_span object,
                    const Penstock__RangeEnd *end);
/* There are columns to be made; the task, where it is not there yet. */
bool eng_drift_step(struct engine *engine, struct eng_pipeline *pipeline);
/* They are in the table. */
void eng_drift_added(struct engine *engine, struct eng_task *task);
void eng_drift_forget(struct eng_pipeline *pipeline);

#endif
