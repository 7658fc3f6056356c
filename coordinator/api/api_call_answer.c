/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of api_call.h: JSON, problems and lists. */
#include <string.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "coordinator/api/api_server.h"
#include "proto/json_map.h"

static const char type_json[] = "application/json";
static const char type_problem[] = "application/problem+json";

void
api_call_set_header(struct api_call *call, const char *name, const char *value)
{
    PS_ASSERT(call->header_count < API_HEADERS_MOST);
    call->headers[call->header_count++] =
        (struct api_pair){.name = name, .value = ps_xstrdup(value)};
}

/* text NULL: no body. */
static void
set_answer(struct api_call *call, unsigned status, const char *type, const char *text)
{
    PS_ASSERT(call->response == NULL);
    call->response = MHD_create_response_from_buffer(text == NULL ? 0 : strlen(text),
                                                     (void *)(uintptr_t)(text == NULL ? "" : text),
                                                     MHD_RESPMEM_MUST_COPY);
    PS_ASSERT(call->response != NULL);
    if (text != NULL) {
        (void)MHD_add_response_header(call->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    }
    (void)MHD_add_response_header(call->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    (void)MHD_add_response_header(call->response, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < call->header_count; i++) {
        (void)MHD_add_response_header(call->response, call->headers[i].name,
                                      call->headers[i].value);
    }
    call->status = status;
    call->state = CALL_ANSWERED;
}

static void
set_answer_json(struct api_call *call, unsigned status, const char *type, json_t *own_json)
{
    char *text = json_dumps(own_json, JSON_COMPACT);
    json_decref(own_json);
    if (text == NULL) {
        /* Written by hand: nothing more may fail here. */
        set_answer(call, 500, type_problem,
                   "{\"type\":\"urn:penstock:problem:internal\",\"title\":\"A fault of the "
                   "coordinator\",\"status\":500,\"code\":\"internal\"}");
        return;
    }
    set_answer(call, status, type, text);
    free(text);
}

void
api_call_answer(struct api_call *call, unsigned status, json_t *own_json)
{
    set_answer_json(call, status, type_json, own_json);
}

void
api_call_answer_empty(struct api_call *call, unsigned status)
{
    set_answer(call, status, type_json, NULL);
}

void
api_call_answer_message(struct api_call *call, unsigned status, const ProtobufCMessage *message)
{
    struct ps_error err = {0};
    json_t *json = NULL;
    if (json_map_write(message, &json, &err) != PS_OK) {
        api_call_problem(call, PROBLEM_internal, "%s", err.text);
        return;
    }
    api_call_answer(call, status, json);
}

void
api_call_problem_fields(struct api_call *call, enum api_problem problem, const char *detail,
                        struct api_fields fields)
{
    const struct api_problem_row *row = api_problem_row(problem);
    Penstock__ApiProblem message = PENSTOCK__API_PROBLEM__INIT;
    char *type = ps_xasprintf("urn:penstock:problem:%s", row->code);
    json_t *json = NULL;
    message.type = type;
    message.title = (char *)(uintptr_t)row->title;
    message.status = row->status;
    message.code = (char *)(uintptr_t)row->code;
    message.detail = (char *)(uintptr_t)detail;
    message.errors = (Penstock__ApiFieldError **)(uintptr_t)fields.items;
    message.n_errors = fields.count;
    if (json_map_write(&message.base, &json, NULL) != PS_OK) {
        /* A detail that is not UTF-8: say the rest. */
        message.detail = NULL;
        message.n_errors = 0;
        (void)!json_map_write(&message.base, &json, NULL);
    }
    ps_free(type);
    set_answer_json(call, row->status, type_problem, json);
}

void
api_call_problem(struct api_call *call, enum api_problem problem, const char *fmt, ...)
{
    struct ps_error err = {0};
    if (fmt != NULL) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err.text, sizeof err.text, fmt, args);
        va_end(args);
    }
    api_call_problem_fields(call, problem, fmt == NULL ? NULL : err.text, (struct api_fields){0});
}

void
api_call_problem_result(struct api_call *call, const struct command_result *result)
{
    api_call_problem_fields(
        call, api_problem_of_result(result), result->text,
        (struct api_fields){.items = result->errors, .count = result->error_count});
}

void
api_call_problem_error(struct api_call *call, const struct ps_error *err)
{
    struct command_result result = {.status = err->status, .code = err->code, .text = err->text};
    api_call_problem_result(call, &result);
}

enum MHD_Result
api_call_send(struct api_call *call)
{
    PS_ASSERT(call->state == CALL_ANSWERED);
    return MHD_queue_response(call->connection, call->status, call->response);
}

/* ---------------------------------------------------------------- lists */

void
api_list_init(struct api_list *list, struct api_call *call, uint32_t limit)
{
    *list = (struct api_list){.call = call, .items = json_array(), .limit = limit};
    PS_ASSERT(list->items != NULL);
}

bool
api_list_room(struct api_list *list)
{
    list->more = json_array_size(list->items) == list->limit;
    return !list->more;
}

bool
api_list_add(struct api_list *list, const ProtobufCMessage *message)
{
    struct ps_error err = {0};
    json_t *json = NULL;
    if (json_map_write(message, &json, &err) != PS_OK ||
        json_array_append_new(list->items, json) != 0) {
        api_call_problem(list->call, PROBLEM_internal, "%s", err.text);
        list->failed = true;
        return false;
    }
    ps_buf_clear(&list->last);
    return true;
}

void
api_list_end(struct api_list *list, enum ps_status status, const struct ps_error *err)
{
    if (status != PS_OK && !list->failed) {
        api_call_problem_error(list->call, err);
    } else if (!list->failed) {
        json_t *body = json_object();
        json_object_set(body, "items", list->items);
        if (list->more && list->last.len > 0) {
            json_object_set_new(body, "next", json_string(ps_buf_str(&list->last)));
        }
        api_call_answer(list->call, 200, body);
    }
    json_decref(list->items);
    ps_buf_fini(&list->last);
}
