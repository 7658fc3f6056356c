/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_staged.h: batches that a leaf has decoded on its disk: it is preferred.
 * In: what agents hold and keep (Sync). Out: who a batch waits for, and which segments are of no
 * use to anybody. Invariant: it only saves work. Nothing here is durable, a batch waits for its
 * leaf for a bounded time, and a segment is given up only when its batch is settled, or unknown to
 * a catalog that is whole. */
#ifndef COORDINATOR_ENGINE_ENG_STAGED_H
#define COORDINATOR_ENGINE_ENG_STAGED_H

#include "coordinator/engine/eng.h"

/* The leaf has it; sure: its agent says so, else it is likely. */
void eng_staged_note(struct eng_batch *batch, struct eng_agent *agent, uint32_t leaf, bool sure);
void eng_staged_forget(struct eng_batch *batch);
void eng_staged_forget_agent(struct eng_agent *agent);
/* A held batch as its agent lists it. True: others can load it, and this one cannot: it is to be
 * given back. */
PS_MUSTCHECK bool eng_staged_held(struct eng_batch *batch, struct eng_agent *agent,
                                  const Penstock__Held *held);
/* The rest of a Sync. */
void eng_staged_take(struct engine *engine, struct eng_agent *agent);
/* True while a batch that nobody has is only for the leaf that has it on disk: until *out_ms. */
bool eng_staged_reserves(struct eng_batch *batch, int64_t *out_ms);
/* It is leased: whoever waits for it waits no more. */
void eng_staged_leased(struct eng_batch *batch);
/* It is loaded or a tombstone: what a leaf may still have of it is of no use. */
void eng_staged_settled(struct eng_batch *batch);
/* The oldest one that this leaf has and nobody holds; NULL: none. */
struct eng_batch *eng_staged_find(const struct eng_pipeline *p, const struct eng_agent *agent,
                                  uint32_t leaf);
/* The leaf cannot reach the destination, while another one that works for the pipeline can. */
bool eng_staged_is_cut_off(const struct engine *engine, const struct eng_pipeline *p,
                           const struct eng_agent *agent, uint32_t leaf);
/* Adds what is to be given up to the agent's answer, and makes one for it. */
void eng_staged_answer(struct eng_agent *agent);

#endif
