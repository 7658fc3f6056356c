/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves keep on disk of batches that they do not hold: told to the coordinator, which prefers
 * such a leaf for such a batch, and says which ones nobody will ask for again. Nothing is dropped
 * but on its word: no answer, UNKNOWN and NOT_READY leave everything as it is. */
#include "agent/control/control_state.h"

void
control_staged_forget(struct control_leaf *it)
{
    msg_free((ProtobufCMessage *)it->staged);
    it->staged = NULL;
}

void
control_staged_take(struct control_core *core, uint32_t leaf, ProtobufCMessage **own_message)
{
    struct control_leaf *it = &core->leaves[leaf];
    const Penstock__LeafStaged *fresh = (const Penstock__LeafStaged *)*own_message;
    bool first = it->staged == NULL;
    core->staged_news |= first || fresh->n_staged > 0 || it->staged->n_staged > 0;
    control_staged_forget(it);
    it->staged = (Penstock__LeafStaged *)*own_message;
    *own_message = NULL;
}

static size_t
count_all(const struct control_core *core)
{
    size_t count = 0;
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        const Penstock__LeafStaged *staged = core->leaves[i].staged;
        count += staged == NULL ? 0 : staged->n_staged;
    }
    return count;
}

/* Half a list would pass for the whole one: every leaf that is to come has been heard. */
static bool
is_whole(const struct control_core *core)
{
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        if (core->leaves[i].staged == NULL && core->leaves[i].state != LEAF_GONE) {
            return false;
        }
    }
    return true;
}

bool
control_staged_is_due(const struct control_core *core)
{
    return core->staged_news && is_whole(core);
}

void
control_staged_put(struct control_core *core, Penstock__Staged ***out_list, Penstock__Sync *sync,
                   int64_t now)
{
    size_t count = count_all(core);
    bool again = count > 0 && now - core->staged_said_ms >= CONTROL_STAGED_AGAIN_MS;
    if (!is_whole(core) || (!core->staged_news && !again)) {
        return;
    }
    *out_list = ps_xcalloc(count + 1, sizeof(Penstock__Staged *));
    for (uint32_t i = 0; i < core->config.leaves; i++) {
        const Penstock__LeafStaged *staged = core->leaves[i].staged;
        for (size_t k = 0; staged != NULL && k < staged->n_staged; k++) {
            if (sync->n_staged < CONTROL_HELD_MOST) {
                (*out_list)[sync->n_staged++] = staged->staged[k];
            }
        }
    }
    sync->staged = *out_list;
    sync->has_staged_all = sync->staged_all = true;
    core->staged_news = false;
    core->staged_said_ms = now;
    core->ask_from_ms = now; /* in the same message: it is read before what is asked for */
}

static bool
is_listed(const Penstock__LeafStaged *staged, ProtobufCBinaryData batch_id)
{
    for (size_t i = 0; staged != NULL && i < staged->n_staged; i++) {
        if (ps_span_eq(control_span(staged->staged[i]->batch_id), control_span(batch_id))) {
            return true;
        }
    }
    return false;
}

void
control_staged_drop(struct control_core *core, const Penstock__SyncReply *reply)
{
    if (reply->n_unstage == 0) {
        return;
    }
    ProtobufCBinaryData *own = ps_xcalloc(reply->n_unstage, sizeof *own);
    for (uint32_t leaf = 0; leaf < core->config.leaves; leaf++) {
        Penstock__LeafUnstage message = PENSTOCK__LEAF_UNSTAGE__INIT;
        message.batch_ids = own;
        for (size_t i = 0; i < reply->n_unstage; i++) {
            if (is_listed(core->leaves[leaf].staged, reply->unstage[i])) {
                own[message.n_batch_ids++] = reply->unstage[i];
            }
        }
        if (message.n_batch_ids > 0) {
            core->env.send_leaf(core->env.ctx, leaf, MSG_LEAF_UNSTAGE, &message.base);
        }
    }
    ps_free(own);
}
