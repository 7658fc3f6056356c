/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_task.h"

#include "agent/decode/infer.h"
#include "agent/leaf/leaf_bytes.h"
#include "agent/leaf/leaf_core.h"
#include "agent/leaf/leaf_decide.h"
#include "agent/leaf/leaf_stream.h"
#include "agent/leaf/leaf_work.h"
#include "common/alloc.h"
#include "common/failpoint.h"
#include "common/log.h"

enum {
    PAGE_OBJECTS = 1000,
    PAGE_BYTES = 512 * 1024, /* of keys and versions; a frame holds at most 1 MiB */
    LEDGER_PAGE = 1000,
    SAMPLE_BYTES = 256 * 1024, /* of each object; at most 20 objects */
};

/* ---- talking to the agent */

bool
leaf_work_should_stop(const struct leaf_work *work)
{
    return atomic_load(&work->core->stop) || atomic_load(&work->core->drain) ||
           atomic_load(&work->core->task_cancel);
}

/* Sends and waits for the answer to this task's page. */
static enum ps_status
send_page(struct leaf_work *work, enum msg_type type, const void *message, struct ps_error *err)
{
    struct leaf_core *core = work->core;
    pthread_mutex_lock(&core->lock);
    core->task_acked = false;
    pthread_mutex_unlock(&core->lock);
    enum ps_status status = leaf_link_send(core->link, type, message, err);
    pthread_mutex_lock(&core->lock);
    while (status == PS_OK && !core->task_acked) {
        if (leaf_work_should_stop(work)) {
            status = ps_fail(err, PS_CANCELED, "asked to stop");
        } else {
            leaf_core_wait_locked(core, 1000);
        }
    }
    if (status == PS_OK && core->task_answer != PENSTOCK__ANSWER__ANSWER_OK) {
        status = ps_fail(err, PS_FENCED, "the coordinator no longer wants this task");
    }
    pthread_mutex_unlock(&core->lock);
    return status;
}

void
leaf_work_result_init(struct leaf_work *work, Penstock__TaskResult *result)
{
    penstock__task_result__init(result);
    result->task_id = work->task->task_id;
    result->epoch = work->task->epoch;
    result->chunk = work->chunk++;
    result->last = true;
    result->ok = true;
}

enum ps_status
leaf_work_send(struct leaf_work *work, Penstock__TaskResult *result, struct ps_error *err)
{
    static Penstock__Origin nobody;
    static Penstock__Stamp none;
    penstock__origin__init(&nobody);
    penstock__stamp__init(&none);
    nobody.agent = "";
    nobody.seen = &none;
    result->origin = &nobody; /* the agent puts its own here */
    Penstock__LeafTaskResult message;
    penstock__leaf_task_result__init(&message);
    message.result = result;
    return send_page(work, MSG_LEAF_TASK_RESULT, &message, err);
}

/* ---- discover */

struct page {
    Penstock__ObjectRef refs[PAGE_OBJECTS];
    Penstock__ObjectRef *refs_at[PAGE_OBJECTS];
    size_t count;
    struct ps_buf bytes; /* keys and versions; reserved once, so that pointers stay */
};

static bool
name_says_compressed(struct ps_span key)
{
    static const char *const ends[] = {".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t len = strlen(ends[i]);
        if (key.len > len && memcmp(key.ptr + key.len - len, ends[i], len) == 0) {
            return true;
        }
    }
    return false;
}

static ProtobufCBinaryData
keep_bytes(struct page *page, struct ps_span bytes)
{
    uint8_t *at = page->bytes.ptr + page->bytes.len;
    ps_buf_xappend(&page->bytes, bytes.ptr, bytes.len);
    return proto_bytes(at, bytes.len);
}

