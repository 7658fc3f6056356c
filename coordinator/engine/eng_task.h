/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_task.h: work that is not a batch: discover, reconcile, prepare, sample,
 * read rejects.
 * Invariant: a task follows from a pipeline's row or from a command that waits, so it is not
 * stored: after a restart it is made anew with a new id, and what still comes for the old one is
 *            stale. Each step of it is idempotent (PROTOCOL.md). */
#ifndef COORDINATOR_ENGINE_ENG_TASK_H
#define COORDINATOR_ENGINE_ENG_TASK_H

#include "coordinator/engine/eng_store.h"

struct eng_task *eng_task_add(struct engine *engine, struct eng_pipeline *pipeline,
                              Penstock__TaskKind kind);
/* The pipeline's own task of this kind (no command's); NULL: none. */
struct eng_task *eng_task_find(struct engine *engine, struct eng_pipeline *pipeline,
                               Penstock__TaskKind kind);
void eng_task_end(struct engine *engine, struct eng_task *task);
/* All of a pipeline but those of commands that wait. */
void eng_task_end_all(struct engine *engine, struct eng_pipeline *pipeline);
/* What the agent has goes to another. */
void eng_task_take_back(struct engine *engine, struct eng_agent *agent);
/* From a Sync: which are held, which answer was lost. */
void eng_task_take_held(struct eng_agent *agent, const Penstock__Sync *sync, struct ps_list *tasks);
/* New, lost and cancelled tasks of a parked agent. */
/* True when somebody could have one. */
bool eng_task_any_free(const struct engine *engine);
void eng_task_add_orders(struct engine *engine, struct eng_agent *agent);
Penstock__Task *eng_task_message(struct engine *engine, const struct eng_task *task);
void eng_task_set_objects(struct engine *engine, struct eng_task *task);

void eng_task_discovered(struct engine *engine, const struct engine_request *request,
                         const Penstock__Discovered *page);
void eng_task_result(struct engine *engine, const struct engine_request *request,
                     const Penstock__TaskResult *result);
/* eng_result.c: one chunk that is in order. False: the agent need send no more; the task is gone
 * then, as after the last chunk. */
bool eng_result_chunk(struct engine *engine, struct eng_task *task,
                      const Penstock__TaskResult *chunk);
/* eng_discover.c: one object of a page. */
void eng_discover_object(struct engine *engine, struct eng_pipeline *pipeline,
                         const Penstock__ObjectRef *ref);
/* eng_discover.c: moves the offset over ranges that the ledger knows; saves when it moved. */
void eng_discover_advance(struct engine *engine, struct eng_pipeline *pipeline,
                          struct eng_object *object);

/* eng_discover.c: what is quarantined by itself, without a batch, is pending anew, but for objects
 * that came in another version. */
void eng_discover_reset(struct engine *engine, struct eng_pipeline *pipeline);

#endif
