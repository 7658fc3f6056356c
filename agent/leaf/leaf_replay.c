/* SPDX-License-Identifier: Apache-2.0 */
/* A replay: rejects, as they are or corrected, loaded as a batch of its own (docs/REJECTS.md).
 * Invariant: what makes a record's second life impossible is its mark in the rejects table, set in
 *            the transaction that loads it; the batch id only says whether this request has been
 *            here before. So the same request may come any number of times. */
#include <inttypes.h>

#include "agent/dest/dest_replay.h"
#include "agent/leaf/leaf_decide.h"
#include "agent/leaf/leaf_fields.h"
#include "agent/leaf/leaf_lines.h"
#include "agent/leaf/leaf_redo.h"
#include "agent/leaf/leaf_shelf.h"
#include "agent/transform/transform.h"
#include "common/alloc.h"
#include "common/failpoint.h"
#include "common/log.h"

enum {
    KEPT_MAX = 64 * 1024,
    NUMBERS_MAX = 500, /* ranges of numbers a page asks for */
    ATTEMPTS_MAX = 200,
};

struct result {
    struct batch_id id;
    Penstock__Outcome outcome;
    struct dest_counts counts;
};

struct replay {
    struct leaf_work *work;
    struct leaf_lines lines;
    struct spec *own_spec; /* of the request; NULL: the pipeline's */
    const struct spec *spec;
    const struct spec_column *columns;
    struct spec_column *own_columns;
    size_t column_count;
    const struct dest_ops *ops;
    struct dest *dest;
    struct leaf_redo *redo;
    struct transform *transform;
    struct batch_id first; /* the request's id */

    /* Of one attempt. */
    struct batch_id id;
    char id_text[PS_ID_TEXT_BYTES];
    struct stage_batch *rows;
    struct block *block;
    struct dest_replay *taken;
    struct ps_buf *kept; /* taken[i].kept, where it is ours */
    size_t taken_count, seen, done_before;
    struct dest_not_open not_open;
    struct dest_not_open told; /* of the latest attempt */
    struct dest_counts counts;
    const struct dest_reject_row *row;

    struct result *results;
    size_t result_count;
};

/* ---- which spec */

static enum ps_status
fill_columns(struct replay *replay, struct ps_error *err)
{
    const struct leaf_doc *doc = replay->work->doc;
    const struct spec_column *given = NULL;
    size_t count = spec_columns(replay->spec, &given);
    if (count == 0) {
        return PS_OK;
    }
    replay->own_columns = ps_xcalloc(count, sizeof *replay->own_columns);
    for (size_t i = 0; i < count; i++) {
        const struct spec_column *before = NULL;
        for (size_t k = 0; k < doc->column_count && before == NULL; k++) {
            before = strcmp(doc->columns[k].name, given[i].name) == 0 ? &doc->columns[k] : NULL;
        }
        if (before == NULL) {
            return ps_fail_code(err, PS_REFUSED, "replay_spec",
                                "columns: the pipeline loads no column \"%s\"", given[i].name);
        }
        replay->own_columns[i] = given[i];
        if (!given[i].type_given) {
            replay->own_columns[i].type = before->type;
            replay->own_columns[i].type_given = true;
        }
    }
    replay->columns = replay->own_columns;
    replay->column_count = count;
    return PS_OK;
}

static bool
same_text(const struct spec *a, const struct spec *b, const char *path)
{
    const char *x = spec_str(a, path);
    const char *y = spec_str(b, path);
    return strcmp(x == NULL ? "" : x, y == NULL ? "" : y) == 0;
}

/* The request's own spec, for this replay only: how records are read and where they go may not
 * differ, how they are understood may. */
