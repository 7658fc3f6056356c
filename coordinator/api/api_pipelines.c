/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/pipelines */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/json.h"
#include "coordinator/api/api_call.h"
#include "coordinator/engine/engine_view.h"
#include "spec/spec.h"

enum { WAIT_MS_MOST = 30000, TAG_BYTES = 24 };

/* ---------------------------------------------------------------- read */

static bool
list_row(void *ctx, const struct cat_pipeline *row)
{
    struct api_list *list = ctx;
    struct engine_view_pipeline view;
    if (!api_list_room(list)) {
        return false;
    }
    engine_view_pipeline_init(&view, row, false);
    bool good = api_list_add(list, &view.message.base);
    engine_view_pipeline_fini(&view);
    if (good) {
        api_cursor_write(API_CURSOR_PIPELINES, ps_span_str(row->name), &list->last);
    }
    return good;
}

void
api_pipelines_list(struct api_call *call)
{
    struct ps_error err = {0};
    struct ps_buf after = PS_BUF_INIT;
    struct api_list list;
    uint32_t limit = 0;
    if (api_call_limit(call, &limit) && api_call_cursor(call, API_CURSOR_PIPELINES, &after)) {
        api_list_init(&list, call, limit);
        enum ps_status status = catalog_reader_pipelines(api_call_reader(call), ps_buf_str(&after),
                                                         limit + 1, list_row, &list, &err);
        api_list_end(&list, status, &err);
    }
    ps_buf_fini(&after);
}

static void
answer_pipeline(struct api_call *call, unsigned status, const Penstock__ApiPipeline *pipeline)
{
    char tag[TAG_BYTES];
    snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", pipeline->revision);
    const char *known = api_call_if_none_match(call);
    api_call_set_header(call, "ETag", tag);
    if (known != NULL && strcmp(known, tag) == 0) {
        api_call_answer_empty(call, 304);
        return;
    }
    api_call_answer_message(call, status, &pipeline->base);
}

static void
pipeline_done(struct api_call *call, const struct command_result *result)
{
    answer_pipeline(call, 200, result->pipeline);
}

void
api_pipelines_get(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_WATCH};
    uint64_t wait_ms = 0;
    if (!api_call_number(call, "revision", 0, UINT64_MAX, &command.revision) ||
        !api_call_number(call, "wait", 0, UINT32_MAX, &wait_ms)) {
        return;
    }
    command.wait_ms = wait_ms > WAIT_MS_MOST ? WAIT_MS_MOST : (uint32_t)wait_ms;
    api_call_submit(call, &command, pipeline_done);
}

/* ---------------------------------------------------------------- write */

static void
put_done(struct api_call *call, const struct command_result *result)
{
    if (result->created) {
        char *path = ps_xasprintf("/v1/pipelines/%s", result->pipeline->name);
        api_call_set_header(call, "Location", path);
        ps_free(path);
    }
    answer_pipeline(call, result->created ? 201 : 200, result->pipeline);
}

static void
problem_spec(struct api_call *call, const struct spec_errors *errors)
{
    Penstock__ApiFieldError *rows = ps_xcalloc(errors->count + 1, sizeof *rows);
    const Penstock__ApiFieldError **items = ps_xcalloc(errors->count + 1, sizeof *items);
    for (size_t i = 0; i < errors->count; i++) {
        penstock__api_field_error__init(&rows[i]);
        rows[i].path = errors->items[i].path;
        rows[i].text = errors->items[i].text;
        rows[i].has_line = errors->items[i].line != 0;
        rows[i].line = errors->items[i].line;
        items[i] = &rows[i];
    }
    char *detail = ps_xasprintf("%zu error%s", errors->count, errors->count == 1 ? "" : "s");
    api_call_problem_fields(call, PROBLEM_invalid_spec, detail,
                            (struct api_fields){.items = items, .count = errors->count});
    ps_free(detail);
    ps_free(items);
    ps_free(rows);
}

