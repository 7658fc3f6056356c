/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_grant.h: leases: who gets the next batch, cut when it is asked for. */
#ifndef COORDINATOR_ENGINE_ENG_GRANT_H
#define COORDINATOR_ENGINE_ENG_GRANT_H

#include "coordinator/engine/eng.h"

/* Gives parked agents what they want, one batch a leaf and round. */
void eng_grant_all(struct engine *engine);
/* One wanted batch of this leaf is taken; false when it wants none. */
bool eng_grant_take_want(struct eng_agent *agent, uint32_t leaf);
/* The agent does not see this pipeline's source or destination: it gets none of it for a while. */
void eng_grant_unseen(struct engine *engine, struct eng_pipeline *pipeline, struct eng_agent *agent,
                      const char *text);
bool eng_grant_sees(struct engine *engine, struct eng_pipeline *pipeline,
                    const struct eng_agent *agent);
/* The agent is no longer: forgets what points to it. */
void eng_grant_forget(struct engine *engine, struct eng_agent *agent);
/* True when errors.tolerance is exceeded by what is committed. */
bool eng_grant_over_tolerance(const struct eng_pipeline *pipeline);
/* True when on_failure: stop holds back all new grants. */
bool eng_grant_held_back(const struct eng_pipeline *pipeline);

#endif