static enum ps_status
on_found(void *ctx, const struct source_object *object, struct ps_error *err)
{
    struct page *page = ctx;
    if (page->bytes.len + object->key.len + object->version.len > PAGE_BYTES) {
        return ps_fail(err, PS_FULL, "the page is full"); /* the next one begins with this object */
    }
    Penstock__ObjectRef *ref = &page->refs[page->count];
    penstock__object_ref__init(ref);
    ref->key = keep_bytes(page, object->key);
    ref->version = keep_bytes(page, object->version);
    ref->has_size_bytes = true;
    ref->size_bytes = object->size_bytes;
    ref->has_compressed = true;
    ref->compressed = name_says_compressed(object->key);
    ref->has_mtime_ms = true;
    ref->mtime_ms = object->mtime_ms;
    ref->has_weak = true;
    ref->weak = object->weak;
    page->refs_at[page->count++] = ref;
    return PS_OK;
}

static enum ps_status
send_discovered(struct leaf_work *work, struct page *page, struct ps_span cursor, bool last,
                uint64_t unsettled, struct ps_error *err)
{
    Penstock__LeafDiscovered message;
    penstock__leaf_discovered__init(&message);
    message.task_id = work->task->task_id;
    message.epoch = work->task->epoch;
    message.cursor = proto_bytes(cursor.ptr, cursor.len);
    message.last = last;
    message.n_objects = page->count;
    message.objects = page->refs_at;
    message.has_unsettled = true;
    message.unsettled = unsettled;
    return send_page(work, MSG_LEAF_DISCOVERED, &message, err);
}

static enum ps_status
list_pages(struct leaf_work *work, const struct leaf_source *source, struct page *page,
           struct ps_error *err)
{
    struct ps_buf cursor = PS_BUF_INIT;
    ps_buf_xappend(&cursor, work->task->cursor.data, work->task->cursor.len);
    enum ps_status status = PS_OK;
    bool last = false;
    while (status == PS_OK && !last && !leaf_work_should_stop(work)) {
        struct source_page listing = {
            .after = ps_buf_span(&cursor), .limit = PAGE_OBJECTS, .found = on_found, .ctx = page};
        page->count = 0;
        ps_buf_clear(&page->bytes);
        status = source->ops->discover(source->source, &listing, err);
        last = listing.last;
        if (status == PS_FULL && page->count > 0) {
            status = PS_OK;
            last = false;
        }
        if (status == PS_OK && page->count > 0) {
            ProtobufCBinaryData key = page->refs[page->count - 1].key;
            ps_buf_clear(&cursor);
            ps_buf_xappend(&cursor, key.data, key.len);
        }
        if (status == PS_OK) {
            status =
                send_discovered(work, page, ps_buf_span(&cursor), last, listing.unsettled, err);
        }
    }
    ps_buf_fini(&cursor);
    return status;
}

enum ps_status
leaf_work_open_source(struct leaf_work *work, const struct spec *spec, struct leaf_source *out,
                      struct ps_error *err)
{
    out->ops = source_find(spec_str(spec, "source.url"), err);
    if (out->ops == NULL) {
        return err->status;
    }
    return out->ops->open(spec, &work->core->source_env, &out->source, err);
}

static enum ps_status
do_discover(struct leaf_work *work, struct ps_error *err)
{
    struct leaf_source source = {0};
    enum ps_status status = leaf_work_open_source(work, work->doc->spec, &source, err);
    if (status != PS_OK) {
        return status;
    }
    struct page *page = ps_xcalloc(1, sizeof *page);
    status = ps_buf_reserve(&page->bytes, PAGE_BYTES, err);
    if (status == PS_OK) {
        status = list_pages(work, &source, page, err);
    }
    ps_buf_fini(&page->bytes);
    ps_free(page);
    source.ops->close(source.source);
    return status;
}

/* ---- sample and prepare */

static enum ps_status
read_head(struct leaf_work *work, const struct leaf_source *source, const Penstock__ObjectRef *ref,
          struct ps_buf *out, bool *out_whole, struct ps_error *err)
{
    const struct leaf_bytes_of of = {
        .spec = work->doc->spec,
        .source = source,
        .key = ps_span(ref->key.data, ref->key.len),
        .version = ps_span(ref->version.data, ref->version.len),
        .budget_bytes = work->core->config->budget_bytes,
    };
    struct leaf_bytes *bytes = NULL;
    enum ps_status status = leaf_bytes_open(&of, &bytes, err);
    if (status == PS_OK) {
        status = leaf_bytes_read(bytes, 0, SAMPLE_BYTES, out, err);
    }
    *out_whole = out->len < SAMPLE_BYTES;
    leaf_bytes_close(bytes);
    return status;
}

