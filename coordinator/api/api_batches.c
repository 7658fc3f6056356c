/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/pipelines/{name}/batches */
#include "coordinator/api/api_call.h"
#include "coordinator/engine/engine_view.h"

static bool
list_row(void *ctx, const struct cat_batch *row)
{
    struct api_list *list = ctx;
    struct engine_view_batch view;
    if (!api_list_room(list)) {
        return false;
    }
    engine_view_batch_init(&view, row);
    bool good = api_list_add(list, &view.message.base);
    engine_view_batch_fini(&view);
    if (good) {
        api_cursor_write(API_CURSOR_BATCHES, ps_span(row->id.id.b, PS_ID_BYTES), &list->last);
    }
    return good;
}

/* The batch id in the cursor; *out_given false without one. False: answered. */
static bool
read_cursor(struct api_call *call, struct batch_id *out, bool *out_given)
{
    struct ps_buf key = PS_BUF_INIT;
    bool good = api_call_cursor(call, API_CURSOR_BATCHES, &key);
    *out_given = good && key.len > 0;
    if (*out_given && !ps_id_from_span(ps_buf_span(&key), &out->id)) {
        api_call_problem(call, PROBLEM_bad_cursor, NULL);
        good = false;
    }
    ps_buf_fini(&key);
    return good;
}

void
api_batches_list(struct api_call *call)
{
    static const char states[] = "pending|leased|waiting|quarantined|cancelling|cancelled|loaded";
    struct ps_error err = {0};
    struct api_list list;
    struct batch_id after;
    bool after_given = false;
    const char *state = NULL;
    uint64_t pipeline = 0;
    uint32_t limit = 0;
    if (!api_call_limit(call, &limit) || !read_cursor(call, &after, &after_given) ||
        !api_call_choice(call, "state", states, &state) ||
        !api_call_find_pipeline(call, &pipeline)) {
        return;
    }
    api_list_init(&list, call, limit);
    struct cat_batch_page page = {.pipeline_id = pipeline,
                                  .state = state,
                                  .after_id = after_given ? &after : NULL,
                                  .limit = limit + 1};
    enum ps_status status =
        catalog_reader_batches(api_call_reader(call), &page, list_row, &list, &err);
    api_list_end(&list, status, &err);
}
