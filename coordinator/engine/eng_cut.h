/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_cut.h: makes a new batch out of pending batch partitions. */
#ifndef COORDINATOR_ENGINE_ENG_CUT_H
#define COORDINATOR_ENGINE_ENG_CUT_H

#include "coordinator/engine/eng_store.h"

/* A round of grants: in it nothing else changes batch partitions. */
void eng_cut_begin(struct engine *engine, struct eng_window *window);
void eng_cut_end(struct engine *engine);

/* For this leaf: a chain whose stream it has open, else the largest that no other leaf has open.
 * NULL when nothing is to be cut. The batch is PENDING and durable with this turn. */
struct eng_batch *eng_cut(struct engine *engine, struct eng_pipeline *pipeline,
                          struct eng_agent *agent, uint32_t leaf);
/* The i-th batch partition of the batch that was cut last; NULL where it is another one. */
const struct eng_object *eng_cut_latest(const struct engine *engine,
                                        const struct eng_pipeline *pipeline, uint32_t i,
                                        uint64_t bp_id);

#endif
