/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_wait.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/percent.h"
#include "coordinator/engine/eng_hello.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_people.h"
#include "coordinator/engine/eng_replay.h"
#include "coordinator/engine/eng_store.h"
#include "coordinator/engine/eng_task.h"

enum {
    WATCH_MOST_MS = 60000,
    SAMPLE_MS = 60000,
    REJECTS_MS = 30000,
    REPLAY_MS = 120000,
    NO_AGENT_MS = 5000, /* an agent that is just starting is waited for */
    REJECTS_MOST = 1000,
};

static struct eng_wait *
add(struct engine *engine, struct engine_command *own_command, int64_t wait_ms)
{
    struct eng_wait *wait = ps_xcalloc(1, sizeof *wait);
    wait->command = *own_command;
    *own_command = (struct engine_command){0};
    wait->until_ms = engine->now_ms + wait_ms;
    ps_list_push_back(&engine->waits, &wait->link);
    return wait;
}

/* Ends the wait and its task; what it has moves into the answer. */
static struct eng_answer *
end(struct engine *engine, struct eng_wait *wait)
{
    if (wait->task != NULL) {
        eng_task_end(engine, wait->task);
    }
    struct eng_answer *answer = eng_people_answer(engine, &wait->command);
    answer->sample = wait->sample;
    answer->rejects = wait->rejects;
    answer->reject_count = wait->reject_count;
    ps_list_remove(&wait->link);
    ps_free(wait);
    return answer;
}

static void
end_with(struct engine *engine, struct eng_wait *wait, const char *code, const char *text)
{
    struct eng_answer *answer = end(engine, wait);
    answer->status = PS_REFUSED;
    answer->code = code;
    answer->text = ps_xstrdup(text);
}

void
eng_wait_watch(struct engine *engine, struct engine_command *own_command)
{
    uint32_t wait_ms = own_command->wait_ms > WATCH_MOST_MS ? WATCH_MOST_MS : own_command->wait_ms;
    (void)add(engine, own_command, wait_ms);
}

static int64_t
task_time(const struct engine *engine, int64_t whole_ms)
{
    return engine->online_leaves == 0 ? NO_AGENT_MS : whole_ms;
}

void
eng_wait_sample(struct engine *engine, struct eng_pipeline *p, struct engine_command *own_command)
{
    struct eng_wait *wait = add(engine, own_command, task_time(engine, SAMPLE_MS));
    wait->sample = ENG_NEW(Penstock__ApiSample, PENSTOCK__API_SAMPLE__INIT);
    wait->task = eng_task_add(engine, p, PENSTOCK__TASK_KIND__TASK_DISCOVER);
    wait->task->wait = wait;
    wait->task->limit = ENG_PREPARE_OBJECTS;
}

void
eng_wait_rejects(struct engine *engine, struct eng_pipeline *p, struct engine_command *own_command)
{
    struct eng_wait *wait = add(engine, own_command, task_time(engine, REJECTS_MS));
    wait->task = eng_task_add(engine, p, PENSTOCK__TASK_KIND__TASK_READ_REJECTS);
    wait->task->wait = wait;
    wait->task->limit = wait->command.limit == 0 || wait->command.limit > REJECTS_MOST
                            ? REJECTS_MOST
                            : wait->command.limit;
    eng_set_span(&wait->task->cursor, ps_span(wait->command.cursor, wait->command.cursor_len));
}

void
eng_wait_replay(struct engine *engine, struct eng_pipeline *p, struct engine_command *own_command)
{
    if (own_command->body_len > ENG_REPLAY_BYTES) {
        eng_people_fail(engine, own_command, PS_REFUSED, "body_too_large",
                        "at most %d bytes of rows at once", ENG_REPLAY_BYTES);
        return;
    }
    struct eng_wait *wait = add(engine, own_command, task_time(engine, REPLAY_MS));
    wait->task = eng_task_add(engine, p, PENSTOCK__TASK_KIND__TASK_REPLAY);
    wait->task->wait = wait;
}

bool
eng_wait_sampled(struct engine *engine, struct eng_task *task, const Penstock__Discovered *page)
{
    for (size_t i = 0; i < page->n_objects && task->object_count < ENG_PREPARE_OBJECTS; i++) {
        ENG_PUSH(task->objects, task->object_count, eng_out_object(page->objects[i]));
    }
    if (task->object_count < ENG_PREPARE_OBJECTS && !page->last) {
        return true;
    }
    struct eng_wait *wait = task->wait;
    if (task->object_count == 0) {
        end_with(engine, wait, "no_objects", "no objects match the source's URL");
        return false;
    }
    struct eng_task *sample =
        eng_task_add(engine, task->pipeline, PENSTOCK__TASK_KIND__TASK_SAMPLE);
    sample->wait = wait;
    wait->task = sample;
    for (size_t i = 0; i < task->object_count; i++) {
        struct ps_buf name = PS_BUF_INIT;
        ps_percent_name(eng_span(task->objects[i]->key), &name);
        ENG_PUSH(wait->sample->objects, wait->sample->n_objects, eng_out_text(ps_buf_str(&name)));
        ps_buf_fini(&name);
    }
    sample->objects = task->objects;
    sample->object_count = task->object_count;
    task->objects = NULL;
    task->object_count = 0;
    bool last = page->last;
    eng_task_end(engine, task);
    return last;
}

