/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/pipelines/{name}/batch-partitions */
#include "coordinator/api/api_call.h"
#include "coordinator/engine/engine_view.h"

static bool
list_row(void *ctx, const struct cat_object *row)
{
    struct api_list *list = ctx;
    struct engine_view_object view;
    if (!api_list_room(list)) {
        return false;
    }
    engine_view_object_init(&view, row);
    bool good = api_list_add(list, &view.message.base);
    engine_view_object_fini(&view);
    if (good) {
        api_cursor_write_u64(API_CURSOR_PARTITIONS, row->id, &list->last);
    }
    return good;
}

void
api_partitions_list(struct api_call *call)
{
    struct ps_error err = {0};
    struct api_list list;
    const char *state = NULL;
    uint64_t pipeline = 0;
    uint64_t after = 0;
    uint32_t limit = 0;
    if (!api_call_limit(call, &limit) ||
        !api_call_cursor_u64(call, API_CURSOR_PARTITIONS, &after) ||
        !api_call_choice(call, "state", "pending|open|done|quarantined", &state) ||
        !api_call_find_pipeline(call, &pipeline)) {
        return;
    }
    api_list_init(&list, call, limit);
    struct cat_object_page page = {
        .pipeline_id = pipeline, .state = state, .after_id = after, .limit = limit + 1};
    enum ps_status status =
        catalog_reader_objects(api_call_reader(call), &page, list_row, &list, &err);
    api_list_end(&list, status, &err);
}
