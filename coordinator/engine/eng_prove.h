/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_prove.h: where the parts of a batch partition truly begin (design 3.1): a
 * part begins where the one before it ended, if that end is itself proven: loaded, or held by a
 * leaf that knows its own start. Nothing of it is durable: it follows from the catalog and from
 * what agents say they hold, and a leaf that is told nothing finds out by itself.
 * Invariant: a proof follows from a chain of proven ends that begins at the offset or at a loaded
 *            part; never from a guess. */
#ifndef COORDINATOR_ENGINE_ENG_PROVE_H
#define COORDINATOR_ENGINE_ENG_PROVE_H

#include "coordinator/engine/eng.h"

/* Something about the parts of this batch partition is new. */
void eng_prove_want(struct eng_pipeline *pipeline, uint64_t bp_id);
/* An agent says where a part that it holds begins and ends. */
void eng_prove_held(struct eng_batch *batch, const Penstock__Held *held);
/* The batch has a new lease: what was said of the old one is forgotten. */
void eng_prove_forget(struct eng_batch *batch);
/* After the grants of a turn: finds proofs and wakes who waits for one. */
void eng_prove_all(struct engine *engine);
/* Adds to the agent's answer what it has not been told, and makes one for it. */
void eng_prove_answer(struct eng_agent *agent);

#endif
