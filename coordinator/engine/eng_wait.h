/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_wait.h: commands that wait: for a change (WATCH) or for what an agent
 * finds out or does (SAMPLE, REJECTS, REPLAY).
 * Invariant: each ends with one answer, at the latest when its time is up. */
#ifndef COORDINATOR_ENGINE_ENG_WAIT_H
#define COORDINATOR_ENGINE_ENG_WAIT_H

#include "coordinator/engine/eng.h"

struct eng_wait {
    struct ps_list link;
    struct engine_command command; /* its texts are owned */
    int64_t until_ms;              /* mono */
    struct eng_task *task;         /* NULL: WATCH */
    Penstock__ApiSample *sample;   /* SAMPLE: filled as it comes */
    Penstock__ApiReject **rejects;
    size_t reject_count;
};

void eng_wait_watch(struct engine *engine, struct engine_command *own_command);
void eng_wait_sample(struct engine *engine, struct eng_pipeline *pipeline,
                     struct engine_command *own_command);
void eng_wait_rejects(struct engine *engine, struct eng_pipeline *pipeline,
                      struct engine_command *own_command);
void eng_wait_replay(struct engine *engine, struct eng_pipeline *pipeline,
                     struct engine_command *own_command);

/* A page of a discovery that was made for a sample. False: it is enough; the task is gone. */
bool eng_wait_sampled(struct engine *engine, struct eng_task *task,
                      const Penstock__Discovered *page);
/* A chunk of SAMPLE, READ_REJECTS or REPLAY. False: no more is wanted; the task is gone after the
 * last. */
bool eng_wait_chunk(struct engine *engine, struct eng_task *task,
                    const Penstock__TaskResult *chunk);
/* The task is given to another agent: what the first one found is forgotten. */
void eng_wait_begin_anew(struct eng_task *task);
void eng_wait_failed(struct engine *engine, struct eng_task *task, const char *code,
                     const char *text);
/* The pipeline is deleted. */
void eng_wait_end_all(struct engine *engine, struct eng_pipeline *pipeline);

/* At the turn's end, after pipelines were saved: answers those whose change came or time is up. */
void eng_wait_step_all(struct engine *engine);
int64_t eng_wait_next_ms(const struct engine *engine);
/* The engine ends or starts over: answers all with this code. */
void eng_wait_refuse_all(struct engine *engine, const char *code, const char *text);

#endif