static enum ps_status
take_spec(struct replay *replay, struct ps_error *err)
{
    const struct leaf_doc *doc = replay->work->doc;
    static const char *const fixed[] = {"name", "destination.url", "destination.table",
                                        "source.url", "format.type"};
    struct spec_errors errors = {0};
    replay->spec = doc->spec;
    replay->columns = doc->columns;
    replay->column_count = doc->column_count;
    if (doc->column_count == 0) {
        return ps_fail_code(err, PS_REFUSED, "replay_not_prepared",
                            "pipeline %s has changed so that all is loaded anew, or has never been "
                            "started: start it; what is refused then can be replayed",
                            doc->name);
    }
    if (replay->lines.spec == NULL) {
        return PS_OK;
    }
    enum ps_status status = spec_from_json(replay->lines.spec, &replay->own_spec, &errors, err);
    if (status != PS_OK && errors.count > 0) {
        status = ps_fail_code(err, PS_REFUSED, "replay_spec", "spec: %s: %s", errors.items[0].path,
                              errors.items[0].text);
    }
    spec_errors_fini(&errors);
    for (size_t i = 0; status == PS_OK && i < sizeof fixed / sizeof fixed[0]; i++) {
        if (!same_text(replay->own_spec, doc->spec, fixed[i])) {
            status = ps_fail_code(err, PS_REFUSED, "replay_spec",
                                  "spec: %s: a replay cannot change it", fixed[i]);
        }
    }
    if (status == PS_OK) {
        replay->spec = replay->own_spec;
        status = fill_columns(replay, err);
    }
    return status == PS_BADDATA ? (err->status = PS_REFUSED) : status;
}

/* ---- one record */

static enum ps_status
on_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct replay *replay = ctx;
    return transform_object(replay->transform, replay->row->object, replay->id_text, names, count,
                            err);
}

static enum ps_status
refuse(struct replay *replay, const char *column, const char *code, const char *reason,
       struct ps_error *err)
{
    const struct stage_reject reject = {
        .range_index = (uint32_t)(replay->taken_count - 1),
        .offset = replay->row->offset,
        .length = replay->row->length,
        .line = replay->row->line,
        .column = ps_span_str(column),
        .code = ps_span_str(code),
        .reason = ps_span_str(reason),
    };
    replay->counts.rejected++;
    return stage_batch_reject(replay->rows, &reject, err);
}

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct replay *replay = ctx;
    struct transform_reject why = {0};
    bool rejected = false;
    enum ps_status status =
        transform_row(replay->transform, record, (uint32_t)(replay->taken_count - 1), replay->block,
                      &rejected, &why, err);
    if (status == PS_OK && rejected) {
        return refuse(replay, why.column, why.code, why.reason, err);
    }
    if (status != PS_OK || !block_is_full(replay->block)) {
        return status;
    }
    status = stage_batch_append(replay->rows, &replay->block, err);
    if (status == PS_OK) {
        replay->block = stage_block_take(replay->work->core->stage, (uint32_t)replay->column_count);
        status = replay->block == NULL ? ps_fail(err, PS_FULL, "out of memory for a block") : PS_OK;
    }
    return status;
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    return refuse(ctx, reject->column, reject->code, reject->reason, err);
}

/* What is kept of a corrected record, should it be refused again. */
static void
keep(struct replay *replay, const char *edited, struct ps_span bytes)
{
    size_t at = replay->taken_count - 1;
    bool cut = bytes.len > KEPT_MAX;
    ps_buf_xappend(&replay->kept[at], bytes.ptr, cut ? KEPT_MAX : bytes.len);
    replay->taken[at].edited = cut ? "cut" : edited;
    replay->taken[at].kept = ps_buf_span(&replay->kept[at]);
}

static enum ps_status
redo_fields(struct replay *replay, const json_t *fields, struct ps_error *err)
{
    const struct decode_sink sink = {
        .ctx = replay, .header = on_header, .record = on_record, .reject = on_reject};
    const struct leaf_fields in = {.fields = fields,
                                   .columns = replay->columns,
                                   .column_count = replay->column_count,
                                   .row = replay->row};
    return leaf_fields_run(&in, &sink, err);
}

