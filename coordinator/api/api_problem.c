/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/api_problem.h"

#include <string.h>

#include "common/assert.h"

static const struct api_problem_row problem_rows[] = {
#define PROBLEM(code, status, title) {#code, status, title},
#include "coordinator/api/problems.def"
#undef PROBLEM
};

const struct api_problem_row *
api_problem_row(enum api_problem problem)
{
    PS_ASSERT((size_t)problem < PROBLEM_COUNT);
    return &problem_rows[problem];
}

static enum api_problem
problem_of_status(enum ps_status status)
{
    switch (status) {
    case PS_AGAIN:
    case PS_FULL:
        return PROBLEM_busy;
    case PS_REFUSED:
    case PS_BADDATA:
    case PS_FENCED:
        return PROBLEM_failed;
    case PS_CANCELED:
        return PROBLEM_shutting_down;
    case PS_OK:
    case PS_BUG:
        break;
    }
    return PROBLEM_internal;
}

enum api_problem
api_problem_of_result(const struct command_result *result)
{
    for (size_t i = 0; result->code != NULL && i < PROBLEM_COUNT; i++) {
        if (strcmp(problem_rows[i].code, result->code) == 0) {
            return (enum api_problem)i;
        }
    }
    return problem_of_status(result->status);
}
