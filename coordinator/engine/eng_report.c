/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_report.h"

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_drift.h"
#include "coordinator/engine/eng_grant.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_hot.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_part.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/plan/cut.h"

/* ---- done */
static const Penstock__RangeEnd *
find_end(const Penstock__Done *done, const struct cat_range *range)
{
    for (size_t i = 0; i < done->n_ends; i++) {
        const Penstock__RangeEnd *end = done->ends[i];
        if (end->bp_id == range->bp_id && end->from == range->from && end->end >= end->from) {
            return end;
        }
    }
    return NULL;
}

/* Ends come in the order of the ranges, as a rule: looked for there first. */
static const Penstock__RangeEnd *
end_of(const Penstock__Done *done, const struct cat_range *range, size_t i)
{
    if (i < done->n_ends && done->ends[i]->bp_id == range->bp_id &&
        done->ends[i]->from == range->from && done->ends[i]->end >= range->from) {
        return done->ends[i];
    }
    return find_end(done, range);
}

static bool
has_all_ends(const Penstock__Done *done, const struct eng_batch *b)
{
    for (uint32_t i = 0; i < b->row.ranges; i++) {
        const Penstock__RangeEnd *end = end_of(done, &b->ranges[i], i);
        if (end == NULL || (end->has_start && (end->start < end->from || end->start > end->end))) {
            return false;
        }
    }
    return true;
}

/* The offset moves with its rows: this range is in the destination's ledger. True when what follows
 * is a chain: the next range is cut from here on. */
static bool
load_range(struct engine *engine, struct eng_pipeline *p, const struct cat_range *range,
           const Penstock__RangeEnd *end, uint64_t spent_ms)
{
    struct eng_object object;
    bool is_chain = false;
    if (!eng_store_get_object(engine, p, range->bp_id, &object)) {
        return false;
    }
    if (object.row.offset == range->from && object.state != OBJECT_DONE) {
        bool stuck = !end->eof && end->end == range->from;
        object.row.offset = end->end;
        object.row.records += end->records;
        object.row.spent_ms += spent_ms;
        eng_set_span(&object.row.resume, end->eof ? ps_span(NULL, 0) : eng_span(end->resume));
        eng_store_set_rest(p, &object,
                           end->eof ? 0
                                    : cut_rest_bytes(object.row.size_bytes, object.row.compressed,
                                                     object.row.offset, p->limits.batch_bytes));
        if (stuck) {
            eng_set_text(&object.row.reason, ENG_NO_PROGRESS ": a batch ended where it began");
        }
        (void)eng_store_move_object(engine, p, &object,
                                    stuck      ? OBJECT_ON_QUARANTINE
                                    : end->eof ? OBJECT_ON_END_LOADED
                                               : OBJECT_ON_PART_LOADED);
        eng_drift_seen(engine, p, object.row.key, end);
        if (end->splittable) {
            eng_part_begin(engine, p, &object);
        }
        is_chain = !end->eof && object.row.cut_offset == 0;
        eng_store_note_slowest(p, &object);
        eng_store_save_object(engine, &object);
    }
    eng_store_end_object(&object);
    return is_chain;
}

static void
add_counts(struct cat_counts *to, const struct cat_counts *more)
{
    to->decoded += more->decoded;
    to->rejected += more->rejected;
    to->filtered += more->filtered;
    to->inserted += more->inserted;
    to->updated += more->updated;
    to->skipped += more->skipped;
    to->rejected_at_load += more->rejected_at_load;
    to->raw_bytes += more->raw_bytes;
    to->unwrapped_bytes += more->unwrapped_bytes;
}

void
eng_report_settle_loaded(struct engine *engine, struct eng_batch *b, const Penstock__Done *done)
{
    struct eng_pipeline *p = b->pipeline;
    p->loads++;
    uint64_t total_bytes = 0;
    uint64_t spent_ms = done->fetch_ms + done->load_ms;
    for (uint32_t i = 0; i < b->row.ranges; i++) {
        const Penstock__RangeEnd *end = end_of(done, &b->ranges[i], i);
        total_bytes += end->end - end->from;
    }
    bool is_current = b->row.generation == p->row.generation;
    bool chain = false;
    for (uint32_t i = 0; is_current && i < b->row.ranges; i++) {
        const Penstock__RangeEnd *end = end_of(done, &b->ranges[i], i);
        uint64_t share = total_bytes == 0
                             ? 0
                             : (uint64_t)((double)spent_ms * (double)(end->end - end->from) /
                                          (double)total_bytes);
        if (b->ranges[i].part) {
            eng_part_loaded(engine, b, end, share);
        } else {
            chain = load_range(engine, p, &b->ranges[i], end, share) && b->row.ranges == 1;
        }
    }
    b->row.counts = eng_counts(done->counts);
    if (is_current) {
        add_counts(&p->row.counts, &b->row.counts);
    }
    b->row.fetch_ms = done->fetch_ms;
    b->row.stage_ms = done->stage_ms;
    b->row.load_ms = done->load_ms;
    eng_set_text(&b->row.code, NULL);
    eng_set_text(&b->row.reason, NULL);
    struct eng_agent *agent = b->row.agent == NULL ? NULL : eng_hello_find(engine, b->row.agent);
    if (chain && agent != NULL && agent->state == ENG_AGENT_ONLINE) {
        eng_hot_note(engine, p, b->ranges[0].bp_id, agent, b->row.leaf);
    }
    (void)eng_store_move_batch(engine, &b, BATCH_ON_DONE);
}