static enum ps_status
redo_kept_fields(struct replay *replay, struct ps_error *err)
{
    json_t *fields = NULL;
    enum ps_status status = ps_json_load(replay->row->raw, PS_JSON_MAX_BYTES, &fields, err);
    if (status == PS_OK) {
        status = redo_fields(replay, fields, err);
    }
    json_decref(fields);
    return status;
}

/* As it stands in the table, or again from its object. */
static enum ps_status
redo_kept(struct replay *replay, const struct decode_sink *sink, struct ps_error *err)
{
    const struct dest_reject_row *row = replay->row;
    if (ps_span_eq(row->edited, ps_span_str("fields"))) {
        return redo_kept_fields(replay, err);
    }
    if (ps_span_eq(row->edited, ps_span_str("cut"))) {
        return ps_fail_code(err, PS_REFUSED, "replay_cut",
                            "reject %" PRIu64 ": its corrected record is longer than the 64 KiB "
                            "that are kept: replay it from an edited file",
                            row->n);
    }
    if (row->edited.len > 0 || leaf_redo_is_whole(row)) {
        return leaf_redo_decode(replay->redo, row, row->raw, sink, err);
    }
    struct ps_buf bytes = PS_BUF_INIT;
    enum ps_status status = leaf_redo_read(replay->redo, row, &bytes, err);
    if (status == PS_OK) {
        status = leaf_redo_decode(replay->redo, row, ps_buf_span(&bytes), sink, err);
    }
    ps_buf_fini(&bytes);
    return status;
}

static enum ps_status
redo_one(struct replay *replay, const struct leaf_line *line, struct ps_error *err)
{
    const struct dest_reject_row *row = replay->row;
    const struct decode_sink sink = {
        .ctx = replay, .header = on_header, .record = on_record, .reject = on_reject};
    if (line->has_raw && !ps_span_eq(ps_buf_span(&line->raw), row->raw)) {
        keep(replay, "raw", ps_buf_span(&line->raw));
        return leaf_redo_decode(replay->redo, row, ps_buf_span(&line->raw), &sink, err);
    }
    if (line->fields == NULL) {
        return redo_kept(replay, &sink, err);
    }
    struct ps_buf text = PS_BUF_INIT;
    ps_json_print(line->fields, 0, &text);
    keep(replay, "fields", ps_buf_span(&text));
    ps_buf_fini(&text);
    return redo_fields(replay, line->fields, err);
}

/* ---- all of a request */

/* The id of the k-th time that a request comes: 0 is the request's own. */
static struct batch_id
id_of(const struct replay *replay, uint64_t k)
{
    if (k == 0) {
        return replay->first;
    }
    struct bp_hash hash =
        ps_bp_hash(ps_span(replay->first.id.b, PS_ID_BYTES), ps_span(&k, sizeof k));
    return (struct batch_id){hash.id};
}

/* By an earlier time of this very request? */
static bool
is_own(const struct replay *replay, const struct batch_id *id)
{
    for (uint64_t k = 0; k < ATTEMPTS_MAX; k++) {
        if (ps_id_eq(id_of(replay, k).id, id->id)) {
            return true;
        }
    }
    return false;
}

static enum ps_status
take_row(struct replay *replay, const struct dest_reject_row *row, struct ps_error *err)
{
    const struct leaf_line *line = leaf_lines_find(&replay->lines, row->n);
    if (leaf_work_should_stop(replay->work)) {
        return ps_fail(err, PS_CANCELED, "asked to stop");
    }
    if (line == NULL) {
        return PS_OK;
    }
    replay->seen++;
    if ((line->has_batch && !ps_id_eq(line->batch.id, row->batch.id)) ||
        (line->has_offset && line->offset != row->offset)) {
        return ps_fail_code(err, PS_REFUSED, "replay_other",
                            "line %u: reject %" PRIu64 " is of another batch or offset than the "
                            "file says: it was exported from another table",
                            line->line, row->n);
    }
    bool settled = row->state == REJECT_REPLAYED || row->state == REJECT_DISCARDED;
    if (settled && is_own(replay, &row->replayed_by)) {
        replay->done_before++;
        return PS_OK;
    }
    if (row->state != REJECT_OPEN) {
        dest_not_open_add(&replay->not_open, row->n);
        return PS_OK;
    }
    replay->row = row;
    replay->taken[replay->taken_count++] =
        (struct dest_replay){.n = row->n, .discards = line->discards};
    if (line->discards) {
        replay->counts.filtered++;
        return PS_OK;
    }
    enum ps_status status = redo_one(replay, line, err);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "line %u", line->line);
}

