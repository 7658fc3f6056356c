/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_leaf.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "tests/sim/sim_cut.h"
#include "tests/sim/sim_stage.h"
#include "tests/sim/sim_task.h"

enum {
    START_MOST_MS = 200,
    BEAT_MS = 500,
    WORK_MOST_MS = 3000,
    WORK_QUIET_MS = 20, /* once the faults are over: no run is long for its work alone */
    COMMIT_MOST_MS = 10,
    ZOMBIE_MOST_MS = 20000,
};

struct sim_mail {
    struct ps_list link;
    enum msg_type type;
    ProtobufCMessage *message;
};

/* ---- mail */
/* b of an event that belongs to one process of a leaf. */
static uint64_t
which(const struct sim_leaf *leaf)
{
    return leaf->number | (uint64_t)leaf->life << 8;
}

/* NULL: that process is over. */
static struct sim_leaf *
living(struct sim_agent *agent, uint64_t b)
{
    struct sim_leaf *leaf = agent == NULL ? NULL : &agent->leaves[b & 0xff];
    return leaf != NULL && leaf->up && leaf->life == b >> 8 ? leaf : NULL;
}

static void
put_mail(struct sim *sim, struct ps_list *box, enum msg_type type, const ProtobufCMessage *message)
{
    struct sim_mail *mail = ps_xcalloc(1, sizeof *mail);
    mail->type = type;
    mail->message = sim_copy(sim, type, message);
    ps_list_push_back(box, &mail->link);
}

static void
free_mail(struct ps_list *box)
{
    PS_LIST_FOR (at, box) {
        struct sim_mail *mail = PS_CONTAINER(at, struct sim_mail, link);
        ps_list_remove(&mail->link);
        msg_free(mail->message);
        ps_free(mail);
    }
}

/* The agent reads: also what a leaf said before it died. */
static void
deliver_to_agent(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    if (agent == NULL || agent->leaves[b & 0xff].life != b >> 8 ||
        sim_agent_is_paused(sim, agent, deliver_to_agent, a, b)) {
        return;
    }
    struct ps_list *link = ps_list_take_front(&agent->leaves[b & 0xff].outbox);
    if (link == NULL) {
        return;
    }
    struct sim_mail *mail = PS_CONTAINER(link, struct sim_mail, link);
    control_core_leaf_message(agent->core, (uint32_t)(b & 0xff), mail->type, &mail->message);
    ps_free(mail);
    sim_agent_turn(sim, agent);
}

void
sim_leaf_say(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, enum msg_type type,
             const ProtobufCMessage *message)
{
    put_mail(sim, &leaf->outbox, type, message);
    sim_at(sim, SIM_MAIL_MS, deliver_to_agent, sim_agent_who(agent), which(leaf), NULL);
}

/* ---- work */
static void
free_work(struct sim_work *work)
{
    if (work->busy_in != NULL) {
        sim_busy_change(work->busy_in, --*work->busy_count == 0 ? -1 : 0);
    }
    ps_list_remove(&work->link);
    msg_free((ProtobufCMessage *)work->grant);
    msg_free((ProtobufCMessage *)work->task);
    ps_free(work);
}

static struct sim_work *
work_at(struct ps_list *link)
{
    return PS_CONTAINER(link, struct sim_work, link);
}

struct sim_work *
sim_leaf_find_work(struct sim_agent *agent, uint64_t serial, struct sim_leaf **out_leaf)
{
    for (uint32_t i = 0; agent != NULL && i < SIM_LEAVES_MOST; i++) {
        PS_LIST_FOR (at, &agent->leaves[i].work) {
            if (work_at(at)->serial == serial) {
                *out_leaf = &agent->leaves[i];
                return work_at(at);
            }
        }
    }
    return NULL;
}

static const Penstock__Batch *
batch_of(const struct sim_work *work)
{
    return work->grant->grant->batch;
}