static enum ps_status
infer_objects(struct leaf_work *work, struct infer *infer, struct ps_error *err)
{
    struct leaf_source source = {0};
    struct ps_buf head = PS_BUF_INIT;
    enum ps_status status = leaf_work_open_source(work, work->doc->spec, &source, err);
    for (size_t i = 0; status == PS_OK && i < work->task->n_objects && !leaf_work_should_stop(work);
         i++) {
        const Penstock__ObjectRef *ref = work->task->objects[i];
        char name[256];
        bool whole = false;
        log_quote(ps_span(ref->key.data, ref->key.len), name, sizeof name);
        ps_buf_clear(&head);
        status = read_head(work, &source, ref, &head, &whole, err);
        if (status == PS_OK) {
            status = infer_add(infer, name, ps_buf_span(&head), whole, err);
        } else if (status == PS_BADDATA || status == PS_REFUSED) {
            /* An object that cannot be read fails alone, when its own batch comes; the others
             * still say what the columns are. */
            status =
                i + 1 < work->task->n_objects || i > 0 ? PS_OK : ps_wrap(err, status, "%s", name);
        }
    }
    ps_buf_fini(&head);
    if (source.source != NULL) {
        source.ops->close(source.source);
    }
    return status;
}

static enum ps_status
turn_take(void *ctx, const char *identity, struct ps_error *err)
{
    struct leaf_work *work = ctx;
    enum ps_status status = leaf_core_turn_take(work->core, 1, identity, err);
    work->have_turn = status == PS_OK;
    return status;
}

static void
turn_release(void *ctx, const char *identity)
{
    struct leaf_work *work = ctx;
    (void)identity;
    if (work->have_turn) {
        work->have_turn = false;
        leaf_core_turn_release(work->core, 1);
    }
}

static void
phase(void *ctx, const char *name)
{
    (void)ctx;
    (void)name; /* a task has no phase of its own */
}

enum ps_status
leaf_work_open_dest(struct leaf_work *work, const struct spec *spec,
                    const struct dest_ops **out_ops, struct dest **out, struct ps_error *err)
{
    *out_ops = dest_find(spec_str(spec, "destination.url"), err);
    if (*out_ops == NULL) {
        return err->status;
    }
    work->env = (struct dest_env){
        .memory_bytes = leaf_core_dest_bytes(work->core),
        .ctx = work,
        .turn_take = turn_take,
        .turn_release = turn_release,
        .phase = phase,
        .base_dir = work->core->config->base_dir,
        .cancel = &work->core->stop,
    };
    return (*out_ops)->open(spec, &work->env, out, err);
}

/* A state's message with the messages it points to. */
struct state_message {
    Penstock__DestState state;
    Penstock__Stamp seen;
    Penstock__Counts totals;
};

static void
state_to_proto(const struct dest_state *in, struct state_message *message)
{
    Penstock__DestState *out = &message->state;
    penstock__dest_state__init(out);
    penstock__stamp__init(&message->seen);
    out->has_table_exists = true;
    out->table_exists = in->table_exists;
    out->has_pipeline_uuid = in->has_fence;
    out->pipeline_uuid = proto_bytes(in->uuid.id.b, PS_ID_BYTES);
    out->has_generation = in->has_fence;
    out->generation = in->generation;
    message->seen.cluster_epoch = in->cluster_epoch;
    message->seen.commit_seq = in->commit_seq;
    out->seen = &message->seen;
    leaf_core_counts_to_proto(&in->totals, &message->totals);
    out->totals = &message->totals;
    out->has_batches = true;
    out->batches = in->batches;
    out->has_replayed = true;
    out->replayed = in->replayed;
}

