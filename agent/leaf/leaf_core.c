/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_core.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "agent/leaf/leaf_away.h"
#include "agent/leaf/leaf_cut.h"
#include "agent/leaf/leaf_decide.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/log.h"
#include "common/rand.h"

bool
leaf_core_hold(struct leaf_core *core, struct leaf_job *job)
{
    pthread_mutex_lock(&core->lock);
    bool room = core->held_count < LEAF_HELD_MAX;
    if (room) {
        core->held[core->held_count++] = job;
    }
    pthread_mutex_unlock(&core->lock);
    return room;
}

struct leaf_job *
leaf_core_find_locked(struct leaf_core *core, struct ps_span batch_id, uint64_t epoch)
{
    for (size_t i = 0; i < core->held_count; i++) {
        struct leaf_job *job = core->held[i];
        if (job->epoch == epoch && ps_span_eq(batch_id, ps_span(job->id.id.b, PS_ID_BYTES))) {
            return job;
        }
    }
    return NULL;
}

bool
leaf_core_holds(struct leaf_core *core, struct ps_span batch_id, uint64_t epoch)
{
    pthread_mutex_lock(&core->lock);
    bool found = leaf_core_find_locked(core, batch_id, epoch) != NULL;
    pthread_mutex_unlock(&core->lock);
    return found;
}

void
leaf_core_cancel(struct leaf_core *core, struct ps_span batch_id, uint64_t epoch)
{
    pthread_mutex_lock(&core->lock);
    struct leaf_job *job = leaf_core_find_locked(core, batch_id, epoch);
    if (job != NULL) {
        atomic_store(&job->cancel, true);
        leaf_cut_cancelled_locked(core, job);
    }
    pthread_cond_broadcast(&core->changed);
    pthread_mutex_unlock(&core->lock);
}

static void
let_go(struct leaf_core *core, struct leaf_job **own_job, bool keep)
{
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < core->held_count; i++) {
        if (core->held[i] == *own_job) {
            core->held[i] = core->held[--core->held_count];
            break;
        }
    }
    pthread_mutex_unlock(&core->lock);
    if (!keep) {
        stage_batch_free((*own_job)->rows);
    } else if (stage_batch_keep((*own_job)->rows)) {
        atomic_store(&core->kept_news, true);
    }
    (*own_job)->rows = NULL;
    leaf_job_free(core->docs, *own_job);
    *own_job = NULL;
}

void
leaf_core_name_thread(const char *name)
{
    prctl(PR_SET_NAME, name);
}

static const char *
phase_name(Penstock__Phase phase)
{
    switch (phase) {
    case PENSTOCK__PHASE__PHASE_WAIT:
        return "wait";
    case PENSTOCK__PHASE__PHASE_FETCH:
        return "fetch";
    case PENSTOCK__PHASE__PHASE_STAGE:
        return "stage";
    case PENSTOCK__PHASE__PHASE_LOAD:
        return "load";
    case PENSTOCK__PHASE__PHASE_COMMIT:
        return "commit";
    case PENSTOCK__PHASE__PHASE_REPORT:
        return "report";
    case _PENSTOCK__PHASE_IS_INT_SIZE:
        break;
    }
    return "wait";
}

void
leaf_core_phase(struct leaf_core *core, struct leaf_job *job, Penstock__Phase phase)
{
    atomic_store(&job->phase, (int)phase);
    leaf_core_name_thread(phase_name(phase));
    leaf_core_progress(core);
}

void
leaf_core_note(struct leaf_core *core, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    pthread_mutex_lock(&core->lock);
    vsnprintf(core->note, sizeof core->note, fmt, args);
    pthread_mutex_unlock(&core->lock);
    va_end(args);
}

/* An agent that is gone is noticed by the link thread; here there is nobody left to tell. */
static void
send_or_drop(struct leaf_core *core, enum msg_type type, const void *message)
{
    struct ps_error err;
    enum ps_status status = leaf_link_send(core->link, type, message, &err);
    if (status != PS_OK && status != PS_CANCELED) {
        log_error("leaf.send_failed", "leaf=%u type=%s error=\"%s\"", core->config->leaf,
                  msg_type_name(type), err.text);
    }
}

