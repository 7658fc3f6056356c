/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_stage.h"

#include <string.h>

static size_t
find(const struct sim_leaf *leaf, ProtobufCBinaryData batch_id)
{
    size_t at = 0;
    while (at < leaf->stored_count &&
           memcmp(leaf->stored[at].id, batch_id.data, PS_ID_BYTES) != 0) {
        at++;
    }
    return at;
}

static void
forget(struct sim_leaf *leaf, size_t at)
{
    leaf->stored[at] = leaf->stored[--leaf->stored_count];
}

static const Penstock__Batch *
batch_of(const struct sim_work *work)
{
    return work->grant->grant->batch;
}

static struct sim_work *
holds(const struct sim_leaf *leaf, const uint8_t *id)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&leaf->work) {
        struct sim_work *work = PS_CONTAINER(at, struct sim_work, link);
        if (work->grant != NULL && memcmp(batch_of(work)->batch_id.data, id, PS_ID_BYTES) == 0) {
            return work;
        }
    }
    return NULL;
}

void
sim_stage_seal(struct sim *sim, struct sim_leaf *leaf, struct sim_work *work)
{
    bool may_store = !sim->plan.is_large && !sim->plan.splits;
    bool stores = may_store && sim_has_faults(sim) && sim_percent(sim, 50);
    if (!stores || work->grant->grant->tombstone || leaf->stored_count == SIM_STORED_MOST) {
        return;
    }
    work->stored = true;
    struct sim_stored *stored = &leaf->stored[leaf->stored_count++];
    memcpy(stored->id, batch_of(work)->batch_id.data, PS_ID_BYTES);
    stored->epoch = work->grant->grant->epoch;
}

bool
sim_stage_adopt(struct sim *sim, struct sim_leaf *leaf, struct sim_work *work)
{
    size_t at = find(leaf, batch_of(work)->batch_id);
    if (at == leaf->stored_count || work->grant->grant->tombstone || sim_cut_is(work)) {
        return false;
    }
    SIM_CHECK(sim, leaf->stored[at].epoch <= work->grant->grant->epoch);
    work->stored = true;
    if (sim->plan.stage_seen != NULL) {
        sim->plan.stage_seen->adopted++;
    }
    return true;
}

void
sim_stage_done(struct sim *sim, struct sim_leaf *leaf, const struct sim_work *work)
{
    size_t at = find(leaf, batch_of(work)->batch_id);
    if (at == leaf->stored_count) {
        return;
    }
    bool dies_first = sim_has_faults(sim) && sim_percent(sim, 20);
    if (!dies_first) {
        forget(leaf, at);
    }
}

static void
tell(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf)
{
    Penstock__Staged staged[SIM_STORED_MOST];
    Penstock__Staged *staged_at[SIM_STORED_MOST];
    Penstock__LeafStaged message = PENSTOCK__LEAF_STAGED__INIT;
    for (size_t i = 0; i < leaf->stored_count; i++) {
        if (holds(leaf, leaf->stored[i].id) != NULL) {
            continue;
        }
        Penstock__Staged *one = &staged[message.n_staged];
        penstock__staged__init(one);
        one->batch_id = proto_bytes(leaf->stored[i].id, PS_ID_BYTES);
        one->epoch = leaf->stored[i].epoch;
        one->leaf = leaf->number;
        one->bytes = 1;
        staged_at[message.n_staged++] = one;
    }
    message.staged = staged_at;
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_STAGED, &message.base);
}

void
sim_stage_open(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf)
{
    for (size_t i = 0; i < leaf->stored_count;) {
        if (sim_has_faults(sim) && sim_percent(sim, 10)) {
            forget(leaf, i); /* damaged */
        } else {
            i++;
        }
    }
    tell(sim, agent, leaf);
}

/* What nobody decided may be dropped only where the coordinator has heard of another copy, or knows
 * nothing of the batch: here the latter is a lost catalog. What is held is never touched. */
void
sim_stage_drop(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
               const Penstock__LeafUnstage *unstage)
{
    SIM_CHECK(sim, unstage->n_batch_ids > 0);
    for (size_t i = 0; i < unstage->n_batch_ids; i++) {
        size_t at = find(leaf, unstage->batch_ids[i]);
        if (at < leaf->stored_count && holds(leaf, leaf->stored[at].id) == NULL) {
            forget(leaf, at);
            if (sim->plan.stage_seen != NULL) {
                sim->plan.stage_seen->unstaged++;
            }
        }
    }
    tell(sim, agent, leaf);
}

size_t
sim_stage_held(const struct sim_leaf *leaf, Penstock__Held *held, size_t most)
{
    size_t count = 0;
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&leaf->work) {
        const struct sim_work *work = PS_CONTAINER(at, struct sim_work, link);
        if (work->grant == NULL || !work->stored || sim_cut_is(work) || count == most) {
            continue;
        }
        held[count] = (Penstock__Held)PENSTOCK__HELD__INIT;
        held[count].batch_id = batch_of(work)->batch_id;
        held[count].epoch = work->grant->grant->epoch;
        held[count].leaf = leaf->number;
        held[count].phase = PENSTOCK__PHASE__PHASE_STAGE;
        held[count].has_stored = held[count].stored = true;
        count++;
    }
    return count;
}