static Penstock__ApiReject *
new_reject(const Penstock__RejectRow *row)
{
    char text[PS_CLOCK_TEXT_BYTES];
    char id_text[PS_ID_TEXT_BYTES];
    struct ps_id id = {0};
    struct ps_buf name = PS_BUF_INIT;
    Penstock__ApiReject *out = ENG_NEW(Penstock__ApiReject, PENSTOCK__API_REJECT__INIT);
    bool is_id = ps_id_from_span(eng_span(row->batch_id), &id);
    out->batch = eng_out_text(is_id ? ps_id_text(id, id_text) : "");
    ps_percent_name(eng_span(row->object), &name);
    out->object = eng_out_text(ps_buf_str(&name));
    ps_buf_fini(&name);
    out->offset = row->offset;
    out->has_length = row->has_length;
    out->length = row->length;
    out->has_line = row->has_line;
    out->line = row->line;
    out->column = eng_out_text(row->column);
    out->code = eng_out_text(row->code);
    out->reason = eng_out_text(row->reason);
    out->has_raw = row->has_raw;
    out->raw = eng_out_bytes(eng_span(row->raw));
    out->at = row->has_at_ms ? eng_out_text(ps_clock_text(row->at_ms, text)) : NULL;
    out->has_n = row->has_n;
    out->n = row->n;
    out->state = eng_out_text(row->state);
    out->edited = eng_out_text(row->edited);
    out->fields_json = eng_out_text(row->fields_json);
    if (row->has_replayed_by && ps_id_from_span(eng_span(row->replayed_by), &id)) {
        out->replayed_by = eng_out_text(ps_id_text(id, id_text));
        out->replayed_at = eng_out_text(ps_clock_text(row->replayed_ms, text));
    }
    return out;
}

bool
eng_wait_chunk(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *chunk)
{
    struct eng_wait *wait = task->wait;
    if (wait->sample != NULL) {
        for (size_t i = 0; i < chunk->n_columns; i++) {
            ENG_PUSH(wait->sample->columns, wait->sample->n_columns,
                     eng_out_column(chunk->columns[i]));
        }
        for (size_t i = 0; i < chunk->n_sample_rows; i++) {
            ENG_PUSH(wait->sample->rows, wait->sample->n_rows, eng_out_text(chunk->sample_rows[i]));
        }
        if (chunk->format_note != NULL) {
            ps_free(wait->sample->format_note);
            wait->sample->format_note = eng_out_text(chunk->format_note);
        }
    }
    for (size_t i = 0; i < chunk->n_rejects && wait->reject_count < REJECTS_MOST; i++) {
        ENG_PUSH(wait->rejects, wait->reject_count, new_reject(chunk->rejects[i]));
    }
    if (chunk->last) {
        Penstock__ApiReplay *replay = task->kind == PENSTOCK__TASK_KIND__TASK_REPLAY
                                          ? eng_replay_take(engine, task->pipeline, chunk)
                                          : NULL;
        struct eng_answer *answer = end(engine, wait);
        answer->replay = replay;
        eng_set_span(&answer->next_cursor,
                     chunk->has_cursor ? eng_span(chunk->cursor) : ps_span(NULL, 0));
    }
    return true;
}

void
eng_wait_begin_anew(struct eng_task *task)
{
    struct eng_wait *wait = task->wait;
    if (task->kind == PENSTOCK__TASK_KIND__TASK_DISCOVER) {
        for (size_t i = 0; i < task->object_count; i++) {
            msg_free(&task->objects[i]->base);
        }
        task->object_count = 0;
    }
    for (size_t i = 0; wait->sample != NULL && i < wait->sample->n_columns; i++) {
        msg_free(&wait->sample->columns[i]->base);
    }
    for (size_t i = 0; wait->sample != NULL && i < wait->sample->n_rows; i++) {
        ps_free(wait->sample->rows[i]);
    }
    if (wait->sample != NULL) {
        wait->sample->n_columns = wait->sample->n_rows = 0;
    }
    for (size_t i = 0; i < wait->reject_count; i++) {
        msg_free(&wait->rejects[i]->base);
    }
    wait->reject_count = 0;
}

void
eng_wait_failed(struct engine *engine, struct eng_task *task, const char *code, const char *text)
{
    char *both = ps_xasprintf("%s: %s", code, text);
    end_with(engine, task->wait, "task_failed", both);
    ps_free(both);
}

void
eng_wait_end_all(struct engine *engine, struct eng_pipeline *p)
{
    PS_LIST_FOR (at, &engine->waits) {
        struct eng_wait *wait = PS_CONTAINER(at, struct eng_wait, link);
        if (wait->task != NULL && wait->task->pipeline == p) {
            end_with(engine, wait, "not_found", "the pipeline was deleted");
        }
    }
}

void
eng_wait_step_all(struct engine *engine)
{
    PS_LIST_FOR (at, &engine->waits) {
        struct eng_wait *wait = PS_CONTAINER(at, struct eng_wait, link);
        bool is_watch = wait->task == NULL;
        struct eng_pipeline *p =
            is_watch ? eng_store_find_pipeline(engine, wait->command.name) : NULL;
        bool over = engine->now_ms >= wait->until_ms;
        if (is_watch && (over || p == NULL || p->row.revision > wait->command.revision)) {
            end(engine, wait)->show_pipeline = true;
        } else if (over && engine->online_leaves == 0) {
            end_with(engine, wait, "no_agent", "no agent is online: start one and ask again");
        } else if (over) {
            end_with(engine, wait, "timed_out", "no agent has answered in time");
        }
    }
}

int64_t
eng_wait_next_ms(const struct engine *engine)
{
    int64_t next = INT64_MAX;
    PS_LIST_FOR (at, (struct ps_list *)(uintptr_t)&engine->waits) {
        const struct eng_wait *wait = PS_CONTAINER(at, struct eng_wait, link);
        next = wait->until_ms < next ? wait->until_ms : next;
    }
    return next;
}

void
eng_wait_refuse_all(struct engine *engine, const char *code, const char *text)
{
    PS_LIST_FOR (at, &engine->waits) {
        end_with(engine, PS_CONTAINER(at, struct eng_wait, link), code, text);
    }
}
