/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/agents: as the engine last heard of them. */
#include "coordinator/api/api_call.h"

static void
agents_done(struct api_call *call, const struct command_result *result)
{
    struct api_list list;
    api_list_init(&list, call, UINT32_MAX);
    for (size_t i = 0; i < result->agent_count; i++) {
        if (!api_list_add(&list, &result->agents[i]->base)) {
            break;
        }
    }
    api_list_end(&list, PS_OK, NULL);
}

void
api_agents_list(struct api_call *call)
{
    struct engine_command command = {.kind = COMMAND_AGENTS};
    api_call_submit(call, &command, agents_done);
}
