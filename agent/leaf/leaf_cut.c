/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_cut.h"

#include "common/clock.h"
#include "common/log.h"

static bool
is_of_object(const struct leaf_boundary *known, const struct leaf_job *job)
{
    return known->rev == job->doc->rev && ps_id_eq(known->pipeline.id, job->doc->uuid.id) &&
           ps_id_eq(known->bp.id, job->ranges[0].bp.id);
}

static uint64_t
truth_locked(const struct leaf_core *core, struct leaf_job *job)
{
    uint64_t truth = atomic_load(&job->cut.truth);
    for (size_t i = 0; truth == 0 && i < LEAF_BOUNDARIES; i++) {
        const struct leaf_boundary *known = &core->known[i];
        /* No boundary lies in [stop_at, end). */
        if (known->end != 0 && known->stop_at <= job->cut.at && job->cut.at <= known->end &&
            is_of_object(known, job)) {
            truth = known->end;
            atomic_store(&job->cut.truth, truth);
        }
    }
    return truth;
}

uint64_t
leaf_cut_truth(struct leaf_core *core, struct leaf_job *job)
{
    pthread_mutex_lock(&core->lock);
    uint64_t truth = truth_locked(core, job);
    pthread_mutex_unlock(&core->lock);
    return truth;
}

uint64_t
leaf_cut_nearest(struct leaf_core *core, const struct leaf_job *job, uint64_t after)
{
    uint64_t best = 0;
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < LEAF_BOUNDARIES; i++) {
        const struct leaf_boundary *known = &core->known[i];
        if (known->end > after && known->end <= job->cut.at && known->end > best &&
            is_of_object(known, job)) {
            best = known->end;
        }
    }
    pthread_mutex_unlock(&core->lock);
    return best;
}

void
leaf_cut_tell(struct leaf_core *core, struct leaf_job *job)
{
    pthread_mutex_lock(&core->lock);
    job->cut.start = job->cut.read_start;
    job->cut.end = job->cut.read_end;
    job->cut.proven = atomic_load(&job->cut.truth) == job->cut.start;
    pthread_mutex_unlock(&core->lock);
    leaf_core_progress(core);
}

static void
learn_locked(struct leaf_core *core, const struct leaf_job *job, uint64_t stop_at, uint64_t end)
{
    core->known[core->next_known++ % LEAF_BOUNDARIES] = (struct leaf_boundary){
        .pipeline = job->doc->uuid,
        .rev = job->doc->rev,
        .bp = job->ranges[0].bp,
        .stop_at = stop_at,
        .end = end,
    };
}

/* Where the job goes now that all that is known is known; false: it has to wait. The queues are as
 * long as all that a leaf may hold: a put never waits. */
static bool
send_on_locked(struct leaf_core *core, struct leaf_job *job, enum ps_status *out_status)
{
    uint64_t truth = truth_locked(core, job);
    if (atomic_load(&job->cancel)) {
        *out_status = ps_queue_put(core->to_load, job, 0); /* it is given back there */
        return true;
    }
    if (truth == 0) {
        return false;
    }
    if (job->cut.whole && job->cut.read_start == truth) {
        job->cut.proven = true;
        learn_locked(core, job, job->cut.stop_at, job->cut.read_end);
        *out_status = ps_queue_put(core->to_load, job, 0);
    } else {
        job->cut.start = job->cut.end = 0;
        *out_status = ps_queue_put(core->to_extract, job, 0);
    }
    return true;
}

static void
unpark_locked(struct leaf_core *core, size_t at)
{
    core->parked[at] = core->parked[--core->parked_count];
}

/* A queue that takes no more: the leaf is draining. */
static void
give_back(struct leaf_core *core, struct leaf_job *job)
{
    struct ps_error err;
    ps_fail(&err, PS_CANCELED, "the leaf is stopping");
    leaf_core_failed(core, &job, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, &err, NULL);
}

