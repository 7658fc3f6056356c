/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/sim_cut.h: a batch whose range begins at a cut, in a leaf: its start is guessed, told,
 * proven by its coordinator or by the leaf itself, and decoded again where the guess was wrong. */
#ifndef TESTS_SIM_SIM_CUT_H
#define TESTS_SIM_SIM_CUT_H

#include "tests/sim/sim_task.h"

bool sim_cut_is(const struct sim_work *work);
/* Decoded from where the first record is thought to begin. */
void sim_cut_decode(struct sim *sim, struct sim_work *work);
/* What a leaf that nobody tells anything finds out in the end. */
void sim_cut_scan(struct sim *sim, struct sim_work *work);
/* All that this leaf holds of cuts, for its progress. */
size_t sim_cut_held(const struct sim_leaf *leaf, Penstock__Held *held, size_t most);
/* Waits for the proof; finds out by itself after a while. */
void sim_cut_park(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                  struct sim_work *work);
void sim_cut_proof(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                   const Penstock__Proof *proof);

/* sim_leaf.c: the work is sealed, and its start is proven if it has one. */
void sim_leaf_sealed(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                     struct sim_work *work);
struct sim_work *sim_leaf_find_work(struct sim_agent *agent, uint64_t serial,
                                    struct sim_leaf **out_leaf);
void sim_leaf_progress(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf);

#endif
