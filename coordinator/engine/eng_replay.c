/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/engine/eng_replay.h"

#include "common/alloc.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_wait.h"

static struct ps_id
batch_of(struct engine *engine, const struct eng_task *task)
{
    const char *key = task->wait->command.key;
    if (key == NULL) {
        return task->id.id; /* nobody can ask for it again */
    }
    (void)engine;
    struct bp_hash hash =
        ps_bp_hash(ps_span(task->pipeline->row.uuid.id.b, PS_ID_BYTES), ps_span_str(key));
    return hash.id;
}

static bool
is_replay(const struct eng_task *task)
{
    return task->kind == PENSTOCK__TASK_KIND__TASK_REPLAY && task->wait != NULL;
}

Penstock__Replay *
eng_replay_order(struct engine *engine, const struct eng_task *task)
{
    if (!is_replay(task)) {
        return NULL;
    }
    const struct engine_command *command = &task->wait->command;
    struct ps_id id = batch_of(engine, task);
    Penstock__Replay *out = ENG_NEW(Penstock__Replay, PENSTOCK__REPLAY__INIT);
    out->batch_id = eng_out_id(&id);
    out->rows = eng_out_bytes(ps_span(command->body, command->body_len));
    return out;
}

size_t
eng_replay_bytes(const struct eng_task *task)
{
    return is_replay(task) ? task->wait->command.body_len : 0;
}

static void
count(struct eng_pipeline *p, const struct cat_counts *counts)
{
    struct cat_counts *total = &p->row.counts;
    total->decoded += counts->decoded;
    total->rejected += counts->rejected;
    total->filtered += counts->filtered;
    total->inserted += counts->inserted;
    total->updated += counts->updated;
    total->skipped += counts->skipped;
    total->rejected_at_load += counts->rejected_at_load;
    p->row.replayed += counts->decoded;
    p->dirty = true;
}

Penstock__ApiReplay *
eng_replay_take(struct engine *engine, struct eng_pipeline *p, const Penstock__TaskResult *result)
{
    char text[PS_ID_TEXT_BYTES] = "";
    Penstock__ApiReplay *out = ENG_NEW(Penstock__ApiReplay, PENSTOCK__API_REPLAY__INIT);
    out->already = true;
    for (size_t i = 0; i < result->n_replays; i++) {
        const Penstock__ReplayBatch *batch = result->replays[i];
        struct cat_counts counts = eng_counts(batch->counts);
        struct batch_id id;
        bool fresh = false;
        if (!ps_id_from_span(eng_span(batch->batch_id), &id.id)) {
            continue;
        }
        if (i == 0) {
            ps_id_text(id.id, text);
        }
        ENG_TRY(engine, cat_replay_enter, p->row.id, id, &fresh);
        if (fresh) {
            count(p, &counts);
            eng_event(engine, p, "rejects.replayed", ps_id_text(id.id, (char[PS_ID_TEXT_BYTES]){0}),
                      "%llu loaded, %llu refused again",
                      (unsigned long long)(counts.inserted + counts.updated + counts.skipped),
                      (unsigned long long)(counts.rejected + counts.rejected_at_load));
        }
        out->loaded += counts.inserted + counts.updated + counts.skipped;
        out->has_discarded = true;
        out->discarded += counts.filtered;
        out->refused = counts.rejected + counts.rejected_at_load; /* of the latest time */
        out->already = out->already && batch->outcome == PENSTOCK__OUTCOME__OUTCOME_ALREADY;
    }
    out->batch = eng_out_text(text);
    out->not_open = eng_out_text(result->not_open);
    out->has_not_open_count = true;
    out->not_open_count = result->not_open_count;
    return out;
}