/* Its ranges may be cut again now, but for the one at fault. */
static void
settle_cancelled(struct engine *engine, struct eng_batch *b)
{
    struct eng_pipeline *p = b->pipeline;
    bool is_current = b->row.generation == p->row.generation;
    for (uint32_t i = 0; is_current && i < b->row.ranges; i++) {
        struct eng_object object;
        if (!eng_store_get_object(engine, p, b->ranges[i].bp_id, &object)) {
            continue;
        }
        if (b->row.fault_bp == object.row.id) {
            char *reason = ps_xasprintf("%s: %s", b->row.code == NULL ? "failed" : b->row.code,
                                        b->row.reason == NULL ? "" : b->row.reason);
            eng_set_text(&object.row.reason, reason);
            ps_free(reason);
            (void)eng_store_move_object(engine, p, &object, OBJECT_ON_QUARANTINE);
        } else if (!b->ranges[i].part) {
            (void)eng_store_move_object(engine, p, &object, OBJECT_ON_CUT_AGAIN);
        }
        if (b->ranges[i].part) {
            eng_part_freed(engine, p, &object, b->ranges[i].from);
        }
        eng_store_save_object(engine, &object);
        eng_discover_advance(engine, p, &object);
        eng_store_end_object(&object);
    }
    (void)eng_store_move_batch(engine, &b, BATCH_ON_TOMBSTONED);
}

void
eng_report_done(struct engine *engine, const struct engine_request *request,
                const Penstock__Done *done)
{
    struct eng_agent *agent = NULL;
    (void)eng_hello_who(engine, done->origin, &agent); /* it counts whoever says it */
    struct eng_batch *b = eng_store_find_batch(engine, eng_span(done->batch_id));
    if (b == NULL) {
        uint64_t epoch = 0;
        bool settled = eng_store_find_settled(engine, eng_span(done->batch_id), &epoch);
        eng_out_report(engine, request,
                       settled ? PENSTOCK__ANSWER__ANSWER_OK : PENSTOCK__ANSWER__ANSWER_STALE,
                       settled ? NULL : "no such batch");
        return;
    }
    if (done->outcome == PENSTOCK__OUTCOME__OUTCOME_CANCELLED) {
        settle_cancelled(engine, b);
    } else if (has_all_ends(done, b)) {
        eng_report_settle_loaded(engine, b, done);
    } else {
        log_error("report.refused", "agent=%s: done without the ends of all ranges",
                  done->origin->agent);
        eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_REFUSED,
                       "the ends of some ranges are missing");
        return;
    }
    eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_OK, NULL);
}

/* ---- failed */
static void
move_objects(struct engine *engine, struct eng_batch *b, enum object_event event)
{
    for (uint32_t i = 0; i < b->row.ranges; i++) {
        struct eng_object object;
        if (!eng_store_get_object(engine, b->pipeline, b->ranges[i].bp_id, &object)) {
            continue;
        }
        if (event == OBJECT_ON_QUARANTINE) {
            eng_set_text(&object.row.reason, b->row.reason);
        }
        (void)eng_store_move_object(engine, b->pipeline, &object, event);
        eng_part_settle(engine, b->pipeline, &object);
        eng_store_save_object(engine, &object);
        eng_store_end_object(&object);
    }
}

static void
count_killer(struct eng_batch *b)
{
    char *killer = ps_xasprintf("%s/%u", b->row.agent == NULL ? "-" : b->row.agent, b->row.leaf);
    const char *all = b->row.killers == NULL ? "" : b->row.killers;
    bool known = false;
    for (const char *at = all; !known && (at = strstr(at, killer)) != NULL; at++) {
        char behind = at[strlen(killer)];
        known = (at == all || at[-1] == ' ') && (behind == '\0' || behind == ' ');
    }
    if (!known) {
        char *more = ps_xasprintf("%s%s%s", all, all[0] == '\0' ? "" : " ", killer);
        eng_set_text(&b->row.killers, more);
        b->row.killed++;
        ps_free(more);
    }
    ps_free(killer);
}

