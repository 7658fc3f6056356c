/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_command.h"

#include <jansson.h>

#include "common/alloc.h"
#include "coordinator/engine/eng_drift.h"
#include "coordinator/engine/eng_hot.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_people.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_report.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/engine/eng_wait.h"

static bool
is_active(const struct eng_pipeline *p)
{
    return p->state == PIPELINE_PREPARING || p->state == PIPELINE_RUNNING ||
           p->state == PIPELINE_STOPPING || p->leased > 0;
}

static void
fail_active(struct engine *engine, struct engine_command *command, const struct eng_pipeline *p,
            const char *what)
{
    if (p->leased > 0) {
        eng_people_fail(engine, command, PS_REFUSED, "pipeline_active",
                        "the pipeline is %s and %u of its batches are with leaves: stop it, wait "
                        "until they are back, then %s",
                        p->row.state, p->leased, what);
    } else {
        eng_people_fail(engine, command, PS_REFUSED, "pipeline_active",
                        "the pipeline is %s: stop it, then %s", p->row.state, what);
    }
}

/* ---- put */
static void
answer_spec_errors(struct engine *engine, struct engine_command *command,
                   const struct spec_errors *errors, const struct ps_error *err)
{
    struct eng_answer *answer = eng_people_answer(engine, command);
    answer->status = PS_REFUSED;
    answer->code = "invalid_spec";
    answer->text = ps_xstrdup(errors->count == 0 ? err->text : "the pipeline's spec is wrong");
    for (size_t i = 0; i < errors->count; i++) {
        Penstock__ApiFieldError *error =
            ENG_NEW(Penstock__ApiFieldError, PENSTOCK__API_FIELD_ERROR__INIT);
        error->path = eng_out_text(errors->items[i].path);
        error->text = eng_out_text(errors->items[i].text);
        error->has_line = errors->items[i].line != 0;
        error->line = errors->items[i].line;
        ENG_PUSH(answer->errors, answer->error_count, error);
    }
}

/* NULL: answered. */
static struct spec *
read_spec(struct engine *engine, struct engine_command *command)
{
    struct ps_error err = {0};
    struct spec_errors errors = {0};
    struct spec *spec = NULL;
    json_error_t where;
    json_t *doc = command->spec_json == NULL
                      ? NULL
                      : json_loads(command->spec_json, JSON_REJECT_DUPLICATES, &where);
    if (doc == NULL) {
        eng_people_fail(engine, command, PS_REFUSED, "invalid_spec",
                        "the spec is not a JSON document: %s",
                        command->spec_json == NULL ? "it is missing" : where.text);
        return NULL;
    }
    if (spec_from_json(doc, &spec, &errors, &err) != PS_OK) {
        answer_spec_errors(engine, command, &errors, &err);
        spec = NULL;
    } else if (strcmp(spec_name(spec), command->name) != 0) {
        eng_people_fail(engine, command, PS_REFUSED, "invalid_spec",
                        "name: the spec's name is \"%s\", the one asked for \"%s\"",
                        spec_name(spec), command->name);
        spec_unref(spec);
        spec = NULL;
    }
    spec_errors_fini(&errors);
    json_decref(doc);
    return spec;
}

static void
create(struct engine *engine, struct engine_command *command, struct spec *own_spec)
{
    struct cat_pipeline row = {.name = command->name,
                               .uuid = {eng_new_id(engine)},
                               .generation = 1,
                               .spec_rev = 1,
                               .state = states_pipeline_name(PIPELINE_CREATED),
                               .spec_json = spec_canonical(own_spec),
                               .created_ms = engine->wall_ms,
                               .next_bp_id = 1};
    ENG_TRY(engine, cat_pipeline_insert, &row);
    ENG_TRY(engine, cat_pipeline_put_spec, row.id, row.spec_rev, row.spec_json, row.columns);
    struct eng_pipeline *p = eng_store_add_pipeline(engine, &row, own_spec);
    p->dirty = true;
    eng_event(engine, p, "pipeline.created", p->row.name, "spec 1");
    struct eng_answer *answer = eng_people_answer(engine, command);
    answer->created = true;
    answer->show_pipeline = true;
}

/* Data that was loaded gets a second life: everything begins anew, and the fence that prepare
 * writes keeps all older batches out. What was loaded stays in the old generation's ledger. */
static void
raise_generation(struct engine *engine, struct eng_pipeline *p, const char *path)
{
    eng_report_drop_open(engine, p);
    eng_reconcile_restart(engine, p); /* what it has read is of the older one */
    p->row.generation = ps_generation_raise(p->row.generation, eng_random(engine));
    ENG_TRY(engine, cat_object_drop_known, p->row.id); /* they are of the older one */
    ENG_TRY(engine, cat_part_drop_all, p->row.id);
    p->row.objects = p->row.objects_done = p->row.objects_pending = 0;
    p->row.objects_quarantined = p->row.bytes = p->row.bytes_done = p->row.bytes_pending = 0;
    p->row.batches_loaded = p->row.retries = p->row.slowest_ms = 0;
    p->row.counts = (struct cat_counts){0};
    p->row.replayed = 0;
    eng_set_span(&p->row.slowest_object, ps_span(NULL, 0));
    eng_set_span(&p->row.unknown, ps_span(NULL, 0));
    eng_drift_forget(p);
    eng_hot_forget_all(p);
    eng_event(engine, p, "pipeline.generation_raised", p->row.name, "generation %llu: %s changed",
              (unsigned long long)ps_generation_count(p->row.generation), path);
}