/* The lines' numbers from *at on, as ranges. */
static size_t
next_numbers(const struct leaf_lines *lines, size_t *at, struct dest_numbers *out)
{
    size_t count = 0;
    for (; *at < lines->count; (*at)++) {
        uint64_t n = lines->items[*at].n;
        if (count > 0 && out[count - 1].last + 1 == n) {
            out[count - 1].last = n;
        } else if (count == NUMBERS_MAX) {
            break;
        } else {
            out[count++] = (struct dest_numbers){n, n};
        }
    }
    return count;
}

static enum ps_status
read_pages(struct replay *replay, const struct dest_reject_filter *filter, struct ps_error *err)
{
    struct ps_buf cursor = PS_BUF_INIT;
    struct ps_buf next = PS_BUF_INIT;
    struct leaf_shelf *shelf = ps_xcalloc(1, sizeof *shelf);
    enum ps_status status = PS_OK;
    for (bool last = false; status == PS_OK && !last;) {
        struct dest_page page = {.uuid = replay->work->doc->uuid,
                                 .cursor = ps_buf_span(&cursor),
                                 .limit = SHELF_ROWS,
                                 .next = &next,
                                 .filter = filter};
        ps_buf_clear(&next);
        status = leaf_shelf_read(shelf, replay->ops, replay->dest, &page, err);
        for (size_t i = 0; status == PS_OK && i < shelf->count; i++) {
            status = take_row(replay, &shelf->rows[i], err);
        }
        last = page.last;
        struct ps_buf swap = cursor;
        cursor = next;
        next = swap;
    }
    leaf_shelf_fini(shelf);
    ps_free(shelf);
    ps_buf_fini(&cursor);
    ps_buf_fini(&next);
    return status;
}

static void
end_attempt(struct replay *replay)
{
    stage_block_give(replay->work->core->stage, &replay->block);
    stage_batch_free(replay->rows);
    replay->rows = NULL;
    for (size_t i = 0; i < replay->lines.count && replay->kept != NULL; i++) {
        ps_buf_fini(&replay->kept[i]);
    }
    ps_free(replay->kept);
    ps_free(replay->taken);
    replay->kept = NULL;
    replay->taken = NULL;
    replay->taken_count = replay->seen = replay->done_before = 0;
    replay->counts = (struct dest_counts){0};
    replay->not_open = (struct dest_not_open){0};
}

/* Reads and decodes what is open of the request's rejects. */
static enum ps_status
collect(struct replay *replay, struct ps_error *err)
{
    struct leaf_core *core = replay->work->core;
    replay->taken = ps_xcalloc(replay->lines.count, sizeof *replay->taken);
    replay->kept = ps_xcalloc(replay->lines.count, sizeof *replay->kept);
    enum ps_status status = stage_batch_new(core->stage, replay->id, replay->work->task->epoch,
                                            (uint32_t)replay->column_count, &replay->rows, err);
    if (status == PS_OK) {
        replay->block = stage_block_take(core->stage, (uint32_t)replay->column_count);
        status = replay->block == NULL ? ps_fail(err, PS_FULL, "out of memory for a block") : PS_OK;
    }
    struct dest_numbers *numbers = ps_xcalloc(NUMBERS_MAX, sizeof *numbers);
    for (size_t at = 0; status == PS_OK && at < replay->lines.count;) {
        struct dest_reject_filter filter = {.numbers = numbers};
        filter.number_count = next_numbers(&replay->lines, &at, numbers);
        status = read_pages(replay, &filter, err);
    }
    ps_free(numbers);
    if (status == PS_OK && replay->seen < replay->lines.count) {
        status = ps_fail_code(err, PS_REFUSED, "replay_unknown",
                              "%zu of %zu rejects are not in the table",
                              replay->lines.count - replay->seen, replay->lines.count);
    }
    if (status == PS_OK && replay->block->rows > 0) {
        status = stage_batch_append(replay->rows, &replay->block, err);
    }
    return status == PS_OK ? stage_batch_seal(replay->rows, err) : status;
}

