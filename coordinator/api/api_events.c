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

void
api_events_list(struct api_call *call)
{
    struct ps_error err = {0};
    struct api_list list;
    uint64_t after = 0;
    uint64_t cursor = 0;
    uint32_t limit = 0;
    if (!api_call_limit(call, &limit) || !api_call_cursor_u64(call, API_CURSOR_EVENTS, &cursor) ||
        !api_call_number(call, "after", cursor, INT64_MAX, &after)) {
        return;
    }
    api_list_init(&list, call, limit);
    enum ps_status status =
        catalog_reader_events(api_call_reader(call), api_call_parameter(call, "pipeline"),
                              after > cursor ? after : cursor, limit + 1, list_row, &list, &err);
    api_list_end(&list, status, &err);
}
