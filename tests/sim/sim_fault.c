/* SPDX-License-Identifier: Apache-2.0 */
/* What people do to the cluster, and what befalls the coordinator: its process, disk, clock and
 * catalog. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/catalog/catalog_internal.h"
#include "tests/sim/sim.h"

#define YEAR_MS 31536000000

/* ---- people */
static void
take_pipeline(void *ctx, const struct command_result *result)
{
    struct sim *sim = ctx;
    if (result->pipeline == NULL) {
        return;
    }
    const char *reason = result->pipeline->reason == NULL ? "" : result->pipeline->reason;
    if (strcmp(sim->state, result->pipeline->state) != 0) {
        sim_note(sim, "pipeline %s: %s", result->pipeline->state, reason);
    }
    snprintf(sim->state, sizeof sim->state, "%s", result->pipeline->state);
    snprintf(sim->reason, sizeof sim->reason, "%s", reason);
}

static void
submit(struct sim *sim, enum command_kind kind, const char *spec_json,
       void (*reply)(void *, const struct command_result *))
{
    struct engine_command command = {.kind = kind,
                                     .name = ps_xstrdup("sim"),
                                     .spec_json = ps_xstrdup(spec_json),
                                     .ctx = sim,
                                     .reply = reply};
    engine_submit_command(sim->engine, &command);
    sim_want_turn(sim);
}

void
sim_command(struct sim *sim, enum command_kind kind, const char *spec_json)
{
    submit(sim, kind, spec_json, take_pipeline);
}

/* A change of format.null starts a new generation. */
static char *
spec_of(const struct sim *sim)
{
    return ps_xasprintf("{\"name\":\"sim\",\"source\":{\"url\":\"file:data/*.csv\"},"
                        "\"format\":{\"null\":[\"null-%u\"]},"
                        "\"destination\":{\"url\":\"sqlite:sim.db\",\"table\":\"t\"},"
                        "\"errors\":{\"max_retries\":%u,\"on_failure\":\"%s\"},"
                        "\"limits\":{\"batch_bytes\":%llu,\"max_leaves\":%u}}",
                        sim->raised, sim->plan.max_retries, sim->plan.on_failure,
                        (unsigned long long)sim->plan.batch_bytes, sim->plan.is_large ? 0 : 64);
}

void
sim_put_and_start(struct sim *sim)
{
    char *spec = spec_of(sim);
    sim_command(sim, COMMAND_PUT, spec);
    sim_command(sim, COMMAND_START, NULL);
    ps_free(spec);
}

static void start_again(struct sim *sim, uint64_t a, uint64_t b, void *own);

static void
take_start(void *ctx, const struct command_result *result)
{
    struct sim *sim = ctx;
    take_pipeline(ctx, result);
    if (result->status != PS_OK) { /* the coordinator went down on it */
        sim_at(sim, 1000, start_again, 0, 0, NULL);
        sim_disturb(sim, 1000);
    }
}

static void
start_again(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (sim->engine == NULL) {
        sim_at(sim, 1000, start_again, a, b, own);
        return;
    }
    sim_note(sim, "start");
    submit(sim, COMMAND_START, NULL, take_start);
}

static void
start_copy(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (sim->engine == NULL) {
        sim_at(sim, 1000, start_copy, a, b, own);
        return;
    }
    sim->starts_pending--;
    start_again(sim, a, b, own);
}

/* Stops the pipeline, changes its spec once its leaves have given everything back, starts it. */
static void raise_spec(struct sim *sim, uint64_t a, uint64_t b, void *own);

static void
take_raise(void *ctx, const struct command_result *result)
{
    struct sim *sim = ctx;
    if (result->status != PS_OK) {
        sim->raised--;
        sim_at(sim, 300, raise_spec, 0, 0, NULL);
        return;
    }
    sim_note(sim, "spec %u: a new generation", sim->raised);
    sim->raise_pending = false;
    sim_disturb(sim, 0);
    sim_at(sim, 1, start_again, 0, 0, NULL);
}

static void
raise_spec(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    sim->raise_pending = true;
    sim_disturb(sim, 0);
    if (sim->engine == NULL) {
        sim_at(sim, 1000, raise_spec, a, b, own);
        return;
    }
    sim->raised++;
    char *spec = spec_of(sim);
    sim_command(sim, COMMAND_STOP, NULL);
    submit(sim, COMMAND_PUT, spec, take_raise);
    ps_free(spec);
}

static void
raise_once(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (!sim->raise_pending) {
        raise_spec(sim, a, b, own);
    }
}

/* An old copy stands before a generation that it never gave: a person takes over what is there. */
bool
sim_fault_adopts(struct sim *sim)
{
    if (!sim->plan.catalog_restored || !sim->plan.raises ||
        strncmp(sim->reason, "fence_conflict", 14) != 0) {
        return false;
    }
    struct engine_command command = {.kind = COMMAND_RECONCILE,
                                     .name = ps_xstrdup("sim"),
                                     .trust_ledger = true,
                                     .ctx = sim,
                                     .reply = take_pipeline};
    sim_note(sim, "reconcile: the ledger is trusted");
    engine_submit_command(sim->engine, &command);
    sim_command(sim, COMMAND_START, NULL);
    sim->adoptions++;
    return true;
}