static void
fill_held(const struct leaf_job *job, uint32_t leaf, Penstock__Held *out)
{
    penstock__held__init(out);
    uint32_t at = atomic_load(&job->range_now);
    out->batch_id = proto_bytes(job->id.id.b, PS_ID_BYTES);
    out->epoch = job->epoch;
    out->leaf = leaf;
    out->phase = (Penstock__Phase)atomic_load(&job->phase);
    out->has_bytes = true;
    out->bytes = atomic_load(&job->bytes);
    out->has_rows = true;
    out->rows = atomic_load(&job->rows_seen);
    out->has_start = out->has_end = out->has_proven = job->cut.end != 0;
    out->start = job->cut.end != 0 ? job->cut.start : 0;
    out->end = job->cut.end;
    out->proven = job->cut.end != 0 && job->cut.proven;
    out->has_stored = out->stored = atomic_load(&job->stored);
    /* Of the many that wait on disk nobody asks where they are. */
    out->has_object =
        at < job->range_count && (!out->stored || out->phase >= PENSTOCK__PHASE__PHASE_LOAD);
    if (out->has_object) {
        out->object = proto_bytes(job->ranges[at].key.ptr, job->ranges[at].key.len);
    }
}

/* The busiest phase is the one people want to see: what is nearest to the destination. */
static void
fill_status(struct leaf_core *core, Penstock__LeafStatus *out)
{
    penstock__leaf_status__init(out);
    out->leaf = core->config->leaf;
    out->has_pid = true;
    out->pid = (uint32_t)getpid();
    out->state = atomic_load(&core->drain) ? "draining" : core->held_count > 0 ? "working" : "idle";
    out->has_phase = true;
    const struct leaf_job *busiest = NULL;
    for (size_t i = 0; i < core->held_count; i++) {
        Penstock__Phase phase = (Penstock__Phase)atomic_load(&core->held[i]->phase);
        if (busiest == NULL || phase >= out->phase) {
            out->phase = phase;
            busiest = core->held[i];
        }
    }
    uint32_t at = busiest == NULL ? 0 : atomic_load(&busiest->range_now);
    out->has_object = busiest != NULL && at < busiest->range_count;
    if (out->has_object) {
        out->object = proto_bytes(busiest->ranges[at].key.ptr, busiest->ranges[at].key.len);
    }
    out->has_bytes_total = true;
    out->bytes_total = atomic_load(&core->bytes_total);
    out->has_rows_total = true;
    out->rows_total = atomic_load(&core->rows_total);
    out->note = core->note;
}

static void
send_progress(struct leaf_core *core, bool all)
{
    Penstock__LeafStatus status;
    Penstock__LeafProgress progress;
    char note[LEAF_AWAY_NOTE_BYTES];
    penstock__leaf_progress__init(&progress);
    /* The lock is kept while sending: the objects' names belong to jobs that must not go away. */
    pthread_mutex_lock(&core->lock);
    Penstock__Held *held = ps_xcalloc(core->held_count + 1, sizeof *held);
    Penstock__Held **held_at = ps_xcalloc(core->held_count + 1, sizeof(Penstock__Held *));
    for (size_t i = 0; i < core->held_count; i++) {
        struct leaf_job *job = core->held[i];
        bool waits = job->stored_told && atomic_load(&job->stored) &&
                     atomic_load(&job->phase) == (int)PENSTOCK__PHASE__PHASE_STAGE;
        job->stored_told = atomic_load(&job->stored);
        if (all || !waits) {
            fill_held(job, core->config->leaf, &held[progress.n_held]);
            held_at[progress.n_held] = &held[progress.n_held];
            progress.n_held++;
        }
    }
    fill_status(core, &status);
    leaf_away_status_locked(core, &status, note);
    progress.status = &status;
    progress.held = held_at;
    progress.has_takes = true;
    progress.takes = leaf_away_takes_locked(core);
    send_or_drop(core, MSG_LEAF_PROGRESS, &progress);
    pthread_mutex_unlock(&core->lock);
    ps_free(held_at);
    ps_free(held);
}

void
leaf_core_progress(struct leaf_core *core)
{
    send_progress(core, false);
}

void
leaf_core_progress_all(struct leaf_core *core)
{
    send_progress(core, true);
}

void
leaf_core_counts_to_proto(const struct dest_counts *in, Penstock__Counts *out)
{
    penstock__counts__init(out);
#define COUNT(field)                                                                               \
    out->has_##field = true;                                                                       \
    out->field = in->field
    COUNT(decoded);
    COUNT(rejected);
    COUNT(filtered);
    COUNT(inserted);
    COUNT(updated);
    COUNT(skipped);
    COUNT(rejected_at_load);
    COUNT(raw_bytes);
    COUNT(unwrapped_bytes);
#undef COUNT
}

