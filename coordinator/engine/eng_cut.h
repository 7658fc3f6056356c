/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_cut.h: makes a new batch out of pending batch partitions. */
#ifndef COORDINATOR_ENGINE_ENG_CUT_H
#define COORDINATOR_ENGINE_ENG_CUT_H

#include "coordinator/engine/eng.h"

/* For this leaf: a chain whose stream it has open, else the largest that no other leaf has open.
 * NULL when nothing is to be cut. The batch is PENDING and durable with this turn. */
struct eng_batch *eng_cut(struct engine *engine, struct eng_pipeline *pipeline,
                          struct eng_agent *agent, uint32_t leaf);

#endif