static enum ps_status
load(struct replay *replay, struct dest_result *out, struct ps_error *err)
{
    const struct leaf_work *work = replay->work;
    const Penstock__Stamp *stamp = work->task->stamp;
    replay->counts.decoded = replay->taken_count;
    /* Without any it only asks the ledger, where its row is known to stand. */
    const struct dest_batch batch = {
        .id = replay->id,
        .pipeline = work->doc->uuid,
        .generation = work->doc->generation,
        .epoch = work->task->epoch,
        .cluster_epoch = stamp == NULL ? 0 : stamp->cluster_epoch,
        .commit_seq = stamp == NULL ? 0 : stamp->commit_seq,
        .spec_rev = work->doc->rev,
        .agent = work->core->config->agent_name,
        .leaf = work->core->config->leaf,
        .counts = replay->counts,
        .rows = replay->rows,
        .replays = replay->taken,
        .replay_count = replay->taken_count,
    };
    if (PS_FAILPOINT("replay.before_load")) {
        return ps_fail(err, PS_AGAIN, "failpoint replay.before_load");
    }
    enum ps_status status =
        replay->ops->load(replay->dest, replay->columns, replay->column_count, &batch, out, err);
    Penstock__Outcome outcome = PENSTOCK__OUTCOME__OUTCOME_LOADED;
    Penstock__FailClass class = PENSTOCK__FAIL_CLASS__FAIL_TRANSIENT;
    const char *code = "";
    if (status == PS_OK && out->outcome == DEST_NOT_OPEN) {
        return PS_OK;
    }
    if (status == PS_OK &&
        leaf_decide_outcome(out->outcome, &outcome, &class, &code) == LEAF_REPORT_FAILED) {
        struct ps_error why = *err;
        status = ps_fail_code(err, PS_REFUSED, code, "%s", why.text[0] != '\0' ? why.text : code);
    }
    if (status == PS_OK) {
        replay->results =
            ps_xrealloc(replay->results, (replay->result_count + 1) * sizeof *replay->results);
        replay->results[replay->result_count++] =
            (struct result){.id = replay->id, .outcome = outcome, .counts = out->counts};
    }
    return status;
}

enum next { NEXT_NOTHING, NEXT_SAME, NEXT_ID };

/* One time of the request, under its k-th id. */
static enum ps_status
attempt(struct replay *replay, uint64_t k, enum next *out_next, struct ps_error *err)
{
    struct dest_result result = {0};
    replay->id = id_of(replay, k);
    ps_id_text(replay->id.id, replay->id_text);
    enum ps_status status = collect(replay, err);
    replay->told = replay->not_open;
    *out_next = NEXT_NOTHING;
    if (status == PS_OK && (replay->taken_count > 0 || (k == 0 && replay->done_before > 0))) {
        status = load(replay, &result, err);
        /* Somebody else was faster with some: what is open now is tried. */
        *out_next = result.outcome == DEST_NOT_OPEN ? NEXT_SAME
                    : result.outcome == DEST_LOADED ? NEXT_NOTHING
                                                    : NEXT_ID;
        dest_result_fini(&result);
    }
    end_attempt(replay);
    return status;
}

