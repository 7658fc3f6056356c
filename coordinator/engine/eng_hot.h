/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_hot.h: chains whose stream a leaf has open: what follows is cheapest
 * there, so others leave it alone for a moment. Invariant: in memory only, at most one a batch
 * partition; after eng_hot_expire none is over. */
#ifndef COORDINATOR_ENGINE_ENG_HOT_H
#define COORDINATOR_ENGINE_ENG_HOT_H

#include "coordinator/engine/eng.h"

struct eng_hot {
    struct ps_list link;       /* of the pipeline's, the earliest end first */
    struct ps_list agent_link; /* of the agent's */
    struct eng_pipeline *pipeline;
    struct eng_agent *agent;
    uint64_t bp_id;
    uint32_t leaf;
    int64_t until_ms;
};

/* The leaf has this chain's stream open from now on. */
void eng_hot_note(struct engine *engine, struct eng_pipeline *pipeline, uint64_t bp_id,
                  struct eng_agent *agent, uint32_t leaf);
/* NULL: nobody has it open. */
const struct eng_hot *eng_hot_find(const struct eng_pipeline *pipeline, uint64_t bp_id);
/* One that this leaf has open, NULL: none. */
const struct eng_hot *eng_hot_of(const struct eng_pipeline *pipeline, const struct eng_agent *agent,
                                 uint32_t leaf);
/* Chains that this leaf has open. */
size_t eng_hot_count(const struct eng_pipeline *pipeline, const struct eng_agent *agent,
                     uint32_t leaf);
/* The chain is in a batch again. */
void eng_hot_forget(struct eng_pipeline *pipeline, uint64_t bp_id);
void eng_hot_forget_agent(struct eng_agent *agent);
void eng_hot_forget_all(struct eng_pipeline *pipeline);
/* Those that nobody came back for. */
void eng_hot_expire(struct engine *engine);

#endif