static void
say_failed(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work,
           Penstock__FailClass class, const char *code)
{
    Penstock__LeafFailed failed = PENSTOCK__LEAF_FAILED__INIT;
    failed.batch_id = batch_of(work)->batch_id;
    failed.epoch = work->grant->grant->epoch;
    failed.class_ = class;
    failed.code = (char *)(uintptr_t)code;
    failed.text = (char *)(uintptr_t) "it is a simulation";
    failed.has_bp_id = work->fault_bp != 0;
    failed.bp_id = work->fault_bp;
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_FAILED, &failed.base);
    free_work(work);
}

static void
say_done(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work,
         Penstock__Outcome outcome, const struct sim_entry *entry)
{
    Penstock__Counts none = PENSTOCK__COUNTS__INIT;
    Penstock__LeafDone done = PENSTOCK__LEAF_DONE__INIT;
    done.batch_id = batch_of(work)->batch_id;
    done.epoch = work->grant->grant->epoch;
    done.outcome = outcome;
    done.counts = entry->counts == NULL ? &none : entry->counts;
    done.ends = entry->ends;
    done.n_ends = entry->end_count;
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_DONE, &done.base);
    sim_stage_done(sim, leaf, work);
    free_work(work);
}

static void
release_turn(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, uint64_t turn)
{
    Penstock__TurnRelease release = PENSTOCK__TURN_RELEASE__INIT;
    release.dest = (char *)(uintptr_t) "sim";
    release.turn = turn;
    leaf->has_turn = false;
    sim_leaf_say(sim, agent, leaf, MSG_TURN_RELEASE, &release.base);
}

static bool
meets_bad_object(struct sim *sim, struct sim_work *work)
{
    const Penstock__Batch *batch = batch_of(work);
    for (size_t i = 0; !work->grant->grant->tombstone && i < batch->n_ranges; i++) {
        const struct sim_object *object =
            &sim->objects[sim_dest_object(sim, batch->ranges[i]->key)];
        if (object->bad && batch->ranges[i]->from >= object->bad_from) {
            work->fault_bp = batch->ranges[i]->bp_id;
            return true;
        }
    }
    return false;
}

static void
load(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work)
{
    struct sim_entry *entry = NULL;
    switch (sim_dest_commit(sim, work->grant->grant, work->start, &entry)) {
    case SIM_LOADED:
        say_done(sim, agent, leaf, work, PENSTOCK__OUTCOME__OUTCOME_LOADED, entry);
        return;
    case SIM_ALREADY:
        say_done(sim, agent, leaf, work, PENSTOCK__OUTCOME__OUTCOME_ALREADY, entry);
        return;
    case SIM_CANCELLED:
        say_done(sim, agent, leaf, work, PENSTOCK__OUTCOME__OUTCOME_CANCELLED, entry);
        return;
    case SIM_FENCED:
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_FENCED, "fenced");
        return;
    case SIM_CONFLICT:
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_RANGE_CONFLICT,
                   "range_conflict");
        return;
    }
}

/* ---- the end of a process */
static uint64_t *
deaths_of(struct sim *sim, ProtobufCBinaryData batch_id)
{
    struct ps_span id = ps_span(batch_id.data, batch_id.len);
    uint64_t *deaths = ps_map_find(sim->deaths, id);
    if (deaths == NULL) {
        deaths = ps_xcalloc(1, sizeof *deaths);
        (void)ps_map_put(sim->deaths, id, deaths);
    }
    return deaths;
}

/* A batch whose leaves die again and again is quarantined, and rightly; the faults here are not to
 * be that batch's. One death each by our hand leaves room for those that come by chance. */
static bool
may_die(struct sim *sim, struct sim_leaf *leaf, uint32_t percent)
{
    if (!sim_has_faults(sim) || !sim->plan.leaf_deaths || !sim_percent(sim, percent)) {
        return false;
    }
    PS_LIST_FOR (at, &leaf->work) {
        if (work_at(at)->grant != NULL && *deaths_of(sim, batch_of(work_at(at))->batch_id) > 0) {
            return false;
        }
    }
    return ps_list_empty(&leaf->inbox);
}