static void
problem_name(struct api_call *call, const char *name)
{
    Penstock__ApiFieldError row = PENSTOCK__API_FIELD_ERROR__INIT;
    const Penstock__ApiFieldError *items[] = {&row};
    char *text =
        ps_xasprintf("\"%s\" is not the name in the path, \"%s\"", name, api_call_name(call));
    row.path = (char *)(uintptr_t) "name";
    row.text = text;
    api_call_problem_fields(call, PROBLEM_invalid_spec, "1 error",
                            (struct api_fields){.items = items, .count = 1});
    ps_free(text);
}

/* The revision in If-Match, 0 without. False: answered. */
static bool
read_if_match(struct api_call *call, uint64_t *out)
{
    const char *tag = api_call_header(call, "If-Match");
    *out = 0;
    if (tag == NULL) {
        return true;
    }
    size_t digits = tag[0] == '"' ? strspn(tag + 1, "0123456789") : 0;
    if (digits == 0 || digits > 19 || strcmp(tag + 1 + digits, "\"") != 0) {
        api_call_problem(call, PROBLEM_bad_precondition, "for example If-Match: \"42\"");
        return false;
    }
    *out = strtoull(tag + 1, NULL, 10);
    if (*out == 0) {
        api_call_problem(call, PROBLEM_revision_mismatch, "no revision is 0");
        return false;
    }
    return true;
}

/* The spec in the body; NULL: answered. A body without a name gets that of the path. */
static struct spec *
read_spec(struct api_call *call)
{
    struct ps_error err = {0};
    struct spec_errors errors = {0};
    struct spec *spec = NULL;
    json_t *body = NULL;
    if (ps_json_load(api_call_body(call), API_BODY_BYTES, &body, &err) != PS_OK) {
        api_call_problem(call, PROBLEM_bad_json, "%s", err.text);
        return NULL;
    }
    if (json_is_object(body) && json_object_get(body, "name") == NULL) {
        (void)json_object_set_new(body, "name", json_string(api_call_name(call)));
    }
    enum ps_status status = spec_from_json(body, &spec, &errors, &err);
    if (status != PS_OK && errors.count > 0) {
        problem_spec(call, &errors);
    } else if (status != PS_OK) {
        api_call_problem(call, PROBLEM_invalid_spec, "%s", err.text);
    } else if (strcmp(spec_name(spec), api_call_name(call)) != 0) {
        problem_name(call, spec_name(spec));
        spec_unref(spec);
        spec = NULL;
    }
    spec_errors_fini(&errors);
    json_decref(body);
    return spec;
}

void
api_pipelines_put(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_PUT};
    if (!read_if_match(call, &command.revision)) {
        return;
    }
    struct spec *spec = read_spec(call);
    if (spec != NULL) {
        command.spec_json = ps_xstrdup(spec_canonical(spec));
        spec_unref(spec);
        api_call_submit(call, &command, put_done);
    }
}

static void
delete_done(struct api_call *call, const struct command_result *result)
{
    (void)result;
    api_call_answer_empty(call, 204);
}

void
api_pipelines_delete(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_DELETE};
    api_call_submit(call, &command, delete_done);
}

/* ---------------------------------------------------------------- verbs */

void
api_pipelines_start(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_START};
    api_call_submit(call, &command, pipeline_done);
}

void
api_pipelines_stop(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_STOP};
    api_call_submit(call, &command, pipeline_done);
}

void
api_pipelines_reconcile(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_RECONCILE};
    uint64_t dry_run = 0;
    uint64_t trusts = 0;
    if (api_call_number(call, "dry_run", 0, 1, &dry_run) &&
        api_call_number(call, "trust_ledger", 0, 1, &trusts)) {
        command.dry_run = dry_run != 0;
        command.trust_ledger = trusts != 0;
        api_call_submit(call, &command, pipeline_done);
    }
}

static void
sample_done(struct api_call *call, const struct command_result *result)
{
    api_call_answer_message(call, 200, &result->sample->base);
}

void
api_pipelines_sample(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_SAMPLE};
    api_call_submit(call, &command, sample_done);
}
