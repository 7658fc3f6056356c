/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/pipelines/{name}/rejects: relayed from an agent, never stored here. */
#include "common/alloc.h"
#include "coordinator/api/api_call.h"

static void
rejects_done(struct api_call *call, const struct command_result *result)
{
    struct api_list list;
    api_list_init(&list, call, API_LIMIT_MOST);
    for (size_t i = 0; i < result->reject_count && !list.failed; i++) {
        if (!api_list_add(&list, &result->rejects[i]->base)) {
            break;
        }
    }
    if (result->next_cursor.len > 0) {
        list.more = true;
        api_cursor_write(API_CURSOR_REJECTS, result->next_cursor, &list.last);
    }
    api_list_end(&list, PS_OK, NULL);
}

void
api_rejects_list(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_REJECTS};
    struct ps_buf cursor = PS_BUF_INIT;
    if (api_call_limit(call, &command.limit) &&
        api_call_cursor(call, API_CURSOR_REJECTS, &cursor)) {
        command.cursor = cursor.ptr; /* moved */
        command.cursor_len = cursor.len;
        api_call_submit(call, &command, rejects_done);
        return;
    }
    ps_buf_fini(&cursor);
}
