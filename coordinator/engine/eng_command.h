/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_command.h: what people ask for. */
#ifndef COORDINATOR_ENGINE_ENG_COMMAND_H
#define COORDINATOR_ENGINE_ENG_COMMAND_H

#include "coordinator/engine/eng.h"

/* Takes what the command owns; it is answered in this turn or waits (eng_wait.h). */
void eng_command(struct engine *engine, struct engine_command *own_command);

#endif