static enum ps_status
run_attempts(struct replay *replay, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    enum next next = NEXT_SAME;
    uint64_t k = 0;
    for (unsigned times = 0; status == PS_OK && next != NEXT_NOTHING; times++) {
        status = times < ATTEMPTS_MAX
                     ? attempt(replay, k, &next, err)
                     : ps_fail_code(err, PS_REFUSED, "replay_too_often",
                                    "the same replay has come %d times", ATTEMPTS_MAX);
        k += next == NEXT_ID;
    }
    return status;
}

static enum ps_status
send_results(struct replay *replay, struct ps_error *err)
{
    size_t count = replay->result_count;
    Penstock__TaskResult result;
    Penstock__ReplayBatch *batches = ps_xcalloc(count, sizeof *batches);
    Penstock__ReplayBatch **at = ps_xcalloc(count, sizeof *at);
    Penstock__Counts *counts = ps_xcalloc(count, sizeof *counts);
    for (size_t i = 0; i < count; i++) {
        penstock__replay_batch__init(&batches[i]);
        leaf_core_counts_to_proto(&replay->results[i].counts, &counts[i]);
        batches[i].batch_id = proto_bytes(replay->results[i].id.id.b, PS_ID_BYTES);
        batches[i].outcome = replay->results[i].outcome;
        batches[i].counts = &counts[i];
        at[i] = &batches[i];
    }
    leaf_work_result_init(replay->work, &result);
    result.n_replays = count;
    result.replays = at;
    struct ps_buf not_open = PS_BUF_INIT;
    dest_not_open_list(&replay->told, &not_open);
    result.not_open = (char *)(uintptr_t)ps_buf_str(&not_open);
    result.has_not_open_count = true;
    result.not_open_count = replay->told.count;
    (void)PS_FAILPOINT("replay.before_result");
    enum ps_status status = leaf_work_send(replay->work, &result, err);
    ps_buf_fini(&not_open);
    ps_free(counts);
    ps_free(at);
    ps_free(batches);
    return status;
}

static enum ps_status
open_all(struct replay *replay, struct ps_error *err)
{
    enum ps_status status =
        leaf_work_open_dest(replay->work, replay->spec, &replay->ops, &replay->dest, err);
    if (status != PS_OK) {
        return ps_wrap(err, status, "destination");
    }
    const struct leaf_redo_env env = {.work = replay->work,
                                      .spec = replay->spec,
                                      .columns = replay->columns,
                                      .column_count = replay->column_count,
                                      .ops = replay->ops,
                                      .dest = replay->dest};
    replay->redo = leaf_redo_new(&env);
    return transform_new(replay->spec, replay->columns, replay->column_count, &replay->transform,
                         err);
}

enum ps_status
leaf_replay_run(struct leaf_work *work, struct ps_error *err)
{
    struct replay replay = {.work = work};
    const Penstock__Replay *order = work->task->replay;
    enum ps_status status = PS_OK;
    if (order == NULL ||
        !ps_id_from_span(ps_span(order->batch_id.data, order->batch_id.len), &replay.first.id)) {
        return ps_fail(err, PS_BUG, "a replay without its id");
    }
    status = leaf_lines_parse(ps_span(order->rows.data, order->rows.len), &replay.lines, err);
    if (status == PS_OK && replay.lines.count == 0) {
        status = ps_fail_code(err, PS_REFUSED, "replay_line", "no rejects are named");
    }
    if (status == PS_OK) {
        status = take_spec(&replay, err);
    }
    if (status == PS_OK) {
        status = open_all(&replay, err);
    }
    if (status == PS_OK) {
        status = run_attempts(&replay, err);
    }
    if (status == PS_OK) {
        status = send_results(&replay, err);
    }
    transform_free(replay.transform);
    leaf_redo_free(replay.redo);
    if (replay.dest != NULL) {
        replay.ops->close(replay.dest);
    }
    ps_free(replay.own_columns);
    spec_unref(replay.own_spec);
    leaf_lines_fini(&replay.lines);
    ps_free(replay.results);
    return status;
}