static void
wait_for_retry(struct engine *engine, struct eng_batch *b)
{
    int64_t wait_ms =
        sched_backoff_ms(b->row.attempts == 0 ? 1 : b->row.attempts, eng_random(engine));
    eng_store_set_retry(b, engine->now_ms + wait_ms);
    b->row.retry_ms = engine->wall_ms + wait_ms;
    b->pipeline->row.retries++;
    b->pipeline->dirty = true;
}

/* Only the move of a tombstone's state is without an edge: it stays CANCELLING. */
static void
move_or_release(struct engine *engine, struct eng_batch *b, enum batch_event event)
{
    if (!eng_store_move_batch(engine, &b, event)) {
        eng_store_unlease(b);
        eng_store_save_batch(engine, b);
    }
}

static void
follow(struct engine *engine, struct eng_batch *b, enum sched_verdict verdict,
       const struct eng_failure *failure)
{
    struct eng_pipeline *p = b->pipeline;
    switch (verdict) {
    case SCHED_RETRY:
        wait_for_retry(engine, b);
        move_or_release(engine, b,
                        failure->class == SCHED_EXPIRED ? BATCH_ON_EXPIRED : BATCH_ON_RETRY);
        break;
    case SCHED_GIVE_BACK:
        if (failure->class == SCHED_NOT_VISIBLE && failure->agent != NULL) {
            eng_grant_unseen(engine, p, failure->agent, failure->text);
        }
        move_or_release(engine, b, BATCH_ON_GIVEN_BACK);
        break;
    case SCHED_QUARANTINE:
        move_objects(engine, b, OBJECT_ON_QUARANTINE);
        (void)eng_store_move_batch(engine, &b, BATCH_ON_QUARANTINE);
        break;
    case SCHED_CANCEL_FAULT:
        b->row.fault_bp = failure->fault_bp != 0 ? failure->fault_bp : b->ranges[0].bp_id;
        (void)eng_store_move_batch(engine, &b, BATCH_ON_CANCEL);
        break;
    case SCHED_CANCEL_FENCED:
        (void)eng_store_move_batch(engine, &b, BATCH_ON_CANCEL);
        eng_set_text(&p->row.failure_class, "destination");
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_FAIL,
                                      "fenced: the destination belongs to another generation or "
                                      "another pipeline of this name");
        break;
    case SCHED_CANCEL_CONFLICT:
        (void)eng_store_move_batch(engine, &b, BATCH_ON_CANCEL);
        /* No page of a discovery may add what that part of the ledger which is read has already. */
        eng_task_end_all(engine, p);
        eng_reconcile_want(engine, p);
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_RECONCILE, NULL);
        p->dirty = true;
        break;
    case SCHED_CANCELLED_OVER:
        settle_cancelled(engine, b);
        eng_set_text(&p->row.failure_class, "source");
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_FAIL,
                                      "tolerance: more records were rejected than "
                                      "errors.tolerance allows");
        break;
    }
}

void
eng_report_fail(struct engine *engine, struct eng_batch *b, const struct eng_failure *failure)
{
    char id[PS_ID_TEXT_BYTES];
    bool is_tombstone = b->state == BATCH_CANCELLING;
    if (failure->class == SCHED_LEAF_DIED) {
        count_killer(b);
    }
    struct sched_failure view = {
        .class = failure->class,
        .is_tombstone = is_tombstone,
        .source_gone = strcmp(failure->code, "source_changed") == 0 ||
                       strcmp(failure->code, "source_missing") == 0,
        .names_fault = failure->fault_bp != 0,
        .ranges = b->row.ranges,
        .attempts = b->row.attempts,
        .killers = b->row.killed,
        .max_retries = b->pipeline->limits.max_retries,
    };
    /* While it is settled, the reason stays the one why. */
    if (!is_tombstone && failure->class != SCHED_GRACEFUL) {
        eng_set_text(&b->row.code, failure->code);
        eng_set_text(&b->row.reason, failure->text);
    }
    enum sched_verdict verdict = sched_judge(&view);
    if (failure->class != SCHED_EXPIRED) {
        /* It was given up: a Sync from before that still lists it must not bring it back. */
        b->row.incarnation = (struct incarnation){0};
    }
    b->row.attempts += sched_counts(failure->class) ? 1 : 0;
    if (failure->class != SCHED_GRACEFUL) {
        log_warn("batch.failed",
                 "pipeline=%s batch=%s agent=%s leaf=%u attempt=%u code=%s "
                 "text=\"%s\"",
                 b->pipeline->row.name, ps_id_text(b->row.id.id, id),
                 b->row.agent == NULL ? "-" : b->row.agent, b->row.leaf, b->row.attempts,
                 failure->code, failure->text);
    }
    follow(engine, b, verdict, failure);
}

