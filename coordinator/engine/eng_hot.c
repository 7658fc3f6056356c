/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_hot.h"

#include "common/alloc.h"

static struct ps_span
key_of(const uint64_t *bp_id)
{
    return ps_span((const uint8_t *)bp_id, sizeof *bp_id);
}

static void
end(struct eng_hot *hot)
{
    (void)ps_map_take(hot->pipeline->hot_by_bp, key_of(&hot->bp_id));
    hot->pipeline->hot_count--;
    ps_list_remove(&hot->link);
    ps_list_remove(&hot->agent_link);
    ps_free(hot);
}

void
eng_hot_note(struct engine *engine, struct eng_pipeline *p, uint64_t bp_id, struct eng_agent *agent,
             uint32_t leaf)
{
    eng_hot_forget(p, bp_id);
    struct eng_hot *hot = ps_xcalloc(1, sizeof *hot);
    *hot = (struct eng_hot){.pipeline = p,
                            .agent = agent,
                            .bp_id = bp_id,
                            .leaf = leaf,
                            .until_ms = engine->now_ms + ENG_HOT_MS};
    /* All last equally long: the newest ends last. */
    ps_list_push_back(&p->hot, &hot->link);
    ps_list_push_back(&agent->hot, &hot->agent_link);
    (void)ps_map_put(p->hot_by_bp, key_of(&hot->bp_id), hot);
    p->hot_count++;
}

const struct eng_hot *
eng_hot_find(const struct eng_pipeline *p, uint64_t bp_id)
{
    return p->hot_count == 0 ? NULL : ps_map_find(p->hot_by_bp, key_of(&bp_id));
}

const struct eng_hot *
eng_hot_of(const struct eng_pipeline *p, const struct eng_agent *agent, uint32_t leaf)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&agent->hot) {
        const struct eng_hot *hot = PS_CONTAINER(at, struct eng_hot, agent_link);
        if (hot->pipeline == p && hot->leaf == leaf) {
            return hot;
        }
    }
    return NULL;
}

size_t
eng_hot_count(const struct eng_pipeline *p, const struct eng_agent *agent, uint32_t leaf)
{
    size_t count = 0;
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&agent->hot) {
        const struct eng_hot *hot = PS_CONTAINER(at, struct eng_hot, agent_link);
        count += hot->pipeline == p && hot->leaf == leaf ? 1 : 0;
    }
    return count;
}

void
eng_hot_forget(struct eng_pipeline *p, uint64_t bp_id)
{
    struct eng_hot *hot = p->hot_count == 0 ? NULL : ps_map_find(p->hot_by_bp, key_of(&bp_id));
    if (hot != NULL) {
        end(hot);
    }
}

void
eng_hot_forget_agent(struct eng_agent *agent)
{
    PS_LIST_FOR (at, &agent->hot) {
        end(PS_CONTAINER(at, struct eng_hot, agent_link));
    }
}

void
eng_hot_forget_all(struct eng_pipeline *p)
{
    PS_LIST_FOR (at, &p->hot) {
        end(PS_CONTAINER(at, struct eng_hot, link));
    }
}

void
eng_hot_expire(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        PS_LIST_FOR (first, &p->hot) {
            struct eng_hot *hot = PS_CONTAINER(first, struct eng_hot, link);
            if (hot->until_ms > engine->now_ms) {
                break;
            }
            end(hot);
        }
    }
}
