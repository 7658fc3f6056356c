/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_pipeline.h"

#include <stdio.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_drift.h"
#include "coordinator/engine/eng_grant.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_task.h"

static void
need_task(struct engine *engine, struct eng_pipeline *p, Penstock__TaskKind kind)
{
    if (eng_task_find(engine, p, kind) != NULL) {
        return;
    }
    struct eng_task *task = eng_task_add(engine, p, kind);
    if (kind == PENSTOCK__TASK_KIND__TASK_PREPARE) {
        eng_task_set_objects(engine, task);
    } else if (kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
        task->limit = ENG_TASK_LIMIT;
    }
}

/* Looks again when the interval is over. */
static void
discover(struct engine *engine, struct eng_pipeline *p)
{
    bool again = p->limits.is_continuous && engine->now_ms >= p->next_discover_ms;
    if (!p->row.discovery_complete || again) {
        need_task(engine, p, PENSTOCK__TASK_KIND__TASK_DISCOVER);
    }
}

static bool
has_quarantined(const struct eng_pipeline *p)
{
    return p->row.batches_quarantined > 0 || p->row.objects_quarantined > 0;
}

struct first_cause {
    char text[PS_ERROR_TEXT_BYTES];
};

static bool
take_cause(void *ctx, const struct cat_object *row)
{
    struct first_cause *cause = ctx;
    char name[200];
    snprintf(cause->text, sizeof cause->text, ", the first is %s: %s",
             log_quote(row->key, name, sizeof name), row->reason == NULL ? "?" : row->reason);
    return false;
}

static void
stall(struct engine *engine, struct eng_pipeline *p)
{
    struct first_cause cause = {.text = ""};
    struct cat_object_page page = eng_page(p, 1);
    page.state = "quarantined";
    ENG_TRY(engine, cat_object_in_state, &page, take_cause, &cause);
    unsigned long long count = p->row.objects_quarantined;
    char *reason = ps_xasprintf("%llu %s quarantined%s", count,
                                count == 1 ? "object is" : "objects are", cause.text);
    (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_STALL, reason);
    ps_free(reason);
}

/* True when it is over. */
static bool
finish(struct engine *engine, struct eng_pipeline *p)
{
    bool stopped_by_failure = eng_grant_held_back(p) && p->leased == 0 && p->cancelling == 0;
    bool all_done =
        p->row.discovery_complete && p->row.objects_pending == 0 && p->row.batches_open == 0;
    if (stopped_by_failure || (all_done && has_quarantined(p) && !p->limits.is_continuous)) {
        stall(engine, p);
        return true;
    }
    if (all_done && !p->limits.is_continuous) {
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_FINISH,
                                      p->row.objects == 0 ? "no objects matched" : NULL);
        return true;
    }
    return false;
}

static bool
has_older_batches(const struct eng_pipeline *p)
{
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&p->batches) {
        if (PS_CONTAINER(at, struct eng_batch, link)->row.generation != p->row.generation) {
            return true;
        }
    }
    return false;
}

static void
reconcile(struct engine *engine, struct eng_pipeline *p)
{
    bool is_scanning = p->reading != NULL && p->reading->is_scanning;
    if (!is_scanning && eng_reconcile_may_read(engine, p)) {
        need_task(engine, p, PENSTOCK__TASK_KIND__TASK_RECONCILE);
    }
}

static void
step_preparing(struct engine *engine, struct eng_pipeline *p)
{
    if (engine->online_leaves == 0) {
        eng_store_say(p, "waits for an agent");
    } else if (p->row.reason != NULL && strcmp(p->row.reason, "waits for an agent") == 0) {
        eng_store_say(p, NULL);
    }
    if (!p->row.reconciled) {
        reconcile(engine, p);
        return;
    }
    discover(engine, p);
    bool something = p->row.objects_pending > 0 || p->row.batches_open > 0;
    if (!something) {
        (void)finish(engine, p);
        return;
    }
    /* Prepare raises the fence: only after all batches of older generations are settled. */
    if (has_older_batches(p)) {
        eng_store_say(p, "waits: batches of an older generation are being settled");
        return;
    }
    if (!p->row.prepared && (p->row.discovery_complete || p->row.objects >= ENG_PREPARE_OBJECTS)) {
        need_task(engine, p, PENSTOCK__TASK_KIND__TASK_PREPARE);
    }
    if (p->row.prepared) {
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_PREPARED, NULL);
    }
}

static void
step_running(struct engine *engine, struct eng_pipeline *p)
{
    if (eng_grant_over_tolerance(p)) {
        eng_set_text(&p->row.failure_class, "source");
        (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_FAIL,
                                      "tolerance: more records were rejected than "
                                      "errors.tolerance allows");
        return;
    }
    discover(engine, p);
    if (eng_drift_step(engine, p)) {
        eng_store_say(p, "waits: new columns are added to the table");
        return;
    }
    if (finish(engine, p)) {
        return;
    }
    if (p->leased > 0 && p->row.reason != NULL) {
        eng_store_say(p, NULL);
    } else if (p->leased == 0 && engine->online_leaves == 0) {
        eng_store_say(p, "waits for an agent");
    }
}

static void
step(struct engine *engine, struct eng_pipeline *p)
{
    enum pipeline_state before = p->state;
    (void)eng_reconcile_scan(engine, p);
    switch (p->state) {
    case PIPELINE_PREPARING:
        step_preparing(engine, p);
        break;
    case PIPELINE_RUNNING:
        step_running(engine, p);
        break;
    case PIPELINE_STOPPING:
        if (p->leased == 0) {
            (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_QUIET, NULL);
        }
        break;
    case PIPELINE_CREATED:
    case PIPELINE_STOPPED:
    case PIPELINE_COMPLETED:
    case PIPELINE_STALLED:
    case PIPELINE_FAILED:
        if (eng_reconcile_is_asked(p)) {
            reconcile(engine, p);
        }
        break;
    case PIPELINE_STATE_COUNT:
        break;
    }
    /* preparing → running → completed in one turn, where there is nothing to wait for */
    if (p->state != before) {
        step(engine, p);
    }
}

void
eng_pipeline_step_all(struct engine *engine)
{
    bool behind = false;
    PS_LIST_FOR (at, &engine->pipelines) {
        struct eng_pipeline *p = PS_CONTAINER(at, struct eng_pipeline, link);
        behind = behind || (p->is_distrusted && p->state == PIPELINE_PREPARING);
        step(engine, p);
    }
    if (behind != engine->said_behind && engine->env.say_ready != NULL) {
        engine->env.say_ready(engine->env.ctx, behind ? ENG_BEHIND : NULL);
    }
    engine->said_behind = behind;
}

int64_t
eng_pipeline_next_ms(struct engine *engine, struct eng_pipeline *p)
{
    if (p->reading != NULL && p->reading->is_scanning) {
        return engine->now_ms;
    }
    bool looks_again = p->limits.is_continuous && p->row.discovery_complete &&
                       (p->state == PIPELINE_PREPARING || p->state == PIPELINE_RUNNING);
    bool idle = looks_again && eng_task_find(engine, p, PENSTOCK__TASK_KIND__TASK_DISCOVER) == NULL;
    return idle ? p->next_discover_ms : INT64_MAX;
}
