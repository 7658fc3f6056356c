/* SPDX-License-Identifier: Apache-2.0 */
/* One page of the rejects table, for people. */
#include "agent/leaf/leaf_fields.h"
#include "agent/leaf/leaf_redo.h"
#include "agent/leaf/leaf_shelf.h"
#include "common/alloc.h"

enum {
    PAGE_BYTES = 800 * 1024, /* of the rows' texts and, as far as there is room, their fields */
    NUMBERS_MAX = 1000,
};

struct page {
    struct leaf_shelf shelf;
    Penstock__RejectRow items[SHELF_ROWS];
    Penstock__RejectRow *items_at[SHELF_ROWS];
    size_t count;
    struct ps_buf bytes; /* reserved once, so that what points there stays */
    bool brief;
    /* With fields. */
    struct leaf_redo *redo; /* NULL: without */
    struct leaf_redo_env env;
    struct leaf_fields_names names;
    json_t *fields;
};

static ProtobufCBinaryData
put_bytes(struct page *page, struct ps_span bytes)
{
    uint8_t *at = page->bytes.ptr + page->bytes.len;
    ps_buf_xappend(&page->bytes, bytes.ptr, bytes.len);
    return proto_bytes(at, bytes.len);
}

static char *
put_text(struct page *page, struct ps_span text)
{
    char *at = (char *)page->bytes.ptr + page->bytes.len;
    ps_buf_xappend(&page->bytes, text.ptr, text.len);
    ps_buf_xappend(&page->bytes, "", 1);
    return at;
}

/* ---- fields, where they can be told */

static enum ps_status
fields_header(void *ctx, const struct ps_span *names, uint32_t count, struct ps_error *err)
{
    struct page *page = ctx;
    (void)err;
    page->names.names = names;
    page->names.count = count;
    return PS_OK;
}

static enum ps_status
fields_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct page *page = ctx;
    (void)err;
    page->fields = leaf_fields_of(&page->names, record);
    return PS_OK;
}

static enum ps_status
fields_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    (void)ctx, (void)reject, (void)err;
    return PS_OK;
}

/* Appends a JSON object; nothing where they cannot be told: that is no failure of the list. */
static void
tell_fields(struct page *page, const struct dest_reject_row *row, struct ps_buf *out)
{
    const struct decode_sink sink = {
        .ctx = page, .header = fields_header, .record = fields_record, .reject = fields_reject};
    struct ps_buf bytes = PS_BUF_INIT;
    struct ps_error why = {0};
    enum ps_status status = PS_OK;
    if (ps_span_eq(row->edited, ps_span_str("fields"))) {
        ps_buf_xappend(out, row->raw.ptr, row->raw.len);
        return;
    }
    if (row->edited.len > 0 || leaf_redo_is_whole(row)) {
        status = leaf_redo_decode(page->redo, row, row->raw, &sink, &why);
    } else {
        status = leaf_redo_read(page->redo, row, &bytes, &why);
        if (status == PS_OK) {
            status = leaf_redo_decode(page->redo, row, ps_buf_span(&bytes), &sink, &why);
        }
    }
    if (status == PS_OK && page->fields != NULL) {
        ps_json_print(page->fields, 0, out);
    }
    json_decref(page->fields);
    page->fields = NULL;
    ps_buf_fini(&bytes);
}

/* ---- rows */

static void
put_row(struct page *page, const struct dest_reject_row *row, struct ps_span fields)
{
    Penstock__RejectRow *out = &page->items[page->count];
    penstock__reject_row__init(out);
    out->batch_id = put_bytes(page, ps_span(row->batch.id.b, PS_ID_BYTES));
    out->object = put_bytes(page, row->object);
    out->offset = row->offset;
    out->has_length = true;
    out->length = row->length;
    out->has_line = row->line > 0;
    out->line = row->line;
    out->column = row->column.len > 0 ? put_text(page, row->column) : NULL;
    out->code = put_text(page, row->code);
    out->reason = put_text(page, row->reason);
    out->has_raw = !page->brief;
    out->raw = put_bytes(page, page->brief ? ps_span(NULL, 0) : row->raw);
    out->has_at_ms = true;
    out->at_ms = row->at_ms;
    out->has_n = true;
    out->n = row->n;
    out->state = (char *)(uintptr_t)dest_reject_state_name(row->state);
    out->has_replayed_by = out->has_replayed_ms =
        row->state == REJECT_REPLAYED || row->state == REJECT_DISCARDED;
    out->replayed_by = put_bytes(page, ps_span(row->replayed_by.id.b, PS_ID_BYTES));
    out->replayed_ms = row->replayed_ms;
    out->edited = row->edited.len > 0 ? put_text(page, row->edited) : NULL;
    out->fields_json = fields.len > 0 ? put_text(page, fields) : NULL;
    page->items_at[page->count++] = out;
}

