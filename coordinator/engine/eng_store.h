/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_store.h: pipelines, batches and batch partitions: each change of state
 * goes through here, along an edge of its table, with its counters, its row and its event. */
#ifndef COORDINATOR_ENGINE_ENG_STORE_H
#define COORDINATOR_ENGINE_ENG_STORE_H

#include "coordinator/engine/eng.h"

/* ---- pipelines */
/* From a row; spec is taken. The pipeline is in engine->pipelines. */
struct eng_pipeline *eng_store_add_pipeline(struct engine *engine, const struct cat_pipeline *row,
                                            struct spec *own_spec);
/* Memory only: from all lists, with its batches and tasks. */
void eng_store_drop_pipeline(struct engine *engine, struct eng_pipeline *pipeline);
/* Takes the spec. */
void eng_store_set_spec(struct eng_pipeline *pipeline, struct spec *own_spec);
struct eng_pipeline *eng_store_find_pipeline(struct engine *engine, const char *name);
/* False: the event means nothing in this state, nothing changed. reason NULL clears. */
bool eng_store_move_pipeline(struct engine *engine, struct eng_pipeline *pipeline,
                             enum pipeline_event event, const char *reason);
/* Sets the reason for waiting, where it differs. */
void eng_store_say(struct eng_pipeline *pipeline, const char *reason);
/* Writes all dirty pipelines: the turn's last write. */
void eng_store_save_pipelines(struct engine *engine);

/* ---- batches */
struct eng_batch *eng_store_find_batch(struct engine *engine, struct ps_span id);
/* Ranges are copied. It has its row in the catalog already, or eng_store_insert_batch follows. */
struct eng_batch *eng_store_add_batch(struct engine *engine, struct eng_pipeline *pipeline,
                                      const struct cat_batch *row, const struct cat_range *ranges);
/* Moves and saves. False: the event means nothing in this state. A batch that is now final is gone
 * from memory afterwards: *batch is NULL. */
bool eng_store_move_batch(struct engine *engine, struct eng_batch **batch, enum batch_event event);
/* Gives the lease to (agent, leaf) until now + lease_ms; not saved. */
void eng_store_lease(struct engine *engine, struct eng_batch *batch, struct eng_agent *agent,
                     uint32_t leaf);
void eng_store_unlease(struct eng_batch *batch);
/* True when it holds a batch of the pipeline. */
bool eng_store_leaf_has(const struct eng_agent *agent, uint32_t leaf,
                        const struct eng_pipeline *pipeline);
/* The lease begins anew. */
void eng_store_renew(struct engine *engine, struct eng_batch *batch);
/* WAITING and CANCELLING ones are not granted before; mono. */
void eng_store_set_retry(struct eng_batch *batch, int64_t retry_mono_ms);
/* Its row is written once a turn, however often it changes in it: here it is only noted. */
void eng_store_insert_batch(struct engine *engine, struct eng_batch *batch);
void eng_store_save_batch(struct engine *engine, struct eng_batch *batch);
/* Writes what was noted. */
void eng_store_save_batches(struct engine *engine);
/* Is it settled? *out_epoch is its latest epoch. Looks into the catalog. */
bool eng_store_find_settled(struct engine *engine, struct ps_span id, uint64_t *out_epoch);

/* ---- batch partitions: rows live in the catalog; a copy is worked on and saved */
struct eng_object {
    struct cat_object row; /* texts and spans are owned; state is kept in `state` */
    enum object_state state;
};
/* The largest pending ones of a pipeline, read together, and what was cut last: both are as the
 * catalog has them while a round of grants lasts, in which nothing but grants happens. */
struct eng_window {
    const struct eng_pipeline *pipeline;
    struct eng_object *objects;
    size_t count;
    size_t next;  /* those before it are cut */
    size_t limit; /* of the latest reading */
    bool is_off;  /* what comes next has to be looked for among many */
    const struct eng_pipeline *cut_from;
    struct eng_object *cut; /* in the order of the batch's ranges */
    size_t cut_count;
};

/* False: there is none. Ended by eng_store_end_object. */
bool eng_store_get_object(struct engine *engine, struct eng_pipeline *pipeline, uint64_t id,
                          struct eng_object *out);
void eng_store_copy_object(struct eng_object *out, const struct cat_object *row);
void eng_store_end_object(struct eng_object *object);
/* Moves with the pipeline's counters; not saved. */
bool eng_store_move_object(struct engine *engine, struct eng_pipeline *pipeline,
                           struct eng_object *object, enum object_event event);
/* Sets what is left behind offset, with the pipeline's counter. */
void eng_store_set_rest(struct eng_pipeline *pipeline, struct eng_object *object,
                        uint64_t rest_bytes);
void eng_store_save_object(struct engine *engine, struct eng_object *object);
/* Its time has grown: perhaps it is the slowest now. */
void eng_store_note_slowest(struct eng_pipeline *pipeline, const struct eng_object *object);

#endif
