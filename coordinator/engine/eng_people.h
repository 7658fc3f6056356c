/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_people.h: answers to commands.
 * Invariant: queued during the turn, given after its commit: a pipeline is shown as committed. */
#ifndef COORDINATOR_ENGINE_ENG_PEOPLE_H
#define COORDINATOR_ENGINE_ENG_PEOPLE_H

#include "coordinator/engine/eng.h"

struct eng_answer {
    struct ps_list link;
    struct engine_command command; /* its texts are owned */
    enum ps_status status;
    const char *code; /* static, or NULL */
    char *text;       /* owned */
    bool created;
    bool show_pipeline;
    bool show_agents;
    Penstock__ApiSample *sample; /* owned, as the rest */
    Penstock__ApiReject **rejects;
    size_t reject_count;
    Penstock__ApiReplay *replay;
    struct ps_span next_cursor;
    Penstock__ApiFieldError **errors;
    size_t error_count;
};

/* Takes what command owns (and clears it); filled on by the caller. Goes out after the commit. */
struct eng_answer *eng_people_answer(struct engine *engine, struct engine_command *own_command);
void eng_people_fail(struct engine *engine, struct engine_command *own_command,
                     enum ps_status status, const char *code, const char *fmt, ...) PS_PRINTF(5, 6);
/* The turn was not committed: nothing of the answer holds. */
void eng_people_refuse(struct eng_answer *answer, const char *code, const char *text);
/* After the commit. */
void eng_people_send_all(struct engine *engine);

#endif