/* The last `added` columns are added to a table that is there and lacks them. */
static enum ps_status
run_ddl(struct leaf_work *work, const struct spec_column *columns, size_t count, size_t added,
        struct dest_state *out_state, struct ps_error *err)
{
    const struct dest_ops *ops = NULL;
    struct dest *dest = NULL;
    enum ps_status status = leaf_work_open_dest(work, work->doc->spec, &ops, &dest, err);
    if (status == PS_OK) {
        struct dest_table table = {.pipeline_name = work->doc->name,
                                   .uuid = work->doc->uuid,
                                   .generation = work->doc->generation,
                                   .columns = columns,
                                   .count = count,
                                   .added = added};
        status = ops->prepare(dest, &table, out_state, err);
        ops->close(dest);
    }
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "destination");
}

static enum ps_status
do_prepare(struct leaf_work *work, struct ps_error *err)
{
    struct infer *infer = NULL;
    const struct spec_column *columns = NULL;
    const char *note = "";
    const char *const *rows = NULL;
    size_t count = 0;
    struct dest_state state = {0};
    Penstock__Column *out = NULL;
    Penstock__Column **out_at = NULL;
    struct state_message dest;
    Penstock__TaskResult result;
    bool prepare = work->task->kind == PENSTOCK__TASK_KIND__TASK_PREPARE;
    enum ps_status status = infer_new(work->doc->spec, &infer, err);
    if (status == PS_OK) {
        status = infer_objects(work, infer, err);
    }
    if (status == PS_OK) {
        status = infer_end(infer, &columns, &count, &note, err);
    }
    if (status == PS_OK && prepare) {
        status = run_ddl(work, columns, count, 0, &state, err);
    }
    if (status != PS_OK) {
        goto out;
    }
    leaf_work_result_init(work, &result);
    out = ps_xcalloc(count, sizeof *out);
    out_at = ps_xcalloc(count, sizeof *out_at);
    leaf_columns_to_proto(columns, count, out);
    for (size_t i = 0; i < count; i++) {
        out_at[i] = &out[i];
    }
    state_to_proto(&state, &dest);
    result.n_columns = count;
    result.columns = out_at;
    result.format_note = (char *)(uintptr_t)note;
    result.n_sample_rows = prepare ? 0 : infer_sample_rows(infer, &rows);
    result.sample_rows = (char **)(uintptr_t)rows;
    result.dest = prepare ? &dest.state : NULL;
    result.table = (char *)(uintptr_t)spec_str(work->doc->spec, "destination.table");
    status = leaf_work_send(work, &result, err);
out:
    ps_free(out_at);
    ps_free(out);
    infer_free(infer);
    return status;
}

/* The document's columns and those of the task. */
static enum ps_status
do_alter(struct leaf_work *work, struct ps_error *err)
{
    const struct leaf_doc *doc = work->doc;
    size_t added = work->task->n_columns;
    struct spec_column *more = NULL;
    struct spec_column *all = ps_xcalloc(doc->column_count + added, sizeof *all);
    struct dest_state state = {0};
    Penstock__TaskResult result;
    enum ps_status status = leaf_columns_from_proto(work->task->columns, added, &more, err);
    if (status == PS_OK) {
        memcpy(all, doc->columns, doc->column_count * sizeof *all);
        memcpy(all + doc->column_count, more, added * sizeof *all);
        status = run_ddl(work, all, doc->column_count + added, added, &state, err);
    }
    if (status == PS_OK && PS_FAILPOINT("leaf.after_alter")) {
        status = ps_fail(err, PS_AGAIN, "failpoint leaf.after_alter");
    }
    if (status == PS_OK) {
        leaf_work_result_init(work, &result);
        status = leaf_work_send(work, &result, err);
    }
    leaf_columns_free(more, added);
    ps_free(all);
    return status;
}

/* ---- reconcile and rejects: pages of what the destination keeps */

struct ledger_page {
    Penstock__LedgerRange items[LEDGER_PAGE];
    Penstock__LedgerRange *items_at[LEDGER_PAGE];
    size_t count;
    struct ps_buf bytes;
};

enum { LEDGER_PAGE_BYTES = 768 * 1024 };

static ProtobufCBinaryData
page_bytes(struct ps_buf *bytes, const void *ptr, size_t len)
{
    uint8_t *at = bytes->ptr + bytes->len;
    ps_buf_xappend(bytes, ptr, len);
    return proto_bytes(at, len);
}

