/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_report.h: how a batch ended.
 * Invariant: idempotent by content. Done states a fact of the destination's ledger, so it settles a
 *            batch in any state that is not final, whoever says it and at whatever epoch; Failed
 *            counts only for the lease that is current. */
#ifndef COORDINATOR_ENGINE_ENG_REPORT_H
#define COORDINATOR_ENGINE_ENG_REPORT_H

#include "coordinator/engine/eng.h"
#include "coordinator/sched/sched.h"

void eng_report_done(struct engine *engine, const struct engine_request *request,
                     const Penstock__Done *done);
void eng_report_failed(struct engine *engine, const struct engine_request *request,
                       const Penstock__Failed *failed);

/* What follows from a failure: also from a lease that ran out. fault_bp 0: not named. agent: who
 * had it, for "not visible"; may be NULL. */
struct eng_failure {
    enum sched_class class;
    const char *code;
    const char *text;
    uint64_t fault_bp;
    struct eng_agent *agent;
};
void eng_report_fail(struct engine *engine, struct eng_batch *batch,
                     const struct eng_failure *failure);
/* A person starts again: quarantined batches and batch partitions are pending anew. */
void eng_report_reset(struct engine *engine, struct eng_pipeline *pipeline);
/* The generation is about to be raised: what was never granted is over, the rest is to be settled
 * by tombstones. Before the raise, so that the counters are right. */
void eng_report_drop_open(struct engine *engine, struct eng_pipeline *pipeline);
/* All that is open is to be settled by tombstones, and its ranges cut again. */
void eng_report_cancel_all(struct engine *engine, struct eng_pipeline *pipeline,
                           const char *reason);
/* Its rows are in the ledger; done has the ends of all of its ranges. */
void eng_report_settle_loaded(struct engine *engine, struct eng_batch *batch,
                              const Penstock__Done *done);

#endif
