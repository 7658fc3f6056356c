/* SPDX-License-Identifier: Apache-2.0 */
/* What a replay does to the rejects table: its rows are taken up before anything is loaded, and
 * those that are refused again are put back, all in the transaction that loads the others. */
#include "agent/dest/dest_ledger.h"
#include "agent/dest/dest_replay.h"
#include "common/alloc.h"
#include "common/clock.h"

enum { NUMBERS_A_CALL = 200 };

struct marked {
    const struct dest_batch *batch;
    bool *is; /* by place in batch->replays, which rises */
};

static enum ps_status
take_marked(void *ctx, const struct dest_value *row, struct ps_error *err)
{
    struct marked *marked = ctx;
    size_t low = 0;
    size_t high = marked->batch->replay_count;
    (void)err;
    while (low < high) {
        size_t mid = (low + high) / 2;
        uint64_t n = marked->batch->replays[mid].n;
        if (n == (uint64_t)row[0].integer) {
            marked->is[mid] = true;
            return PS_OK;
        }
        low = n < (uint64_t)row[0].integer ? mid + 1 : low;
        high = n < (uint64_t)row[0].integer ? high : mid;
    }
    return PS_OK;
}

/* Names those that are not marked as this batch's. */
static enum ps_status
name_others(const struct dest_ledger *ledger, const struct dest_batch *batch, struct ps_error *err)
{
    struct dest_not_open not_open = {0};
    struct dest_values values = {0};
    struct marked marked = {.batch = batch, .is = ps_xcalloc(batch->replay_count, sizeof(bool))};
    struct dest_call call = {.each = take_marked, .ctx = &marked};
    dest_values_id(&values, &batch->id.id);
    enum ps_status status =
        dest_ledger_run(ledger, "SELECT $N FROM $R WHERE replayed_by = ?", &values, &call, err);
    for (size_t i = 0; status == PS_OK && i < batch->replay_count; i++) {
        if (!marked.is[i]) {
            dest_not_open_add(&not_open, batch->replays[i].n);
        }
    }
    ps_free(marked.is);
    if (status == PS_OK) {
        (void)dest_not_open_fail(&not_open, ledger->rejects, err);
    }
    return status;
}

static enum ps_status
mark(const struct dest_ledger *ledger, const struct dest_batch *batch, size_t first, size_t count,
     uint64_t *out_marked, struct ps_error *err)
{
    struct dest_values values = {0};
    struct dest_call call = {0};
    struct ps_buf sql = PS_BUF_INIT;
    dest_values_id(&values, &batch->id.id);
    dest_values_int(&values, (uint64_t)ps_clock_wall_ms());
    ps_buf_xprintf(&sql, "UPDATE $R AS r SET replayed_by = ?, replayed_ms = ?"
                         " WHERE r.replayed_by IS NULL AND r.$N IN (");
    for (size_t i = first; i < first + count; i++) {
        dest_values_int(&values, batch->replays[i].n);
        ps_buf_xprintf(&sql, i == first ? "?" : ", ?");
    }
    dest_values_id(&values, &batch->pipeline.id);
    dest_values_int(&values, batch->generation);
    ps_buf_xprintf(&sql, ") AND EXISTS (SELECT 1 FROM $S_penstock_ledger l"
                         " WHERE l.batch_id = r.batch_id AND l.pipeline_uuid = ?"
                         " AND l.generation = ? AND l.state = 'L')");
    enum ps_status status = dest_ledger_run(ledger, ps_buf_str(&sql), &values, &call, err);
    ps_buf_fini(&sql);
    *out_marked += call.changed;
    return status;
}

