/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_recover.h"

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_staged.h"
#include "coordinator/engine/eng_store.h"

static bool
take_agent(void *ctx, const struct cat_agent *row)
{
    struct engine *engine = ctx;
    struct eng_agent *agent = eng_hello_add(engine, row->name);
    agent->incarnation = row->incarnation;
    eng_hello_set_state(engine, agent,
                        strcmp(row->state, "online") == 0 ? ENG_AGENT_ONLINE : ENG_AGENT_GONE,
                        row->leaves);
    ps_free(agent->version);
    agent->version = ps_xstrdup(row->version);
    agent->pid = row->pid;
    eng_set_span(&agent->host_token, row->host_token);
    agent->hello_ms = row->hello_ms;
    agent->seen_wall_ms = row->hello_ms;
    return true;
}

static bool
take_pipeline(void *ctx, const struct cat_pipeline *row)
{
    struct engine *engine = ctx;
    struct spec *spec = NULL;
    enum ps_status status = spec_from_canonical(ps_span_str(row->spec_json), &spec, &engine->fault);
    if (status != PS_OK) {
        eng_try(engine, ps_wrap(&engine->fault, status, "pipeline %s", row->name));
        return false;
    }
    (void)eng_store_add_pipeline(engine, row, spec);
    return true;
}

static struct eng_pipeline *
find_by_id(struct engine *engine, uint64_t id)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        if (p->row.id == id) {
            return p;
        }
    }
    return NULL;
}

static bool
take_batch(void *ctx, const struct cat_batch *row)
{
    struct engine *engine = ctx;
    struct eng_pipeline *p = find_by_id(engine, row->pipeline_id);
    if (p == NULL) {
        return true;
    }
    size_t count = 0;
    struct cat_range *ranges = ps_xcalloc(row->ranges == 0 ? 1 : row->ranges, sizeof *ranges);
    ENG_TRY(engine, cat_batch_ranges, row, ranges, &count);
    struct eng_batch *b = eng_store_add_batch(engine, p, row, ranges);
    ps_free(ranges);
    p->pending += b->state == BATCH_PENDING ? 1 : 0;
    p->waiting += b->state == BATCH_WAITING ? 1 : 0;
    p->cancelling += b->state == BATCH_CANCELLING ? 1 : 0;
    b->row.leased = false;
    struct eng_agent *agent = row->agent != NULL ? eng_hello_find(engine, row->agent) : NULL;
    if (agent != NULL && row->leased) {
        eng_store_lease(engine, b, agent, row->leaf);
    }
    if (agent != NULL) {
        /* Who had it last may have it on disk still. */
        eng_staged_note(b, agent, row->leaf, false);
        eng_store_set_retry(b, b->retry_mono_ms);
    }
    return true;
}

/* A lease whose agent is unknown: nobody can hold it. */
static void
release_orphans(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        PS_LIST_FOR (batch, &p->batches) {
            struct eng_batch *b = PS_CONTAINER(batch, struct eng_batch, link);
            if (b->state == BATCH_LEASED && b->holder == NULL) {
                (void)eng_store_move_batch(engine, &b, BATCH_ON_GIVEN_BACK);
            }
        }
    }
}

enum ps_status
eng_recover(struct engine *engine, struct ps_error *err)
{
    struct catalog *catalog = engine->env.catalog;
    enum ps_status status = cat_agent_all(catalog, take_agent, engine, err);
    if (status == PS_OK) {
        status = cat_pipeline_all(catalog, take_pipeline, engine, err);
    }
    if (status == PS_OK) {
        status = cat_batch_open(catalog, take_batch, engine, err);
    }
    if (status == PS_OK) {
        release_orphans(engine);
    }
    if (status == PS_OK && engine->fault_status != PS_OK) {
        *err = engine->fault;
        status = engine->fault_status;
    }
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "read the catalog");
}