/* Sends on whatever no longer has to wait. One that is sent on may be what another waited for. */
static void
look_again(struct leaf_core *core)
{
    struct leaf_job *refused[LEAF_HELD_MAX];
    size_t refused_count = 0;
    bool moved = false;
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < core->parked_count;) {
        struct leaf_job *job = core->parked[i];
        enum ps_status status = PS_OK;
        if (!send_on_locked(core, job, &status)) {
            i++;
            continue;
        }
        unpark_locked(core, i);
        if (status != PS_OK) {
            refused[refused_count++] = job;
        }
        moved = true;
        i = 0;
    }
    pthread_mutex_unlock(&core->lock);
    for (size_t i = 0; i < refused_count; i++) {
        give_back(core, refused[i]);
    }
    if (moved) {
        leaf_core_progress(core);
    }
}

void
leaf_cut_learn(struct leaf_core *core, const struct leaf_job *job, uint64_t stop_at, uint64_t end)
{
    pthread_mutex_lock(&core->lock);
    learn_locked(core, job, stop_at, end);
    pthread_mutex_unlock(&core->lock);
    look_again(core);
}

void
leaf_cut_settle(struct leaf_core *core, struct leaf_job **own_job)
{
    struct leaf_job *job = *own_job;
    *own_job = NULL;
    pthread_mutex_lock(&core->lock);
    job->cut.due_ms = ps_clock_mono_ms() + LEAF_CUT_WAIT_MS;
    core->parked[core->parked_count++] = job;
    pthread_mutex_unlock(&core->lock);
    look_again(core);
}

void
leaf_cut_proof(struct leaf_core *core, const Penstock__Proof *proof)
{
    uint64_t other = 0;
    pthread_mutex_lock(&core->lock);
    struct leaf_job *job = leaf_core_find_locked(
        core, ps_span(proof->batch_id.data, proof->batch_id.len), proof->epoch);
    if (job != NULL && job->cut.is && proof->start >= job->cut.at) {
        uint64_t none = 0;
        atomic_compare_exchange_strong(&job->cut.truth, &none, proof->start);
        other = none == proof->start ? 0 : none;
    }
    pthread_mutex_unlock(&core->lock);
    if (other != 0) {
        log_error("cut.contradicted", "found=%llu told=%llu", (unsigned long long)other,
                  (unsigned long long)proof->start);
    }
    look_again(core);
}

void
leaf_cut_cancelled_locked(struct leaf_core *core, struct leaf_job *job)
{
    for (size_t i = 0; i < core->parked_count; i++) {
        /* A closed queue: the draining extract thread gives it back. */
        if (core->parked[i] == job && ps_queue_put(core->to_load, job, 0) == PS_OK) {
            unpark_locked(core, i);
            return;
        }
    }
}

void
leaf_cut_make_room(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < core->parked_count; i++) {
        struct leaf_job *job = core->parked[i];
        job->cut.whole = false;
        atomic_store(&job->sealed, false);
        atomic_store(&job->stored, false);
        stage_batch_free(job->rows);
        job->rows = NULL;
    }
    pthread_mutex_unlock(&core->lock);
}

int64_t
leaf_cut_wait_ms(struct leaf_core *core)
{
    int64_t now = ps_clock_mono_ms();
    int64_t wait = PS_WAIT_FOREVER;
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < core->parked_count; i++) {
        int64_t own = core->parked[i]->cut.due_ms > now ? core->parked[i]->cut.due_ms - now : 0;
        wait = wait == PS_WAIT_FOREVER || own < wait ? own : wait;
    }
    pthread_mutex_unlock(&core->lock);
    return wait;
}

static struct leaf_job *
take(struct leaf_core *core, int64_t due_ms)
{
    struct leaf_job *job = NULL;
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; job == NULL && i < core->parked_count; i++) {
        if (core->parked[i]->cut.due_ms <= due_ms) {
            job = core->parked[i];
            unpark_locked(core, i);
        }
    }
    pthread_mutex_unlock(&core->lock);
    return job;
}

struct leaf_job *
leaf_cut_take_due(struct leaf_core *core)
{
    return take(core, ps_clock_mono_ms());
}

struct leaf_job *
leaf_cut_take_any(struct leaf_core *core)
{
    return take(core, INT64_MAX);
}