/* ---- the coordinator's disk */
static int
refuse_commit(void *ctx)
{
    (void)ctx;
    return 1;
}

static void
set_disk(struct sim *sim)
{
    bool is_bad = sim->now_ms < sim->disk_bad_until_ms;
    sqlite3 *db = sim->catalog->db;
    struct ps_error err = {0};
    sqlite3_commit_hook(db, is_bad && !sim->disk_is_full ? refuse_commit : NULL, NULL);
    /* Never below what it has: no page more can be had. */
    SIM_CHECK(sim, sql_exec(db,
                            is_bad && sim->disk_is_full ? "PRAGMA max_page_count = 1"
                                                        : "PRAGMA max_page_count = 1073741823",
                            &err) == PS_OK);
}

void
sim_fault_before_turn(struct sim *sim)
{
    if (sim->plan.catalog_fails) {
        set_disk(sim);
        sim->is_mute = sim_has_faults(sim) && sim_below(sim, 200) == 0;
    }
}

/* ---- the catalog */
void
sim_fault_open_catalog(struct sim *sim)
{
    struct ps_error err = {0};
    if (catalog_open(":memory:", &sim->catalog, &err) != PS_OK) {
        fprintf(stderr, "%s\n", err.text);
        SIM_CHECK(sim, !"catalog_open");
    }
}

/* The catalog stays: its connection is what a new process would open. */
static void
bring_up(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    struct ps_error err = {0};
    if (sim->engine != NULL) {
        return;
    }
    set_disk(sim);
    if (catalog_restart(sim->catalog, &err) != PS_OK) {
        SIM_CHECK(sim, sim->now_ms < sim->disk_bad_until_ms);
        sim_at(sim, 500, bring_up, a, b, own);
        return;
    }
    sim_engine_up(sim);
    sim_note(sim, "coordinator up");
}

static void
go_down(struct sim *sim, int64_t for_ms)
{
    sim->restarts++;
    sim_engine_down(sim);
    sim_disturb(sim, for_ms);
    sim_at(sim, for_ms, bring_up, 0, 0, NULL);
}

static void
lose_state(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (sim->engine == NULL) {
        sim_at(sim, 5000, lose_state, a, b, own);
        return;
    }
    sim_engine_down(sim);
    catalog_close(sim->catalog);
    sim_fault_open_catalog(sim);
    sim->era++;
    sim_note(sim, "state lost");
    sim->disk_bad_until_ms = 0;
    sim_disturb(sim, 0);
    /* With the state of a local run go its agents. */
    for (uint32_t i = 0; i < sim->plan.agents; i++) {
        sim_agent_crash(sim, i);
    }
    sim_engine_up(sim);
    sim_put_and_start(sim);
}

static void
copy_database(struct sim *sim, sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    SIM_CHECK(sim, backup != NULL && sqlite3_backup_step(backup, -1) == SQLITE_DONE);
    SIM_CHECK(sim, sqlite3_backup_finish(backup) == SQLITE_OK);
}

static void
make_copy(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    (void)a;
    (void)b;
    (void)own;
    struct ps_error err = {0};
    if (sim->copy == NULL) {
        SIM_CHECK(sim, sql_open(":memory:", SQLITE_OPEN_READWRITE, &sim->copy, &err) == PS_OK);
        copy_database(sim, sim->catalog->db, sim->copy);
        sim_note(sim, "a copy of the catalog is made");
    }
}

void
sim_fault_forget_seen(struct ps_map *map)
{
    size_t cursor = 0;
    struct ps_span key;
    void *value = NULL;
    while (ps_map_next(map, &cursor, &key, &value)) {
        memset(value, 0, sizeof(uint64_t));
    }
}

/* An old copy comes back. Offsets and epochs begin where it has them; what must not come of it is
 * a row twice, or one that is missing in the end. */
static void
restore_copy(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    struct ps_error err = {0};
    if (sim->engine == NULL) {
        sim_at(sim, 2000, restore_copy, a, b, own);
        return;
    }
    SIM_CHECK(sim, sim->copy != NULL);
    sim_engine_down(sim);
    sim->disk_bad_until_ms = 0;
    set_disk(sim);
    SIM_CHECK(sim, catalog_restart(sim->catalog, &err) == PS_OK);
    copy_database(sim, sim->copy, sim->catalog->db);
    SIM_CHECK(sim, catalog_restart(sim->catalog, &err) == PS_OK);
    sim_fault_forget_seen(sim->offsets);
    sim_fault_forget_seen(sim->epochs);
    sim_note(sim, "an old catalog comes back");
    sim_engine_up(sim);
    sim_disturb(sim, 2000);
    /* What the copy says of itself is not the end: it is from before. */
    sim->starts_pending++;
    sim_at(sim, (int64_t)sim_below(sim, 2000), start_copy, 0, 0, NULL);
}