/* ALREADY returns the ledger's ends, never the retry's; the catalog's number comes from the grant.
 */
static const struct dest_range *
ledger_range(const struct dest_result *result, const struct leaf_job *job, size_t index)
{
    const struct dest_range *own = &job->ranges[index];
    if (job->cut.is) { /* alone in its batch; the ledger has its true start */
        return result->range_count == 1 ? &result->ranges[0] : NULL;
    }
    for (size_t i = 0; i < result->range_count; i++) {
        const struct dest_range *range = &result->ranges[i];
        if (range->from == own->from && ps_id_eq(range->bp.id, own->bp.id)) {
            return range;
        }
    }
    return NULL;
}

static void
fill_end(const struct leaf_job *job, size_t index, const struct dest_range *range,
         Penstock__RangeEnd *end)
{
    penstock__range_end__init(end);
    end->bp_id = job->message->grant->batch->ranges[index]->bp_id;
    end->bp_hash = proto_bytes(range->bp.id.b, PS_ID_BYTES);
    end->from = range->from;
    end->end = range->end;
    end->eof = range->eof;
    end->has_resume = range->resume.len > 0;
    end->resume = proto_bytes(range->resume.ptr, range->resume.len);
    end->has_records = true;
    end->records = range->records;
    end->has_splittable = true;
    end->splittable = !range->eof && job->splittable_range == index;
    if (job->cut.is) {
        end->from = job->cut.at;
        end->has_start = true;
        end->start = range->from;
    }
    if (job->cut.is && range == &job->ranges[index] && job->cut.read_start == job->cut.read_end) {
        /* Nothing begins here: the ledger says [cut, cut), the coordinator hears what does. */
        end->start = end->end = job->cut.read_end;
        end->eof = job->cut.eof;
        end->has_resume = job->resume[index].len > 0;
        end->resume = proto_bytes(job->resume[index].ptr, job->resume[index].len);
    }
}

void
leaf_core_send_done(struct leaf_core *core, const struct leaf_job *job, Penstock__Outcome outcome,
                    const struct dest_result *result)
{
    Penstock__RangeEnd *ends = ps_xcalloc(job->range_count, sizeof *ends);
    Penstock__RangeEnd **ends_at = ps_xcalloc(job->range_count, sizeof *ends_at);
    Penstock__Counts counts;
    Penstock__LeafDone done;
    penstock__leaf_done__init(&done);
    for (size_t i = 0; outcome != PENSTOCK__OUTCOME__OUTCOME_CANCELLED && i < job->range_count;
         i++) {
        const struct dest_range *range = &job->ranges[i];
        if (outcome == PENSTOCK__OUTCOME__OUTCOME_ALREADY) {
            range = ledger_range(result, job, i);
        }
        if (range == NULL) {
            continue; /* the ledger has no such range: the coordinator keeps its offset */
        }
        fill_end(job, i, range, &ends[done.n_ends]);
        ends[done.n_ends].n_unknown =
            leaf_drift_untold(core->docs, job->doc, job->drift, i, &ends[done.n_ends].unknown);
        ends_at[done.n_ends] = &ends[done.n_ends];
        done.n_ends++;
    }
    leaf_core_counts_to_proto(&result->counts, &counts);
    done.batch_id = proto_bytes(job->id.id.b, PS_ID_BYTES);
    done.epoch = job->epoch;
    done.outcome = outcome;
    done.counts = &counts;
    done.ends = ends_at;
    done.has_fetch_ms = done.has_stage_ms = done.has_load_ms = true;
    done.fetch_ms = (uint64_t)job->fetch_ms;
    done.stage_ms = (uint64_t)job->stage_ms;
    done.load_ms = (uint64_t)job->load_ms;
    send_or_drop(core, MSG_LEAF_DONE, &done);
    for (size_t i = 0; i < done.n_ends; i++) {
        ps_free(ends[i].unknown);
    }
    ps_free(ends_at);
    ps_free(ends);
}

void
leaf_core_done(struct leaf_core *core, struct leaf_job **own_job, Penstock__Outcome outcome,
               const struct dest_result *result)
{
    leaf_core_send_done(core, *own_job, outcome, result);
    let_go(core, own_job, false);
}