static void
count_deaths(struct sim *sim, struct sim_leaf *leaf)
{
    PS_LIST_FOR (at, &leaf->work) {
        if (work_at(at)->grant != NULL) {
            ++*deaths_of(sim, batch_of(work_at(at))->batch_id);
        }
    }
    PS_LIST_FOR (at, &leaf->inbox) {
        const struct sim_mail *mail = PS_CONTAINER(at, struct sim_mail, link);
        if (mail->type == MSG_LEAF_GRANT) {
            const Penstock__LeafGrant *grant = (const Penstock__LeafGrant *)(void *)mail->message;
            ++*deaths_of(sim, grant->grant->batch->batch_id);
        }
    }
}

static void
gone(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = agent == NULL ? NULL : &agent->leaves[b & 0xff];
    if (leaf == NULL || leaf->life != b >> 8 || sim_agent_is_paused(sim, agent, gone, a, b)) {
        return;
    }
    SIM_CHECK(sim, ps_list_empty(&leaf->outbox));
    control_core_leaf_gone(agent->core, leaf->number, leaf->draining,
                           leaf->draining ? "ended with status 0" : "killed by signal 9");
    sim_agent_turn(sim, agent);
}

static void
end_process(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf)
{
    count_deaths(sim, leaf);
    leaf->up = false;
    leaf->has_turn = false;
    free_mail(&leaf->inbox);
    PS_LIST_FOR (at, &leaf->work) {
        free_work(work_at(at));
    }
    sim_at(sim, 2 * SIM_MAIL_MS, gone, sim_agent_who(agent), which(leaf), NULL);
}

void
sim_leaf_kill(struct sim *sim, struct sim_agent *agent, uint32_t number)
{
    if (agent->leaves[number].up) {
        agent->leaves[number].draining = false;
        end_process(sim, agent, &agent->leaves[number]);
    }
}

static void
commit_zombie(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_entry *entry = NULL;
    PS_LIST_FOR (at, &sim->agents[a]->zombies) {
        struct sim_work *work = work_at(at);
        if (work->serial == b) {
            /* A zombie may have read the object before it went bad: its commit is as good as any,
             * unless the tombstone stands. */
            if (!meets_bad_object(sim, work) || sim_percent(sim, 50)) {
                if (sim_cut_is(work) && !work->proven) {
                    sim_cut_scan(sim, work);
                }
                (void)sim_dest_commit(sim, work->grant->grant, work->start, &entry);
            }
            free_work(work);
            return;
        }
    }
}

void
sim_leaf_orphan(struct sim *sim, struct sim_agent *agent, uint32_t number)
{
    struct sim_leaf *leaf = &agent->leaves[number];
    leaf->up = false;
    leaf->has_turn = false;
    leaf->life++; /* whatever is on its way to or from it is void */
    free_mail(&leaf->inbox);
    free_mail(&leaf->outbox);
    PS_LIST_FOR (at, &leaf->work) {
        struct sim_work *work = work_at(at);
        if (work->grant != NULL && sim_percent(sim, 50)) {
            ps_list_remove(&work->link);
            ps_list_push_back(&agent->zombies, &work->link);
            sim_at(sim, (int64_t)sim_below(sim, ZOMBIE_MOST_MS), commit_zombie, agent->index,
                   work->serial, NULL);
        } else {
            free_work(work);
        }
    }
}

void
sim_leaf_free_zombies(struct sim_agent *agent)
{
    PS_LIST_FOR (at, &agent->zombies) {
        free_work(work_at(at));
    }
}

/* ---- a batch: fetch, its turn, commit, report */
static void commit(struct sim *sim, uint64_t a, uint64_t b, void *own);

/* The destination's disk is full, or it broke in the commit. */
static void
fail_commit(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_work *work)
{
    struct sim_entry *entry = NULL;
    uint64_t turn = work->serial;
    switch (sim_below(sim, 3)) {
    case 0: /* the outcome is unknown: the same transaction once more */
        (void)sim_dest_commit(sim, work->grant->grant, work->start, &entry);
        break;
    case 1: /* it waits for room */
        break;
    default:
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT, "disk_error");
        release_turn(sim, agent, leaf, turn);
        return;
    }
    sim_at(sim, (int64_t)sim_below(sim, 3000), commit, sim_agent_who(agent), turn, NULL);
}