static enum ps_status
on_ledger_range(void *ctx, const struct dest_range *range, struct batch_id batch,
                struct ps_error *err)
{
    struct ledger_page *page = ctx;
    size_t need = range->key.len + range->resume.len + 2 * PS_ID_BYTES;
    if (page->bytes.len + need > LEDGER_PAGE_BYTES) {
        return ps_fail(err, PS_FULL, "the page is full");
    }
    Penstock__LedgerRange *out = &page->items[page->count];
    penstock__ledger_range__init(out);
    out->bp_hash = page_bytes(&page->bytes, range->bp.id.b, PS_ID_BYTES);
    out->key = page_bytes(&page->bytes, range->key.ptr, range->key.len);
    out->from = range->from;
    out->end = range->end;
    out->eof = range->eof;
    out->has_resume = range->resume.len > 0;
    out->resume = page_bytes(&page->bytes, range->resume.ptr, range->resume.len);
    out->batch_id = page_bytes(&page->bytes, batch.id.b, PS_ID_BYTES);
    out->has_records = true;
    out->records = range->records;
    page->items_at[page->count++] = out;
    return PS_OK;
}

static enum ps_status
send_ledger_pages(struct leaf_work *work, const struct dest_ops *ops, struct dest *dest,
                  const struct dest_state *state, struct ps_error *err)
{
    struct ledger_page *page = ps_xcalloc(1, sizeof *page);
    struct ps_buf cursor = PS_BUF_INIT;
    struct ps_buf next = PS_BUF_INIT;
    struct state_message dest_state;
    struct state_message end_state;
    bool last = !state->has_fence;
    enum ps_status status = ps_buf_reserve(&page->bytes, LEDGER_PAGE_BYTES, err);
    state_to_proto(state, &dest_state);
    do {
        Penstock__TaskResult result;
        page->count = 0;
        ps_buf_clear(&page->bytes);
        ps_buf_clear(&next);
        if (status == PS_OK && state->has_fence) {
            struct dest_page wanted = {.uuid = state->uuid,
                                       .cursor = ps_buf_span(&cursor),
                                       .limit = LEDGER_PAGE,
                                       .next = &next};
            status = ops->ledger(dest, &wanted, on_ledger_range, page, err);
            last = wanted.last;
        }
        if (status == PS_FULL && page->count > 0) {
            status = PS_OK; /* the cursor stands after the last range that fitted */
            last = false;
        }
        struct dest_state end = {0};
        if (status == PS_OK && PS_FAILPOINT("leaf.ledger_page")) {
            status = ps_fail(err, PS_AGAIN, "failpoint leaf.ledger_page");
        }
        if (status == PS_OK && last) {
            status = ops->state(dest, work->doc->name, &end, err);
            state_to_proto(&end, &end_state);
        }
        if (status == PS_OK) {
            leaf_work_result_init(work, &result);
            result.last = last;
            result.dest = &dest_state.state;
            result.dest_end = last ? &end_state.state : NULL;
            result.n_ranges = page->count;
            result.ranges = page->items_at;
            status = leaf_work_send(work, &result, err);
        }
        struct ps_buf swap = cursor;
        cursor = next;
        next = swap;
    } while (status == PS_OK && !last);
    ps_buf_fini(&next);
    ps_buf_fini(&cursor);
    ps_buf_fini(&page->bytes);
    ps_free(page);
    return status;
}

static enum ps_status
do_reconcile(struct leaf_work *work, struct ps_error *err)
{
    const struct dest_ops *ops = NULL;
    struct dest *dest = NULL;
    struct dest_state state = {0};
    enum ps_status status = leaf_work_open_dest(work, work->doc->spec, &ops, &dest, err);
    if (status != PS_OK) {
        return ps_wrap(err, status, "destination");
    }
    status = ops->state(dest, work->doc->name, &state, err);
    if (status == PS_OK) {
        status = send_ledger_pages(work, ops, dest, &state, err);
    }
    ops->close(dest);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "destination");
}

/* ---- the thread */

