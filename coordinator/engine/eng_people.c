/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_people.h"

#include <stdio.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_view.h"
#include "coordinator/engine/engine_view.h"

struct eng_answer *
eng_people_answer(struct engine *engine, struct engine_command *own_command)
{
    struct eng_answer *answer = ps_xcalloc(1, sizeof *answer);
    answer->command = *own_command;
    *own_command = (struct engine_command){0};
    ps_list_push_back(&engine->answers, &answer->link);
    return answer;
}

void
eng_people_fail(struct engine *engine, struct engine_command *own_command, enum ps_status status,
                const char *code, const char *fmt, ...)
{
    char text[PS_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct eng_answer *answer = eng_people_answer(engine, own_command);
    answer->status = status;
    answer->code = code;
    answer->text = ps_xstrdup(text);
}

void
eng_people_refuse(struct eng_answer *answer, const char *code, const char *text)
{
    answer->status = PS_AGAIN;
    answer->code = code;
    ps_free(answer->text);
    answer->text = ps_xstrdup(text);
    answer->show_pipeline = answer->show_agents = answer->created = false;
}

static void
free_answer(struct eng_answer *answer)
{
    engine_command_fini(&answer->command);
    ps_free(answer->text);
    if (answer->sample != NULL) {
        msg_free(&answer->sample->base);
    }
    for (size_t i = 0; i < answer->reject_count; i++) {
        msg_free(&answer->rejects[i]->base);
    }
    ps_free(answer->rejects);
    msg_free(answer->replay == NULL ? NULL : &answer->replay->base);
    for (size_t i = 0; i < answer->error_count; i++) {
        msg_free(&answer->errors[i]->base);
    }
    ps_free(answer->errors);
    eng_set_span(&answer->next_cursor, ps_span(NULL, 0));
    ps_free(answer);
}

static void
show_agents(struct engine *engine, struct command_result *result, Penstock__ApiAgent ***own)
{
    PS_LIST_FOR (at, &engine->agents) {
        ENG_PUSH(*own, result->agent_count,
                 eng_view_agent(engine, PS_CONTAINER(at, struct eng_agent, link)));
    }
    result->agents = (const Penstock__ApiAgent *const *)*own;
}

static void
send_one(struct engine *engine, struct eng_answer *answer)
{
    struct engine_view_pipeline view = {0};
    Penstock__ApiAgent **agents = NULL;
    struct command_result result = {
        .status = answer->status,
        .code = answer->code,
        .text = answer->text,
        .created = answer->created,
        .sample = answer->sample,
        .rejects = (const Penstock__ApiReject *const *)answer->rejects,
        .reject_count = answer->reject_count,
        .replay = answer->replay,
        .next_cursor = answer->next_cursor,
        .errors = (const Penstock__ApiFieldError *const *)answer->errors,
        .error_count = answer->error_count,
    };
    struct eng_pipeline *p =
        answer->show_pipeline ? eng_store_find_pipeline(engine, answer->command.name) : NULL;
    if (p != NULL) {
        engine_view_pipeline_init(&view, &p->row, true);
        result.pipeline = &view.message;
    } else if (answer->show_pipeline) {
        result.status = PS_REFUSED;
        result.code = "not_found";
        result.text = "there is no such pipeline";
    }
    if (answer->show_agents) {
        show_agents(engine, &result, &agents);
    }
    answer->command.reply(answer->command.ctx, &result);
    PS_ASSERT(agents != NULL || result.agent_count == 0);
    for (size_t i = 0; i < result.agent_count; i++) {
        msg_free(&agents[i]->base);
    }
    ps_free(agents);
    engine_view_pipeline_fini(&view);
}

void
eng_people_send_all(struct engine *engine)
{
    struct ps_list *at = NULL;
    while ((at = ps_list_take_front(&engine->answers)) != NULL) {
        struct eng_answer *answer = PS_CONTAINER(at, struct eng_answer, link);
        send_one(engine, answer);
        free_answer(answer);
    }
}
