/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control/control_state.h"

Penstock__Origin *
control_origin(struct control_core *core, uint32_t lane, struct control_origin *out)
{
    out->seen = core->seen;
    penstock__origin__init(&out->origin);
    out->origin.agent = core->name;
    out->origin.incarnation = proto_bytes(core->incarnation.b, sizeof core->incarnation.b);
    out->origin.lane = lane;
    out->origin.seq = ++core->seq[lane];
    out->origin.seen = &out->seen;
    return &out->origin;
}
