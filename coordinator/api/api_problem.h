/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/api/api_problem.h: every fault that a person can get, as RFC 9457 problems.
 * problems.def is the list; codes are stable, one cause each. Pure. */
#ifndef COORDINATOR_API_API_PROBLEM_H
#define COORDINATOR_API_API_PROBLEM_H

#include <stddef.h>

#include "common/error.h"
#include "coordinator/engine/engine.h"

enum api_problem {
#define PROBLEM(code, status, title) PROBLEM_##code,
#include "coordinator/api/problems.def"
#undef PROBLEM
    PROBLEM_COUNT,
};

struct api_problem_row {
    const char *code;
    unsigned status;
    const char *title;
};

const struct api_problem_row *api_problem_row(enum api_problem problem);
/* The problem that a result of the engine is: by its code, else by its status. */
enum api_problem api_problem_of_result(const struct command_result *result);

#endif