void
leaf_core_failed(struct leaf_core *core, struct leaf_job **own_job, Penstock__FailClass class,
                 const struct ps_error *err, const uint64_t *bp_id)
{
    struct leaf_job *job = *own_job;
    Penstock__LeafFailed failed;
    penstock__leaf_failed__init(&failed);
    failed.batch_id = proto_bytes(job->id.id.b, PS_ID_BYTES);
    failed.epoch = job->epoch;
    failed.class_ = class;
    const char *code = err->code[0] != '\0' ? err->code : ps_status_name(err->status);
    failed.code = (char *)(uintptr_t)code;
    failed.text = (char *)(uintptr_t)err->text;
    failed.has_bp_id = bp_id != NULL;
    failed.bp_id = bp_id == NULL ? 0 : *bp_id;
    Penstock__Column *columns = NULL;
    if (class == PENSTOCK__FAIL_CLASS__FAIL_UNKNOWN_COLUMNS) {
        failed.n_columns = leaf_drift_columns(job->drift, &columns, &failed.columns);
    }
    send_or_drop(core, MSG_LEAF_FAILED, &failed);
    ps_free(failed.columns);
    ps_free(columns);
    let_go(core, own_job, leaf_decide_keeps(class, err));
}

void
leaf_core_wait_locked(struct leaf_core *core, int64_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&core->changed, &core->lock, &until);
}

uint64_t
leaf_core_dest_bytes(const struct leaf_core *core)
{
    uint64_t budget = core->config->budget_bytes;
    return budget <= LEAF_RESERVE_BYTES ? budget / 32 : budget / 16;
}

bool
leaf_core_wait_for_room(struct leaf_core *core, const struct leaf_job *job, const char *whose,
                        unsigned attempt, const struct ps_error *err)
{
    uint64_t random;
    ps_rand_system(&random, sizeof random);
    if (attempt == 0) {
        log_warn("disk.full", "leaf=%u batch=%s error=\"%s\"", core->config->leaf,
                 job == NULL ? "-" : job->id_text, err->text);
    }
    leaf_core_note(core, "waits for room on the %s disk: %s", whose, err->text);
    leaf_core_progress(core);
    pthread_mutex_lock(&core->lock);
    bool stop = atomic_load(&core->stop) ||
                (job != NULL ? atomic_load(&job->cancel) : atomic_load(&core->task_cancel));
    if (!stop) {
        leaf_core_wait_locked(core, leaf_decide_room_ms(attempt, random));
    }
    pthread_mutex_unlock(&core->lock);
    return !stop;
}

void
leaf_core_wake(struct leaf_core *core)
{
    pthread_mutex_lock(&core->lock);
    pthread_cond_broadcast(&core->changed);
    pthread_mutex_unlock(&core->lock);
}

enum ps_status
leaf_core_turn_take(struct leaf_core *core, int slot, const char *dest, struct ps_error *err)
{
    struct leaf_turn *turn = &core->turns[slot];
    Penstock__TurnAsk ask;
    penstock__turn_ask__init(&ask);
    pthread_mutex_lock(&core->lock);
    PS_ASSERT(turn->number == 0);
    turn->number = ++core->next_turn;
    turn->granted = false;
    snprintf(turn->dest, sizeof turn->dest, "%s", dest);
    ask.dest = turn->dest;
    ask.turn = turn->number;
    pthread_mutex_unlock(&core->lock);
    enum ps_status status = leaf_link_send(core->link, MSG_TURN_ASK, &ask, err);
    pthread_mutex_lock(&core->lock);
    while (status == PS_OK && !turn->granted) {
        if (atomic_load(&core->stop)) {
            status = ps_fail(err, PS_CANCELED, "stopped while waiting for the writer's turn");
            turn->number = 0;
        } else {
            leaf_core_wait_locked(core, 1000);
        }
    }
    pthread_mutex_unlock(&core->lock);
    return status;
}

void
leaf_core_turn_release(struct leaf_core *core, int slot)
{
    struct leaf_turn *turn = &core->turns[slot];
    Penstock__TurnRelease release;
    penstock__turn_release__init(&release);
    pthread_mutex_lock(&core->lock);
    release.dest = turn->dest;
    release.turn = turn->number;
    turn->number = 0;
    pthread_mutex_unlock(&core->lock);
    send_or_drop(core, MSG_TURN_RELEASE, &release);
}

void
leaf_core_turn_granted(struct leaf_core *core, uint64_t number)
{
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < sizeof core->turns / sizeof core->turns[0]; i++) {
        if (core->turns[i].number == number) {
            core->turns[i].granted = true;
        }
    }
    pthread_cond_broadcast(&core->changed);
    pthread_mutex_unlock(&core->lock);
}
