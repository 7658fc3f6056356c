/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_cut.h"

enum { OWN_SCAN_MS = 2000, REDO_MOST_MS = 300 };

static const Penstock__Range *
range_of(const struct sim_work *work)
{
    return work->grant->grant->batch->ranges[0];
}

bool
sim_cut_is(const struct sim_work *work)
{
    return work->grant != NULL && !work->grant->grant->tombstone &&
           work->grant->grant->batch->n_ranges == 1 && range_of(work)->cut;
}

static const struct sim_object *
object_of(const struct sim *sim, const struct sim_work *work)
{
    return &sim->objects[sim_dest_object(sim, range_of(work)->key)];
}

static uint64_t
truth(const struct sim *sim, const struct sim_work *work)
{
    return sim_dest_boundary(object_of(sim, work), range_of(work)->from);
}

static void
set_start(struct sim *sim, struct sim_work *work, uint64_t start)
{
    const Penstock__Range *range = range_of(work);
    uint64_t to = range->from + range->target_bytes;
    uint64_t end = sim_dest_boundary(object_of(sim, work), to);
    work->start = start;
    work->end = start >= to || end < start ? start : end;
}

void
sim_cut_decode(struct sim *sim, struct sim_work *work)
{
    const Penstock__Range *range = range_of(work);
    const struct sim_object *object = object_of(sim, work);
    /* What the leaf needs to find out by itself: a boundary that is not behind the cut. */
    SIM_CHECK(sim, range->anchor <= range->from);
    SIM_CHECK(sim, range->anchor == sim_dest_boundary(object, range->anchor));
    set_start(sim, work, truth(sim, work));
    work->proven = object->exact || range->anchor == range->from;
    if (!work->proven && sim_percent(sim, 40)) { /* inside of quotes: a wrong start, any end */
        uint64_t start = range->from + sim_below(sim, range->target_bytes);
        uint64_t end = start + sim_below(sim, range->target_bytes);
        if (start != work->start) {
            work->start = start;
            work->end = end;
        }
    }
}

void
sim_cut_scan(struct sim *sim, struct sim_work *work)
{
    set_start(sim, work, truth(sim, work));
}

size_t
sim_cut_held(const struct sim_leaf *leaf, Penstock__Held *held, size_t most)
{
    size_t count = 0;
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&leaf->work) {
        const struct sim_work *work = PS_CONTAINER(at, struct sim_work, link);
        if (!sim_cut_is(work) || !work->decoded || count == most) {
            continue;
        }
        held[count] = (Penstock__Held)PENSTOCK__HELD__INIT;
        held[count].batch_id = work->grant->grant->batch->batch_id;
        held[count].epoch = work->grant->grant->epoch;
        held[count].leaf = leaf->number;
        held[count].phase = PENSTOCK__PHASE__PHASE_STAGE;
        held[count].has_start = held[count].has_end = held[count].has_proven = true;
        held[count].start = work->start;
        held[count].end = work->end;
        held[count].proven = work->proven;
        count++;
    }
    return count;
}

static void
redone(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = NULL;
    struct sim_work *work = sim_leaf_find_work(agent, b, &leaf);
    if (work != NULL && !leaf->stuck && !sim_agent_is_paused(sim, agent, redone, a, b)) {
        work->decoded = true;
        sim_leaf_progress(sim, agent, leaf);
        sim_leaf_sealed(sim, agent, leaf, work);
    }
}

/* It begins at start: what was decoded stands, or is decoded again. */
static void
prove(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work,
      uint64_t start)
{
    bool right = work->start == start;
    work->proven = true;
    work->parked = false;
    set_start(sim, work, start);
    if (right) {
        sim_leaf_progress(sim, agent, leaf);
        sim_leaf_sealed(sim, agent, leaf, work);
        return;
    }
    work->decoded = false;
    sim->redone++;
    sim_at(sim, 1 + (int64_t)sim_below(sim, REDO_MOST_MS), redone, sim_agent_who(agent),
           work->serial, NULL);
}

static void
scan(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = NULL;
    struct sim_work *work = sim_leaf_find_work(agent, b, &leaf);
    if (work == NULL || !work->parked || leaf->stuck ||
        sim_agent_is_paused(sim, agent, scan, a, b)) {
        return;
    }
    sim->own_scans++;
    prove(sim, agent, leaf, work, truth(sim, work));
}

void
sim_cut_park(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work)
{
    work->decoded = true;
    work->parked = !work->proven;
    sim_leaf_progress(sim, agent, leaf);
    if (work->proven) {
        sim_leaf_sealed(sim, agent, leaf, work);
        return;
    }
    if (work->proof != 0) {
        prove(sim, agent, leaf, work, work->proof);
        return;
    }
    sim_at(sim, OWN_SCAN_MS + (int64_t)sim_below(sim, 500), scan, sim_agent_who(agent),
           work->serial, NULL);
}

void
sim_cut_proof(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
              const Penstock__Proof *proof)
{
    PS_LIST_FOR (at, &leaf->work) {
        struct sim_work *work = PS_CONTAINER(at, struct sim_work, link);
        if (!sim_cut_is(work) || work->grant->grant->epoch != proof->epoch ||
            memcmp(work->grant->grant->batch->batch_id.data, proof->batch_id.data, PS_ID_BYTES) !=
                0) {
            continue;
        }
        /* What the coordinator says is true: it never concludes from a guess. After its state was
         * lost, the range before may be another one than the one that was cut there. */
        SIM_CHECK(sim, proof->start == truth(sim, work) || sim_forgets(sim));
        work->proof = proof->start;
        sim->proofs++;
        if (work->parked) {
            prove(sim, agent, leaf, work, proof->start);
        }
        return;
    }
}