/* Another source: what the old one named and nobody has begun is not asked for any more. */
static void
drop_untouched(struct engine *engine, struct eng_pipeline *p)
{
    struct cat_untouched gone = {0};
    ENG_TRY(engine, cat_object_drop_untouched, p->row.id, p->row.generation, &gone);
    p->row.objects -= gone.pending + gone.quarantined;
    p->row.objects_pending -= gone.pending;
    p->row.objects_quarantined -= gone.quarantined;
    p->row.bytes -= gone.size_bytes;
    p->row.bytes_pending -= gone.pending_rest_bytes;
}

static void
replace(struct engine *engine, struct engine_command *command, struct eng_pipeline *p,
        struct spec *own_spec)
{
    const char *path = NULL;
    bool raises = spec_raises_generation(p->spec, own_spec, &path);
    bool used = p->row.next_batch_number > 0 || p->row.batches_loaded > 0 || p->row.objects > 0;
    if (raises && used) {
        raise_generation(engine, p, path);
    } else if (strcmp(spec_str(p->spec, "source.url"), spec_str(own_spec, "source.url")) != 0) {
        drop_untouched(engine, p);
    }
    /* Columns stay frozen unless what they were inferred from has changed. */
    if (raises) {
        eng_set_span(&p->row.columns, ps_span(NULL, 0));
        p->row.prepared = false;
    }
    p->row.spec_rev++;
    eng_set_text(&p->row.spec_json, spec_canonical(own_spec));
    eng_store_set_spec(p, own_spec);
    ENG_TRY(engine, cat_pipeline_put_spec, p->row.id, p->row.spec_rev, p->row.spec_json,
            p->row.columns);
    p->dirty = true;
    eng_event(engine, p, "pipeline.changed", p->row.name, "spec %u", p->row.spec_rev);
    eng_people_answer(engine, command)->show_pipeline = true;
}

static void
put(struct engine *engine, struct engine_command *command)
{
    struct spec *spec = read_spec(engine, command);
    if (spec == NULL) {
        return;
    }
    struct eng_pipeline *p = eng_store_find_pipeline(engine, command->name);
    if (command->revision != 0 && (p == NULL || p->row.revision != command->revision)) {
        eng_people_fail(engine, command, PS_REFUSED, "revision_mismatch",
                        "the pipeline has revision %llu",
                        (unsigned long long)(p == NULL ? 0 : p->row.revision));
    } else if (p == NULL) {
        create(engine, command, spec);
        spec = NULL;
    } else if (strcmp(p->row.spec_json, spec_canonical(spec)) == 0) {
        eng_people_answer(engine, command)->show_pipeline = true;
    } else if (is_active(p)) {
        fail_active(engine, command, p, "change its spec");
    } else {
        replace(engine, command, p, spec);
        spec = NULL;
    }
    spec_unref(spec);
}

/* ---- start, stop, delete */
static void
start(struct engine *engine, struct engine_command *command, struct eng_pipeline *p)
{
    if (eng_store_move_pipeline(engine, p, PIPELINE_ON_START, NULL)) {
        p->row.started_ms = engine->wall_ms;
        p->row.ended_ms = 0;
        p->row.reconciled = false;
        p->row.discovery_complete = false;
        eng_set_text(&p->row.failure_class, NULL);
        eng_set_span(&p->row.discover_cursor, ps_span(NULL, 0));
        p->unseen_count = 0;
        eng_drift_forget(p);
        eng_report_reset(engine, p);
    }
    eng_people_answer(engine, command)->show_pipeline = true;
}

static void
stop(struct engine *engine, struct engine_command *command, struct eng_pipeline *p)
{
    (void)eng_store_move_pipeline(engine, p, PIPELINE_ON_STOP, NULL);
    eng_people_answer(engine, command)->show_pipeline = true;
}

/* The destination keeps fence and ledger: a pipeline made again under this name adopts them. */
static void delete (struct engine *engine, struct engine_command *command, struct eng_pipeline *p)
{
    if (is_active(p)) {
        fail_active(engine, command, p, "delete it");
        return;
    }
    eng_event(engine, p, "pipeline.deleted", p->row.name, "%llu loaded batches stay in its ledger",
              (unsigned long long)p->row.batches_loaded);
    eng_wait_end_all(engine, p);
    ENG_TRY(engine, cat_pipeline_delete, p->row.id);
    eng_store_drop_pipeline(engine, p);
    (void)eng_people_answer(engine, command);
}

void
eng_command(struct engine *engine, struct engine_command *command)
{
    if (command->kind == COMMAND_AGENTS) {
        eng_people_answer(engine, command)->show_agents = true;
        return;
    }
    if (command->name == NULL) {
        eng_people_fail(engine, command, PS_REFUSED, "not_found", "a pipeline's name is missing");
        return;
    }
    struct eng_pipeline *p = eng_store_find_pipeline(engine, command->name);
    if (p == NULL && command->kind != COMMAND_PUT) {
        eng_people_fail(engine, command, PS_REFUSED, "not_found", "there is no pipeline \"%s\"",
                        command->name);
        return;
    }
    switch (command->kind) {
    case COMMAND_PUT:
        put(engine, command);
        break;
    case COMMAND_START:
        start(engine, command, p);
        break;
    case COMMAND_STOP:
        stop(engine, command, p);
        break;
    case COMMAND_DELETE:
        delete (engine, command, p);
        break;
    case COMMAND_SAMPLE:
        eng_wait_sample(engine, p, command);
        break;
    case COMMAND_REJECTS:
        eng_wait_rejects(engine, p, command);
        break;
    case COMMAND_RECONCILE:
        eng_reconcile_command(engine, command, p);
        break;
    case COMMAND_REPLAY:
        eng_wait_replay(engine, p, command);
        break;
    case COMMAND_WATCH:
        eng_wait_watch(engine, command);
        break;
    case COMMAND_AGENTS:
        break;
    }
}
