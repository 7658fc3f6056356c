/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/events */
#include "coordinator/api/api_call.h"
#include "coordinator/engine/engine_view.h"

static bool
list_row(void *ctx, const struct cat_event *row)
{
    struct api_list *list = ctx;
    struct engine_view_event view;
    if (!api_list_room(list)) {
        return false;
    }
    engine_view_event_init(&view, row);
    bool good = api_list_add(list, &view.message.base);
    if (good) {
        api_cursor_write_u64(API_CURSOR_EVENTS, row->id, &list->last);
    }
    return good;
}

/* Where to begin: after the cursor, after an id, or so that `last` events come. */
static bool
read_after(struct api_call *call, uint64_t *out_after)
{
    struct ps_error err = {0};
    uint64_t after = 0;
    uint64_t cursor = 0;
    uint64_t last = 0;
    uint64_t before_last = 0;
    if (!api_call_cursor_u64(call, API_CURSOR_EVENTS, &cursor) ||
        !api_call_number(call, "after", cursor, INT64_MAX, &after) ||
        !api_call_number(call, "last", 0, INT32_MAX, &last)) {
        return false;
    }
    if (last > 0 && cursor == 0 &&
        catalog_reader_event_before_last(api_call_reader(call),
                                         api_call_parameter(call, "pipeline"), (uint32_t)last,
                                         &before_last, &err) != PS_OK) {
        api_call_problem_error(call, &err);
        return false;
    }
    after = after > cursor ? after : cursor;
    *out_after = after > before_last ? after : before_last;
    return true;
}

void
api_events_list(struct api_call *call)
{
    struct ps_error err = {0};
    struct api_list list;
    uint64_t after = 0;
    uint32_t limit = 0;
    if (!api_call_limit(call, &limit) || !read_after(call, &after)) {
        return;
    }
    api_list_init(&list, call, limit);
    struct cat_event_page page = {
        .pipeline = api_call_parameter(call, "pipeline"), .after_id = after, .limit = limit + 1};
    enum ps_status status =
        catalog_reader_events(api_call_reader(call), &page, list_row, &list, &err);
    api_list_end(&list, status, &err);
}
