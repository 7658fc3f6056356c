/* SPDX-License-Identifier: Apache-2.0 */
/* What a task found out. */
#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/engine/eng_drift.h"
#include "coordinator/engine/eng_out.h"
#include "coordinator/engine/eng_reconcile.h"
#include "coordinator/engine/eng_task.h"
#include "coordinator/engine/eng_wait.h"

/* ---- prepare */
static void
freeze_columns(struct engine *engine, struct eng_pipeline *p, const Penstock__TaskResult *result)
{
    Penstock__SpecDoc columns = PENSTOCK__SPEC_DOC__INIT;
    columns.pipeline_uuid = proto_bytes("", 0);
    columns.pipeline_name = (char *)(uintptr_t) "";
    columns.spec_json = (char *)(uintptr_t) "";
    columns.n_columns = result->n_columns;
    columns.columns = result->columns;
    size_t len = penstock__spec_doc__get_packed_size(&columns);
    uint8_t *packed = ps_xalloc(len + 1);
    penstock__spec_doc__pack(&columns, packed);
    p->row.spec_rev++;
    ENG_TRY(engine, cat_pipeline_put_spec, p->row.id, p->row.spec_rev, p->row.spec_json,
            ps_span(packed, len));
    eng_set_span(&p->row.columns, ps_span(packed, len));
    ps_free(packed);
}

static bool
take_prepare(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *result)
{
    struct eng_pipeline *p = task->pipeline;
    freeze_columns(engine, p, result);
    eng_set_text(&p->row.format_note, result->format_note);
    if (result->table != NULL) {
        eng_set_text(&p->row.table, result->table);
    }
    p->row.prepared = true;
    p->dirty = true;
    eng_event(engine, p, "pipeline.prepared", p->row.name, "%zu columns, %s", result->n_columns,
              result->format_note == NULL ? "" : result->format_note);
    eng_task_end(engine, task);
    return true;
}

bool
eng_result_chunk(struct engine *engine, struct eng_task *task, const Penstock__TaskResult *chunk)
{
    switch (task->kind) {
    case PENSTOCK__TASK_KIND__TASK_PREPARE:
        return take_prepare(engine, task, chunk);
    case PENSTOCK__TASK_KIND__TASK_RECONCILE:
        return eng_reconcile_chunk(engine, task, chunk);
    case PENSTOCK__TASK_KIND__TASK_ALTER:
        eng_drift_added(engine, task);
        return true;
    case PENSTOCK__TASK_KIND__TASK_SAMPLE:
    case PENSTOCK__TASK_KIND__TASK_READ_REJECTS:
    case PENSTOCK__TASK_KIND__TASK_REPLAY:
        return eng_wait_chunk(engine, task, chunk);
    case PENSTOCK__TASK_KIND__TASK_DISCOVER:
    case _PENSTOCK__TASK_KIND_IS_INT_SIZE:
        break;
    }
    eng_task_end(engine, task); /* a discovery ends with its last page, not with a result */
    return false;
}
