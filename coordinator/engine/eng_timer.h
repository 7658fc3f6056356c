/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_timer.h: what follows from time alone.
 * Invariant: a lease runs out only after the inbox was drained, and never because this process was
 *            the one that did not run: after a start or a stall all leases begin anew. */
#ifndef COORDINATOR_ENGINE_ENG_TIMER_H
#define COORDINATOR_ENGINE_ENG_TIMER_H

#include "coordinator/engine/eng.h"

/* First in a turn. */
void eng_timer_notice_stall(struct engine *engine);
/* After the inbox. */
void eng_timer_expire(struct engine *engine);
/* mono: the next turn that is due without any message. */
int64_t eng_timer_next_ms(struct engine *engine);

#endif