static enum ps_status
do_task(struct leaf_work *work, struct ps_error *err)
{
    switch (work->task->kind) {
    case PENSTOCK__TASK_KIND__TASK_DISCOVER:
        return do_discover(work, err);
    case PENSTOCK__TASK_KIND__TASK_SAMPLE:
    case PENSTOCK__TASK_KIND__TASK_PREPARE:
        return do_prepare(work, err);
    case PENSTOCK__TASK_KIND__TASK_READ_REJECTS:
        return leaf_rejects_read(work, err);
    case PENSTOCK__TASK_KIND__TASK_RECONCILE:
        return do_reconcile(work, err);
    case PENSTOCK__TASK_KIND__TASK_REPLAY:
        return leaf_replay_run(work, err);
    case PENSTOCK__TASK_KIND__TASK_ALTER:
        return do_alter(work, err);
    case _PENSTOCK__TASK_KIND_IS_INT_SIZE:
        break;
    }
    return ps_fail(err, PS_REFUSED, "unknown kind of task %d", (int)work->task->kind);
}

/* Preparing and replaying are repeatable, so a full disk below the destination is waited out here.
 */
static enum ps_status
do_task_in_room(struct leaf_work *work, struct ps_error *err)
{
    struct leaf_core *core = work->core;
    for (unsigned attempt = 0;; attempt++) {
        enum ps_status status = do_task(work, err);
        if (attempt > 0) {
            leaf_core_note(core, "%s", "");
        }
        bool repeats = work->task->kind == PENSTOCK__TASK_KIND__TASK_PREPARE ||
                       work->task->kind == PENSTOCK__TASK_KIND__TASK_REPLAY;
        if (status == PS_OK || !repeats || !leaf_decide_waits_for_room(err) ||
            atomic_load(&core->drain)) {
            return status;
        }
        if (!leaf_core_wait_for_room(core, NULL, "destination's", attempt, err)) {
            return ps_fail(err, PS_CANCELED, "asked to stop while the disk was full");
        }
    }
}

static void
run_task(struct leaf_core *core, Penstock__LeafTask *message)
{
    struct ps_error err = {0};
    struct leaf_work work = {.core = core, .task = message->task};
    work.doc = leaf_docs_find(
        core->docs, ps_span(message->task->pipeline_uuid.data, message->task->pipeline_uuid.len),
        message->task->spec_rev);
    enum ps_status status =
        work.doc != NULL ? do_task_in_room(&work, &err)
                         : ps_fail(&err, PS_BUG, "the task came before its pipeline's document");
    if (status != PS_OK && status != PS_FENCED && !atomic_load(&core->stop)) {
        Penstock__TaskResult result;
        struct ps_error send_err = {0};
        leaf_work_result_init(&work, &result);
        result.ok = false;
        result.code = err.code[0] != '\0' ? err.code : (char *)(uintptr_t)ps_status_name(status);
        result.text = err.text;
        result.has_fail_class = true;
        result.fail_class = leaf_decide_extract_failure(&err);
        /* An agent that is gone is noticed by the link thread. */
        (void)!leaf_work_send(&work, &result, &send_err);
    }
    leaf_doc_unref(core->docs, work.doc);
}

void *
leaf_task_thread(void *ctx)
{
    struct leaf_core *core = ctx;
    pthread_mutex_lock(&core->lock);
    while (!atomic_load(&core->stop) && !atomic_load(&core->drain)) {
        Penstock__LeafTask *task = core->task;
        if (task == NULL) {
            leaf_core_wait_locked(core, 60000);
            continue;
        }
        core->task = NULL;
        core->task_busy = true;
        memcpy(core->task_now, task->task->task_id.data, PS_ID_BYTES);
        core->task_epoch = task->task->epoch;
        atomic_store(&core->task_cancel, false);
        pthread_mutex_unlock(&core->lock);
        run_task(core, task);
        msg_free(&task->base);
        pthread_mutex_lock(&core->lock);
        core->task_busy = false;
    }
    msg_free(core->task == NULL ? NULL : &core->task->base);
    core->task = NULL;
    pthread_mutex_unlock(&core->lock);
    return NULL;
}
