/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_view.h: what people see of agents, which no row holds. Owned messages. */
#ifndef COORDINATOR_ENGINE_ENG_VIEW_H
#define COORDINATOR_ENGINE_ENG_VIEW_H

#include "coordinator/engine/eng.h"

Penstock__ApiAgent *eng_view_agent(const struct engine *engine, const struct eng_agent *agent);

#endif
