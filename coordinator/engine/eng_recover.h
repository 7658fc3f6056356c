/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_recover.h: memory from the catalog, at start. */
#ifndef COORDINATOR_ENGINE_ENG_RECOVER_H
#define COORDINATOR_ENGINE_ENG_RECOVER_H

#include "coordinator/engine/eng.h"

/* Leases are as they were, with all their time: agents that still hold their batches keep them. */
PS_MUSTCHECK enum ps_status eng_recover(struct engine *engine, struct ps_error *err);

#endif
