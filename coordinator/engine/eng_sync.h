/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_sync.h: the heartbeat: what an agent holds, what it wants, its orders.
 * Invariant: a Sync is answered exactly once; at most one of an agent is parked. */
#ifndef COORDINATOR_ENGINE_ENG_SYNC_H
#define COORDINATOR_ENGINE_ENG_SYNC_H

#include "coordinator/engine/eng.h"

/* Takes *own_sync. */
void eng_sync(struct engine *engine, const struct engine_request *request,
              Penstock__Sync *own_sync);
/* Answers a parked Sync without orders. */
void eng_sync_unpark(struct engine *engine, struct eng_agent *agent, Penstock__Answer answer);

/* After all messages of a turn: answers those parked that have orders or whose time is up. */
void eng_sync_answer_all(struct engine *engine);

/* A parked agent is looked at before this turn ends. */
void eng_sync_stir(struct eng_agent *agent);
/* Its answer goes out: it is parked no more. */
void eng_sync_leave(struct eng_agent *agent);

/* The answer being built for a parked agent; made at the first call. */
Penstock__SyncReply *eng_sync_reply(struct eng_agent *agent);
/* Adds a grant of a leased batch, with the document it needs. */
void eng_sync_add_grant(struct engine *engine, struct eng_agent *agent, struct eng_batch *batch);
void eng_sync_add_task(struct engine *engine, struct eng_agent *agent, struct eng_task *task);
/* True while more grants fit. */
bool eng_sync_has_room(const struct eng_agent *agent);

#endif
