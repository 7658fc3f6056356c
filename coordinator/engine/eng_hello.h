/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/engine/eng_hello.h: who an agent is. */
#ifndef COORDINATOR_ENGINE_ENG_HELLO_H
#define COORDINATOR_ENGINE_ENG_HELLO_H

#include "coordinator/engine/eng.h"

void eng_hello(struct engine *engine, const struct engine_request *request,
               const Penstock__Hello *hello);

enum eng_who { ENG_WHO_OK, ENG_WHO_UNKNOWN, ENG_WHO_STALE };
/* The agent that speaks; it is heard of now. *out is NULL unless ENG_WHO_OK. */
enum eng_who eng_hello_who(struct engine *engine, const Penstock__Origin *origin,
                           struct eng_agent **out);

struct eng_agent *eng_hello_find(struct engine *engine, const char *name);
/* From the catalog, at start. */
struct eng_agent *eng_hello_add(struct engine *engine, const char *name);
void eng_hello_save(struct engine *engine, struct eng_agent *agent);
/* Its work goes back: not an attempt. */
void eng_hello_end_life(struct engine *engine, struct eng_agent *agent);
void eng_hello_free(struct eng_agent *agent);
/* Keeps engine->online_leaves; online: it is heard of now. */
void eng_hello_set_state(struct engine *engine, struct eng_agent *agent, enum eng_agent_state state,
                         uint32_t leaves);

#endif
