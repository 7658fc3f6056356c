/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_replay.h: replays of rejects: a command that waits for a task.
 * Invariant: the batch id follows from the pipeline and the request's key alone, so a request that
 *            comes again, to this coordinator or a later one, is the same batch; its counts are in
 *            the totals once, because its id is entered with them. */
#ifndef COORDINATOR_ENGINE_ENG_REPLAY_H
#define COORDINATOR_ENGINE_ENG_REPLAY_H

#include "coordinator/engine/eng.h"

enum { ENG_REPLAY_BYTES = 512 * 1024 }; /* of rows a request: a frame holds 1 MiB */

/* The order for a task whose command this is; NULL where it is no replay. */
Penstock__Replay *eng_replay_order(struct engine *engine, const struct eng_task *task);
/* How much of an answer the task takes. */
size_t eng_replay_bytes(const struct eng_task *task);
/* A result's batches: counted, and told as what the command is answered; the caller's. */
Penstock__ApiReplay *eng_replay_take(struct engine *engine, struct eng_pipeline *pipeline,
                                     const Penstock__TaskResult *result);

#endif