static void
commit(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = NULL;
    struct sim_work *work = sim_leaf_find_work(agent, b, &leaf);
    if (work == NULL || leaf->stuck || sim_agent_is_paused(sim, agent, commit, a, b)) {
        return;
    }
    bool faults = sim_has_faults(sim);
    uint64_t turn = work->serial;
    uint32_t index = agent->index;
    uint32_t life = leaf->life;
    if (faults && sim->plan.dest_fails && sim_percent(sim, 10)) {
        fail_commit(sim, agent, leaf, work);
        return;
    }
    load(sim, agent, leaf, work);
    if (faults && sim->plan.agent_restarts && sim_percent(sim, 2)) {
        sim_agent_crash(sim, index); /* after the commit, before the report */
    } else if (may_die(sim, leaf, 2)) {
        free_mail(&leaf->outbox);
        sim_leaf_kill(sim, agent, leaf->number);
    }
    if (leaf->up && leaf->life == life && !sim->plan.many_writers) {
        release_turn(sim, agent, leaf, turn);
    }
}

static void
on_turn(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
        const Penstock__TurnGrant *grant)
{
    struct sim_leaf *of = NULL;
    struct sim_work *work = sim_leaf_find_work(agent, grant->turn, &of);
    for (uint32_t i = 0; i < SIM_LEAVES_MOST; i++) {
        SIM_CHECK(sim, !agent->leaves[i].has_turn); /* one writer at a time */
    }
    leaf->has_turn = true;
    if (work == NULL || work->cancelled) {
        release_turn(sim, agent, leaf, grant->turn);
        if (work != NULL) {
            say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "cancelled");
        }
        return;
    }
    SIM_CHECK(sim, of == leaf);
    work->committing = true;
    sim_at(sim, (int64_t)sim_below(sim, COMMIT_MOST_MS), commit, sim_agent_who(agent), work->serial,
           NULL);
}

void
sim_leaf_sealed(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
                struct sim_work *work)
{
    if (work->cancelled) {
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "cancelled");
        return;
    }
    if (sim->plan.many_writers) {
        commit(sim, sim_agent_who(agent), work->serial, NULL);
        return;
    }
    Penstock__TurnAsk ask = PENSTOCK__TURN_ASK__INIT;
    ask.dest = (char *)(uintptr_t) "sim";
    ask.turn = work->serial;
    sim_leaf_say(sim, agent, leaf, MSG_TURN_ASK, &ask.base);
}

static void
seal(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = NULL;
    struct sim_work *work = sim_leaf_find_work(agent, b, &leaf);
    if (work == NULL || leaf->stuck || sim_agent_is_paused(sim, agent, seal, a, b)) {
        return;
    }
    bool faults = sim_has_faults(sim);
    if (may_die(sim, leaf, 3)) {
        sim_leaf_kill(sim, agent, leaf->number);
    } else if (may_die(sim, leaf, 2)) {
        leaf->stuck = true;
    } else if (work->cancelled || (leaf->draining && sim_percent(sim, 50))) {
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL, "cancelled");
    } else if (sim_fault_is_unseen(sim, agent->index)) {
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_NOT_VISIBLE, "not_visible");
    } else if (faults && sim->plan.dest_fails && sim_percent(sim, 5)) {
        sim_at(sim, 500, seal, a, b, NULL); /* no room in the stage: it waits */
    } else if (faults && sim_percent(sim, sim->plan.fail_percent)) {
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT, "dest_away");
    } else if (meets_bad_object(sim, work)) {
        say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_PERMANENT, "decode_bad");
    } else if (sim_cut_is(work)) {
        sim_cut_decode(sim, work);
        sim_cut_park(sim, agent, leaf, work);
    } else {
        sim_stage_seal(sim, leaf, work);
        sim_leaf_sealed(sim, agent, leaf, work);
    }
}

