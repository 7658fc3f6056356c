/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/pipelines/{name}/rejects: relayed from and to an agent, never stored or looked into here. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/ids.h"
#include "coordinator/api/api_call.h"

enum { NUMBERS_MOST = 1000, KEY_MOST_BYTES = 255 };

static void
rejects_done(struct api_call *call, const struct command_result *result)
{
    struct api_list list;
    api_list_init(&list, call, API_LIMIT_MOST);
    for (size_t i = 0; i < result->reject_count && !list.failed; i++) {
        if (!api_list_add(&list, &result->rejects[i]->base)) {
            break;
        }
    }
    if (result->next_cursor.len > 0) {
        list.more = true;
        api_cursor_write(API_CURSOR_REJECTS, result->next_cursor, &list.last);
    }
    api_list_end(&list, PS_OK, NULL);
}

/* One number of at most 19 digits. */
static bool
take_number(const char **at, uint64_t *out)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > 18) {
        return false;
    }
    *out = strtoull(*at, NULL, 10);
    *at += digits;
    return true;
}

/* "3,7-9". False: it has been answered. */
static bool
read_numbers(struct api_call *call, const char *text, Penstock__RejectFilter *out)
{
    for (const char *at = text; text != NULL; at++) {
        uint64_t first = 0;
        uint64_t last = 0;
        bool good = take_number(&at, &first) && out->n_first < NUMBERS_MOST;
        last = first;
        if (good && *at == '-') {
            at++;
            good = take_number(&at, &last) && last >= first;
        }
        if (!good || (*at != ',' && *at != '\0')) {
            api_call_problem(call, PROBLEM_bad_parameter,
                             "ids: numbers and ranges of numbers are expected, as 3,7-9, at most "
                             "%d",
                             NUMBERS_MOST);
            return false;
        }
        out->first = ps_xrealloc(out->first, (out->n_first + 1) * sizeof *out->first);
        out->last = ps_xrealloc(out->last, (out->n_last + 1) * sizeof *out->last);
        out->first[out->n_first++] = first;
        out->last[out->n_last++] = last;
        if (*at == '\0') {
            return true;
        }
    }
    return true;
}

static void
set_bytes(ProtobufCBinaryData *out, protobuf_c_boolean *has, struct ps_span bytes)
{
    *has = true;
    out->data = ps_xalloc(bytes.len + 1);
    memcpy(out->data, bytes.ptr, bytes.len);
    out->len = bytes.len;
}

/* False: it has been answered; what is in *out is the caller's either way. */
static bool
read_filter(struct api_call *call, Penstock__RejectFilter *out)
{
    const char *state = NULL;
    const char *code = api_call_parameter(call, "code");
    const char *object = api_call_parameter(call, "object");
    const char *batch = api_call_parameter(call, "batch");
    uint64_t fields = 0;
    uint64_t brief = 0;
    if (!api_call_choice(call, "state", "open|replayed|void|discarded", &state) ||
        !api_call_number(call, "fields", 0, 1, &fields) ||
        !api_call_number(call, "brief", 0, 1, &brief) ||
        !read_numbers(call, api_call_parameter(call, "ids"), out)) {
        return false;
    }
    out->state = ps_xstrdup(state);
    out->code = ps_xstrdup(code);
    out->has_fields = out->has_brief = true;
    out->fields = fields != 0;
    out->brief = brief != 0;
    if (object != NULL) {
        set_bytes(&out->object, &out->has_object, ps_span_str(object));
    }
    struct ps_id id;
    if (batch != NULL && !ps_id_parse(batch, &id)) {
        api_call_problem(call, PROBLEM_bad_parameter, "batch: a batch's id is expected");
        return false;
    }
    if (batch != NULL) {
        set_bytes(&out->batch_id, &out->has_batch_id, ps_span(id.b, PS_ID_BYTES));
    }
    return true;
}

void
api_rejects_list(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_REJECTS};
    struct ps_buf cursor = PS_BUF_INIT;
    Penstock__RejectFilter *filter = ps_xcalloc(1, sizeof *filter);
    penstock__reject_filter__init(filter);
    if (api_call_limit(call, &command.limit) &&
        api_call_cursor(call, API_CURSOR_REJECTS, &cursor) && read_filter(call, filter)) {
        command.cursor = cursor.ptr; /* moved */
        command.cursor_len = cursor.len;
        command.rejects = filter;
        api_call_submit(call, &command, rejects_done);
        return;
    }
    msg_free(&filter->base);
    ps_buf_fini(&cursor);
}

/* ---------------------------------------------------------------- replay */

static void
replay_done(struct api_call *call, const struct command_result *result)
{
    api_call_answer_message(call, 200, &result->replay->base);
}

void
api_rejects_replay(struct api_call *call)
{
    static const char lines[] = "application/x-ndjson";
    const char *type = api_call_header(call, "Content-Type");
    const char *key = api_call_header(call, "Idempotency-Key");
    struct ps_span body = api_call_body(call);
    if (type == NULL || strncmp(type, lines, sizeof lines - 1) != 0) {
        api_call_problem(call, PROBLEM_unsupported_media_type, "send %s", lines);
        return;
    }
    if (key != NULL && (key[0] == '\0' || strlen(key) > KEY_MOST_BYTES)) {
        api_call_problem(call, PROBLEM_bad_key, "1 to %d bytes are expected", KEY_MOST_BYTES);
        return;
    }
    struct engine_command command = {.kind = COMMAND_REPLAY, .body_len = body.len};
    command.key = ps_xstrdup(key);
    command.body = ps_xalloc(body.len + 1);
    if (body.len > 0) {
        memcpy(command.body, body.ptr, body.len);
    }
    api_call_submit(call, &command, replay_done);
}
