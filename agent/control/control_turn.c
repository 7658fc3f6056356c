/* SPDX-License-Identifier: Apache-2.0 */
/* Writer turns. SQLite's own busy handler starves some of its waiters; a line does not. The turn is
 * about order only: the ledger is what makes two writers safe. */
#include <inttypes.h>
#include <stdio.h>

#include "agent/control/control_state.h"

static struct turn_line *
line_at(struct ps_list *link)
{
    return PS_CONTAINER(link, struct turn_line, link);
}

static struct turn_waiter *
waiter_at(struct ps_list *link)
{
    return PS_CONTAINER(link, struct turn_waiter, link);
}

static struct turn_line *
line_find(const struct control_core *core, const char *dest)
{
    PS_LIST_FOR (at, &core->turns) {
        if (strcmp(line_at(at)->dest, dest) == 0) {
            return line_at(at);
        }
    }
    return NULL;
}

static void
line_free(struct turn_line *line)
{
    PS_LIST_FOR (at, &line->waiters) {
        ps_free(waiter_at(at));
    }
    ps_list_remove(&line->link);
    ps_free(line->dest);
    ps_free(line);
}

void
control_turn_free(struct control_core *core)
{
    PS_LIST_FOR (at, &core->turns) {
        line_free(line_at(at));
    }
}

static void
grant_front(struct control_core *core, struct turn_line *line)
{
    struct turn_waiter *front = waiter_at(line->waiters.next);
    front->since_ms = control_now(core);
    Penstock__TurnGrant grant = PENSTOCK__TURN_GRANT__INIT;
    grant.dest = line->dest;
    grant.turn = front->turn;
    core->env.send_leaf(core->env.ctx, front->leaf, MSG_TURN_GRANT, &grant.base);
}

void
control_turn_ask(struct control_core *core, uint32_t leaf, const Penstock__TurnAsk *ask)
{
    struct turn_line *line = line_find(core, ask->dest);
    if (line == NULL) {
        line = ps_xcalloc(1, sizeof *line);
        line->dest = ps_xstrdup(ask->dest);
        ps_list_init(&line->waiters);
        ps_list_push_back(&core->turns, &line->link);
    }
    PS_LIST_FOR (at, &line->waiters) {
        if (waiter_at(at)->leaf == leaf && waiter_at(at)->turn == ask->turn) {
            return;
        }
    }
    bool is_free = ps_list_empty(&line->waiters);
    struct turn_waiter *waiter = ps_xcalloc(1, sizeof *waiter);
    waiter->leaf = leaf;
    waiter->turn = ask->turn;
    waiter->since_ms = control_now(core);
    ps_list_push_back(&line->waiters, &waiter->link);
    if (is_free) {
        grant_front(core, line);
    }
}

static void
remove_waiter(struct control_core *core, struct turn_line *line, struct turn_waiter *waiter)
{
    bool had_turn = line->waiters.next == &waiter->link;
    ps_list_remove(&waiter->link);
    ps_free(waiter);
    if (had_turn && !ps_list_empty(&line->waiters)) {
        grant_front(core, line);
    }
}

void
control_turn_release(struct control_core *core, uint32_t leaf, const Penstock__TurnRelease *release)
{
    struct turn_line *line = line_find(core, release->dest);
    if (line == NULL) {
        return;
    }
    PS_LIST_FOR (at, &line->waiters) {
        if (waiter_at(at)->leaf == leaf && waiter_at(at)->turn == release->turn) {
            remove_waiter(core, line, waiter_at(at));
            break;
        }
    }
    if (ps_list_empty(&line->waiters)) {
        line_free(line);
    }
}

void
control_turn_leaf_gone(struct control_core *core, uint32_t leaf)
{
    PS_LIST_FOR (at, &core->turns) {
        struct turn_line *line = line_at(at);
        /* From the back, so that the turn never passes to a waiter that is about to go. */
        for (struct ps_list *link = line->waiters.prev; link != &line->waiters;) {
            struct turn_waiter *waiter = waiter_at(link);
            link = link->prev;
            if (waiter->leaf == leaf) {
                remove_waiter(core, line, waiter);
            }
        }
        if (ps_list_empty(&line->waiters)) {
            line_free(line);
        }
    }
}

bool
control_turn_note(const struct control_core *core, uint32_t leaf, char *out, size_t bytes)
{
    PS_LIST_FOR (at, &core->turns) {
        const struct turn_line *line = line_at(at);
        const struct turn_waiter *front = waiter_at(line->waiters.next);
        for (struct ps_list *link = line->waiters.next->next; link != &line->waiters;
             link = link->next) {
            if (waiter_at(link)->leaf == leaf) {
                snprintf(out, bytes,
                         "waits for the writer turn held by leaf %" PRIu32 " for %" PRId64 " s",
                         front->leaf, (control_now(core) - front->since_ms) / 1000);
                return true;
            }
        }
    }
    return false;
}