/* Decoded in an earlier life: there is nothing to fetch. */
static void
take_up(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = NULL;
    struct sim_work *work = sim_leaf_find_work(agent, b, &leaf);
    if (work != NULL && !leaf->stuck && !sim_agent_is_paused(sim, agent, take_up, a, b)) {
        sim_leaf_sealed(sim, agent, leaf, work);
    }
}

/* A leaf extracts one batch after the other. */
static int64_t
fetch_until_ms(struct sim *sim, struct sim_leaf *leaf)
{
    const struct sim_plan *plan = &sim->plan;
    uint64_t least_ms = 1;
    uint64_t most_ms = sim_has_faults(sim) ? WORK_MOST_MS : WORK_QUIET_MS;
    if (plan->work_most_ms > 0) {
        least_ms = plan->work_least_ms;
        most_ms = plan->work_most_ms - plan->work_least_ms;
    }
    int64_t from_ms = leaf->free_at_ms > sim->now_ms ? leaf->free_at_ms : sim->now_ms;
    leaf->free_at_ms = from_ms + (int64_t)(least_ms + sim_below(sim, most_ms));
    return leaf->free_at_ms;
}

static void
on_grant(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
         ProtobufCMessage **own_message)
{
    struct sim_work *work = ps_xcalloc(1, sizeof *work);
    work->serial = ++agent->serials;
    work->grant = (Penstock__LeafGrant *)(void *)*own_message;
    *own_message = NULL;
    size_t held = 0;
    for (uint32_t i = 0; i < SIM_LEAVES_MOST; i++) {
        PS_LIST_FOR (at, &agent->leaves[i].work) {
            const struct sim_work *other = work_at(at);
            if (other->grant == NULL) {
                continue;
            }
            held += i == leaf->number ? 1 : 0;
            SIM_CHECK(sim, memcmp(batch_of(other)->batch_id.data, batch_of(work)->batch_id.data,
                                  PS_ID_BYTES) != 0);
        }
    }
    SIM_CHECK(sim, held < CONTROL_LEAF_BATCHES && work->grant->grant->leaf == leaf->number);
    SIM_CHECK(sim, work->grant->stamp->cluster_epoch > 0);
    ps_list_push_back(&leaf->work, &work->link);
    work->busy_in = sim;
    work->busy_count = &leaf->batches;
    sim_busy_change(sim, leaf->batches++ == 0 ? 1 : 0);
    if (sim_stage_adopt(sim, leaf, work)) {
        sim_at(sim, 1, take_up, sim_agent_who(agent), work->serial, NULL);
        return;
    }
    sim_at(sim, fetch_until_ms(sim, leaf) - sim->now_ms, seal, sim_agent_who(agent), work->serial,
           NULL);
}

/* ---- tasks */
static void
work_on_task(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = NULL;
    struct sim_work *work = sim_leaf_find_work(agent, b, &leaf);
    if (work != NULL && !leaf->stuck && !work->waits_for_ack &&
        !sim_agent_is_paused(sim, agent, work_on_task, a, b)) {
        work->waits_for_ack = true;
        sim_task_report(sim, agent, leaf, work);
    }
}

static void
on_task(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
        ProtobufCMessage **own_message)
{
    struct sim_work *work = ps_xcalloc(1, sizeof *work);
    work->serial = ++agent->serials;
    work->task = (Penstock__LeafTask *)(void *)*own_message;
    *own_message = NULL;
    PS_LIST_FOR (at, &leaf->work) {
        const struct sim_work *other = work_at(at);
        SIM_CHECK(sim, other->task == NULL || /* acks have no epoch */
                           memcmp(other->task->task->task_id.data, work->task->task->task_id.data,
                                  PS_ID_BYTES) != 0);
    }
    sim_task_begin(work);
    ps_list_push_back(&leaf->work, &work->link);
    sim_at(sim, (int64_t)sim_below(sim, 200), work_on_task, sim_agent_who(agent), work->serial,
           NULL);
}