/* The shelf is smaller than the page: rows always fit. */
static void
put_rows(struct page *page)
{
    for (size_t i = 0; i < page->shelf.count; i++) {
        const struct dest_reject_row *row = &page->shelf.rows[i];
        struct ps_buf fields = PS_BUF_INIT;
        size_t rest = page->shelf.bytes.len + SHELF_ROWS * (2 * PS_ID_BYTES + 8);
        if (page->redo != NULL && page->bytes.len < PAGE_BYTES - rest) {
            tell_fields(page, row, &fields);
        }
        if (fields.len > PAGE_BYTES || page->bytes.len + fields.len + rest > PAGE_BYTES) {
            ps_buf_clear(&fields);
        }
        put_row(page, row, ps_buf_span(&fields));
        ps_buf_fini(&fields);
    }
}

static enum ps_status
read_filter(const Penstock__RejectFilter *in, struct dest_reject_filter *out,
            struct batch_id *batch, struct dest_numbers *numbers, struct ps_error *err)
{
    *out = (struct dest_reject_filter){.numbers = numbers};
    if (in->state != NULL && !dest_reject_state_parse(in->state, &out->state)) {
        return ps_fail_code(err, PS_REFUSED, "bad_filter", "no reject's state is \"%s\"",
                            in->state);
    }
    out->code = ps_span_str(in->code == NULL ? "" : in->code);
    out->object = ps_span(in->object.data, in->has_object ? in->object.len : 0);
    if (in->has_batch_id) {
        if (!ps_id_from_span(ps_span(in->batch_id.data, in->batch_id.len), &batch->id)) {
            return ps_fail_code(err, PS_REFUSED, "bad_filter", "a batch id has 16 bytes");
        }
        out->batch = batch;
    }
    if (in->n_first != in->n_last || in->n_first > NUMBERS_MAX) {
        return ps_fail_code(err, PS_REFUSED, "bad_filter", "at most %d ranges of numbers",
                            NUMBERS_MAX);
    }
    for (size_t i = 0; i < in->n_first; i++) {
        numbers[i] = (struct dest_numbers){in->first[i], in->last[i]};
    }
    out->number_count = in->n_first;
    return PS_OK;
}

static enum ps_status
read_page(struct leaf_work *work, const struct dest_reject_filter *filter, struct page *page,
          struct ps_error *err)
{
    struct ps_buf next = PS_BUF_INIT;
    struct dest_page wanted = {
        .uuid = work->doc->uuid,
        .cursor = ps_span(work->task->cursor.data, work->task->cursor.len),
        .limit = work->task->has_limit && work->task->limit < SHELF_ROWS ? work->task->limit
                                                                         : SHELF_ROWS,
        .next = &next,
        .filter = filter,
    };
    enum ps_status status =
        leaf_shelf_read(&page->shelf, page->env.ops, page->env.dest, &wanted, err);
    if (status == PS_OK) {
        put_rows(page);
        Penstock__TaskResult result;
        leaf_work_result_init(work, &result);
        result.n_rejects = page->count;
        result.rejects = page->items_at;
        result.has_cursor = !wanted.last;
        result.cursor = proto_bytes(next.ptr, next.len);
        status = leaf_work_send(work, &result, err);
    }
    ps_buf_fini(&next);
    return status;
}

static enum ps_status
fill_page(struct leaf_work *work, struct page *page, struct ps_error *err)
{
    static const Penstock__RejectFilter none = PENSTOCK__REJECT_FILTER__INIT;
    const Penstock__RejectFilter *asked = work->task->rejects == NULL ? &none : work->task->rejects;
    struct dest_reject_filter filter;
    struct batch_id batch;
    struct dest_numbers *numbers = ps_xcalloc(NUMBERS_MAX, sizeof *numbers);
    enum ps_status status = read_filter(asked, &filter, &batch, numbers, err);
    page->brief = asked->brief;
    if (asked->fields) {
        page->redo = leaf_redo_new(&page->env);
        page->names = (struct leaf_fields_names){.spec = work->doc->spec,
                                                 .columns = work->doc->columns,
                                                 .column_count = work->doc->column_count};
    }
    if (status == PS_OK) {
        status = ps_buf_reserve(&page->bytes, 2 * PAGE_BYTES, err);
    }
    if (status == PS_OK) {
        status = read_page(work, &filter, page, err);
    }
    leaf_redo_free(page->redo);
    leaf_shelf_fini(&page->shelf);
    ps_free(numbers);
    return status;
}

enum ps_status
leaf_rejects_read(struct leaf_work *work, struct ps_error *err)
{
    struct page *page = ps_xcalloc(1, sizeof *page);
    page->env = (struct leaf_redo_env){.work = work,
                                       .spec = work->doc->spec,
                                       .columns = work->doc->columns,
                                       .column_count = work->doc->column_count};
    enum ps_status status =
        leaf_work_open_dest(work, work->doc->spec, &page->env.ops, &page->env.dest, err);
    if (status == PS_OK) {
        status = fill_page(work, page, err);
        page->env.ops->close(page->env.dest);
    }
    ps_buf_fini(&page->bytes);
    ps_free(page);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "destination");
}
