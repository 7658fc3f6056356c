/* SPDX-License-Identifier: Apache-2.0 */
/* Needs nothing of the engine, so that whoever stands in for it can use this too. */
#include "common/alloc.h"
#include "coordinator/engine/engine.h"

void
engine_command_fini(struct engine_command *command)
{
    ps_free(command->name);
    ps_free(command->spec_json);
    ps_free(command->cursor);
    msg_free(command->rejects == NULL ? NULL : &command->rejects->base);
    ps_free(command->key);
    ps_free(command->body);
    *command = (struct engine_command){0};
}
