/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_cut.h: ranges that begin at a cut: their starts, guessed and proven (design
 * §3.1). In: jobs decoded from a start; proofs from the agent; where proven ranges of this leaf
 * ended. Out: jobs to the load queue once their start is proven; back to the extract queue where
 * the guess was wrong. Invariant: a job reaches the load queue only with a start that is proven and
 * from which it was decoded whole (or to be given back, when it is cancelled). A job is in exactly
 * one place; `parked` here is the place of those whose start is not proven yet. Threads: the
 * functions are safe from any thread; none blocks. */
#ifndef AGENT_LEAF_LEAF_CUT_H
#define AGENT_LEAF_LEAF_CUT_H

#include "agent/leaf/leaf_core.h"

enum {
    /* How long a decoded cut waits for its proof before this leaf reads from the last proven
     * boundary to the cut itself. Proofs come within milliseconds while all goes well. */
    LEAF_CUT_WAIT_MS = 2000,
};

/* Tells the agent at once where the job begins and ends as it was decoded. */
void leaf_cut_tell(struct leaf_core *core, struct leaf_job *job);
/* Where the first record at or after the job's cut begins, as far as this leaf knows; 0 = it does
 * not. Also remembered in the job. */
uint64_t leaf_cut_truth(struct leaf_core *core, struct leaf_job *job);
/* The largest boundary of the job's object in (after, cut] that this leaf has proven; 0 = none. */
uint64_t leaf_cut_nearest(struct leaf_core *core, const struct leaf_job *job, uint64_t after);
/* Proven: the first boundary at or after stop_at in the job's object is `end`. Jobs that wait for
 * just that go on. */
void leaf_cut_learn(struct leaf_core *core, const struct leaf_job *job, uint64_t stop_at,
                    uint64_t end);
/* Sends a job that was decoded, whole or given up, to where it belongs next. */
void leaf_cut_settle(struct leaf_core *core, struct leaf_job **own_job);

/* From the agent. A batch that is not held is passed over. */
void leaf_cut_proof(struct leaf_core *core, const Penstock__Proof *proof);
/* The job was just marked as cancelled: a parked one goes where it is given back. core->lock. */
void leaf_cut_cancelled_locked(struct leaf_core *core, struct leaf_job *job);

/* Those that wait give up what they have staged; once proven they are decoded again. */
void leaf_cut_make_room(struct leaf_core *core);

/* For the extract thread: how long until a parked job is due (PS_WAIT_FOREVER: none is parked), the
 * one that is due, and any one (when draining). NULL = none. */
int64_t leaf_cut_wait_ms(struct leaf_core *core);
struct leaf_job *leaf_cut_take_due(struct leaf_core *core);
struct leaf_job *leaf_cut_take_any(struct leaf_core *core);

#endif
