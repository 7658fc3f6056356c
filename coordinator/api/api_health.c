/* SPDX-License-Identifier: Apache-2.0 */
/* /livez and /readyz */
#include "coordinator/api/api_call.h"

static void
answer_ok(struct api_call *call)
{
    json_t *body = json_object();
    json_object_set_new(body, "status", json_string("ok"));
    api_call_answer(call, 200, body);
}

void
api_health_live(struct api_call *call)
{
    answer_ok(call);
}

void
api_health_ready(struct api_call *call)
{
    const char *why_not = api_call_why_not_ready(call);
    if (why_not != NULL) {
        api_call_problem(call, PROBLEM_not_ready, "%s", why_not);
        return;
    }
    answer_ok(call);
}
