/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/sim_stage.h: a leaf's staging folder: what it has sealed outlives the leaf and its
 * agent, may be damaged, and is taken up by a later life of the batch without another fetch. */
#ifndef TESTS_SIM_SIM_STAGE_H
#define TESTS_SIM_SIM_STAGE_H

#include "tests/sim/sim_cut.h"

/* Sealed: into the folder, now and then; then the agent is told with the next progress. Not of
 * objects that are taken in parts. */
void sim_stage_seal(struct sim *sim, struct sim_leaf *leaf, struct sim_work *work);
/* A grant of a batch that the folder has: true, and the work is as if it had just been sealed. */
bool sim_stage_adopt(struct sim *sim, struct sim_leaf *leaf, struct sim_work *work);
/* It has ended with this outcome: the segment goes, unless the leaf dies before that. */
void sim_stage_done(struct sim *sim, struct sim_leaf *leaf, const struct sim_work *work);
/* A new process: some of it is damaged, garbage of nobody's may be there; the rest is told. */
void sim_stage_open(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf);
void sim_stage_drop(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                    const Penstock__LeafUnstage *unstage);
/* What it holds and has on disk, for its progress. */
size_t sim_stage_held(const struct sim_leaf *leaf, Penstock__Held *held, size_t most);

#endif