static enum ps_status
mark_discarded(const struct dest_ledger *ledger, const struct dest_batch *batch,
               struct ps_error *err)
{
    enum ps_status status = PS_OK;
    for (size_t at = 0; status == PS_OK && at < batch->replay_count;) {
        struct dest_values values = {0};
        struct ps_buf sql = PS_BUF_INIT;
        size_t count = 0;
        dest_values_text(&values, DEST_DISCARDED);
        dest_values_id(&values, &batch->id.id);
        ps_buf_xprintf(&sql, "UPDATE $R SET edited = ? WHERE replayed_by = ? AND $N IN (");
        for (; at < batch->replay_count && count < NUMBERS_A_CALL; at++) {
            if (batch->replays[at].discards) {
                dest_values_int(&values, batch->replays[at].n);
                ps_buf_xprintf(&sql, count++ == 0 ? "?" : ", ?");
            }
        }
        ps_buf_xprintf(&sql, ")");
        if (count > 0) {
            status = dest_ledger_run(ledger, ps_buf_str(&sql), &values, NULL, err);
        } else {
            dest_values_fini(&values);
        }
        ps_buf_fini(&sql);
    }
    return status;
}

enum ps_status
dest_ledger_take_up(const struct dest_ledger *ledger, const struct dest_batch *batch,
                    bool *out_open, struct ps_error *err)
{
    uint64_t marked = 0;
    enum ps_status status = PS_OK;
    for (size_t at = 0; status == PS_OK && at < batch->replay_count; at += NUMBERS_A_CALL) {
        size_t left = batch->replay_count - at;
        status =
            mark(ledger, batch, at, left < NUMBERS_A_CALL ? left : NUMBERS_A_CALL, &marked, err);
    }
    *out_open = marked == batch->replay_count;
    if (status == PS_OK && *out_open) {
        status = mark_discarded(ledger, batch, err);
    }
    return status == PS_OK && !*out_open ? name_others(ledger, batch, err) : status;
}

struct put_back {
    const struct dest_ledger *ledger;
    const struct dest_batch *batch;
};

/* What is no text of the server's keeps its bytes as %HH. */
static void
put_text(struct dest_values *values, struct ps_span text, struct ps_buf *scratch)
{
    if (text.len == 0) {
        dest_values_text(values, NULL);
    } else {
        dest_text_safe(text, scratch);
        dest_values_span(values, ps_buf_span(scratch));
    }
}

static enum ps_status
put_one(void *ctx, const struct stage_reject *reject, struct ps_error *err)
{
    const struct put_back *put = ctx;
    if (reject->range_index >= put->batch->replay_count) {
        return ps_fail(err, PS_BUG, "%s: a refused record that nobody replays", put->ledger->shown);
    }
    const struct dest_replay *replay = &put->batch->replays[reject->range_index];
    struct dest_values values = {0};
    struct dest_call call = {0};
    struct ps_buf column = PS_BUF_INIT;
    struct ps_buf code = PS_BUF_INIT;
    struct ps_buf reason = PS_BUF_INIT;
    put_text(&values, reject->column, &column);
    put_text(&values, reject->code, &code);
    put_text(&values, reject->reason, &reason);
    dest_values_int(&values, (uint64_t)ps_clock_wall_ms());
    if (replay->edited != NULL) {
        dest_values_bytes(&values, replay->kept, false);
        dest_values_text(&values, replay->edited);
    }
    dest_values_int(&values, replay->n);
    dest_values_id(&values, &put->batch->id.id);
    enum ps_status status = dest_ledger_run(
        put->ledger,
        replay->edited != NULL
            ? "UPDATE $R SET replayed_by = NULL, replayed_ms = NULL, $Qcolumn$Q = ?, code = ?,"
              " reason = ?, at_ms = ?, raw = ?, edited = ? WHERE $N = ? AND replayed_by = ?"
            : "UPDATE $R SET replayed_by = NULL, replayed_ms = NULL, $Qcolumn$Q = ?, code = ?,"
              " reason = ?, at_ms = ? WHERE $N = ? AND replayed_by = ?",
        &values, &call, err);
    ps_buf_fini(&column);
    ps_buf_fini(&code);
    ps_buf_fini(&reason);
    return status == PS_OK && call.changed != 1
               ? ps_fail(err, PS_BUG, "%s: a reject that was refused twice", put->ledger->shown)
               : status;
}

enum ps_status
dest_ledger_put_back(const struct dest_ledger *ledger, const struct dest_rows *rows,
                     struct ps_error *err)
{
    struct put_back put = {.ledger = ledger, .batch = rows->batch};
    return dest_late_each(rows->late, rows->batch->rows, put_one, &put, err);
}