bool
sim_fault_after_turn(struct sim *sim, enum ps_status status, const struct ps_error *err)
{
    bool died = sim->is_mute;
    sim->is_mute = false;
    if (status == PS_OK && !died) {
        return true;
    }
    if (status != PS_OK) {
        if (sim->now_ms >= sim->disk_bad_until_ms) {
            fprintf(stderr, "%s\n", err->text);
            SIM_CHECK(sim, !"engine_turn");
        }
    }
    sim_note(sim, "coordinator dies: %s", status == PS_OK ? "after its commit" : err->code);
    go_down(sim, 100 + (int64_t)sim_below(sim, 2000));
    return false;
}

/* ---- one after the other */
bool
sim_fault_is_unseen(const struct sim *sim, uint32_t agent)
{
    return sim->plan.unseen && agent % 2 == 1;
}

static void
do_to_people(struct sim *sim)
{
    if (sim->plan.raises && sim->raised < 3 && !sim->raise_pending && sim_percent(sim, 40)) {
        raise_spec(sim, 0, 0, NULL);
    } else if (sim->plan.stops && sim->engine != NULL) {
        int64_t for_ms = (int64_t)sim_below(sim, 6000);
        sim_note(sim, "stop");
        sim_command(sim, COMMAND_STOP, NULL);
        sim_disturb(sim, for_ms);
        sim_at(sim, for_ms, start_again, 0, 0, NULL);
    }
}

static void
do_to_coordinator(struct sim *sim)
{
    if (sim->plan.clock_jumps && sim_percent(sim, 30)) {
        sim->wall_jump_ms = (int64_t)sim_below(sim, 2 * YEAR_MS) - YEAR_MS;
        sim_note(sim, "the clock jumps");
    }
    if (sim->plan.catalog_fails && sim->engine != NULL && sim_percent(sim, 40)) {
        int64_t for_ms = 1 + (int64_t)sim_below(sim, 5000);
        sim->disk_is_full = sim_percent(sim, 50);
        sim->disk_bad_until_ms = sim->now_ms + for_ms;
        sim_disturb(sim, for_ms);
        sim_note(sim, "the catalog's disk is %s", sim->disk_is_full ? "full" : "broken");
    } else if (sim->plan.coordinator_restarts && sim->engine != NULL) {
        sim_note(sim, "coordinator down");
        go_down(sim, (int64_t)sim_below(sim, 20000));
    }
}

static void
do_to_agent(struct sim *sim, uint32_t agent)
{
    if (sim->plan.agent_restarts && sim_percent(sim, 30)) {
        sim_agent_drain(sim, agent);
    } else if (sim->plan.agent_restarts) {
        sim_agent_crash(sim, agent);
    }
    sim_disturb(sim, 20000); /* what its leaves will still have committed */
}

static void
fault(struct sim *sim, uint64_t a, uint64_t b, void *own)
{
    if (!sim_has_faults(sim)) {
        return;
    }
    switch (sim_below(sim, 4)) {
    case 0:
        do_to_coordinator(sim);
        break;
    case 1:
        do_to_agent(sim, (uint32_t)sim_below(sim, sim->plan.agents));
        break;
    case 2:
        if (sim->plan.pauses) {
            int64_t for_ms = (int64_t)sim_below(sim, 30000);
            sim_agent_pause(sim, (uint32_t)sim_below(sim, sim->plan.agents), for_ms);
            sim_disturb(sim, for_ms);
        }
        break;
    default:
        do_to_people(sim);
        break;
    }
    sim_at(sim, (int64_t)sim_below(sim, 4000), fault, a, b, own);
}

void
sim_fault_begin(struct sim *sim)
{
    if (sim->plan.faults_until_ms > 0) {
        sim_at(sim, (int64_t)sim_below(sim, 2000), fault, 0, 0, NULL);
    }
    if (sim->plan.state_deleted) {
        sim_at(sim, 200 + (int64_t)sim_below(sim, 10000), lose_state, 0, 0, NULL);
    }
    if (sim->plan.catalog_restored) {
        int64_t copy_ms = 200 + (int64_t)sim_below(sim, 8000);
        int64_t back_ms = copy_ms + 1 + (int64_t)sim_below(sim, 8000);
        sim_at(sim, copy_ms, make_copy, 0, 0, NULL);
        sim_at(sim, back_ms, restore_copy, 0, 0, NULL);
        if (sim_percent(sim, 30)) {
            sim_at(sim, back_ms + (int64_t)sim_below(sim, 8000), restore_copy, 0, 0, NULL);
        }
        if (sim->plan.raises) { /* lost with the history, and once more on the copy */
            int64_t apart_ms = back_ms - copy_ms;
            sim_at(sim, copy_ms + (int64_t)sim_below(sim, (uint64_t)apart_ms), raise_once, 0, 0,
                   NULL);
            sim_at(sim, back_ms + (int64_t)sim_below(sim, 8000), raise_once, 0, 0, NULL);
        }
    }
}

void
sim_fault_end(struct sim *sim)
{
    sql_close(sim->copy);
}