static enum sched_class
class_of(Penstock__FailClass class)
{
    switch (class) {
    case PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT:
        return SCHED_TRANSIENT;
    case PENSTOCK__FAIL_CLASS__FAIL_PERMANENT:
    case PENSTOCK__FAIL_CLASS__FAIL_UNKNOWN_COLUMNS: /* more than limits.max_columns */
        return SCHED_PERMANENT;
    case PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL:
        return SCHED_GRACEFUL;
    case PENSTOCK__FAIL_CLASS__FAIL_LEAF_DIED:
        return SCHED_LEAF_DIED;
    case PENSTOCK__FAIL_CLASS__FAIL_NOT_VISIBLE:
        return SCHED_NOT_VISIBLE;
    case PENSTOCK__FAIL_CLASS__FAIL_FENCED:
        return SCHED_FENCED;
    case PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT:
        return SCHED_RANGE_CONFLICT;
    case PENSTOCK__FAIL_CLASS__FAIL_TOLERANCE:
        return SCHED_TOLERANCE;
    case _PENSTOCK__FAIL_CLASS_IS_INT_SIZE:
        break;
    }
    return SCHED_TRANSIENT;
}

void
eng_report_failed(struct engine *engine, const struct engine_request *request,
                  const Penstock__Failed *failed)
{
    struct eng_agent *agent = NULL;
    enum eng_who who = eng_hello_who(engine, failed->origin, &agent);
    if (who != ENG_WHO_OK) {
        eng_out_report(engine, request,
                       who == ENG_WHO_STALE ? PENSTOCK__ANSWER__ANSWER_STALE
                                            : PENSTOCK__ANSWER__ANSWER_UNKNOWN,
                       NULL);
        return;
    }
    struct eng_batch *b = eng_store_find_batch(engine, eng_span(failed->batch_id));
    if (b == NULL || b->row.epoch != failed->epoch) {
        eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_STALE,
                       "the batch is settled or has a newer epoch");
        return;
    }
    bool is_drift = failed->class_ == PENSTOCK__FAIL_CLASS__FAIL_UNKNOWN_COLUMNS;
    if (b->holder == agent && is_drift && b->state == BATCH_LEASED &&
        eng_drift_take(engine, b, failed)) {
        engine->tell_all = true;     /* nothing more of it before the columns are there */
    } else if (b->holder == agent) { /* else a repeat, or its lease has run out meanwhile */
        struct eng_failure failure = {.class = class_of(failed->class_),
                                      .code = failed->code,
                                      .text = failed->text,
                                      .fault_bp = failed->has_bp_id ? failed->bp_id : 0,
                                      .agent = agent};
        eng_report_fail(engine, b, &failure);
    }
    eng_out_report(engine, request, PENSTOCK__ANSWER__ANSWER_OK, NULL);
}

/* ---- people */
void
eng_report_reset(struct engine *engine, struct eng_pipeline *p)
{
    PS_LIST_FOR (at, &p->batches) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, link);
        if (b->state == BATCH_QUARANTINED || b->state == BATCH_WAITING) {
            if (b->state == BATCH_QUARANTINED) {
                move_objects(engine, b, OBJECT_ON_REOPEN);
            }
            b->row.attempts = b->row.killed = 0;
            eng_set_text(&b->row.killers, NULL);
            eng_store_set_retry(b, 0);
            b->row.retry_ms = 0;
            (void)eng_store_move_batch(engine, &b, BATCH_ON_RESET);
        } else if (b->state == BATCH_CANCELLING) {
            eng_store_set_retry(b, 0);
        }
    }
    eng_discover_reset(engine, p);
}

void
eng_report_drop_open(struct engine *engine, struct eng_pipeline *p)
{
    PS_LIST_FOR (at, &p->batches) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, link);
        eng_set_text(&b->row.reason, "the pipeline has a newer generation");
        if (b->state != BATCH_CANCELLING) {
            eng_store_set_retry(b, 0);
            (void)eng_store_move_batch(engine, &b, BATCH_ON_CANCEL);
        }
        /* What was granted may still be committed by somebody: its tombstone has to be written. */
        if (b->row.epoch == 0) {
            (void)eng_store_move_batch(engine, &b, BATCH_ON_TOMBSTONED);
        }
    }
}

void
eng_report_cancel_all(struct engine *engine, struct eng_pipeline *p, const char *reason)
{
    PS_LIST_FOR (at, &p->batches) {
        struct eng_batch *b = PS_CONTAINER(at, struct eng_batch, link);
        if (b->state != BATCH_CANCELLING) {
            eng_set_text(&b->row.reason, reason);
            eng_store_set_retry(b, 0);
            (void)eng_store_move_batch(engine, &b, BATCH_ON_CANCEL);
        }
        if (b->row.epoch == 0) { /* nobody has ever had it */
            settle_cancelled(engine, b);
        }
    }
}
