/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_work.h: one task at hand, for the files that do tasks.
 * In: a task and its pipeline's document.  Out: chunks, each sent once the one before is answered.
 * Threads: the task thread. */
#ifndef AGENT_LEAF_LEAF_WORK_H
#define AGENT_LEAF_LEAF_WORK_H

#include "agent/leaf/leaf_core.h"
#include "agent/leaf/leaf_stream.h"

struct leaf_work {
    struct leaf_core *core;
    const Penstock__Task *task;
    struct leaf_doc *doc;
    struct dest_env env;
    bool have_turn;
    uint32_t chunk;
};

bool leaf_work_should_stop(const struct leaf_work *work);
/* A result that ends the task well, unless changed. */
void leaf_work_result_init(struct leaf_work *work, Penstock__TaskResult *result);
PS_MUSTCHECK enum ps_status leaf_work_send(struct leaf_work *work, Penstock__TaskResult *result,
                                           struct ps_error *err);
PS_MUSTCHECK enum ps_status leaf_work_open_source(struct leaf_work *work, const struct spec *spec,
                                                  struct leaf_source *out, struct ps_error *err);
PS_MUSTCHECK enum ps_status leaf_work_open_dest(struct leaf_work *work, const struct spec *spec,
                                                const struct dest_ops **out_ops, struct dest **out,
                                                struct ps_error *err);

/* leaf_rejects.c: a page of the rejects table. */
PS_MUSTCHECK enum ps_status leaf_rejects_read(struct leaf_work *work, struct ps_error *err);
/* leaf_replay.c: some of its rejects, loaded. */
PS_MUSTCHECK enum ps_status leaf_replay_run(struct leaf_work *work, struct ps_error *err);

#endif