static void
on_ack(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
       const Penstock__LeafAck *ack)
{
    PS_LIST_FOR (at, &leaf->work) {
        struct sim_work *work = work_at(at);
        if (work->task == NULL || !work->waits_for_ack ||
            memcmp(work->task->task->task_id.data, ack->task_id.data, PS_ID_BYTES) != 0) {
            continue;
        }
        SIM_CHECK(sim, ack->answer != PENSTOCK__ANSWER__ANSWER_REFUSED);
        if (work->last || ack->answer != PENSTOCK__ANSWER__ANSWER_OK) {
            free_work(work);
            return;
        }
        sim_task_next(sim, work);
        work->waits_for_ack = false;
        uint64_t most_ms = sim->plan.is_large ? 2 : 300;
        sim_at(sim, (int64_t)sim_below(sim, most_ms), work_on_task, sim_agent_who(agent),
               work->serial, NULL);
    }
}

/* ---- orders */
static void
on_cancel(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
          const Penstock__LeafCancel *cancel)
{
    PS_LIST_FOR (at, &leaf->work) {
        struct sim_work *work = work_at(at);
        if (work->grant != NULL && work->grant->grant->epoch == cancel->epoch &&
            memcmp(batch_of(work)->batch_id.data, cancel->batch_id.data, PS_ID_BYTES) == 0) {
            work->cancelled = true; /* looked at when it is sealed and when its turn comes */
            if (work->parked) {
                say_failed(sim, agent, leaf, work, PENSTOCK__FAIL_CLASS__FAIL_GRACEFUL,
                           "cancelled");
            }
        }
    }
}

static void
on_cancel_task(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf,
               const Penstock__LeafCancelTask *cancel)
{
    PS_LIST_FOR (at, &leaf->work) {
        struct sim_work *work = work_at(at);
        if (work->task != NULL && !work->waits_for_ack &&
            memcmp(work->task->task->task_id.data, cancel->task_id.data, PS_ID_BYTES) == 0) {
            work->waits_for_ack = true;
            sim_task_give_up(sim, agent, leaf, work);
        }
    }
}

static void
end_when_drained(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = living(agent, b);
    if (leaf == NULL || leaf->stuck || sim_agent_is_paused(sim, agent, end_when_drained, a, b)) {
        return;
    }
    if (ps_list_empty(&leaf->work)) {
        end_process(sim, agent, leaf);
    } else {
        sim_at(sim, 20, end_when_drained, a, b, NULL);
    }
}

static void
on_mail(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf, struct sim_mail *mail)
{
    if (mail->type == MSG_LEAF_GRANT) {
        on_grant(sim, agent, leaf, &mail->message);
    } else if (mail->type == MSG_LEAF_TASK) {
        on_task(sim, agent, leaf, &mail->message);
    } else if (mail->type == MSG_LEAF_ACK) {
        on_ack(sim, agent, leaf, (const Penstock__LeafAck *)(void *)mail->message);
    } else if (mail->type == MSG_TURN_GRANT) {
        on_turn(sim, agent, leaf, (const Penstock__TurnGrant *)(void *)mail->message);
    } else if (mail->type == MSG_LEAF_CANCEL) {
        on_cancel(sim, agent, leaf, (const Penstock__LeafCancel *)(void *)mail->message);
    } else if (mail->type == MSG_LEAF_CANCEL_TASK) {
        on_cancel_task(sim, agent, leaf, (const Penstock__LeafCancelTask *)(void *)mail->message);
    } else if (mail->type == MSG_LEAF_PROOF) {
        sim_cut_proof(sim, agent, leaf,
                      ((const Penstock__LeafProof *)(void *)mail->message)->proof);
    } else if (mail->type == MSG_LEAF_UNSTAGE) {
        sim_stage_drop(sim, agent, leaf, (const Penstock__LeafUnstage *)(void *)mail->message);
    } else if (mail->type == MSG_LEAF_DRAIN) {
        leaf->draining = true;
        end_when_drained(sim, sim_agent_who(agent), which(leaf), NULL);
    } else {
        SIM_CHECK(sim, mail->type == MSG_LEAF_SPEC);
    }
}

