/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_pipeline.h: what a pipeline does next, from its row alone. */
#ifndef COORDINATOR_ENGINE_ENG_PIPELINE_H
#define COORDINATOR_ENGINE_ENG_PIPELINE_H

#include "coordinator/engine/eng.h"

/* Every turn, before the answers: makes the tasks that are due, moves on what is ready. */
void eng_pipeline_step_all(struct engine *engine);
/* mono: when a step is due without any message; INT64_MAX: never. */
int64_t eng_pipeline_next_ms(struct engine *engine, struct eng_pipeline *pipeline);

#endif