static void
deliver_to_leaf(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = living(agent, b);
    if (leaf == NULL || leaf->stuck || sim_agent_is_paused(sim, agent, deliver_to_leaf, a, b)) {
        return;
    }
    struct ps_list *link = ps_list_take_front(&leaf->inbox);
    if (link != NULL) {
        struct sim_mail *mail = PS_CONTAINER(link, struct sim_mail, link);
        on_mail(sim, agent, leaf, mail);
        msg_free(mail->message);
        ps_free(mail);
    }
}

void
sim_leaf_send(struct sim *sim, struct sim_agent *agent, uint32_t number, enum msg_type type,
              const ProtobufCMessage *message)
{
    struct sim_leaf *leaf = &agent->leaves[number];
    if (leaf->up) {
        put_mail(sim, &leaf->inbox, type, message);
        sim_at(sim, SIM_MAIL_MS, deliver_to_leaf, sim_agent_who(agent), which(leaf), NULL);
    }
}

/* ---- life */
void
sim_leaf_progress(struct sim *sim, struct sim_agent *agent, struct sim_leaf *leaf)
{
    Penstock__LeafStatus status = PENSTOCK__LEAF_STATUS__INIT;
    Penstock__LeafProgress progress = PENSTOCK__LEAF_PROGRESS__INIT;
    Penstock__Held held[2 * CONTROL_LEAF_BATCHES];
    Penstock__Held *held_at[2 * CONTROL_LEAF_BATCHES];
    status.leaf = leaf->number;
    progress.status = &status;
    progress.n_held = sim_cut_held(leaf, held, CONTROL_LEAF_BATCHES);
    progress.n_held +=
        sim_stage_held(leaf, &held[progress.n_held], 2 * CONTROL_LEAF_BATCHES - progress.n_held);
    progress.held = held_at;
    for (size_t i = 0; i < progress.n_held; i++) {
        held_at[i] = &held[i];
    }
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_PROGRESS, &progress.base);
}

static void
beat(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = living(agent, b);
    if (leaf == NULL || leaf->stuck || sim_agent_is_paused(sim, agent, beat, a, b)) {
        return;
    }
    sim_leaf_progress(sim, agent, leaf);
    sim_at(sim, BEAT_MS, beat, a, b, NULL);
}

static void
come_up(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)own;
    struct sim_agent *agent = sim_agent_alive(sim, a);
    struct sim_leaf *leaf = living(agent, b);
    if (leaf == NULL || sim_agent_is_paused(sim, agent, come_up, a, b)) {
        return;
    }
    if (sim_has_faults(sim) && sim->plan.leaf_deaths && sim_percent(sim, 5)) {
        sim_leaf_kill(sim, agent, leaf->number);
        return;
    }
    Penstock__LeafReady ready = PENSTOCK__LEAF_READY__INIT;
    ready.leaf = leaf->number;
    ready.pid = leaf->life;
    sim_leaf_say(sim, agent, leaf, MSG_LEAF_READY, &ready.base);
    sim_stage_open(sim, agent, leaf);
    beat(sim, a, b, NULL);
}

void
sim_leaf_init(struct sim_leaf *leaf, uint32_t number)
{
    leaf->number = number;
    ps_list_init(&leaf->inbox);
    ps_list_init(&leaf->outbox);
    ps_list_init(&leaf->work);
}

void
sim_leaf_spawn(struct sim *sim, struct sim_agent *agent, uint32_t number)
{
    struct sim_leaf *leaf = &agent->leaves[number];
    SIM_CHECK(sim, !leaf->up && ps_list_empty(&leaf->outbox));
    leaf->life++;
    leaf->up = true;
    leaf->draining = false;
    leaf->stuck = false;
    leaf->free_at_ms = 0;
    sim_at(sim, (int64_t)sim_below(sim, START_MOST_MS), come_up, sim_agent_who(agent), which(leaf),
           NULL);
}

void
sim_leaf_fini(struct sim_leaf *leaf)
{
    free_mail(&leaf->inbox);
    free_mail(&leaf->outbox);
    PS_LIST_FOR (at, &leaf->work) {
        free_work(work_at(at));
    }
}
